"""Fills the cells of merged ranges in the data with the value of their first cell."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from importer.cells.frame import PARTS, ROW, digits_name, part, pattern_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .cell_range import CellRange


class MergedValue(NamedTuple):
    """A merged range in the data, and what its first cell holds.

    Attributes:
        span: the range.
        value: name that each array that holds it has in the first column of the sheet (see `cells.frame`), its type,
            its value.
    """

    span: CellRange
    value: tuple[tuple[str, pl.DataType, Any], ...]


def merged_values(frame: pl.DataFrame, spans: Iterable[CellRange]) -> list[MergedValue]:
    """Return what the first cells of merged ranges hold, of those that begin in a frame and are not blank."""
    found = []
    numbers = frame[ROW].to_numpy()
    for span in spans:
        at = int(np.searchsorted(numbers, span.top))
        if at < len(numbers) and int(numbers[at]) == span.top:
            names = [n for n in frame.columns if n in _arrays(span.left)]
            held = [(n, frame[n].dtype, frame[n][at]) for n in names if frame[n][at] is not None]
            value = tuple((_in_column(n, span.left, 0), dtype, cell) for n, dtype, cell in held)
            found += [MergedValue(span, value)] if value else []
    return found


def fill_merged(frame: pl.DataFrame, merged: Sequence[MergedValue]) -> pl.DataFrame:
    """Return a frame with the value of merged ranges in all of their blank cells; rows without cells stay out."""
    if frame.is_empty():
        return frame
    numbers = frame[ROW].to_numpy()
    first, last = int(numbers[0]), int(numbers[-1])
    blank: dict[int, NDArray[np.bool_]] = {}
    changes: defaultdict[str, list[tuple[NDArray[np.int64], Any, pl.DataType]]] = defaultdict(list)
    for span, value in merged:
        if span.top > last or span.bottom < first:
            continue
        low, high = np.searchsorted(numbers, [span.top, span.bottom + 1])
        for column in span.columns:
            if column not in blank:
                blank[column] = _blank_cells(frame, column)
            places = np.flatnonzero(blank[column][low:high]) + low
            for name, dtype, cell in value if len(places) else ():
                changes[_in_column(name, 0, column)].append((places, cell, dtype))
    arrays = []
    for name, cells in changes.items():
        array = frame[name] if name in frame.columns else pl.Series(name, [None] * len(frame), cells[0][2])
        for places, cell, dtype in cells:
            array = array.scatter(places, pl.Series([cell], dtype=dtype).extend_constant(cell, len(places) - 1))
        arrays.append(array)
    return frame.with_columns(arrays) if arrays else frame


def _arrays(column: int) -> set[str]:
    """Return the names of the arrays that may hold a cell of a sheet column."""
    return {*(part(column, kind) for kind in PARTS), digits_name(column), pattern_name(column)}


def _in_column(name: str, column: int, other: int) -> str:
    """Return the name of the array of another column that holds what one of a column does."""
    for named in (digits_name, pattern_name):
        if name == named(column):
            return named(other)
    return part(other, name.split(".")[1])


def _blank_cells(frame: pl.DataFrame, column: int) -> NDArray[np.bool_]:
    held = [frame[part(column, kind)].is_not_null() for kind in PARTS if part(column, kind) in frame.columns]
    blank = np.ones(len(frame), bool)
    for mask in held:
        blank &= ~mask.to_numpy()
    return blank
