"""A session can be closed at any moment: the error that ended the run must not be hidden by another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.postgres.session import Session

if TYPE_CHECKING:
    from importer.settings import Dsn


def test_session_that_another_thread_still_uses(server: Dsn) -> None:
    session = Session(server)
    with session._statement() as statement:
        statement.set_sql_query("select 1")
        session.close()
