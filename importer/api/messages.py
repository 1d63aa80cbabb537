"""Puts messages into the words of a caller from Python: parameters in place of options of the command line."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from importer.errors import BudgetExceeded, ImporterError
from importer.report.notes import note_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from importer.report.model import Report

#: A command for the shell, which stays as it is.
_COMMAND = re.compile(r"(`[^`]*`|\bimporter [a-z]+ [^;]*)")
#: An option, and a value behind it: quoted, a number or a range, a word in capitals, `NAME=TYPE`, a range of cells, or
#: one of few words.
_OPTION = re.compile(
    r"--(?P<name>[a-z]+(?:-[a-z]+)*)"
    r"(?:[ =](?P<value>'[^']*'|[\w$]+=(?:[\w(),]+|'[^']*')|[A-Z]{1,3}\d*:[A-Z]{1,3}\d*|[A-Z][A-Z,…%|]*(?![a-z])|"
    r"\d[\d,%-]*|add-columns|ignore-extra|append|create|replace|upsert|reject|first|last|null|text|ask|keep|skip|error|"
    r"include|builtin|calamine|batch|dmy|mdy|ymd|point|comma)(?![\w(]))?"
)


def in_python(text: str, parameters: Mapping[str, bool]) -> str:
    """Return a message in which options of the command line are parameters: `header_row=3` for `--header-row 3`.

    Args:
        text: the message.
        parameters: parameter -> whether it is either True or False; other options stay as they are.
    """

    def parameter(match: re.Match[str]) -> str:
        name, value = match["name"].replace("-", "_"), match["value"]
        if name not in parameters:
            return match[0]
        if parameters[name]:
            return f"{name}=True" + match[0].removeprefix(f"--{match['name']}")
        return name if value is None else f"{name}={_literal(value)}"

    parts = _COMMAND.split(text)
    return "".join(part if n % 2 else _OPTION.sub(parameter, part) for n, part in enumerate(parts))


def _literal(value: str) -> str:
    if value.isdecimal() or value.startswith("'"):
        return value
    plain = value.replace("'", "")  # what the shell takes from `price='numeric(12,2)'`
    return f'"{plain}"'


@contextlib.contextmanager
def python_words(parameters: Mapping[str, bool]) -> Iterator[None]:
    """Put the errors that the block raises into the words of a caller from Python."""
    try:
        yield
    except ImporterError as exc:
        exc.fact = in_python(exc.fact, parameters)
        exc.choice = None if exc.choice is None else in_python(exc.choice, parameters)
        exc.args = (exc.fact,)
        if isinstance(exc, BudgetExceeded) and exc.report is not None:
            exc.report = python_report(exc.report, parameters)  # type: ignore[arg-type]
        raise


def python_report(report: Report, parameters: Mapping[str, bool]) -> Report:
    """Return a report whose notes are in the words of a caller from Python."""
    return replace(report, notes=tuple(in_python(note_text(note), parameters) for note in report.notes))
