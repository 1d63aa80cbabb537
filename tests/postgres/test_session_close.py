"""A session can be closed at any moment: the error that ended the run must not be hidden by another one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
import pytest
from support.asking import ask
from support.serving import wait_for

from importer.errors import TimedOut
from importer.postgres.session import Session
from importer.runtime import interruptible

if TYPE_CHECKING:
    from importer.settings import Dsn


def test_session_that_another_thread_still_uses(server: Dsn) -> None:
    session = Session(server)
    with session._statement() as statement:
        statement.set_sql_query("select 1")
        session.close()


def test_signal_while_the_connection_is_made(server: Dsn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come when there is a connection that nobody has yet: the database refuses to be closed then."""
    made, connect = [], adbc_driver_manager.AdbcConnection

    def interrupted(database: Any) -> Any:
        made.append(connect(database))
        raise KeyboardInterrupt

    monkeypatch.setattr(adbc_driver_manager, "AdbcConnection", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Session(server)
    made[0].close()


def test_call_that_ends_long_after_it_was_cancelled(server: Dsn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy server answers late: by then the run is over, and its locks must end although the process lives on."""
    monkeypatch.setattr(interruptible, "_GRACE_SECONDS", 0.0)
    session, answered = Session(server), threading.Event()
    backend = session.value("select pg_backend_pid() from pg_advisory_lock(4711)")
    session.guard.expire(0.0)
    with pytest.raises(TimedOut):
        session.guard.call(lambda: answered.wait(60), lambda: None)
    session.close()
    answered.set()
    wait_for(lambda: ask(server, f"select count(*) from pg_stat_activity where pid = {backend}") == [(0,)])
