"""Finds a first data row that may only number the columns, as forms do below their header."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from importer.table.grid import BLANK, NUMBER, make_grid

from .footer import FooterRow

if TYPE_CHECKING:
    import polars as pl

    from importer.table.grid import HeadGrid

#: Fewest columns that such a row numbers.
_LEAST = 4
#: Most digits of a number of a column: a sheet has 16,384.
_MOST_DIGITS = 5


def find_column_numbers(rows: pl.DataFrame, header: int, *, textual: bool) -> list[FooterRow]:
    """Return the row below a header if it counts the columns: 1, 2, 3 or A, B, C, each in its place.

    Columns may lack a number, but no more than half of them. Where the next row counts, too, as in a table of products,
    all of them are data.

    Args:
        rows: the first data rows.
        header: the last header row; 0 if there is none.
        textual: whether numbers are texts, as in a CSV.
    """
    grid = make_grid(rows.head(2), textual=textual)
    if not header or not grid.rows or grid.rows[0] != header + 1 or not _counts(grid):
        return []
    return [FooterRow(grid.rows[0], "column numbers", certain=False)]


def _counts(grid: HeadGrid) -> bool:
    filled = np.flatnonzero(grid.kinds[0] != BLANK).tolist()
    if len(filled) < _LEAST or len(filled) * 2 <= len(grid.columns) or len(grid.rows) == 1:
        return False
    if [_place(grid.values[0, c]) for c in filled] != [c + 1 for c in filled]:
        return False
    below = [grid.values[1, c] for c in filled if grid.kinds[1, c] == NUMBER]
    return len({b - a for a, b in itertools.pairwise(below)}) != 1


def _place(value: object) -> int | None:
    """Return the place that a cell may number: its value, or that of its letter in the alphabet."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    text = str(value)
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    return ord(text.upper()) - ord("A") + 1 if len(text) == 1 and text.isascii() and text.isalpha() else None
