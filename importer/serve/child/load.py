"""Executes the commands of a child that read a workbook: load (or check) it, inspect it."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer import pipeline
from importer.contract.loader import load_contract, parse_contract
from importer.contract.model import dump_contract
from importer.errors import ContractError, ImporterError
from importer.plan.target import find_target
from importer.postgres.session import Session
from importer.postgres.sql import quote
from importer.runtime.progress import Clock
from importer.runtime.retry import Retry
from importer.serve.jobs.commands import SENT_SUFFIX
from importer.settings import Dsn, Limits, Settings, make_settings
from importer.stages.read import open_source

from .inspect import inspect, worker_options
from .mapping import apply_mapping
from .redaction import message, plain, report_dict
from .table_policy import OwnedTable, TablePolicy, oid_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.contract.model import Contract
    from importer.plan.target import Target
    from importer.report.model import Report

    from .channel import Channel

#: Minimum seconds between two progress events.
_PROGRESS_SECONDS = 0.2


class ChannelProgress:
    """Progress that is sent to the service.

    Args:
        talk: channel to the service.
    """

    def __init__(self, talk: Channel) -> None:
        self._talk = talk
        self._stage, self._done, self._total = "", 0, None
        self._last_sent = 0.0

    def stage(self, name: str) -> None:
        """Begin a stage."""
        self._stage, self._done, self._total = name, 0, None
        self._tell()

    def expect(self, rows: int) -> None:
        """Set the number of rows that the stage is expected to handle."""
        self._total = rows  # type: ignore[assignment]
        self._tell()

    def advance(self, rows: int) -> None:
        """Add to the number of rows done in the stage."""
        self._done += rows
        if time.monotonic() - self._last_sent >= _PROGRESS_SECONDS:
            self._tell()

    def say(self, text: str) -> None:
        """Send a note, in one line, for a user who is waiting."""
        self._talk.tell("note", text=plain(text))

    def _tell(self) -> None:
        self._last_sent = time.monotonic()
        self._talk.tell("progress", stage=self._stage, done=self._done, total=self._total)


# ---- LOAD -------------------------------------------------------------------------------------------------------


def load(command: dict[str, Any], talk: Channel) -> dict[str, Any]:
    """Import or check a workbook; return `report`, `message`, and the `oid` of the table if the run created it."""
    options: dict[str, Any] = dict(command["options"])
    path, limits = Path(command["workbook"]), Limits(**command["limits"], rows=command["rows"])
    contract_path = Path(options.pop("contract")) if options.get("contract") else None
    policy = TablePolicy(tuple(command["patterns"]), frozenset(OwnedTable(*owned) for owned in command["owned"]))
    dsn, mapping = Dsn(command["dsn"]), options.pop("mapping", None)
    if mapping and not command.get("inspected"):
        command["inspected"] = inspect({**command, "options": _reading(options)}, talk)
    contract = _contract(contract_path) if contract_path else None
    told = {"sheet": options.get("sheet"), "table": options.pop("table", None)}
    settings = Settings(workbook=path, limits=limits, **told)
    workbook, sheet = open_source(settings, Clock())
    with _connect(dsn, command["retry_for"]) as session:
        target = find_target(session, settings, contract, sheet, workbook.origin)
        policy.check(session, target, table_lookup(talk), sha256=workbook.sha256, begun=command.get("begun") or ())
        policy.check_references(session, contract)
        if mapping:
            contract_path, options["columns"] = _mapped(mapping, command, contract, target)
    talk.ask("target", schema=target.schema, table=target.name, exists=target.table is not None, sheet=sheet.name,
             sha256=workbook.sha256)  # fmt: skip
    settings = make_settings(
        path, to=dsn.text, table=quote(target.schema, target.name), contract=contract_path, limits=limits,
        temp_dir=command["scratch"], rejects=command["rejects"], bad_cells=command["bad_cells"],
        retry_for=command["retry_for"], timeout=command["seconds"], **worker_options(command), **options,
    )  # fmt: skip
    hooks = pipeline.Hooks(before_publish=_publish_check(dsn, policy, target, talk))
    report = pipeline.run(settings, ChannelProgress(talk), dry_run=command["dry_run"], hooks=hooks)
    oid = None
    # A run that died after publishing finds the table that it created itself.
    ours = target.table is None or command.get("begun") == [target.schema, target.name]
    if ours and report.outcome in {"published", "already-imported"}:
        with Session(dsn) as session:
            oid = oid_of(session, target.schema, target.name)
    return {**report_event(report, command), "oid": oid}


def report_event(report: Report, command: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an event that hold a report."""
    return {"report": report_dict(report, command.get("hidden", ())), "message": message(report)}


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


def _reading(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("sheet", "header_row", "keep_names", "hidden") if name in options}


@contextlib.contextmanager
def _connect(dsn: Dsn, retry_for: float) -> Iterator[Session]:
    """Open a session; on errors that may pass, try again for `retry_for` seconds."""
    patience = Retry(retry_for)
    while True:
        try:
            session = Session(dsn)
            break
        except ImporterError as exc:
            patience.wait_or_raise(exc)
    with session:
        yield session


def table_lookup(talk: Channel) -> Any:
    """Return a function that asks the service for its tables, and whether another run may be creating this one."""

    def ask(schema: str, name: str) -> tuple[frozenset[OwnedTable], bool]:
        answer = talk.ask("owned", schema=schema, table=name)
        return frozenset(OwnedTable(*owned) for owned in answer["owned"]), answer["pending"]

    return ask


def _publish_check(dsn: Dsn, policy: TablePolicy, target: Target, talk: Channel) -> Any:
    """Return a function that checks the target again before publishing, or None where that is not needed.

    Somebody else may have created a table of that name in the meantime; our own is not yet visible to other sessions.
    """
    if policy.patterns or target.table is not None:
        return None

    def look() -> None:
        with Session(dsn) as session:
            policy.check(session, target, table_lookup(talk))

    return look


def _mapped(
    mapping: dict[str, str], command: dict[str, Any], contract: Contract | None, target: Target
) -> tuple[Path | None, list[str] | None]:
    """Return the contract file and the columns that express a mapping."""
    inspected = command["inspected"]
    suggested = parse_contract(inspected["contract"])
    mapped = apply_mapping(mapping, inspected["columns"], suggested, contract, target.table)
    path = Path(command["contract_file"]) if contract is not None else None
    if mapped.contract is not None:
        path = Path(command["contract_file"])
        path.write_text(json.dumps(dump_contract(mapped.contract)), encoding="utf-8")
    return path, mapped.columns


# ---- INSPECT ----------------------------------------------------------------------------------------------------
