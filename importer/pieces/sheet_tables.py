"""Owns the tables of a sheet, and takes the one whose labels a contract names instead of the largest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from importer.cells.frame import kinds_by_column, part
from importer.table.data_rows import select_columns
from importer.table.labels import comparable_text, to_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from importer.table.cell_range import CellRange


#: Rows from the first of a table on that may hold its labels: a title, some header rows.
_HEAD_ROWS = 6


class SheetTables(NamedTuple):
    """The tables of a sheet, if they are several.

    Attributes:
        areas: range of each, header included; empty if the sheet is one table.
        largest: the one to read.
        doubtful: ranges that may be tables of their own.
        candidates: all ranges beside each other, where it is in doubt whether they are several tables.
    """

    areas: tuple[CellRange, ...] = ()
    largest: CellRange | None = None
    doubtful: tuple[CellRange, ...] = ()
    candidates: tuple[CellRange, ...] = ()


def take_fitting(
    found: SheetTables, wanted: Sequence[tuple[str, ...]], read: Callable[[int, int], pl.DataFrame]
) -> tuple[SheetTables, bool]:
    """Return the tables with the one to read that has most of the wanted columns, and whether these chose it.

    Where it is in doubt whether there are several, one that has all of them is taken alone.

    Args:
        found: the tables.
        wanted: the labels that each column may have; empty if nobody knows.
        read: returns rows of the sheet, from one to another.
    """
    if not wanted:
        return found, False
    fits = _count_fitting(found.areas or found.candidates, wanted, read)
    if found.largest is not None:
        best = max(found.areas, key=lambda area: (fits[area], area == found.largest))
        return found._replace(largest=best), best != found.largest
    whole = [area for area, count in fits.items() if count == len(wanted)]
    if len(whole) != 1:
        return found, False
    return SheetTables(found.candidates, whole[0]), True


def _count_fitting(
    areas: Sequence[CellRange], wanted: Sequence[tuple[str, ...]], read: Callable[[int, int], pl.DataFrame]
) -> dict[CellRange, int]:
    """Return how many of the wanted columns each table has; the ranges include the header."""
    found = {}
    for area in areas:
        head = read(area.top, min(area.bottom, area.top + _HEAD_ROWS))
        labels = _labels(select_columns(head, area.left, area.right))
        found[area] = sum(
            not labels.isdisjoint(map(comparable_text, names)) or _is_named(labels, names) for names in wanted
        )
    return found


def _labels(head: pl.DataFrame) -> set[str]:
    """Return the texts of rows as labels are compared."""
    columns = [part(column, "text") for column, kinds in kinds_by_column(head.columns).items() if "text" in kinds]
    return {comparable_text(text) for name in columns for text in head[name].drop_nulls().to_list()}


def _is_named(labels: set[str], names: tuple[str, ...]) -> bool:
    identifiers = {to_identifier(label) for label in labels} - {""}
    return not identifiers.isdisjoint({to_identifier(name) for name in names})
