"""Keeps sessions from one import to the next in a process that runs many: opening one takes time on both sides.

The driver connects twice for one session, and a new server process begins with empty caches. A process asks for this
once; in all others a session is opened and closed as it is needed.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from importer.errors import ImporterError

from .session import Session
from .sql import sql_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from importer.runtime.retry import Deadline
    from importer.settings import Dsn

Answer = TypeVar("Answer")

#: Sessions that are kept: an import has one for its lease, and one that writes.
_MOST = 2
#: Texts of queries that a session remembers; an import asks some 20, of which a few name what is its own.
_MOST_TEXTS = 200
#: Types of parameters, as the driver sends them.
_TYPES: dict[type, str] = {str: "text", int: "bigint", type(None): "text"}

#: Takes from a session what an import may have left in it. One round trip: the driver, which begins every transaction
#: as the one before ends, finds one that is open as before.
_RESET = "ROLLBACK; BEGIN; SELECT pg_advisory_unlock_all(); DISCARD TEMP; COMMIT; BEGIN"
#: How queries begin that the server can plan ahead.
_PLANNED = ("select", "with")


class KeptSession(Session):
    """A session that several imports use, one after the other.

    The server plans a query when it is asked for the second time, and keeps the plan: those of the catalog take it
    longer to plan than to answer. A plan that a change of the database makes invalid is made again by the server.

    Attributes:
        is_used: whether a statement was sent since the session was reset.
        facts: what was found out and holds as long as the session, by name; see `ask_once`.
    """

    def __init__(self, dsn: Dsn, *, deadline: Deadline | None = None) -> None:
        self.is_used = False
        self.facts: dict[str, Any] = {}
        #: Text of a query -> name of its plan, None while it was asked once.
        self._plans: dict[str, str | None] = {}
        self._made = 0
        super().__init__(dsn, deadline=deadline)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows; see `Session.query`."""
        types = [_TYPES.get(type(value)) for value in parameters]
        if not sql.lstrip()[:6].lower().startswith(_PLANNED) or None in types or not self._has_plan(sql, types):
            return super().query(sql, parameters)
        values = f"({', '.join(map(sql_value, parameters))})" if parameters else ""
        return super().query(f"EXECUTE {self._plans[sql]}{values}")

    def _has_plan(self, sql: str, types: Sequence[str | None]) -> bool:
        """Return whether the server has a plan of the query; make it if the query was asked before."""
        if sql not in self._plans:
            while len(self._plans) >= _MOST_TEXTS:
                self._forget(next(iter(self._plans)))
            self._plans[sql] = None
            return False
        name = self._plans.pop(sql)
        if name is None:
            self._made += 1
            name = f"importer_{self._made}"
            listed = f"({', '.join(map(str, types))})" if types else ""
            self.run(f"PREPARE {name}{listed} AS {sql}")
        self._plans[sql] = name  # as the one that was used last
        return True

    def _forget(self, sql: str) -> None:
        if (name := self._plans.pop(sql)) is not None:
            self.run(f"DEALLOCATE {name}")

    @contextlib.contextmanager
    def _statement(self) -> Iterator[Any]:
        self.is_used = True
        with super()._statement() as statement:
            yield statement


def ask_once(session: Session, name: str, ask: Callable[[], Answer]) -> Answer:
    """Return an answer that cannot change as long as a session lasts; of a kept one it is asked only once.

    Args:
        session: the session.
        name: name of the fact.
        ask: asks for it; what it raises is not kept.
    """
    if not isinstance(session, KeptSession):
        return ask()
    if name not in session.facts:
        session.facts[name] = ask()
    answer: Answer = session.facts[name]
    return answer


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
        return (KeptSession if _Kept.enabled else Session)(dsn, deadline=deadline)
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
    """Reset a session after an import; return whether it can be used again."""
    if not isinstance(session, KeptSession):
        return False
    if session.is_used:
        try:
            session.run(_RESET)
        except ImporterError:
            return False
    session.is_used = False
    return True
