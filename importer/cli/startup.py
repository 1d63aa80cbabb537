"""Starts workers before the command line is imported, and spares what the interpreter does at its end."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Commands that read a workbook.
_WORKER_COMMANDS = {"run", "check", "inspect", "contract"}
#: Options that divide the work among workers, or give it to the engine, which runs in one.
_FOR_WORKERS = ("--workers", "--method", "--chunk-rows", "--engine")


def prestart_workers() -> None:
    """Start the workers before importing the command line, because the fork server's imports take longest.

    A small workbook is loaded without them, unless an option asks for them.
    """
    if sys.argv[1:2] and sys.argv[1] in _WORKER_COMMANDS and not {"-h", "--help"} & set(sys.argv):
        from importer.errors import MachineError
        from importer.text_files import WORKBOOK_SUFFIXES
        from importer.workers.file_size import estimate_workers, is_small
        from importer.workers.own_process import declare_own_program, open_standard_streams

        declare_own_program()
        open_standard_streams()
        # The arguments are not parsed yet; the largest file among them is taken for the workbook.
        size = max(map(_size, sys.argv[2:]), default=0)
        if is_small(size) and not any(argument.startswith(_FOR_WORKERS) for argument in sys.argv):
            return
        if sum(argument.lower().endswith(WORKBOOK_SUFFIXES) + ("*" in argument) * 2 for argument in sys.argv[2:]) > 1:
            return  # each of many is loaded by a process of its own
        from importer.workers.fork_server import warm_up

        with contextlib.suppress(MachineError):  # the command reports it
            warm_up()
            from importer.workers.worker_process import prestart

            prestart(estimate_workers(size))


def _size(argument: str) -> int:
    """Return the size in bytes of the file named by `argument`, or 0 if there is none."""
    try:
        return os.stat(argument).st_size  # noqa: PTH116 - pathlib takes longer to import than this to run
    except (OSError, ValueError):
        return 0


def write_output_whole() -> None:
    """Let what is printed be written whole, or fail, when Python was told not to buffer (`-u`, PYTHONUNBUFFERED).

    Then its text streams stand directly on the file, and drop what a short write leaves: on a disk that gets full, half
    a report would have the exit code of a whole one. Every line is still written at once.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        raw = getattr(stream, "buffer", None)
        if isinstance(raw, io.RawIOBase):
            buffered = io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffered, stream.encoding, stream.errors, line_buffering=True))


def skip_last_collection() -> None:
    """Spare the interpreter its final garbage collection, which takes 40 ms; everything is cleaned up by now."""
    gc.freeze()


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
