"""Runs an import from a path to a published table; the only module that knows all stages."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from importer.contract.excel_options import with_excel
from importer.pieces.known_table import settle_for_table
from importer.plan.lineage import make_lineage
from importer.plan.make_plan import PlannedLoad, plan_load
from importer.plan.mixed import find_mixed, undecided
from importer.plan.target import check_mode
from importer.remote.local_copy import local_copy
from importer.report.build import make_report
from importer.report.rejects.files import preload_xlsxwriter
from importer.run.lease import AlreadyImported, RunLease
from importer.run.lease_holder import LeaseHolder
from importer.run.outcome import add_advice, advice_for
from importer.run.staging_state import StagingState
from importer.runtime.output_file import identify_before
from importer.runtime.progress import Clock, Progress
from importer.runtime.retry import Deadline, Retry
from importer.runtime.stage import Stage
from importer.stages.commit import RunCommit
from importer.stages.load import write_and_publish
from importer.stages.read import dispute_note, open_source, read_and_load, read_source
from importer.stages.refused_rows import reject_refused_rows
from importer.stages.stream import Stream
from importer.stages.validate import validate
from importer.stages.workspace import RunContext, open_workspace

from .errors import CellsDisputed, ImporterError, NotSpooled, TargetChanged, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.contract.model import Contract
    from importer.excel.workbook import Sheet, Workbook
    from importer.plan.mixed import MixedColumn
    from importer.plan.model import LoadPlan
    from importer.reading.sheet_source import SheetSource
    from importer.report.model import Report
    from importer.runtime.output_file import FileIdentity
    from importer.stages.streamed_load import StreamResults
    from importer.validation.tasks import WindowChecked

    from .settings import Settings


@dataclass(frozen=True)
class Hooks:
    """What a caller does at certain points of a run; an exception that a hook raises ends the run.

    Attributes:
        before_publish: called once in every attempt to publish (a dry run makes one too). The rows are in the target
            by then, in a transaction that holds its locks and that no other session sees until it is committed.
        choose_types: returns a type by column name for columns whose kinds mix; called once, by `mixed='ask'`.
        find_converted: returns the workbook and the sheet if the workbook is of another format, was converted before,
            with the same settings, and is still the same; called once.
        find_reading: returns the sheet if it was read before, with the same settings; called once.
    """

    before_publish: Callable[[], None] | None = None
    choose_types: Callable[[list[MixedColumn]], dict[str, str]] | None = None
    find_converted: Callable[[Settings], tuple[Workbook, Sheet] | None] | None = None
    find_reading: Callable[[Workbook, Sheet], SheetSource | None] | None = None


_NO_HOOKS = Hooks()
#: How often a load is planned again because the target was altered. Each time the rows are checked and written again,
#: so a table that never rests is left to its owner.
_MAX_CHANGES = 3


def run(
    settings: Settings, progress: Progress | None = None, *, dry_run: bool = False, hooks: Hooks = _NO_HOOKS
) -> Report:
    """Load a sheet into a table, all or nothing, exactly once, and report where every cell went.

    Args:
        settings: settings of the run.
        progress: receives stages and row counts.
        dry_run: do everything, then roll it back and leave no trace.
        hooks: what the caller does at certain points of the run.

    Raises:
        BudgetExceeded: there are too many rejects; its `report` lists them.
        CommitUnknown: the run was stopped while it committed; the rows may have been published.
        ImporterError: see `errors`; in all other cases the target is unchanged.
    """
    clock = Clock(progress, Deadline(settings.timeout))
    if settings.mixed == "ask" and hooks.choose_types is None:
        raise UsageError("--mixed ask needs a terminal", choice="--mixed text or reject")
    contract = _load_contract(settings)
    settings = with_excel(settings, contract.excel, contract.labels) if contract else settings
    drawn = identify_before(settings.timeline)
    with (
        LeaseHolder(settings, contract, clock, dry_run=dry_run) as holder,
        local_copy(settings, clock) as settings,
        open_workspace(settings, clock.deadline, clock.say) as (folder, pool),
    ):
        context = RunContext(settings, contract, clock, folder, pool, dry_run)
        converted = hooks.find_converted and hooks.find_converted(settings)
        opened = converted or open_source(settings, clock, (folder, pool))
        holder.set_source(*opened)
        attempt = _Attempt(context, holder, hooks, hooks.find_reading and hooks.find_reading(*opened))
        retry = Retry(settings.retry_for, clock.deadline, clock.say)
        while True:
            try:
                report = attempt.run(opened)
                _draw_timeline(context, opened[0], report, drawn)
                return report  # noqa: TRY300 - an unwritable timeline is handled too
            except (ImporterError, KeyboardInterrupt) as exc:
                attempt.recover(exc, retry)
            holder.reacquire()


def _load_contract(settings: Settings) -> Contract | None:
    if settings.contract is None:
        return None
    from importer.contract.loader import load_contract

    return load_contract(settings.contract)


def _draw_timeline(context: RunContext, workbook: Workbook, report: Report, before: FileIdentity | None) -> None:
    """Write the file of `--timeline`; before: the file that was there when the run began."""
    settings, clock = context.settings, context.clock
    if settings.timeline:
        from importer.runtime.timeline import write_timeline

        title = f"{workbook.path.name}: {report.total_records:,} rows, {clock.elapsed:.2f} s"
        write_timeline(settings.timeline, [*clock.spans, *context.pool.spans], title, before)


class _Attempt:
    """The attempts of one run: reads the sheet once and repeats the rest when the server failed meanwhile."""

    def __init__(self, context: RunContext, holder: LeaseHolder, hooks: Hooks, source: SheetSource | None) -> None:
        self._context, self._holder, self._hooks = context, holder, hooks
        self._settings, self._clock, self._dry_run = context.settings, context.clock, context.dry_run
        #: Only the first reading of the sheet also loads meanwhile.
        self._stream: Stream | None = Stream(context, holder) if source is None else None
        self._commit = RunCommit(context)
        self._source = source
        #: What was loaded while that source was read.
        self._streamed: StreamResults | None = None
        #: How often the target was altered between planning and publishing.
        self._changes = 0
        #: The last plan, and the windows checked against it.
        self._checked: tuple[LoadPlan, dict[int, WindowChecked]] | None = None
        self._state: StagingState | None = None
        #: Whether the run, or a dead one before it, may have written what the next one continues from.
        self._may_resume = False

    def run(self, opened: tuple[Workbook, Sheet]) -> Report:
        """Make one attempt at the whole run and return its report."""
        try:
            with contextlib.ExitStack() as unfinished:
                source, state = self._read(opened, unfinished)
                if state.lease.published_run:
                    return self._commit.report_published(state.lease)
                load = self._plan(source, state)
                windows, counts = self._validate(source, load.plan, state)
                self._may_resume = True
            return self._load_and_publish(source, state, load, windows, counts)
        except AlreadyImported as exc:
            return self._commit.report_imported(exc.lease)

    def recover(self, exc: ImporterError | KeyboardInterrupt, retry: Retry) -> None:
        """Prepare another attempt after one that failed; raise if none can help.

        What was written so far is in the ledger: the next attempt continues there, over a new connection.
        """
        match exc:
            case NotSpooled():
                self._discard_source()
            case CellsDisputed():
                self._holder.add_note(self._read_by_engine(exc))
            case TargetChanged():
                self._holder.add_note(self._plan_again(exc))
            case _:
                self._add_resume_advice(exc)
                if isinstance(exc, KeyboardInterrupt):
                    raise exc
                retry.wait_or_raise(exc)

    def _plan_again(self, exc: TargetChanged) -> str:
        """Allow one more attempt after the target was altered, and return the note on it; raise after too many."""
        self._changes += 1
        if self._changes > _MAX_CHANGES:
            raise exc
        note = f"{exc.fact}; it was planned again"
        self._clock.say(note)
        return note

    def _discard_source(self) -> None:
        """Discard the sheet, so that the next attempt rereads it and keeps all rows: more are needed than were kept."""
        self._source = self._checked = self._streamed = None

    def _read_by_engine(self, exc: CellsDisputed) -> str:
        """Let the next attempt have the whole sheet read by the engine, and return the note on it."""
        self._discard_source()
        self._settings = replace(self._settings, engine="calamine")
        self._context = replace(self._context, settings=self._settings)
        note = dispute_note(exc)
        self._clock.say(note)
        return note

    def _add_resume_advice(self, exc: BaseException) -> None:
        """Add to an error how to continue the run, where something is left to continue from."""
        may_resume = self._may_resume and (self._state is None or self._state.may_continue)
        if may_resume and (not isinstance(exc, ImporterError) or exc.resumable) and not self._dry_run:
            add_advice(exc, advice_for(self._state))

    def _read(
        self, opened: tuple[Workbook, Sheet], unfinished: contextlib.ExitStack
    ) -> tuple[SheetSource, StagingState]:
        """Read the sheet, if no attempt did; return it, and the state of staging under the lease of this attempt."""
        run, stop_if_imported, streamed = self._context, self._holder.stop_if_imported, None
        stream, self._stream = self._stream, None
        if stream is not None:
            self._source, streamed = read_and_load(run, opened, stream, unfinished, stop_if_imported)
            self._streamed = streamed.results if streamed else None
        source = self._source or read_source(run.settings, run.pool, run.folder, run.clock, opened, stop_if_imported)
        self._source = source
        self._state = streamed.state if streamed else StagingState(self._holder.get())
        table = self._state.lease.target.table
        if table is not None and run.contract is None:
            source = settle_for_table(source, run.settings, tuple(c.name for c in table.columns))
        return source, self._state

    def _plan(self, source: SheetSource, state: StagingState) -> PlannedLoad:
        """Decide which column goes where, in which type."""
        lease, settings = state.lease, self._ask_types(source, state.lease)
        self._may_resume = self._may_resume or lease.dead_run is not None or state.begun_shape is not None
        with self._clock.stage(Stage.PLAN):
            check_mode(settings, lease.target)
            contract, plan = plan_load(settings, source, lease.target, self._context.contract, lease.session)
        return PlannedLoad(contract, plan, make_lineage(source, lease.run_id) if plan.lineage else None)

    def _ask_types(self, source: SheetSource, lease: RunLease) -> Settings:
        """Return the settings with the types that the user chose for columns whose kinds mix, asked for once."""
        choose, settings = self._hooks.choose_types, self._settings
        if settings.mixed == "ask" and choose is not None and not self._context.contract and not lease.target.table:
            columns = undecided(settings, source.header)
            mixed = find_mixed(columns, source.facts, source.places, settings.mixed)
            chosen = choose(mixed) if mixed else {}
            self._settings = replace(settings, types=(*settings.types, *chosen.items()), mixed="text")
        return self._settings

    def _validate(
        self, source: SheetSource, plan: LoadPlan, state: StagingState
    ) -> tuple[dict[int, WindowChecked], dict[str, int]]:
        """Check all windows against the plan, and the budget of rejects; return the results, and what they count."""
        settings, clock = self._settings, self._clock
        with clock.stage(Stage.VALIDATE):
            if self._checked is None or self._checked[0] != plan:
                self._checked = plan, self._check_windows(source, plan, state)
            windows = self._checked[1]
            report, rejects = make_report(settings, source, plan, state.lease, windows)
            preload_xlsxwriter(settings, report)
        self._commit.check_budget(report, rejects)
        return windows, {"total_records": report.total_records, "error_count": report.error_count}

    def _check_windows(self, source: SheetSource, plan: LoadPlan, state: StagingState) -> dict[int, WindowChecked]:
        known = None
        if self._streamed is not None and self._streamed.fits(plan, source):
            known = self._streamed.windows
        else:
            state.roll_back_direct()
        shared = self._settings.method == "batch" and not state.lease.session.is_joined
        dsn = state.lease.dsn if shared else None
        return validate(self._context, source, plan, dsn, known)

    def _load_and_publish(
        self,
        source: SheetSource,
        state: StagingState,
        load: PlannedLoad,
        windows: dict[int, WindowChecked],
        counts: dict[str, int],
    ) -> Report:
        """Write and verify the rows, write the report and the rejects file, and commit."""
        lease = state.lease
        with write_and_publish(self._context, state, load, windows, counts) as published:
            if self._hooks.before_publish is not None:
                # Before the report, which may show rows that the target refused.
                self._hooks.before_publish()
            # The publishing transaction is still open: the report must be complete before the commit.
            windows = reject_refused_rows(lease, source, load.plan, windows, published.refused, self._context.folder)
            report, rejects = make_report(self._settings, source, load.plan, lease, windows, published)
            report = self._commit.commit(state, report, rejects)
        return self._commit.finish(state, report)
