"""Defines `importer.import_many`; imports nothing heavy, because the package imports it."""

from __future__ import annotations

import signal
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor
    from pathlib import Path

    from .import_spec import ImportSpec
    from .report import ImportReport, ManyReport


def import_many(
    sources: str | Path | ImportSpec | Iterable[str | Path | ImportSpec],
    *,
    to: str | None = None,
    table: str | None = None,
    sheet: str | None = None,
    sheets: str | None = None,
    executor: Executor | None = None,
    on: str | None = None,
    workers: int | None = None,
    stop_on_error: bool = False,
    together: bool = False,
    dry_run: bool = False,
    on_report: Callable[[ImportReport], None] | None = None,
    **options: Any,
) -> ManyReport:
    """Load many sheets of many workbooks, each all or nothing by itself, or all together.

    One that fails does not stop the others, but if all become visible together, then none does.

    The columns of a new table that several sheets go to, and their types, are decided from all of them before any is
    loaded.

    Args:
        sources: paths of workbooks, patterns such as `in/**/*.xlsx`, and folders, also at addresses; or imports, as
            `importer plan --json` describes them.
        to: connection string, as in `import_workbook`.
        table: `table` or `schema.table`, in which `{stem}` and `{sheet}` stand for the names of workbook and sheet;
            None: as in `import_workbook`.
        sheet: name of the one sheet to read of each workbook; None: the first visible one with rows.
        sheets: the sheets to read of each instead: `all`, names with commas between them, `Jan-Dec`, or a pattern.
        executor: what runs the imports, such as a pool or that of a cluster; None: child processes of this one.
        on: address of a cluster instead, such as `dask://HOST:8786`, `ray://HOST:10001`, `ray://auto`, `ray://local`.
        workers: how many imports run at once; None: one per core; 0: one after the other in this process, for
            debugging. With an executor or cluster, worker processes of each import; None: one.
        stop_on_error: begin no further import once one failed.
        together: all become visible in one transaction, or none if one fails; they run one after the other. Several
            that go to one table with mode `replace` exchange its rows for those of all.
        dry_run: do everything, then roll it back and leave no trace.
        on_report: called with the report on each import, as it ends.
        options: other keywords of `import_workbook`, for each import; `rejects` is a folder, or a workbook for
            the rejects of all, with a sheet for each import (None: a file beside each workbook).

    Returns:
        The reports on all imports (`reports`), in the order of the sources, also on those that failed; `workbooks` with
        the rejects of several imports; the worst `exit_code`; as text a line each and the sums.

    Raises:
        UsageError: the arguments are invalid or contradict each other, or a pattern matches nothing.
        InputError: the contract is refused.
        DatabaseError: the server, or the cluster, cannot be reached.
    """
    from importer.api.messages import python_words
    from importer.integrations.clusters import executor_for

    from .expand import SourceGroup
    from .import_spec import ImportSpec
    from .many import ManyRequest, run_many

    given = [sources] if isinstance(sources, str) or not hasattr(sources, "__iter__") else list(sources)
    specs = tuple(source for source in given if isinstance(source, ImportSpec))
    paths = tuple(str(source) for source in given if not isinstance(source, ImportSpec))
    with python_words(_parameters()):
        group = SourceGroup(paths, sheet, sheets, table, _plain(options))
        request = ManyRequest(
            (group,) if paths else (), specs, to, stop_on_error=stop_on_error, together=together, dry_run=dry_run,
            workers=workers,
        )  # fmt: skip
        with executor_for(on, executor) as found:
            report = run_many(request, executor=found, on_report=on_report or _ignore)
    if report.stopped_by is not None:
        raise _interrupt(report, report.stopped_by)
    return replace(report, reports=tuple(each.unpacked() for each in report.reports))


def _interrupt(report: ManyReport, number: int) -> KeyboardInterrupt:
    """Return the exception of a signal that stopped the imports; a note on it says what was done."""
    stopped = KeyboardInterrupt() if number == signal.SIGINT else KeyboardInterrupt(number)
    stopped.add_note(str(report))
    return stopped


def _ignore(_: ImportReport) -> None:
    """Do nothing with a report."""


def _parameters() -> dict[str, bool]:
    """Return the parameters that messages may name, and whether each is either True or False."""
    from importer.settings import Settings

    own = {name: isinstance(default, bool) for name, default in (import_many.__kwdefaults__ or {}).items()}
    return {f.name: isinstance(f.default, bool) for f in fields(Settings)} | own


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as data that can travel: texts for paths, dicts for limits."""
    from importer.settings import Limits

    plain: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Limits):
            plain[name] = asdict(value)
        elif value is None or isinstance(value, str | int | float | bool | list | tuple | dict):
            plain[name] = value
        else:
            plain[name] = str(value)
    return plain
