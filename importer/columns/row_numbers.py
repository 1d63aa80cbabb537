"""Reads the numbers of a window's `<row>` elements, and in which of them its cells are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.decoding.string_views import words
from importer.excel.addresses import MAX_ROWS

from .digits import MASKS, read_digits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions
    from importer.decoding.tag_scan import Tags

    from .cell_tags import CellTags

_TAG = b'<row r="'
_TAG_WORD = np.uint64(int.from_bytes(_TAG, "little"))
_NUMBER = re.compile(rb"""<row\b[^>]*?\sr\s*=\s*["']\s*0*([1-9][0-9]{0,6})\s*["']""")
_HAS_NUMBER = re.compile(rb"<row\b[^>]*?\sr\s*=")
#: Most digits of a row's number.
MAX_DIGITS = len(str(MAX_ROWS))


class RowNumbers(NamedTuple):
    """The `<row>` elements of a window, in document order.

    Attributes:
        numbers: sheet row of each, 1-based.
        words: what ends the address of each one's cells: the row's digits and a quote, as a little-endian word.
        sizes: number of bytes of that.
        cells: number of cells in each.
    """

    numbers: Positions
    words: NDArray[np.unsignedinteger]
    sizes: Positions
    cells: Positions


def read_row_numbers(tags: Tags, cells: CellTags, first_row: int) -> RowNumbers | None:
    """Return the rows of a window; None if a cell is in none, or a row's number is none that a sheet has.

    Args:
        tags: tags of the window.
        cells: its cells.
        first_row: number of a first row that has none; others follow their predecessors (18.3.1.73).
    """
    before = np.searchsorted(cells.first, cells.rows)
    if not len(before) or before[0]:
        return None
    counts = np.diff(before, append=len(cells.first))
    numbers, held, sizes, usual = _read_usual(tags.data, tags.at[cells.rows])
    if not usual.all() and not _read_unusual(tags, cells.rows, np.flatnonzero(~usual), numbers, first_row):
        return None
    if not usual.all():
        _spell(numbers, np.flatnonzero(~usual), held, sizes)
    return RowNumbers(numbers, held & MASKS[sizes], sizes, counts) if int(numbers.max()) <= MAX_ROWS else None


def read_usual_row_numbers(data: Bytes, at: Positions, counts: Positions) -> RowNumbers | None:
    """Return the rows of a window; None if not all begin with `<row r="1"`, or one has no number that a sheet has.

    Args:
        data: bytes of the window.
        at: offset of each `<row`.
        counts: number of cells in each.
    """
    numbers, held, sizes, usual = _read_usual(data, at)
    if not usual.all() or int(numbers.max()) > MAX_ROWS:
        return None
    return RowNumbers(numbers, held & MASKS[sizes], sizes, counts)


def _read_usual(
    data: Bytes, at: Positions
) -> tuple[Positions, NDArray[np.unsignedinteger], Positions, NDArray[np.bool_]]:
    """Return number, word and size of rows (see `RowNumbers`), and which of them begin with `<row r="1"`."""
    eight = words(data, 8)
    held = eight[at + len(_TAG)]
    numbers, digits, closed = read_digits(held, MAX_DIGITS)
    return numbers, held, digits + 1, (eight[at] == _TAG_WORD) & closed & (numbers > 0)


def _read_unusual(tags: Tags, rows: Positions, which: Positions, numbers: Positions, first_row: int) -> bool:
    """Complete the numbers of rows that do not begin with `<row r="1"`; return whether all could be read."""
    for row in which.tolist():
        start = int(tags.at[rows[row]])
        tag = tags.data[start : int(tags.at[rows[row] + 1])].tobytes()
        given = _NUMBER.match(tag)
        if given is None and _HAS_NUMBER.match(tag):
            return False
        numbers[row] = int(given[1]) if given else (numbers[row - 1] + 1 if row else first_row)
    return True


def _spell(numbers: Positions, which: Positions, held: NDArray[np.unsignedinteger], sizes: Positions) -> None:
    """Complete the words and sizes of rows from their numbers."""
    for row in which.tolist():
        text = b'%d"' % numbers[row]
        held[row], sizes[row] = int.from_bytes(text, "little"), len(text)
