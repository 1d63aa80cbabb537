"""Owns staging: the table in schema `importer` that chunks are written to, invisible to readers of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from importer.cells.frame import ROW
from importer.contract.model import ALLOWED_DEFAULTS
from importer.ledger.schema import SCHEMA
from importer.postgres.sql import literal, quote
from importer.postgres.types import NAME_BYTES, is_never_refused, needs_cast, wire_type_of
from importer.table.labels import unique_name
from importer.verification.verify import ExpectedRows, verify_rows

if TYPE_CHECKING:
    from importer.contract.model import Contract, ExtraColumn
    from importer.plan.model import ColumnPlan
    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.verification.checksum_sql import Checksum, TextHash


@dataclass(frozen=True)
class Staging:
    """A staging table.

    Attributes:
        name: name of the table, in schema `importer`.
        becomes_target: whether the table is published by renaming it, so that it has the final columns.
        columns: the columns that chunks fill.
        row_column: name of the column that holds sheet row numbers, by which a refused row is found; None when the
            server has no reason to refuse a row.
    """

    name: str
    becomes_target: bool
    columns: tuple[ColumnPlan, ...]
    row_column: str | None = None

    @property
    def quoted(self) -> str:
        """Return the quoted, qualified name."""
        return quote(SCHEMA, self.name)

    def type_of(self, column: ColumnPlan) -> str:
        """Return the type of a staging column: the final type if COPY can fill it, else the wire type."""
        if self.becomes_target and not needs_cast(column.pg_type):
            return column.pg_type.sql
        return wire_type_of(column.pg_type).staging


def define_staging(staging: Staging, target: Target, contract: Contract) -> str:
    """Return the statement that creates a staging table.

    A table that becomes the target is logged from the start; one whose rows are moved later is not worth its WAL.
    """
    kind = "TABLE" if staging.becomes_target else "UNLOGGED TABLE"
    return f"CREATE {kind} {staging.quoted} ({', '.join(_column_definitions(staging, target, contract))})"


def plan_staging(
    name: str, target: Target, columns: tuple[ColumnPlan, ...], contract: Contract, *, lineage: bool = False
) -> Staging:
    """Return the staging table of a load; it becomes a new target itself when nothing can refuse a row any more.

    Args:
        name: name of the staging table, in schema `importer`.
        target: the table that the load goes to.
        columns: the columns that chunks fill.
        contract: the contract, which describes a new table.
        lineage: whether sheet row numbers are needed after staging.
    """
    may_refuse = lineage or bool(contract.foreign_keys) or any(not is_never_refused(c.pg_type) for c in columns)
    if target.table is None and not may_refuse:
        return Staging(name, becomes_target=True, columns=columns)
    row_column = unique_name(ROW, {c.field.name for c in columns})
    return Staging(name, becomes_target=False, columns=columns, row_column=row_column)


def _column_definitions(staging: Staging, target: Target, contract: Contract) -> list[str]:
    """Return the definitions of the staging table's columns."""
    if staging.becomes_target:
        return target_column_definitions(target, contract, [(c, staging.type_of(c)) for c in staging.columns])
    defined = [f"{quote(c.field.name)} {staging.type_of(c)}" for c in staging.columns]
    return [*defined, f"{quote(staging.row_column)} bigint"] if staging.row_column else defined


def target_column_definitions(target: Target, contract: Contract, types: list[tuple[ColumnPlan, str]]) -> list[str]:
    """Return the definitions of a new table's columns; keys that the database fills come first.

    Args:
        target: the new table.
        contract: the contract, which has the extra columns.
        types: the loaded columns, each with its type.
    """
    taken: set[str] = set()
    fields = []
    for c, pg_type in types:
        needed = _not_null_clause(target, c.field.name, taken) if c.field.required else ""
        fields.append(f"{quote(c.field.name)} {pg_type}{needed}")
    extra = [(c.primary_key or c.identity, _extra_definition(target, c, taken)) for c in contract.extra_columns]
    return [text for first, text in extra if first] + fields + [text for first, text in extra if not first]


def object_name(table: str, column: str, label: str) -> str:
    """Return the name that PostgreSQL gives a column's constraint or sequence: `table_column_label`, cut to fit.

    The longer of the two names is cut first.
    """
    first, second = table.encode(), column.encode()
    while len(first) + len(second) + len(label) + 2 > NAME_BYTES:
        first, second = (first[:-1], second) if len(first) > len(second) else (first, second[:-1])
    return "_".join((first.decode("utf-8", "ignore"), second.decode("utf-8", "ignore"), label))


def _not_null_clause(target: Target, column: str, taken: set[str]) -> str:
    """Return NOT NULL with the constraint name it would have in the target; PostgreSQL 18 keeps it on a rename."""
    name, number = object_name(target.name, column, "not_null"), 0
    while name in taken:
        number += 1
        name = object_name(target.name, column, f"not_null{number}")
    taken.add(name)
    return f" CONSTRAINT {quote(name)} NOT NULL"


def _extra_definition(target: Target, column: ExtraColumn, taken: set[str]) -> str:
    default = column.default
    if isinstance(default, str):
        clause = f" DEFAULT {default if default in ALLOWED_DEFAULTS else literal(default)}"
    else:
        clause = "" if default is None else f" DEFAULT {str(default).lower()}"
    clause = " GENERATED ALWAYS AS IDENTITY" if column.identity else clause
    needed = column.not_null or column.primary_key or column.identity
    return f"{quote(column.name)} {column.type}{clause}{_not_null_clause(target, column.name, taken) if needed else ''}"


def verify(session: Session, staging: Staging, rows: int, expected: dict[str, Checksum], text_hash: TextHash) -> None:
    """Compare what staging holds with what was read, column by column, and the texts of each row.

    Args:
        session: session whose transaction sees the chunks.
        staging: the table.
        rows: number of accepted rows.
        expected: checksums of the accepted rows by column.
        text_hash: hash used for the checksum of the texts.

    Raises:
        VerificationFailed: a count or a column differs; nothing may be published.
    """
    types = {c.field.name: staging.type_of(c) for c in staging.columns}
    verify_rows(session, staging.quoted, types, ExpectedRows(rows, expected, text_hash))
