"""Owns the loading of windows while later ones are still being read: judged and written by the worker that read them.

The plan is made when the first windows are read: with a contract or an existing table it is known by then, else the
types of those windows are taken for those of all. When all windows are read the plan is made once more, from the facts
of all rows, and what was loaded counts only if both plans are the same. So nothing is decided from a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .claim import AlreadyImported
from .direct import begin_direct
from .errors import ImporterError
from .headers import REJECT_COLUMNS
from .ingest import IngestTask
from .planning import plan_load
from .resume import about_run, begin_staging, end_staging
from .schema import SCHEMA
from .target import check_mode
from .tasks import CheckTask, LoadTask, load_window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .claim import Claim, Claims
    from .contract import Contract
    from .plan import LoadPlan
    from .pool import Pool
    from .settings import Dsn, Settings
    from .source import Source
    from .tasks import ReadTask, WindowChecked, WindowRead
    from .timeline import Span


class Begun(NamedTuple):
    """What was decided when the first windows were read.

    Attributes:
        plan: of the load.
        header_row: the last one.
        windows: judged by that plan, by number.
    """

    plan: LoadPlan
    header_row: int
    windows: dict[int, WindowChecked]

    def fits(self, plan: LoadPlan, source: Source) -> bool:
        """Whether what was done by it is what the whole sheet demands."""
        return self.plan == plan and self.header_row == source.header.last_row


@dataclass(frozen=True)
class _Orders:
    """What all load tasks of a sheet have in common."""

    plan: LoadPlan
    header_row: int
    keep: bool
    ingest: IngestTask | None
    dsn: Dsn | None

    def task(self, read: ReadTask | None, number: int, frame: Path, rows: tuple[int, int]) -> LoadTask:
        """The task for a window that is to be read, or was (None)."""
        # The worker of the head will write first, where nothing is written yet.
        dsn = self.dsn if number == 0 else None
        check = CheckTask(number, frame, frame.parent, self.plan, self.header_row, skip_hidden=False, dsn=dsn)
        return LoadTask(read, rows, self.keep, check, self.ingest)


class Stream:
    """Windows on their way into staging; asked by the reader of the sheet.

    Args:
        settings: of the run.
        contract: given, or None.
        claims: of the run.
        spans: get the times of what happens in no worker.
        dry_run: leave no trace.

    Attributes:
        begun: what was decided and done, or None.
    """

    def __init__(
        self, settings: Settings, contract: Contract | None, claims: Claims, spans: list[Span], *, dry_run: bool
    ) -> None:
        self._settings, self._contract, self._claims, self._dry_run = settings, contract, claims, dry_run
        self._spans = spans
        self._pool: Pool | None = None
        self._orders: _Orders | None = None
        self._early: tuple[WindowRead, ...] = ()
        #: Its staging table, or its open transaction, is ours to look after.
        self._claim: Claim | None = None
        self.begun: Begun | None = None

    def more_windows(self, workers: int) -> int:
        """How many windows to read before `begin`, beside those of the head: without a contract one for each worker."""
        return 0 if self._contract is not None else max(workers, 1)

    def dsn(self) -> Dsn | None:
        """Where the first workers may connect before anything is decided; None when that is not known."""
        return None if self._dry_run or self._settings.method != "batch" else self._claims.dsn()

    def begin(self, so_far: Callable[[], Source], pool: Pool, *, big: bool, xml_bytes: int) -> bool:
        """Decide what is to be done with all windows; False: nothing, they are only to be read.

        Args:
            so_far: what is known of the sheet.
            pool: to work with.
            big: it is worth a connection of each worker.
            xml_bytes: of the sheet.

        Raises:
            AlreadyImported: there is nothing to do.
            ImporterError: the server cannot be reached, or fails.
        """
        if self._settings.method != "batch" or self._settings.hidden != "include":
            return False
        claim = self._claims.get()
        if claim.done:
            raise AlreadyImported(claim)
        if claim.dead:
            # What a dead run has written is compared with all chunks before any is written.
            return False
        try:
            source = so_far()
            mended = set(REJECT_COLUMNS) <= {c.header for c in source.header.columns}
            if source.workbook.origin is not None or mended or not source.rows:
                return False
            check_mode(self._settings, claim.target)
            contract, plan = plan_load(self._settings, source, claim.target, self._contract, claim.session)
            claim.session.commit()
        except ImporterError as exc:
            # It may look otherwise when the whole sheet was read; then it is told.
            if exc.transient:
                raise
            claim.session.rollback()
            return False
        self._pool, self._early = pool, source.windows
        writes = (big or bool(self._settings.chunk_rows)) and not self._dry_run and not plan.keys
        ingest = self._writing(claim, contract, plan, xml_bytes) if writes else None
        self._orders = self._ordered(claim, contract, plan, source, ingest)
        self.begun = Begun(plan, source.header.last_row, {})
        return True

    def _writing(self, claim: Claim, contract: Contract, plan: LoadPlan, xml_bytes: int) -> IngestTask | None:
        """How workers write chunks to staging; None where the chunks go straight into the target."""
        self._claim = claim
        about = about_run(self._settings, claim, None, {})
        claim.direct = begin_direct(self._settings, claim, plan, about, self._spans, xml_bytes=xml_bytes)
        if claim.direct is not None:
            return None
        staging = begin_staging(claim, contract, plan, about)
        return IngestTask(
            -1, None, 0, 0, claim.dsn, SCHEMA, staging.name, "batch", staging.row_column, claim.run,
            retry_for=self._settings.retry_for,
        )  # fmt: skip

    def _ordered(
        self, claim: Claim, contract: Contract, plan: LoadPlan, source: Source, ingest: IngestTask | None
    ) -> _Orders:
        """What all tasks have in common."""
        sure = self._contract is not None or all(f.type == "string" for f in contract.fields)
        new = ingest is not None and claim.staging is not None and claim.staging.becomes_target
        # Kept are frames that may be judged again: for a key, for a refusal, or by another plan.
        keep = claim.direct is None and not (sure and new)
        dsn = self.dsn() if claim.direct is None else None
        return _Orders(plan, source.header.last_row, keep, ingest, dsn)

    def loaded(self, tasks: Iterable[ReadTask], died: Callable[[int, int, str], ImporterError]) -> Iterator[WindowRead]:
        """Load the windows that were read before, and those; yields what was read of the latter.

        Args:
            tasks: of reading.
            died: the error for rows whose worker died, from the first and last of them and how it died.

        Raises:
            ImporterError: see `read_window`, `check_window` and `ingest_chunk`.
        """
        assert self._pool is not None
        assert self._orders is not None
        assert self.begun is not None
        direct = self._claim.direct if self._claim else None
        written = self._orders.ingest is not None

        def told(task: LoadTask, how: str) -> ImporterError:
            error = died(*task.rows, how)
            error.resumable = written
            return error

        again = written or direct is not None
        for window in self._pool.run(load_window, self._tasks(tasks, self._orders), told, again=again):
            if window.checked is not None:
                self.begun.windows[window.checked.number] = window.checked
                if direct is not None:
                    direct.put(window.checked)
            if window.read is not None:
                yield window.read
        if direct is not None and not direct.complete():
            direct.undo()

    def _tasks(self, tasks: Iterable[ReadTask], orders: _Orders) -> Iterator[LoadTask]:
        for window in self._early:
            if window.rows:
                yield orders.task(None, window.number, window.path, (window.first_row, window.last_row))
        for task in tasks:
            yield orders.task(task, task.window.number, task.out, (task.window.first_row, task.window.last_row))

    def judged(self, plan: LoadPlan, source: Source) -> dict[int, WindowChecked] | None:
        """The windows that were judged and written by the plan of the whole sheet; None where it was another one."""
        if self.begun is None:
            return None
        if self.begun.fits(plan, source):
            return self.begun.windows
        if self._claim is not None and self._claim.direct is not None:
            self._claim.direct.undo()
        return None

    def handed_over(self) -> None:
        """Somebody else looks after the staging table from now on."""
        self._claim = None

    def ended(self, exc: BaseException) -> None:
        """The run ends with that error; what was written so far is kept for the next one, or dropped."""
        if self._claim is not None:
            end_staging(self._claim, exc)
            self._claim = None
