"""Inspects a workbook for the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.contract.model import dump_contract
from importer.errors import LimitPassed
from importer.excel.rejects_origin import original_stem
from importer.inspection import inspect_workbook
from importer.reading.header import to_identifier
from importer.settings import Limits

from .redaction import plain

if TYPE_CHECKING:
    from importer.excel.workbook import Workbook

    from .channel import Channel

#: Maximum characters of a cell and of a header that an inspection shows.
_MAX_CELL_CHARS, _MAX_HEADER_CHARS = 200, 1_000


def worker_options(command: dict[str, Any]) -> dict[str, Any]:
    """Return the number of workers as a keyword, where the command says one."""
    return {} if command["workers"] is None else {"workers": command["workers"]}


def inspect(command: dict[str, Any], talk: Channel) -> dict[str, Any]:  # noqa: ARG001 - all operations share a signature
    """Return what a workbook contains, and the contract and table name that it suggests."""
    path = Path(command["workbook"])
    found = inspect_workbook(
        path,
        limits=Limits(**command["limits"]),
        temp_dir=command["scratch"],
        **worker_options(command),
        **command["options"],
    )
    shown = found.to_dict()
    if shown["rows"]["data"] > command["rows"]:
        raise LimitPassed(f"the sheet has more than {command['rows']:,} rows", choice="split it")
    shown["workbook"].pop("path")
    for row in shown["sample"]:
        row["cells"] = {letter: text[:_MAX_CELL_CHARS] for letter, text in row["cells"].items()}
    for problem in shown["problems"]:
        problem["raw"] = problem["raw"][:_MAX_CELL_CHARS]
    for column in shown["columns"]:
        column["header"] = None if column["header"] is None else column["header"][:_MAX_HEADER_CHARS]
    shown["notes"] = [plain(note, command.get("hidden", ())) for note in shown["notes"]]
    shown["contract"] = dump_contract(found.contract)
    shown["suggested_table"] = to_identifier(original_stem(path.stem)) or "workbook"
    shown["origin"] = _origin(found.source.workbook)
    return shown


def _origin(workbook: Workbook) -> dict[str, str] | None:
    origin = workbook.origin
    return {"workbook": origin.workbook, "table": f"{origin.schema}.{origin.table}"} if origin else None
