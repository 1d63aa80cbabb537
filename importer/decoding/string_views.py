"""Owns text columns that point into bytes stored elsewhere: Arrow string views, built for whole blocks at once.

A view has 16 bytes: the length, then the text itself if it has at most 12 bytes, else its first 4 bytes, the index of
a buffer and an offset in it (Arrow columnar format, "Variable-size Binary View Layout"). So texts need not be copied to
become a column, and a column in a file is used in place.
"""

from __future__ import annotations

import itertools
import mmap
import threading
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
import pyarrow as pa

from importer.cells.arrow import series_from_arrow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Positions = NDArray[np.int64]
    #: One row per text, of four little-endian 32-bit words.
    Views = NDArray[np.uint32]

_INLINE_BYTES = 12
#: Maximum size of a buffer in bytes: an offset has 31 bits.
_MAX_BUFFER_BYTES = 1 << 30
#: Number of bytes that must follow the last text, so that whole words can be read.
PADDING = 12
#: Bytes of a view before the text's own.
_LENGTH_BYTES = 4
_FAR = _INLINE_BYTES + 1


def _view_masks() -> NDArray[np.void]:
    """Return what to keep of the 16 bytes from 4 bytes before a text on, by its length; all longer ones are alike."""
    kept = [b"\xff" * length for length in range(_FAR)] + [b"\xff" * 4]
    return np.array([b"\0" * _LENGTH_BYTES + each.ljust(_INLINE_BYTES, b"\0") for each in kept], "V16")


_VIEW_MASKS = _view_masks()


def words(data: Bytes, size: int) -> NDArray[np.unsignedinteger]:
    """Return the little-endian word of `size` bytes at every position of `data`, as a view without copying."""
    return np.ndarray((len(data) - size + 1,), f"<u{size}", data.data, strides=(1,))


def make_views(data: Bytes, starts: Positions, lengths: Positions) -> Views:
    """Return the views of texts in `data`, which becomes buffer 0.

    Args:
        data: bytes of the texts, with `PADDING` bytes after the last text.
        starts: offset of each text.
        lengths: length of each text in bytes.
    """
    before = starts - _LENGTH_BYTES
    if not len(starts) or int(before.min()) < 0:
        data, before = np.concatenate([np.zeros(_LENGTH_BYTES, np.uint8), data]), starts
    # One gather of 16 bytes takes a quarter of the time of two of 8 and 4 that are put together.
    held = np.ndarray((len(data) - 15,), "V16", data.data, strides=(1,))[before].view("<u8").reshape(-1, 2)
    sizes = np.minimum(lengths, _FAR)
    held &= _VIEW_MASKS[sizes].view("<u8").reshape(-1, 2)
    views = held.view("<u4")
    views[:, 0] = lengths
    views[:, 3] |= np.where(sizes == _FAR, starts, 0).astype("<u4")
    return views


def rebase(views: Views, buffer: int, offset: int) -> Views:
    """Change views in place, so that their bytes start at `offset` of buffer `buffer`, and return them."""
    far = np.flatnonzero(views[:, 0] > _INLINE_BYTES)  # a fifth of the time of a mask
    views[far, 2] = buffer
    views[far, 3] += np.uint32(offset)
    return views


def series_to_views(texts: pl.Series) -> tuple[Views, bytes]:
    """Return the views of a text column without nulls, and the bytes that they point into."""
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    held = data.to_pybytes() if data is not None else b""
    padded = np.frombuffer(held + b"\0" * PADDING, np.uint8)
    return make_views(padded, ends[:-1], np.diff(ends)), held


def views_to_series(views: Views, data: Sequence[bytes | Bytes]) -> pl.Series:
    """Return views and their buffers as a text column; the caller guarantees valid UTF-8."""
    return _series(pa.py_buffer(views.tobytes()), [pa.py_buffer(each) for each in data])


def _series(views: pa.Buffer, buffers: list[pa.Buffer]) -> pl.Series:
    array = pa.Array.from_buffers(pa.string_view(), views.size // 16, [None, views, *buffers])
    return series_from_arrow(array)


class StringViewWriter:
    """A writer for a text column: a file of views, with the bytes they point into in a second file beside it.

    A context manager; the column is only complete after `finish`.

    Args:
        path: file for the views.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._views: list[Views] = []
        #: Offset of each buffer in the file of bytes.
        self._buffers = [0]
        self._end = 0
        self._nul = False
        self._file = path.with_suffix(".bytes").open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def add(self, views: Views, *data: bytes) -> None:
        """Append texts, given as views and the bytes that these use as buffer 0, in parts."""
        self._views.append(self._write_bytes(views, data))

    def replace(self, positions: Positions, texts: pl.Series) -> None:
        """Replace the texts at `positions`."""
        self._views = [np.concatenate(self._views)]
        views, data = series_to_views(texts)
        self._views[0][positions] = self._write_bytes(views, [data])

    def _write_bytes(self, views: Views, data: Sequence[bytes]) -> Views:
        """Write the bytes of some views, and return the views rebased to their place in the file."""
        size = sum(map(len, data))
        if self._end - self._buffers[-1] + size > _MAX_BUFFER_BYTES:
            self._buffers.append(self._end)
        views = rebase(views, len(self._buffers) - 1, self._end - self._buffers[-1])
        # Looked for here, where the bytes are at hand: a reader would have to map all of the file for it.
        self._nul = self._nul or any(b"\0" in part for part in data)
        self._file.writelines(data)
        self._end += size
        return views

    def finish(self) -> int:
        """Write the views, the buffer bounds and whether there is a NUL; return the number of texts."""
        self._file.flush()
        with self._path.open("wb") as file:
            file.writelines(views.tobytes() for views in self._views)
        np.save(self._path.with_suffix(".npy"), np.array([self._nul, *self._buffers, self._end], np.int64))
        return sum(map(len, self._views))


class StringViewReader:
    """A written text column, memory-mapped.

    Args:
        path: file of the views.

    Attributes:
        texts: the column's texts.
        may_hold_nul: whether a text may hold the character NUL; all texts are among the bytes, short ones too.
    """

    def __init__(self, path: Path) -> None:
        self._maps = [_map_file(file) for file in (path, path.with_suffix(".bytes"))]
        views, data = (pa.py_buffer(b"" if each is None else each) for each in self._maps)
        nul, *bounds = np.load(path.with_suffix(".npy")).tolist()
        self.may_hold_nul = bool(nul)
        self.texts = _series(views, [data.slice(low, high - low) for low, high in itertools.pairwise(bounds)])

    def forget(self) -> None:
        """Release the pages that were accessed; they are loaded again when needed."""
        for each in self._maps:
            if each is not None and hasattr(mmap, "MADV_DONTNEED"):
                each.madvise(mmap.MADV_DONTNEED)


def _map_file(path: Path) -> mmap.mmap | None:
    """Map a file into memory; return None for an empty file, which cannot be mapped."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else None


def map_strings(path: Path) -> StringViewReader:
    """Return the shared strings written at `path`; they are memory-mapped, and kept for the next window.

    Windows mostly refer to different strings, so the pages that the last window used are released.
    """
    if _open.column is None or _open.column[0] != path:
        _open.column = path, StringViewReader(path)
    _open.column[1].forget()
    return _open.column[1]


def discard_strings() -> None:
    """Drop the shared strings that this thread has mapped."""
    _open.column = None


class _ThreadState(threading.local):
    """The mapped column kept for the next window; one per thread, because callers may read in threads of their own."""

    column: tuple[Path, StringViewReader] | None = None


_open = _ThreadState()
