"""Owns the runs that have not ended, and finds those that have: how runs end, and recovery after a restart."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from importer.serve.errors import RequestError, stamp

from .run import CANCELLED, FAILED, GO_ON, INTERRUPTED, QUEUED, RUNNING, Run, stopped

if TYPE_CHECKING:
    from pathlib import Path

    from importer.serve.config import Config
    from importer.serve.models.error import ChildError
    from importer.serve.models.run import State

    from .store import Store
    from .uploads import Uploads

#: Files of a run that are kept after it ended.
_KEPT_FILES = frozenset({"rejects.xlsx", "bad_cells.json"})


class RunRegistry:
    """All runs that have not ended, and access to the stored ones that have.

    Args:
        config: configuration of the service.
        store: store that the runs are saved in.
        uploads: uploads that hold their workbooks.

    Attributes:
        open: runs that have not ended, by id.
    """

    def __init__(self, config: Config, store: Store, uploads: Uploads) -> None:
        self._config, self._store, self._uploads = config, store, uploads
        self.open: dict[str, Run] = {}

    def load(self) -> None:
        """Load the unfinished runs of the previous service: its checks fail, its uploads become resumable."""
        for stored in self._store.runs_in_states(QUEUED, RUNNING, INTERRUPTED):
            run = Run.load(stored)
            if run.kind == "check":
                self.end(run, FAILED, error=stopped(None))
                continue
            self.open[run.id] = run
            if run.state != INTERRUPTED:
                run.state, run.error, run.finished_at = INTERRUPTED, stopped(GO_ON), stamp()
                self.save(run)
        self._uploads.load({run.upload for run in self.open.values()})
        for run in list(self.open.values()):
            if self._uploads.acquire(run.upload, run.id) is None:
                self.end(run, FAILED, error=stopped("send the workbook again", resumable=False))
        known = set(self.open)
        for folder in self._config.results.iterdir():
            if folder.name not in known and self._store.get(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)

    def find(self, run: str) -> Run:
        """Return a run by its id.

        Raises:
            RequestError: there is no such run.
        """
        if run in self.open:
            return self.open[run]
        stored = self._store.get(run)
        if stored is None:
            raise RequestError(404, "there is no such run")
        return Run.load(stored)

    def folder(self, run: str) -> Path:
        """Return the folder that holds the files of a run."""
        return self._config.run_folder(run)

    def add(self, run: Run) -> None:
        """Add a run that is new or resumed, and save it."""
        self.open[run.id] = run
        self.save(run)

    def save(self, run: Run) -> None:
        """Save the state of a run."""
        self._store.save(run.stored())

    def delete(self, run: Run) -> None:
        """Delete a run that has ended, with its files."""
        self._store.delete(run.id)
        shutil.rmtree(self.folder(run.id), ignore_errors=True)

    # ---- ENDS ---------------------------------------------------------------------------------------------------

    def end_for_stop(self, run: Run) -> None:
        """End a run because the service is stopping: an upload becomes resumable, a check fails."""
        if run.kind == "upload":
            self.interrupt(run, stopped(GO_ON))
        else:
            self.end(run, FAILED, error=stopped(None))

    def interrupt(self, run: Run, error: ChildError) -> None:
        """Interrupt a run, which stays open; it can be resumed."""
        run.state, run.error, run.finished_at = INTERRUPTED, error, stamp()
        self.save(run)
        run.notify()

    def end(
        self, run: Run, state: State, *, error: ChildError | None = None, report: dict[str, Any] | None = None
    ) -> None:
        """End a run: release its workbook, keep its rejects, delete its other files."""
        run.state, run.error, run.finished_at = state, error, stamp()
        if state == CANCELLED:
            run.message, run.has_rejects = "cancelled", False
        folder = self.folder(run.id)
        if folder.is_dir():
            for path in folder.iterdir():
                if path.name not in _KEPT_FILES or not run.has_rejects:
                    path.unlink(missing_ok=True)
            if not run.has_rejects:
                folder.rmdir()
        self.open.pop(run.id, None)
        self._uploads.release(run.upload, run.id)
        self._store.save(run.stored(), report)
        run.notify()
