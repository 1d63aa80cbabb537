"""Finds rows of a window with the form of a heading above a group, or of a sum without a label. In a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from importer.cells.frame import ROW, part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

#: `heading`: a single text, in the first column; `bare`: nothing but numbers, and none in the first column.
Form = Literal["", "heading", "bare"]
#: One row of so many, or so few rows, may have such a form in a window; more are what its data look like.
_SHARE, _FEW = 3, 8


def find_forms(sparse: pl.DataFrame, columns: Mapping[int, Sequence[str]], rows: int) -> dict[int, Form]:
    """Return the form of rows of a window by sheet row; none if too many have one.

    Args:
        sparse: the rows that lack a cell which most have (see `cells.frame`).
        columns: kinds of each column of the window.
        rows: number of rows of the window.
    """
    if len(columns) < 2 or not len(sparse):  # noqa: PLR2004
        return {}
    arrays = sparse.to_dict(as_series=True)
    first, second = list(columns)[:2]
    lead = _count(arrays, [part(first, kind) for kind in columns[first]], len(sparse))
    beside = _count(arrays, [part(second, kind) for kind in columns[second]], len(sparse))
    if lead.all() and beside.all():  # as nearly always: nothing else has to be counted, of thousands of columns maybe
        return {}
    total = _count(arrays, [part(c, k) for c, kinds in columns.items() for k in kinds], len(sparse))
    numbers = _count(arrays, [part(c, k) for c, kinds in columns.items() for k in kinds if k == "number"], len(sparse))
    texts = _count(arrays, [part(first, kind) for kind in columns[first] if kind == "text"], len(sparse))
    rows_of_window = arrays[ROW].to_numpy()
    found: dict[int, Form] = dict.fromkeys(rows_of_window[(total == 1) & (texts == 1)].tolist(), "heading")
    found |= dict.fromkeys(rows_of_window[(lead == 0) & (numbers > 0) & (numbers == total)].tolist(), "bare")
    return found if len(found) <= max(_FEW, rows // _SHARE) else {}


def _count(arrays: Mapping[str, pl.Series], names: Sequence[str], rows: int) -> NDArray[np.int64]:
    """Return how many of these arrays have a value, by row."""
    count = np.zeros(rows, np.int64)
    for name in names:
        count += arrays[name].is_not_null().to_numpy()
    return count
