"""A run ends while its lease is still being acquired: the thread closes what it opens, in a process that lives on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.serving import wait_for
from support.tables import save

from importer.ledger.schema import SCHEMA
from importer.postgres.session import Session
from importer.run import lease_holder
from importer.run.lease_holder import LeaseHolder
from importer.runtime.progress import Clock
from importer.runtime.retry import Deadline
from importer.settings import Settings, make_settings
from importer.stages.read import open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Database

    from importer.settings import Dsn


class Held:
    """Holds the lease thread after the call of a function, and remembers the server processes of its sessions.

    Args:
        monkeypatch: replaces the functions of the lease holder.
        point: name of the function after which the first caller is held; empty: nobody is.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
        self.reached, self.gate = threading.Event(), threading.Event()
        self.backends: list[int] = []
        monkeypatch.setattr(lease_holder, "_CLOSE_SECONDS", 0.0)
        monkeypatch.setattr(lease_holder, "take_session", self._connect)
        if point:
            monkeypatch.setattr(lease_holder, point, self._holding(getattr(lease_holder, point)))

    def _connect(self, dsn: Dsn, deadline: Any) -> Session:
        session = Session(dsn, deadline=deadline)
        self.backends.append(session.value("select pg_backend_pid()"))
        session.rollback()
        return session

    def _holding(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, **options: Any) -> Any:
            found = function(*args, **options)
            if not self.reached.is_set():
                self.reached.set()
                assert self.gate.wait(60)
            return found

        return held


def settings_of(db: Database, folder: Path) -> Settings:
    return make_settings(save(folder / "b.xlsx", ["a"], [1]), to=db.dsn.text, workers=0)


def holder_of(settings: Settings) -> LeaseHolder:
    return LeaseHolder(settings, None, Clock(deadline=Deadline(60)), dry_run=False)


def acquire(settings: Settings) -> None:
    with holder_of(settings) as holder:
        holder.set_source(*open_source(settings, Clock()))
        assert holder.get().published_run is None


def wait_until_gone(db: Database, backends: list[int]) -> None:
    assert backends
    listed = ", ".join(map(str, backends))
    wait_for(lambda: db.rows(f"select count(*) from pg_stat_activity where pid in ({listed})") == [(0,)])


@pytest.mark.parametrize("point", ["take_session", "check_pooler", "find_target", "ensure_ledger", "find_runs"])
def test_run_that_ends_before_it_has_its_lease(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Wherever the thread is, its session ends, and the next run of the process gets the lock."""
    settings = settings_of(db, tmp_path)
    held = Held(monkeypatch, point)
    with holder_of(settings) as holder:
        holder.set_source(*open_source(settings, Clock()))
        assert held.reached.wait(60)
    held.gate.set()
    wait_until_gone(db, held.backends)
    acquire(settings)


def test_run_that_ends_while_its_thread_waits_in_a_statement(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement is cancelled: what it waits for may last for ever."""
    settings = settings_of(db, tmp_path)
    acquire(settings)
    held = Held(monkeypatch, "")
    with Session(db.dsn) as other:
        other.run(f"lock table {SCHEMA}.runs in access exclusive mode")
        with holder_of(settings) as holder:
            holder.set_source(*open_source(settings, Clock()))
            wait_for(lambda: held.backends and is_blocked(db, held.backends[0]))
        wait_until_gone(db, held.backends)


def is_blocked(db: Database, backend: int) -> bool:
    return db.rows(f"select cardinality(pg_blocking_pids({backend})) > 0") == [(True,)]


def test_lease_that_is_being_acquired_is_not_acquired_twice(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt fails before the lease is there (a worker died): one session, not another that waits for the first."""
    settings = settings_of(db, tmp_path)
    held = Held(monkeypatch, "find_runs")
    with holder_of(settings) as holder:
        holder.set_source(*open_source(settings, Clock()))
        assert held.reached.wait(60)
        holder.reacquire()
        held.gate.set()
        assert holder.get().session is not None
        assert len(held.backends) == 1
    wait_until_gone(db, held.backends)


def test_note_that_is_added_while_the_lease_is_acquired_is_kept(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread had made the lease already: the report of a sheet that the engine had to read said nothing of it."""
    held, settings = Held(monkeypatch, "RunLease"), settings_of(db, tmp_path)
    with holder_of(settings) as holder:
        holder.set_source(*open_source(settings, Clock()))
        assert held.reached.wait(60)
        holder.add_note("read again")
        holder.reacquire()
        held.gate.set()
        assert holder.get().notes == holder.get().notes == ("read again",)
