"""Owns staging: the table in schema `importer` that chunks are written to, out of sight of the target's readers."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .checksums import Checksum, sql_checksum
from .errors import DatabaseError, TargetRefused, VerificationFailed
from .pgtypes import needs_cast, wire_of
from .postgres import literal, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contract import Contract, ExtraColumn
    from .plan import ColumnPlan
    from .postgres import Session
    from .target import Target

SCHEMA = "importer"
_DENIED = "42501"


@dataclass(frozen=True)
class Staging:
    """A staging table.

    Attributes:
        name: in schema `importer`.
        becomes_target: the table is published by renaming, so it has the final columns.
        columns: those that chunks fill.
    """

    name: str
    becomes_target: bool
    columns: tuple[ColumnPlan, ...]

    @property
    def quoted(self) -> str:
        """The quoted, qualified name."""
        return quote(SCHEMA, self.name)

    def type_of(self, column: ColumnPlan) -> str:
        """The type of a staging column: the final one where COPY can fill it, else the wire's."""
        if self.becomes_target and not needs_cast(column.pg_type):
            return str(column.pg_type)
        return wire_of(column.pg_type).staging


@contextlib.contextmanager
def staging_table(session: Session, target: Target, columns: tuple[ColumnPlan, ...], contract: Contract) -> Iterator[Staging]:
    """A fresh staging table; dropped at the end, unless it was renamed into the target by then.

    A table that becomes the target is logged from the start; one that is copied from is not worth its WAL.

    Raises:
        TargetRefused: the role may not create the schema.
    """
    created_schema = _ensure_schema(session)
    staging = Staging(f"stage_{secrets.token_hex(6)}", target.table is None, columns)
    defined = [f"{quote(c.field.name)} {staging.type_of(c)}{_not_null(staging, c)}" for c in columns]
    if staging.becomes_target:
        first = [c for c in contract.extra_columns if c.primary_key or c.identity]
        defined = [_extra(c) for c in first] + defined + [_extra(c) for c in contract.extra_columns if c not in first]
    session.run(f"CREATE {'' if staging.becomes_target else 'UNLOGGED '}TABLE {staging.quoted} ({', '.join(defined)})")
    session.commit()
    try:
        yield staging
    finally:
        # The first error is the one to show; a lost server cannot be tidied.
        with contextlib.suppress(DatabaseError):
            session.rollback()
            session.run(f"DROP TABLE IF EXISTS {staging.quoted}")
            if created_schema:
                _drop_empty_schema(session)
            session.commit()


def _not_null(staging: Staging, column: ColumnPlan) -> str:
    return " NOT NULL" if staging.becomes_target and column.field.required else ""


def _extra(column: ExtraColumn) -> str:
    default = column.default
    if isinstance(default, str) and not default.endswith(")") and default not in {"current_timestamp", "current_date", "current_user"}:
        default = literal(default)
    clause = f" DEFAULT {default if isinstance(default, str) else str(default).lower()}" if default is not None else ""
    clause = " GENERATED ALWAYS AS IDENTITY" if column.identity else clause
    return f"{quote(column.name)} {column.type}{clause}{' NOT NULL' if column.not_null or column.primary_key else ''}"


def _ensure_schema(session: Session) -> bool:
    """Create schema `importer` where it is missing; returns whether it was."""
    if session.value("select 1 from pg_namespace where nspname = $1", [SCHEMA]):
        return False
    try:
        session.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    except DatabaseError as exc:
        if exc.sqlstate != _DENIED:
            raise
        role = session_role(session)
        raise TargetRefused(
            f"role {role} may not create schema {SCHEMA!r}, which holds staging tables",
            choice=f"ask an administrator to run: CREATE SCHEMA {SCHEMA}; GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role};",
        ) from None
    return True


def session_role(session: Session) -> str:
    """The quoted name of the session's role."""
    session.rollback()
    return quote(str(session.value("select current_user::text")))


def _drop_empty_schema(session: Session) -> None:
    """Remove the schema that this run made, when nothing is left in it (a dry run leaves no trace)."""
    if not session.value("select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 limit 1", [SCHEMA]):
        session.run(f"DROP SCHEMA IF EXISTS {SCHEMA} RESTRICT")


def verify(session: Session, staging: Staging, rows: int, expected: dict[str, Checksum]) -> None:
    """Compare what staging holds with what was read, column by column.

    Args:
        session: any transaction that sees the chunks.
        staging: the table.
        rows: that were accepted.
        expected: checksums of the accepted rows by column.

    Raises:
        VerificationFailed: a column differs; nothing may be published.
    """
    asked, widths = ["count(*)"], []
    for column in staging.columns:
        parts = sql_checksum(quote(column.field.name), staging.type_of(column))
        asked += parts
        widths.append(len(parts))
    numbers = [int(n) for n in session.query(f"SELECT {', '.join(asked)} FROM {staging.quoted}")[0]]
    if numbers[0] != rows:
        raise VerificationFailed(f"{rows:,} rows were accepted but staging holds {numbers[0]:,}", choice="run again; nothing was published")
    position = 1
    for column, width in zip(staging.columns, widths, strict=True):
        name = column.field.name
        found = tuple(numbers[position : position + width])
        position += width
        if found != expected.get(name, (0,) * width):
            raise VerificationFailed(
                f"column {name!r} of staging differs from what was read: {found} instead of {expected.get(name)}",
                choice="run again; nothing was published",
            )
