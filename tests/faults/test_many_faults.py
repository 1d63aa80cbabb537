"""A set of workbooks meets a fault at any message, or at any call on a file: the same command again ends in one clean load.

Each import is loaded whole or not at all whatever happened to the others; of a set that is loaded together all are, or
none. Where the rejects of all go into one workbook, each import has one sheet in it, or in the one that a later command
wrote. The short form tries a few moments, `--long` every one, `--moments N` so many.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support.asking import held_session
from support.commandline import Ran, Running, started
from support.faults import SECONDS, Server, kill_tree, moments, wait_for_backends
from support.filefaults import CALLS, FileFaults
from support.serving import short_folder
from support.tables import save
from support.warm import Template
from support.wire import Fault, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.fault_report import Injected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

OLD = [(-1, "a", 0.5), (5, "old", 1.5)]
MAKE = "create table t (number bigint, name text, amount double precision)"
FILL = "insert into t values (-1, 'a', 0.5), (5, 'old', 1.5)"
#: Number of rows of each workbook, and the sheet rows whose number is a text.
ROWS, BAD, BOOKS = 30, {"jan": (4, 9), "feb": (), "mar": (17,)}, ("jan", "feb", "mar")
WIRE_KINDS = ("cut-before", "error", "kill", "cut-after", "fatal", "cut-all", "error", "kill-one")
#: Where children of the run make the table: also the parent alone dies, or the child whose message it is.
NEW_KINDS = ("kill-parent", "kill-child", "kill", "cut-all", "kill-parent", "fatal", "kill-child", "cut-after")
FILE_KINDS = ("ENOSPC", "kill", "EIO", "full", "short", "EINTR", "kill-one", "EMFILE")
#: How the set is loaded, and what its processes are: one, or those that users have.
WAYS = {
    "each": ["--workers", "0"],
    "together": ["--together", "--workers", "0"],
    "each-workers": ["--workers", "2"],
    "one-workbook": ["--workers", "0"],
    "new-table": ["--workers", "2", "--types", "number=bigint"],
}
#: Those whose processes are a user's, and no fork of the tests' template.
WHOLE = ("each-workers", "new-table")


@dataclass(frozen=True)
class Clean:
    """What a load without a fault leaves, and how long it is."""

    written: list[tuple[str, str, list[Any]]]
    messages: int
    calls: int


@pytest.fixture
def few(request: pytest.FixtureRequest) -> int | None:
    """How many moments of each test to try; None: all."""
    return request.config.getoption("--moments") or (None if request.config.getoption("--long") else 1)


@dataclass(frozen=True)
class Place:
    """Where a set is loaded.

    Attributes:
        own: the server.
        folder: holds `in/` with the workbooks, and `out/` for what is written.
        temp: folder for temporary files.
        way: one of `WAYS`.
        template: what runs are forked from.
        faults: what fails the files.
        clean: what a load without a fault leaves, once it was asked for.
    """

    own: Server
    folder: Path
    temp: Path
    way: str
    template: Template
    faults: FileFaults
    clean: list[Clean] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def reset(self) -> None:
        with held_session(self.own.dsn, autocommit=True) as session:
            session.run("set client_min_messages = warning; drop schema if exists importer cascade")
            session.run(f"drop table if exists t; {'' if self.way == 'new-table' else f'{MAKE}; {FILL}'}")
        for path in [*self.out.iterdir(), *self.temp.iterdir()]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def words(self, port: int | None) -> list[str]:
        dsn = self.own.dsn.text.replace(f":{self.own.port}/", f":{port or self.own.port}/")
        books = [str(self.folder / "in" / f"{name}.xlsx") for name in BOOKS]
        rejects = f"{self.out}/{'all.xlsx' if self.way == 'one-workbook' else ''}"
        return ["run", *books, "--to", dsn, "--table", "t", "--json", "--rejects", rejects, *WAYS[self.way]]

    @contextlib.contextmanager
    def loading(self, port: int | None = None) -> Iterator[Running]:
        """A run in a process of its own."""
        words, env = self.words(port), {"TMPDIR": str(self.temp)}
        with contextlib.ExitStack() as stack:
            if self.way in WHOLE:
                env |= {"PYTHONWARNINGS": "ignore", **self.faults.env}
                command = [sys.executable, "-m", "importer", *words]
                yield stack.enter_context(started(*command, cwd=self.folder, env=env))
            else:
                yield stack.enter_context(self.template.started(*words, cwd=self.folder, env=env))

    def load(self, port: int | None = None) -> Ran:
        with self.loading(port) as running:
            return running.finish(SECONDS)

    def table(self) -> list[Any] | None:
        """The rows of the table; None if there is none."""
        if self.own.rows("select to_regclass('t') is null") == [(True,)]:
            return None
        return self.own.rows("select number::int8, name::text, amount::float8 from t order by 1, 2")

    def written(self) -> list[tuple[str, str, list[Any]]]:
        """The sheets of rejects that were written for the user: file, name and cells.

        Which files hold the sheets of a workbook of all depends on which imports had ended when it was written.
        """
        sheets = [(path.name, *sheet) for path in sorted(self.out.iterdir()) for sheet in sheets_of(path)]
        return sorted(("", *sheet) for _, *sheet in sheets) if self.way == "one-workbook" else sheets


def rows(name: str) -> list[Any]:
    """What a workbook's import loads."""
    first = 100 * BOOKS.index(name)
    return [(first + n, f"{name} {n}", n / 4) for n in range(1, ROWS + 1) if n + 1 not in BAD[name]]


