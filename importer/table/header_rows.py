"""Finds the header rows at the top of a sheet, or that it has none, and says where that is a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .evidence import DOMINANT, has_sums_above, named_series, weigh
from .grid import BLANK, TEXT, HeadGrid
from .header_depth import extend_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .cell_range import CellRange

    Mask = NDArray[np.bool_]

#: Rows below a candidate that it is compared with.
_BODY_ROWS = 24
#: Columns that are weighed: the first ones say what the others would.
_WEIGHED_COLUMNS = 64
#: Rows in turn that cannot be the header before the search ends.
_PATIENCE = 16
#: Smallest lead of a header over the next candidate, and over no header, for it to be more than a guess.
_LEAD, _LEAST = 0.12, 0.15
#: Least share of the widest rows' cells of a row of the table; a title fills one or two cells.
_WIDE = 0.5
#: Share of the table's columns that a full row has, and of a row's cells that make it like another.
_FULL, _ALIKE = 0.8, 0.75
#: What the place of a row says: wide rows stand above (each, and at most); it is the first wide one; a blank row is
#: above or below, where only a full row can be a header.
_ROW_ABOVE, _MOST_ABOVE, _FIRST = -0.05, -0.15, 0.1
_GAP_ABOVE, _GAP_BELOW, _GAP_BELOW_FULL = 0.1, -0.2, -0.05


@dataclass(frozen=True)
class HeaderRows:
    """Where the header is.

    Attributes:
        first: first header row, 1-based; 0 if the sheet has no header.
        last: last header row; 0 without a header.
        after: rows after this one are data; `last`, or without a header the last row above the table.
        doubt: why this is a guess, and the option that decides otherwise; None if it is none.
        given: whether somebody, or the file itself, says so.
        decided: what decided it, where that is not how the cells look; for people.
    """

    first: int
    last: int
    after: int
    doubt: str | None = None
    given: bool = False
    decided: str | None = None


#: Fewest rows of values that make a table of a row and what is below it.
_LEAST_ROWS = 2


@dataclass(frozen=True)
class _Candidate:
    """A row that may be the header: its position in the grid, and its score from -1 to about 1."""

    position: int
    score: float
    contrasts: int


def given_header(first: int, last: int) -> HeaderRows:
    """Return the header rows that somebody gave, or that the file itself states; (0, 0) for none."""
    return HeaderRows(first, last, last, given=True)


def find_header(grid: HeadGrid, merges: Sequence[CellRange]) -> HeaderRows:
    """Return the header rows of a sheet, by its first rows.

    A header differs from the rows below it (see `evidence`). Rows that all have one shape and one pattern of kinds have
    no header above them, and no row of that shape is left out above a header.

    Args:
        grid: the first rows of the sheet.
        merges: merged ranges that begin in these rows.
    """
    if not grid.rows:
        return HeaderRows(0, 0, 0)
    grid = _weighed_part(grid)
    if len(grid.rows) == 1:
        return _only_row(grid)
    shown = spread_merged(grid, merges)
    wide = _is_wide(grid, shown)
    found = sorted(_candidates(grid, shown, wide), key=lambda c: -c.score)
    titles = (grid.widths == 1) & (grid.kinds == TEXT).any(axis=1) & (len(grid.columns) > 1)
    start = int(np.flatnonzero(wide & ~titles if (wide & ~titles).any() else wide)[0])
    if not found or found[0].score <= 0:
        return _without_header(grid, start, found)
    best = _first_of_tables(grid, wide, found)
    found = [best, *(each for each in found if each != best)]
    low, high = extend_header(grid, shown, best.position, merges)
    doubt = _doubt(grid, found, (low, high))
    return HeaderRows(grid.rows[low], grid.rows[high], grid.rows[high], doubt)


def _only_row(grid: HeadGrid) -> HeaderRows:
    """Return whether the only row is the header: it has texts alone, or beside years, dates or days that name columns.

    Any other values would be lost as names.
    """
    kinds, row = grid.kinds[0], grid.rows[0]
    texts, named = kinds == TEXT, named_series(kinds, grid.values[0], grid.only(np.zeros(1, bool)))
    if texts.all() or (texts.any() and len(named) == int((~texts).sum()) > 1):
        return HeaderRows(row, row, row)
    return HeaderRows(0, 0, 0, f"that there is no header row is a guess: row {row} may be it; --header-row {row}")


def _first_of_tables(grid: HeadGrid, wide: Mask, found: Sequence[_Candidate]) -> _Candidate:
    """Return the best candidate; of two that are as likely, the one above a table whose rows the other would leave out.

    The other one then begins a second table, which is found as such.
    """
    best, rows = found[0], grid.rows
    for rival in found[1:]:
        between = slice(rival.position + 1, best.position)
        if rival.position < best.position and rival.score > 0 and best.score - rival.score < _LEAD:
            typed = ((grid.kinds[between] != BLANK) & (grid.kinds[between] != TEXT)).any(axis=1)
            follows = rows[rival.position + 1] == rows[rival.position] + 1
            apart = rows[best.position] > rows[best.position - 1] + 1
            if follows and apart and (wide[between] & typed).sum() >= _LEAST_ROWS:
                return rival
    return best


def _weighed_part(grid: HeadGrid) -> HeadGrid:
    if len(grid.columns) <= _WEIGHED_COLUMNS:
        return grid
    columns = slice(0, _WEIGHED_COLUMNS)
    part = HeadGrid(grid.rows, grid.columns[columns], grid.kinds[:, columns], grid.values[:, columns])
    return part if (part.kinds != BLANK).any(axis=1).all() else grid


def spread_merged(grid: HeadGrid, merges: Sequence[CellRange]) -> HeadGrid:
    """Return the grid with the value of every merged range in all of its cells."""
    kinds, values = grid.kinds.copy(), grid.values.copy()
    rows, columns = np.array(grid.rows), np.array(grid.columns)
    for span in merges:
        down = np.flatnonzero((rows >= span.top) & (rows <= span.bottom))
        right = np.flatnonzero((columns >= span.left) & (columns <= span.right))
        owned = len(down) and len(right) and rows[down[0]] == span.top and columns[right[0]] == span.left
        if owned and grid.kinds[down[0], right[0]] != BLANK:
            kinds[np.ix_(down, right)] = grid.kinds[down[0], right[0]]
            values[np.ix_(down, right)] = grid.values[down[0], right[0]]
    return HeadGrid(grid.rows, grid.columns, kinds, values)


def _is_wide(grid: HeadGrid, shown: HeadGrid) -> Mask:
    """Return which rows are as wide as the table; one row that is far wider than all others does not count."""
    widths = np.sort(grid.widths)[::-1]
    width = widths[0]
    if len(widths) > 1 and widths[1] < DOMINANT * width:
        width = max(widths[1], _WIDE * width)
    return np.asarray(shown.widths >= _WIDE * width)


def _candidates(grid: HeadGrid, shown: HeadGrid, wide: Mask) -> list[_Candidate]:
    """Return the rows that may be the header; none that would leave a row of the body's shape out above it."""
    found: list[_Candidate] = []
    table_width = int(grid.widths[wide].max())
    left = int(np.flatnonzero((grid.kinds[wide] != BLANK).any(axis=0))[0])
    misses = 0
    for position in np.flatnonzero(~_repeats_row_above(grid)).tolist():
        if misses >= _PATIENCE or not _can_be_header(grid, shown, position, (table_width, left)):
            continue
        body = _without_repeats(_body(grid, position, table_width), grid.values[position])
        if _leaves_rows_out(grid, position, body) or (not body.rows and wide[:position].any()):
            misses += 1
            continue
        misses = 0
        evidence = weigh((shown.kinds[position], shown.values[position]), body)
        full = table_width > 1 and int((shown.kinds[position] != BLANK).sum()) >= _FULL * table_width
        score = evidence.score + _place_bonus(grid, position, wide, full=full)
        found.append(_Candidate(position, score, evidence.contrasts))
    return found


