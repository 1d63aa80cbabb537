"""Defines the commands; `options` has their options, `exits` the exit codes, `admin` the ledger's commands."""

from __future__ import annotations

import io
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from importer.errors import MachineError
from importer.urls import hide_secrets
from importer.version import __version__

from .admin import db, runs
from .exits import (
    EXIT_REJECTED,
    check_report_place,
    deliver_report,
    exit_on_error,
    interrupted_error,
    show_report,
    signals_as_exceptions,
)
from .help import ProposingGroup, SectionedCommand
from .many import (
    ONLY_MANY,
    check_sources,
    given_specs,
    groups_with_stdin,
    import_all,
    is_plain,
    print_states,
    settings_of_spec,
    stdin_as_file,
)
from .options import (
    limits_of,
    load_options,
    many_options,
    output_options,
    report_option,
    serve_options,
    sheet_options,
    split_lists,
    workbook_argument,
    workbooks_argument,
)
from .watch import watch

if TYPE_CHECKING:
    from importer.settings import Settings


@click.group(cls=ProposingGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="importer")
def cli() -> None:
    """Load an Excel workbook into a PostgreSQL table, fast, and account for every cell.

    If you name no target server, an embedded PostgreSQL keeps the tables in your data directory (see `importer db`).

    \b
    Exit codes:  0 done  ·  1 done, some rows rejected  ·  2 usage  ·  3 input refused
                 4 database or machine  ·  5 over the reject budget  ·  130 interrupted (143: terminated)
    """


@cli.command(cls=SectionedCommand)
@workbooks_argument
@load_options
@sheet_options
@many_options
@report_option
@output_options
def run(workbooks: tuple[str, ...], **options: Any) -> None:
    """Load a sheet of WORKBOOK into a table, all of its good rows or none; or many sheets of many workbooks.

    Rows that break a rule are written to the rejects file instead, with their row numbers and the reasons.
    A WORKBOOK may be a pattern, a folder, or - for standard input. Of many, the exit code is the worst, in this order:
    stopped by a signal, 4, 2, 3, 5, 1, 0.

    \b
    importer run data.xlsx
    importer run data.xlsx --contract data.schema.json --to postgresql://me@db/shop --max-rejects 1%
    importer run 'in/**/*.xlsx' --sheets Jan-Dec --table sales --lineage
    """
    _load(workbooks, options, dry_run=False)


@cli.command(cls=SectionedCommand)
@workbooks_argument
@load_options
@sheet_options
@many_options
@report_option
@output_options
def check(workbooks: tuple[str, ...], **options: Any) -> None:
    """Do everything that `run` does, then roll it back, and report what would be loaded and rejected."""
    _load(workbooks, options, dry_run=True)


@cli.command(cls=SectionedCommand)
@workbooks_argument
@load_options
@sheet_options
@many_options
@output_options
def plan(workbooks: tuple[str, ...], **options: Any) -> None:
    """List the imports that `run` would make of WORKBOOKs, and what the ledger knows of each; nothing is loaded.

    With --json each is one line: `source`, `sheet`, `table`, `sha256`, `size`, `state` (new, unfinished, imported, or
    refused, with the `error`) and `options`. Another machine runs it by `importer run --import-spec LINE`.
    """
    debug, quiet = options.pop("debug"), options.pop("quiet")
    as_json, _ = options.pop("as_json"), options.pop("verbose")
    with exit_on_error(quiet=quiet, debug=debug):
        print_states(check_sources(workbooks, options), options, as_json=as_json)


def _load(workbooks: tuple[str, ...], options: dict[str, Any], *, dry_run: bool) -> None:
    debug, report_to = options.pop("debug"), options.pop("report_to")
    show = {name: options.pop(name) for name in ("as_json", "quiet", "verbose")}
    with exit_on_error(as_json=show["as_json"], quiet=show["quiet"], debug=debug, report_to=report_to):
        check_report_place(report_to)
        sources = check_sources(workbooks, options)
        if options["import_spec"] is not None:
            specs = given_specs(options)
            if len(specs) > 1:
                report = import_all([], options, show, dry_run=dry_run, specs=specs)
                sys.exit(deliver_report(report.json_pieces, report_to, report.exit_code))
            settings = settings_of_spec(specs[0], options)
            has_budget = settings.max_rejects is not None
            sys.exit(_load_one(settings, show, report_to, dry_run=dry_run, has_budget=has_budget))
        with stdin_as_file(sources, options) as named:
            if not is_plain(named, options):
                with groups_with_stdin(named, options) as groups:
                    report = import_all(groups, options, show, dry_run=dry_run)
                sys.exit(deliver_report(report.json_pieces, report_to, report.exit_code))
            from importer.excel.rejects_origin import rejects_in_folder
            from importer.settings import make_settings

            own = {name: value for name, value in options.items() if name not in ONLY_MANY}
            own = rejects_in_folder(own, named[0])
            settings = make_settings(named[0], limits=limits_of(own), **split_lists(own))
            sys.exit(_load_one(settings, show, report_to, dry_run=dry_run, has_budget=own["max_rejects"] is not None))


