"""Estimates from the size of a workbook whether workers are needed, and how many, before its cells are read."""

from __future__ import annotations

from typing import NamedTuple

#: Bytes of a workbook file per worker started before it is opened; its sheet may turn out to need more or fewer.
_FILE_BYTES_PER_WORKER = 256 << 10


class _Most(NamedTuple):
    """What is at most read without a worker.

    Attributes:
        file: bytes of the workbook; its parts inflate to some eight times as much.
        part: bytes of the XML of the sheet, and of the shared strings.
    """

    file: int
    part: int


#: In the process of any caller, whose memory is not limited: what is made of the XML takes some ten times as much. The
#: engine judges no sheets of less.
_ANYWHERE = _Most(1 << 20, 4 << 20)
#: In one of several processes that share the cores, and whose memory is limited: windows bound what is in memory.
_SIDE_BY_SIDE = _Most(8 << 20, 64 << 20)


class _ThisProcess:
    """Whether this process runs one import after the other beside others, with its memory limited."""

    is_beside_others = False


def declare_beside_others() -> None:
    """Say that this process runs one import after the other beside others, with its memory limited."""
    _ThisProcess.is_beside_others = True


def is_beside_others() -> bool:
    """Return whether this process runs one import after the other beside others, which use the other cores."""
    return _ThisProcess.is_beside_others


def _most(workers: int) -> _Most:
    return _SIDE_BY_SIDE if _ThisProcess.is_beside_others and workers == 1 else _ANYWHERE


def is_small(size: int, workers: int = 0) -> bool:
    """Return whether a workbook of `size` bytes may be loaded without a worker; its parts may turn out too large.

    Args:
        size: bytes of the file.
        workers: how many workers it could have; 0: not known.
    """
    return size <= _most(workers).file


def is_small_part(size: int, workers: int) -> bool:
    """Return whether `size` bytes of XML may be read without a worker; see `is_small`."""
    return size < _most(workers).part


def estimate_workers(size: int) -> int:
    """Return how many workers a workbook of `size` bytes may need."""
    return 1 + size // _FILE_BYTES_PER_WORKER
