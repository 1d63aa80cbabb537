"""Owns the work of a child on a workbook: load (or check) it, inspect it."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import import_workbook
from ..clock import Clock
from ..contract import dump_contract
from ..descriptor import load_contract, parse_contract
from ..errors import ContractError, ImporterError
from ..headers import normalise
from ..inspecting import inspect_workbook
from ..origin import original_stem
from ..patience import Patience
from ..postgres import Session, quote
from ..reading import open_source
from ..settings import Dsn, Limits, Settings
from ..target import find_target
from .badcells import write_bad_cells
from .commands import SENT
from .mapping import apply_mapping
from .outward import LimitPassed, message, plain, report_words
from .policy import Owned, Policy, oid_of
from .questions import contracts, forget_run, ping, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..contract import Contract
    from ..report import Report
    from ..target import Target
    from ..workbook import Workbook
    from .child import Talk

#: Seconds between two lines about progress.
_PAUSE = 0.2
#: Texts of cells that an inspection shows.
_LONGEST_CELL, _LONGEST_HEADER = 200, 1_000


class Watch:
    """Progress that is told to the service, and the limit on rows that is looked at meanwhile.

    Args:
        talk: with the service.
        rows: more than that are refused; None: any number.
        publishing: called before rows become visible; what it raises ends the run.
    """

    def __init__(self, talk: Talk, rows: int | None = None, publishing: Any = None) -> None:
        self._talk, self._limit, self._publishing = talk, rows, publishing
        self._stage, self._done, self._total = "", 0, None
        self._last = 0.0

    def stage(self, name: str) -> None:
        """A stage begins."""
        if name == "publish" and self._publishing is not None:
            self._publishing()
        self._stage, self._done, self._total = name, 0, None
        self._tell()

    def expect(self, rows: int) -> None:
        """The stage will handle about that many rows."""
        self._total = rows  # type: ignore[assignment]
        self._tell()

    def advance(self, rows: int) -> None:
        """That many more rows are done."""
        self._done += rows
        if self._limit is not None and self._done > self._limit:
            raise LimitPassed(f"the sheet has more than {self._limit:,} rows", choice="split it")
        if time.monotonic() - self._last >= _PAUSE:
            self._tell()

    def say(self, text: str) -> None:
        """Something that a user who waits wants to know, in a line."""
        self._talk.tell("note", text=plain(text))

    def _tell(self) -> None:
        self._last = time.monotonic()
        self._talk.tell("progress", stage=self._stage, done=self._done, total=self._total)


# ---- LOAD -------------------------------------------------------------------------------------------------------


def load(command: dict[str, Any], talk: Talk) -> dict[str, Any]:
    """Import a workbook, or try to; the answer holds `report`, `message`, and the `oid` of a table made for it."""
    options: dict[str, Any] = dict(command["options"])
    path, limits = Path(command["workbook"]), Limits(**command["limits"])
    contract_path = Path(options.pop("contract")) if options.get("contract") else None
    policy = Policy(tuple(command["patterns"]), frozenset(Owned(*owned) for owned in command["owned"]))
    dsn, mapping = Dsn(command["dsn"]), options.pop("mapping", None)
    if mapping and not command.get("inspected"):
        command["inspected"] = inspect({**command, "options": _reading(options)}, talk)
    contract = _contract(contract_path) if contract_path else None
    told = {"sheet": options.get("sheet"), "table": options.pop("table", None)}
    settings = Settings(workbook=path, limits=limits, **told)
    workbook, sheet = open_source(settings, Clock())
    with _connected(dsn, command["retry_for"]) as session:
        target = find_target(session, settings, contract, sheet, workbook.origin)
        policy.check(session, target, asking(talk), sha256=workbook.sha256, begun=command.get("begun") or ())
        policy.check_references(session, contract)
        if mapping:
            contract_path, options["columns"] = _mapped(mapping, command, contract, target)
    talk.ask("target", schema=target.schema, table=target.name, exists=target.table is not None, sheet=sheet.name,
             sha256=workbook.sha256)  # fmt: skip
    report = import_workbook(
        path, to=dsn.text, table=quote(target.schema, target.name), contract=contract_path, limits=limits,
        progress=Watch(talk, command["rows"], _guarding(dsn, policy, target, talk)), dry_run=command["dry_run"],
        temp_dir=command["scratch"], rejects=command["rejects"], retry_for=command["retry_for"],
        timeout=command["seconds"], **_workers(command), **options,
    )  # fmt: skip
    oid = None
    # A run that died behind its publishing finds the table that it made.
    ours = target.table is None or command.get("begun") == [target.schema, target.name]
    if ours and report.outcome in {"published", "already-imported"}:
        with Session(dsn) as session:
            oid = oid_of(session, target.schema, target.name)
    return {**report_event(report, command), "oid": oid}


def report_event(report: Report, command: dict[str, Any]) -> dict[str, Any]:
    """A report as an answer; the bad cells are written beside the rejects."""
    path = Path(command["rejects"])
    if report.error_count and path.is_file():
        write_bad_cells(path, path.with_name("bad_cells.json"), report.error_count)
    return {"report": report_words(report, command.get("hidden", ())), "message": message(report)}


def _contract(path: Path) -> Contract:
    """The contract of a run.

    Raises:
        ContractError: see `load_contract`; or it holds what only somebody with bad intentions sends.
    """
    if SENT in path.suffixes and path.suffix in {".yaml", ".yml"}:
        _refuse_aliases(path)
    contract = load_contract(path)
    try:
        json.dumps(dump_contract(contract), ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise ContractError("the contract holds a text that is not Unicode", place=path.name) from None
    return contract


def _refuse_aliases(path: Path) -> None:
    """A few lines with aliases of aliases are a list without end."""
    import yaml

    with contextlib.suppress(yaml.YAMLError, OSError, UnicodeDecodeError):  # told when it is loaded
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(path.read_text(encoding="utf-8-sig"))):
            raise ContractError("a contract that is sent has no aliases", place=path.name, choice="write them out")


def _workers(command: dict[str, Any]) -> dict[str, Any]:
    return {} if command["workers"] is None else {"workers": command["workers"]}


def _reading(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("sheet", "header_row", "keep_names", "hidden") if name in options}


@contextlib.contextmanager
def _connected(dsn: Dsn, retry_for: float) -> Iterator[Session]:
    """A session; trouble that may pass is waited for."""
    patience = Patience(retry_for)
    while True:
        try:
            session = Session(dsn)
            break
        except ImporterError as exc:
            patience.bear(exc)
    with session:
        yield session


def asking(talk: Talk) -> Any:
    """What asks the service for the tables that it created, and whether another run may be creating that one."""

    def ask(schema: str, name: str) -> tuple[frozenset[Owned], bool]:
        answer = talk.ask("owned", schema=schema, table=name)
        return frozenset(Owned(*owned) for owned in answer["owned"]), answer["pending"]

    return ask


def _guarding(dsn: Dsn, policy: Policy, target: Target, talk: Talk) -> Any:
    """What looks once more before publishing: meanwhile somebody else may have made a table of that name.

    Our own is not visible to another session yet.
    """
    if policy.patterns or target.table is not None:
        return None

    def look() -> None:
        with Session(dsn) as session:
            policy.check(session, target, asking(talk))

    return look


def _mapped(
    mapping: dict[str, str], command: dict[str, Any], contract: Contract | None, target: Target
) -> tuple[Path | None, list[str] | None]:
    """The contract file and the columns that say what a mapping says."""
    inspected = command["inspected"]
    suggested = parse_contract(inspected["contract"])
    mapped = apply_mapping(mapping, inspected["columns"], suggested, contract, target.table)
    path = Path(command["contract_file"]) if contract is not None else None
    if mapped.contract is not None:
        path = Path(command["contract_file"])
        path.write_text(json.dumps(dump_contract(mapped.contract)), encoding="utf-8")
    return path, mapped.columns


# ---- INSPECT ----------------------------------------------------------------------------------------------------


def inspect(command: dict[str, Any], talk: Talk) -> dict[str, Any]:  # noqa: ARG001 - all operations are called alike
    """What a workbook holds, and the contract that it suggests."""
    path = Path(command["workbook"])
    found = inspect_workbook(
        path, limits=Limits(**command["limits"]), temp_dir=command["scratch"], **_workers(command), **command["options"]
    )
    shown = found.to_dict()
    if shown["rows"]["data"] > command["rows"]:
        raise LimitPassed(f"the sheet has more than {command['rows']:,} rows", choice="split it")
    shown["workbook"].pop("path")
    for row in shown["sample"]:
        row["cells"] = {letter: text[:_LONGEST_CELL] for letter, text in row["cells"].items()}
    for problem in shown["problems"]:
        problem["raw"] = problem["raw"][:_LONGEST_CELL]
    for column in shown["columns"]:
        column["header"] = None if column["header"] is None else column["header"][:_LONGEST_HEADER]
    shown["notes"] = [plain(note, command.get("hidden", ())) for note in shown["notes"]]
    shown["contract"] = dump_contract(found.contract)
    shown["suggested_table"] = normalise(original_stem(path.stem)) or "workbook"
    shown["origin"] = _origin(found.source.workbook)
    return shown


def _origin(workbook: Workbook) -> dict[str, str] | None:
    origin = workbook.origin
    return {"workbook": origin.workbook, "table": f"{origin.schema}.{origin.table}"} if origin else None


OPERATIONS: dict[str, Any] = {
    "load": load, "inspect": inspect, "tables": tables, "ping": ping, "forget": forget_run, "contracts": contracts,
}  # fmt: skip
