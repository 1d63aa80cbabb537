"""Compares a sheet with the contract or table that it is loaded by, where the differences are not refused.

What a run does with new ones is its `drift` policy: the sheet is refused (see `mismatch`), or they are added to the
table, or left out. A column that is missing is refused by every policy, unless `fieldsMatch` allows it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from importer.cells.facts import ColumnFacts
from importer.cells.field import Field
from importer.reading.header import SheetColumn
from importer.table.labels import unique_name

from .infer import infer_type, special_type
from .mixed import count_kinds
from .model import field_columns
from .target import field_of_column, fields_of_columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importer.contract.model import Contract
    from importer.postgres.catalog import Table
    from importer.settings import Settings

    from .model import ColumnPlan

#: Kinds of cells that may be a value of a field type; those that are not listed take every kind.
_READABLE = {
    "number": {"number", "text"}, "integer": {"number", "text"}, "year": {"number", "text"},
    "boolean": {"boolean", "number", "text"}, "date": {"date", "datetime", "instant", "text"},
    "datetime": {"date", "datetime", "instant", "text"}, "time": {"time", "duration", "text"},
    "duration": {"duration", "time", "text"}, "yearmonth": {"date", "datetime", "text"},
}  # fmt: skip


class NewColumn(NamedTuple):
    """A column that no field of a contract takes.

    Attributes:
        column: the column of the sheet; with a negative index that of another one, which the sheet lacks.
        name: the name that it has, or gets, in the table.
        known: the field of the column that the table has for it; None if it has none.
    """

    column: SheetColumn
    name: str
    known: Field | None


def find_new_columns(contract: Contract, columns: Iterable[SheetColumn], table: Table | None) -> list[NewColumn]:
    """Return what becomes of columns without a field: names that earlier files gave them are found again.

    Args:
        contract: contract of the load.
        columns: columns without a field.
        table: the existing table, or None.
    """
    columns = list(columns)
    taken = {f.name for f in contract.fields} | {c.name for c in contract.extra_columns}
    taken |= {c.name for c in table.columns if c.filled_by_database} if table else set()
    known = fields_of_columns(table, taken, columns) if table else {}
    taken |= {f.name for f in known.values()}
    found = []
    for column in columns:
        field = known.get(column.index)
        name = field.name if field else unique_name(column.name, taken)
        taken.add(name)
        found.append(NewColumn(column, name, field or (field_of_column(table, name) if table else None)))
    return found


def with_new_columns(
    contract: Contract, columns: list[SheetColumn], facts: dict[int, ColumnFacts], table: Table | None,
    settings: Settings,
) -> tuple[Contract, frozenset[str]]:  # fmt: skip
    """Return the contract with a field for each new column, and the names of those that the sheet lacks.

    Where several sheets agreed on new columns, each adds all of them, in one order, so that theirs does not matter.

    Args:
        contract: contract of the load.
        columns: sheet columns to load.
        facts: facts of all rows by sheet column (0-based).
        table: the existing table, or None.
        settings: settings of the run: `mixed` and `agreed`.
    """
    agreed = {c.name: c for c in settings.agreed}
    names = {c.name for c in columns}
    others = [SheetColumn(-n, c.title, c.name) for n, c in enumerate(settings.agreed, 1) if c.name not in names]
    new = without_field(contract, columns) + without_field(contract, others)
    new.sort(key=lambda column: list(agreed).index(column.name) if column.name in agreed else len(agreed))
    fields, types, absent = [], dict(contract.types), set()
    for column, name, known in find_new_columns(contract, new, table):
        found = facts.get(column.index, ColumnFacts())
        decided = agreed.get(column.name)
        kind = decided.type if decided else infer_type(found, settings.mixed)
        special = decided.pg_type if decided else special_type(kind, found)
        if column.index < 0:
            if known is not None:
                continue
            absent.add(name)
        if known is None and special is not None:
            types[name] = special
        fields.append(replace(known or Field(name, kind), title=column.header))
    return replace(contract, fields=(*contract.fields, *fields), types=types), frozenset(absent)


def without_field(contract: Contract, columns: list[SheetColumn]) -> list[SheetColumn]:
    """Return the columns that no field of the contract takes."""
    taken = field_columns(contract.fields, columns).values()
    return [column for column in columns if column not in taken]


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
