"""Keeps from the caller's process what could end it: a task run there asks before such work, and goes to a worker.

The tasks of a small workbook run in the process of the caller, without limits on memory and time. What they do there is
bounded by the workbook's size. Native code that is not (the engine) is preceded by `require_worker`, unless what it
gets is known to be small (`bounded_work`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
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


@contextlib.contextmanager
def leave_at_exit() -> Iterator[None]:
    """End this process with the exit code of the block, and leave its modules and memory to the system.

    The interpreter takes 30-70 ms to tear them down. All threads that it waits for have ended by then, and all other
    functions of `atexit` were called. A debugger or profiler, and whoever registered one before, gets a usual end.
    """
    codes: list[int] = []

    def leave() -> None:
        if codes and not (sys.gettrace() or sys.getprofile()):
            # A stream that cannot be written to is reported by the interpreter; one may be closed, or None.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(codes[0])

    if not atexit._ncallbacks():  # noqa: SLF001 - functions are called in the opposite order, and none may be left out
        atexit.register(leave)
    try:
        yield
    except SystemExit as exc:
        if exc.code is None or isinstance(exc.code, int):
            codes.append(exc.code or 0)
        raise