def _repeats_row_above(grid: HeadGrid) -> Mask:
    """Return which rows have the kinds of the row right above them: no header is below its like."""
    rows = np.array(grid.rows)
    same = (grid.kinds[1:] == grid.kinds[:-1]).all(axis=1) & (rows[1:] == rows[:-1] + 1)
    return np.concatenate([[False], same])


def _can_be_header(grid: HeadGrid, shown: HeadGrid, position: int, table: tuple[int, int]) -> bool:
    """Return whether a row has enough cells for a header; a single one in the first column is a title."""
    width, left = table
    filled = np.flatnonzero(grid.kinds[position] != BLANK)
    if width == 1:
        return True
    if len(filled) == 1 and (shown.kinds[position] != BLANK).sum() in {1, len(grid.columns)}:
        return bool(filled[0] > left) and width == 2  # noqa: PLR2004 - a key column without a title beside another
    return int((shown.kinds[position] != BLANK).sum()) >= max(2, 0.25 * width)


def _body(grid: HeadGrid, position: int, width: int) -> HeadGrid:
    """Return the rows below a candidate, without remarks: single cells after a blank row."""
    rows = np.array(grid.rows)
    below = (np.arange(len(rows)) > position) & (np.arange(len(rows)) <= position + _BODY_ROWS)
    if width > 2:  # noqa: PLR2004 - in a narrower table single cells are rows
        gaps = np.concatenate([[0], np.diff(rows)]) > 1
        remarks = (grid.widths == 1) & (np.maximum.accumulate(np.where(gaps, np.arange(len(rows)), -1)) > position + 1)
        below &= ~remarks
    return grid.only(below)


