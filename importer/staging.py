"""Owns staging: the table in schema `importer` that chunks are written to, out of sight of the target's readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .contract import DEFAULTS
from .headers import unique_name
from .parts import ROW
from .pgtypes import NAME_BYTES, is_certain, needs_cast, wire_of
from .postgres import literal, quote
from .schema import SCHEMA
from .verification import compare

if TYPE_CHECKING:
    from .checksums import Checksum, TextHash
    from .contract import Contract, ExtraColumn
    from .plan import ColumnPlan
    from .postgres import Session
    from .target import Target


@dataclass(frozen=True)
class Staging:
    """A staging table.

    Attributes:
        name: in schema `importer`.
        becomes_target: the table is published by renaming, so it has the final columns.
        columns: those that chunks fill.
        row_column: the column with the rows' numbers in the sheet, by which a refused row is found; None where the
            server has no reason left to refuse one.
    """

    name: str
    becomes_target: bool
    columns: tuple[ColumnPlan, ...]
    row_column: str | None = None

    @property
    def quoted(self) -> str:
        """The quoted, qualified name."""
        return quote(SCHEMA, self.name)

    def type_of(self, column: ColumnPlan) -> str:
        """The type of a staging column: the final one where COPY can fill it, else the wire's."""
        if self.becomes_target and not needs_cast(column.pg_type):
            return str(column.pg_type)
        return wire_of(column.pg_type).staging


def define_staging(staging: Staging, target: Target, contract: Contract) -> str:
    """The statement that creates a staging table.

    A table that becomes the target is logged from the start; one that is copied from is not worth its WAL.
    """
    kind = "TABLE" if staging.becomes_target else "UNLOGGED TABLE"
    return f"CREATE {kind} {staging.quoted} ({', '.join(_columns(staging, target, contract))})"


def plan_staging(
    name: str, target: Target, columns: tuple[ColumnPlan, ...], contract: Contract, *, lineage: bool = False
) -> Staging:
    """What the staging table of a load is to be: the new target itself, where nothing can refuse a row any more.

    Args:
        name: of the table, in schema `importer`.
        target: of the load.
        columns: that chunks fill.
        contract: what a new table is to be.
        lineage: the rows' numbers are wanted.
    """
    judged = lineage or bool(contract.foreign_keys) or any(not is_certain(c.pg_type) for c in columns)
    if target.table is None and not judged:
        return Staging(name, becomes_target=True, columns=columns)
    row_column = unique_name(ROW, {c.field.name for c in columns})
    return Staging(name, becomes_target=False, columns=columns, row_column=row_column)


def _columns(staging: Staging, target: Target, contract: Contract) -> list[str]:
    """The definitions of the table's columns."""
    if staging.becomes_target:
        return final_columns(target, contract, [(c, staging.type_of(c)) for c in staging.columns])
    defined = [f"{quote(c.field.name)} {staging.type_of(c)}" for c in staging.columns]
    return [*defined, f"{quote(staging.row_column)} bigint"] if staging.row_column else defined


def final_columns(target: Target, contract: Contract, types: list[tuple[ColumnPlan, str]]) -> list[str]:
    """The definitions of a new table's columns; those of a key that the database fills come first.

    Args:
        target: the new table.
        contract: with the extra columns.
        types: the columns that are loaded, each with its type.
    """
    taken: set[str] = set()
    fields = []
    for c, pg_type in types:
        needed = _not_null(target, c.field.name, taken) if c.field.required else ""
        fields.append(f"{quote(c.field.name)} {pg_type}{needed}")
    extra = [(c.primary_key or c.identity, _extra(target, c, taken)) for c in contract.extra_columns]
    return [text for first, text in extra if first] + fields + [text for first, text in extra if not first]


def object_name(table: str, column: str, label: str) -> str:
    """The name that PostgreSQL gives to what hangs on a column: `table_column_label`, the longer name cut to fit."""
    first, second = table.encode(), column.encode()
    while len(first) + len(second) + len(label) + 2 > NAME_BYTES:
        first, second = (first[:-1], second) if len(first) > len(second) else (first, second[:-1])
    return "_".join((first.decode("utf-8", "ignore"), second.decode("utf-8", "ignore"), label))


def _not_null(target: Target, column: str, taken: set[str]) -> str:
    """NOT NULL under the name that it would have in the target: PostgreSQL 18 keeps it when a table is renamed."""
    name, number = object_name(target.name, column, "not_null"), 0
    while name in taken:
        number += 1
        name = object_name(target.name, column, f"not_null{number}")
    taken.add(name)
    return f" CONSTRAINT {quote(name)} NOT NULL"


def _extra(target: Target, column: ExtraColumn, taken: set[str]) -> str:
    default = column.default
    if isinstance(default, str):
        clause = f" DEFAULT {default if default in DEFAULTS else literal(default)}"
    else:
        clause = "" if default is None else f" DEFAULT {str(default).lower()}"
    clause = " GENERATED ALWAYS AS IDENTITY" if column.identity else clause
    needed = column.not_null or column.primary_key or column.identity
    return f"{quote(column.name)} {column.type}{clause}{_not_null(target, column.name, taken) if needed else ''}"


def verify(session: Session, staging: Staging, rows: int, expected: dict[str, Checksum], text_hash: TextHash) -> None:
    """Compare what staging holds with what was read, column by column, and the texts of each row.

    Args:
        session: any transaction that sees the chunks.
        staging: the table.
        rows: that were accepted.
        expected: checksums of the accepted rows by column.
        text_hash: by which those of the texts were made.

    Raises:
        VerificationFailed: a column differs; nothing may be published.
    """
    types = {c.field.name: staging.type_of(c) for c in staging.columns}
    compare(session, staging.quoted, types, rows, expected, text_hash)
