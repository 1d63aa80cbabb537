"""Finds out whether a connection pooler gives each transaction to another server process, which an import cannot use.

The lock of an import belongs to a session. A pooler in transaction mode takes the server's session away at each commit,
so the lock would stay with a process that others use, and the next run would wait for it for ever. PgBouncer's
statement mode needs no search: it refuses our first transaction (see `session`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import DatabaseError

from .connect_errors import pooler_error
from .libpq import libpq_connection
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.settings import Dsn

    from .libpq import LibpqConnection

_BACKEND = "select pg_catalog.pg_backend_pid()::pg_catalog.text"
#: Who asks next, us or the other connection, within a pool of any size. A pool gives out either the process that became
#: free last or the one that was free longest; with the same one asking twice, both show within six transactions.
_TURNS = "uoouuo"


def check_pooler(session: Session, dsn: Dsn) -> None:
    """Refuse a pooler that does not keep sessions, as far as it shows. May end the session's transaction.

    Another connection is told the number of its server process for cancelling. If the process has that number, there is
    no pooler, or one that passes the login on. Otherwise, and where no shared libpq can tell, both connections begin
    transactions by turns: each must stay with one process, and not with the other's. A process that neither gets twice
    because other programs take it in between does not show, nor does a pooler where no second connection can be made.

    Args:
        session: a session of the run.
        dsn: its connection string.

    Raises:
        TargetRefused: the pooler gives transactions to different processes.
    """
    with libpq_connection(dsn.text) as other:
        if other is not None and other.sqlstate is not None:
            _check_connection(session, other)
            return
    try:
        second = Session(dsn)
    except DatabaseError:
        return
    with second:
        _take_turns(lambda: _backend(session), lambda: _backend(second))


def _check_connection(session: Session, other: LibpqConnection) -> None:
    """Check by another connection, which the server may have refused."""
    first = other.value(_BACKEND)
    if first is None or first == str(other.process):
        return
    _take_turns(lambda: _backend(session), lambda: other.value(_BACKEND) or first)


def _take_turns(us: Callable[[], str], them: Callable[[], str]) -> None:
    """Raise TargetRefused unless each connection stays with a server process of its own.

    Args:
        us: makes a transaction of the run's session, and returns the server process.
        them: the same of the other connection.
    """
    ours, theirs = set(), set()
    for turn in _TURNS:
        if turn == "u":
            ours.add(us())
        else:
            theirs.add(them())
    if len(ours) > 1 or len(theirs) > 1 or ours & theirs:
        raise pooler_error()


def _backend(session: Session) -> str:
    """Return the server process of a new transaction, and end that."""
    session.rollback()
    process = str(session.value(_BACKEND))
    session.rollback()
    return process
