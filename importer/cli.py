"""Owns the command line: options, one call, one place that catches errors, one exit code a command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .errors import BudgetExceeded, ImporterError, Interrupted, MachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .report import Report

_REJECTED = 1
#: A wrapper that passes Ctrl-C on makes two signals of one; only one that comes later is a wish to leave at once.
_PATIENCE_SECONDS = 2.0


def _stack(options: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Several options as one decorator, shown in the order given."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


workbook_argument = click.argument("workbook", type=click.Path(path_type=str))
sheet_options = _stack([
    click.option("--sheet", metavar="NAME", help="Sheet to read.  [default: the first visible worksheet]"),
    click.option("--header-row", metavar="N|N-M", help="Header row, or rows; 0: none.  [default: found]"),
    click.option("--columns", metavar="A,B,…", help="Columns to take, by header, name or letter; the others are ignored."),
    click.option("--keep-names", is_flag=True, help="Take header texts as column names as they are."),
    click.option("--hidden", type=click.Choice(["include", "skip", "error"]), default="include", show_default=True, help="Hidden rows and columns."),
    click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes; 0: none, for debugging.  [default: one a core]"),
    click.option("--memory", type=click.IntRange(64), metavar="MIB", help="Memory that a worker may use.  [default: 2048]"),
    click.option("--temp-dir", type=click.Path(file_okay=False, exists=True), help="Where the spool goes.  [default: the system's]"),
])  # fmt: skip
load_options = _stack([
    click.option("--to", metavar="DSN", help="Target server.  [default: IMPORTER_DSN, DATABASE_URL, PGHOST…, else the embedded one]"),
    click.option("--table", metavar="[SCHEMA.]TABLE", help="Target table.  [default: the contract's, else the workbook's name]"),
    click.option("--mode", type=click.Choice(["append", "create", "replace", "upsert"]), default="append", show_default=True, help="What happens to the table's rows."),
    click.option("--key", metavar="A,B,…", help="Columns by which an upsert knows a row, by header, name or letter.  [default: the primary key]"),
    click.option("--on-duplicate", type=click.Choice(["reject", "first", "last"]), default="reject", show_default=True, help="Rows that repeat a primary or upsert key in the sheet: reject all but the first, or keep the first or last and leave the others out."),
    click.option("--timeline", type=click.Path(dir_okay=False), metavar="FILE", help="Draw what each process did when (.svg, .html)."),
    click.option("--lineage", is_flag=True, help="Fill columns _source_file, _source_sheet, _source_row and _run_id."),
    click.option("--contract", type=click.Path(dir_okay=False), metavar="FILE", help="Table Schema descriptor (JSON, YAML, TOML)."),
    click.option("--error-cells", type=click.Choice(["reject", "null"]), default="reject", show_default=True, help="What #N/A and the like mean."),
    click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Zone of dates and times that go into timestamptz."),
    click.option("--rejects", type=click.Path(dir_okay=False), metavar="FILE", help="Where rejected rows go (.xlsx, .csv, .parquet).  [default: NAME.rejects.xlsx here]"),
    click.option("--max-rejects", metavar="N|N%", help="Publish nothing with more rejected rows than that.  [default: no limit]"),
    click.option("--method", type=click.Choice(["batch", "concurrent", "sequential"]), default="batch", show_default=True, help="How rows are written."),
    click.option("--again", is_flag=True, help="Load once more what was imported already."),
    click.option("--retry-for", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS", help="How long trouble with the server may last."),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Give up after that time; the same command goes on later."),
    click.option("--chunk-rows", type=click.IntRange(1), metavar="N", help="Most rows of a chunk.  [default: by size]"),
])  # fmt: skip
output_options = _stack([
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout, and nothing else there."),
    click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Print all columns and notes."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
])  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="importer")
def cli() -> None:
    """Put an Excel workbook into a PostgreSQL table, fast, and account for every cell.

    Without a target server, an embedded PostgreSQL keeps the tables in your data directory (see `importer db`).

    \b
    Exit codes:  0 done  ·  1 done, some rows rejected  ·  2 usage  ·  3 input refused
                 4 database or machine  ·  5 over the reject budget  ·  130 interrupted (143: terminated)
    """


@cli.command()
@workbook_argument
@load_options
@sheet_options
@output_options
def run(workbook: str, **options: Any) -> None:
    """Load a sheet of WORKBOOK into a table: all of it or nothing.

    Rows that break a rule are not loaded but written to the rejects file, with their row number and the reasons.

    \b
    importer run data.xlsx
    importer run data.xlsx --contract data.schema.json --to postgresql://me@db/shop --max-rejects 1%
    """
    _load(workbook, options, dry_run=False)


@cli.command()
@workbook_argument
@load_options
@sheet_options
@output_options
def check(workbook: str, **options: Any) -> None:
    """Do everything that `run` does, then roll it back: tells what would be loaded and rejected."""
    _load(workbook, options, dry_run=True)


def _load(workbook: str, options: dict[str, Any], *, dry_run: bool) -> None:
    as_json, quiet, verbose, debug = (options.pop(name) for name in ("as_json", "quiet", "verbose", "debug"))
    with _one_exit(as_json=as_json, quiet=quiet, debug=debug):
        from .starting import warm_up

        warm_up()  # its imports run beside ours
        from . import import_workbook
        from .terminal import progress_bars

        with progress_bars(quiet=quiet, bars=not as_json) as progress:
            report = import_workbook(
                workbook, dry_run=dry_run, progress=progress, limits=_limits(options), **_split(options)
            )
        _show(report, as_json=as_json, quiet=quiet, verbose=verbose)
        # With a budget, rejects within it are what the user asked for.
        done = report.outcome != "already-imported"
        sys.exit(_REJECTED if done and report.error_count and options["max_rejects"] is None else 0)


def _limits(options: dict[str, Any]) -> Any:
    from .settings import MIB, Limits

    memory = options.pop("memory")
    return Limits() if memory is None else Limits(memory_bytes=memory * MIB)


def _split(options: dict[str, Any]) -> dict[str, Any]:
    for name in {"columns", "key"} & set(options):
        text = options[name]
        options[name] = [c.strip() for c in text.split(",") if c.strip()] if text else None
    return options


def _show(report: Report, *, as_json: bool, quiet: bool, verbose: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    elif not quiet:
        from .report import output, print_report

        print_report(report, output(), verbose=verbose)


@cli.command()
@workbook_argument
@sheet_options
@output_options
def inspect(workbook: str, as_json: bool, quiet: bool, verbose: bool, debug: bool, **options: Any) -> None:
    """Show the sheets of WORKBOOK, the header, the columns with what they hold, and problems. Needs no database."""
    with _one_exit(as_json=as_json, quiet=quiet, debug=debug):
        from .inspecting import inspect_workbook, print_inspection

        found = inspect_workbook(workbook, limits=_limits(options), **_split(options))
        if as_json:
            click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
        elif not quiet:
            from .report import output

            print_inspection(found, output(), verbose=verbose)


@cli.command()
@workbook_argument
@sheet_options
@click.option(
    "--format", "form", type=click.Choice(["json", "yaml"]), default="json", show_default=True, help="How to write it."
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def contract(workbook: str, form: str, debug: bool, **options: Any) -> None:
    """Print the contract that WORKBOOK suggests: a Table Schema descriptor to edit and give to `run --contract`."""
    with _one_exit(debug=debug):
        from .inspecting import suggest_contract

        descriptor = suggest_contract(workbook, limits=_limits(options), **_split(options))
        if form == "json":
            click.echo(json.dumps(descriptor, ensure_ascii=False, indent=2))
        else:
            import yaml

            click.echo(yaml.safe_dump(descriptor, allow_unicode=True, sort_keys=False), nl=False)


ledger_options = _stack([
    click.option("--to", metavar="DSN", help="Target server, found as by `run`."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, and nothing else there."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
])  # fmt: skip


def _of_group(name: str, given: Any) -> Any:
    """An option of a command of `runs`, which may stand before the command as well."""
    parent = click.get_current_context().parent
    return given or (parent.params.get(name) if parent is not None else None)


class _Runs(click.Group):
    """A group whose first argument may be an id instead of a command."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


