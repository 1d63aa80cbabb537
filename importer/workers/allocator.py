"""Makes a process keep the memory that it frees, because the next window needs as much again.

By default the C library returns blocks of more than 128 KiB to the system at once, and every window faults its pages in
again, which took a fifth of a reader's CPU time.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

#: `mallopt` parameters of glibc (malloc.h), and the largest size that it accepts as threshold for mapped blocks.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD = -1, -3, 32 << 20
#: Bytes of free memory to keep at the end of the heap: enough for a few windows in all their forms.
_KEEP_BYTES = 256 << 20


class _ThisProcess:
    """Whether this process keeps what it frees for the next import, too."""

    keeps_always = False


def keep_freed_memory(*, always: bool = False) -> None:
    """Make this process, and those forked from it, keep freed memory (Linux with glibc; elsewhere a no-op).

    Args:
        always: whether `release_memory` keeps it, too, because the next import needs as much.
    """
    _ThisProcess.keeps_always = _ThisProcess.keeps_always or always
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD)
            library.mallopt(_TRIM_THRESHOLD, _KEEP_BYTES)


def release_memory() -> None:
    """Return freed memory to the system after all, because what follows needs less.

    A process of one import after the other keeps it: faulting it in again took 0.06 of the 0.37 s of CPU in which
    50,000 rows x 9 are read.
    """
    if not _ThisProcess.keeps_always and sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
