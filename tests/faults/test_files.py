"""A file of the spool, the rejects or the report fails at its n-th call, or a worker's memory, for every n: the same
command again ends in one clean load, with the rejects of one, and leaves nothing else.

The short form tries a few calls of each scenario, `--long` every one, `--moments N` so many. Most runs are forks of
one process; a few are the program as users start it, with workers.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support.asking import held_session
from support.commandline import Ran, started
from support.faults import SECONDS, Server, moments, wait_for_backends
from support.filefaults import ALLOCATIONS, CALLS, FileFaults
from support.orders import BAD, ROWS, write_orders
from support.serving import short_folder
from support.warm import PROGRAM, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.fault_report import Injected

#: Sheets of any size are copied straight into the target: the constant is for those that take a while.
DIRECT = "import importer.load.direct_copy as d; d.DIRECT_BYTES = 0; "
MAIN = "from importer.__main__ import main; main()"
OLD = [(-1, "a", 0.5), (5, "old", 1.5)]
MAKE = "create table t (number bigint, name text, amount double precision)"
FILL = "insert into t values (-1, 'a', 0.5), (5, 'old', 1.5)"
KINDS = ("ENOSPC", "kill", "EIO", "full", "short", "EDQUOT", "EINTR", "EMFILE")
WORKER_KINDS = ("kill-one", "ENOSPC", "kill", "full", "EIO", "EMFILE")
#: The scenarios of the short form with workers, and how many calls are tried with them in the long form.
SHORT_WITH_WORKERS, WITH_WORKERS = {"append-contract"}, 12
MEMORY_KINDS = ("ENOMEM", "kill-one")
#: An allocation of a worker that counts: the sheet is small.
ALLOCATION_BYTES = 128 << 10


@dataclass(frozen=True)
class Scenario:
    """One way to load.

    Attributes:
        mode: of the load.
        contract: whether it is given a contract.
        direct: whether it copies straight into the table.
        budget: how many rejects it may have; None for any number.
        code: exit code of a load without a fault.
    """

    mode: str
    contract: bool = False
    direct: bool = False
    budget: int | None = None
    code: int = 1

    def old(self) -> list[Any] | None:
        return None if self.mode == "create" else OLD

    def rows(self) -> list[Any] | None:
        """What the table holds after one load."""
        if self.budget is not None:
            return self.old()
        new = [(n, f"name {n}", n / 4) for n in range(1, ROWS + 1) if n + 1 not in BAD]
        return sorted([*(OLD if self.mode == "append" else []), *new])


SCENARIOS = {
    "append-contract": Scenario("append", contract=True),
    "replace": Scenario("replace"),
    "direct": Scenario("append", direct=True),
    "create-contract": Scenario("create", contract=True),
    "over-budget": Scenario("append", contract=True, budget=2, code=5),
}


@dataclass(frozen=True)
class Place:
    """Where a scenario runs.

    Attributes:
        own: the server.
        faults: what fails its files.
        book: the workbook; its contract is beside it.
        temp: folder for temporary files, the spool among them.
        out: folder of what is written for the user.
        template: what runs are forked from; None: they are commands of their own, with two workers.
    """

    own: Server
    faults: FileFaults
    book: Path
    temp: Path
    out: Path
    template: Template | None

    def reset(self, scenario: Scenario) -> None:
        with held_session(self.own.dsn, autocommit=True) as session:
            session.run("set client_min_messages = warning; drop schema if exists importer cascade")
            session.run("drop table if exists t")
            if scenario.old() is not None:
                session.run(MAKE)
                session.run(FILL)
        for path in [*self.out.iterdir(), *self.temp.iterdir()]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_old_rejects(self.out / "bad.xlsx")

    def load(self, scenario: Scenario) -> Ran:
        """A run to its end; its report goes into a file of the output folder."""
        options = ["--to", self.own.dsn.text, "--table", "t", "--mode", scenario.mode, "--json", "--chunk-rows", "80"]
        options += ["--rejects", str(self.out / "bad.xlsx"), "--timeline", str(self.out / "timeline.svg")]
        options += ["--contract", str(self.book.with_name("contract.json"))] if scenario.contract else []
        options += [] if scenario.budget is None else ["--max-rejects", str(scenario.budget)]
        words, direct = ["run", str(self.book), *options], DIRECT if scenario.direct else ""
        report, temp = self.out / "report.json", {"TMPDIR": str(self.temp)}
        with contextlib.ExitStack() as stack:
            if self.template:
                words += ["--workers", "0"]
                run = self.template.started(*words, cwd=self.out, env=temp, stdout=report, program=direct + PROGRAM)
            else:
                start = ["-c", direct + MAIN] if direct else ["-m", "importer"]
                command = [sys.executable, *start, *words, "--workers", "2"]
                env = {"PYTHONWARNINGS": "ignore", **temp, **self.faults.env}
                out = stack.enter_context(report.open("w"))
                run = started(*command, cwd=self.out, env=env, stdout=out)
            return stack.enter_context(run).finish(SECONDS)

    def table(self) -> list[Any] | None:
        if self.own.rows("select to_regclass('public.t')::text") == [(None,)]:
            return None
        return self.own.rows("select number::int8, name::text, amount::float8 from t order by 1, 2")

    def ledger(self) -> tuple[list[Any], int]:
        """The states of the runs, and how many staging tables there are."""
        if self.own.rows("select to_regclass('importer.runs')::text") == [(None,)]:
            return [], 0
        return self.own.rows("select state from importer.runs"), len(self.own.staging())

    def rejects(self) -> Any:
        """The cells of the rejects file, of one with a number if there is one; None if there is none."""
        path = next((p for p in (self.out / "bad-2.xlsx", self.out / "bad.xlsx") if p.exists()), self.out / "bad.xlsx")
        if not path.exists():
            return None
        with contextlib.closing(openpyxl.load_workbook(path)) as workbook:
            return [tuple(row) for row in workbook.worksheets[0].iter_rows(values_only=True)]

    def spooled(self) -> list[str]:
        return sorted(path.name for path in self.temp.iterdir())

    def written(self) -> set[str]:
        return {path.name for path in self.out.iterdir()}


def write_old_rejects(path: Path) -> None:
    workbook = openpyxl.Workbook()
    assert workbook.active is not None
    workbook.active["A1"] = "old"
    workbook.save(path)


OLD_REJECTS = [("old",)]


@pytest.fixture(scope="module")
def warm(own: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place whose runs have no workers."""
    folder = tmp_path_factory.mktemp("files")
    book = write_orders(folder)
    with short_folder() as temp:
        out = folder / "out"
        out.mkdir()
        faults = FileFaults(folder, [temp, out], ALLOCATION_BYTES)
        with Template(**faults.env) as template:
            yield Place(own, faults, book, temp, out, template)


