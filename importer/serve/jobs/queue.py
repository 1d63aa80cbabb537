"""Owns the queue of runs, and those that are under way."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from importer.runtime.output_file import write_file
from importer.serve.errors import RequestError, stamp

from .execution import Execution
from .processes import CHILD_STOP_SECONDS
from .registry import RunRegistry
from .service_run import CANCELLED, FAILED, INTERRUPTED, QUEUED, RUNNING, ServiceRun, service_error

if TYPE_CHECKING:
    from pathlib import Path

    from importer.serve.config import Config
    from importer.serve.models.child import OwnedTable
    from importer.serve.models.run import RunInfo

    from .database import Database
    from .processes import ChildPool
    from .store import Store
    from .uploads import Upload, Uploads

#: How often what could not be saved is tried again, in seconds.
_SAVE_AGAIN_SECONDS = 1.0


class Jobs:
    """The queue of runs, and those that are running; finds the others too.

    Args:
        config: configuration of the service.
        store: store that the runs are saved in.
        uploads: uploads that hold their workbooks.
        children: pool of the child processes that do the work.
        database: target database of the runs.
    """

    def __init__(self, config: Config, store: Store, uploads: Uploads, children: ChildPool, database: Database) -> None:
        self._config, self._store, self._uploads = config, store, uploads
        self._runs = RunRegistry(config, store, uploads)
        self._execution = Execution(config, self._runs, uploads, children, database)
        self._queue: deque[ServiceRun] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self.stopping = self._execution.stopping

    # ---- START AND STOP -----------------------------------------------------------------------------------------

    def load(self) -> None:
        """Load the unfinished runs of the previous service: its checks fail, its uploads become resumable."""
        self._runs.load()

    async def stop(self) -> None:
        """Interrupt queued and running runs; the next service can resume the uploads among them."""
        self.stopping.set()
        for run in [r for r in self._runs.open.values() if r.state in {QUEUED, RUNNING}]:
            if run.child is not None:
                run.child.terminate()
            elif run.state == QUEUED:
                self._queue.remove(run)
                self._runs.end_for_stop(run)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CHILD_STOP_SECONDS)
        self._runs.save_rest()

    # ---- REQUESTS -----------------------------------------------------------------------------------------------

    def submit(self, run: ServiceRun, upload: Upload, files: dict[str, bytes]) -> None:
        """Queue a run.

        Args:
            run: new run.
            upload: upload that holds its workbook.
            files: further files of the run: name -> content.

        Raises:
            RequestError: the queue is full, the service is stopping, or the run cannot be saved.
            OSError: its files cannot be written.
        """
        self.check_room()
        folder = self.folder(run.id)
        try:
            folder.mkdir(mode=0o700)
            for name, content in files.items():
                write_file(folder / name, content)
            self._runs.add(run)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._uploads.acquire(upload.id, run.id)
        self._enqueue(run)

    def check_room(self) -> None:
        """Check that another run can be queued; called early, before its workbook is received.

        Raises:
            RequestError: the queue is full, or the service is stopping.
        """
        if self.stopping.is_set():
            raise RequestError(503, "the service is stopping", choice="try again later")
        if self._running >= self._config.concurrency and len(self._queue) >= self._config.queue:
            raise RequestError(429, f"{len(self._queue)} uploads are waiting already", kind="QueueFull",
                          choice="try again later", retry_after=5)  # fmt: skip

    def _enqueue(self, run: ServiceRun) -> None:
        self._queue.append(run)
        self._pump()

    def find(self, run: str) -> ServiceRun:
        """Return a run by its id, ended or not.

        Raises:
            RequestError: there is no such run.
        """
        return self._runs.find(run)

    def page(self, limit: int, before: str | None, state: str | None) -> list[ServiceRun]:
        """Return runs, newest first; for the arguments see `Store.page`."""
        return self._runs.page(limit, before, state)

    def report(self, run: ServiceRun) -> dict[str, Any] | None:
        """Return the report of a run, or None."""
        return self._runs.report(run.id)

    def owned(self) -> list[OwnedTable]:
        """Return the tables that the service created on its server."""
        return self._runs.owned()

    def folder(self, run: str) -> Path:
        """Return the folder that holds the files of a run."""
        return self._config.run_folder(run)

    def describe(self, run: ServiceRun) -> RunInfo:
        """Return a run as answers show it."""
        return run.describe(self._queue.index(run) + 1 if run in self._queue else None)

    async def over(self, run: ServiceRun) -> None:
        """Wait until a run has ended or was interrupted."""
        while not run.is_over:
            await run.changed.wait()

    def resume(self, run: ServiceRun) -> None:
        """Queue an interrupted run again.

        Raises:
            RequestError: the run is not interrupted, the queue is full, or the service is stopping.
        """
        if run.state != INTERRUPTED:
            raise RequestError(409, f"a run that is {run.state} cannot be resumed", kind="NotResumable")
        self.check_room()
        run.begin_again()
        self._runs.save(run)
        self._enqueue(run)

    async def cancel(self, run: ServiceRun) -> str:
        """Cancel a run that has not ended, or delete one that has; return "forgotten", "cancelled" or its end state."""
        if run.state == INTERRUPTED:
            self._runs.end(run, CANCELLED)
            await self._execution.forget(run)
        elif run.is_over:
            self._runs.delete(run)
            return "forgotten"
        elif run.state == QUEUED:
            self._queue.remove(run)
            self._runs.end(run, CANCELLED)
            await self._execution.forget(run)
        else:
            await self._stop_one(run)
        return "cancelled" if run.state == CANCELLED else run.state

    async def _stop_one(self, run: ServiceRun) -> None:
        run.cancelling = True
        if run.child is not None:
            run.child.terminate()
        try:
            await asyncio.wait_for(self.over(run), CHILD_STOP_SECONDS)
        except TimeoutError:
            if run.child is not None:
                run.child.kill()
            await self.over(run)

    async def prune(self) -> None:
        """Delete runs that ended more than `keep_days` ago, and cancel those that nobody resumed since."""
        old = datetime.now(UTC) - timedelta(days=self._config.keep_days)
        for stored in self._store.runs_finished_before(stamp(old.timestamp())):
            run = self._runs.find(stored["id"])
            if run.is_over:
                await self.cancel(run)

    # ---- WORK ---------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Start queued runs while fewer than `concurrency` are running."""
        while self._queue and self._running < self._config.concurrency and not self.stopping.is_set():
            run = self._queue.popleft()
            self._running += 1
            run.state, run.started_at = RUNNING, stamp()
            self._runs.save(run)
            task = asyncio.create_task(self._work(run))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for run in self._queue:
            run.notify()

    async def save_rest(self) -> None:
        """Save what could not be saved before, again and again until the service stops."""
        while True:
            await asyncio.sleep(_SAVE_AGAIN_SECONDS)
            self._runs.save_rest()

    async def _work(self, run: ServiceRun) -> None:
        try:
            run.notify()
            await self._execution.execute(run)
        except Exception as exc:  # noqa: BLE001 - a run must end even if the service itself fails
            self._runs.end(run, FAILED, error=service_error(500, f"unexpected {type(exc).__name__}", "ServiceError"))
        finally:
            run.child = None
            self._running -= 1
            self._pump()
