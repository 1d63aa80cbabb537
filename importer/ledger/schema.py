"""Owns schema `importer` of the target database; the first run that needs it creates it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import DatabaseError, TargetRefused
from importer.postgres.sql import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.postgres.session import Session

SCHEMA = "importer"
_DENIED = "42501"
#: SQLSTATEs of a race with another run: unique violation in a catalog, duplicate schema, table or other object, schema
#: does not exist, catalog row changed concurrently.
_RACE_CODES = ("23505", "42P06", "42P07", "42710", "3F000", "XX000")
_ATTEMPTS = 5


def create_in_schema(
    session: Session, create: Callable[[], None], denied: Callable[[], TargetRefused | None] = lambda: None
) -> bool:
    """Create something in the schema, and the schema if it is missing; return whether it was missing.

    It owns the session's transaction: it commits what was created, and rolls it back after a final error. It retries
    when another run creates the same object at the same time, or drops the schema together with its own last table.

    Args:
        session: session with the target server.
        create: runs the statements; it may be called more than once, each time in a new transaction.
        denied: returns the error when the role may not do that; None for the one about the schema.

    Raises:
        TargetRefused: the role may not create the schema or objects in it.
    """
    for attempt in range(_ATTEMPTS):
        try:
            made = _ensure_schema(session)
            create()
            session.commit()
        except DatabaseError as exc:
            if exc.transient:
                raise
            session.rollback()
            if exc.sqlstate in _RACE_CODES and attempt < _ATTEMPTS - 1:
                continue
            if exc.sqlstate == _DENIED:
                raise denied() or _permission_error(session) from None
            raise
        return made
    raise AssertionError  # the last attempt returns or raises


def _ensure_schema(session: Session) -> bool:
    if session.value("select 1 from pg_namespace where nspname = $1", [SCHEMA]):
        return False
    session.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    return True


def _permission_error(session: Session) -> TargetRefused:
    """Return the error with an administrator's statements; the session's failed transaction must be rolled back."""
    role = session_role(session)
    return TargetRefused(
        f"role {role} may not create staging tables and the ledger in schema {SCHEMA!r}",
        choice=f"ask an administrator to run: CREATE SCHEMA IF NOT EXISTS {SCHEMA}; "
        f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role};",
        sqlstate=_DENIED,
    )


def session_role(session: Session) -> str:
    """Return the quoted name of the session's role.

    The caller owns the transaction. If a statement has failed in it, the caller must roll it back first.
    """
    return quote(str(session.value("select current_user::text")))


def drop_empty_schema(session: Session) -> None:
    """Drop the schema that this run created if it is empty (a dry run leaves no trace)."""
    if not session.value(
        "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 limit 1", [SCHEMA]
    ):
        session.run(f"DROP SCHEMA IF EXISTS {SCHEMA} RESTRICT")