def sheets_of(path: Path) -> list[tuple[str, list[Any]]]:
    with contextlib.closing(openpyxl.load_workbook(path)) as workbook:
        return [(sheet.title, list(sheet.iter_rows(values_only=True))) for sheet in workbook]


def states(way: str) -> list[list[Any] | None]:
    """What the table may hold at any time; None: there is none."""
    if way == "new-table":
        of_some = (combinations(BOOKS, n) for n in range(1, len(BOOKS) + 1))
        return [None, *(sorted(chain.from_iterable(map(rows, names))) for names in chain.from_iterable(of_some))]
    some = [()] if way == "together" else chain.from_iterable(combinations(BOOKS, n) for n in range(len(BOOKS)))
    return [sorted([*OLD, *chain.from_iterable(rows(name) for name in names)]) for names in (*some, BOOKS)]


@pytest.fixture(scope="module")
def places(own: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    folder = tmp_path_factory.mktemp("many")
    for name in ("in", "out"):
        (folder / name).mkdir()
    for name in BOOKS:
        first = 100 * BOOKS.index(name)
        body = [["abc" if n + 1 in BAD[name] else first + n, f"{name} {n}", n / 4] for n in range(1, ROWS + 1)]
        save(folder / "in" / f"{name}.xlsx", ["number", "name", "amount"], *body)
    with short_folder() as temp:
        faults = FileFaults(folder, [temp, folder / "out"], 1 << 30)
        with Template(**faults.env) as template:
            yield {way: Place(own, folder, temp, way, template, faults) for way in WAYS}


def clean_load(place: Place) -> Clean:
    if place.clean:
        return place.clean[0]
    place.reset()
    place.faults.arm()
    with Wire(place.own.port) as wire:
        ran = place.load(wire.port)
    assert (ran.code, place.table()) == (1, states(place.way)[-1]), ran
    files = ["all.xlsx"] if place.way == "one-workbook" else ["jan.rejects.xlsx", "mar.rejects.xlsx"]
    assert sorted(path.name for path in place.out.iterdir()) == files
    assert [sum("type-error" in str(row) for row in cells) for *_, cells in place.written()] == [2, 1]
    place.clean.append(Clean(place.written(), wire.messages, place.faults.count(CALLS)))
    return place.clean[0]


def check_faulty(place: Place, ran: Ran, where: str, *, told: bool = True) -> None:
    """Whole imports and no other, and an exit code that says so; a child killed behind its commit cannot have told."""
    found = place.table()
    assert found in states(place.way), where
    assert ran.orphans == [], where
    if ran.code == -signal.SIGKILL:
        return
    assert not {"Traceback", "unexpected"} & set(ran.err.split()), where
    assert ran.code in {1, 4}, where
    whole = found == states(place.way)[-1]
    assert whole or ran.code == 4, where
    assert ran.code == 1 or not (whole and told), where


def check_again(place: Place, clean: Clean, where: str) -> None:
    again = place.load()
    where = f"{where}; again: {again}"
    assert again.code in {0, 1}, where
    assert place.table() == states(place.way)[-1], where
    assert place.own.rows("select state, count(*) from importer.runs group by 1") == [("published", len(BOOKS))], where
    assert place.own.staging() == [], where
    assert place.written() == clean.written, where


def try_message(place: Place, kind: str, at: int | Callable[[bool, bytes, int], bool], clean: Clean) -> bool:
    """One run over a wire with that fault and one without; returns whether the run was long enough for it."""
    place.reset()
    place.faults.disarm()
    fault = Fault(kind, when=at) if callable(at) else Fault(kind, at)

    def kill(port: int) -> None:
        if kind == "kill-parent":
            running.process.kill()
            return
        workers = running.workers() if kind == "kill-one" else running.tree() if kind == "kill-child" else []
        owner = next((p for p in workers if any(c.laddr.port == port for c in p.net_connections("tcp"))), None)
        owner.kill() if owner else kill_tree(running)

    with Wire(place.own.port, fault) as wire:
        if kind.startswith("kill"):
            fault.kind, fault.action = "call", kill
        with place.loading(wire.port) as running:
            ran = running.finish(SECONDS)
    wait_for_backends(place.own)
    where = f"{place.way}, {kind} at message {at}: {fault.hit}; {ran}"
    check_faulty(place, ran, where, told=kind != "kill-child")
    check_again(place, clean, where)
    return fault.hit is not None


def try_call(place: Place, kind: str, at: int, clean: Clean) -> bool:
    """One run with that fault at a call on a file and one without; returns whether the run was long enough for it."""
    place.reset()
    place.faults.arm(kind, at, CALLS)
    ran = place.load()
    wait_for_backends(place.own)
    where = f"{place.way}, {kind} at call {at}: {place.faults.hit}; {ran}"
    check_faulty(place, ran, where)
    place.faults.disarm()
    check_again(place, clean, where)
    return bool(place.faults.hit)


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("way", WAYS)
def test_any_message_of_a_set(
    places: dict[str, Place], way: str, seed: int, injected: Injected, few: int | None
) -> None:
    clean = clean_load(places[way])
    injected.moments = f"{clean.messages} messages"
    for turn, at in enumerate(moments(clean.messages, few, seed), seed):
        kinds = NEW_KINDS if way == "new-table" else WIRE_KINDS
        kind = kinds[turn % len(kinds)]
        injected.attempt(kind, partial(try_message, places[way], kind, at, clean))
    injected.check()


@pytest.mark.parametrize("kind", ["cut-all", "kill"])
@pytest.mark.parametrize("sent", [b"select part, content", b"INSERT INTO importer.rejects", b"SET counts = counts"])
def test_rejects_of_a_set_are_named_once(places: dict[str, Place], sent: bytes, kind: str) -> None:
    """They are written behind the commit, one after the other: no run writes those again that another has named."""
    seen = []

    def last_workbook(to_server: bool, message: bytes, _: int) -> bool:
        # Parts of the first workbook are sent before the commit, too, and then of the second with rejects.
        seen.append(to_server and sent in message and b"pg_" not in message)
        return bool(seen[-1]) and sum(seen) == {b"INSERT INTO importer.rejects": 8}.get(sent, 2)

    place = places["together"]
    assert try_message(place, kind, last_workbook, clean_load(place))


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("way", [way for way in WAYS if way != "new-table"])
def test_any_call_of_a_set(places: dict[str, Place], way: str, seed: int, injected: Injected, few: int | None) -> None:
    clean = clean_load(places[way])
    injected.moments = f"{clean.calls} calls"
    for turn, at in enumerate(moments(clean.calls, few, seed), seed + 1):
        kind = FILE_KINDS[turn % len(FILE_KINDS)]
        injected.attempt(kind, partial(try_call, places[way], kind, at, clean))
    injected.check()
