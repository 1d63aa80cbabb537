"""Takes the lock on an import, and says who holds it while it waits."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from importer.errors import Conflict, ImporterError
from importer.ledger.locks import lock_number
from importer.ledger.schema import SCHEMA

if TYPE_CHECKING:
    from importer.postgres.session import Session
    from importer.runtime.progress import Clock

#: Seconds between two attempts to take a lock that another run holds. Polled, because a signal must end the wait.
_POLL_SECONDS = 0.1
#: Seconds of a wait between two looks whether anybody waits for this transaction.
_LOOK_SECONDS = 1.0
#: After so long a wait for a lock, the user is told how to end it.
_ADVICE_SECONDS = 30.0
_TRY = (
    "select pg_try_advisory_lock($1::bigint), (select obj_description(c.oid, 'pg_class') from pg_class c "
    "join pg_namespace n on n.oid = relnamespace where nspname = $2 and relname = 'runs'), pg_backend_pid()"
)


class ImportLock:
    """The advisory lock on the key of an import. It belongs to a session: each one of a run takes it for itself.

    Args:
        clock: clock of the run: has its deadline, and reports that the run waits.
        closing: set when the run ends, which ends the wait.
        what: what another session does that holds the lock, for messages.

    Attributes:
        waiting: set while another session holds the lock.
    """

    def __init__(self, clock: Clock, closing: threading.Event, what: str = "the same import") -> None:
        self._clock, self._closing, self._what = clock, closing, what
        self.waiting = threading.Event()
        #: Server process of the session that held the lock for this run before.
        self._old_backend = 0

    def acquire(self, session: Session, key: str) -> tuple[bool, str | None]:
        """Take the lock, and wait until then.

        Returns:
            Whether another session held it before, and the comment of the ledger's table `runs` (see `ensure_ledger`).

        Raises:
            TimedOut: the deadline passed.
            Conflict: somebody waits for what this transaction of several imports did: perhaps who holds the lock.
            ImporterError: the run ended meanwhile.
        """
        number, waited, since, advised = lock_number(key), False, time.monotonic(), False
        look_at = since + _LOOK_SECONDS
        while True:
            locked, ledger, backend = session.query(_TRY, [number, SCHEMA])[0]
            if locked:
                break
            advise = not advised and time.monotonic() - since >= _ADVICE_SECONDS
            self._report_holder(session, number, reported=waited, advise=advise)
            advised = advised or advise
            if session.is_joined and time.monotonic() >= look_at:
                look_at += _LOOK_SECONDS
                _require_nobody_waits(session)
            session.rollback()
            waited = True
            self.waiting.set()
            self._clock.deadline.check()
            if self._closing.wait(_POLL_SECONDS):
                raise ImporterError("the run ended while it waited for its lock")
        self.waiting.clear()
        self._old_backend = backend
        return waited, ledger

    def _report_holder(self, session: Session, number: int, *, reported: bool, advise: bool) -> None:
        """Report who holds the lock; if it is a lost connection of this run, terminate that.

        Args:
            session: session with the target server.
            number: number of the advisory lock.
            reported: whether the holder was reported already.
            advise: whether to report how to end the wait.
        """
        found = session.query(
            """
            select l.pid, a.usename::text, a.backend_start::timestamptz(0)::text
            from pg_locks l left join pg_stat_activity a using (pid)
            where l.locktype = 'advisory' and l.granted and l.objsubid = 1
              and l.classid = $1::bigint::oid and l.objid = $2::bigint::oid
              and l.database = (select oid from pg_database where datname = current_database())
            """,
            [number >> 32 & 0xFFFFFFFF, number & 0xFFFFFFFF],
        )
        for backend, role, since in found:
            if backend == self._old_backend:
                session.query("select pg_terminate_backend($1::int)", [backend])
                continue
            if not reported:
                self._clock.say(
                    f"{self._what} is under way (role {role}, server process {backend}, since {since}); waiting"
                )
            if advise:
                self._clock.say(
                    f"still waiting for server process {backend} (role {role}, since {since}); if no run is under way "
                    f"there, end it: select pg_terminate_backend({backend})"
                )


def _require_nobody_waits(session: Session) -> None:
    """Raise Conflict if a session waits for a lock of this one; the server cannot know that this one waits, too."""
    blocked = session.value(
        "select count(*) from pg_stat_activity a where a.datname = current_database() "
        "and pg_backend_pid() = any(pg_blocking_pids(a.pid))"  # what others wait for is shown to few roles only
    )
    if blocked:
        raise Conflict(
            "another run has begun one of these imports, and waits for this transaction",
            choice="run again when it is done",
        )
