"""A folder as an inbox: what is loaded, where workbooks go, and processes that are killed, stopped and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.asking import held_session
from support.commandline import Ran, assert_clean, importer_here, started
from support.tables import save
from support.warm import PROGRAM, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database

POLL = ("--poll", "0.02")


class Inbox:
    """An inbox with its folders, and the table that it is loaded into."""

    def __init__(self, folder: Path, db: Database) -> None:
        self.folder, self.db = folder, db
        self.inbox, self.done, self.failed = (folder / name for name in ("in", "done", "failed"))
        self.inbox.mkdir()
        (folder / "temp").mkdir()

    def words(self, *options: object) -> list[object]:
        where = ["--done", self.done, "--failed", self.failed, "--to", self.db.dsn.text, *POLL]
        return ["watch", self.inbox, *where, *options]

    def once(self, *options: object) -> Ran:
        return importer_here(*self.words("--once", *options), temp=self.folder / "temp")

    def book(self, name: str, *rows: list[Any]) -> Path:
        return save(self.inbox / name, ["id", "v"], *rows)

    def names(self) -> tuple[list[str], list[str], list[str]]:
        """Names in the inbox, among what is done, and among what failed; hidden ones, too."""
        folders = (self.inbox, self.done, self.failed)
        return tuple(sorted(p.name for p in f.iterdir()) if f.is_dir() else [] for f in folders)  # type: ignore[return-value]


@contextlib.contextmanager
def held_table(db: Database) -> Iterator[None]:
    """The table, locked: no import can be published."""
    with held_session(db.dsn) as session:
        session.run("lock table t in exclusive mode")
        yield
        session.rollback()


@pytest.fixture
def inbox(tmp_path: Path, db: Database) -> Inbox:
    return Inbox(tmp_path, db)


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with Template() as made:
        yield made


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_workbook_goes_where_its_outcome_says(db: Database, inbox: Inbox) -> None:
    db.run("create table t (id bigint primary key check (id < 100), v text)")
    inbox.book("a.xlsx", [1, "x"], [2, "y"])
    inbox.book("rejected.xlsx", [3, "z"], [1000, "too large"])
    inbox.book("budget.xlsx", [4, "z"], [1001, "too"], [1002, "many"])
    (inbox.inbox / "broken.xlsx").write_text("no workbook")
    (inbox.inbox / "note.txt").write_text("left alone")
    ran = inbox.once("--table", "t", "--max-rejects", "1")
    assert ran.code == 3, ran.err
    told = {Path(each["source"]).name: each for each in lines(ran.out)}
    assert {name: each["exit_code"] for name, each in told.items()} == {
        "a.xlsx": 0, "rejected.xlsx": 0, "budget.xlsx": 5, "broken.xlsx": 3,
    }  # fmt: skip
    failed = ["broken.xlsx", "broken.xlsx.error.json", "budget.rejects.xlsx", "budget.xlsx", "budget.xlsx.error.json"]
    assert inbox.names() == (["note.txt"], ["a.xlsx", "rejected.rejects.xlsx", "rejected.xlsx"], failed)
    assert db.rows("select id from t order by id") == [(1,), (2,), (3,)]
    over = told["budget.xlsx"]
    assert (over["moved_to"], over["rejects"]["file"]) == tuple(str(inbox.failed / failed[n]) for n in (3, 2))
    (reason,) = json.loads((inbox.failed / failed[1]).read_text())
    assert reason["error"]["type"] == "WorkbookRefused"
    assert_clean(ran)
    # Mended, it arrives again, under a name that is taken.
    inbox.book("budget.xlsx", [4, "z"])
    inbox.book("a.xlsx", [5, "other"])
    ran = inbox.once("--table", "t", "--max-rejects", "1")
    assert (ran.code, inbox.names()[1][:2]) == (0, ["a-2.xlsx", "a.xlsx"])
    assert {each["moved_to"] for each in lines(ran.out)} == {str(inbox.done / n) for n in ("a-2.xlsx", "budget.xlsx")}
    assert db.rows("select id from t order by id") == [(1,), (2,), (3,), (4,), (5,)]


def test_tables_by_name_and_sheets(db: Database, inbox: Inbox) -> None:
    inbox.book("a.xlsx", [1, "x"])
    inbox.book("b.xlsx", [2, "y"])
    ran = inbox.once("--table", "{stem}_{sheet}", "--sheets", "all", "--lineage")
    assert ran.code == 0, ran.err
    assert db.rows("select a.id, b.id, a._source_file from a_sheet a, b_sheet b") == [(1, 2, "a.xlsx")]
    assert inbox.names() == ([], ["a.xlsx", "b.xlsx"], [])


def test_replace_takes_one_after_the_other(db: Database, inbox: Inbox) -> None:
    for n, name in enumerate(("b.xlsx", "a.xlsx")):
        os.utime(inbox.book(name, [n, "x"]), (n, n))
    assert inbox.once("--table", "t", "--mode", "replace").code == 0
    assert db.rows("select id from t") == [(1,)], "the newest is the last one"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--done", "{in}"], "must be three folders"),
        (["--mode", "create", "--table", "t"], "would load one workbook"),
        (["--again"], "twice"),
        (["--table", "{stam}"], "unknown placeholder"),
        (["--max-rejects", "lots"], "--max-rejects"),
        (["--rejects", "all.xlsx"], "would replace the rejects of those before"),
    ],
)
def test_what_every_workbook_would_be_refused_for_is_said_at_once(
    tmp_path: Path, options: list[str], message: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "temp").mkdir()
    given = [each.format(**{"in": tmp_path / "in"}) if each == "{in}" else each for each in options]
    words = ["watch", tmp_path / "in", "--to", "postgresql://localhost:1/x", *given]
    ran = importer_here(*words, temp=tmp_path / "temp")
    assert (ran.code, message in ran.err) == (2, True), ran.err


def test_what_may_pass_stays_in_the_inbox(inbox: Inbox) -> None:
    inbox.book("a.xlsx", [1, "x"])
    (inbox.folder / "nothing").mkdir()
    ran = inbox.once("--to", f"postgresql://u@/x?host={inbox.folder / 'nothing'}", "--retry-for", "0")
    assert (ran.code, inbox.names()) == (4, (["a.xlsx"], [], [])), ran.err


#: Ends the process, as `kill -9` does, before or behind the n-th step of a move.
KILL = """
import os, signal, sys
left = [{n}]
def hook(event, args):
    if event in ("os.rename", "os.link", "os.remove") and any("a.xlsx" in str(a) for a in args):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
