"""Owns how arrays of pyarrow become those of polars: by Arrow's own interface, so that nothing more is imported."""

from __future__ import annotations

from typing import Any

import polars as pl


class _Capsule:
    """A batch or an array of which polars sees nothing but the Arrow PyCapsule interface.

    Where it sees that it is pyarrow's, it imports `pyarrow.compute`, which is a tenth of a worker's start.
    """

    def __init__(self, array: Any) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return self._array.__arrow_c_array__(requested_schema)


def frame_of(batch: Any) -> pl.DataFrame:
    """A `pyarrow.RecordBatch` as a frame; nothing is copied but what polars keeps in another form."""
    return pl.DataFrame(_Capsule(batch))


def series_of(array: Any) -> pl.Series:
    """A `pyarrow.Array` as a series; likewise."""
    return pl.Series(_Capsule(array))
