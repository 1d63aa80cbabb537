"""Runs the command line for `python -m importer` and `importer`; imports nothing heavy."""

from __future__ import annotations

import gc
import os

from importer.cli.signals import repeat_dropped_interrupts
from importer.cli.startup import end_prestarted, prestart_workers, skip_last_collection, write_output_whole
from importer.workers.late_imports import import_metadata_late
from importer.workers.own_process import leave_at_exit


def main() -> None:
    """Run the command line and exit with its code."""
    # Importing creates many objects and no garbage; collecting would take a tenth of the startup time.
    gc.set_threshold(100_000)
    # Nothing here multiplies matrices, but OpenBLAS starts threads when numpy is imported: 20 ms of CPU time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    write_output_whole()
    try:
        repeat_dropped_interrupts()
        import_metadata_late()
        prestart_workers()
        from importer.cli.commands import main as run

        run()
    except KeyboardInterrupt:
        # Ctrl-C while Python still imports: nothing to clean up yet, and no handler to print a message.
        raise SystemExit(130) from None
    finally:
        end_prestarted()
        skip_last_collection()


def program() -> None:
    """Run the command line as a process of its own, which ends with it."""
    with leave_at_exit():
        main()


if __name__ == "__main__":
    program()
