"""Infers field types and a contract from the cells of a whole sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.cells.field import Field
from importer.contract.model import Contract

if TYPE_CHECKING:
    from importer.cells.facts import ColumnFacts
    from importer.reading.header import SheetColumn


def infer_type(facts: ColumnFacts) -> str:
    """Return the Table Schema type that holds every value of a column; `string` if the kinds are mixed."""
    match sorted(facts.typed):
        case ["number"]:
            return "integer" if facts.integral else "number"
        case ["boolean"]:
            return "boolean"
        case ["date"]:
            return "date"
        case ["date", "datetime"] | ["datetime"]:
            return "datetime"
        case ["time"]:
            return "time"
        case ["duration"]:
            return "duration"
        case _:
            return "string"


def infer_contract(columns: list[SheetColumn], facts: dict[int, ColumnFacts]) -> Contract:
    """Return the contract inferred from all rows of the sheet."""
    from importer.cells.facts import ColumnFacts as Facts

    return Contract(tuple(Field(c.name, infer_type(facts.get(c.index, Facts())), title=c.header) for c in columns))
