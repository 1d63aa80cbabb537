"""The wire to the server fails at its n-th message, for every n: the same command again ends in one clean load.

The short form tries a few messages of each scenario, `--long` every one, `--moments N` so many.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import openpyxl
import psutil
import pytest
from support.asking import held_session
from support.commandline import Ran, Running, started
from support.faults import SECONDS, Server, kill_tree, wait_for_backends
from support.orders import BAD, ROWS, write_orders
from support.wire import Fault, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

#: Sheets of any size are copied straight into the target: the constant is for those that take a while.
DIRECT = "import importer.load.direct_copy as d; d.DIRECT_BYTES = 0; from importer.__main__ import main; main()"
PLAIN = "create table t (number bigint, name text, amount double precision)"
KEYED = "create table t (number bigint primary key check (number <> 30), name text not null, amount double precision)"
OLD = [(-1, "a", 0.5), (5, "old", 1.5)]
FILL = "insert into t values (-1, 'a', 0.5), (5, 'old', 1.5)"


@dataclass(frozen=True)
class Scenario:
    """One way to load.

    Attributes:
        mode: of the load; `check` publishes nothing.
        table: statement that makes the table; None where the run makes it.
        contract: whether it is given a contract.
        direct: whether it copies straight into the table.
    """

    mode: str
    table: str | None
    contract: bool = False
    direct: bool = False

    def rows(self) -> list[Any]:
        """What the table holds after one load."""
        refused = {30} if self.table == KEYED else set()
        new = [(n, f"name {n}", n / 4) for n in range(1, ROWS + 1) if n + 1 not in BAD and n not in refused]
        kept = {"append": OLD, "upsert": OLD[:1]}.get(self.mode, [])
        return sorted([*kept, *new])

    def old(self) -> list[Any] | None:
        return OLD if self.table else None


SCENARIOS = {
    "append": Scenario("append", PLAIN),
    "append-contract": Scenario("append", PLAIN, contract=True),
    "direct": Scenario("append", PLAIN, direct=True),
    "direct-contract": Scenario("append", PLAIN, contract=True, direct=True),
    "replace": Scenario("replace", PLAIN),
    "upsert": Scenario("upsert", KEYED),
    "create-contract": Scenario("create", None, contract=True),
    "check": Scenario("check", PLAIN),
}
#: The scenarios of the short form.
SHORT = {"append-contract", "direct", "replace", "upsert"}
#: What can go wrong at any message; `error` is tried at every statement besides.
KINDS = ("cut-before", "kill", "cut-after", "fatal", "kill-one", "cut-all", "delay")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_orders(tmp_path_factory.mktemp("wire"))


def reset(own: Server, scenario: Scenario) -> None:
    with held_session(own.dsn, autocommit=True) as session:
        session.run("set client_min_messages = warning; drop schema if exists importer cascade; drop table if exists t")
        if scenario.table:
            session.run(scenario.table)
            session.run(FILL)


def table(own: Server) -> list[Any] | None:
    if own.rows("select to_regclass('public.t')::text") == [(None,)]:
        return None
    return own.rows("select number::int8, name::text, amount::float8 from t order by 1, 2")


@contextlib.contextmanager
def loading(own: Server, book: Path, scenario: Scenario, port: int) -> Iterator[Running]:
    program = ["-c", DIRECT] if scenario.direct else ["-m", "importer"]
    verb = ["check"] if scenario.mode == "check" else ["run", "--mode", scenario.mode]
    dsn = own.dsn.text.replace(f":{own.port}/", f":{port}/")
    options = ["--to", dsn, "--table", "t", "--workers", "2", "--chunk-rows", "80", "--json"]
    options += ["--rejects", str(book.with_name("bad.xlsx"))] if scenario.mode != "check" else []
    options += ["--contract", str(book.with_name("contract.json"))] if scenario.contract else []
    command = [sys.executable, *program, *verb, str(book), *options]
    with started(*command, cwd=book.parent, env={"PYTHONWARNINGS": "ignore"}) as running:
        yield running


def load(own: Server, book: Path, scenario: Scenario, port: int | None = None) -> Ran:
    with loading(own, book, scenario, port or own.port) as running:
        return running.finish(SECONDS)


def load_with(own: Server, book: Path, scenario: Scenario, fault: Fault) -> tuple[Ran | None, Wire]:
    """A run over a wire with that fault; None if it was killed."""
    killed: list[int] = []

    def kill(port: int, *, all_of_it: bool) -> None:
        if not all_of_it and kill_owner(running, port):
            return
        killed.append(port)
        kill_tree(running)

    with Wire(own.port, fault) as wire:
        if fault.kind in {"kill", "kill-one"}:
            fault.action = partial(kill, all_of_it=fault.kind == "kill")
            fault.kind = "call"
        with loading(own, book, scenario, wire.port) as running:
            ran = running.finish(SECONDS)
    wait_for_backends(own)
    return None if killed else ran, wire


def kill_owner(running: Running, port: int) -> bool:
    """kill -9 of the worker that a connection belongs to; False if it is the run's own."""
    for process in running.workers():
        with contextlib.suppress(psutil.Error):
            if any(c.laddr.port == port for c in process.net_connections("tcp")):
                process.kill()
                return True
    return False


