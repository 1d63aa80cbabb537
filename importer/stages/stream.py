"""Loads windows while later ones are still being read: the worker that reads a window also checks and writes it.

The plan is made after the first windows are read. A contract or an existing table determines it by then; otherwise it
assumes that all windows have the types of the first ones. After all windows are read the plan is made again, from the
facts of all rows, and what was loaded counts only if both plans are equal. So nothing is decided from a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from importer.errors import ImporterError
from importer.ledger.schema import SCHEMA
from importer.load import direct_copy
from importer.load.copy import CopyTarget
from importer.plan.make_plan import plan_load
from importer.plan.target import check_mode
from importer.reading.header import REJECT_COLUMNS
from importer.run.lease import AlreadyImported
from importer.run.recovery import begin_staging, describe_run, end_staging, ledger_row
from importer.run.staging_state import StagingState
from importer.validation.tasks import CheckTask

from .tasks import LoadTask, load_window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from importer.contract.model import Contract
    from importer.decoding.tasks import ReadTask, WindowRead
    from importer.plan.model import LoadPlan
    from importer.reading.sheet_source import SheetSource
    from importer.run.lease import RunLease
    from importer.run.lease_holder import LeaseHolder
    from importer.settings import Dsn
    from importer.validation.tasks import WindowChecked
    from importer.workers.pool import Pool

    from .workspace import RunContext


class StreamedLoad(NamedTuple):
    """What was decided after the first windows were read, and the results so far.

    Attributes:
        plan: plan of the load.
        header_row: last row of the header.
        windows: results of the windows checked against that plan, by window number.
    """

    plan: LoadPlan
    header_row: int
    windows: dict[int, WindowChecked]

    def fits(self, plan: LoadPlan, source: SheetSource) -> bool:
        """Return whether the plan made from the whole sheet is the one that windows were loaded by."""
        return self.plan == plan and self.header_row == source.header.last_row


@dataclass(frozen=True)
class _TaskTemplate:
    """What all load tasks of a sheet share."""

    plan: LoadPlan
    header_row: int
    keep: bool
    target: CopyTarget | None
    dsn: Dsn | None

    def task(self, read: ReadTask | None, number: int, frame: Path, rows: tuple[int, int]) -> LoadTask:
        """Return the load task of a window; `read` is None if the window was read before."""
        # The worker of the first window will also be the first to write, if nothing is written yet.
        dsn = self.dsn if number == 0 else None
        check = CheckTask(number, frame, frame.parent, self.plan, self.header_row, skip_hidden=False, dsn=dsn)
        return LoadTask(read, rows, self.keep, check, self.target)


class Stream:
    """Loads windows into staging or the target while the sheet is being read; driven by the reader of the sheet.

    Args:
        run: context of the run; its clock receives the times of work done outside the workers.
        holder: holds the lease of the run.

    Attributes:
        begun: the plan and the results so far; None before `begin`, or if it declined.
    """

    def __init__(self, run: RunContext, holder: LeaseHolder) -> None:
        self._settings, self._contract, self._holder, self._dry_run = run.settings, run.contract, holder, run.dry_run
        self._spans = run.clock.spans
        self._pool: Pool | None = None
        self._template: _TaskTemplate | None = None
        self._first_windows: tuple[WindowRead, ...] = ()
        #: The state of the staging table or open transaction that this object still has to finish or drop.
        self.state: StagingState | None = None
        self.begun: StreamedLoad | None = None

    def extra_windows(self, workers: int) -> int:
        """Return how many windows to read before `begin` beyond the header's: without a contract, one per worker."""
        return 0 if self._contract is not None else max(workers, 1)

    def dsn(self) -> Dsn | None:
        """Return where the first workers may connect before anything is decided; None if that is not known."""
        return None if self._dry_run or self._settings.method != "batch" else self._holder.dsn()

    def begin(self, so_far: Callable[[], SheetSource], pool: Pool, *, big: bool, xml_bytes: int) -> bool:
        """Plan the load from the first windows; return False if the windows can only be read.

        Args:
            so_far: returns the sheet as far as it was read.
            pool: workers that load.
            big: whether the sheet is worth a connection per worker.
            xml_bytes: size of the sheet's XML.

        Raises:
            AlreadyImported: the workbook was imported before.
            ImporterError: the server cannot be reached, or fails.
        """
        if self._settings.method != "batch" or self._settings.hidden != "include":
            return False
        lease = self._holder.get()
        if lease.published_run:
            raise AlreadyImported(lease)
        if lease.dead_run:
            # What a dead run wrote must be compared with all chunks before any is written.
            return False
        try:
            source = so_far()
            mended = set(REJECT_COLUMNS) <= {c.header for c in source.header.columns}
            if source.workbook.origin is not None or mended or not source.rows:
                return False
            check_mode(self._settings, lease.target)
            contract, plan = plan_load(self._settings, source, lease.target, self._contract, lease.session)
            lease.session.commit()
        except ImporterError as exc:
            # The whole sheet may give another result; if not, the error is raised then.
            if exc.transient:
                raise
            lease.session.rollback()
            return False
        self._pool, self._first_windows = pool, source.windows
        writes = (big or bool(self._settings.chunk_rows)) and not self._dry_run and not plan.keys
        target = self._begin_writing(lease, contract, plan, xml_bytes) if writes else None
        self._template = self._make_template(contract, plan, source, target)
        self.begun = StreamedLoad(plan, source.header.last_row, {})
        return True

    def _begin_writing(self, lease: RunLease, contract: Contract, plan: LoadPlan, xml_bytes: int) -> CopyTarget | None:
        """Return how workers write chunks to staging; None if the chunks go straight into the target."""
        state = self.state = StagingState(lease)
        about = describe_run(self._settings, lease, None, {})
        if xml_bytes >= direct_copy.DIRECT_BYTES and self._settings.mode == "append":
            row = ledger_row(lease, about)
            direct = direct_copy.begin_direct_copy(lease.session, lease.target, plan, row, self._spans)
            if direct is not None:
                state.copy_directly(direct)
                return None
        staging = begin_staging(state, contract, plan, about)
        retry_for = self._settings.retry_for
        return CopyTarget(lease.dsn, SCHEMA, staging.name, "batch", staging.row_column, lease.run_id, retry_for)

    def _make_template(
        self, contract: Contract, plan: LoadPlan, source: SheetSource, target: CopyTarget | None
    ) -> _TaskTemplate:
        """Return what all load tasks share."""
        sure = self._contract is not None or all(f.type == "string" for f in contract.fields)
        staging = self.state.table if self.state else None
        new = target is not None and staging is not None and staging.becomes_target
        direct = self.state.direct if self.state else None
        # Keep frames that may be checked again: because of a key, a refusal or another plan.
        keep = direct is None and not (sure and new)
        dsn = self.dsn() if direct is None else None
        return _TaskTemplate(plan, source.header.last_row, keep, target, dsn)

    def load(self, tasks: Iterable[ReadTask], died: Callable[[int, int, str], ImporterError]) -> Iterator[WindowRead]:
        """Load the windows that were read before and those of `tasks`; yield the read results of the latter.

        Args:
            tasks: read tasks of the remaining windows.
            died: makes the error for rows whose worker died, from the first row, the last row and how it died.

        Raises:
            ImporterError: see `read_window`, `check_window` and `write_chunk`.
        """
        assert self._pool is not None
        assert self._template is not None
        assert self.begun is not None
        direct = self.state.direct if self.state else None
        written = self._template.target is not None

        def told(task: LoadTask, how: str) -> ImporterError:
            error = died(*task.rows, how)
            error.resumable = written
            return error

        again = written or direct is not None
        for window in self._pool.run(load_window, self._tasks(tasks, self._template), told, again=again):
            if window.checked is not None:
                self.begun.windows[window.checked.number] = window.checked
                if direct is not None:
                    direct.submit(window.checked)
            if window.read is not None:
                yield window.read
        if direct is not None and not direct.complete():
            assert self.state is not None
            self.state.roll_back_direct()

    def _tasks(self, tasks: Iterable[ReadTask], orders: _TaskTemplate) -> Iterator[LoadTask]:
        for window in self._first_windows:
            if window.rows:
                yield orders.task(None, window.number, window.path, (window.first_row, window.last_row))
        for task in tasks:
            yield orders.task(task, task.window.number, task.out, (task.window.first_row, task.window.last_row))

    def results_for(self, plan: LoadPlan, source: SheetSource) -> dict[int, WindowChecked] | None:
        """Return the windows checked and written by this plan of the whole sheet; None if they used another plan."""
        if self.begun is None:
            return None
        if self.begun.fits(plan, source):
            return self.begun.windows
        if self.state is not None:
            self.state.roll_back_direct()
        return None

    def detach(self) -> None:
        """Leave the staging table or open transaction to the caller from now on."""
        self.state = None

    def abort(self, exc: BaseException) -> None:
        """End the load with that error: keep what was written so far for the next run, or drop it."""
        if self.state is not None:
            end_staging(self.state, exc)
            self.state = None
