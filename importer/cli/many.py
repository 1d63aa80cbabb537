"""Runs `run` and `check` where they are about more than one plain workbook, and prints the report on all imports."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .exits import until_nobody_reads
from .options import split_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from importer.batch.expand import SourceGroup
    from importer.batch.import_spec import ImportSpec
    from importer.batch.job_file import Job
    from importer.batch.report import ImportReport, ManyReport
    from importer.settings import Settings

#: Options of commands for many workbooks.
ONLY_MANY = ("sheets", "each", "together", "stop_on_error", "on", "jobs", "import_spec")
#: Options that are not those of an import.
_OF_COMMAND = ("to", "sheet", "table", "workers", *ONLY_MANY)


def check_sources(workbooks: tuple[str, ...], options: dict[str, Any]) -> tuple[str, ...]:
    """Return the workbooks that a command names; none if a job file or an import does that.

    Raises:
        ClickException: none is named, or in two ways.
    """
    others = [f"--{name.replace('_', '-')}" for name in ("jobs", "import_spec") if options[name] is not None]
    ways = (["a WORKBOOK"] if workbooks else []) + others
    if options["on"] is not None and options["import_spec"] is not None:
        ways.append("--on")
    if not ways:
        raise click.UsageError("Missing argument 'WORKBOOK…'.")
    if len(ways) > 1:
        raise click.UsageError(f"{' and '.join(ways)} cannot be combined.")
    if options["each"] and options["together"]:
        raise click.UsageError("--each and --together cannot be combined.")
    return workbooks


def is_plain(sources: tuple[str, ...], options: dict[str, Any]) -> bool:
    """Return whether a command is about one workbook, as without anything for many; cheap, because all others are."""
    if len(sources) != 1 or any(options[name] for name in ONLY_MANY) or "{" in (options["table"] or ""):
        return False
    from pathlib import Path

    from importer.excel.rejects_origin import has_sheet_origins
    from importer.sources.paths import is_single

    if not is_single(sources[0]):
        return False
    # The rejects of many imports are loaded as they were: each sheet into its table.
    return options["sheet"] is not None or not has_sheet_origins(Path(sources[0]))


@contextlib.contextmanager
def stdin_as_file(sources: tuple[str, ...], options: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the sources with a file in the place of `-`, which is standard input.

    Raises:
        UsageError: nothing names the table of standard input.
    """
    if "-" not in sources:
        yield sources
        return
    from importer.sources.stdin import check_has_table, with_stdin

    check_has_table(options)
    with with_stdin(sources, options["temp_dir"]) as named:
        yield named


@contextlib.contextmanager
def groups_with_stdin(sources: tuple[str, ...], options: dict[str, Any]) -> Iterator[list[SourceGroup]]:
    """Yield what a command names, with a file in the place of `-` in its job file; see `request_groups`."""
    from importer.sources.stdin import check_has_table, with_stdin

    groups = request_groups(sources, options)
    for group in groups:
        if "-" in group.sources:
            check_has_table({"table": group.table, **group.options}, group.place)
    given = tuple(source for group in groups for source in group.sources)
    with with_stdin(given, options["temp_dir"]) as named:
        files = dict(zip(given, named, strict=True))
        yield [replace(group, sources=tuple(files[source] for source in group.sources)) for group in groups]


def print_states(sources: tuple[str, ...], options: dict[str, Any], *, as_json: bool) -> None:
    """Print the imports of a command, and their states, one line each."""
    from importer.batch.many import ManyRequest
    from importer.batch.states import import_states
    from importer.errors import UsageError

    groups = tuple(request_groups(sources, options))
    if any("-" in group.sources for group in groups):
        fact = "standard input (-) cannot be planned: what runs the import cannot read it"
        raise UsageError(fact, choice="importer run -, or plan a file")
    request = ManyRequest(
        groups, to=options["to"], together=options["together"],
        workers=options["workers"],
    )  # fmt: skip
    for state in import_states(request):
        if as_json:
            click.echo(json.dumps(state, ensure_ascii=False))
        else:
            error = f": {state['error']['message']}" if state.get("error") else ""
            sheet = f" [{state['sheet']}]" if state["sheet"] else ""
            target = f" -> {state['table']}" if state["table"] else ""
            click.echo(visible(f"{state['state']:<10} {state['source']}{sheet}{target}{error}"))


def given_specs(options: dict[str, Any]) -> list[ImportSpec]:
    """Return the imports that lines of `importer plan` describe, with the options of the command line.

    Raises:
        UsageError: a line describes none.
        ImporterError: the lines are at an address, and cannot be fetched.
    """
    from importer.batch.import_spec import read_specs

    given = {n: v for n, v in _given(options).items() if n not in _OF_COMMAND or n == "workers"}
    own = _import_options(given)
    return [spec.with_options(**own) for spec in read_specs(options["import_spec"])]


def settings_of_spec(spec: ImportSpec, options: dict[str, Any]) -> Settings:
    """Return the settings of an import.

    Raises:
        UsageError: one of its options is none.
    """
    from importer.batch.one_import import spec_settings
    from importer.excel.rejects_origin import rejects_in_folder

    return spec_settings(replace(spec, options=rejects_in_folder(spec.options, spec.source)), options["to"])


