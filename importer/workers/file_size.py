"""Estimates from the size of a workbook's file whether workers are needed, and how many, before it is opened."""

from __future__ import annotations

#: Bytes of a workbook file per worker started before it is opened; its sheet may turn out to need more or fewer.
_FILE_BYTES_PER_WORKER = 256 << 10
#: Most bytes of a workbook file for which no worker is started ahead. Its parts inflate to some eight times as much.
_SMALL_FILE_BYTES = 1 << 20


def is_small(size: int) -> bool:
    """Return whether a workbook of `size` bytes may be loaded without a worker; its parts may turn out too large."""
    return size <= _SMALL_FILE_BYTES


def estimate_workers(size: int) -> int:
    """Return how many workers a workbook of `size` bytes may need."""
    return 1 + size // _FILE_BYTES_PER_WORKER
