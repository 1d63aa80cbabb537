"""Owns schema `importer` of the target database: made where it is missing, by whoever comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import DatabaseError, TargetRefused
from .postgres import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from .postgres import Session

SCHEMA = "importer"
_DENIED = "42501"
#: Unique violation in a catalog, duplicate schema or table, schema does not exist, row of a catalog changed meanwhile.
_RACE = ("23505", "42P06", "42P07", "42710", "3F000", "XX000")
_ATTEMPTS = 5


def create_in_schema(session: Session, create: Callable[[], None]) -> bool:
    """Create something in the schema, and the schema where it is missing; returns whether it was. Commits.

    Another run may make the same at the same time, or remove the schema because its own table was the last.

    Raises:
        TargetRefused: the role may not create there.
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
            if exc.sqlstate in _RACE and attempt < _ATTEMPTS - 1:
                continue
            if exc.sqlstate == _DENIED:
                raise _may_not(session) from None
            raise
        return made
    raise AssertionError  # the last attempt returns or raises


def _ensure_schema(session: Session) -> bool:
    if session.value("select 1 from pg_namespace where nspname = $1", [SCHEMA]):
        return False
    session.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    return True


def _may_not(session: Session) -> TargetRefused:
    role = session_role(session)
    return TargetRefused(
        f"role {role} may not create staging tables and the ledger in schema {SCHEMA!r}",
        choice=f"ask an administrator to run: CREATE SCHEMA IF NOT EXISTS {SCHEMA}; "
        f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role};",
        sqlstate=_DENIED,
    )


def session_role(session: Session) -> str:
    """The quoted name of the session's role."""
    session.rollback()
    return quote(str(session.value("select current_user::text")))


def drop_empty_schema(session: Session) -> None:
    """Remove the schema that this run made, when nothing is left in it (a dry run leaves no trace)."""
    if not session.value(
        "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 limit 1", [SCHEMA]
    ):
        session.run(f"DROP SCHEMA IF EXISTS {SCHEMA} RESTRICT")
