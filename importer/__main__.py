"""Owns the entry points `python -m importer` and `importer`; imports nothing heavy."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command line and exit with its code."""
    # Importing makes many objects and no garbage; looking for some takes a tenth of the start.
    gc.set_threshold(100_000)
    try:
        from .cli import main as run

        run()
    except KeyboardInterrupt:
        # Ctrl-C while Python still imports, before anybody could tidy or say anything.
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
