"""Owns the queue of runs, and executes them in children."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from importer.runtime.output_file import write_file
from importer.serve.errors import RequestError, stamp
from importer.serve.models.child import (
    DoneEvent,
    ErrorEvent,
    LoadAnswer,
    OwnedAnswer,
    OwnedEvent,
    StageEvent,
    TargetEvent,
    TextEvent,
)

from .commands import load_command
from .processes import CHILD_STOP_SECONDS, Child, ChildDied, ChildPool
from .registry import RunRegistry
from .run import (
    ASK_BY_RESUME,
    CANCELLED,
    DONE,
    FAILED,
    GO_ON,
    INTERRUPTED,
    QUEUED,
    RUNNING,
    Run,
    killed,
    service_error,
    stopped,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from importer.serve.config import Config
    from importer.serve.models.child import Event, LastEvent, LoadCommand
    from importer.serve.models.error import ChildError
    from importer.serve.models.run import RunInfo

    from .database import Database
    from .store import Store
    from .uploads import Upload, Uploads

#: Seconds allowed beyond the importer's own time limit, in which it should notice that the limit has passed.
_GRACE_SECONDS = 20.0


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
        self._config, self.store, self._uploads = config, store, uploads
        self._runs = RunRegistry(config, store, uploads)
        self._children, self._database = children, database
        self._queue: deque[Run] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self.stopping = asyncio.Event()

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

    # ---- REQUESTS -----------------------------------------------------------------------------------------------

    def submit(self, run: Run, upload: Upload, files: dict[str, bytes]) -> None:
        """Queue a run.

        Args:
            run: new run.
            upload: upload that holds its workbook.
            files: further files of the run: name -> content.

        Raises:
            RequestError: the queue is full, or the service is stopping.
        """
        self.check_room()
        folder = self._runs.folder(run.id)
        folder.mkdir(mode=0o700)
        for name, content in files.items():
            write_file(folder / name, content)
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

    def _enqueue(self, run: Run) -> None:
        run.begin_again()
        self._queue.append(run)
        self._runs.add(run)
        self._pump()

    def find(self, run: str) -> Run:
        """Return a run by its id, ended or not.

        Raises:
            RequestError: there is no such run.
        """
        return self._runs.find(run)

    def folder(self, run: str) -> Path:
        """Return the folder that holds the files of a run."""
        return self._runs.folder(run)

    def describe(self, run: Run) -> RunInfo:
        """Return a run as answers show it."""
        return run.describe(self._queue.index(run) + 1 if run in self._queue else None)

    async def over(self, run: Run) -> None:
        """Wait until a run has ended or was interrupted."""
        while not run.is_over:
            await run.changed.wait()

    def resume(self, run: Run) -> None:
        """Queue an interrupted run again.

        Raises:
            RequestError: the run is not interrupted, the queue is full, or the service is stopping.
        """
        if run.state != INTERRUPTED:
            raise RequestError(409, f"a run that is {run.state} cannot be resumed", kind="NotResumable")
        self.check_room()
        self._enqueue(run)

    async def cancel(self, run: Run) -> str:
        """Cancel a run that has not ended, or delete one that has; return "forgotten", "cancelled" or its end state."""
        if run.state == INTERRUPTED:
            self._runs.end(run, CANCELLED)
            await self._forget_in_ledger(run)
        elif run.is_over:
            self._runs.delete(run)
            return "forgotten"
        elif run.state == QUEUED:
            self._queue.remove(run)
            self._runs.end(run, CANCELLED)
            await self._forget_in_ledger(run)
        else:
            await self._stop_one(run)
        return "cancelled" if run.state == CANCELLED else run.state

    async def _stop_one(self, run: Run) -> None:
        run.cancelling = True
        if run.child is not None:
            run.child.terminate()
        try:
            await asyncio.wait_for(self.over(run), CHILD_STOP_SECONDS)
        except TimeoutError:
            if run.child is not None:
                run.child.kill()
            await self.over(run)

    async def _forget_in_ledger(self, run: Run) -> None:
        """Drop what the run wrote to staging, if anything."""
        if not run.writing or run.identity is None or run.kind != "upload":
            return
        await self._database.forget(self._children, run.identity)

    async def prune(self) -> None:
        """Delete runs that ended more than `keep_days` ago, and cancel those that nobody resumed since."""
        old = datetime.now(UTC) - timedelta(days=self._config.keep_days)
        for stored in self.store.runs_finished_before(stamp(old.timestamp())):
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

    async def _work(self, run: Run) -> None:
        try:
            run.notify()
            event = await self._execute(run)
            await self._settle(run, event)
        except Exception as exc:  # noqa: BLE001 - a run must end even if the service itself fails
            self._runs.end(run, FAILED, error=service_error(500, f"unexpected {type(exc).__name__}", "ServiceError"))
        finally:
            run.child = None
            self._running -= 1
            self._pump()

    async def _execute(self, run: Run) -> LastEvent:
        """Execute a run in a child; return the child's last event, or an error event that says how the child died."""
        try:
            async with self._children.child() as child:
                run.child = child
                if run.cancelling or self.stopping.is_set():
                    return ErrorEvent(error=stopped(None))
                try:
                    async with asyncio.timeout(self._config.seconds + _GRACE_SECONDS):
                        return await child.work(self._command(run, child), lambda event: self._answer(run, event))
                except TimeoutError:
                    child.kill()
                    return ErrorEvent(error=killed(run, 422, f"not done within {self._config.seconds:g} s", "TimedOut"))
        except ChildDied as exc:
            how = "ran out of memory or was killed" if "SIGKILL" in exc.how else exc.how
            return ErrorEvent(error=killed(run, 500, f"the process that did the work {how}", "ChildDied"))

    def _answer(self, run: Run, event: Event) -> BaseModel | None:
        """Apply an event of a child that loads; return the answer if the event asks for one."""
        if isinstance(event, OwnedEvent):
            table = [event.table_schema, event.table]
            others = (r for r in self._runs.open.values() if r is not run and r.state == RUNNING)
            return OwnedAnswer(owned=self.store.owned(), pending=any(other.begun == table for other in others))
        if not isinstance(event, StageEvent | TextEvent | TargetEvent):
            return None
        before = run.begun, run.identity, run.writing
        answer = run.receive(event)
        if (run.begun, run.identity, run.writing) != before:
            # Saved before the child continues: a restart must know which table was begun.
            self._runs.save(run)
        return answer

    def _command(self, run: Run, child: Child) -> LoadCommand:
        upload = self._uploads.acquire(run.upload, run.id)
        if upload is None:
            raise ChildDied("found no workbook")
        return load_command(self._config, self._database, self.store, run, upload, child.scratch)

    async def _settle(self, run: Run, event: LastEvent) -> None:
        """Record how a run ended, from the last event of its child."""
        done = LoadAnswer.model_validate(event.answer) if isinstance(event, DoneEvent) else event.load
        if done is not None:
            run.record(done, has_rejects=(self._runs.folder(run.id) / "rejects.xlsx").is_file())
        if isinstance(event, DoneEvent):
            assert done is not None
            if done.oid is not None and run.identity is not None:
                self.store.own(run.identity[1], run.identity[2], done.oid)
            self._runs.end(run, DONE, report=done.report)
        else:
            await self._settle_failed(run, event.error, None if done is None else done.report)

    async def _settle_failed(self, run: Run, error: ChildError, report: dict[str, Any] | None) -> None:
        """Record how a run ended that failed, was cancelled, or stopped with the service."""
        if run.kind == "upload" and error.unsure:
            self._runs.interrupt(run, error.model_copy(update={"choice": ASK_BY_RESUME}))
        elif run.cancelling:
            self._runs.end(run, CANCELLED)
            await self._forget_in_ledger(run)
        elif self.stopping.is_set():
            self._runs.end_for_stop(run)
        elif run.kind == "upload" and run.writing and error.resumable:
            self._runs.interrupt(run, error.model_copy(update={"choice": GO_ON}))
        else:
            self._runs.end(run, FAILED, error=error, report=report)