"""


@pytest.mark.parametrize("good", [True, False], ids=["done", "failed"])
def test_killed_at_every_step_it_is_imported_once_and_moved(
    db: Database, inbox: Inbox, template: Template, good: bool
) -> None:
    db.run("create table t (id bigint, v text)")
    ends, table = [], ["--table", "t"]
    for n in range(20):
        for folder in (inbox.done, inbox.failed):
            for path in folder.glob("*"):
                path.unlink()
        book = inbox.book("a.xlsx", [n, "x"])
        if not good:
            book.write_text("no workbook")
        words = inbox.words("--once", "--workers", "0", *table)
        with template.started(*words, cwd=inbox.folder, program=KILL.format(n=n) + PROGRAM) as running:
            ends.append(running.finish().code)
        again = inbox.once(*table)
        assert inbox.names()[0] == []
        if good:
            assert (again.code, inbox.names()[1:]) == (0, (["a.xlsx"], []))
        else:
            assert inbox.names()[1:] == ([], ["a.xlsx", "a.xlsx.error.json"])
        if ends[-1] != -signal.SIGKILL:
            break
    assert len(ends) >= 4, "rename, link, unlink, and the run that no step is left for"
    if good:
        assert db.rows("select count(*), count(distinct id) from t") == [(len(ends), len(ends))]


def test_a_process_that_watches(db: Database, inbox: Inbox) -> None:
    """It loads what is complete, also two at once, and ends on a signal; the import under way is gone on with."""
    db.run("create table t (id bigint, v text)")
    whole = save(inbox.folder / "slow.xlsx", ["id", "v"], [3, "z"]).read_bytes()
    (inbox.inbox / "slow.xlsx.part").write_bytes(whole[:100])
    inbox.book("a.xlsx", [1, "x"])
    inbox.book("b.xlsx", [2, "y"])
    command = [sys.executable, "-m", "importer", *map(str, inbox.words("--table", "t"))]
    with started(*command) as running:
        running.wait_for(lambda: inbox.names()[:2] == (["slow.xlsx.part"], ["a.xlsx", "b.xlsx"]))
        (inbox.inbox / "slow.xlsx.part").write_bytes(whole)
        (inbox.inbox / "slow.xlsx.part").rename(inbox.inbox / "slow.xlsx")
        running.wait_for(lambda: inbox.names() == ([], ["a.xlsx", "b.xlsx", "slow.xlsx"], []))
        out = Path(running.temp.parent, "out")
        running.wait_for(lambda: len(out.read_text().splitlines()) == 3)
        with held_table(db):
            inbox.book("d.xlsx", [4, "w"])
            running.wait_for(lambda: db.rows("select 1 from pg_locks where not granted and relation = 't'::regclass"))
            running.process.send_signal(signal.SIGTERM)
            ran = running.finish()
    assert ran.code == 143, ran.err
    assert ("nothing was published" in ran.err, "the same command goes on" in ran.err) == (False, True)
    assert [each["outcome"] for each in lines(ran.out)] == ["published"] * 3 + ["interrupted"]
    assert_clean(ran)
    assert inbox.names()[0] == ["d.xlsx"]
    assert inbox.once("--table", "t").code == 0
    assert db.rows("select sum(id)::int, count(*) from t") == [(10, 4)]
    assert db.leftovers() == []
