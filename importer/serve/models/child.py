"""Defines what the service and a child send each other: commands, events, and answers to events that ask.

Each is one line of JSON. A command names its `op`, an event its kind in `event`; the last event is `done` or `error`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, TypeAdapter

from .error import ChildError
from .service import ReadContract
from .workbook import InspectedSheet


class OwnedTable(NamedTuple):
    """A table that the service created; its oid tells it from a later table of the same name."""

    schema: str
    name: str
    oid: int


# ---- COMMANDS ---------------------------------------------------------------------------------------------------


class HelloCommand(BaseModel):
    """Show that the child takes commands."""

    op: Literal["hello"] = "hello"


class PingCommand(BaseModel):
    """Show that the database answers."""

    op: Literal["ping"] = "ping"
    dsn: str = Field(repr=False)


class TablesCommand(BaseModel):
    """List the tables that callers may load into."""

    op: Literal["tables"] = "tables"
    dsn: str = Field(repr=False)
    patterns: tuple[str, ...]
    owned: list[OwnedTable]
    ledger: bool = False


class ContractsCommand(BaseModel):
    """Read the contracts in these files (path by name)."""

    op: Literal["contracts"] = "contracts"
    files: dict[str, str]
    hidden: list[str]


class ForgetCommand(BaseModel):
    """Drop what unfinished runs of an import left; `identity` is its sha256, schema and table."""

    op: Literal["forget"] = "forget"
    dsn: str = Field(repr=False)
    identity: list[str]


class ChildLimits(BaseModel):
    """Limits on a workbook, named as those of the importer (`importer.settings.Limits`)."""

    part_bytes: int
    columns: int
    memory_bytes: int


class WorkbookCommand(BaseModel):
    """What all commands that read a workbook share; `hidden` are paths that callers must not see."""

    workbook: str
    limits: ChildLimits
    rows: int
    workers: int | None
    scratch: str
    hidden: list[str]
    options: dict[str, Any] = {}


class InspectCommand(WorkbookCommand):
    """Inspect a workbook."""

    op: Literal["inspect"] = "inspect"


class LoadCommand(WorkbookCommand):
    """Load or check a workbook; `begun` is the table that the run set out to create in an earlier attempt."""

    op: Literal["load"] = "load"
    dsn: str = Field(repr=False)
    dry_run: bool
    rejects: str
    bad_cells: str
    contract_file: str
    patterns: tuple[str, ...]
    owned: list[OwnedTable]
    ledger: bool = False
    begun: list[str] | None
    retry_for: float
    seconds: float
    inspected: InspectedSheet | None


Command = PingCommand | TablesCommand | ContractsCommand | ForgetCommand | InspectCommand | LoadCommand | HelloCommand
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="op")])


# ---- EVENTS -----------------------------------------------------------------------------------------------------


class ReadyEvent(BaseModel):
    """The child has imported what it needs."""

    event: Literal["ready"] = "ready"


class HelloEvent(BaseModel):
    """The child takes commands."""

    event: Literal["hello"] = "hello"


class StageEvent(BaseModel):
    """Rows done in a stage; `total` is null if unknown."""

    event: Literal["progress"] = "progress"
    stage: str
    done: int
    total: int | None


class TextEvent(BaseModel):
    """A text for somebody who waits."""

    event: Literal["note"] = "note"
    text: str


class TargetEvent(BaseModel):
    """Where the rows will go. The child waits until the service has saved it, and answers."""

    event: Literal["target"] = "target"
    table_schema: str
    table: str
    exists: bool
    sheet: str
    sha256: str


class OwnedEvent(BaseModel):
    """Asks which tables the service created by now, and whether another run may be creating this one."""

    event: Literal["owned"] = "owned"
    table_schema: str
    table: str


class DoneEvent(BaseModel):
    """The command was done; `answer` is the model that the command's function returned."""

    event: Literal["done"] = "done"
    answer: dict[str, Any]


class LoadAnswer(BaseModel):
    """What a load did; `oid` is that of the table, if the run created it."""

    report: dict[str, Any]
    message: str
    oid: int | None = None


class ErrorEvent(BaseModel):
    """The command failed; a load that got as far as a report sends it, too."""

    event: Literal["error"] = "error"
    error: ChildError
    load: LoadAnswer | None = None


class ForgetAnswer(BaseModel):
    """Ids of the runs that were forgotten."""

    forgotten: list[str]


class ContractsAnswer(BaseModel):
    """The contracts that were read."""

    contracts: list[ReadContract]


class Nothing(BaseModel):
    """An answer without content."""


class Saved(BaseModel):
    """Answer to `TargetEvent`."""


class OwnedAnswer(BaseModel):
    """Answer to `OwnedEvent`."""

    owned: list[OwnedTable]
    pending: bool


LastEvent = DoneEvent | ErrorEvent
Event = ReadyEvent | HelloEvent | StageEvent | TextEvent | TargetEvent | OwnedEvent | LastEvent
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
