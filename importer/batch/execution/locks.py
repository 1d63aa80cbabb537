"""Says what one transaction of many imports needs of the server's room for locks, and keeps others out of its tables.

The room can be enlarged by a restart only.

PostgreSQL keeps a lock on every table that a transaction makes, fills or drops until it ends. Counted on 15: an
import into a new table holds 4 (table, TOAST table, its index, the ledger's key), one into a table that exists 7 (the
same of staging, and the three types that are dropped with it).
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from importer.errors import DatabaseError, UsageError
from importer.postgres.catalog import parse_table_name
from importer.run.import_lock import ImportLock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.postgres.session import Session
    from importer.runtime.progress import Clock

_LOCKS_OF_NEW, _LOCKS_OF_OTHERS = 4, 7
#: Servers keep some more than they say: rounding, and memory that nothing else uses (12,800 where 6,400 are configured,
#: on 15). What lies in between is tried, and refused by the server before anything is published.
_SPARE = 8_000
_ROUNDING = 1.1
#: Background processes count, too.
_OTHER_PROCESSES = 30
_OUT_OF_MEMORY = "53200"
#: Locks that stand for all names of tables: a set with thousands of tables takes no more.
_TABLE_LOCKS = 64


def lock_tables(session: Session, tables: Sequence[str], clock: Clock) -> None:
    """Wait for other sets of imports into these tables, and keep later ones waiting until the session is closed.

    Each import of a set is locked until the set is committed: two with the same imports in other orders would wait for
    each other for ever.

    Args:
        session: session with the server, in which nothing was done yet.
        tables: the tables as text.
        clock: has the deadline, and reports that the set waits.
    """
    names = {parse_table_name(text)[1] for text in tables}
    numbers = {int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % _TABLE_LOCKS for name in names}
    lock = ImportLock(clock, threading.Event(), "another set of imports into the same table")
    for number in sorted(numbers):
        lock.acquire(session, hashlib.sha256(f"tables of sets {number}".encode()).hexdigest())


class LockRoom:
    """The room that a server has for the locks of one transaction.

    Args:
        session: session with the server.
        tables: a text for each import of the transaction, which those into the same table share.
    """

    def __init__(self, session: Session, tables: Sequence[str]) -> None:
        names = ("max_locks_per_transaction", "max_connections", "max_prepared_transactions")
        self._each, connections, prepared = (
            int(session.value(f"select pg_catalog.current_setting('{name}')")) for name in names
        )
        self._slots = connections + prepared + _OTHER_PROCESSES
        self._imports, new = len(tables), len(set(tables))
        self._needed = _LOCKS_OF_NEW * new + _LOCKS_OF_OTHERS * (len(tables) - new)

    def check(self) -> None:
        """Refuse imports that the server surely has no room for.

        Raises:
            UsageError: they need far more locks than it keeps.
        """
        room = self._each * self._slots
        if self._needed > room * _ROUNDING + _SPARE:
            raise UsageError(
                f"{self._imports:,} imports in one transaction need {self._needed:,} locks, and the server keeps some "
                f"{room:,}: its max_locks_per_transaction is {self._each}",
                choice=self._choice(),
            )

    def advise(self, exc: BaseException) -> None:
        """Say what to do about an import that failed because the server has no room left."""
        if isinstance(exc, DatabaseError) and exc.sqlstate == _OUT_OF_MEMORY:
            exc.choice = f"if it is the memory for locks: {self._choice()}"

    def _choice(self) -> str:
        enough = self._each + -(-self._needed // self._slots)
        return (
            f"set max_locks_per_transaction = {enough} in postgresql.conf and restart the server; or load fewer at "
            "once, or leave out --together"
        )
