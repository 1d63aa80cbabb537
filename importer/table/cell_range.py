"""Defines ranges of cells, and parses them as they are written: `A1:B2`, `$A$4:$H$205`, `B:D`, `4:205`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS, column_index, column_letters

if TYPE_CHECKING:
    from collections.abc import Iterable

_CELLS = re.compile(r"\$?([A-Z]{1,3})\$?([1-9]\d{0,6})(?::\$?([A-Z]{1,3})\$?([1-9]\d{0,6}))?")
_COLUMNS = re.compile(r"\$?([A-Z]{1,3}):\$?([A-Z]{1,3})")
_ROWS = re.compile(r"\$?([1-9]\d{0,6}):\$?([1-9]\d{0,6})")
_CORNER = re.compile(r"\$?([A-Z]{1,3})?\$?([1-9]\d{0,6})?")


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
    def columns(self) -> range:
        """The columns."""
        return range(self.left, self.right + 1)

    @property
    def address(self) -> str:
        """The range as it is written in a formula: `A4:H205`."""
        return f"{column_letters(self.left)}{self.top}:{column_letters(self.right)}{self.bottom}"


def parse_range(text: str) -> CellRange | None:
    """Return the range that a file writes, one cell, whole columns or rows included; None if it writes none."""
    cells, columns, rows = _CELLS.fullmatch(text), _COLUMNS.fullmatch(text), _ROWS.fullmatch(text)
    if cells:
        top, left = int(cells[2]), column_index(cells[1])
        bottom, right = int(cells[4] or top), column_index(cells[3] or cells[1])
    elif columns:
        top, left, bottom, right = 1, column_index(columns[1]), MAX_ROWS, column_index(columns[2])
    elif rows:
        top, left, bottom, right = int(rows[1]), 0, int(rows[2]), MAX_COLUMNS - 1
    else:
        return None
    inside = top <= bottom <= MAX_ROWS and left <= right < MAX_COLUMNS
    return CellRange(top, left, bottom, right) if inside else None


def parse_typed_range(text: str) -> CellRange | None:
    """Return the range that a person writes: in any case, from any corner (`H205:A4`), without an end (`A4:H`)."""
    first, colon, last = text.strip().upper().partition(":")
    begin, end = _CORNER.fullmatch(first.strip()), _CORNER.fullmatch(last.strip() if colon else first.strip())
    if not begin or not end or not (begin[1] or begin[2]) or not (end[1] or end[2]):
        return None
    if not colon and not (begin[1] and begin[2]):
        return None  # `A`, `4`
    columns = sorted(column_index(c) for c in (begin[1] or "A", end[1] or column_letters(MAX_COLUMNS - 1)))
    rows = sorted((int(begin[2] or 1), int(end[2] or MAX_ROWS)))
    found = CellRange(rows[0], columns[0], rows[1], columns[1])
    return found if found.bottom <= MAX_ROWS and found.right < MAX_COLUMNS else None


def parse_merges(refs: Iterable[str], last_row: int) -> list[CellRange]:
    """Return the merged ranges of more than one cell that begin at or above a row; others are left out."""
    found = (parse_range(ref) for ref in refs)
    return [span for span in found if span and span.top <= last_row and span.top + span.left < span.bottom + span.right]


def clip_merges(merges: Iterable[str], area: CellRange) -> tuple[str, ...]:
    """Return the parts of merged ranges that are in an area, of those that begin in it."""
    found = (parse_range(ref) for ref in merges)
    return tuple(
        span._replace(bottom=min(span.bottom, area.bottom), right=min(span.right, area.right)).address
        for span in found
        if span and area.top <= span.top <= area.bottom and span.left in area.columns
    )
