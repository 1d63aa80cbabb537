"""Defines ranges of cells, and parses them as they are written: `A1:B2`, `$A$4:$H$205`, `B:D`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS, column_index, column_letters

if TYPE_CHECKING:
    from collections.abc import Iterable

_CELLS = re.compile(r"\$?([A-Z]{1,3})\$?([1-9]\d{0,6})(?::\$?([A-Z]{1,3})\$?([1-9]\d{0,6}))?")
_COLUMNS = re.compile(r"\$?([A-Z]{1,3}):\$?([A-Z]{1,3})")


class CellRange(NamedTuple):
    """A range of cells: rows 1-based, columns 0-based, all inclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.right - self.left + 1

    @property
    def address(self) -> str:
        """The range as it is written in a formula: `A4:H205`."""
        return f"{column_letters(self.left)}{self.top}:{column_letters(self.right)}{self.bottom}"


def parse_range(text: str) -> CellRange | None:
    """Return the range that a text writes, one cell and whole columns included; None if it writes none."""
    cells, columns = _CELLS.fullmatch(text), _COLUMNS.fullmatch(text)
    if cells:
        top, left = int(cells[2]), column_index(cells[1])
        bottom, right = int(cells[4] or top), column_index(cells[3] or cells[1])
    elif columns:
        top, left, bottom, right = 1, column_index(columns[1]), MAX_ROWS, column_index(columns[2])
    else:
        return None
    inside = top <= bottom <= MAX_ROWS and left <= right < MAX_COLUMNS
    return CellRange(top, left, bottom, right) if inside else None


def parse_merges(refs: Iterable[str], last_row: int) -> list[CellRange]:
    """Return the merged ranges of more than one cell that begin at or above a row; others are left out."""
    found = (parse_range(ref) for ref in refs)
    return [span for span in found if span and span.top <= last_row and span.top + span.left < span.bottom + span.right]