def _load_one(
    settings: Settings, show: dict[str, bool], report_to: str | None, *, dry_run: bool, has_budget: bool
) -> int:
    """Run one import, print its report, and return the exit code."""
    from importer.pipeline import Hooks
    from importer.pipeline import run as run_import

    from .progress_bars import progress_bars
    from .questions import ask_types, check_terminal

    check_terminal(settings.mixed)
    with progress_bars(quiet=show["quiet"], bars=not show["as_json"]) as progress:
        hooks = Hooks(choose_types=partial(ask_types, progress))
        report = run_import(settings, progress, dry_run=dry_run, hooks=hooks)
    show_report(report, **show)
    # With a budget, the user accepts the rejects within it.
    # What was imported before is as complete as it was then.
    code = EXIT_REJECTED if report.error_count and not has_budget else 0
    code = MachineError.exit_code if report.undelivered else code
    return deliver_report(lambda: [json.dumps(report.to_dict(), ensure_ascii=False, indent=2)], report_to, code)


@cli.command(cls=SectionedCommand)
@workbook_argument
@sheet_options
@output_options
def inspect(workbook: str, as_json: bool, quiet: bool, verbose: bool, debug: bool, **options: Any) -> None:
    """Show the sheets of WORKBOOK, the header, the columns with their contents, and problems. Needs no database."""
    with exit_on_error(as_json=as_json, quiet=quiet, debug=debug):
        from importer.inspection import inspect_workbook

        from .render import print_inspection

        found = inspect_workbook(workbook, limits=limits_of(options), **split_lists(options))
        if as_json:
            click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
        elif not quiet:
            from .render import output

            print_inspection(found, output(), verbose=verbose)


@cli.command(cls=SectionedCommand)
@workbook_argument
@sheet_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["table-schema", "json", "yaml", "odcs", "dbt"]),
    default="table-schema",
    show_default=True,
    help="Table Schema as JSON (also: json) or YAML (yaml), a data contract of ODCS v3, or a source of dbt.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def contract(workbook: str, form: str, debug: bool, **options: Any) -> None:
    """Print the contract that WORKBOOK suggests: types, rules that all rows follow, and where the table is.

    Edit this descriptor and give it to `run --contract`, which then needs no other option for such a workbook.
    """
    with exit_on_error(debug=debug):
        from importer.contract.write import write_contract
        from importer.inspection import suggest_contract
        from importer.plan.target import table_name_of

        descriptor = suggest_contract(workbook, limits=limits_of(options), **split_lists(options))
        click.echo(write_contract(descriptor, form, table_name_of(workbook)), nl=False)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands and options in SHELL.

    \b
    importer completion bash >> ~/.bashrc
    importer completion zsh >> ~/.zshrc
    importer completion fish > ~/.config/fish/completions/importer.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    with exit_on_error():
        click.echo(found(cli, {}, "importer", "_IMPORTER_COMPLETE").source())


@cli.command()
@serve_options
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def serve(debug: bool, **options: Any) -> None:
    """Serve imports over HTTP, with a web page for uploading workbooks.

    \b
    importer serve
    curl -X POST 'http://localhost:8080/upload?method=batch' -F 'file=@data.xlsx'
    """
    with exit_on_error(debug=debug):
        try:
            from importer.serve.config import Config
            from importer.serve.server import serve as serve_until_stopped
        except ModuleNotFoundError as exc:
            raise MachineError(
                f"the service is not installed ({exc.name})", choice="pip install 'importer[serve]'"
            ) from None
        serve_until_stopped(Config.from_options(**options))


cli.add_command(watch)
cli.add_command(runs)
cli.add_command(db)


def main() -> None:
    """Run the command line and exit with its code; with `--json`, usage errors are printed as JSON too."""
    with signals_as_exceptions():
        try:
            code = cli(prog_name="importer", standalone_mode=False)
        except click.ClickException as exc:
            if "--json" in sys.argv:
                error = {
                    "type": "UsageError",
                    "message": hide_secrets(exc.format_message()),
                    "place": None,
                    "choice": None,
                    "exit_code": exc.exit_code,
                }
                click.echo(json.dumps({"outcome": "failed", "error": error}, ensure_ascii=False, indent=2))
            # What somebody mistyped may be an address with a password.
            message = io.StringIO()
            exc.show(message)
            click.echo(hide_secrets(message.getvalue()), err=True, nl=False)
            code = exc.exit_code
        except (KeyboardInterrupt, click.Abort) as exc:
            # click turns what it catches outside our own handlers into an Abort.
            cause = exc.__cause__ if isinstance(exc, click.Abort) else exc
            code = interrupted_error(cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt()).exit_code
        sys.exit(code if isinstance(code, int) else 0)
