"""Owns the entry points `python -m importer` and `importer`; imports nothing heavy."""

from __future__ import annotations

import contextlib
import gc
import os
import sys

from .interrupts import keep_interrupts

#: Commands that read a workbook.
_WITH_WORKERS = {"run", "check", "inspect", "contract"}


def main() -> None:
    """Run the command line and exit with its code."""
    # Importing makes many objects and no garbage; looking for some takes a tenth of the start.
    gc.set_threshold(100_000)
    try:
        keep_interrupts()
        _start_early()
        from .cli import main as run

        run()
    except KeyboardInterrupt:
        # Ctrl-C while Python still imports, before anybody could tidy or say anything.
        raise SystemExit(130) from None
    finally:
        if "importer.lanes" in sys.modules:
            sys.modules["importer.lanes"].end_ahead()
        # All is done and tidied. The interpreter looks through what is left once more before it ends, for 40 ms.
        gc.freeze()


def _start_early() -> None:
    """Start the workers, whose fork server imports for longer than anything here, before the command line."""
    if sys.argv[1:2] and sys.argv[1] in _WITH_WORKERS and not {"-h", "--help"} & set(sys.argv):
        from .errors import MachineError
        from .starting import warm_up, workers_for

        with contextlib.suppress(MachineError):  # the command tells it
            warm_up()
            from .lanes import start_ahead

            # Which argument is the workbook is known when the command line was imported; it is the largest file.
            start_ahead(workers_for(max(map(_size, sys.argv[2:]), default=0)))


def _size(argument: str) -> int:
    """Bytes of the file of that name; 0 where there is none."""
    try:
        return os.stat(argument).st_size  # noqa: PTH116 - pathlib takes longer to import than this to run
    except (OSError, ValueError):
        return 0


if __name__ == "__main__":
    main()
