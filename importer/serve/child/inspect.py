"""Inspects a workbook for the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.contract.model import dump_contract
from importer.errors import LimitExceeded
from importer.excel.rejects_origin import original_stem
from importer.inspection import inspect_workbook
from importer.serve.models.workbook import InspectAnswer, OriginInfo
from importer.settings import Limits
from importer.table.labels import to_identifier

from .redaction import redact

if TYPE_CHECKING:
    from importer.excel.workbook import Workbook
    from importer.serve.models.child import InspectCommand, WorkbookCommand

    from .channel import Channel

#: Maximum characters of a cell and of a header that an inspection shows.
_MAX_CELL_CHARS, _MAX_HEADER_CHARS = 200, 1_000


def worker_options(command: WorkbookCommand) -> dict[str, Any]:
    """Return the number of workers as a keyword, where the command says one."""
    return {} if command.workers is None else {"workers": command.workers}


def inspect(command: InspectCommand, _channel: Channel) -> InspectAnswer:
    """Return what a workbook contains, and the contract and table name that it suggests."""
    options = dict(command.options)
    if "null" in options:
        options["null"] = options["null"].split(",")
    return inspect_sheet(command, options)


def inspect_sheet(command: WorkbookCommand, options: dict[str, Any]) -> InspectAnswer:
    """Return what a sheet contains.

    Args:
        command: names the workbook and its limits.
        options: keywords of `inspect_workbook`.

    Raises:
        ImporterError: the workbook cannot be read, or has too many rows.
    """
    path = Path(command.workbook)
    found = inspect_workbook(
        path,
        limits=Limits(**command.limits.model_dump()),
        temp_dir=command.scratch,
        **worker_options(command),
        **options,
    )
    shown = found.to_dict()
    if shown["rows"]["data"] > command.rows:
        raise LimitExceeded(f"the sheet has more than {command.rows:,} rows", choice="split it")
    _cut_texts(shown)
    suggested = {
        "contract": dump_contract(found.contract),
        "suggested_table": to_identifier(original_stem(path.stem)) or "workbook",
        "origin": _origin(found.source.workbook),
        "notes": [redact(note, command.hidden) for note in shown["notes"]],
    }
    # The model takes what callers may see, and ignores the rest, such as the path.
    return InspectAnswer.model_validate(shown | suggested)


def _cut_texts(shown: dict[str, Any]) -> None:
    """Cut the texts of cells and headers in an inspection to what is shown."""
    for row in (*shown["sample"], *shown["last_rows"]):
        row["cells"] = {letter: text[:_MAX_CELL_CHARS] for letter, text in row["cells"].items()}
    for problem in shown["problems"]:
        problem["raw"] = problem["raw"][:_MAX_CELL_CHARS]
    for column in shown["columns"]:
        column["header"] = None if column["header"] is None else column["header"][:_MAX_HEADER_CHARS]
        column["first_value"] = None if column["first_value"] is None else column["first_value"][:_MAX_CELL_CHARS]


def _origin(workbook: Workbook) -> OriginInfo | None:
    origin = workbook.origin
    return OriginInfo(workbook=origin.workbook, table=f"{origin.schema}.{origin.table}") if origin else None
