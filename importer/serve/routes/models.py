"""Defines the shapes of responses, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class ErrorAnswer(BaseModel):
    """Why a request failed: the fact (`error`), where (`place`), and what to do (`choice`)."""

    error: str
    type: str
    place: str | None
    choice: str | None
    run: RunWords | None = None
    upload: UploadWords | None = None
    details: list[dict[str, str]] | None = None


class Message(BaseModel):
    """Confirmation that a request was done."""

    message: str


class Health(BaseModel):
    """The database answers."""

    status: Literal["healthy"]


class Unhealthy(BaseModel):
    """The database does not answer; `error` says why."""

    status: Literal["unhealthy"]
    error: str
    type: str
    place: str | None
    choice: str | None


class Session(BaseModel):
    """Whether a token is needed, and whether the caller is signed in."""

    token_required: bool
    signed_in: bool


class Limits(BaseModel):
    """Limits on a workbook; `seconds` limits an import, and the receiving of a workbook."""

    upload_bytes: int
    inflated_bytes: int
    rows: int
    columns: int
    seconds: float
    keep_upload_seconds: float


class About(BaseModel):
    """Version, limits and choices of the service; `allow_tables` is null where it loads only into its own tables."""

    version: str
    database: Literal["embedded", "external"]
    allow_tables: list[str] | None
    concurrency: int
    queue: int
    limits: Limits
    methods: list[str]
    modes: list[str]


class UploadWords(BaseModel):
    """An uploaded workbook; `size` is in bytes."""

    id: str
    name: str
    size: int
    expires_at: str


class UploadAnswer(BaseModel):
    """The workbook that was uploaded."""

    upload: UploadWords


class Workbook(BaseModel):
    """A workbook; `size` is in bytes."""

    name: str
    sha256: str
    size: int


class Sheet(BaseModel):
    """A sheet of a workbook."""

    name: str
    kind: str
    visibility: str


class SheetColumn(BaseModel):
    """A column of a sheet; `type` is the PostgreSQL type inferred from its cells, `kinds` counts cells by kind."""

    letter: str
    header: str | None
    name: str
    type: str | None
    cells: int
    kinds: dict[str, int]


class SampleRow(BaseModel):
    """A row with the text of its cells by column letter; `row` is the row number in the sheet."""

    row: int
    cells: dict[str, str]


class Problem(BaseModel):
    """A cell that would be rejected."""

    address: str
    kind: str
    raw: str


class Origin(BaseModel):
    """Where the rows of a rejects workbook came from."""

    workbook: str
    table: str


class Inspection(BaseModel):
    """The content of a sheet; `suggested_table` is a table name derived from the workbook's name."""

    upload: UploadWords
    workbook: Workbook
    sheets: list[Sheet]
    sheet: str
    header_row: int
    header_rows: list[int]
    rows: dict[str, int]
    columns: list[SheetColumn]
    sample: list[SampleRow]
    problems: list[Problem]
    notes: list[str]
    contract: dict[str, Any]
    suggested_table: str
    origin: Origin | None


class TableColumn(BaseModel):
    """A column of a table; `fillable` says whether a load may write to it."""

    name: str
    type: str
    required: bool
    fillable: bool
    has_default: bool
    key: bool


class TableKey(BaseModel):
    """A primary or unique key of a table."""

    primary: bool
    columns: list[str]


class Table(BaseModel):
    """A table that may be loaded into; `quoted` is its name for the option `table`."""

    table: str
    schema_: str = Field(alias="schema")
    name: str
    quoted: str
    rows: int | None
    created_here: bool
    columns: list[TableColumn]
    keys: list[TableKey]


class Tables(BaseModel):
    """The existing tables that may be loaded into; `truncated` says whether there are more."""

    tables: list[Table]
    truncated: bool


class ContractField(BaseModel):
    """A field of a contract."""

    name: str
    title: str | None
    type: str
    required: bool


class ContractWords(BaseModel):
    """A contract of the service; `error` says why it cannot be used, null if it can."""

    name: str
    table: str | None
    fields: list[ContractField]
    primary_key: list[str]
    error: str | None


class Contracts(BaseModel):
    """The contracts of the service."""

    contracts: list[ContractWords]


class Rule(BaseModel):
    """A rule that rows broke: how often (`count`), and the first address (`example`)."""

    key: str
    column: str
    rule: str
    count: int
    example: str


class Rejects(BaseModel):
    """Number of rejected rows, and the rules that they broke."""

    rows: int
    by_rule: list[Rule]


class Stats(BaseModel):
    """Figures of a run; `success_count + error_count == total_records`."""

    total_records: int
    success_count: int
    error_count: int
    duration: str
    records_per_second: float


class Progress(BaseModel):
    """Progress of a run; `elapsed` is in seconds."""

    stage: str
    stage_label: str
    stages: list[str]
    done_rows: int
    total_rows: int | None
    rows_per_second: float | None
    elapsed: float
    note: str | None


class RunError(BaseModel):
    """Why a run failed; `status` is the HTTP status of the error."""

    error: str
    type: str
    place: str | None
    choice: str | None
    status: int


class Links(BaseModel):
    """Paths of further resources of a run."""

    run: str
    events: str
    report: str | None
    rejects: str | None
    bad_cells: str | None


class RunWords(BaseModel):
    """A run; `size` is the workbook's size in bytes."""

    id: str
    kind: Literal["upload", "check"]
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
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
    progress: Progress | None
    message: str | None
    error: RunError | None
    stats: Stats | None
    rejects: Rejects | None
    resumable: bool
    options: dict[str, Any] | None = None
    links: Links


class RunAccepted(BaseModel):
    """A run that was queued or has started."""

    message: str
    run: RunWords
    links: Links
    upload: UploadWords | None = None


class Result(BaseModel):
    """The result of a successful run."""

    message: str
    method: str
    stats: Stats
    run_id: str
    outcome: str
    rejects: Rejects
    links: Links
    upload: UploadWords | None
    run: RunWords


class Runs(BaseModel):
    """Runs, newest first; `more` says whether there are older ones."""

    runs: list[RunWords]
    more: bool


class RunAnswer(BaseModel):
    """A run and its report; null without one."""

    run: RunWords
    report: dict[str, Any] | None


class RunDone(BaseModel):
    """What was done to a run, as `message`."""

    message: str
    run: RunWords


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


ErrorAnswer.model_rebuild()
