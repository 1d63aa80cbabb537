"""Sessions that a process of many imports keeps from one to the next: in order, of the same server, and few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.serving import wait_for

from importer.errors import DatabaseError
from importer.postgres import kept_sessions
from importer.postgres.kept_sessions import close_kept, give_back, take_session
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database

    from importer.postgres.session import Session


@pytest.fixture
def _kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kept_sessions._Kept, "enabled", True)
    yield
    close_kept()


def backend(session: Session) -> int:
    return int(session.value("select pg_backend_pid()"))


@pytest.mark.usefixtures("_kept")
def test_a_session_is_used_again_without_what_was_left_in_it(db: Database) -> None:
    session = take_session(db.dsn)
    first = backend(session)
    session.commit()
    session.query("select pg_advisory_lock(4711)::text as locked")
    session.run("CREATE TEMPORARY TABLE left_over (a int)")
    session.commit()
    session.run(f"CREATE TABLE {db.schema}.undone (a int)")
    give_back(db.dsn, session)
    assert db.rows("select count(*) from pg_locks where locktype = 'advisory' and objid = 4711") == [(0,)]
    other = take_session(Dsn(db.server.text))
    assert backend(other) != first
    again = take_session(db.dsn)
    assert backend(again) == first
    assert again.value("select to_regclass('pg_temp.left_over')::text") is None
    assert again.value("select to_regclass($1)::text", [f"{db.schema}.undone"]) is None
    give_back(db.dsn, again)
    give_back(db.server, other)


@pytest.mark.usefixtures("_kept")
def test_a_session_that_is_not_in_order_is_closed(db: Database) -> None:
    session = take_session(db.dsn)
    dead = backend(session)
    session.commit()
    db.run(f"select pg_terminate_backend({dead})")
    wait_for(lambda: db.rows(f"select count(*) from pg_stat_activity where pid = {dead}") == [(0,)])
    give_back(db.dsn, session)
    fresh = take_session(db.dsn)
    assert backend(fresh) != dead
    with pytest.raises(DatabaseError):
        fresh.query("select 1/0")
    give_back(db.dsn, fresh)
    third = take_session(db.dsn)
    assert third.value("select 1") == 1
    third.close()


def test_other_processes_keep_none(db: Database) -> None:
    session = take_session(db.dsn)
    pid = backend(session)
    session.commit()
    give_back(db.dsn, session)
    wait_for(lambda: db.rows(f"select count(*) from pg_stat_activity where pid = {pid}") == [(0,)])
