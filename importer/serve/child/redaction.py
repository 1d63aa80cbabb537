"""Redacts errors and reports for callers: removes paths, connection strings and values that the server quoted.

Texts that name options of the command line are rewritten with the option names of the HTTP interface.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from importer.errors import (
    BudgetExceeded,
    Conflict,
    ConnectionFailed,
    DatabaseError,
    ImporterError,
    InputError,
    Interrupted,
    MachineError,
    TargetRefused,
    TimedOut,
    UsageError,
)
from importer.report.notes import note_text
from importer.serve.models.child import LoadAnswer
from importer.serve.models.error import ChildError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.report.model import Report

#: Maximum characters of a text in an answer; a header or a note can be as long as a cell.
_MAX_TEXT_CHARS = 1_000
_MAX_NOTES = 50
#: SQLSTATE prefixes of errors whose message may hold values: data exceptions quote them, triggers can raise any text.
_SQLSTATES_WITH_VALUES = ("22", "P0", "XX")
#: Options that only the operator of the service has.
_SERVER_OPTIONS = ("allow-tables",)
#: What a refused row's reason quotes of such an error.
_MESSAGE_WITH_VALUES = re.compile(r"refused by the database: .*(\(SQLSTATE (?:22|P0|XX).*)", re.DOTALL)
_CLI_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*[a-z])\b")


class NotAllowed(ImporterError):
    """Callers may not load into this table, or refer to it."""

    exit_code = 3


#: HTTP status by class of error, subclasses before their base classes.
_STATUSES: tuple[tuple[type[ImporterError], int], ...] = (
    (NotAllowed, 403),
    (UsageError, 400),
    (BudgetExceeded, 422),
    (InputError, 422),
    (TimedOut, 422),
    (TargetRefused, 422),
    (ConnectionFailed, 503),
    (Conflict, 503),
    (Interrupted, 503),
    (MachineError, 500),
)


def http_status(error: ImporterError) -> int:
    """Return the HTTP status for an error."""
    if isinstance(error, DatabaseError) and type(error) is DatabaseError:
        # Caused by the server if another attempt may succeed, else by the data.
        return 500 if error.resumable else 422
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def describe_error(error: ImporterError, hidden: Sequence[str] = ()) -> ChildError:
    """Return an error as callers may see it.

    Args:
        error: error that ended the work.
        hidden: paths that callers must not see.
    """
    fact, place, choice = error.fact, error.place, error.choice
    if isinstance(error, ConnectionFailed):
        fact, place, choice = "the database cannot be reached", None, "try again later"
    elif isinstance(error, DatabaseError):
        place = None
        if error.sqlstate and error.sqlstate.startswith(_SQLSTATES_WITH_VALUES):
            fact = f"PostgreSQL refused the rows (SQLSTATE {error.sqlstate})"
    elif isinstance(error, MachineError):
        place, choice = None, "try again later"
    elif isinstance(error, TimedOut):
        choice = "send a smaller workbook"
    return ChildError(
        error=redact(fact, hidden), type=type(error).__name__,
        place=None if place is None else redact(place, hidden),
        choice=None if choice is None else redact(choice, hidden),
        status=http_status(error), resumable=error.resumable,
    )  # fmt: skip


def redact(text: str, hidden: Sequence[str] = ()) -> str:
    """Return a text in one line, without the hidden paths, and with options named as in the HTTP interface."""
    for path in sorted(hidden, key=len, reverse=True):
        text = text.replace(f"{path}/", "").replace(path, "the service")
    text = text.replace("--again", "again=true")
    text = _CLI_OPTION.sub(lambda found: found[0] if found[1] in _SERVER_OPTIONS else found[1].replace("-", "_"), text)
    return " ".join(text.split())[:_MAX_TEXT_CHARS]


def load_answer(report: Report, hidden: Sequence[str], oid: int | None = None) -> LoadAnswer:
    """Return what a load did, as callers may see it; oid: that of the table, if the run created it."""
    return LoadAnswer(report=_report_dict(report, hidden), message=_message(report), oid=oid)


def _report_dict(report: Report, hidden: Sequence[str]) -> dict[str, Any]:
    """Return a report as a dict: that of `--json`, without paths and commands."""
    shown = report.to_dict()
    shown["workbook"] = {k: v for k, v in shown["workbook"].items() if k != "path"}
    shown["rejects"] = {k: shown["rejects"][k] for k in ("rows", "by_rule", "reasons")}
    for group in shown["rejects"]["reasons"]:
        group["reason"] = redact(_MESSAGE_WITH_VALUES.sub(r"refused by the database \1", group["reason"]), hidden)
    for column in shown["columns"]:
        column["header"] = None if column["header"] is None else column["header"][:_MAX_TEXT_CHARS]
    notes = [note if isinstance(note, str) else note.without("file") for note in report.notes[:_MAX_NOTES]]
    shown["notes"] = [redact(note_text(note), hidden) for note in notes]
    return shown


def _message(report: Report) -> str:
    """Return what a run did, in one line."""
    target = f"{report.target['schema']}.{report.target['table']}"
    if report.outcome == "already-imported":
        return f"nothing to do for {target}: the workbook was imported already"
    verbs = {"published": "loaded into", "checked": "would load into", "over-budget": "NOT loaded into"}
    left_out = report.rows.get("superseded", 0)
    loaded = report.success_count - left_out
    return (
        f"{loaded:,} of {report.total_records:,} rows {verbs[report.outcome]} {target}, {report.error_count:,} rejected"
        + (f", {left_out:,} left out" if left_out else "")
    )
