"""Finds rows of a window with the form of a heading above a group, or of a sum without a label. In a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from importer.cells.frame import ROW, part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    first, second = list(columns)[:2]
    if all(_fills(sparse, [part(c, k) for k in columns[c]]) for c in (first, second)):
        return {}  # as nearly always: nothing else has to be looked at, of thousands of columns maybe
    names = [(c, k) for c, kinds in columns.items() for k in kinds]
    held = sparse.select(pl.col(*(part(c, k) for c, k in names)).is_not_null()).to_numpy()
    total = held.sum(axis=1)
    lead, number = np.array([c == first for c, _ in names]), np.array([k == "number" for _, k in names])
    heads = held[:, [c == first and k == "text" for c, k in names]].any(axis=1) & (total == 1)
    bare = ~held[:, lead].any(axis=1) & (total > 0) & (held[:, number].sum(axis=1) == total)
    numbers = sparse[ROW].to_numpy()
    found: dict[int, Form] = dict.fromkeys(numbers[heads].tolist(), "heading")
    found |= dict.fromkeys(numbers[bare].tolist(), "bare")
    return found if len(found) <= max(_FEW, rows // _SHARE) else {}


def _fills(rows: pl.DataFrame, arrays: list[str]) -> bool:
    """Return whether every row has a cell in one of a column's arrays, of which a cell is in one only."""
    return sum(len(rows) - rows[name].null_count() for name in arrays) == len(rows)