@cli.group(cls=_Runs, invoke_without_command=True)
@ledger_options
@click.pass_context
def runs(ctx: click.Context, to: str | None, as_json: bool, debug: bool) -> None:
    """List the runs that the target's ledger knows, the newest first; `importer runs ID` shows one.

    A run that died is finished by running the same command again. Until then its staging table stays.
    """
    if ctx.invoked_subcommand is not None:
        return
    with _one_exit(as_json=as_json, debug=debug):
        from .report import output
        from .runs import ledger_session, leftovers, list_runs, print_runs

        with ledger_session(to) as session:
            found, left = list_runs(session), leftovers(session)
        if as_json:
            click.echo(json.dumps({"runs": found, "leftovers": left}, ensure_ascii=False, indent=2))
        else:
            print_runs(found, left, output())


@runs.command()
@click.argument("run_id", metavar="ID")
@ledger_options
def show(run_id: str, to: str | None, as_json: bool, debug: bool) -> None:
    """Show one run: its id, or the beginning of it."""
    with _one_exit(as_json=as_json, debug=debug):
        from .report import output
        from .runs import ledger_session, print_run, show_run

        with ledger_session(_of_group("to", to)) as session:
            found = show_run(session, run_id)
        if _of_group("as_json", as_json):
            click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        else:
            print_run(found, output())