@pytest.fixture(scope="module")
def place(warm: Place) -> Place:
    """A place whose runs are the program as users start it, with workers."""
    return replace(warm, template=None)


@dataclass(frozen=True)
class Clean:
    """What a load without a fault leaves."""

    rejects: Any
    ledger: tuple[list[Any], int]
    written: set[str]
    calls: int
    allocations: int


def clean_load(place: Place, scenario: Scenario) -> Clean:
    place.reset(scenario)
    place.faults.arm()
    ran = place.load(scenario)
    assert (ran.code, place.spooled()) == (scenario.code, []), ran
    assert place.table() == scenario.rows()
    faults = place.faults
    return Clean(place.rejects(), place.ledger(), place.written(), faults.count(CALLS), faults.count(ALLOCATIONS))


def try_fault(place: Place, scenario: Scenario, kind: str, at: int, clean: Clean, counted: int = CALLS) -> bool:
    """One run with that fault and one without; returns whether the run was long enough for it."""
    faults = place.faults
    place.reset(scenario)
    faults.arm(kind, at, counted)
    ran = place.load(scenario)
    wait_for_backends(place.own)
    where = f"{scenario.mode}, {kind} at {at}: {faults.hit}; {ran}"
    killed = ran.code == -signal.SIGKILL
    check_faulty(place, scenario, ran, clean, where)
    if not killed and not faults.was_removal:
        assert place.spooled() == [], where
    kept = (
        {name for name in place.spooled() if is_pythons(place.temp / name)} if killed or faults.was_removal else set()
    )
    faults.disarm()
    again = place.load(scenario)
    where = f"{where}; again: {again}"
    assert again.code in {0, scenario.code}, where
    assert place.table() == scenario.rows(), where
    check_ledger(place, scenario, clean, where)
    assert place.rejects() == clean.rejects, where
    assert place.written() <= clean.written | numbered(faults.hit), where
    assert set(place.spooled()) <= kept, where
    return bool(faults.hit)


def numbered(hit: str) -> set[str]:
    """The names that a file may have got whose own could not be given to it: what has that is left as it is."""
    call, _, rest = hit.partition(" ")
    path = Path(rest.rpartition(" in a ")[0])
    return {f"{path.stem}-2{path.suffix}"} if call.startswith(("rename", "link")) and path.suffix else set()


