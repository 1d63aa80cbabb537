"""Owns the connection that a worker keeps from one chunk to the next."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from importer.errors import DatabaseError
from importer.postgres.kept_sessions import give_back, take_session
from importer.settings import Dsn

if TYPE_CHECKING:
    from importer.postgres.session import Session


class _Open(threading.local):
    """The connection that is kept open between chunks: one per thread, because workers may also be threads."""

    session: tuple[str, Session] | None = None
    #: A connection that is being opened in the background.
    pending: Future[tuple[str, Session]] | None = None


_open = _Open()


def worker_session(dsn: Dsn) -> Session:
    """Return this worker's connection.

    It is kept open because connecting takes several round trips, and a new server process.
    """
    _await_pending()
    if _open.session is None or _open.session[0] != dsn.text:
        _open.session = (dsn.text, take_session(dsn))
    return _open.session[1]


def connect_ahead(dsn: Dsn) -> None:
    """Start connecting in a background thread, so that the first chunk need not wait for the connection."""
    if _open.session is None and _open.pending is None:
        thread = ThreadPoolExecutor(1)
        _open.pending = thread.submit(lambda: (dsn.text, take_session(dsn)))
        thread.shutdown(wait=False)


def _await_pending() -> None:
    """Wait for the connection that `connect_ahead` started; if it failed, the next attempt reports the error."""
    pending, _open.pending = _open.pending, None
    if pending is not None:
        with contextlib.suppress(DatabaseError):
            _open.session = pending.result()


def close_session(*, broken: bool = False) -> None:
    """Close the connection that `write_chunk` kept open in this thread, if any.

    Args:
        broken: whether something failed in it, so that it is of no further use.
    """
    if _open.pending is not None:
        _await_pending()
    if _open.session is not None:
        text, session = _open.session
        _open.session = None
        if broken:
            session.close()
        else:
            give_back(Dsn(text), session)