@runs.command()
@click.argument("run_id", metavar="ID")
@ledger_options
def forget(run_id: str, to: str | None, as_json: bool, debug: bool) -> None:
    """Delete a run from the ledger, and its staging table; the same workbook can then be imported once more."""
    with _one_exit(as_json=as_json, debug=debug):
        from .runs import forget as forget_run
        from .runs import ledger_session

        with ledger_session(_of_group("to", to)) as session:
            run = forget_run(session, run_id)
        click.echo(json.dumps({"forgotten": run["id"]}) if _of_group("as_json", as_json) else f"forgotten: {run['id']}")


@runs.command()
@ledger_options
def clean(to: str | None, as_json: bool, debug: bool) -> None:
    """Drop the staging tables of runs that did not finish; their next try begins from nothing."""
    with _one_exit(as_json=as_json, debug=debug):
        from .runs import clean as clean_runs
        from .runs import ledger_session

        with ledger_session(_of_group("to", to)) as session:
            dropped = clean_runs(session)
        click.echo(
            json.dumps({"dropped": dropped})
            if _of_group("as_json", as_json)
            else f"dropped: {', '.join(dropped) or 'nothing'}"
        )


serve_options = _stack([
    click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen; anything but loopback needs a token."),
    click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, metavar="N", help="Port to listen on; 0: any free one."),
    click.option("--to", metavar="DSN", help="Target server, found as by `run`."),
    click.option("--token", envvar="IMPORTER_TOKEN", metavar="SECRET", help="What callers must know; better given as IMPORTER_TOKEN."),
    click.option("--allow-host", "allow_hosts", multiple=True, metavar="NAME", help="Name by which callers may call the service; repeatable."),
    click.option("--allow-tables", multiple=True, metavar="PATTERN", help="Tables that may be loaded into, as in 'shop.*'; repeatable.  [default: those that the service created]"),
    click.option("--contracts", type=click.Path(file_okay=False, exists=True), metavar="DIR", help="Contracts that callers may choose from."),
    click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Imports at once.  [default: 2]"),
    click.option("--queue", type=click.IntRange(0), metavar="N", help="Uploads that may wait; more are told to come again.  [default: 16]"),
    click.option("--max-upload", type=click.IntRange(1), metavar="MIB", help="Size of a workbook.  [default: 512]"),
    click.option("--max-inflated", type=click.IntRange(1), metavar="MIB", help="Size of a part of it, unzipped.  [default: 8192]"),
    click.option("--max-rows", type=click.IntRange(1), metavar="N", help="Rows of a sheet.  [default: 1048576]"),
    click.option("--max-columns", type=click.IntRange(1, 1600), metavar="N", help="Columns of a sheet.  [default: 1600]"),
    click.option("--memory", type=click.IntRange(64), metavar="MIB", help="Memory that a worker may use.  [default: 2048]"),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="For an import, and for the sending of a workbook.  [default: 900]"),
    click.option("--idle", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="That a sender may be silent.  [default: 30]"),
    click.option("--workers", type=click.IntRange(1), metavar="N", help="Worker processes of one import.  [default: one a core]"),
    click.option("--folder", type=click.Path(file_okay=False), help="Where uploads, rejects and the history lie.  [default: in the data directory]"),
])  # fmt: skip


@cli.command()
@serve_options
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def serve(debug: bool, **options: Any) -> None:
    """Take uploads over HTTP, with a page to do them on.

    \b
    importer serve
    curl -X POST 'http://localhost:8080/upload?method=batch' -F 'file=@data.xlsx'
    """
    with _one_exit(debug=debug):
        try:
            from .serve.server import serve_with
        except ModuleNotFoundError as exc:
            raise MachineError(
                f"the service is not installed ({exc.name})", choice="pip install 'importer[serve]'"
            ) from None
        serve_with(**options)


@cli.group()
def db() -> None:
    """The embedded PostgreSQL, which is used when no target is named."""


@db.command()
def url() -> None:
    """Start the server, keep it running, and print its connection string."""
    with _one_exit():
        from .embedded import Embedded

        click.echo(Embedded().start().text)


