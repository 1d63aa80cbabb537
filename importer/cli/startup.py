"""Starts workers before the command line is imported, and spares its last garbage collection."""

from __future__ import annotations

import contextlib
import gc
import os
import sys

#: Commands that read a workbook.
_WORKER_COMMANDS = {"run", "check", "inspect", "contract"}


def prestart_workers() -> None:
    """Start the workers before importing the command line, because the fork server's imports take longest."""
    if sys.argv[1:2] and sys.argv[1] in _WORKER_COMMANDS and not {"-h", "--help"} & set(sys.argv):
        from importer.errors import MachineError
        from importer.workers.fork_server import estimate_workers, lock_socket_folder, warm_up

        with contextlib.suppress(MachineError):  # the command reports it
            warm_up()
            lock_socket_folder()
            from importer.workers.worker_process import prestart

            # The arguments are not parsed yet; the largest file among them is taken for the workbook.
            prestart(estimate_workers(max(map(_size, sys.argv[2:]), default=0)))


def _size(argument: str) -> int:
    """Return the size in bytes of the file named by `argument`, or 0 if there is none."""
    try:
        return os.stat(argument).st_size  # noqa: PTH116 - pathlib takes longer to import than this to run
    except (OSError, ValueError):
        return 0


def skip_last_collection() -> None:
    """Spare the interpreter its final garbage collection, which takes 40 ms; everything is cleaned up by now."""
    gc.freeze()
