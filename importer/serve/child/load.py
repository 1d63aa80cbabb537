"""Executes the commands of a child that read a workbook: load (or check) it, inspect it."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer import pipeline
from importer.contract.excel_options import excel_keywords, with_excel
from importer.contract.loader import load_contract, parse_contract
from importer.contract.model import dump_contract
from importer.errors import ContractError, ImporterError
from importer.plan.target import find_target
from importer.postgres.session import Session
from importer.postgres.sql import quote
from importer.runtime.progress import Clock
from importer.runtime.retry import Retry
from importer.serve.jobs.commands import SENT_SUFFIX
from importer.serve.models.child import OwnedAnswer, OwnedEvent, OwnedTable, Saved, StageEvent, TargetEvent, TextEvent
from importer.settings import Dsn, Limits, Settings, make_settings
from importer.stages.read import open_source

from .inspect import inspect_sheet, worker_options
from .mapping import MappingOptions, apply_mapping
from .redaction import load_answer, redact
from .table_policy import TablePolicy, oid_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.contract.model import Contract
    from importer.plan.target import Target
    from importer.report.model import Report
    from importer.serve.models.child import LoadAnswer, LoadCommand
    from importer.serve.models.workbook import InspectedSheet

    from .channel import Channel

#: Minimum seconds between two progress events.
_PROGRESS_SECONDS = 0.2


class ChannelProgress:
    """Progress that is sent to the service.

    Args:
        channel: channel to the service.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stage, self._done = "", 0
        self._total: int | None = None
        self._last_sent = 0.0

    def stage(self, name: str) -> None:
        """Begin a stage."""
        self._stage, self._done, self._total = name, 0, None
        self._send()

    def expect(self, rows: int) -> None:
        """Set the number of rows that the stage is expected to handle."""
        self._total = rows
        self._send()

    def advance(self, rows: int) -> None:
        """Add to the number of rows done in the stage."""
        self._done += rows
        if time.monotonic() - self._last_sent >= _PROGRESS_SECONDS:
            self._send()

    def say(self, text: str) -> None:
        """Send a note, in one line, for a user who is waiting."""
        self._channel.send(TextEvent(text=redact(text)))

    def _send(self) -> None:
        self._last_sent = time.monotonic()
        self._channel.send(StageEvent(stage=self._stage, done=self._done, total=self._total))


# ---- LOAD -------------------------------------------------------------------------------------------------------


def load(command: LoadCommand, channel: Channel) -> LoadAnswer:
    """Import or check a workbook; the answer has the `oid` of the table if the run created it."""
    policy = TablePolicy(command.patterns, frozenset(command.owned), command.ledger)
    contract = _contract(Path(command.options["contract"])) if command.options.get("contract") else None
    inspected = _inspect_for_mapping(command, contract)
    target, options = _find_allowed_target(command, channel, policy, contract, inspected)
    settings = make_settings(
        command.workbook, to=command.dsn, table=quote(target.schema, target.name), limits=_limits(command),
        temp_dir=command.scratch, rejects=command.rejects, bad_cells=command.bad_cells,
        retry_for=command.retry_for, timeout=command.seconds, **worker_options(command), **options,
    )  # fmt: skip
    dsn = Dsn(command.dsn)
    hooks = pipeline.Hooks(before_publish=_publish_check(dsn, policy, target, channel))
    report = pipeline.run(settings, ChannelProgress(channel), dry_run=command.dry_run, hooks=hooks)
    # A run that died after publishing finds the table that it created itself.
    ours = target.table is None or command.begun == [target.schema, target.name]
    return load_answer(report, command.hidden, _created_oid(dsn, target, report) if ours else None)


def _limits(command: LoadCommand) -> Limits:
    return Limits(**command.limits.model_dump(), rows=command.rows)


def _inspect_for_mapping(command: LoadCommand, contract: Contract | None) -> InspectedSheet | None:
    """Return what a mapping needs to know of the sheet; None without a mapping."""
    if not command.options.get("mapping"):
        return None
    excel = excel_keywords(contract.excel) if contract else {}
    return command.inspected or inspect_sheet(command, excel | _reading_options(command.options))


def _find_allowed_target(
    command: LoadCommand, channel: Channel, policy: TablePolicy, contract: Contract | None,
    inspected: InspectedSheet | None,
) -> tuple[Target, dict[str, Any]]:  # fmt: skip
    """Find the table to load into, refuse one that is not allowed, and wait until the service has saved its name.

    Returns:
        The target, and the options of the load but for the table, with the mapping turned into columns and contract.
    """
    given = {name: command.options[name] for name in ("table", "sheet", *_TEXT) if name in command.options}
    settings = Settings(
        workbook=Path(command.workbook), limits=_limits(command), temp_dir=Path(command.scratch), **given
    )
    settings = with_excel(settings, contract.excel) if contract else settings
    workbook, sheet = open_source(settings, Clock())
    with _connect(Dsn(command.dsn), command.retry_for) as session:
        target = find_target(session, settings, contract, sheet, workbook.origin)
        policy.check(session, target, table_lookup(channel), sha256=workbook.sha256, begun=command.begun or ())
        policy.check_references(session, contract)
        options = _load_options(command, contract, target, inspected)
    exists = target.table is not None
    event = TargetEvent(
        table_schema=target.schema, table=target.name, exists=exists, sheet=sheet.name, sha256=workbook.sha256
    )
    channel.ask(event, Saved)
    return target, options


