"""Runs an import from a path to a published table; the only module that knows all stages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from importer.contract.loader import load_contract
from importer.plan.lineage import make_lineage
from importer.plan.make_plan import plan_load
from importer.plan.target import check_mode
from importer.report.build import already_imported_report, make_report, run_to_dict
from importer.report.rejects_file import preload_xlsxwriter, replace_rejects_file
from importer.run.lease import AlreadyImported, HeldLease, RunLease
from importer.run.outcome import add_advice, advice_for, commit_published
from importer.runtime.progress import Clock, Progress
from importer.runtime.retry import Deadline, Retry
from importer.runtime.stage import Stage
from importer.runtime.timeline import write_timeline
from importer.stages.load import loaded
from importer.stages.read import WhileReading, open_source, read_source
from importer.stages.refused_rows import reject_refused_rows
from importer.stages.stream import Stream
from importer.stages.validate import validate
from importer.stages.workspace import working

from .errors import BudgetExceeded, ImporterError, NotSpooled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from importer.contract.model import Contract
    from importer.excel.workbook import Sheet, Workbook
    from importer.plan.model import LoadPlan
    from importer.reading.sheet_source import SheetSource
    from importer.report.model import Report
    from importer.report.rejects_workbook import Rejects
    from importer.validation.tasks import WindowChecked
    from importer.workers.pool import Pool

    from .settings import Settings


@dataclass(frozen=True)
class Hooks:
    """What a caller does at certain points of a run; an exception that a hook raises ends the run.

    Attributes:
        before_publish: called once in every attempt to publish (a dry run makes one too). The rows are in the target
            by then, in a transaction that holds its locks and that no other session sees until it is committed.
    """

    before_publish: Callable[[], None] | None = None


_NO_HOOKS = Hooks()


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
        ImporterError: see `errors`; in every case the target is unchanged.
    """
    clock = Clock(progress, Deadline(settings.timeout))
    contract = load_contract(settings.contract) if settings.contract else None
    with (
        RunLease(settings, contract, clock, dry_run=dry_run) as claims,
        working(settings, clock.deadline) as (folder, pool),
    ):
        story = _Attempt(settings, contract, folder, pool, clock, dry_run=dry_run)
        opened = open_source(settings, clock)
        claims.opened(*opened)
        patience = Retry(settings.retry_for, clock.deadline, clock.say)
        while True:
            try:
                report = story.told(opened, claims, hooks)
                if settings.timeline:
                    title = f"{opened[0].path.name}: {report.total_records:,} rows, {clock.elapsed:.2f} s"
                    write_timeline(settings.timeline, [*clock.spans, *pool.spans], title)
                return report  # noqa: TRY300 - an unwritable timeline is handled too
            except NotSpooled:
                story.forget()
            except (ImporterError, KeyboardInterrupt) as exc:
                story.add_resume_advice(exc)
                if isinstance(exc, KeyboardInterrupt):
                    raise
                # What was written so far is in the ledger: the next attempt continues there, over a new connection.
                patience.wait_or_raise(exc)
            claims.reacquire()


