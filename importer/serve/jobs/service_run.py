"""Owns the state of one run: its options, progress and result, in stored form and as answers show it."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from importer.runtime.stage import Stage
from importer.serve.errors import stamp
from importer.serve.models.child import Saved, StageEvent, TargetEvent, TextEvent
from importer.serve.models.error import ChildError, RunError
from importer.serve.models.run import Links, RejectsInfo, RunInfo, RunProgress, Stats

if TYPE_CHECKING:
    from importer.serve.models.child import LoadAnswer
    from importer.serve.models.run import Kind, State

    from .processes import Child

#: States: two of a run under way, then those in which it can end. An interrupted run can be resumed.
QUEUED: Final = "queued"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
INTERRUPTED: Final = "interrupted"
#: Labels of the stages of a run, in order.
STAGES = {stage.value: stage.label for stage in Stage}
#: Stages in which rows may be in staging, so that a resume can continue from them.
_WRITING_STAGES = frozenset({Stage.LOAD, Stage.WRITE, Stage.VERIFY, Stage.PUBLISH})
_NOT_STORED = frozenset({"progress", "notes", "child", "cancelling", "changed"})
#: Fields that are stored as objects.
_MODELS: dict[str, type[BaseModel]] = {"error": ChildError, "stats": Stats, "rejects": RejectsInfo}


@dataclass
class StageProgress:
    """Progress of a run within its current stage.

    Attributes:
        stage: key of the stage, as in `STAGES`.
        done: rows done in this stage.
        total: rows that the stage is expected to handle; None if unknown.
        rate: rows per second in this stage; None until it can be computed.
    """

    stage: str
    done: int
    total: int | None
    rate: float | None


@dataclass
class ServiceRun:
    """One run of the service.

    Attributes:
        kind: `upload` or `check`.
        upload: id of the upload that holds the workbook.
        workbook: file name of the workbook.
        size: size of the workbook in bytes.
        options: options as the caller gave them.
        begun: schema and name of the table that the run set out to create; None if it creates none.
        identity: key of the import in the ledger: sha256, schema, table.
        writing: whether rows may have been written to staging, so that a resume continues from there.
        changed: event that is set at the next change; each change replaces it by a new one.
    """

    kind: Kind
    upload: str
    workbook: str
    size: int
    options: dict[str, Any]
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    created_at: str = field(default_factory=stamp)
    state: State = QUEUED
    outcome: str | None = None
    sheet: str | None = None
    table: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    message: str | None = None
    error: ChildError | None = None
    stats: Stats | None = None
    rejects: RejectsInfo | None = None
    has_report: bool = False
    has_rejects: bool = False
    begun: list[str] | None = None
    identity: list[str] | None = None
    writing: bool = False
    progress: StageProgress | None = None
    notes: list[str] = field(default_factory=list)
    child: Child | None = None
    cancelling: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _began: float = 0.0
    _stage_started: float = 0.0

    @classmethod
    def load(cls, stored: dict[str, Any]) -> ServiceRun:
        """Return the run that a stored dict describes."""
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        models = {name: m.model_validate(values[name]) for name, m in _MODELS.items() if values.get(name) is not None}
        return cls(**values | models)

    def stored(self) -> dict[str, Any]:
        """Return the run as the dict that is stored."""
        names = [f.name for f in fields(self) if f.name not in _NOT_STORED and not f.name.startswith("_")]
        values = {name: getattr(self, name) for name in names}
        return {name: v.model_dump() if isinstance(v, BaseModel) else v for name, v in values.items()}

    def begin_again(self) -> None:
        """Reset the run to its queued state; only what is in the database remains of an earlier attempt."""
        self.state, self.error, self.finished_at, self.message = QUEUED, None, None, None
        self.progress, self.notes, self.cancelling = None, [], False
        self._began = self._stage_started = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the run is neither queued nor running."""
        return self.state not in {QUEUED, RUNNING}

    def notify(self) -> None:
        """Wake those who wait for a change of the run."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def receive(self, event: StageEvent | TextEvent | TargetEvent) -> Saved | None:
        """Apply an event of the child to the run; return the answer if the event asks for one."""
        answer = None
        match event:
            case StageEvent():
                self._advance(event.stage, event.done, event.total)
            case TextEvent():
                self.notes.append(event.text)
            case TargetEvent():
                self.sheet, self.table = event.sheet, f"{event.table_schema}.{event.table}"
                self.identity = [event.sha256, event.table_schema, event.table]
                self.begun = self.begun if event.exists else [event.table_schema, event.table]
                answer = Saved()
        self.notify()
        return answer

    def _advance(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        self._began = self._began or now
        if self.progress is None or self.progress.stage != stage:
            self._stage_started = now
        seconds = now - self._stage_started
        rate = round(done / seconds, 1) if done and seconds > 0 else None
        self.writing = self.writing or stage in _WRITING_STAGES
        self.progress = StageProgress(stage, done, total, rate)

    def record(self, done: LoadAnswer, *, has_rejects: bool) -> None:
        """Record what the run did, or would have done; has_rejects: whether it has a rejects workbook."""
        stats = done.report["stats"]
        self.outcome, self.message = done.report["outcome"], done.message
        self.stats = Stats.model_validate(stats | {"duration": f"{stats['duration']:.1f}s"})
        self.rejects = RejectsInfo.model_validate(done.report["rejects"])
        self.has_report, self.has_rejects = True, has_rejects

    # ---- ANSWERS ------------------------------------------------------------------------------------------------

    def describe(self, position: int | None = None) -> RunInfo:
        """Return the run as answers show it.

        Args:
            position: position in the queue, from 1; None if it is not queued.
        """
        return RunInfo(
            id=self.id, kind=self.kind, state=self.state, outcome=self.outcome, queue_position=position,
            workbook=self.workbook, size=self.size, sheet=self.sheet, table=self.table,
            mode=self.options.get("mode", "append"), method=self.options.get("method", "batch"),
            created_at=self.created_at, started_at=self.started_at, finished_at=self.finished_at,
            progress=self._describe_progress(), message=self.message,
            error=None if self.error is None else RunError.model_validate(self.error.model_dump()),
            stats=self.stats, rejects=self.rejects, resumable=self.state == INTERRUPTED,
            options=self.options, links=self._links(),
        )  # fmt: skip

    def _links(self) -> Links:
        address = f"/runs/{self.id}"
        return Links(
            run=address, events=f"{address}/events",
            report=f"{address}/report" if self.has_report else None,
            rejects=f"{address}/rejects.xlsx" if self.has_rejects else None,
            bad_cells=f"{address}/rejects" if self.has_rejects else None,
        )  # fmt: skip

    def _describe_progress(self) -> RunProgress | None:
        now = self.progress
        if self.state != RUNNING or now is None:
            return None
        return RunProgress(
            stage=now.stage, stage_label=STAGES.get(now.stage, now.stage), stages=list(STAGES),
            done_rows=now.done, total_rows=now.total, rows_per_second=now.rate,
            elapsed=round(time.monotonic() - self._began, 1), note=self.notes[-1] if self.notes else None,
        )  # fmt: skip


#: The choice in the error of a run that can be resumed.
GO_ON = "resume the run: it continues where it stopped"
#: The choice in the error of a run that stopped while it committed.
ASK_BY_RESUME = "resume the run: it reports whether the rows were published"


def service_error(status: int, error: str, kind: str, *, resumable: bool = False) -> ChildError:
    """Return an error of the service in the form in which children report theirs."""
    return ChildError(error=error, type=kind, place=None, choice=None, status=status, resumable=resumable)


def killed_error(run: ServiceRun, status: int, error: str, kind: str) -> ChildError:
    """Return the error of a run whose child was killed: it can be resumed; publishing it may or may not have done."""
    unsure = run.progress is not None and run.progress.stage == Stage.PUBLISH
    return service_error(status, error, kind, resumable=True).model_copy(update={"unsure": unsure})


def stopped_error(choice: str | None, *, resumable: bool = True) -> ChildError:
    """Return the error of a run that the stop of the service ended; choice: None if the run cannot be resumed."""
    error = service_error(503, "the service was stopped", "Interrupted", resumable=resumable and choice is not None)
    return error.model_copy(update={"choice": choice})
