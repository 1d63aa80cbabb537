"""Decides whether windows are loaded while later ones are still being read: one worker reads, checks and writes each.

The plan is made after the first windows are read. A contract or an existing table determines it by then; otherwise it
assumes that all windows have the types of the first ones. After all windows are read the plan is made again, from the
facts of all rows, and what was loaded counts only if both plans are equal. So nothing is decided from a sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import ImporterError
from importer.plan.make_plan import plan_load
from importer.plan.target import check_mode
from importer.reading.header import REJECT_COLUMNS
from importer.run.lease import AlreadyImported
from importer.run.staging_state import StagingState

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.contract.model import Contract
    from importer.plan.model import LoadPlan
    from importer.reading.sheet_source import SheetSource
    from importer.run.lease import RunLease
    from importer.run.lease_holder import LeaseHolder
    from importer.settings import Dsn

    from .streamed_load import StreamedLoad
    from .workspace import RunContext


class Stream:
    """Says how to read the first windows of a sheet, and begins to load the sheet after them, if that is possible.

    Args:
        run: context of the run.
        holder: holds the lease of the run.
    """

    def __init__(self, run: RunContext, holder: LeaseHolder) -> None:
        self._run, self._settings, self._holder = run, run.settings, holder

    def extra_windows(self) -> int:
        """Return how many windows to read before `begin` beyond the header's: without a contract, one per worker."""
        return 0 if self._run.contract is not None else max(self._run.pool.workers, 1)

    def dsn(self) -> Dsn | None:
        """Return where the first workers may connect before anything is decided; None if that is not known."""
        return None if self._run.dry_run or self._settings.method != "batch" else self._holder.dsn()

    def begin(self, so_far: Callable[[], SheetSource], *, big: bool, xml_bytes: int) -> StreamedLoad | None:
        """Plan the load from the first windows; return it, to be entered, or None if the windows can only be read.

        Args:
            so_far: returns the sheet as far as it was read.
            big: whether the sheet is worth a connection per worker.
            xml_bytes: size of the sheet's XML.

        Raises:
            AlreadyImported: the workbook was imported before.
            ImporterError: the server cannot be reached, or fails.
        """
        settings = self._settings
        if settings.method != "batch" or settings.hidden != "include" or settings.until_blank or settings.parse_texts:
            return None
        lease = self._holder.get()
        if lease.published_run:
            raise AlreadyImported(lease)
        if lease.dead_run or lease.session.is_joined:
            # What a dead run wrote must be compared with all chunks before any is written; and into a table that only
            # this session sees, no worker can write.
            return None
        planned = self._plan(lease, so_far)
        if planned is None:
            return None
        from importer.load.direct_copy import DIRECT_BYTES

        from .streamed_load import StreamedLoad, StreamPlan

        contract, plan, source = planned
        writes = (big or bool(settings.chunk_rows)) and not self._run.dry_run and not plan.keys
        directly = xml_bytes >= DIRECT_BYTES and settings.mode == "append" and not plan.added
        return StreamedLoad(self._run, StagingState(lease), StreamPlan(contract, plan, source, writes, directly))

    def _plan(
        self, lease: RunLease, so_far: Callable[[], SheetSource]
    ) -> tuple[Contract, LoadPlan, SheetSource] | None:
        """Return contract and plan by the first windows, and these; None if they do not determine them."""
        try:
            source = so_far()
            holds_rejects = set(REJECT_COLUMNS) <= {c.header for c in source.header.columns}
            if source.workbook.origin is not None or holds_rejects or not source.rows:
                return None
            check_mode(self._settings, lease.target)
            contract, plan = plan_load(self._settings, source, lease.target, self._run.contract, lease.session)
            lease.session.commit()
        except ImporterError as exc:
            # The whole sheet may give another result; if not, the error is raised then.
            if exc.transient:
                raise
            lease.session.rollback()
            return None
        return contract, plan, source