def _without_repeats(body: HeadGrid, values: NDArray[Any]) -> HeadGrid:
    """Return a body without rows equal to the candidate above it, which say nothing about the others."""
    same = (body.values == values).all(axis=1) if body.rows else np.zeros(0, bool)
    return body.only(~same) if same.any() else body


def _leaves_rows_out(grid: HeadGrid, position: int, body: HeadGrid) -> bool:
    """Return whether a row above has the shape and the kinds of a body, and so would be one of its rows."""
    if not body.rows or not position:
        return False
    filled = body.kinds != BLANK
    used = filled.mean(axis=0) >= _WIDE
    others = ((body.kinds != TEXT) & filled).sum(axis=0)
    other = used & (others >= DOMINANT * np.maximum(filled.sum(axis=0), 1))
    above = grid.kinds[:position]
    if not other.any():
        contiguous = grid.rows[position] == grid.rows[position - 1] + 1
        texts = (above[-1][used] == TEXT).mean() if used.any() else 0
        return bool(contiguous and texts >= _FULL)
    here = above[:, other]
    alike = ((here != BLANK) & (here != TEXT)).sum(axis=1)
    same = (alike > 0) & (alike >= _ALIKE * (here != BLANK).sum(axis=1))
    same &= (above != BLANK).sum(axis=1) >= DOMINANT * np.median(body.widths)
    if same[-1] and same.sum() == 1:
        return not has_sums_above(grid, position, body)
    return bool(same.any())


def _place_bonus(grid: HeadGrid, position: int, wide: Mask, *, full: bool) -> float:
    """Return what the place of a row says; `full` rows have nearly as many cells as the table has columns."""
    rows = grid.rows
    above = int(wide[:position].sum())
    gap_above = position == 0 or rows[position] > rows[position - 1] + 1 or not wide[position - 1]
    gap_below = position + 1 < len(rows) and rows[position + 1] > rows[position] + 1
    first = _FIRST if full and wide[position] and not above else 0.0
    below = (_GAP_BELOW_FULL if full else _GAP_BELOW) if gap_below else 0.0
    return first + max(_ROW_ABOVE * above, _MOST_ABOVE) + (_GAP_ABOVE if gap_above else 0) + below


def _without_header(grid: HeadGrid, start: int, found: list[_Candidate]) -> HeaderRows:
    """Return that the sheet has no header: its rows begin with the first wide one."""
    after = grid.rows[start - 1] if start else 0
    near = found and found[0].score > -_LEAST
    row = grid.rows[found[0].position] if found else grid.rows[start]
    doubt = f"that there is no header row is a guess: row {row} may be it; --header-row {row}" if near else None
    return HeaderRows(0, 0, after, doubt)


def _leaves_totals_out(grid: HeadGrid, first: int) -> bool:
    """Return whether the row above the header is as wide as the rows below it, and taken for totals of these."""
    body = grid.only(np.arange(len(grid.rows)) > first)
    wide = body.rows and first and grid.widths[first - 1] >= DOMINANT * np.median(body.widths)
    return bool(wide) and has_sums_above(grid, first, body)


def _doubt(grid: HeadGrid, found: list[_Candidate], chosen: tuple[int, int]) -> str | None:
    """Return why the best candidate is a guess, or None."""
    best = found[0]
    what = f"header row {grid.rows[chosen[1]]} is a guess"
    if _leaves_totals_out(grid, chosen[0]):
        return f"{what}: the row above it is taken for totals; --header-row 0 if it is data"
    rival = next((c for c in found[1:] if not chosen[0] <= c.position <= chosen[1]), None)
    if rival is not None and best.score - rival.score < _LEAD and rival.score > 0:
        row = grid.rows[rival.position]
        return f"{what}: row {row} is as likely; --header-row {row}"
    if best.score < _LEAST + _FIRST + _GAP_ABOVE + 0.1 and not best.contrasts and len(grid.rows) > 1:
        return f"{what}: its cells are texts like those below; --header-row 0 if it is data"
    return None
