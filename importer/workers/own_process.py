"""Keeps from the caller's process what could end it: a task run there asks before such work, and goes to a worker.

The tasks of a small workbook run in the process of the caller, without limits on memory and time. What they do there is
bounded by the workbook's size. Native code that is not (the engine) is preceded by `require_worker`, unless what it
gets is known to be small (`bounded_work`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class NeedsWorker(Exception):
    """What a task does next must be done in a worker, whose memory and time are limited."""


class _ThreadState(threading.local):
    """Whether this thread runs a task in the process of the caller."""

    guarded: bool = False


_state = _ThreadState()


@contextlib.contextmanager
def own_process() -> Iterator[None]:
    """Make `require_worker` raise while the block runs tasks in this thread."""
    _state.guarded = True
    try:
        yield
    finally:
        _state.guarded = False


@contextlib.contextmanager
def bounded_work() -> Iterator[None]:
    """Let a task in the process of the caller do in the block what `require_worker` precedes, because it is bounded."""
    guarded, _state.guarded = _state.guarded, False
    try:
        yield
    finally:
        _state.guarded = guarded


def is_own_process() -> bool:
    """Return whether this thread runs a task in the process of the caller."""
    return _state.guarded


def require_worker() -> None:
    """Return in a worker, and where the user asked for no workers.

    Raises:
        NeedsWorker: the task runs in the process of the caller.
    """
    if _state.guarded:
        raise NeedsWorker


# ---- THE PROCESS OF THE CALLER ----------------------------------------------------------------------------------


class _OwnProgram:
    """Whether this process was said to run our command line."""

    is_declared = False


def declare_own_program() -> None:
    """Say that this process runs our command line, so that multiprocessing is used by nobody else in it."""
    _OwnProgram.is_declared = True


def is_own_program() -> bool:
    """Return whether this process runs our command line."""
    return _OwnProgram.is_declared


def open_standard_streams() -> None:
    """Open those of stdin, stdout and stderr that the caller closed.

    Otherwise a pipe of ours gets file descriptor 1 or 2, and a worker that redirects its output closes that pipe.
    """
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        os.set_inheritable(file, True)
    os.close(file)
