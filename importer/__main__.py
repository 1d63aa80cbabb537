"""Runs the command line for `python -m importer` and `importer`; imports nothing heavy."""

from __future__ import annotations

import contextlib
import gc
import os
import sys

from importer.cli.signals import keep_interrupts

#: Commands that read a workbook.
_WITH_WORKERS = {"run", "check", "inspect", "contract"}


def main() -> None:
    """Run the command line and exit with its code."""
    # Importing creates many objects and no garbage; collecting would take a tenth of the startup time.
    gc.set_threshold(100_000)
    try:
        keep_interrupts()
        _start_early()
        from importer.cli.commands import main as run

        run()
    except KeyboardInterrupt:
        # Ctrl-C while Python still imports: nothing to clean up yet, and no handler to print a message.
        raise SystemExit(130) from None
    finally:
        if "importer.workers.worker_process" in sys.modules:
            sys.modules["importer.workers.worker_process"].end_ahead()
        # Everything is cleaned up. Freezing spares the interpreter's final garbage collection, which takes 40 ms.
        gc.freeze()


def _start_early() -> None:
    """Start the workers before importing the command line, because the fork server's imports take longest."""
    if sys.argv[1:2] and sys.argv[1] in _WITH_WORKERS and not {"-h", "--help"} & set(sys.argv):
        from importer.workers.fork_server import warm_up, workers_for

        from .errors import MachineError

        with contextlib.suppress(MachineError):  # the command reports it
            warm_up()
            from importer.workers.worker_process import start_ahead

            # The arguments are not parsed yet; the largest file among them is taken for the workbook.
            start_ahead(workers_for(max(map(_size, sys.argv[2:]), default=0)))


def _size(argument: str) -> int:
    """Return the size in bytes of the file named by `argument`, or 0 if there is none."""
    try:
        return os.stat(argument).st_size  # noqa: PTH116 - pathlib takes longer to import than this to run
    except (OSError, ValueError):
        return 0


if __name__ == "__main__":
    main()
