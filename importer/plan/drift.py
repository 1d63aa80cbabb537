"""Compares a sheet with the contract or table that it is loaded by, where the differences are not refused.

What a run does with new ones is its `drift` policy: the sheet is refused (see `mismatch`), or they are added to the
table, or left out. A column that is missing is refused by every policy, unless `fieldsMatch` allows it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.cells.facts import ColumnFacts
from importer.cells.field import Field
from importer.table.labels import unique_name

from .infer import infer_type, special_type
from .mixed import count_kinds
from .target import field_of_column, fields_of_columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importer.contract.model import Contract
    from importer.postgres.catalog import Table
    from importer.reading.header import SheetColumn
    from importer.settings import Settings

    from .model import ColumnPlan

#: Kinds of cells that may be a value of a field type; those that are not listed take every kind.
_READABLE = {
    "number": {"number", "text"}, "integer": {"number", "text"}, "year": {"number", "text"},
    "boolean": {"boolean", "number", "text"}, "date": {"date", "datetime", "instant", "text"},
    "datetime": {"date", "datetime", "instant", "text"}, "time": {"time", "duration", "text"},
    "duration": {"duration", "time", "text"}, "yearmonth": {"date", "datetime", "text"},
}  # fmt: skip


def with_new_columns(
    contract: Contract, columns: Iterable[SheetColumn], facts: dict[int, ColumnFacts], table: Table | None,
    settings: Settings,
) -> Contract:  # fmt: skip
    """Return the contract with a field for each of these columns: that of a column that the table has, or a new one.

    Args:
        contract: contract of the load.
        columns: sheet columns without a field.
        facts: facts of all rows by sheet column (0-based).
        table: the existing table, or None.
        settings: settings of the run: `mixed`.
    """
    columns = list(columns)
    taken = {f.name for f in contract.fields} | {c.name for c in contract.extra_columns}
    taken |= {c.name for c in table.columns if c.filled_by_database} if table else set()
    known = fields_of_columns(table, taken, columns) if table else {}
    taken |= {f.name for f in known.values()}
    added, types = [], dict(contract.types)
    for column in columns:
        field = known.get(column.index)
        if field is None:
            name = unique_name(column.name, taken)
            taken.add(name)
            field = field_of_column(table, name) if table else None
        if field is None:
            found = facts.get(column.index, ColumnFacts())
            field = Field(name, infer_type(found, settings.mixed))
            if (special := special_type(field.type, found)) is not None:
                types[name] = special
        added.append(replace(field, title=column.header))
    return replace(contract, fields=(*contract.fields, *added), types=types) if added else contract


def retyped_notes(
    columns: Iterable[tuple[Field, SheetColumn | None]], facts: dict[int, ColumnFacts], what: str
) -> list[str]:
    """Return a note for each column most of whose cells cannot be a value of its field type; they are rejects.

    Args:
        columns: the fields, each with its column of the sheet.
        facts: facts of all rows by sheet column (0-based).
        what: what decides the types, for the note.
    """
    notes = []
    for field, column in columns:
        readable = _READABLE.get(field.type)
        counts = facts.get(column.index, ColumnFacts()).value_counts if column else {}
        unreadable = sum(n for kind, n in counts.items() if readable is not None and kind not in readable)
        if unreadable * 2 > sum(counts.values()):
            notes.append(f"{field.name} is {field.type} in {what}, and {count_kinds(counts)} in the sheet")
    return notes


def absent_columns(table: Table, columns: Iterable[ColumnPlan]) -> list[str]:
    """Return the names of the table's columns that get no value: the sheet has none, and neither has the database."""
    loaded = {c.field.name for c in columns if c.column}
    return [c.name for c in table.columns if c.name not in loaded and not c.has_default and not c.filled_by_database]
