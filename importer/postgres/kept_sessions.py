"""Keeps sessions from one import to the next in a process that runs many: opening one takes time on both sides.

The driver connects twice for one session, and a new server process begins with empty caches. A process asks for this
once; in all others a session is opened and closed as it is needed.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from importer.errors import ImporterError

from .session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.runtime.retry import Deadline
    from importer.settings import Dsn

#: Sessions that are kept: an import has one for its lease, and one that writes.
_MOST = 2


class _Kept:
    """The idle sessions of this process, by connection string, if it keeps any."""

    enabled = False
    lock = threading.Lock()
    idle: list[tuple[str, Session]]
    #: The one that all imports use meanwhile, see `run.joined_session`.
    shared: Session | None = None


_Kept.idle = []


def keep_sessions() -> None:
    """Keep sessions from now on."""
    _Kept.enabled = True


def keeps_sessions() -> bool:
    """Return whether this process runs many imports, one after the other."""
    return _Kept.enabled


@contextlib.contextmanager
def shared_session(session: Session) -> Iterator[None]:
    """Have all imports of this process use one session while the block runs."""
    _Kept.shared = session
    try:
        yield
    finally:
        _Kept.shared = None


def take_session(dsn: Dsn, deadline: Deadline | None = None) -> Session:
    """Return a session that was kept, or a new one.

    Args:
        dsn: connection string of the server.
        deadline: see `Session`.
    """
    if (shared := _Kept.shared) is not None:
        if deadline is not None:
            shared.guard.renew(deadline)
        return shared
    with _Kept.lock:
        found = next((each for each in _Kept.idle if each[0] == dsn.text), None)
        if found is not None:
            _Kept.idle.remove(found)
    if found is None:
        return Session(dsn, deadline=deadline)
    found[1].guard.renew(deadline)
    return found[1]


def give_back(dsn: Dsn, session: Session) -> None:
    """Keep a session, without a transaction, lock or temporary object of its own; close one that is not in order."""
    if session.is_joined:
        return
    if not _Kept.enabled or not _is_reset(session):
        session.close()
        return
    with _Kept.lock:
        _Kept.idle.append((dsn.text, session))
        old = _Kept.idle[:-_MOST]
        del _Kept.idle[:-_MOST]
    for _, each in old:
        each.close()


def close_kept() -> None:
    """Close all sessions that are kept."""
    with _Kept.lock:
        old, _Kept.idle = _Kept.idle, []
    for _, each in old:
        each.close()


def _is_reset(session: Session) -> bool:
    """Take from a session what an import may have left in it; return whether that succeeded."""
    try:
        session.rollback()
        session.query("select pg_advisory_unlock_all()::text as unlocked")
        session.run("DISCARD TEMP")
        session.commit()
    except ImporterError:
        return False
    return True
