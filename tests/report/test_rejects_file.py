"""The rejects file beside other programs: runs of equal names, files made meanwhile, failures and kills at any point."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support.asking import user_session
from support.commandline import Ran, assert_clean, importer, started
from support.faults import small_disk
from support.tables import save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Database


def _book(folder: Path, bad: str, name: str = "orders.xlsx") -> Path:
    folder.mkdir(exist_ok=True)
    return save(folder / name, ["n", "m"], [1, "good"], [bad, "bad"], [3, "good"])


def _arguments(db: Database, book: Path, table: str, *options: object) -> list[str]:
    given = ["run", book, "--to", db.dsn.text, "--table", table, "--json", "--workers", 0, *options]
    return [sys.executable, "-m", "importer", *map(str, given)]


class _Held:
    """A run that waits for its table: it knows its rejects, and has written none. The table is made first.

    `go_to_commit` lets it go on to the last statement before its commit, where its rejects are on the disk.
    """

    def __init__(self, opened: contextlib.ExitStack, db: Database, command: list[str], table: str, cwd: Path) -> None:
        self._db, self._opened = db, opened
        self._lock = opened.enter_context(user_session(db.dsn))
        self._lock.run(f"lock table {table}")
        self.running = opened.enter_context(started(*command, cwd=cwd))
        self._wait(f"relation = '{db.schema}.{table}'::regclass")

    def _wait(self, lock: str) -> None:
        asked = f"select pid from pg_locks where not granted and {lock}"
        self.backend = self.running.wait_for(lambda: self._db.rows(asked))[0][0]

    def go_to_commit(self) -> None:
        session = self._opened.enter_context(user_session(self._db.dsn))
        xid = session.value("select pg_current_xact_id()::xid::text")
        state = f"target_schema = '{self._db.schema}' and state = 'loading'"
        session.query(f"select 1 from importer.runs where {state} for update")
        self._lock.rollback()
        self._wait(f"transactionid = '{xid}'::xid")
        self._lock = session

    def release(self) -> None:
        self._lock.rollback()

    def go_on(self) -> Ran:
        self.release()
        return self.running.finish()


@pytest.fixture
def hold(db: Database, folder: Path) -> Iterator[Callable[..., _Held]]:
    with contextlib.ExitStack() as opened:

        def begin(book: Path, table: str, *options: object) -> _Held:
            db.run(f"create table {table} (n bigint, m text)")
            return _Held(opened, db, _arguments(db, book, table, *options), table, folder)

        yield begin


def _load(db: Database, folder: Path, book: Path, table: str, *options: object) -> Ran:
    db.run(f"create table if not exists {table} (n bigint, m text)")
    return importer(*_arguments(db, book, table, *options)[3:], cwd=folder)


def _rejected(path: Path) -> list[Any]:
    if path.suffix == ".csv":
        return [line.split(",")[2] for line in path.read_text().splitlines()[1:]]
    return [row[2] for row in openpyxl.load_workbook(path).active.iter_rows(min_row=2, values_only=True)]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


def test_two_runs_of_equal_names(db: Database, tmp_path: Path, folder: Path, hold: Any) -> None:
    """Both find no file of that name, and go on at the same moment."""
    held = [hold(_book(tmp_path / f"d{k}", f"bad{k}"), f"t{k}") for k in (1, 2)]
    assert _names(folder) == []
    for each in held:
        each.release()
    ended = [each.go_on() for each in held]
    assert [ran.code for ran in ended] == [1, 1]
    files = [Path(ran.json["rejects"]["file"]) for ran in ended]
    assert [_rejected(file) for file in files] == [["bad1"], ["bad2"]]
    assert _names(folder) == ["orders.rejects-2.xlsx", "orders.rejects.xlsx"]
    for ran, file in zip(ended, files, strict=True):
        assert ran.json["rejects"]["command"].startswith(f"importer run {file}")


@pytest.mark.parametrize("name", [None, "r.csv"])
def test_run_that_fails_after_another_one_published(
    db: Database, tmp_path: Path, folder: Path, hold: Any, name: str | None
) -> None:
    """Both may write the same name; the one that fails takes nothing away from the other."""
    books, options = [_book(tmp_path / f"d{k}", f"bad{k}") for k in (1, 2)], ["--rejects", name] if name else []
    failing = hold(books[1], "two", *options, "--retry-for", 0)
    ran = _load(db, folder, books[0], "one", *options)
    assert ran.code == 1
    failing.go_to_commit()
    db.run(f"select pg_terminate_backend({failing.backend})")
    assert failing.go_on().code == 4
    assert _rejected(folder / ran.json["rejects"]["file"]) == ["bad1"]
    assert _names(folder) == [name or "orders.rejects.xlsx"]
    assert db.rows("select count(*) from two") == [(0,)]


@pytest.mark.parametrize(("before", "at"), [(None, "table"), ("of an earlier run", "commit")])
def test_file_made_while_the_run_waits(tmp_path: Path, folder: Path, hold: Any, before: str | None, at: str) -> None:
    named = folder / "r.csv"
    if before:
        named.write_text(before)
    held = hold(_book(tmp_path / "d", "bad"), "t", "--rejects", named)
    if at == "commit":
        held.go_to_commit()
    (folder / "new").write_text("of another program")
    (folder / "new").replace(named)
    ran = held.go_on()
    assert (ran.code, ran.json["rejects"]["file"]) == (1, str(folder / "r-2.csv"))
    assert _rejected(folder / "r-2.csv") == ["bad"]
    assert named.read_text() == "of another program"
    assert _names(folder) == ["r-2.csv", "r.csv"]


def test_old_file_stays_until_the_rows_are_published(db: Database, tmp_path: Path, folder: Path, hold: Any) -> None:
    """A run killed before leaves the old file; the next one removes the dead run's part."""
    named, book = folder / "r.csv", _book(tmp_path / "d", "bad")
    named.write_text("half mended")
    held = hold(book, "t", "--rejects", named)
    held.go_to_commit()
    assert named.read_text() == "half mended"
    held.running.process.kill()
    held.go_on()
    assert named.read_text() == "half mended"
    assert len(_names(folder)) == 2, "a part"
    ran = _load(db, folder, book, "t", "--rejects", named)
    assert (ran.code, ran.json["rejects"]["file"]) == (1, str(named))
    assert (_names(folder), _rejected(named)) == (["r.csv"], ["bad"])


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_disk_that_takes_no_rejects(db: Database, tmp_path: Path, command: str, state: str) -> None:
    book = _book(tmp_path / "d", "bad")
    db.run("create table t (n bigint, m text)")
    with small_disk("64k") as disk:
        named = disk / "r.csv"
        named.write_text("old")
        if state == "full":
            (disk / "all").write_bytes(bytes(56 << 10))
            save(book, ["n", "m"], [1, "good"], ["bad", "long" * 8_000])
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        options = ["--to", db.dsn.text, "--table", "t", "--workers", 0, "--rejects", named]
        ran = importer(command, book, *options, cwd=tmp_path)
        error = errno.ENOSPC if state == "full" else errno.EROFS
        assert ran.code == 4
        assert "the rejects cannot be written; nothing was published" in ran.err
        assert os.strerror(error) in ran.err
        assert "--rejects" in ran.err
        assert_clean(ran)
        assert named.read_text() == "old"
        assert set(_names(disk)) <= {"all", "r.csv"}
    assert db.rows("select count(*) from t") == [(0,)]


def test_over_the_budget_the_named_file_is_replaced(db: Database, tmp_path: Path, folder: Path) -> None:
    (folder / "r.csv").write_text("old")
    book = _book(tmp_path / "d", "bad")
    ran = _load(db, folder, book, "t", "--rejects", "r.csv", "--max-rejects", 0)
    assert (ran.code, ran.json["outcome"]) == (5, "over-budget")
    assert _rejected(folder / "r.csv") == ["bad"]
    assert _names(folder) == ["r.csv"]
