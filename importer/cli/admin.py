"""Defines the administrative commands: `runs` (the target's ledger) and `db` (the embedded server)."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from .exits import exit_on_error
from .options import ledger_options


def _group_option(name: str, given: Any) -> Any:
    """Return the value of an option of a `runs` command, which may also be given before the command."""
    parent = click.get_current_context().parent
    return given or (parent.params.get(name) if parent is not None else None)


class _Runs(click.Group):
    """A group whose first argument may be an id instead of a command."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


@click.group(cls=_Runs, invoke_without_command=True)
@click.option(
    "--newest",
    type=click.IntRange(min=0),
    metavar="N",
    default=1000,
    show_default=True,
    help="List so many, besides all that are unfinished; 0: all.",
)
@ledger_options
@click.pass_context
def runs(ctx: click.Context, newest: int, to: str | None, as_json: bool, debug: bool) -> None:
    """List the runs in the target's ledger, the newest first; `importer runs ID` shows one.

    To finish a run that died, run the same command again. Until then its staging table stays.
    """
    if ctx.invoked_subcommand is not None:
        return
    with exit_on_error(as_json=as_json, debug=debug):
        from importer.ledger.history import count_runs, ledger_session, leftovers, list_runs

        from .render import output, print_runs

        with ledger_session(to) as session:
            found, left = list_runs(session, newest or None), leftovers(session)
            more = count_runs(session) - len(found)
        if as_json:
            click.echo(json.dumps({"runs": found, "more": more, "leftovers": left}, ensure_ascii=False, indent=2))
        else:
            print_runs(found, left, output(), more)


@runs.command()
@click.argument("run_id", metavar="ID")
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write its rejected rows again (.xlsx, .csv, .parquet), kept until the next run of that table.",
)
@ledger_options
def show(run_id: str, rejects: str | None, to: str | None, as_json: bool, debug: bool) -> None:
    """Show one run, or write its rejects. ID is the id of the run, or the beginning of it."""
    with exit_on_error(as_json=as_json, debug=debug):
        from importer.ledger.history import ledger_session, show_run

        from .render import output, print_run, print_written_rejects

        with ledger_session(_group_option("to", to)) as session:
            found = show_run(session, run_id)
            if rejects is not None:
                from importer.report.rejects.kept import write_kept_rejects
                from importer.urls import path_or_url

                found = write_kept_rejects(session, found, path_or_url(rejects))
        if _group_option("as_json", as_json):
            click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        else:
            (print_run if rejects is None else print_written_rejects)(found, output())


@runs.command()
@click.argument("run_id", metavar="ID")
@ledger_options
def forget(run_id: str, to: str | None, as_json: bool, debug: bool) -> None:
    """Delete a run from the ledger, with its staging table; the same workbook can then be imported again."""
    with exit_on_error(as_json=as_json, debug=debug):
        from importer.ledger.history import forget as forget_run
        from importer.ledger.history import ledger_session

        with ledger_session(_group_option("to", to)) as session:
            run = forget_run(session, run_id)
        click.echo(
            json.dumps({"forgotten": run["id"]}) if _group_option("as_json", as_json) else f"forgotten: {run['id']}"
        )


@runs.command()
@ledger_options
def clean(to: str | None, as_json: bool, debug: bool) -> None:
    """Drop the staging tables of unfinished runs; the next attempt of each starts from scratch."""
    with exit_on_error(as_json=as_json, debug=debug):
        from importer.ledger.history import clean as clean_runs
        from importer.ledger.history import ledger_session

        with ledger_session(_group_option("to", to)) as session:
            dropped = clean_runs(session)
        click.echo(
            json.dumps({"dropped": dropped})
            if _group_option("as_json", as_json)
            else f"dropped: {', '.join(dropped) or 'nothing'}"
        )


@runs.command()
@click.option("--older-than", metavar="AGE", help="Delete runs that ended longer ago, such as 12h, 90d, 4w.")
@ledger_options
def prune(older_than: str | None, to: str | None, as_json: bool, debug: bool) -> None:
    """Delete the rejected rows that the ledger keeps; the runs stay, and so do the rejects files.

    With --older-than delete old runs instead, with what the ledger keeps of them. The tables stay as they are, but a
    workbook whose run is deleted would be imported once more.
    """
    with exit_on_error(as_json=as_json, debug=debug):
        from importer.ledger.history import ledger_session
        from importer.ledger.pruning import age_seconds, prune_runs
        from importer.ledger.rejects import prune_rejects

        seconds = None if older_than is None else age_seconds(older_than)
        with ledger_session(_group_option("to", to)) as session:
            pruned = prune_rejects(session) if seconds is None else {"runs": prune_runs(session, seconds)}
        if seconds is None:
            said = f"pruned: rejects of {pruned['runs']:,} runs, {pruned['bytes'] / 1e6:,.1f} MB"
        else:
            said = f"pruned: {pruned['runs']:,} runs; their workbooks would be imported once more"
        click.echo(json.dumps({"pruned": pruned}) if _group_option("as_json", as_json) else said)


@runs.command()
@ledger_options
def setup(to: str | None, as_json: bool, debug: bool) -> None:
    """Make the ledger, for roles that may not; which privileges they need is in .github/SECURITY.md."""
    with exit_on_error(as_json=as_json, debug=debug):
        from importer.ledger.history import ledger_session, set_up

        with ledger_session(_group_option("to", to)) as session:
            set_up(session)
        click.echo(json.dumps({"ready": True}) if _group_option("as_json", as_json) else "the ledger is ready")


@click.group()
def db() -> None:
    """Manage the embedded PostgreSQL, which is used when no target is named."""


@db.command()
def url() -> None:
    """Start the server, keep it running, and print its connection string."""
    with exit_on_error():
        from importer.postgres.embedded import EmbeddedServer

        click.echo(EmbeddedServer().start().text)


@db.command()
def start() -> None:
    """Start the server and keep it running until `stop`."""
    with exit_on_error():
        from importer.postgres.embedded import EmbeddedServer

        click.echo(f"running: {EmbeddedServer().start().text}")


@db.command()
def stop() -> None:
    """Stop the server."""
    with exit_on_error():
        from importer.postgres.embedded import EmbeddedServer

        click.echo("stopped" if EmbeddedServer().stop() else "was not running")


@db.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the server. ARGUMENTS go to psql, as in: db psql -c 'select count(*) from businesses'."""
    with exit_on_error():
        from importer.postgres.embedded import EmbeddedServer

        sys.exit(EmbeddedServer().psql(list(arguments)))
