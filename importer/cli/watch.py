"""Defines the command `watch`, which loads what arrives in a folder and prints a line of JSON for each import."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from .exits import exit_on_error
from .help import SectionedCommand
from .many import source_group, visible
from .options import load_options, sheet_options, sheets_option, watch_options


@click.command(cls=SectionedCommand)
@click.argument("inbox", type=click.Path(path_type=Path))
@watch_options
@sheets_option
@load_options
@sheet_options
def watch(inbox: Path, **options: Any) -> None:
    """Load each workbook that arrives in the folder INBOX, move it, and print one line of JSON for each import.

    A file has arrived when it does not change any more, nobody has it locked or open, and its name is that of a
    workbook and of nothing hidden or temporary. What may pass (exit code 4) is tried again; after a stop or a kill,
    the same command goes on, and nothing is imported twice. SIGTERM and Ctrl-C end it, with exit code 143 and 130.

    \b
    importer watch in/ --done done/ --failed failed/ --table sales --max-rejects 1%
    importer watch in/ --table '{stem}' --once
    """
    debug, quiet = options.pop("debug"), options.pop("quiet")
    with exit_on_error(quiet=quiet, debug=debug):
        from importer.inbox.settle import Folders
        from importer.inbox.watch import WatchRequest
        from importer.inbox.watch import watch as watch_folder

        done, failed = (Path(options.pop(name) or inbox / name) for name in ("done", "failed"))
        how = {name: options.pop(name) for name in ("once", "poll")}
        group = source_group((), options)
        request = WatchRequest(
            Folders(inbox, done, failed), group, options["to"], **how, workers=options["workers"], quiet=quiet
        )
        sys.exit(watch_folder(request, _print_entry, lambda text: None if quiet else _say(text)))


def _print_entry(entry: dict[str, Any]) -> None:
    click.echo(json.dumps(entry, ensure_ascii=False))
    sys.stdout.flush()


def _say(text: str) -> None:
    click.echo(f"importer: {visible(text)}", err=True)
