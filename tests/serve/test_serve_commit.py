"""A run of the service that stops while the server commits: nobody is told that nothing was published."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.asking import user_session
from support.serving import Service, numbers, serving, short_folder, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database

ROWS = 9
CHOICE = "resume the run: it reports whether the rows were published"
#: A load fires deferred triggers before it commits, to find refused rows. The one on the table defers another one, again:
#: that one is left for the commit itself, where it waits for a lock that the test holds.
WAIT_IN_COMMIT = """
create table {0}.target (n bigint, word text);
create table {0}.seen (n bigint);
create function {0}.wait() returns trigger language plpgsql as
    'begin perform pg_advisory_xact_lock_shared(4711, 1); return null; end';
create constraint trigger wait after insert on {0}.seen deferrable initially deferred
    for each row execute function {0}.wait();
create function {0}.defer() returns trigger language plpgsql as
    'begin set constraints {0}.wait deferred; insert into {0}.seen values (new.n); return null; end';
create constraint trigger defer after insert on {0}.target deferrable initially deferred
    for each row execute function {0}.defer();
"""
_WAITING = "select count(*) from pg_locks where locktype = 'advisory' and classid = 4711 and not granted"


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@contextlib.contextmanager
def commits_held(db: Database) -> Iterator[None]:
    """No commit of rows in the table ends, as long as this lasts."""
    with user_session(db.dsn) as session:
        session.run("select pg_advisory_lock(4711, 1)")
        yield


def begin_commit(service: Service, db: Database) -> str:
    """A run that waits in its commit; on a busy machine, one whose time was over before is resumed until it does."""
    answer = service.upload(numbers(1, ROWS), "data.xlsx", "/upload?wait=false", table=f"{db.schema}.target")
    run: str = answer.json()["run"]["id"]

    def is_committing() -> bool:
        if db.rows(_WAITING) != [(0,)]:
            return True
        if service.run(run)["state"] == "interrupted":
            service.client.post(f"/runs/{run}/resume")
        return False

    wait_for(is_committing)
    return run


def assert_finished_by_resume(service: Service, db: Database, run: str) -> None:
    """It is resumed until its time is enough."""

    def is_over() -> bool:
        state = service.run(run)["state"]
        if state == "interrupted":
            service.client.post(f"/runs/{run}/resume")
        return state in {"done", "failed"}

    wait_for(is_over)
    assert service.run(run)["state"] == "done"
    assert db.rows("select count(*), count(distinct n) from target") == [(ROWS, ROWS)]


def prepare(db: Database) -> tuple[Any, ...]:
    """Make the table; return the arguments of a service that may load into it."""
    with user_session(db.dsn, autocommit=True) as session:
        for statement in WAIT_IN_COMMIT.format(db.schema).split(";\n"):
            if statement:
                session.run(statement)
    return "--allow-tables", f"{db.schema}.*"


def test_deadline_in_the_commit_is_told_as_such(db: Database, folder: Path) -> None:
    with serving(db.dsn, folder, *prepare(db), "--timeout", "4") as service:
        with commits_held(db):
            run = begin_commit(service, db)
            ended = service.until(run, "interrupted", "failed", "done")
        assert (ended["state"], ended["error"]["type"], ended["error"]["status"]) == ("interrupted", "TimedOut", 422)
        assert (ended["error"]["choice"], ended["resumable"]) == (CHOICE, True)
        assert_finished_by_resume(service, db, run)


def test_process_killed_in_the_commit_is_told_as_such(db: Database, folder: Path) -> None:
    with serving(db.dsn, folder, *prepare(db)) as service:
        with commits_held(db):
            run = begin_commit(service, db)
            for process in psutil.Process(service.running.process.pid).children():
                if "importer.serve.child.main" in process.cmdline():
                    process.kill()
            ended = service.until(run, "interrupted", "failed", "done")
        assert (ended["state"], ended["error"]["type"]) == ("interrupted", "ChildDied")
        assert ended["error"]["choice"] == CHOICE
        assert_finished_by_resume(service, db, run)
