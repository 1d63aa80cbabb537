"""Owns the entry points `python -m importer` and `importer`; imports nothing heavy."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from .cli import cli

    cli(prog_name="importer")


if __name__ == "__main__":
    main()