def request_groups(sources: tuple[str, ...], options: dict[str, Any]) -> list[SourceGroup]:
    """Return what the command line, or its job file, names, with the options.

    Raises:
        UsageError: an option or the job file is refused.
    """
    if options["jobs"] is not None:
        given = _given(options)
        jobs = _jobs(options["jobs"], click.get_current_context().command.params)
        options["together"] = _is_together(jobs, given=options["together"])
        return [source_group(job.sources, {**job.options, **given}, job.place) for job in jobs]
    return [source_group(sources, options)]


def _is_together(jobs: list[Job], *, given: bool) -> bool:
    """Return whether the imports of a job file are published as one.

    Raises:
        UsageError: some are, and others are not.
    """
    asked = [bool(job.options.get("together")) for job in jobs]
    if any(asked) and not all(asked):
        from importer.errors import UsageError

        place = jobs[asked.index(False)].place
        raise UsageError("'together' is about all imports of the file", place=place, choice="put it beside 'imports'")
    return given or any(asked)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that stand on the command line."""
    context = click.get_current_context()
    return {n: v for n, v in options.items() if context.get_parameter_source(n) is ParameterSource.COMMANDLINE}


def source_group(sources: tuple[str, ...], options: dict[str, Any], place: str | None = None) -> SourceGroup:
    """Return sources with the options of a command line that are those of an import."""
    from importer.batch.expand import SourceGroup

    own = _import_options({name: value for name, value in options.items() if name not in _OF_COMMAND})
    return SourceGroup(sources, options.get("sheet"), options.get("sheets"), options.get("table"), own, place)


def _import_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return options of the command line as keywords of `importer.import_workbook`."""
    own = split_lists(given)
    if (memory := own.pop("memory", None)) is not None:
        own["limits"] = {"memory_bytes": memory << 20}
    return own


def import_all(
    groups: list[SourceGroup], options: dict[str, Any], show: dict[str, bool], *, dry_run: bool,
    specs: Sequence[ImportSpec] = (),
) -> ManyReport:  # fmt: skip
    """Run the imports of several groups of sources, and print the report, which is returned.

    Args:
        groups: sources with their options.
        specs: further imports.
        options: `to`, `stop_on_error`, `together`, `on` and `workers`.
        show: `as_json`, `quiet` and `verbose`.
        dry_run: whether everything is rolled back in the end.
    """
    from importer.batch.many import ManyRequest, run_many
    from importer.integrations.clusters import executor_for

    request = ManyRequest(
        tuple(groups), tuple(specs), options["to"], stop_on_error=options["stop_on_error"],
        together=options["together"], dry_run=dry_run, quiet=show["quiet"], workers=options["workers"],
    )  # fmt: skip
    with executor_for(options["on"]) as executor:
        report = run_many(request, executor=executor, on_report=_progress(quiet=show["quiet"]))
    with until_nobody_reads():
        print_many(report, **show)
    return report


def _jobs(path: str, params: list[click.Parameter]) -> list[Job]:
    from importer.batch.job_file import read_job_file

    known = {p.name: p for p in params if isinstance(p, click.Option) and p.name and p.name not in _NOT_IN_FILE}
    return read_job_file(path, known, lambda name, value: _convert(known[name], value))


#: Options that are about the command, and no keys of a job file.
_NOT_IN_FILE = ("to", "workers", *(name for name in ONLY_MANY if name not in {"sheets", "together"}))
_NOT_IN_FILE += ("report_to", "as_json", "quiet", "verbose", "debug")
#: Options whose values are several texts or pairs, which a file may have as a list or an object.
_LISTS, _PAIRS = ("columns", "key", "null"), "types"


def _convert(option: click.Option, value: Any) -> Any:
    """Return the value of an option from what a job file has for it.

    Raises:
        ValueError: the option has no such value.
    """
    if value is None:
        return None
    if option.is_flag:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return value
    if option.name in _LISTS and isinstance(value, list):
        return [str(each) for each in value]
    if option.name == _PAIRS and isinstance(value, dict):
        return {str(name): str(kind) for name, kind in value.items()}
    if isinstance(value, list | dict | bool):
        raise ValueError(f"{value!r} is not a single value")  # noqa: TRY004
    try:
        converted = option.type.convert(str(value), option, None)
    except click.ClickException as exc:
        raise ValueError(exc.format_message()) from None
    return converted


def _progress(*, quiet: bool) -> Callable[[ImportReport], None]:
    """Return what prints a line on stderr as each import ends, if a user watches; with `quiet`, those that failed."""
    stream = sys.stderr
    if stream is None:
        return lambda _: None

    def show(report: ImportReport) -> None:
        if report.error is not None if quiet else stream.isatty():
            click.echo(f"importer: {visible(str(report))}", err=True)

    return show


def print_many(report: ManyReport, *, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Print the report on many imports as JSON or as text, or not at all if `quiet`.

    A terminal has shown a line as each import ended; then only those that need attention are repeated.
    """
    if as_json:
        for piece in report.json_pieces():
            click.echo(piece, nl=False)
        click.echo()
        return
    if quiet:
        return
    watched = sys.stderr is not None and sys.stderr.isatty() and sys.stdout.isatty() and not verbose
    for line in report.lines(only_problems=watched):
        click.echo(visible(line))


def visible(text: str) -> str:
    """Return a text of one line without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
