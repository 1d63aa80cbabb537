"""Executes runs in children, and records how they ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from importer.serve.errors import StoreFailed, machine_refusal
from importer.serve.models.child import (
    DoneEvent,
    ErrorEvent,
    LoadAnswer,
    OwnedAnswer,
    OwnedEvent,
    OwnedTable,
    StageEvent,
    TargetEvent,
    TextEvent,
)

from .commands import load_command
from .processes import Child, ChildDied, ChildPool
from .service_run import ASK_BY_RESUME, CANCELLED, DONE, FAILED, GO_ON, RUNNING, ServiceRun, killed_error, stopped_error

if TYPE_CHECKING:
    from pydantic import BaseModel

    from importer.serve.config import Config
    from importer.serve.models.child import Event, LastEvent, LoadCommand
    from importer.serve.models.error import ChildError

    from .database import Database
    from .registry import RunRegistry
    from .uploads import Uploads

#: Seconds allowed beyond the importer's own time limit, in which it should notice that the limit has passed.
_GRACE_SECONDS = 20.0
#: Errors of the service's own machine: they are no reason to send a workbook again.
_OURS = {"StoreFailed", "MachineRefused"}


class Execution:
    """What happens to a run from its start to its end.

    Args:
        config: configuration of the service.
        runs: registry that records the states of the runs.
        uploads: uploads that hold their workbooks.
        children: pool of the child processes that do the work.
        database: target database of the runs.

    Attributes:
        stopping: event that is set when the service stops.
    """

    def __init__(
        self, config: Config, runs: RunRegistry, uploads: Uploads, children: ChildPool, database: Database
    ) -> None:
        self._config, self._runs, self._uploads = config, runs, uploads
        self._children, self._database = children, database
        self.stopping = asyncio.Event()

    async def execute(self, run: ServiceRun) -> None:
        """Execute a run in a child, and record how it ended."""
        await self._settle(run, await self._work(run))

    async def forget(self, run: ServiceRun) -> None:
        """Drop what a run wrote to staging, if anything."""
        if run.writing and run.identity is not None and run.kind == "upload":
            await self._database.forget(self._children, run.identity)

    async def _work(self, run: ServiceRun) -> LastEvent:
        """Have a child work; return the child's last event, or an error event that says how the child died."""
        try:
            async with self._children.child() as child:
                run.child = child
                if run.cancelling or self.stopping.is_set():
                    return ErrorEvent(error=stopped_error(None))
                try:
                    async with asyncio.timeout(self._config.seconds + _GRACE_SECONDS):
                        return await child.work(self._command(run, child), lambda event: self._answer(run, event))
                except TimeoutError:
                    child.kill()
                    return ErrorEvent(
                        error=killed_error(run, 422, f"not done within {self._config.seconds:g} s", "TimedOut")
                    )
        except StoreFailed as exc:
            error = killed_error(run, 503, exc.answer.error, exc.answer.type)
            return ErrorEvent(error=error.model_copy(update={"place": exc.answer.place}))
        except OSError as exc:
            refused = machine_refusal(exc)
            return ErrorEvent(error=killed_error(run, refused.status, refused.answer.error, refused.answer.type))
        except ChildDied as exc:
            how = "ran out of memory or was killed" if "SIGKILL" in exc.how else exc.how
            return ErrorEvent(error=killed_error(run, 500, f"the process that did the work {how}", "ChildDied"))

    def _answer(self, run: ServiceRun, event: Event) -> BaseModel | None:
        """Apply an event of a child that loads; return the answer if the event asks for one."""
        if isinstance(event, OwnedEvent):
            table = [event.table_schema, event.table]
            others = (r for r in self._runs.open.values() if r is not run and r.state == RUNNING)
            return OwnedAnswer(owned=self._runs.owned(), pending=any(other.begun == table for other in others))
        if not isinstance(event, StageEvent | TextEvent | TargetEvent):
            return None
        before, was_writing = (run.begun, run.identity), run.writing
        answer = run.receive(event)
        if (run.begun, run.identity) != before:
            # Saved before the child continues: a restart must know which table was begun.
            self._runs.save_now(run)
        elif run.writing != was_writing:
            self._runs.save(run)
        return answer

    def _command(self, run: ServiceRun, child: Child) -> LoadCommand:
        upload = self._uploads.acquire(run.upload, run.id)
        if upload is None:
            raise ChildDied("found no workbook")
        return load_command(self._config, self._database, self._runs.owned(), run, upload, child.scratch)

    async def _settle(self, run: ServiceRun, event: LastEvent) -> None:
        """Record how a run ended, from the last event of its child."""
        done = LoadAnswer.model_validate(event.answer) if isinstance(event, DoneEvent) else event.load
        if done is not None:
            run.record(done, has_rejects=(self._config.run_folder(run.id) / "rejects.xlsx").is_file())
        if isinstance(event, DoneEvent):
            assert done is not None
            owned = None
            if done.oid is not None and run.identity is not None:
                owned = OwnedTable(run.identity[1], run.identity[2], done.oid)
            self._runs.end(run, DONE, report=done.report, owned=owned)
        else:
            await self._settle_failed(run, event.error, None if done is None else done.report)

    async def _settle_failed(self, run: ServiceRun, error: ChildError, report: dict[str, Any] | None) -> None:
        """Record how a run ended that failed, was cancelled, or stopped with the service."""
        if run.kind == "upload" and error.unsure:
            self._runs.interrupt(run, error.model_copy(update={"choice": ASK_BY_RESUME}))
        elif run.cancelling:
            self._runs.end(run, CANCELLED)
            await self.forget(run)
        elif self.stopping.is_set():
            self._runs.end_for_stop(run)
        elif run.kind == "upload" and error.resumable and (run.writing or error.type in _OURS):
            self._runs.interrupt(run, error.model_copy(update={"choice": GO_ON}))
        else:
            self._runs.end(run, FAILED, error=error, report=report)
