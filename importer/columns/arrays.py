"""Puts the values of a window's cells into the arrays of its frame: one for each sheet column and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.cells.frame import PARTS, ROW, digits_name, part, pattern_name
from importer.errors import WorkbookRefused
from importer.workers.own_process import require_worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importer.decoding.string_views import Positions

#: Most values and nulls of a window's frame. They take 8 or 16 bytes each, and a check makes three times as many.
MAX_FRAME_CELLS = 64_000_000
#: Most of them in the process of the caller: what is made of them there takes 100 MB.
_OWN_PROCESS_CELLS = 2_000_000

#: Most values and nulls that are put into columns at once: 16 MB.
_SPREAD_AT_ONCE = 1 << 20


#: What is said of numbers beside their values, like the kinds of values.
DIGITS, PATTERN = "digits", "pattern"
_KINDS = (*PARTS, DIGITS, PATTERN)
_MARK_NAMES = {DIGITS: digits_name, PATTERN: pattern_name}


class Values(NamedTuple):
    """Values of one kind, or marks of numbers; `cells` are indices among the cells of the window, ascending."""

    kind: str
    cells: Positions
    values: pl.Series


class Grid(NamedTuple):
    """Where the cells of a window are.

    Attributes:
        numbers: sheet rows (1-based) that have cells, ascending.
        lines: index among these of each cell's row.
        columns: sheet column (0-based) of each cell.
        order: the cells' indices column by column, from top to bottom in each.
    """

    numbers: Positions
    lines: Positions
    columns: Positions
    order: Positions


def make_grid(rows: Positions, columns: Positions) -> Grid:
    """Return the grid of cells in the order of the sheet, by their rows and columns."""
    begins = np.flatnonzero(np.diff(rows, prepend=0))
    lines = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(rows)))
    return Grid(rows[begins], lines, columns, _column_order(columns, len(begins)))


def _column_order(columns: Positions, height: int) -> Positions:
    """Return the order of cells column by column; they are in the order of the sheet, in `height` rows."""
    width, rest = divmod(len(columns), height) if height else (0, 1)
    if not rest:
        table = columns.reshape(height, width)
        if (table == table[0]).all():  # every row has the same columns
            return np.arange(len(columns)).reshape(height, width).T.ravel()
    return np.argsort(columns.astype(np.uint16), kind="stable")


def make_frame(grid: Grid, found: Iterable[Values]) -> pl.DataFrame:
    """Return the frame of a window (see `cells.frame`).

    Raises:
        WorkbookRefused: the cells are scattered over too many columns.
    """
    by_kind: dict[str, list[Values]] = {}
    for each in found:
        if len(each.cells):
            by_kind.setdefault(each.kind, []).append(each)
    sorted_values = [_sort(grid, by_kind[kind]) for kind in _KINDS if kind in by_kind]
    counts = [np.bincount(grid.columns[each.cells]) for each in sorted_values]
    _check_size(grid, sum(int(np.count_nonzero(count)) for count in counts))
    arrays: dict[tuple[int, int], pl.Series] = {}
    for order, (each, count) in enumerate(zip(sorted_values, counts, strict=True)):
        arrays |= {(c, order): array.alias(_name(c, each.kind)) for c, array in _spread(grid, each, count).items()}
    rows = pl.Series(ROW, grid.numbers, pl.Int64)
    return pl.DataFrame([rows, *(arrays[place] for place in sorted(arrays))])


def _name(column: int, kind: str) -> str:
    return _MARK_NAMES[kind](column) if kind in _MARK_NAMES else part(column, kind)


def _check_size(grid: Grid, arrays: int) -> None:
    numbers = grid.numbers
    if len(numbers) * arrays > _OWN_PROCESS_CELLS:
        require_worker()
    if len(numbers) * arrays > MAX_FRAME_CELLS:
        raise WorkbookRefused(
            f"rows {numbers[0]}-{numbers[-1]} hold {len(grid.columns):,} cells scattered over {arrays:,} columns",
            choice=f"--chunk-rows {max(MAX_FRAME_CELLS // arrays, 1)}, or fewer",
        )


def _sort(grid: Grid, parts: list[Values]) -> Values:
    """Return the values of one kind as one, column by column."""
    cells = np.concatenate([each.cells for each in parts]) if len(parts) > 1 else parts[0].cells
    values = pl.concat([each.values for each in parts]) if len(parts) > 1 else parts[0].values
    if len(parts) == 1 and len(cells) == len(grid.order):  # all cells, in their order
        return Values(parts[0].kind, grid.order, values.gather(_indices(grid.order)))
    positions = np.full(len(grid.order), -1, np.int64)
    positions[cells] = np.arange(len(cells))
    picked = positions[grid.order]
    picked = picked[picked >= 0]
    return Values(parts[0].kind, cells[picked], values.gather(_indices(picked)))


def _indices(positions: Positions) -> pl.Series:
    return pl.Series(positions.astype(np.uint32))


def _spread(grid: Grid, found: Values, counts: Positions) -> dict[int, pl.Series]:
    """Return the values as an array for each column, with nulls in rows where that has none of them."""
    height, values = len(grid.numbers), found.values
    ends = np.cumsum(counts)
    whole = np.flatnonzero(counts == height)
    arrays = {c: values.slice(int(ends[c]) - height, height) for c in whole.tolist()}
    partial = np.flatnonzero((counts > 0) & (counts < height))
    # Many columns at once: one call for each would cost more than its values where there are hundreds.
    step = max(_SPREAD_AT_ONCE // max(height, 1), 1)
    for some in np.split(partial, range(step, len(partial), step)) if len(partial) else ():
        arrays |= _with_nulls(grid, found, ends - counts, ends, some)
    return arrays


def _with_nulls(
    grid: Grid, found: Values, starts: Positions, ends: Positions, columns: Positions
) -> dict[int, pl.Series]:
    """Return the values of some columns as arrays, with nulls in rows where these have none."""
    height, values = len(grid.numbers), found.values
    places = np.full((len(columns), height), len(values), np.uint32)
    for n, column in enumerate(columns.tolist()):
        mine = slice(int(starts[column]), int(ends[column]))
        places[n, grid.lines[found.cells[mine]]] = np.arange(mine.start, mine.stop, dtype=np.uint32)
    spread = values.extend_constant(None, 1).gather(pl.Series(places.ravel()))
    return {c: spread.slice(n * height, height) for n, c in enumerate(columns.tolist())}
