"""Finds the blocks of rows of a sheet that was read: runs of rows without a blank one between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from importer.cells.frame import ROW
from importer.table.data_rows import select_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from importer.decoding.tasks import WindowRead

#: A sheet of more blocks is no list of tables: its rows are apart for another reason.
_MOST_BLOCKS = 64


def find_blocks(windows: Sequence[WindowRead], read: Callable[[int], pl.DataFrame]) -> list[tuple[int, int]]:
    """Return the first and last row of each block; none if there are too many.

    Args:
        windows: all windows of the sheet, in its order.
        read: returns the frame of a window by its place among them; only those with blank rows are read.
    """
    blocks: list[tuple[int, int]] = []
    for place, window in enumerate(windows):
        if not window.rows:
            continue
        found = [(window.first_row, window.last_row)]
        if window.gap:
            numbers = read(place)[ROW].to_numpy()
            ends = np.flatnonzero(np.diff(numbers) > 1)
            if len(ends) >= _MOST_BLOCKS:
                return []
            firsts, lasts = [0, *(ends + 1).tolist()], [*ends.tolist(), len(numbers) - 1]
            found = [(int(numbers[a]), int(numbers[b])) for a, b in zip(firsts, lasts, strict=True)]
        if blocks and found[0][0] == blocks[-1][1] + 1:
            found[0] = (blocks.pop()[0], found[0][1])
        blocks += found
        if len(blocks) > _MOST_BLOCKS:
            return []
    return blocks


def last_row_of(
    windows: Sequence[WindowRead], read: Callable[[int], pl.DataFrame], columns: tuple[int, int], end: int
) -> int:
    """Return the last row with a cell in one of the columns from one to another; `end` if there is none."""
    for place in range(len(windows) - 1, -1, -1):
        if not windows[place].rows:
            continue
        frame = select_columns(read(place), *columns)
        lasts = [
            int(frame[ROW][int(held[-1])])
            for name in frame.columns
            if not name.startswith("_") and len(held := frame[name].is_not_null().arg_true())
        ]
        if lasts:
            return max(lasts)
    return end
