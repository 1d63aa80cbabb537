"""Owns the lineage columns, which hold the origin of each row: workbook, sheet, row, and run of the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from importer.errors import ContractError, TargetRefused
from importer.postgres.sql import literal, quote
from importer.postgres.types import PgType

if TYPE_CHECKING:
    from importer.postgres.catalog import Table
    from importer.postgres.session import Session
    from importer.reading.sheet_source import SheetSource

    from .target import Target

#: Lineage columns: name -> type in a new table.
COLUMNS = {"_source_file": "text", "_source_sheet": "text", "_source_row": "bigint", "_run_id": "uuid"}
_TEXTS = ("text", "character varying", "citext")
#: Types that an existing table's column may have, since they hold the value without loss.
_ACCEPTED_TYPES = {
    "_source_file": _TEXTS,
    "_source_sheet": _TEXTS,
    "_source_row": ("bigint", "numeric"),
    "_run_id": ("uuid", *_TEXTS),
}


@dataclass(frozen=True)
class Lineage:
    """The origin of a run's rows; for fixed rejects, the workbook, sheet and rows where they were originally.

    Attributes:
        file: name of the original workbook.
        sheet: name of the original sheet.
        rows: row of the sheet being read -> original row, for rows where these differ.
        run: id of the run in the ledger.
    """

    file: str
    sheet: str
    rows: dict[int, int]
    run: str

    def values(self, row_column: str) -> dict[str, str]:
        """Return column -> SQL expression over the staging table, whose `row_column` holds the sheet row."""
        row = quote(row_column)
        if self.rows:
            # The row is cast to text because the keys of a JSON object are texts.
            known = literal(json.dumps(self.rows))
            row = (
                f"coalesce(({known}::pg_catalog.jsonb OPERATOR(pg_catalog.->>) {row}::pg_catalog.text)::bigint, {row})"
            )
        values = (literal(self.file), literal(self.sheet), row, literal(self.run))
        return {
            name: f"{text}::{PgType(pg_type).qualified}"
            for (name, pg_type), text in zip(COLUMNS.items(), values, strict=True)
        }


def make_lineage(source: SheetSource, run: str) -> Lineage:
    """Return the lineage of a sheet's rows."""
    origin = source.workbook.origin
    file = origin.workbook if origin else source.workbook.recorded_name
    return Lineage(file, source.places.sheet, source.places.rows, run)


def with_lineage(target: Target) -> Target:
    """Return the target with its lineage columns marked as filled, so that they are not required of the sheet.

    Raises:
        TargetRefused: the table lacks a lineage column, or one has a type that cannot hold its values.
    """
    table = target.table
    if table is None:
        return target
    _check(target, table)
    columns = tuple(replace(c, has_default=True) if c.name in COLUMNS else c for c in table.columns)
    return replace(target, table=replace(table, columns=columns))


def _check(target: Target, table: Table) -> None:
    missing = {name: pg_type for name, pg_type in COLUMNS.items() if table.column(name) is None}
    if missing:
        added = ", ".join(f"ADD COLUMN {name} {pg_type}" for name, pg_type in missing.items())
        raise TargetRefused(
            f"table {target.quoted} has no column {', '.join(missing)}, which --lineage fills",
            choice=f"ALTER TABLE {target.quoted} {added};",
        )
    for name, takes in _ACCEPTED_TYPES.items():
        column = table.column(name)
        if column is None or column.filled_by_database or column.pg_type.domain or column.pg_type.name not in takes:
            raise TargetRefused(
                f"column {name!r} of {target.quoted} cannot hold the values that --lineage writes",
                choice=f"change its type to {COLUMNS[name]}, or omit --lineage",
            )


def check_lineage_texts(source: SheetSource, session: Session) -> None:
    """Raise TargetRefused if the name of the workbook or sheet has a character that the database cannot hold."""
    lineage, encoding = make_lineage(source, ""), session.encoding
    for text in (lineage.file, lineage.sheet):
        if missing := encoding.first_missing(text):
            raise TargetRefused(
                f"{text!r} has a character that the database (encoding {encoding.name}) cannot hold: {missing!r}",
                choice="rename it, or omit --lineage",
            )


def check_lineage_names(names: set[str]) -> None:
    """Raise ContractError if one of the names is that of a lineage column."""
    taken = names & set(COLUMNS)
    if taken:
        raise ContractError(
            f"the sheet has a column {', '.join(sorted(taken))} of its own", choice="leave it out with --columns"
        )
