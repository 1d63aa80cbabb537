"""Defines the answers about runs: state, progress, result and bad cells."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from .error import RunError
from .workbook import UploadInfo

Kind = Literal["upload", "check"]
State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class RuleCount(BaseModel):
    """A rule that rows broke: how often (`count`), and the first address (`example`)."""

    model_config = ConfigDict(title="Rule")

    key: str
    column: str
    rule: str
    count: int
    example: str


class Reason(BaseModel):
    """Errors of one column with one reason: the addresses of the cells (`E6:E52`), and how many they are."""

    cells: str
    count: int
    reason: str


class RejectsInfo(BaseModel):
    """Number of rejected rows, the rules that they broke, and the reasons, the most frequent first."""

    model_config = ConfigDict(title="Rejects")

    rows: int
    by_rule: list[RuleCount]
    reasons: list[Reason] = []


class Stats(BaseModel):
    """Figures of a run; their sum is `total_records`, unless nothing was published: then `success_count` is 0."""

    total_records: int
    success_count: int
    error_count: int
    duration: str
    records_per_second: float


class RunProgress(BaseModel):
    """Progress of a run; `elapsed` is in seconds."""

    model_config = ConfigDict(title="Progress")

    stage: str
    stage_label: str
    stages: list[str]
    done_rows: int
    total_rows: int | None
    rows_per_second: float | None
    elapsed: float
    note: str | None


class Links(BaseModel):
    """Paths of further resources of a run."""

    run: str
    events: str
    report: str | None
    rejects: str | None
    bad_cells: str | None


class RunInfo(BaseModel):
    """A run; `size` is the workbook's size in bytes."""

    model_config = ConfigDict(title="RunWords")

    id: str
    kind: Kind
    state: State
    outcome: str | None
    queue_position: int | None
    workbook: str
    size: int
    sheet: str | None
    table: str | None
    mode: str
    method: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    progress: RunProgress | None
    message: str | None
    error: RunError | None
    stats: Stats | None
    rejects: RejectsInfo | None
    resumable: bool
    options: dict[str, Any] | None = None
    links: Links


class RunAccepted(BaseModel):
    """A run that was queued or has started."""

    message: str
    run: RunInfo
    links: Links
    upload: UploadInfo | None = None


class Result(BaseModel):
    """The result of a successful run."""

    message: str
    method: str
    stats: Stats
    run_id: str
    outcome: str
    rejects: RejectsInfo
    links: Links
    upload: UploadInfo | None
    run: RunInfo


class Runs(BaseModel):
    """Runs, newest first; `more` says whether there are older ones."""

    runs: list[RunInfo]
    more: bool


class RunAnswer(BaseModel):
    """A run and its report; null without one."""

    run: RunInfo
    report: dict[str, Any] | None


class RunDone(BaseModel):
    """What was done to a run, as `message`."""

    message: str
    run: RunInfo


class BadCell(BaseModel):
    """A cell that broke a rule; `column` is null where the whole row broke it."""

    row: int
    address: str
    column: str | None
    rule: str
    message: str
    value: str | None


class BadCells(BaseModel):
    """The first bad cells of a run; `truncated` says whether there are more."""

    rows: int
    cells: list[BadCell]
    truncated: bool
