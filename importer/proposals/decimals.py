"""Proposes `numeric(p,s)` for columns of numbers that are shown as amounts, where it holds every number exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.cells import spool
from importer.cells.facts import ColumnFacts
from importer.cells.frame import digits_name, part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from importer.contract.model import Contract
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource

#: The digits that a 64-bit float keeps, which is what a cell holds.
_PRECISION = 15
#: Most of a number by which it may differ from its decimals: less than half a unit of its fifteenth digit.
_EPSILON = 5e-16


def propose_decimals(source: SheetSource, columns: Iterable[SheetColumn]) -> dict[int, str]:
    """Return the type of each column that is shown as an amount, by column index.

    What the formats are is looked up in the first rows, whether the numbers fit is tried with all.

    Args:
        source: the sheet, whose windows are kept.
        columns: columns to look at.
    """
    scales = {column: scale for window in source.windows for column, scale in (window.scales or {}).items()}
    found = {}
    for column in columns:
        facts = source.facts.get(column.index, ColumnFacts())
        if facts.typed != {"number"} or facts.beyond_floats or column.index not in scales:
            continue
        scale = scales[column.index]
        if scale < _PRECISION and _fits(source, column.index, scale):
            found[column.index] = f"numeric({_PRECISION},{scale})"
    return found


def _fits(source: SheetSource, column: int, scale: int) -> bool:
    name, most = part(column, "number"), 10.0 ** (_PRECISION - scale)
    for window in source.windows:
        frame = source.data.of(spool.read(window.path))
        if name not in frame.columns:
            continue
        if digits_name(column) in frame.columns and frame[digits_name(column)].count():
            return False
        numbers = frame[name].drop_nulls()
        if not bool(((numbers - numbers.round(scale)).abs() <= numbers.abs() * _EPSILON).all()):
            return False
        if not numbers.is_empty() and float(numbers.abs().max()) >= most:  # type: ignore[arg-type]
            return False
    return True


def with_decimals(contract: Contract, found: Mapping[str, SheetColumn | None], types: Mapping[int, str]) -> Contract:
    """Return the contract with these types; a whole number that is an amount is a number.

    Args:
        contract: the contract.
        found: sheet column by field name.
        types: type by column index.
    """
    chosen = {name: types[column.index] for name, column in found.items() if column and column.index in types}
    fields = tuple(
        replace(f, type="number") if f.name in chosen and f.type == "integer" else f for f in contract.fields
    )
    return replace(contract, fields=fields, types={**contract.types, **chosen})


def decimals_note(columns: Iterable[SheetColumn], types: Mapping[int, str]) -> list[str]:
    """Return a note on the columns that are shown as amounts, and what makes exact decimals of them; empty without."""
    shown = [(column.name, types[column.index]) for column in columns if column.index in types]
    if not shown:
        return []
    listed = ", ".join(name for name, _ in shown)
    return [f"shown as amounts or with decimals: {listed}; --types {shown[0][0]}='{shown[0][1]}' keeps exact decimals"]
