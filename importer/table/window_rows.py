"""Takes the data rows of a window, and keeps those of the last small one: one sheet is asked for them several times."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from importer.cells import spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

    from .data_rows import DataRows

#: Rows of a window that is kept. To take them costs a small window 0.5 ms, whatever its size.
_MOST_ROWS = 10_000


class _Last(threading.local):
    """The window whose rows this thread took last: its file and which rows are data; nothing outside `keeping_rows`."""

    keeps: bool = False
    taken: tuple[Path, DataRows] | None = None
    rows: pl.DataFrame | None = None


_last = _Last()


@contextlib.contextmanager
def keeping_rows() -> Iterator[None]:
    """Keep the rows of the last window while the block asks for them; no file of a window changes meanwhile."""
    _last.keeps = True
    try:
        yield
    finally:
        _last.keeps, _last.taken, _last.rows = False, None, None


def rows_of(path: Path, data: DataRows) -> pl.DataFrame:
    """Return the data rows of a window.

    Args:
        path: file of the window.
        data: which rows are data.
    """
    if _last.rows is not None and _last.taken == (path, data):
        return _last.rows
    rows = data.of(spool.read(path))
    if _last.keeps and len(rows) <= _MOST_ROWS:
        _last.taken, _last.rows = (path, data), rows
    return rows