class _Attempt:
    """The attempts of one run: reads the sheet once and repeats the rest when the server failed meanwhile."""

    def __init__(
        self, settings: Settings, contract: Contract | None, folder: Path, pool: Pool, clock: Clock, *, dry_run: bool
    ) -> None:
        self._settings, self._contract, self._folder, self._pool, self._clock = settings, contract, folder, pool, clock
        self._dry_run = dry_run
        self._source: SheetSource | None = None
        #: Only the first reading of the sheet also writes meanwhile.
        self._stream: Stream | None = None
        self._tries = 0
        #: The last plan, and the windows checked against it.
        self._judged: tuple[LoadPlan, dict[int, WindowChecked]] | None = None
        self._began = False
        self._claim: HeldLease | None = None
        #: What was about to be committed, in case only the server's answer is lost.
        self._settled: tuple[HeldLease, Report, Rejects] | None = None

    def told(self, opened: tuple[Workbook, Sheet], claims: RunLease, hooks: Hooks) -> Report:
        """Make one attempt at the whole run and return its report."""
        try:
            source = self._source = self._source or self._read(opened, claims)
            return self._loaded(source, claims.get(), hooks)
        except AlreadyImported as exc:
            return already_imported_report(self._settings, exc.claim, self._clock)
        except BaseException as exc:
            if self._stream is not None:
                self._stream.ended(exc)
            raise

    def _read(self, opened: tuple[Workbook, Sheet], claims: RunLease) -> SheetSource:
        """Read the sheet; where possible its rows are checked and written meanwhile."""
        self._tries += 1
        self._stream = (
            Stream(self._settings, self._contract, claims, self._clock.spans, dry_run=self._dry_run)
            if self._tries == 1
            else None
        )
        meanwhile = WhileReading(self._stream, claims.stop_if_imported)
        return read_source(self._settings, self._pool, self._folder, self._clock, opened, meanwhile)

    def forget(self) -> None:
        """Discard the sheet, so that the next attempt rereads it and keeps all rows: more are needed than were kept."""
        self._source = self._judged = self._stream = None

    def _loaded(self, source: SheetSource, claim: HeldLease, hooks: Hooks) -> Report:
        """Plan, check, write and publish a sheet that was read; return the report."""
        settings, clock, self._claim = self._settings, self._clock, claim
        if claim.done:
            return self._found(claim)
        self._began = self._began or claim.dead is not None or claim.begun is not None
        with clock.stage(Stage.PLAN):
            check_mode(settings, claim.target)
            contract, plan = plan_load(settings, source, claim.target, self._contract, claim.session)
        with clock.stage(Stage.VALIDATE):
            windows = self._windows(source, plan, claim)
            report, rejects = make_report(settings, source, plan, claim, windows)
            preload_xlsxwriter(report)
        if not _within_budget(settings, report):
            with replace_rejects_file(rejects, report, clock):
                _check_budget(settings, report, clock)
        self._began = True
        if self._stream is not None:
            self._stream.detach()
        lineage = make_lineage(source, claim.run) if plan.lineage else None
        with loaded(
            settings, claim, contract, plan, windows, report, self._pool, clock, lineage, dry_run=self._dry_run
        ) as published:
            if hooks.before_publish is not None:
                # Before the report, which may show rows that the target refused.
                hooks.before_publish()
            # The publishing transaction is still open: the report must be complete before the commit.
            windows = reject_refused_rows(
                claim.session, source, plan, claim.target, windows, published.refused, self._folder
            )
            report, rejects = make_report(settings, source, plan, claim, windows, published)
            with replace_rejects_file(rejects, report, clock):
                _check_budget(settings, report, clock)
                self._settled = claim, report, rejects
                with clock.stage(Stage.PUBLISH):
                    claim.session.rollback() if self._dry_run else commit_published(
                        claim, settings.mode, report.ledger_counts
                    )
        return self._ended(claim, report)

    def _ended(self, claim: HeldLease, report: Report) -> Report:
        outcome, clock = "checked" if self._dry_run else "published", self._clock
        return replace(report, outcome=outcome, run=run_to_dict(claim), timings=clock.timings, duration=clock.elapsed)

    def _found(self, claim: HeldLease) -> Report:
        """Return the report of an import that the ledger says is done: by this run, if only the answer was lost."""
        if self._settled is None or claim.done is None or claim.done.id != self._settled[0].run:
            return already_imported_report(self._settings, claim, self._clock)
        own, report, rejects = self._settled
        with replace_rejects_file(rejects, report, self._clock):
            return self._ended(own, report)

    def add_resume_advice(self, exc: BaseException) -> None:
        """Add to an error how to continue the run, where something is left to continue from."""
        if self._began and (not isinstance(exc, ImporterError) or exc.resumable) and not self._dry_run:
            add_advice(exc, advice_for(self._claim))

    def _windows(self, source: SheetSource, plan: LoadPlan, claim: HeldLease) -> dict[int, WindowChecked]:
        if self._judged is None or self._judged[0] != plan:
            dsn = claim.dsn if self._settings.method == "batch" else None
            known = self._stream.judged(plan, source) if self._stream else None
            self._judged = (
                plan,
                validate(self._settings, source, plan, self._pool, self._folder, self._clock, dsn, known),
            )
        return self._judged[1]


def _within_budget(settings: Settings, report: Report) -> bool:
    budget = settings.max_rejects
    return budget is None or budget.allows(report.error_count, report.total_records)


def _check_budget(settings: Settings, report: Report, clock: Clock) -> None:
    if _within_budget(settings, report):
        return
    error = BudgetExceeded(
        f"{report.error_count:,} of {report.total_records:,} rows were rejected, over the budget of "
        f"{settings.max_rejects}; nothing was published",
        choice=f"fix them in the workbook ({report.rejects_file} lists them), or raise --max-rejects",
    )
    error.report = replace(report, outcome="over-budget", timings=clock.timings, duration=clock.elapsed)
    raise error
