"""Asks on a terminal what a column is whose kinds mix."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from importer.errors import UsageError

from .progress_bars import pause_drawing

if TYPE_CHECKING:
    from importer.plan.mixed import MixedColumn
    from importer.runtime.progress import Progress


def check_terminal(mixed: str) -> None:
    """Refuse `--mixed ask` where nobody can answer.

    Raises:
        UsageError: standard input or standard error is not a terminal.
    """
    if mixed == "ask" and not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise UsageError("--mixed ask needs a terminal", choice="--mixed text or reject")


def ask_types(progress: Progress, mixed: list[MixedColumn]) -> dict[str, str]:
    """Ask for the type of each column whose kinds mix; return the types by name. No progress is drawn meanwhile."""
    chosen = {}
    with pause_drawing(progress):
        for column in mixed:
            click.echo(column.describe(), err=True)
            choice = click.Choice(list(dict.fromkeys([column.main_type, "string"])))
            text = f"  load {column.name} as (what does not fit is rejected)"
            chosen[column.name] = click.prompt(text, type=choice, default="string", err=True)
    return chosen
