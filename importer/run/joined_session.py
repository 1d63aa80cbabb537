"""Owns one transaction that several imports share: what each of them commits is only kept until the whole is.

An import commits and rolls back as in a session of its own; here that ends a part of the transaction, by a savepoint.
The driver refuses every statement after one has failed in a transaction, ROLLBACK TO included, so such a failure ends
the whole: nothing of it can be committed then.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from importer.errors import Conflict, DatabaseError
from importer.postgres.kept_sessions import shared_session
from importer.postgres.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.settings import Dsn

_SAVEPOINT = "importer_part"


class JoinedSession(Session):
    """A session for several imports, one after the other; `join_session` makes one.

    Attributes:
        is_lost: whether a statement failed in the transaction, so that it cannot be committed.
    """

    is_joined = True

    def __init__(self, dsn: Dsn) -> None:
        super().__init__(dsn)
        self.is_lost = self._is_committed = False
        self._begin()

    def _begin(self) -> None:
        # Under repeatable read, an import would not see the definition of a table that it has locked.
        self.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self.run(f"SAVEPOINT {_SAVEPOINT}")

    def commit(self) -> None:
        """End a part, which is kept if the whole is committed; after that, commit.

        Raises:
            Conflict: the transaction is lost; another one may succeed.
        """
        if self._is_committed:
            super().commit()
            return
        if self.is_lost:
            raise _lost()
        self.run(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        # A part may have set it until the end of its transaction.
        self.run("SET LOCAL lock_timeout TO DEFAULT")
        self.run(f"SAVEPOINT {_SAVEPOINT}")

    def rollback(self) -> None:
        """Undo the part since the last `commit`; the whole, if a statement has failed."""
        if not self.is_lost and not self._is_committed:
            with contextlib.suppress(DatabaseError):
                self.run(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
                return
            self.is_lost = True
        super().rollback()

    def close(self) -> None:
        """Leave the session open, for the next import."""

    def commit_all(self) -> None:
        """Commit what all imports did.

        Raises:
            DatabaseError: the server refuses, or the transaction is lost; nothing was committed. ConnectionFailed: the
                answer was lost.
        """
        if self.is_lost:
            raise _lost()
        super().commit()
        self._is_committed = True

    def close_all(self) -> None:
        """Close the session; what was not committed is rolled back, and all locks are released."""
        super().close()


def _lost() -> Conflict:
    # An import that can do without what failed, such as making a table that another session made, has begun again.
    return Conflict(
        "the transaction of all imports was rolled back, because a statement failed in it", choice="run again"
    )


@contextlib.contextmanager
def join_session(dsn: Dsn) -> Iterator[JoinedSession]:
    """Provide a session that all imports of this process share while the block runs; it is closed in the end.

    Raises:
        ConnectionFailed: the server cannot be reached.
    """
    session: Any = JoinedSession(dsn)
    try:
        with shared_session(session):
            yield session
    finally:
        session.close_all()
