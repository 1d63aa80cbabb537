"""Infers field types and a contract from the cells of a whole sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.cells.field import Field
from importer.cells.text_forms import TYPES
from importer.contract.model import Contract
from importer.proposals.model import MAIN_SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.cells.facts import ColumnFacts
    from importer.option_values import AgreedColumn
    from importer.reading.header import SheetColumn
    from importer.settings import MixedPolicy

#: Field types of the kinds. A number may have a fraction next month, so that a column of whole ones is only then taken
#: for `integer` if it holds nothing else.
TYPE_OF_KIND = {
    "number": "number", "text": "string", "boolean": "boolean", "date": "date", "datetime": "datetime", "time": "time",
    "duration": "duration", "instant": "datetime",
}  # fmt: skip


def infer_type(facts: ColumnFacts, mixed: MixedPolicy = "text") -> str:
    """Return the Table Schema type that holds every value of a column.

    Numbers that their formats fill up with zeros are identifiers, whose zeros a number would lose: `string`.
    If the kinds mix it is `string`, which holds all of them; with `mixed` `reject` and nearly all values of one kind,
    the type of that kind. Texts of a file of texts have the type that all of them are written as.
    """
    counts = facts.value_counts
    if not counts:
        return "string"
    if facts.holds_days:
        return "date"
    if facts.holds_identifiers:
        return "string"
    if set(counts) == {"text"}:
        return TYPES.get(facts.form, "string")
    main = max(counts, key=lambda kind: counts[kind])
    if len(counts) > 1 and not (mixed == "reject" and counts[main] >= MAIN_SHARE * sum(counts.values())):
        return "string"
    return "integer" if main == "number" and facts.integral else TYPE_OF_KIND[main]


def infer_contract(columns: list[SheetColumn], facts: dict[int, ColumnFacts], mixed: MixedPolicy = "text") -> Contract:
    """Return the contract inferred from all rows of the sheet; for `mixed` see `infer_type`.

    Numbers with more digits than floats have go into columns of type numeric, dates with an offset into `timestamptz`.
    """
    from importer.cells.facts import ColumnFacts as Facts

    known = {c.name: facts.get(c.index, Facts()) for c in columns}
    fields = tuple(Field(c.name, infer_type(known[c.name], mixed), title=c.header) for c in columns)
    types = {f.name: special_type(f.type, known[f.name]) for f in fields}
    return Contract(fields, types={name: pg_type for name, pg_type in types.items() if pg_type is not None})


def special_type(field_type: str, facts: ColumnFacts) -> str | None:
    """Return the PostgreSQL type of a column whose values lose something in that of its field type; else None."""
    if field_type == "number" and facts.beyond_floats:
        return "numeric"
    counts = facts.value_counts
    if field_type == "datetime" and max(counts, key=lambda kind: counts[kind], default="") == "instant":
        return "timestamptz"
    return None


def agreed_contract(agreed: Sequence[AgreedColumn]) -> Contract:
    """Return the contract of a new table from the columns that several sheets agreed on; a sheet may lack some."""
    fields = tuple(Field(c.name, c.type, title=c.title) for c in agreed)
    types = {c.name: c.pg_type for c in agreed if c.pg_type is not None}
    return Contract(fields, types=types, fields_match="superset")
