"""Finds how many rows a header has, from one of them: merged cells, repeated labels, units."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from .evidence import DOMINANT, PLACEHOLDERS
from .grid import BLANK, NUMBER, TEXT, HeadGrid
from .units import is_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .cell_range import CellRange

#: Most rows of a header that was found; a label merged over more rows is one of rows, not of columns.
MAX_HEADER_ROWS = 6
#: Rows of the body that a row of the header is told from.
_BODY_ROWS = 24


def extend_header(grid: HeadGrid, shown: HeadGrid, position: int, merges: Sequence[CellRange]) -> tuple[int, int]:
    """Return the positions of the first and last header row.

    Args:
        grid: the first rows of the sheet.
        shown: the same with merged values in all cells of their ranges.
        position: position of the row that was found.
        merges: merged ranges.
    """
    low = high = position
    while low > 0 and high - low + 1 < MAX_HEADER_ROWS and _is_group_row(grid, shown, low - 1, merges):
        low -= 1
    while high + 2 < len(grid.rows) + 1 and high - low + 1 < MAX_HEADER_ROWS:
        if high + 1 >= len(grid.rows) or not _continues(grid, shown, (low, high + 1), merges):
            break
        high += 1
    return low, high


def _is_group_row(grid: HeadGrid, shown: HeadGrid, position: int, merges: Sequence[CellRange]) -> bool:
    """Return whether a row names groups of the columns in the row below it."""
    row = grid.rows[position]
    filled = np.flatnonzero(grid.kinds[position] != BLANK)
    if grid.rows[position + 1] != row + 1 or not set(grid.kinds[position][filled]) <= {TEXT, NUMBER}:
        return False
    columns = np.array(grid.columns)
    spans = [s for s in merges if s.top == row and s.left in columns]
    reaching = [s for s in spans if s.bottom > row and s.width == 1]
    sideways = [s for s in spans if s.width > 1 and ((columns >= s.left) & (columns <= s.right)).sum() < len(columns)]
    if len(filled) > 1 and (sideways or reaching):
        return True
    if sideways and int((shown.kinds[position] != BLANK).sum()) > 1:
        return _repeats(shown, position + 1) or len(sideways) > 1 or sideways[0].left > grid.columns[0]
    if len(filled) < 2 or len(set(grid.values[position][filled])) < 2:  # noqa: PLR2004 - one text is a title
        return False
    if _repeats(shown, position) and not _repeats(shown, position + 1):
        return True
    if _names_series(grid, position):
        return True
    labels = [v for v, k in zip(grid.values[position + 1], grid.kinds[position + 1], strict=True) if k != BLANK]
    return len(set(labels)) < len(labels) and _blanks_below_labels(grid, shown, position + 1)


def _names_series(grid: HeadGrid, position: int) -> bool:
    """Return whether each label of a row begins a series in the row below it, and the series are all the same.

    As years do above the same quarters, though nobody merged their cells.
    """
    below = [
        str(v) if k == TEXT else "" for v, k in zip(grid.values[position + 1], grid.kinds[position + 1], strict=True)
    ]
    starts = [*np.flatnonzero(grid.kinds[position] != BLANK).tolist(), len(below)]
    series = [tuple(below[start:end]) for start, end in itertools.pairwise(starts)]
    return len(set(series)) == 1 and len(series) > 1 and len(series[0]) > 1 and all(series[0])


def _repeats(shown: HeadGrid, position: int) -> bool:
    """Return whether labels stand side by side twice, and more than one of them."""
    values = [v for v, k in zip(shown.values[position], shown.kinds[position], strict=True) if k != BLANK]
    same = sum(a == b for a, b in itertools.pairwise(values))
    return same >= 2 and len(set(values)) > 1  # noqa: PLR2004 - a pair may be a duplicate


def _continues(grid: HeadGrid, shown: HeadGrid, rows: tuple[int, int], merges: Sequence[CellRange]) -> bool:
    """Return whether the row after a header is one of it: labels below groups, units, or rows that merges reach."""
    low, position = rows
    filled = np.flatnonzero(grid.kinds[position] != BLANK)
    top, row = grid.rows[low], grid.rows[position]
    labels = grid.values[position][filled]
    if (grid.kinds[position][filled] != TEXT).any() or any(str(v).casefold() in PLACEHOLDERS for v in labels):
        return False
    others = _typed_columns(grid, position + 1)
    over_types = bool(others.any() and (grid.kinds[position][others] != BLANK).any())
    columns = set(grid.columns)
    reached = [s for s in merges if s.top >= top and s.top < row <= s.bottom and s.left in columns]
    bare = others.copy()  # columns of other kinds than texts that no merged label covers
    for span in reached:
        bare[_within(grid, span)] = False
    if reached and max(s.bottom for s in reached) - top < MAX_HEADER_ROWS and (over_types or not bare.any()):
        return True
    above = [s for s in merges if grid.rows[position - 1] == s.top and s.width > 1 and s.left in columns]
    if any((grid.kinds[position][_within(grid, s)] != BLANK).sum() > 1 for s in above):
        return over_types or (not others.any() and _blanks_below_labels(grid, shown, position))
    if not over_types or len(grid.rows) <= position + 1:
        return False
    if _recurs(grid, position):
        return False
    here = grid.kinds[position] != BLANK
    units = all(is_units(grid.values[position][here & mask]) for mask in (others, ~others))
    return units or _repeats(shown, position - 1) or _blanks_below_labels(grid, shown, position)


def _recurs(grid: HeadGrid, position: int) -> bool:
    """Return whether a text of a row occurs below it in its column, as that of a row of data may."""
    below = grid.values[position + 1 : position + 1 + _BODY_ROWS]
    kinds = grid.kinds[position + 1 : position + 1 + _BODY_ROWS]
    return any(
        kind == TEXT and ((below[:, column] == value) & (kinds[:, column] == TEXT)).any()
        for column, (kind, value) in enumerate(zip(grid.kinds[position], grid.values[position], strict=True))
    )


def _within(grid: HeadGrid, span: CellRange) -> list[int]:
    return [i for i, column in enumerate(grid.columns) if span.left <= column <= span.right]


def _blanks_below_labels(grid: HeadGrid, shown: HeadGrid, position: int) -> bool:
    """Return whether the row complements the one above: it has blanks below labels, and labels below blanks."""
    here, above = grid.kinds[position] != BLANK, grid.kinds[position - 1] != BLANK
    merged = (shown.kinds[position - 1] != BLANK) & ~above
    return bool((here & ~above).any() and (~here & above).any()) or bool(merged.any() and (~here & above).any())


def _typed_columns(grid: HeadGrid, start: int) -> NDArray[np.bool_]:
    """Return which columns mostly hold other kinds than texts from a position on."""
    body = grid.kinds[start : start + _BODY_ROWS]
    filled = (body != BLANK).sum(axis=0)
    texts = (body == TEXT).sum(axis=0)
    return np.asarray((filled > 0) & (filled - texts >= DOMINANT * np.maximum(filled, 1)))
