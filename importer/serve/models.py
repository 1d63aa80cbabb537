"""Owns the shapes of answers as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class ErrorAnswer(BaseModel):
    """Why a request was not done."""

    error: str
    type: str
    place: str | None
    choice: str | None
    run: RunWords | None = None
    upload: UploadWords | None = None
    details: list[dict[str, str]] | None = None


class Message(BaseModel):
    """That it was done."""

    message: str


class Health(BaseModel):
    """That the database answers."""

    status: Literal["healthy"]


class Unhealthy(BaseModel):
    """That it does not."""

    status: Literal["unhealthy"]
    error: str
    type: str
    place: str | None
    choice: str | None


class Session(BaseModel):
    """Whether a token is needed, and whether the caller is known."""

    token_required: bool
    signed_in: bool


class Limits(BaseModel):
    """What a workbook may cost."""

    upload_bytes: int
    inflated_bytes: int
    rows: int
    columns: int
    seconds: float
    keep_upload_seconds: float


class About(BaseModel):
    """What the service is."""

    version: str
    database: Literal["embedded", "external"]
    allow_tables: list[str] | None
    concurrency: int
    queue: int
    limits: Limits
    methods: list[str]
    modes: list[str]


class UploadWords(BaseModel):
    """A workbook that was sent."""

    id: str
    name: str
    size: int
    expires_at: str


class UploadAnswer(BaseModel):
    """A workbook that was kept."""

    upload: UploadWords


class Workbook(BaseModel):
    """A workbook."""

    name: str
    sha256: str
    size: int


class Sheet(BaseModel):
    """A sheet of it."""

    name: str
    kind: str
    visibility: str


class SheetColumn(BaseModel):
    """A column of the sheet: `type` is the PostgreSQL type that its cells suggest."""

    letter: str
    header: str | None
    name: str
    type: str | None
    cells: int
    kinds: dict[str, int]


class SampleRow(BaseModel):
    """A row, with the texts of its cells by column letter."""

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
    """What a sheet holds."""

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
    """A column of a table."""

    name: str
    type: str
    required: bool
    fillable: bool
    has_default: bool
    key: bool


class TableKey(BaseModel):
    """A key of a table."""

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
    """The tables that may be loaded into and exist."""

    tables: list[Table]
    truncated: bool


class ContractField(BaseModel):
    """A field of a contract."""

    name: str
    title: str | None
    type: str
    required: bool


class ContractWords(BaseModel):
    """A contract of the service; `error` says why it cannot be used."""

    name: str
    table: str | None
    fields: list[ContractField]
    primary_key: list[str]
    error: str | None


class Contracts(BaseModel):
    """The contracts of the service."""

    contracts: list[ContractWords]


class Rule(BaseModel):
    """A rule that rows broke: how often, and where first."""

    key: str
    column: str
    rule: str
    count: int
    example: str


class Rejects(BaseModel):
    """How many rows were rejected, by rule."""

    rows: int
    by_rule: list[Rule]


class Stats(BaseModel):
    """The numbers of a run."""

    total_records: int
    success_count: int
    error_count: int
    duration: str
    records_per_second: float


class Progress(BaseModel):
    """How far a run is."""

    stage: str
    stage_label: str
    stages: list[str]
    done_rows: int
    total_rows: int | None
    rows_per_second: float | None
    elapsed: float
    note: str | None


class RunError(BaseModel):
    """Why a run did not end well."""

    error: str
    type: str
    place: str | None
    choice: str | None
    status: int


class Links(BaseModel):
    """Where more is."""

    run: str
    events: str
    report: str | None
    rejects: str | None
    bad_cells: str | None


class RunWords(BaseModel):
    """A run."""

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


class Accepted(BaseModel):
    """A run that waits or works."""

    message: str
    run: RunWords
    links: Links
    upload: UploadWords | None = None


class Result(BaseModel):
    """A run that is done."""

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
    """Runs, the newest first."""

    runs: list[RunWords]
    more: bool


class RunAnswer(BaseModel):
    """A run, and its report when there is one."""

    run: RunWords
    report: dict[str, Any] | None


class RunDone(BaseModel):
    """What was done to a run."""

    message: str
    run: RunWords


class BadCell(BaseModel):
    """A cell that broke a rule; `column` is None where the whole row did."""

    row: int
    address: str
    column: str | None
    rule: str
    message: str
    value: str | None


class BadCells(BaseModel):
    """Bad cells of a run, the first ones."""

    rows: int
    cells: list[BadCell]
    truncated: bool


ErrorAnswer.model_rebuild()
