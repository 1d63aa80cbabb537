"""Starts workers before the command line is imported, and spares what the interpreter does at its end."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys

#: Commands that read a workbook.
_WORKER_COMMANDS = {"run", "check", "inspect", "contract"}
#: Options that divide the work among workers, or give it to the engine, which runs in one.
_FOR_WORKERS = ("--workers", "--method", "--chunk-rows", "--engine")
#: Commands that import many workbooks, and options that say in how many processes, or where.
_MANY_COMMANDS, _FOR_PROCESSES = {"run", "check"}, ("--workers", "--on")


def prestart_workers() -> None:
    """Start the workers before importing the command line, because the fork server's imports take longest.

    A small workbook is loaded without them, unless an option asks for them.
    """
    if sys.argv[1:2] and sys.argv[1] in _WORKER_COMMANDS and not {"-h", "--help"} & set(sys.argv):
        from importer.errors import MachineError
        from importer.workers.file_size import estimate_workers, is_small
        from importer.workers.own_process import declare_own_program, open_standard_streams

        declare_own_program()
        open_standard_streams()
        # The arguments are not parsed yet; the largest file among them is taken for the workbook.
        if (count := _count_workbooks(sys.argv[2:])) > 1:
            _prestart_processes(count)
            return
        size = max(map(_size, sys.argv[2:]), default=0)
        if is_small(size) and not any(argument.startswith(_FOR_WORKERS) for argument in sys.argv):
            return
        from importer.workers.fork_server import warm_up

        with contextlib.suppress(MachineError):  # the command reports it
            warm_up()
            from importer.workers.worker_process import prestart

            prestart(estimate_workers(size))


def _count_workbooks(arguments: list[str]) -> int:
    """Return how many workbooks the command line seems to name; a pattern may mean any number."""
    from importer.text_files import WORKBOOK_SUFFIXES

    names = [argument for argument in arguments if not argument.startswith("-")]
    many = (os.cpu_count() or 1) + 1
    return sum(many if "*" in name else name.lower().endswith(WORKBOOK_SUFFIXES) for name in names)


def _prestart_processes(count: int) -> None:
    """Start the processes that each of many workbooks is loaded by."""
    if sys.argv[1] not in _MANY_COMMANDS or any(argument.startswith(_FOR_PROCESSES) for argument in sys.argv):
        return
    from importer.batch.execution.prestart import prestart

    with contextlib.suppress(OSError):  # the command reports it
        prestart(min(count, os.cpu_count() or 1))


def end_prestarted() -> None:
    """End what was started and not used."""
    for module in ("importer.workers.worker_process", "importer.batch.execution.prestart"):
        if module in sys.modules:
            sys.modules[module].end_prestarted()


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
