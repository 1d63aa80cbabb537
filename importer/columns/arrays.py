"""Puts the values of a window's cells into the arrays of its frame: one for each sheet column and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from importer.cells.arrow import series_from_arrow, series_from_numpy
from importer.cells.frame import PARTS, ROW, digits_name, part, pattern_name
from importer.errors import WorkbookRefused
from importer.workers.own_process import require_worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from importer.decoding.string_views import Positions

    Picks = NDArray[np.uint32]

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
    """Values of one kind, or marks of numbers.

    Attributes:
        kind: their kind.
        cells: index of each one's cell among the cells of the window; ascending.
        values: the values.
        picks: position in `values` of each cell's value; None if that is the cell's own position.
    """

    kind: str
    cells: Positions
    values: pl.Series
    picks: Picks | None = None

    def in_order(self) -> pl.Series:
        """Return the value of each cell."""
        return self.values if self.picks is None else self.values.gather(series_from_numpy(self.picks))


class Grid(NamedTuple):
    """Where the cells of a window are.

    Attributes:
        numbers: sheet rows (1-based) that have cells, ascending.
        lines: index among these of each cell's row.
        columns: sheet column (0-based) of each cell.
    """

    numbers: Positions
    lines: Positions
    columns: Positions


def make_grid(rows: Positions, columns: Positions) -> Grid:
    """Return the grid of cells in the order of the sheet, by their rows and columns."""
    begins = np.flatnonzero(np.diff(rows, prepend=0))
    lines = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(rows)))
    return Grid(rows[begins], lines, columns)


def make_frame(grid: Grid, found: Iterable[Values]) -> pl.DataFrame:
    """Return the frame of a window (see `cells.frame`).

    Raises:
        WorkbookRefused: the cells are scattered over too many columns.
    """
    by_kind: dict[str, list[Values]] = {}
    for values in found:
        if len(values.cells):
            by_kind.setdefault(values.kind, []).append(values)
    placed = [_Placed(grid, by_kind[kind]) for kind in _KINDS if kind in by_kind]
    _check_size(grid, sum(int(np.count_nonzero(each.counts)) for each in placed))
    arrays: dict[tuple[int, int], pl.Series] = {}
    for order, each in enumerate(placed):
        arrays |= {(c, order): array.alias(_name(c, each.kind)) for c, array in each.spread().items()}
    rows = series_from_numpy(grid.numbers, ROW)
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


class _Placed:
    """The values of one kind, with their places.

    Attributes:
        kind: their kind.
        counts: number of values in each sheet column.
    """

    def __init__(self, grid: Grid, parts: list[Values]) -> None:
        self.kind, self._height = parts[0].kind, len(grid.numbers)
        if len(parts) == 1:
            self._values, self._picks, cells = parts[0].values, parts[0].picks, parts[0].cells
        else:
            # Of values in several chunks, picking takes ten times as long.
            self._values = pl.concat([each.in_order() for each in parts], rechunk=True)
            self._picks, cells = None, np.concatenate([each.cells for each in parts])
        is_all = len(parts) == 1 and len(cells) == len(grid.columns)
        self._columns, self._lines = (grid.columns, grid.lines) if is_all else (grid.columns[cells], grid.lines[cells])
        self.counts = np.bincount(self._columns)

    def spread(self) -> dict[int, pl.Series]:
        """Return the values as an array for each column, with nulls in rows where that has none of them."""
        full = self.counts == self._height
        partial = np.flatnonzero(~full & (self.counts > 0))
        # Not all at once: there may be thousands of columns with few values.
        step = max(_SPREAD_AT_ONCE // max(self._height, 1), 1)
        groups = [np.flatnonzero(full), *np.split(partial, range(step, len(partial), step))]
        arrays: dict[int, pl.Series] = {}
        for group in groups:
            arrays |= self._spread_group(group) if len(group) else {}
        return arrays

    def _spread_group(self, group: Positions) -> dict[int, pl.Series]:
        """Return the arrays of some columns."""
        height = self._height
        rank = np.full(len(self.counts), -1, np.int64)
        rank[group] = np.arange(len(group)) * height
        firsts = rank[self._columns]
        mine: Positions | slice = slice(None)
        if int(self.counts[group].sum()) < len(firsts):
            mine = np.flatnonzero(firsts >= 0)
        places = firsts[mine] + self._lines[mine]
        picks = np.zeros(len(group) * height, np.uint32)
        picks[places] = np.arange(len(firsts), dtype=np.uint32)[mine] if self._picks is None else self._picks[mine]
        spread = self._values.gather(series_from_numpy(picks))
        if len(places) < len(picks):
            held = np.zeros(len(picks), np.bool_)
            held[places] = True
            spread = _with_nulls(spread, held)
        return {c: spread.slice(n * height, height) for n, c in enumerate(group.tolist())}


def _with_nulls(values: pl.Series, held: NDArray[np.bool_]) -> pl.Series:
    """Return the values with nulls where they are not held; the buffers of the values are used as they are."""
    array = values.to_arrow(compat_level=pl.CompatLevel.newest())
    buffers = [pa.py_buffer(np.packbits(held, bitorder="little")), *array.buffers()[1:]]
    return series_from_arrow(pa.Array.from_buffers(array.type, len(array), buffers, offset=array.offset))
