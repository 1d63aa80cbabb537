"""Converts pyarrow arrays to polars by the Arrow PyCapsule interface, so that nothing else is imported."""

from __future__ import annotations

from typing import Any

import polars as pl


class _Capsule:
    """Wraps a batch or an array, and exposes only the Arrow PyCapsule interface to polars.

    Given a pyarrow object itself, polars imports `pyarrow.compute`, which takes a tenth of a worker's start.
    """

    def __init__(self, array: Any) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return self._array.__arrow_c_array__(requested_schema)


def frame_of(batch: Any) -> pl.DataFrame:
    """Return a `pyarrow.RecordBatch` as a frame, copying only what polars stores in another format."""
    return pl.DataFrame(_Capsule(batch))


def series_from_arrow(array: Any) -> pl.Series:
    """Return a `pyarrow.Array` as a series, copying only what polars stores in another format."""
    return pl.Series(_Capsule(array))
