"""Owns the entry points `python -m importer` and `importer`; imports nothing heavy."""

from __future__ import annotations

import contextlib
import gc
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


def _start_early() -> None:
    """Start the fork server of the workers, which imports for longer than anything here, before the command line."""
    if sys.argv[1:2] and sys.argv[1] in _WITH_WORKERS and not {"-h", "--help"} & set(sys.argv):
        from .errors import MachineError
        from .pool import warm_up

        with contextlib.suppress(MachineError):  # the command tells it
            warm_up()


if __name__ == "__main__":
    main()
