"""Says which rows of a sheet are data, and takes them from a frame."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

import polars as pl

from importer.cells.frame import (
    HIDDEN,
    PARTS,
    ROW,
    digits_name,
    kinds_by_column,
    part,
    pattern_name,
    sheet_columns_of,
)

from .merged_cells import MergedValue, fill_merged

#: More than the lines of any file; a sheet ends long before.
NO_LAST_ROW = 1 << 40


@dataclass(frozen=True)
class DataRows:
    """Which rows of a sheet are data. Rows that hold nothing but empty texts are none.

    Attributes:
        after: rows after this one are data: the last header row, or the last row above a table without a header.
        last: the last row that may be data.
        left_out: rows between these that are no data, such as totals; ascending.
        skip_hidden: whether hidden rows are no data.
        columns: first and last column of the table (0-based), if somebody named a range; a row without cells in these
            is blank.
        merged: merged ranges whose value all of their cells get.
    """

    after: int = 0
    last: int = NO_LAST_ROW
    left_out: tuple[int, ...] = ()
    skip_hidden: bool = False
    columns: tuple[int, int] | None = None
    merged: tuple[MergedValue, ...] = ()

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the data rows of a window."""
        rows = self._rows_of(frame)
        return fill_merged(rows, self.merged) if self.merged else rows

    def _rows_of(self, frame: pl.DataFrame) -> pl.DataFrame:
        frame = self._below(frame)
        if frame.is_empty():
            return frame
        first, last = int(frame[ROW][0]), int(frame[ROW][-1])
        frame = frame.filter(pl.col(ROW) <= self.last) if last > self.last else frame
        if out := self._left_out_between(first, last):
            frame = frame.filter(~pl.col(ROW).is_in(out))
        within = self.within(frame)
        if self.columns is not None and not sheet_columns_of(within.columns):
            return frame.clear()
        blank = blank_looking(within)
        return frame if blank is None else frame.filter(~blank)

    def within(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the columns of the table, and what a frame has besides columns of the sheet."""
        if self.columns is None:
            return frame
        return select_columns(frame, *self.columns)

    def split(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the data rows of a window, and those that are left out below the header, without hidden ones."""
        data = self.of(frame)
        return data, self.left_out_below(frame, data)

    def left_out_below(self, frame: pl.DataFrame, data: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a window that are below the header, not hidden, and not among its data rows."""
        below = self._below(frame)
        if len(below) == len(data):
            return below.clear()
        return below.filter(~pl.col(ROW).is_in(data[ROW].implode()))

    def between(self, first_row: int, last_row: int) -> tuple[object, ...]:
        """Return what decides which of the rows between two are data."""
        left_out = self._left_out_between(first_row, last_row)
        return min(self.after, last_row), min(self.last, last_row), left_out, self.skip_hidden, self.columns

    def _below(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows below the header, without hidden ones that are skipped."""
        if frame.is_empty():
            return frame
        frame = frame.filter(pl.col(ROW) > self.after) if int(frame[ROW][0]) <= self.after else frame
        if self.skip_hidden and HIDDEN in frame.columns:
            frame = frame.filter(~pl.col(HIDDEN).fill_null(value=False))
        return frame

    def take_all(self, first_row: int, last_row: int) -> bool:
        """Return whether all rows between two sheet rows are data, unless they are hidden or look blank."""
        inside = first_row > self.after and last_row <= self.last and self.columns is None and not self.merged
        return inside and not self._left_out_between(first_row, last_row)

    def including_hidden(self) -> DataRows:
        """Return the same rows, hidden ones too."""
        return replace(self, skip_hidden=False)

    def _left_out_between(self, first_row: int, last_row: int) -> tuple[int, ...]:
        return self.left_out[bisect_left(self.left_out, first_row) : bisect_right(self.left_out, last_row)]


def select_columns(frame: pl.DataFrame, left: int, right: int) -> pl.DataFrame:
    """Return a frame without the sheet columns before one and after another."""
    other = [c for c in sheet_columns_of(frame.columns) if not left <= c <= right]
    names = {part(c, kind) for c in other for kind in PARTS} | {
        n(c) for c in other for n in (digits_name, pattern_name)
    }
    return frame.drop([name for name in frame.columns if name in names])


def blank_looking(frame: pl.DataFrame) -> pl.Series | None:
    """Return which rows hold nothing but empty texts, as of formulas that return ""; None if there are none."""
    blank: list[pl.Expr] = []
    for column, kinds in kinds_by_column(frame.columns).items():
        arrays = [frame[part(column, kind)] for kind in kinds]
        if len(kinds) == 1 and not arrays[0].null_count() and (kinds[0] != "text" or (arrays[0] != "").all()):
            return None  # a column that is filled in every row
        for array, kind in zip(arrays, kinds, strict=True):
            cell = pl.col(array.name)
            blank.append(cell.is_null() | (cell == "") if kind == "text" else cell.is_null())
    if not blank:
        return None
    found = frame.select(pl.all_horizontal(blank).alias("blank"))["blank"]
    return found if found.any() else None
