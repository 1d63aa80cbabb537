"""Owns the spool: frames on disk as Arrow IPC, between one stage and the next, mapped instead of copied when read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path


def write(frame: pl.DataFrame, path: Path) -> Path:
    """Write a frame; returns the path.

    Raises:
        OSError: the disk is full or not writable.
    """
    try:
        # Opened here, because polars' own errors about a full disk lose the errno.
        with path.open("wb") as file:
            frame.write_ipc(file)
    except pl.exceptions.PolarsError as exc:
        raise OSError(None, f"cannot write the spool ({exc})", str(path)) from None
    return path


def write_some(frame: pl.DataFrame | None, path: Path) -> Path | None:
    """Write a frame that has rows; None for others."""
    return None if frame is None or frame.is_empty() else write(frame, path)


def read(path: Path) -> pl.DataFrame:
    """A frame as it was written."""
    return pl.read_ipc(path)


def names(path: Path) -> list[str]:
    """The column names of a spooled frame, without its data."""
    return list(pl.read_ipc_schema(path))
