"""The wire to the server fails at its n-th message, for every n: the same command again ends in one clean load.

The short form tries a few messages of each scenario, `--long` every one, `--moments N` so many. Most runs are the
command line in this process, those that are killed forks of one that has it imported, and a few the program as users
start it, with workers.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import psutil
import pytest
from support.asking import held_session
from support.commandline import Ran, Running, importer_here, started
from support.faults import SECONDS, Server, kill_tree, moments, wait_for_backends
from support.orders import BAD, ROWS, write_orders
from support.warm import PROGRAM, Template
from support.wire import Fault, Wire

from importer.load import direct_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.fault_report import Injected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

#: Sheets of any size are copied straight into the target: the constant is for those that take a while.
DIRECT = "import importer.load.direct_copy as d; d.DIRECT_BYTES = 0; "
MAIN = "from importer.__main__ import main; main()"
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
#: The scenarios of the short form, and those of them with workers.
SHORT, SHORT_WITH_WORKERS = {"append-contract", "direct", "replace", "upsert"}, {"append-contract"}
#: What can go wrong at any message; `error` is tried at every statement besides.
KINDS = (
    "cut-before",
    "cut-after",
    "fatal",
    "cut-all",
    "cut-before",
    "kill",
    "cut-after",
    "fatal",
    "cut-all",
    "delay",
    "cut-after",
)
WORKER_KINDS = ("kill-one", "cut-before", "kill", "cut-after")
#: So many messages are tried with workers in the long form.
WITH_WORKERS = 16


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_orders(tmp_path_factory.mktemp("wire"))


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with Template() as made:
        yield made


@dataclass(frozen=True)
class Place:
    """Where a scenario runs.

    Attributes:
        own: the server.
        book: the workbook; its contract is beside it.
        scenario: what is run.
        template: what runs are forked from; None: they are commands of their own, with two workers.
    """

    own: Server
    book: Path
    scenario: Scenario
    template: Template | None

    def reset(self) -> None:
        with held_session(self.own.dsn, autocommit=True) as session:
            session.run("set client_min_messages = warning; drop schema if exists importer cascade")
            session.run("drop table if exists t")
            if self.scenario.table:
                session.run(self.scenario.table)
                session.run(FILL)

    def table(self) -> list[Any] | None:
        if self.own.rows("select to_regclass('public.t')::text") == [(None,)]:
            return None
        return self.own.rows("select number::int8, name::text, amount::float8 from t order by 1, 2")

    def words(self, port: int) -> list[str]:
        """The arguments of a run over that port."""
        mode, folder = self.scenario.mode, self.book.parent
        dsn = self.own.dsn.text.replace(f":{self.own.port}/", f":{port}/")
        options = ["--to", dsn, "--table", "t", "--chunk-rows", "80", "--json"]
        options += ["--rejects", str(folder / "bad.xlsx")] if mode != "check" else []
        options += ["--contract", str(folder / "contract.json")] if self.scenario.contract else []
        return [*(["check"] if mode == "check" else ["run", "--mode", mode]), str(self.book), *options]

    @contextlib.contextmanager
    def loading(self, port: int) -> Iterator[Running]:
        """A run in a process of its own."""
        words, folder, direct = self.words(port), self.book.parent, DIRECT if self.scenario.direct else ""
        with contextlib.ExitStack() as stack:
            if self.template:
                words += ["--workers", "0"]
                yield stack.enter_context(self.template.started(*words, cwd=folder, program=direct + PROGRAM))
            else:
                start = ["-c", direct + MAIN] if direct else ["-m", "importer"]
                command = [sys.executable, *start, *words, "--workers", "2"]
                yield stack.enter_context(started(*command, cwd=folder, env={"PYTHONWARNINGS": "ignore"}))

    def load(self, port: int | None = None) -> Ran:
        if self.template:
            with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as temp:
                patch.setattr(direct_copy, "DIRECT_BYTES", 0 if self.scenario.direct else 1 << 40)
                patch.chdir(self.book.parent)
                return importer_here(*self.words(port or self.own.port), temp=Path(temp))
        with self.loading(port or self.own.port) as running:
            return running.finish(SECONDS)

    def load_with(self, fault: Fault) -> Ran | None:
        """A run over a wire with that fault; None if it was killed."""
        killed: list[int] = []

        def kill(port: int, *, all_of_it: bool) -> None:
            if not all_of_it and kill_owner(running, port):
                return
            killed.append(port)
            kill_tree(running)

        with Wire(self.own.port, fault) as wire:
            if fault.kind in {"kill", "kill-one"}:
                fault.action = partial(kill, all_of_it=fault.kind == "kill")
                fault.kind = "call"
                with self.loading(wire.port) as running:
                    ran = running.finish(SECONDS)
            else:
                ran = self.load(wire.port)
        wait_for_backends(self.own)
        return None if killed else ran


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


def assert_one_load(place: Place) -> None:
    own = place.own
    if place.scenario.mode == "check":
        assert place.table() == OLD
        # A check that is killed may leave the schema, which is empty.
        assert own.staging() == []
        assert own.rows("select to_regclass('importer.runs')::text") == [(None,)]
        return
    assert place.table() == place.scenario.rows()
    assert own.rows("select state, count(*) from importer.runs group by 1") == [("published", 1)]
    assert own.staging() == []


def try_fault(place: Place, fault: Fault, wanted: Any) -> bool:
    """One run with that fault and one without; returns whether the run was long enough for it."""
    kind, scenario = fault.kind, place.scenario
    place.reset()
    ran = place.load_with(fault)
    found = place.table()
    where = f"{scenario.mode}, {kind} at {fault.at}: {fault.hit}; {ran and (ran.code, ran.out[-900:], ran.err)}"
    assert found in (scenario.old(), scenario.rows()), where
    if ran is not None:
        assert not {"Traceback", "unexpected"} & set(ran.err.split()), where
        assert (ran.left, ran.orphans) == ([], []), where
        if kind != "error":
            # All of these are over by the time of a second connection.
            assert ran.code == 1, where
        if ran.code <= 1 and scenario.mode != "check":
            assert found == scenario.rows(), where
    again = place.load()
    assert again.code in {0, 1}, f"{where}; again: {again}"
    assert_one_load(place)
    if scenario.mode != "check":
        assert bad_cells(place.book) == wanted, where
    return fault.hit is not None


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", SCENARIOS)
def test_any_message(
    own: Server,
    book: Path,
    template: Template,
    name: str,
    seed: int,
    injected: Injected,
    request: pytest.FixtureRequest,
) -> None:
    few = request.config.getoption("--moments") or (None if request.config.getoption("--long") else 2)
    if few == 2 and name not in SHORT:
        pytest.skip("in the long form")
    place = Place(own, book, SCENARIOS[name], template)
    wanted, messages, statements = clean_load(place)
    injected.moments = f"{messages} messages, {statements} statements"
    for at in moments(messages, few, seed):
        fault = Fault(KINDS[at % len(KINDS)], at)
        injected.attempt(fault.kind, partial(try_fault, place, fault, wanted))
    for at in moments(statements, few and max(1, few // 3), seed):
        injected.attempt("error", partial(try_fault, place, Fault("error", at), wanted))
    injected.check()


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", SCENARIOS)
def test_some_messages_of_workers(
    own: Server, book: Path, name: str, seed: int, injected: Injected, request: pytest.FixtureRequest
) -> None:
    long = request.config.getoption("--long")
    if not long and name not in SHORT_WITH_WORKERS:
        pytest.skip("in the long form")
    place = Place(own, book, SCENARIOS[name], None)
    wanted, messages, _ = clean_load(place)
    few = request.config.getoption("--moments") or (WITH_WORKERS if long else 1)
    injected.moments = f"{few} of some {messages} messages, with workers"
    for turn, at in enumerate(moments(messages, few, seed)):
        fault = Fault(WORKER_KINDS[turn % len(WORKER_KINDS)], at)
        injected.attempt(fault.kind, partial(try_fault, place, fault, wanted))
    injected.check()


def clean_load(place: Place) -> tuple[Any, int, int]:
    """The bad cells of a load without a fault, and how many messages and statements it took."""
    place.reset()
    with Wire(place.own.port) as wire:
        ran = place.load(wire.port)
    assert ran.code == 1, ran
    assert_one_load(place)
    return bad_cells(place.book), wire.messages, wire.statements