def _load_options(
    command: LoadCommand, contract: Contract | None, target: Target, inspected: InspectedSheet | None
) -> dict[str, Any]:
    """Return the options of the load but for the table; a mapping becomes columns and a contract."""
    options = {name: value for name, value in command.options.items() if name not in {"table", "mapping", "contract"}}
    path = Path(command.options["contract"]) if contract else None
    if inspected is not None:
        mapped = _apply_mapping(command.options["mapping"], inspected, contract, target)
        options["columns"] = mapped.columns
        path = _write_mapped(command, path, mapped)
        if mapped.contract is not None and contract is None and target.table is None:
            # The inspection put them into the contract, under the columns' new names.
            options = {name: value for name, value in options.items() if name not in {"types", "parse_texts"}}
    return {**options, "contract": path}


def _created_oid(dsn: Dsn, target: Target, report: Report) -> int | None:
    if report.outcome not in {"published", "already-imported"}:
        return None
    with Session(dsn) as session:
        return oid_of(session, target.schema, target.name)


def _contract(path: Path) -> Contract:
    """Load the contract of a run.

    Raises:
        ContractError: see `load_contract`; or a contract that was sent has YAML aliases, or text that is not Unicode.
    """
    if SENT_SUFFIX in path.suffixes and path.suffix in {".yaml", ".yml"}:
        _refuse_aliases(path)
    contract = load_contract(path)
    try:
        json.dumps(dump_contract(contract), ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise ContractError("the contract holds a text that is not Unicode", place=path.name) from None
    return contract


def _refuse_aliases(path: Path) -> None:
    """Refuse YAML with aliases: a few lines with aliases of aliases can expand to an endless list."""
    import yaml

    with contextlib.suppress(yaml.YAMLError, OSError, UnicodeDecodeError):  # reported when it is loaded
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(path.read_text(encoding="utf-8-sig"))):
            raise ContractError("a contract that is sent may have no aliases", place=path.name, choice="write them out")


#: Options that say how a text file is written.
_TEXT = ("encoding", "delimiter")
#: Options of a load that an inspection has, too.
_READING = (
    "sheet", "range", "excel_table", "merged", "header_row", "rows", "last_row", "until_blank", "footer", "keep_names",
    "hidden", "engine", "types", "null", "mixed", "parse_texts", "date_order", "decimal", "encoding", "delimiter",
)  # fmt: skip


def _reading_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in _READING if name in options}


@contextlib.contextmanager
def _connect(dsn: Dsn, retry_for: float) -> Iterator[Session]:
    """Open a session; on errors that may pass, try again for `retry_for` seconds."""
    retry = Retry(retry_for)
    while True:
        try:
            session = Session(dsn)
            break
        except ImporterError as exc:
            retry.wait_or_raise(exc)
    with session:
        yield session


def table_lookup(channel: Channel) -> Any:
    """Return a function that asks the service for its tables, and whether another run may be creating this one."""

    def ask(schema: str, name: str) -> tuple[frozenset[OwnedTable], bool]:
        answer = channel.ask(OwnedEvent(table_schema=schema, table=name), OwnedAnswer)
        return frozenset(answer.owned), answer.pending

    return ask


def _publish_check(dsn: Dsn, policy: TablePolicy, target: Target, channel: Channel) -> Any:
    """Return a function that checks the target again before publishing, or None where that is not needed.

    Somebody else may have created a table of that name in the meantime; our own is not yet visible to other sessions.
    """
    if policy.patterns or target.table is not None:
        return None

    def look() -> None:
        with Session(dsn) as session:
            policy.check(session, target, table_lookup(channel))

    return look


def _apply_mapping(
    mapping: dict[str, str], inspected: InspectedSheet, contract: Contract | None, target: Target
) -> MappingOptions:
    return apply_mapping(mapping, inspected.columns, parse_contract(inspected.contract), contract, target.table)


def _write_mapped(command: LoadCommand, given: Path | None, mapped: MappingOptions) -> Path | None:
    """Return the file of the contract that expresses a mapping, or that of the run where none is needed for it."""
    if mapped.contract is None:
        return given
    path = Path(command.contract_file)
    path.write_text(json.dumps(dump_contract(mapped.contract)), encoding="utf-8")
    return path
