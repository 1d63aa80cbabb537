"""Finds rows of a window with the form of a heading above a group, or of a sum without a label. In a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from importer.cells.frame import ROW, part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

#: `heading`: a single text, in the first column; `bare`: nothing but numbers, and none in the first column.
Form = Literal["", "heading", "bare"]
#: One row of so many, or so few rows, may have such a form in a window; more are what its data look like.
_SHARE, _FEW = 3, 8
#: How far a sum may be from what it sums, as a share.
_TOLERANCE = 1e-9


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


def without_chance(
    frame: pl.DataFrame, columns: Mapping[int, Sequence[str]], forms: dict[int, Form]
) -> dict[int, Form]:
    """Return the forms of a window without those that its other rows belie, so that its rows need not wait for the end.

    Two headings follow on each other, or none of many rows without a text sums the rows since the one before.

    Args:
        frame: the window (see `cells.frame`).
        columns: kinds of each of its columns.
        forms: as `find_forms` found them.
    """
    if not forms:
        return forms
    places = {form: _places(frame, [row for row in forms if forms[row] == form]) for form in ("heading", "bare")}
    heads = places["heading"][places["heading"] < len(frame) - _FEW]  # the last ones may be remarks
    out = {"heading"} if (np.diff(heads) == 1).any() else set[str]()
    bare = places["bare"]
    if len(bare) > _FEW:
        equal = np.diff(bare) > 2  # noqa: PLR2004 - two rows and their sum
        for name in (part(c, "number") for c, kinds in columns.items() if "number" in kinds):
            numbers, held = frame[name].fill_null(0).to_numpy().astype(float), frame[name].is_not_null().to_numpy()
            so_far = np.concatenate([[0.0], numbers.cumsum()])
            sums = so_far[bare[1:]] - so_far[bare[:-1] + 1]
            near = np.abs(sums - numbers[bare[1:]]) <= _TOLERANCE * (1 + np.abs(so_far).max())
            equal &= near | ~held[bare[1:]]
        out |= set() if equal.any() else {"bare"}
    return {row: form for row, form in forms.items() if form not in out}


def _places(frame: pl.DataFrame, rows: Sequence[int]) -> NDArray[np.intp]:
    return np.searchsorted(frame[ROW].to_numpy(), np.array(sorted(rows), np.int64))


def _fills(rows: pl.DataFrame, arrays: list[str]) -> bool:
    """Return whether every row has a cell in one of a column's arrays, of which a cell is in one only."""
    return sum(len(rows) - rows[name].null_count() for name in arrays) == len(rows)
