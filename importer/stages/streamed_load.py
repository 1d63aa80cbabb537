"""Loads windows while later ones are still being read, after `stream` decided that they can be, and by which plan."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from importer.ledger.schema import SCHEMA
from importer.load.copy import CopyTarget
from importer.load.direct_copy import begin_direct_copy
from importer.run.recovery import begin_staging, describe_run, end_staging, ledger_row
from importer.validation.tasks import CheckTask

from .tasks import LoadTask, load_window

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from importer.contract.model import Contract
    from importer.decoding.tasks import ReadTask, WindowRead
    from importer.errors import ImporterError
    from importer.plan.model import LoadPlan
    from importer.reading.sheet_source import SheetSource
    from importer.run.staging_state import StagingState
    from importer.settings import Dsn
    from importer.table.data_rows import DataRows
    from importer.validation.tasks import WindowChecked
    from importer.workers.task_result import Death

    from .workspace import RunContext


class StreamPlan(NamedTuple):
    """What was decided after the first windows were read.

    Attributes:
        contract: the contract of the load.
        plan: plan of the load.
        source: the sheet as far as it was read.
        writes: whether chunks are written; otherwise windows are only checked, and their chunks stay in the spool.
        directly: whether chunks go straight into the target, if nothing there can refuse or change a row.
    """

    contract: Contract
    plan: LoadPlan
    source: SheetSource
    writes: bool
    directly: bool


class StreamResults(NamedTuple):
    """The windows that were loaded while the sheet was read, which count only if the whole sheet has the same plan.

    Attributes:
        plan: plan that they were loaded by.
        data: which rows they took for data.
        windows: results of the check, by window number.
    """

    plan: LoadPlan
    data: DataRows
    windows: dict[int, WindowChecked]

    def fits(self, plan: LoadPlan, source: SheetSource) -> bool:
        """Return whether the plan made from the whole sheet is the one that windows were loaded by."""
        loaded = [w for w in source.windows if w.number in self.windows]
        same = all(
            self.data.between(w.first_row, w.last_row) == source.data.between(w.first_row, w.last_row) for w in loaded
        )
        return self.plan == plan and same


@dataclass(frozen=True)
class _TaskTemplate:
    """What all load tasks of a sheet share."""

    plan: LoadPlan
    data: DataRows
    keep: bool
    target: CopyTarget | None
    dsn: Dsn | None

    def task(self, read: ReadTask | None, number: int, frame: Path, rows: tuple[int, int]) -> LoadTask:
        """Return the load task of a window; `read` is None if the window was read before."""
        # The worker of the first window will also be the first to write, if nothing is written yet.
        dsn = self.dsn if number == 0 else None
        check = CheckTask(number, frame, frame.parent, self.plan, self.data, dsn=dsn)
        return LoadTask(read, rows, self.keep, check, self.target)


class StreamedLoad:
    """Loads windows into staging or the target while the sheet is being read; a context manager.

    Its block reaches from the first window that is loaded to the decision to publish.

        state        entered by          what is written
        planned      `Stream.begin`      nothing
        open         `__enter__`         an empty staging table, or an open transaction in the target, or nothing: see
                                         `StreamPlan`
        loaded       `load` was used up  every window, and `results` has it; of a direct copy that failed, nothing
        handed over  the block ended     the same, which `write_and_publish` takes over by `state`
        ended        the block failed    what was written is kept for the next run, or dropped

    Args:
        run: context of the run; its pool loads, its clock receives the times of work done outside the workers.
        state: state of the run's staging, which nothing was written to.
        decided: what was decided after the first windows were read.

    Attributes:
        state: state of the run's staging.
        results: the results so far.
    """

    def __init__(self, run: RunContext, state: StagingState, decided: StreamPlan) -> None:
        self._run, self._decided = run, decided
        self.state = state
        self.results = StreamResults(decided.plan, decided.source.data, {})

    def __enter__(self) -> Self:
        if self._decided.writes:
            try:
                self._begin_writing()
            except BaseException as exc:
                end_staging(self.state, exc)
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None and self._decided.writes:
            end_staging(self.state, error)

    def _begin_writing(self) -> None:
        """Open a transaction in the target, if chunks may go straight into it; otherwise create a staging table."""
        contract, plan, *_ = self._decided
        lease = self.state.lease
        about = describe_run(self._run.settings, lease, None, {})
        if self._decided.directly:
            row, spans = ledger_row(lease, about), self._run.clock.spans
            direct = begin_direct_copy(lease.session, lease.target, plan, row, spans)
            if direct is not None:
                self.state.copy_directly(direct)
                return
        begin_staging(self.state, contract, plan, about)

    def load(
        self, tasks: Iterable[ReadTask], rows_error: Callable[[int, int, Death], ImporterError]
    ) -> Generator[WindowRead, None, None]:
        """Load the windows that were read before and those of `tasks`; yield the read results of the latter.

        Windows with rows that may be no data, such as totals, are only read: the end of the sheet decides about them.

        Args:
            tasks: read tasks of the remaining windows.
            rows_error: makes the error for rows whose worker died, from the first row, the last row and how it died.

        Raises:
            ImporterError: see `read_window`, `check_window` and `write_chunk`.
        """
        direct, template = self.state.direct, self._make_template()
        written = template.target is not None

        def worker_died_error(task: LoadTask, how: Death) -> ImporterError:
            error = rows_error(*task.rows, how)
            error.resumable = written
            return error

        loaded = self._run.pool.run(load_window, self._tasks(tasks, template), worker_died_error, again=True)
        with contextlib.closing(loaded):
            for window in loaded:
                if window.checked is not None:
                    self.results.windows[window.checked.number] = window.checked
                    if direct is not None:
                        direct.submit(window.checked)
                if window.read is not None:
                    yield window.read
        if direct is not None and not direct.complete():
            self.state.roll_back_direct()

    def _make_template(self) -> _TaskTemplate:
        """Return what all load tasks share."""
        contract, plan, source, *_ = self._decided
        table, lease, settings = self.state.table, self.state.lease, self._run.settings
        target = None
        if table is not None:
            target = CopyTarget(
                lease.dsn, SCHEMA, table.name, "batch", table.row_column, lease.run_id, settings.retry_for
            )
        sure = self._run.contract is not None or all(f.type == "string" for f in contract.fields)
        new = table is not None and table.becomes_target
        # Keep frames that may be checked again: because of a key, a refusal or another plan.
        keep = self.state.direct is None and not (sure and new)
        dsn = None if self._run.dry_run or self.state.direct is not None else lease.dsn
        return _TaskTemplate(plan, source.data, keep, target, dsn)

    def _tasks(self, tasks: Iterable[ReadTask], template: _TaskTemplate) -> Iterator[LoadTask]:
        for window in self._decided.source.windows:
            if window.rows and window.plain:
                yield template.task(None, window.number, window.path, (window.first_row, window.last_row))
        for task in tasks:
            yield template.task(task, task.window.number, task.out, (task.window.first_row, task.window.last_row))