def is_pythons(path: Path) -> bool:
    """Whether Python made that in the folder for temporary files, and it may be anybody's.

    That is the folder of sockets, before our lock is in it or after Python removed that and could not remove the rest,
    and the file by which `tempfile` finds out whether it may write there.
    """
    if path.is_dir():
        return path.name.startswith("pymp-") and all(each.is_socket() for each in path.iterdir())
    return re.fullmatch("[a-z0-9_]{8}", path.name) is not None and path.read_bytes() in {b"", b"blat"}


def check_ledger(place: Place, scenario: Scenario, clean: Clean, where: str) -> None:
    runs, staging = place.ledger()
    if scenario.budget is None:
        assert (runs, staging) == clean.ledger, where
    else:
        # What the faulty run wrote is kept for one with a larger budget.
        assert runs in ([], [("failed",)], [("loading",)]), where
        assert staging <= len(runs), where


def check_faulty(place: Place, scenario: Scenario, ran: Ran, clean: Clean, where: str) -> None:
    """What must be so after a run with a fault: old or new, never between, and the words say which."""
    faults, found = place.faults, place.table()
    assert found in (scenario.old(), scenario.rows()), where
    assert ran.orphans == [], where
    if ran.code == -signal.SIGKILL:
        # Its fork server may say that it was left alone.
        return
    # Python itself prints one where the folder of its fork server's sockets cannot be removed.
    assert "Traceback" not in ran.err or "/pymp-" in where, where
    assert place.rejects() in (OLD_REJECTS, clean.rejects), where
    if not faults.was_removal:
        assert place.written() <= clean.written | numbered(faults.hit), where
    if faults.was_harmless or not faults.hit:
        assert ran.code == scenario.code, where
    # A worker that runs out of memory may do so because of its workbook: that is then refused.
    assert ran.code in {scenario.code, 4, *([3] if ", ENOMEM at " in where else [])}, where
    if ran.code == scenario.code:
        assert (found, place.rejects()) == (scenario.rows(), clean.rejects), where
        assert json.loads((place.out / "report.json").read_text())["stats"]["total_records"] == ROWS, where
    elif found != scenario.old():
        assert "nothing was published" not in ran.err, where


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", ["append-contract", "direct"])
def test_any_allocation_of_a_worker(
    place: Place, name: str, seed: int, injected: Injected, request: pytest.FixtureRequest
) -> None:
    few = request.config.getoption("--moments") or (None if request.config.getoption("--long") else 1)
    clean = clean_load(place, SCENARIOS[name])
    injected.moments = f"{clean.allocations} allocations of workers"
    for turn, at in enumerate(moments(clean.allocations, few, seed), seed):
        kind = MEMORY_KINDS[turn % len(MEMORY_KINDS)]
        injected.attempt(kind, partial(try_fault, place, SCENARIOS[name], kind, at, clean, ALLOCATIONS))
    injected.check()


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", SCENARIOS)
def test_any_call(warm: Place, name: str, seed: int, injected: Injected, request: pytest.FixtureRequest) -> None:
    few = request.config.getoption("--moments") or (None if request.config.getoption("--long") else 1)
    clean = clean_load(warm, SCENARIOS[name])
    injected.moments = f"{clean.calls} calls"
    # Other kinds for each scenario, where few are tried.
    for turn, at in enumerate(moments(clean.calls, few, seed), seed + 2 * list(SCENARIOS).index(name)):
        kind = KINDS[turn % len(KINDS)]
        injected.attempt(kind, partial(try_fault, warm, SCENARIOS[name], kind, at, clean))
    injected.check()


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", SCENARIOS)
def test_some_calls_with_workers(
    place: Place, name: str, seed: int, injected: Injected, request: pytest.FixtureRequest
) -> None:
    long = request.config.getoption("--long")
    if not long and name not in SHORT_WITH_WORKERS:
        pytest.skip("in the long form")
    clean = clean_load(place, SCENARIOS[name])
    few = request.config.getoption("--moments") or (WITH_WORKERS if long else 1)
    injected.moments = f"{few} of some {clean.calls} calls, with workers"
    for turn, at in enumerate(moments(clean.calls, few, seed), seed):
        kind = WORKER_KINDS[turn % len(WORKER_KINDS)]
        injected.attempt(kind, partial(try_fault, place, SCENARIOS[name], kind, at, clean))
    injected.check()
