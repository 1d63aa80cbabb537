"""Small workbooks in a process that imports many: sessions that stay, and what is left when one ends between statements."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.tables import save

from importer.errors import ImporterError, TargetRefused
from importer.postgres import kept_sessions
from importer.postgres.kept_sessions import KeptSession, close_kept, give_back, take_session
from importer.postgres.session import Session
from importer.stages import workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Database

TABLE = "create table t (id bigint, v text)"


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kept_sessions._Kept, "enabled", True)
    yield
    close_kept()


class Steps:
    """Ends the server process of a session before its n-th statement, commit or rollback, and counts these."""

    def __init__(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.db, self.count, self.stop = db, 0, 0
        for name in ("query", "run", "copy", "commit", "rollback"):
            monkeypatch.setattr(KeptSession, name, self._stepping(getattr(KeptSession, name)))

    def _stepping(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(session: KeptSession, *args: Any) -> Any:
            self.count += 1
            if self.count == self.stop:
                backend = Session.query(session, "select pg_backend_pid()")[0][0]
                self.db.run(f"select pg_terminate_backend({backend}, 5000)")
            return function(session, *args)

        return step

    def before(self, number: int) -> None:
        self.count, self.stop = 0, number


def loaded(db: Database) -> tuple[list[Any], list[Any]]:
    """The rows of the table, and the states of its runs with the number of their chunks."""
    chunks = "(select count(*) from importer.chunks where run = r.id)"
    runs = f"select state, {chunks} from importer.runs r where target_schema = current_schema()"
    return db.rows("select id, v from t order by id"), db.rows(runs)


def test_the_server_ends_the_session_before_each_statement(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import fails, or was done; after the same command again it is there, once, and so are its ledger rows."""
    db.run(TABLE)
    steps, wanted, ended, number = Steps(db, monkeypatch), [], set(), 0
    while number <= steps.count:
        number += 1
        book = save(tmp_path / f"{number}.xlsx", ["id", "v"], [number, "x"], [-number, None])
        wanted += [(number, "x"), (-number, None)]
        steps.before(number)
        try:
            ended.add(db.load(book, table="t", retry_for=0).outcome)
        except ImporterError as exc:
            ended.add(type(exc).__name__)
        count = steps.count
        steps.before(0)
        assert db.load(book, table="t").outcome in {"published", "already-imported"}
        assert loaded(db) == (sorted(wanted), [("published", 1)] * number), number
        steps.count = count
    assert number > 15
    assert ended == {"ConnectionFailed", "published"}


def test_what_is_no_plain_append(db: Database, tmp_path: Path) -> None:
    """Other modes, a dry run and columns that are added, in a table that few rows could go straight into."""
    db.run(TABLE, "insert into t values (9, 'old')")
    book = save(tmp_path / "a.xlsx", ["id", "v"], [1, "x"], [2, None])
    assert db.load(book, table="t", dry_run=True).success_count == 2
    assert db.rows("select * from t") == [(9, "old")]
    assert db.load(book, table="t", mode="replace").outcome == "published"
    assert loaded(db) == ([(1, "x"), (2, None)], [("published", 1)])
    db.load(save(tmp_path / "b.xlsx", ["id", "v", "more"], [3, "y", "z"]), table="t", drift="add-columns")
    db.load(save(tmp_path / "c.xlsx", ["id", "v", "more"], [4, "y", "z"]), table="t", method="concurrent")
    assert db.rows("select * from t order by id") == [(1, "x", None), (2, None, None), (3, "y", "z"), (4, "y", "z")]


def test_the_ledger_is_checked_again_once_it_was_altered(db: Database, tmp_path: Path) -> None:
    """What a session found out is believed only as long as nobody alters the tables."""
    db.run(TABLE)
    books = [save(tmp_path / f"{n}.xlsx", ["id", "v"], [n, "x"]) for n in range(4)]
    for book in books[:2]:
        db.load(book, table="t")
    function = f"{db.schema}.code"
    db.run(f"create function {function}() returns trigger language plpgsql as 'begin return new; end'")
    for change, undo, said in (
        (
            "alter table importer.chunks rename column checksum to sum",
            "rename column sum to checksum",
            "no column checksum",
        ),
        (f"create trigger x before insert on importer.chunks execute function {function}()", "", "has trigger"),
    ):
        db.run(change)
        try:
            with pytest.raises(TargetRefused, match=said):
                db.load(books[2], table="t")
        finally:
            db.run(f"alter table importer.chunks {undo}" if undo else "drop trigger x on importer.chunks")
    for book in books[2:]:
        assert db.load(book, table="t").outcome == "published"
    assert db.rows("select array_agg(id::int order by id) from t") == [([0, 1, 2, 3],)]


def test_a_table_that_changes_between_two_imports(db: Database, tmp_path: Path) -> None:
    """The server's plans of our questions are about the table as it is now."""
    db.run(TABLE)
    for n, change in enumerate(
        ("", "alter table t rename v to w", "drop table t", f"{TABLE}", "alter table t add u int not null default 7")
    ):
        db.run(change or "select 1")
        name = "w" if n == 1 else "v"
        report = db.load(save(tmp_path / f"{n}.xlsx", ["id", name], [n, "x"]), table="t")
        assert report.outcome == "published"
        if n == 2:  # it was made by the import
            db.run("drop table t")
    assert db.rows("select id, v, u from t order by id") == [(3, "x", 7), (4, "x", 7)]


def test_questions_are_planned_when_they_are_asked_again(db: Database) -> None:
    """Whatever the types and values of the parameters; few plans are kept, and a text that is asked once has none."""
    with contextlib.closing(KeptSession(db.dsn)) as session:
        for value in ("a'b", "\\", 7, -7, None, True, "ä"):
            for _ in range(3):
                assert session.query("select $1 is null as empty, $1::text as text", [value]) == [
                    (value is None, None if value is None else str(value).lower() if value is True else str(value))
                ]
        for number in range(kept_sessions._MOST_TEXTS + 50):
            for _ in range(1 + number % 2):
                assert session.value(f"select {number}") == number
        plans = session.value("select count(*)::int from pg_prepared_statements")
        assert 0 < plans <= kept_sessions._MOST_TEXTS
        session.rollback()
        assert session.value("select 201") == 201


def test_a_session_that_was_not_used_is_not_reset(db: Database) -> None:
    first = take_session(db.dsn)
    give_back(db.dsn, first)
    again = take_session(db.dsn)
    assert again is first
    assert not again.is_used  # type: ignore[attr-defined]
    again.run("CREATE TEMPORARY TABLE left_over (a int)")
    assert again.is_used  # type: ignore[attr-defined]
    give_back(db.dsn, again)
    again.rollback()
    assert take_session(db.dsn).value("select to_regclass('pg_temp.left_over')::text") is None


def test_what_killed_runs_left_is_not_looked_for_in_every_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace._Removed, "at", -workspace._SECONDS_BETWEEN)
    assert [workspace._is_due() for _ in range(3)] == [True, False, False]
    monkeypatch.setattr(workspace._Removed, "at", time.monotonic() - workspace._SECONDS_BETWEEN)
    assert workspace._is_due()
    monkeypatch.setattr(kept_sessions._Kept, "enabled", False)
    assert workspace._is_due()
