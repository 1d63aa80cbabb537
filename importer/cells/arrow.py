"""Converts pyarrow and numpy arrays to polars by the Arrow PyCapsule interface, so that nothing else is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def series_from_numpy(values: NDArray[Any], name: str = "") -> pl.Series:
    """Return an array of numbers or booleans as a series, which may share its memory: it must not be changed any more.

    Given the array itself, polars asks `numpy.ma` for its mask, which takes 15 ms to import in every process.
    """
    import numpy as np
    import pyarrow as pa

    is_boolean = values.dtype == np.bool_
    held = pa.py_buffer(np.packbits(values, bitorder="little") if is_boolean else np.ascontiguousarray(values))
    kind = pa.bool_() if is_boolean else pa.from_numpy_dtype(values.dtype)
    return series_from_arrow(pa.Array.from_buffers(kind, len(values), [None, held])).alias(name)


def fill_with_empty(texts: pl.Series) -> pl.Series:
    """Return texts with an empty one for each null; they are not copied, as polars' own `fill_null` copies them."""
    import numpy as np
    import pyarrow as pa

    if not texts.null_count():
        return texts
    array = texts.to_arrow(compat_level=pl.CompatLevel.newest())
    _, views, *data = array.buffers()
    filled = np.frombuffer(views, "V16")[array.offset : array.offset + len(array)].copy()
    filled[texts.is_null().to_numpy()] = np.void(bytes(16))
    buffers = [None, pa.py_buffer(filled), *data]
    return series_from_arrow(pa.Array.from_buffers(pa.string_view(), len(filled), buffers)).alias(texts.name)
