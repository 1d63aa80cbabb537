"""Runs many imports as one command: expands the sources, decides types that must be decided together, runs, reports."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from importer.errors import UsageError

from .execution.copies import forget_copies_after, shared_folder
from .execution.schedule import STOP_SECONDS, Schedule, signal_number, wait_for
from .execution.workplace import Workplace
from .expand import SourceGroup, expand
from .one_import import ImportSet, ImportTask, spec_settings
from .rejects.names import with_rejects_names
from .rejects.one_workbook import SharedRejects, shared_rejects
from .report import ImportReport, ManyReport, not_started_report
from .tables import Groups, check_modes, group_by_table, plan_tables, target_dsn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from importer.settings import Dsn, Settings

    from .import_spec import ImportSpec


@dataclass(frozen=True)
class ManyRequest:
    """What a command for many workbooks asks for.

    Attributes:
        groups: sources with their sheets, tables and options.
        specs: further imports, which were expanded before.
        to: connection string of the target server; None: as for one import.
        stop_on_error: whether no further import begins once one failed.
        together: whether all become visible in one transaction, or none.
        dry_run: whether everything is rolled back in the end.
        quiet: whether imports say nothing while they run.
        workers: how many imports run at once; None: one per core; 0: one after the other in this process.
        copies: folder in which the imports share copies of sources at addresses; None: each makes its own.
    """

    groups: tuple[SourceGroup, ...] = ()
    specs: tuple[ImportSpec, ...] = ()
    to: str | None = None
    stop_on_error: bool = False
    together: bool = False
    dry_run: bool = False
    quiet: bool = False
    workers: int | None = None
    copies: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """The imports of a request.

    Attributes:
        specs: the imports.
        failed: reports on those that cannot run, by number.
        notes: what was left out.
        settings: settings of the first import, whose target server is that of all.
        groups: numbers of the imports that go to each table.
    """

    specs: tuple[ImportSpec, ...]
    failed: dict[int, ImportReport]
    notes: tuple[str, ...]
    settings: Settings
    groups: Groups


@contextlib.contextmanager
def shared_copies(request: ManyRequest) -> Iterator[ManyRequest]:
    """Yield the request with a folder for copies of sources at addresses, if it names any."""
    groups = request.groups
    temp_dirs = (group.options.get("temp_dir") for group in groups)
    sources = [source for group in groups for source in group.sources]
    with shared_folder(sources, next(temp_dirs, None)) as folder:
        yield replace(request, copies=folder)


def prepare(request: ManyRequest) -> Prepared:
    """Return the imports that a request means; no cell is read, and no server is asked.

    Raises:
        UsageError: the options contradict each other, or a pattern matches nothing.
        ContractError: the contract is refused.
    """
    specs: list[ImportSpec] = []
    failed: dict[int, ImportReport] = {}
    notes: list[str] = []
    for group in request.groups:
        try:
            expanded = expand(group, request.copies)
        except UsageError as exc:
            exc.place = exc.place or group.place
            raise
        failed |= {len(specs) + number: report for number, report in expanded.failed.items()}
        specs += expanded.specs
        notes += expanded.notes
    specs += request.specs
    if not specs:
        raise UsageError("no workbook is named", choice="importer run *.xlsx")
    named = with_rejects_names(specs)
    return Prepared(named, failed, tuple(notes), spec_settings(named[0], request.to), group_by_table(named))


def run_many(
    request: ManyRequest,
    *,
    executor: Executor | None = None,
    on_report: Callable[[ImportReport], None] = lambda _: None,
) -> ManyReport:
    """Run many imports, each atomic by itself or all as one, and report on all; a signal stops them and is told there.

    Args:
        request: what to import.
        executor: what runs the imports; None: child processes of this one.
        on_report: called with the report on each import as it ends.

    Raises:
        UsageError: the options contradict each other, or a pattern matches nothing.
        ContractError: the contract is refused.
        DatabaseError: the server cannot be reached.
    """
    with shared_copies(request) as shared:
        return _run_many(shared, executor, on_report)


def _run_many(request: ManyRequest, executor: Executor | None, on_report: Callable[[ImportReport], None]) -> ManyReport:
    began = time.monotonic()
    prepared = prepare(request)
    check_modes(prepared.groups, prepared.specs, together=request.together)
    _check_together(request, prepared, executor)
    on_report = forget_copies_after(on_report, prepared.specs, request.copies)
    with (
        shared_rejects(prepared.specs, is_elsewhere=executor is not None) as rejects,
        target_dsn(prepared.settings) as dsn,
        Workplace(executor, _slots(prepared, request), keeps_readings=True) as workplace,
    ):
        batch = _Batch(request, prepared, workplace, rejects, on_report)
        stopped = batch.run(dsn)
        written = rejects.write(batch.reports, dsn, dry_run=request.dry_run)
    ordered = tuple(_named(written.reports.get(n), spec) for n, spec in enumerate(prepared.specs))
    notes = (*prepared.notes, *batch.notes, *written.notes)
    return ManyReport(ordered, notes, time.monotonic() - began, stopped, written.workbooks)


def _check_together(request: ManyRequest, prepared: Prepared, executor: Executor | None) -> None:
    """Raise UsageError if imports cannot be published as one."""
    if request.together and any(spec.options.get("method", "batch") != "batch" for spec in prepared.specs):
        raise UsageError("--together needs --method batch", choice="leave out --method")
    if request.together and executor is not None:
        raise UsageError("--together is one transaction of one process", choice="leave out --on")


class _Batch:
    """The running of a request, and the reports on it."""

    def __init__(
        self,
        request: ManyRequest,
        prepared: Prepared,
        workplace: Workplace,
        rejects: SharedRejects,
        on_report: Callable[[ImportReport], None],
    ) -> None:
        self._request, self._prepared, self._workplace, self._on_report = request, prepared, workplace, on_report
        self._rejects = rejects
        self.reports: dict[int, ImportReport] = {}
        self.notes: tuple[str, ...] = ()

    def run(self, dsn: Dsn) -> int | None:
        """Run all imports; return the number of the signal that stopped them, or None."""
        self._record(self._prepared.failed)
        tasks = {n: task for n, task in self._tasks(dsn).items() if n not in self.reports}
        try:
            planned = plan_tables(self._prepared.groups, tasks, self._workplace, dsn, dry_run=self._request.dry_run)
        except KeyboardInterrupt as exc:
            return signal_number(exc)
        self.notes = planned.notes
        self._record(planned.failed)
        stop = self._request.stop_on_error
        if stop and self.reports:
            return None
        if self._request.together:
            return None if self.reports else self._run_together(planned.tasks)
        schedule = Schedule(planned.tasks, planned.chains, self._workplace, self._on_report, stop_on_error=stop)
        schedule.run()
        self.reports |= schedule.reports
        return schedule.stopped_by

    def _run_together(self, tasks: dict[int, ImportTask]) -> int | None:
        """Run all imports as one; return the number of the signal that stopped them, or None."""
        # One after the other, so each may use all cores.
        in_order = {n: replace(tasks[n], workers=self._request.workers) for n in sorted(tasks)}
        stopped = None
        tables = {number: table for table, numbers in self._prepared.groups.items() for number in numbers}
        stop = self._request.stop_on_error
        given = ImportSet(tuple(in_order.values()), tuple(tables[n] for n in in_order), stop)
        future = self._workplace.run_together(given)
        try:
            wait_for([future])
        except KeyboardInterrupt as exc:
            stopped = signal_number(exc)
            self._workplace.interrupt()
            wait([future], STOP_SECONDS)
        if future.done() and not future.cancelled():
            self._record(dict(zip(in_order, future.result(), strict=True)))
        interrupted = self._workplace.is_serial and any(r.outcome == "interrupted" for r in self.reports.values())
        return signal.SIGINT if interrupted and stopped is None else stopped

    def _record(self, ended: dict[int, ImportReport]) -> None:
        self.reports |= {number: report.packed() for number, report in ended.items()}
        for report in ended.values():
            self._on_report(report)

    def _tasks(self, dsn: Dsn) -> dict[int, ImportTask]:
        specs: Sequence[ImportSpec] = self._prepared.specs
        if self._workplace.is_elsewhere:
            specs = [spec.for_elsewhere() for spec in specs]
        to, batch = self._workplace.dsn_for(dsn), self._workplace.batch
        quiet, dry_run = self._request.quiet, self._request.dry_run
        return {
            n: ImportTask(spec, to, dry_run, self._workers(spec), quiet, batch, n, self._rejects.folder_of(n))
            for n, spec in enumerate(specs)
        }

    def _workers(self, spec: ImportSpec) -> int | None:
        """Return how many workers an import has; None: as its options say."""
        if not self._workplace.is_elsewhere:
            return self._workplace.workers_each
        return spec.options.get("workers", self._request.workers or self._workplace.workers_each)


def _named(report: ImportReport | None, spec: ImportSpec) -> ImportReport:
    """Return the report with the source as it was given."""
    return not_started_report(spec) if report is None else replace(report, source=spec.shown_source)


def _slots(prepared: Prepared, request: ManyRequest) -> int:
    """Return how many imports run at once in this process; 0 for a debugger."""
    most = request.workers if request.workers is not None else os.cpu_count() or 1
    return min(most, len(prepared.specs))
