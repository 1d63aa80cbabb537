"""Defines the answers about the service itself, its tables and its contracts, and the answer to every failure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .error import ErrorFields
from .run import RunInfo
from .workbook import UploadInfo


class ErrorAnswer(ErrorFields):
    """Why a request failed: the fact (`error`), where (`place`), and what to do (`choice`)."""

    run: RunInfo | None = None
    upload: UploadInfo | None = None
    details: list[dict[str, str]] | None = None


class Message(BaseModel):
    """Confirmation that a request was done."""

    message: str


class Health(BaseModel):
    """The database answers."""

    status: Literal["healthy"]


class Unhealthy(ErrorFields):
    """The database does not answer; `error` says why."""

    status: Literal["unhealthy"]


class SessionInfo(BaseModel):
    """Whether a token is needed, and whether the caller is signed in."""

    model_config = ConfigDict(title="Session")

    token_required: bool
    signed_in: bool


class LimitsInfo(BaseModel):
    """Limits on a workbook; `seconds` limits an import, and the receiving of a workbook."""

    model_config = ConfigDict(title="Limits")

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
    limits: LimitsInfo
    methods: list[str]
    modes: list[str]


class TableColumnInfo(BaseModel):
    """A column of a table; `fillable` says whether a load may write to it."""

    model_config = ConfigDict(title="TableColumn")

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


class TableInfo(BaseModel):
    """A table that may be loaded into; `quoted` is its name for the option `table`."""

    model_config = ConfigDict(title="Table")

    table: str
    schema_: str = Field(alias="schema")
    name: str
    quoted: str
    rows: int | None
    created_here: bool
    columns: list[TableColumnInfo]
    keys: list[TableKey]


class Tables(BaseModel):
    """The existing tables that may be loaded into; `truncated` says whether there are more."""

    tables: list[TableInfo]
    truncated: bool


class ContractField(BaseModel):
    """A field of a contract."""

    name: str
    title: str | None
    type: str
    required: bool


class ContractInfo(BaseModel):
    """A contract of the service; `error` says why it cannot be used, null if it can."""

    model_config = ConfigDict(title="ContractWords")

    name: str
    table: str | None
    fields: list[ContractField]
    primary_key: list[str]
    error: str | None


class ReadContract(ContractInfo):
    """A contract as a child read it; `descriptor` is null if it cannot be used."""

    descriptor: dict[str, Any] | None = None


class Contracts(BaseModel):
    """The contracts of the service."""

    contracts: list[ContractInfo]