@db.command()
def start() -> None:
    """Start the server and keep it running until `stop`."""
    with _one_exit():
        from .embedded import Embedded

        click.echo(f"running: {Embedded().start().text}")


@db.command()
def stop() -> None:
    """Stop the server."""
    with _one_exit():
        from .embedded import Embedded

        click.echo("stopped" if Embedded().stop() else "was not running")


@db.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the server; ARGUMENTS are psql's own, as in: db psql -c 'select count(*) from businesses'."""
    with _one_exit():
        from .embedded import Embedded

        sys.exit(Embedded().psql(list(arguments)))


# ---- ENDINGS ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Run the command line and exit with its code; `--json` holds for usage errors too."""
    with _stoppable():
        try:
            code = cli(prog_name="importer", standalone_mode=False)
        except click.ClickException as exc:
            if "--json" in sys.argv:
                error = {
                    "type": "UsageError",
                    "message": exc.format_message(),
                    "place": None,
                    "choice": None,
                    "exit_code": exc.exit_code,
                }
                click.echo(json.dumps({"outcome": "failed", "error": error}, ensure_ascii=False, indent=2))
            exc.show()
            code = exc.exit_code
        except (KeyboardInterrupt, click.Abort) as exc:
            # click makes an Abort of what it catches between our own handlers.
            cause = exc.__cause__ if isinstance(exc, click.Abort) else exc
            code = _interrupted(cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt()).exit_code
        sys.exit(code if isinstance(code, int) else 0)


class _Terminated(KeyboardInterrupt):
    """A signal that ends the run as Ctrl-C does; its argument is the signal's number."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the signals that end a program into an exception, so that all is tidied: workers, staging, spool."""
    first: float | None = None
    raised: _Terminated | None = None

    def stop(number: int, _frame: object) -> None:
        nonlocal first, raised
        if first is None or getattr(raised, "dropped", False):  # see `interrupts`
            first, raised = time.monotonic(), _Terminated(number)
            raise raised
        if time.monotonic() - first > _PATIENCE_SECONDS:
            os._exit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What the caller ignores (nohup, a background job of sh) stays ignored.
    for number in numbers:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        # All is said and tidied. The interpreter gives Ctrl-C its deadly meaning back while it shuts down, unless it is
        # ignored; it must not change the exit code any more.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _one_exit(*, as_json: bool = False, quiet: bool = False, debug: bool = False) -> Iterator[None]:
    """Turn every error into a message on stderr (and JSON on stdout where asked for) and its exit code."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except (click.ClickException, SystemExit):
        raise
    except BaseException as exc:  # noqa: BLE001 - no traceback without --debug, whatever a library raises
        error = (
            exc
            if isinstance(exc, ImporterError)
            else _interrupted(exc)
            if isinstance(exc, KeyboardInterrupt)
            else _unexpected(exc)
        )
        if debug:
            import traceback

            traceback.print_exception(exc)
        _fail(error, as_json=as_json, quiet=quiet)


def _interrupted(exc: KeyboardInterrupt) -> ImporterError:
    number = exc.args[0] if isinstance(exc, _Terminated) else signal.SIGINT
    word = "interrupted" if number == signal.SIGINT else "terminated"
    unsure = getattr(exc, "unsure", False)
    error = Interrupted(
        f"{word} while publishing, which may have been done" if unsure else f"{word}; nothing was published"
    )
    error.exit_code = 128 + number
    error.choice = "; ".join(getattr(exc, "__notes__", ())) or None
    return error


def _unexpected(exc: BaseException) -> ImporterError:
    if isinstance(exc, OSError):
        return MachineError(f"the machine refused: {exc.strerror or exc}", place=exc.filename)
    fact = str(exc).strip().split("\n", 1)[0][:300]
    return MachineError(
        f"unexpected {type(exc).__name__}: {fact}", choice="run again with --debug, and report what it prints"
    )


def _fail(error: ImporterError, *, as_json: bool, quiet: bool) -> None:
    report = error.report if isinstance(error, BudgetExceeded) else None
    with _writable():
        if as_json:
            described = {
                "type": type(error).__name__,
                "message": error.fact,
                "place": error.place,
                "choice": error.choice,
            }
            shown = {
                "outcome": "failed",
                **(report.to_dict() if report else {}),
                "error": {**described, "exit_code": error.exit_code},
            }
            click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
        elif report:
            _show(report, as_json=False, quiet=quiet, verbose=False)
    with _writable():
        click.echo(f"importer: {error}", err=True)
    sys.exit(error.exit_code)


@contextmanager
def _writable() -> Iterator[None]:
    """Give up on a stdout that nobody reads or that is full, lest Python complains about it once more at its end."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