def bad_cells(book: Path) -> list[tuple[Any, ...]] | None:
    path = book.with_name("bad.xlsx")
    if not path.exists():
        return None
    workbook = openpyxl.load_workbook(path)
    found = [tuple(row) for row in workbook.worksheets[0].iter_rows(values_only=True)]
    path.unlink()
    return found


def assert_one_load(own: Server, scenario: Scenario) -> None:
    if scenario.mode == "check":
        assert table(own) == OLD
        # A check that is killed may leave the schema, which is empty.
        assert own.staging() == []
        assert own.rows("select to_regclass('importer.runs')::text") == [(None,)]
        return
    assert table(own) == scenario.rows()
    assert own.rows("select state, count(*) from importer.runs group by 1") == [("published", 1)]
    assert own.staging() == []


def try_fault(own: Server, book: Path, scenario: Scenario, fault: Fault, wanted: Any) -> bool:
    """One run with that fault and one without; returns whether the run was long enough for it."""
    kind = fault.kind
    reset(own, scenario)
    ran, _ = load_with(own, book, scenario, fault)
    found = table(own)
    where = f"{kind} at {fault.at}: {fault.hit}; {ran}"
    assert found in (scenario.old(), scenario.rows()), where
    if ran is not None:
        assert "Traceback" not in ran.err, where
        assert (ran.left, ran.orphans) == ([], []), where
        # A worker that dies while it reads may do so again, because of the workbook: that ends the run.
        unread = kind == "kill-one" and ran.code == 3 and ran.json["error"]["type"] == "ReaderDied"
        if kind != "error" and not unread:
            # All of these are over by the time of a second connection.
            assert ran.code == 1, where
        if ran.code <= 1 and scenario.mode != "check":
            assert found == scenario.rows(), where
    again = load(own, book, scenario)
    assert again.code in {0, 1}, f"{where}; again: {again}"
    assert_one_load(own, scenario)
    if scenario.mode != "check":
        assert bad_cells(book) == wanted, where
    return fault.hit is not None


def moments(total: int, wanted: int | None, seed: int) -> range:
    """The numbers of the messages to try: all, or some that lie evenly."""
    step = 1 if wanted is None else max(1, total // wanted)
    return range(1 + seed % step, total + 1, step)


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", SCENARIOS)
def test_any_message(own: Server, book: Path, name: str, seed: int, request: pytest.FixtureRequest) -> None:
    scenario = SCENARIOS[name]
    wanted, messages, statements = clean_load(own, book, scenario)
    few = request.config.getoption("--moments") or (None if request.config.getoption("--long") else 1)
    if few == 1 and name not in SHORT:
        pytest.skip("in the long form")
    tried = dict.fromkeys((*KINDS, "error"), 0)
    for at in moments(messages, few, seed):
        tried[KINDS[at % len(KINDS)]] += try_fault(own, book, scenario, Fault(KINDS[at % len(KINDS)], at), wanted)
    for at in moments(statements, few and 1, seed):
        tried["error"] += try_fault(own, book, scenario, Fault("error", at), wanted)
    print(f"{name}: {messages} messages, {statements} statements; tried {tried}")


def clean_load(own: Server, book: Path, scenario: Scenario) -> tuple[Any, int, int]:
    """The bad cells of a load without a fault, and how many messages and statements it took."""
    reset(own, scenario)
    with Wire(own.port) as wire:
        ran = load(own, book, scenario, wire.port)
    assert ran.code == 1, ran
    assert_one_load(own, scenario)
    return bad_cells(book), wire.messages, wire.statements
