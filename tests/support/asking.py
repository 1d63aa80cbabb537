"""Sessions that tests ask questions with, used again and again.

To open one the driver reads all types of the server, which costs several times what a test's question does.
"""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, Any

from importer.errors import ImporterError
from importer.postgres.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.settings import Dsn

#: What such a session calls itself.
NAME = "tests"
#: So many are kept open: some tests have a server, or an address of it, of their own, and a server takes a hundred.
_MOST = 4


class _Held(threading.local):
    """The sessions of this thread, by server and whether they commit by themselves."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, bool], Session] = {}


_held = _Held()


@contextlib.contextmanager
def held_session(server: Dsn, *, autocommit: bool = False) -> Iterator[Session]:
    """A session on that server; what was not committed is rolled back, and after an error it is used no more."""
    key = (server.text, autocommit)
    session = _held.sessions.pop(key, None) or _opened(server, autocommit)
    try:
        yield session
        if not autocommit:
            session.rollback()
    except BaseException:
        session.close()
        raise
    _held.sessions[key] = session
    while len(_held.sessions) > _MOST:
        _held.sessions.pop(next(iter(_held.sessions))).close()


@contextlib.contextmanager
def user_session(server: Dsn, *, autocommit: bool = False) -> Iterator[Session]:
    """A session that finds names as those of a user do: ours search the server's own schema alone."""
    with Session(server, autocommit=autocommit) as session:
        _search_as_user(session, autocommit)
        yield session


def _search_as_user(session: Session, autocommit: bool) -> None:
    session.run("reset search_path")
    if not autocommit:
        session.commit()


def _opened(server: Dsn, autocommit: bool) -> Session:
    session = Session(server, autocommit=autocommit)
    session.run(f"set application_name = '{NAME}'")
    _search_as_user(session, autocommit)
    return session


def ask(server: Dsn, sql: str, path: str | None = None) -> list[tuple[Any, ...]]:
    """The rows of a query, which changes nothing.

    Args:
        server: to ask; it may have been restarted since the last question.
        sql: the query.
        path: schemas to look for names in.
    """
    try:
        return _asked(server, sql, path)
    except ImporterError as exc:
        if not exc.transient:
            raise
        return _asked(server, sql, path)


def _asked(server: Dsn, sql: str, path: str | None) -> list[tuple[Any, ...]]:
    with held_session(server) as session:
        if path is not None:
            session.query("select set_config('search_path', $1, true)", [path])
        return session.query(sql)


def other_database(dsn: str, name: str) -> str:
    """The connection string of another database of the same server."""
    return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\1/{name}", dsn)
