"""Owns what a process does with memory that it freed: here it keeps it, because the next window needs as much again.

The C library gives blocks of more than 128 KiB back to the system at once, so every window faulted its pages in anew: a
fifth of the CPU time of a reader.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

#: `mallopt` parameters of glibc (malloc.h), and its largest threshold of blocks that are mapped on their own.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MOST_MAPPED = -1, -3, 32 << 20
#: Free memory at the end of the heap that is kept: a few windows in all their forms.
_KEPT = 256 << 20


def keep_freed_memory() -> None:
    """Let this process, and those forked from it, keep what they free (Linux with glibc; elsewhere nothing happens)."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, _MOST_MAPPED)
            library.mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back_memory() -> None:
    """Give what was freed back to the system after all: what comes next needs less."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
