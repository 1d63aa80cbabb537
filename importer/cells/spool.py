"""Owns the spool: frames on disk as Arrow IPC files between two stages, memory-mapped when read instead of copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import polars as pl
import pyarrow as pa
import pyarrow.ipc

if TYPE_CHECKING:
    from pathlib import Path


def write(frame: pl.DataFrame, path: Path) -> Path:
    """Write a frame to a path, and return the path.

    Raises:
        OSError: the disk is full or not writable.
    """
    try:
        # Open the file here: when the disk is full, polars' own errors lose the errno.
        with path.open("wb") as file:
            frame.write_ipc(file)
    except pl.exceptions.PolarsError as exc:
        raise OSError(None, f"cannot write the spool ({exc})", str(path)) from None
    return path


def write_if_nonempty(frame: pl.DataFrame | None, path: Path) -> Path | None:
    """Write a frame if it has rows; return the path, or None if nothing was written."""
    return None if frame is None or frame.is_empty() else write(frame, path)


def read(path: Path) -> pl.DataFrame:
    """Return a spooled frame as it was written."""
    # Polars' own reader is a query, which takes 1.2 ms for a small frame; this takes 0.2.
    with pa.memory_map(str(path)) as file:
        frame = pl.from_arrow(pa.ipc.open_file(file).read_all(), rechunk=False)
    return cast("pl.DataFrame", frame)


def names(path: Path) -> list[str]:
    """Return the column names of a spooled frame without reading its data."""
    return list(pl.read_ipc_schema(path))
