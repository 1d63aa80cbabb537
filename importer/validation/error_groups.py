"""Groups errors that have the same reason in the same column, so that a thousand of them are one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import FORMULA, ROW

if TYPE_CHECKING:
    from importer.reading.places import CellAddresses

#: Most groups that are made, runs of rows and values that are shown of each, and characters of a value.
_MOST_GROUPS, _MOST_RUNS, _MOST_VALUES, _MOST_CHARACTERS = 20, 3, 3, 40


@dataclass(frozen=True)
class ErrorGroup:
    """Errors of one column with one reason.

    Attributes:
        cells: their addresses, without the sheet: `E6:E52`, or `B3, B7:B9, …`; rows (`6:52`) if the row itself is bad.
        count: how many they are.
        reason: why they are errors.
        values: the first different values of the cells, in quotes and cut; none for formulas.
    """

    cells: str
    count: int
    reason: str
    values: tuple[str, ...]

    def describe(self) -> str:
        """Return the group in one line for people, values included."""
        counted = "" if self.count == 1 else f", {self.count:,} cells"
        shown = ", ".join(self.values)
        return f"{self.cells}{counted}: {self.reason}{f' ({shown})' if shown else ''}"


def group_errors(errors: pl.DataFrame, places: CellAddresses) -> tuple[ErrorGroup, ...]:
    """Return the groups of a frame of errors (see `errors_frame`), the largest first."""
    valued = pl.when(pl.col("kind") != FORMULA).then(pl.col("raw").replace("", None)).drop_nulls()
    grouped = (
        errors.group_by("column", "reason", maintain_order=True)
        .agg(
            pl.len().alias("count"), pl.col(ROW), valued.unique(maintain_order=True).head(_MOST_VALUES + 1).alias("raw")
        )
        .sort("count", descending=True, maintain_order=True)
        .head(_MOST_GROUPS)
    )
    return tuple(
        ErrorGroup(_cells(rows, column, places), count, reason, _values(raw))
        for column, reason, count, rows, raw in grouped.iter_rows()
    )


def _cells(rows: list[int], column: int, places: CellAddresses) -> str:
    """Return the addresses of rows in a column, runs of consecutive ones as ranges."""
    letter = places.letter(column) if column >= 0 else ""
    runs: list[list[int]] = []
    for row in map(places.row, rows):
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        elif len(runs) == _MOST_RUNS:
            return ", ".join([*(_range(run, letter) for run in runs), "…"])
        else:
            runs.append([row, row])
    return ", ".join(_range(run, letter) for run in runs)


def _range(run: list[int], letter: str) -> str:
    first, last = run
    if not letter:
        return f"row {first}" if first == last else f"rows {first}-{last}"
    return f"{letter}{first}" if first == last else f"{letter}{first}:{letter}{last}"


def _values(raw: list[str]) -> tuple[str, ...]:
    shown = [f'"{t if len(t) <= _MOST_CHARACTERS else t[: _MOST_CHARACTERS - 1] + "…"}"' for t in raw[:_MOST_VALUES]]
    return (*shown, "…") if len(raw) > _MOST_VALUES else tuple(shown)
