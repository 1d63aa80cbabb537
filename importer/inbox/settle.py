"""Settles a workbook whose imports have ended: decides where it belongs, moves it, and describes its imports."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from importer.runtime.output_file import identify_before, write_file

from .move import free_name, move_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.batch.report import ImportReport

    from .arrivals import Arrival

Place = Literal["done", "failed", "inbox"]
#: Exit code of what may pass: database, machine.
_MAY_PASS = 4
#: So often a workbook may end the process of its import, or be refused by the machine, before it counts as failed.
_MOST_TRIES = 3
_ERROR_SUFFIX = ".error.json"


@dataclass(frozen=True)
class Folders:
    """The folders of an inbox: where workbooks arrive, and where they go."""

    inbox: Path
    done: Path
    failed: Path


def place_for(reports: Sequence[ImportReport], tries: int) -> Place:
    """Return where a workbook belongs after its imports.

    Rejected rows within the budget do not make it failed. What may pass (the database, the machine) and what was
    stopped leaves it in the inbox; but a workbook at which the process died `tries` times counts as failed.
    """
    codes = {r.exit_code for r in reports if r.error is not None}
    if any(r.exit_code is None or r.outcome == "interrupted" for r in reports):
        return "inbox"
    if _MAY_PASS in codes:
        kinds = {r.error["type"] for r in reports if r.error is not None and r.exit_code == _MAY_PASS}
        return "failed" if kinds == {"MachineError"} and tries >= _MOST_TRIES else "inbox"
    return "failed" if codes else "done"


def settle(arrival: Arrival, reports: Sequence[ImportReport], folders: Folders, place: Place) -> list[dict[str, Any]]:
    """Move a workbook to its place, and return an entry for each of its imports: a dict that JSON can hold.

    An entry is the report, as `importer run --json` prints it, with `moved_to` (None: it is where it was), `error_file`
    and `time`. Beside a failed workbook is a file with the same.

    Raises:
        OSError: the workbook cannot be moved; it is in the inbox, and its next try knows what was imported.
    """
    entries = [_to_dict(report) for report in reports]
    if place == "inbox":
        return entries
    if place == "done":
        moved = move_file(arrival.path, arrival.identity, folders.done / arrival.path.name)
        return [entry | {"moved_to": None if moved is None else str(moved)} for entry in entries]
    target = free_name(arrival.path, folders.failed / arrival.path.name)
    entries = [_with_rejects(entry, target.parent) for entry in entries]
    # Before the workbook is moved: a failed one without a reason would be of no use.
    written = write_file(target.with_name(target.name + _ERROR_SUFFIX), _json(entries).encode())
    moved = move_file(arrival.path, arrival.identity, target)
    if moved != target:
        written.unlink()
    if moved is None:
        return entries
    if moved != target:
        written = write_file(moved.with_name(moved.name + _ERROR_SUFFIX), _json(entries).encode())
    return [entry | {"moved_to": str(moved), "error_file": str(written)} for entry in entries]


def _to_dict(report: ImportReport) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": now, **report.to_dict(), "moved_to": None, "error_file": None}


def _with_rejects(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the entry of an import; if it is over the budget, with its rejects in the folder of failed workbooks."""
    rejects = entry.get("rejects") or {}
    old = rejects.get("file")
    known = identify_before(Path(old)) if old and entry["outcome"] == "over-budget" else None
    moved = move_file(Path(old), known, folder / Path(old).name) if old and known else None
    if old is None or moved is None:
        return entry
    command = rejects.get("command")
    renamed = command.replace(shlex.quote(old), shlex.quote(str(moved))) if command else command
    return entry | {"rejects": {**rejects, "file": str(moved), "command": renamed}}


def _json(entries: list[dict[str, Any]]) -> str:
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"
