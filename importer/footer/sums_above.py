"""Sums the numbers above rows that may be totals, window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from importer.cells.frame import ROW, part
from importer.table.grid import NUMBER

from .judged_rows import RowsAbove

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from importer.cells.facts import ColumnFacts
    from importer.table.grid import HeadGrid


def find_amounts(grid: HeadGrid, rows: Collection[int]) -> list[int]:
    """Return the sheet columns in which one of these rows has a number; in a file of texts no other sums are needed."""
    lines = [line for line, row in enumerate(grid.rows) if row in rows]
    return [
        column for column, some in zip(grid.columns, (grid.kinds[lines] == NUMBER).any(axis=0), strict=True) if some
    ]


class SumsAbove:
    """What stands above some rows, as far as the windows were added.

    Attributes:
        found: how many rows are above each, their sums, and what is known of their terms, by sheet row.
    """

    def __init__(self, amounts: Collection[int] = ()) -> None:
        """`amounts` are the columns whose texts are read as numbers."""
        self.found: dict[int, RowsAbove] = {}
        self._amounts, self._rows, self._before = amounts, 0, dict[int, float]()
        self._terms = dict[int, int]()

    def add(
        self, frame: pl.DataFrame | None, facts: Mapping[int, ColumnFacts], rows: int, wanted: Sequence[int]
    ) -> None:
        """Add the next window.

        Args:
            frame: its data rows; None if there are none, or nothing of them is wanted.
            facts: facts of its columns.
            rows: number of its data rows.
            wanted: sheet rows of it that may be totals, ascending.
        """
        if frame is not None:
            places = np.searchsorted(frame[ROW].to_numpy(), wanted)
            sums, terms = {row: dict(self._before) for row in wanted}, {row: dict(self._terms) for row in wanted}
            for column, numbers in self._numbers(frame, facts):
                filled = numbers.fill_null(0)
                so_far = np.concatenate([[0.0], filled.cum_sum().to_numpy()])
                count = np.concatenate([[0], (filled != 0).cum_sum().to_numpy()])
                for row, value, n in zip(wanted, so_far[places].tolist(), count[places].tolist(), strict=True):
                    sums[row][column] = sums[row].get(column, 0.0) + value
                    terms[row][column] = terms[row].get(column, 0) + n
                self._terms[column] = self._terms.get(column, 0) + int(count[-1])
                if column in self._amounts:
                    self._before[column] = self._before.get(column, 0.0) + float(so_far[-1])
            above = zip(wanted, places.tolist(), strict=True)
            self.found |= {row: RowsAbove(self._rows + n, sums[row], terms[row]) for row, n in above}
        self._rows += rows
        for column, held in facts.items():
            self._before[column] = self._before.get(column, 0.0) + held.total

    def _numbers(self, frame: pl.DataFrame, facts: Mapping[int, ColumnFacts]) -> Iterator[tuple[int, pl.Series]]:
        """Yield the columns of a window that have numbers, and these; texts that are written otherwise are none."""
        for column, held in facts.items():
            if column in self._amounts and held.kinds.get("text"):
                yield column, frame[part(column, "text")].cast(pl.Float64, strict=False)
            elif held.kinds.get("number"):
                yield column, frame[part(column, "number")]
