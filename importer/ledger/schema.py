"""Owns schema `importer` of the target database; the first run that needs it creates it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import DatabaseError, TargetRefused
from importer.postgres.sql import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.postgres.session import Session

SCHEMA = "importer"
DENIED = "42501"
#: Common table expressions: `trusted` are the roles whose code may run with the rights of this session's role.
TRUSTED = """
givers(oid) as (
    select r.oid from pg_catalog.pg_roles r where r.rolsuper or r.rolname = current_user
  union
    select d.datdba from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()),
mine(oid) as (
    select r.oid from pg_catalog.pg_roles r where r.rolname = current_user
  union
    select m.roleid from mine join pg_catalog.pg_auth_members m on m.member = mine.oid
    where m.grantor in (select oid from givers)
      and 'true' in (coalesce(pg_catalog.to_jsonb(m) ->> 'inherit_option', 'true'),
                     coalesce(pg_catalog.to_jsonb(m) ->> 'set_option', 'true'))),
trusted(oid) as (
    select oid from givers union select oid from mine
  union
    select r.oid from pg_catalog.pg_roles r where r.rolname = 'pg_database_owner')
"""
#: What to do where the schema cannot be trusted and nobody can be asked.
NO_TRUST = f"or ALTER SCHEMA {SCHEMA} RENAME TO another_name; or load into another database"
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
            if exc.sqlstate == DENIED:
                raise denied() or permission_error(session) from None
            raise
        return made
    raise AssertionError  # the last attempt returns or raises


def _ensure_schema(session: Session) -> bool:
    """Create the schema if it is missing, and return whether it was.

    Raises:
        TargetRefused: it belongs to a role that is not trusted, which could exchange the tables in it.
    """
    asked = f"""
        with recursive {TRUSTED} select n.nspowner in (select oid from trusted) as is_trusted,
               pg_catalog.pg_get_userbyid(n.nspowner)::text as owner
        from pg_catalog.pg_namespace n where n.nspname = '{SCHEMA}'"""
    found = session.query(asked)
    made = not found
    if made:
        session.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        # Another role may have created it in the meantime.
        found = session.query(asked)
    if found and not found[0][0]:
        raise untrusted_schema(session, found[0][1])
    return made


def untrusted_schema(session: Session, owner: str) -> TargetRefused:
    """Return the error about a schema of a role that is not trusted; its transaction must be open."""
    role = session_role(session)
    return TargetRefused(
        f"schema {SCHEMA!r} belongs to role {owner}, which could have its code run with the rights of role {role}: it "
        f"is neither that role nor one that it is a member of, nor the database's owner, nor a superuser",
        choice=f"if an administrator finds nothing in it that is not this program's: ALTER SCHEMA {SCHEMA} OWNER TO "
        f"{role}; {NO_TRUST}",
    )


def permission_error(session: Session) -> TargetRefused:
    """Return the error with an administrator's statements; the session's failed transaction must be rolled back."""
    role = session_role(session)
    tables = session.value(
        f"select pg_catalog.string_agg('{SCHEMA}.' || c.relname, ', ' order by c.relname desc) "
        "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
        f"where n.nspname = '{SCHEMA}' and c.relkind = 'r' and c.relname not like 'stage%'"
    )
    rows = f" GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role};" if tables else ""
    return TargetRefused(
        f"role {role} may not create staging tables and use the ledger in schema {SCHEMA!r}",
        choice=f"ask an administrator to run: CREATE SCHEMA IF NOT EXISTS {SCHEMA}; "
        f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role};{rows}",
        sqlstate=DENIED,
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
