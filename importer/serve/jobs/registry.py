"""Owns the runs that have not ended, and finds those that have: how runs end, and recovery after a restart.

A new run is saved before it is accepted, and the table that it begins before it is made. All other changes are told at
once, and saved as soon as the store can be written: a run does not depend on the disk to end.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from importer.serve.errors import RequestError, StoreFailed, stamp

from .service_run import CANCELLED, FAILED, GO_ON, INTERRUPTED, QUEUED, RUNNING, ServiceRun, stopped_error

if TYPE_CHECKING:
    from importer.serve.config import Config
    from importer.serve.models.child import OwnedTable
    from importer.serve.models.error import ChildError
    from importer.serve.models.run import State

    from .store import Store
    from .uploads import Uploads

#: Files of a run that are kept after it ended.
_KEPT_FILES = frozenset({"rejects.xlsx", "bad_cells.json"})


@dataclass
class _Unsaved:
    """A change that could not be saved yet, with what is saved beside the run."""

    run: ServiceRun
    report: dict[str, Any] | None = None
    owned: OwnedTable | None = None


class RunRegistry:
    """All runs that have not ended, and access to the stored ones that have.

    Args:
        config: configuration of the service.
        store: store that the runs are saved in.
        uploads: uploads that hold their workbooks.

    Attributes:
        open: runs that have not ended, or whose end is not saved yet, by id.
    """

    def __init__(self, config: Config, store: Store, uploads: Uploads) -> None:
        self._config, self._store, self._uploads = config, store, uploads
        self.open: dict[str, ServiceRun] = {}
        self._unsaved: dict[str, _Unsaved] = {}

    def load(self) -> None:
        """Load the unfinished runs of the previous service: its checks fail, its uploads become resumable."""
        for stored in self._store.runs_in_states(QUEUED, RUNNING, INTERRUPTED):
            run = ServiceRun.load(stored)
            if run.kind == "check":
                self.end(run, FAILED, error=stopped_error(None))
                continue
            self.open[run.id] = run
            if run.state != INTERRUPTED:
                run.state, run.error, run.finished_at = INTERRUPTED, stopped_error(GO_ON), stamp()
                self.save(run)
        self._uploads.load({run.upload for run in self.open.values()})
        for run in list(self.open.values()):
            if self._uploads.acquire(run.upload, run.id) is None:
                self.end(run, FAILED, error=stopped_error("send the workbook again", resumable=False))
        for folder in self._config.results.iterdir():
            if folder.name not in self.open:
                ended = self._store.get(folder.name)
                if ended is None:
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    self._remove_files(ServiceRun.load(ended))

    # ---- FIND ---------------------------------------------------------------------------------------------------

    def find(self, run: str) -> ServiceRun:
        """Return a run by its id.

        Raises:
            RequestError: there is no such run.
        """
        if run in self.open:
            return self.open[run]
        stored = self._store.get(run)
        if stored is None:
            raise RequestError(404, "there is no such run")
        return ServiceRun.load(stored)

    def page(self, limit: int, before: str | None, state: str | None) -> list[ServiceRun]:
        """Return runs, newest first; for the arguments see `Store.page`."""
        found = {
            each["id"]: self.open.get(each["id"]) or ServiceRun.load(each)
            for each in self._store.page(limit, before, state)
        }
        for each in self._unsaved.values():
            if each.run.created_at < (before or "~"):
                found[each.run.id] = each.run
        runs = [run for run in found.values() if state in {None, run.state}]
        return sorted(runs, key=lambda run: (run.created_at, run.id), reverse=True)[:limit]

    def report(self, run: str) -> dict[str, Any] | None:
        """Return the report of a run, or None."""
        unsaved = self._unsaved.get(run)
        return unsaved.report if unsaved and unsaved.report else self._store.report(run)

    def owned(self) -> list[OwnedTable]:
        """Return the tables that the service created on this server."""
        return [*self._store.owned(), *(each.owned for each in self._unsaved.values() if each.owned)]

    # ---- SAVE ---------------------------------------------------------------------------------------------------

    def add(self, run: ServiceRun) -> None:
        """Add a new run, and save it.

        Raises:
            StoreFailed: it cannot be saved, and was not added.
        """
        self._store.save(run.stored())
        self.open[run.id] = run

    def save_now(self, run: ServiceRun) -> None:
        """Save the state of a run before anything else happens.

        Raises:
            StoreFailed: it cannot be saved.
        """
        unsaved = self._unsaved.get(run.id) or _Unsaved(run)
        self._store.save(run.stored(), unsaved.report, unsaved.owned)
        self._unsaved.pop(run.id, None)

    def save(self, run: ServiceRun, report: dict[str, Any] | None = None, owned: OwnedTable | None = None) -> None:
        """Save the state of a run now, or else with the next call of `save_rest`; the arguments as of `Store.save`."""
        before = self._unsaved.get(run.id) or _Unsaved(run)
        self._unsaved[run.id] = _Unsaved(run, report or before.report, owned or before.owned)
        self._try_to_save(run)

    def save_rest(self) -> bool:
        """Save what could not be saved before; return whether nothing is left."""
        for each in list(self._unsaved.values()):
            self._try_to_save(each.run)
        return not self._unsaved

    def _try_to_save(self, run: ServiceRun) -> None:
        with contextlib.suppress(StoreFailed):
            self.save_now(run)
            if run.is_over and run.state != INTERRUPTED:
                # Not earlier: after a restart, a run whose end is not saved needs its workbook and contract.
                self._close(run)

    def delete(self, run: ServiceRun) -> None:
        """Delete a run that has ended, with its files.

        Raises:
            StoreFailed: it cannot be deleted.
        """
        self._store.delete(run.id)
        self._unsaved.pop(run.id, None)
        self._close(run)
        shutil.rmtree(self._config.run_folder(run.id), ignore_errors=True)

    # ---- ENDS ---------------------------------------------------------------------------------------------------

    def end_for_stop(self, run: ServiceRun) -> None:
        """End a run because the service is stopping: an upload becomes resumable, a check fails."""
        if run.kind == "upload":
            self.interrupt(run, stopped_error(GO_ON))
        else:
            self.end(run, FAILED, error=stopped_error(None))

    def interrupt(self, run: ServiceRun, error: ChildError) -> None:
        """Interrupt a run, which stays open; it can be resumed."""
        run.state, run.error, run.finished_at = INTERRUPTED, error, stamp()
        self.save(run)
        run.notify()

    def end(
        self,
        run: ServiceRun,
        state: State,
        *,
        error: ChildError | None = None,
        report: dict[str, Any] | None = None,
        owned: OwnedTable | None = None,
    ) -> None:
        """End a run: release its workbook, keep its rejects, delete its other files."""
        run.state, run.error, run.finished_at = state, error, stamp()
        if state == CANCELLED:
            run.message, run.has_rejects = "cancelled", False
        self.open[run.id] = run
        self.save(run, report, owned)
        run.notify()

    def _close(self, run: ServiceRun) -> None:
        """Let go of a run whose end is saved."""
        self.open.pop(run.id, None)
        self._remove_files(run)
        self._uploads.release(run.upload, run.id)

    def _remove_files(self, run: ServiceRun) -> None:
        """Delete the files that a run needs no more; what cannot be deleted now the next service deletes."""
        folder = self._config.run_folder(run.id)
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                if path.name not in _KEPT_FILES or not run.has_rejects:
                    path.unlink(missing_ok=True)
            if not run.has_rejects:
                folder.rmdir()
