"""Reads the value of an OpenDocument cell: from its attributes, and from its paragraphs if it is a text."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importer.conversion.model import CellKind

#: Number formats of the cells; `ELAPSED` is the index of durations.
FORMATS = ("General", "[h]:mm:ss.000")
ELAPSED = 1
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_COUNT = re.compile(r"\s*([0-9]{1,9})\s*")
_DURATION = re.compile(
    r"(-?)P(?:([0-9]{1,9})D)?T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,12})(?:[.,]([0-9]+))?S)?"
)
#: A `Z`, which SheetJS writes after all of them, changes nothing in LibreOffice either; with offsets they are instants.
_STAMP = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]+))?)?Z?")
#: What spreadsheets show for the result of a formula that is an error.
_ERROR = re.compile(r"#(?:DIV/0!|N/A|NAME\?|NULL!|NUM!|REF!|VALUE!)|Err:[0-9]{3}")
#: What LibreOffice shows for the results of comparisons, which it writes as the numbers 1 and 0 where the cell has no
#: format, as are the booleans of an .xlsx file that it saves as .ods.
_TRUE = frozenset({
    "TRUE", "WAHR", "VRAI", "VERO", "VERDADERO", "VERDADEIRO", "WAAR", "PRAWDA", "PRAVDA", "IGAZ", "SANT", "SAND",
    "SANN", "TOSI", "DOĞRU", "ИСТИНА",
})  # fmt: skip
_FALSE = frozenset({
    "FALSE", "FALSCH", "FAUX", "FALSO", "ONWAAR", "FAŁSZ", "NEPRAVDA", "HAMIS", "FALSKT", "FALSK", "USANN", "EPÄTOSI",
    "YANLIŞ", "ЛОЖЬ",
})  # fmt: skip
_DAY = 86_400_000
#: Most spaces of all `<text:s>`: a number of some bytes may stand for any number of them.
MOST_SPACES, _MOST_DIGITS = 10_000_000, 10


class CellText:
    """The paragraphs of one cell, without its notes and drawings.

    Attributes:
        depth: number of elements that are open below the cell.
        spaces: number of spaces of all cells that are written as a number; beyond `MOST_SPACES` they are left out.
    """

    def __init__(self) -> None:
        self.depth = self.spaces = 0
        self._pieces: list[str] = []
        self._paragraphs = 0
        #: Depth at which something begins that is no text of the cell; 0: nothing did.
        self._skipped = 0
        #: Depth of the open paragraph; 0: none is open.
        self._open = 0

    def clear(self) -> None:
        """Begin a cell."""
        self.depth = self._paragraphs = self._skipped = self._open = 0
        self._pieces.clear()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Begin an element below the cell."""
        self.depth += 1
        if self._skipped:
            return
        if tag == "text:p" and not self._open:
            self._open = self.depth
            if self._paragraphs:
                self._pieces.append("\n")
            self._paragraphs += 1
        elif not self._open or not tag.startswith("text:") or tag in {"text:note", "text:ruby-text"}:
            self._skipped = self.depth
        elif tag == "text:s":
            count = attributes.get("text:c", "1")
            number = int(count) if count.isdecimal() and len(count) < _MOST_DIGITS else MOST_SPACES + 1
            self.spaces += number
            self._pieces.append(" " * number if self.spaces <= MOST_SPACES else "")
        elif tag in {"text:tab", "text:line-break"}:
            self._pieces.append("\t" if tag == "text:tab" else "\n")

    def end(self, _tag: str) -> None:
        """End an element below the cell."""
        if self.depth == self._skipped:
            self._skipped = 0
        elif self.depth == self._open:
            self._open = 0
        self.depth -= 1

    def add(self, data: str) -> None:
        """Add characters."""
        if self._open and not self._skipped:
            self._pieces.append(data)

    def text(self) -> str | None:
        """Return the text of the cell; None if it has no paragraph, not even an empty one."""
        return "".join(self._pieces) if self._paragraphs else None


def count_of(attributes: dict[str, str], name: str) -> int:
    """Return how often something is repeated, or how many cells it spans; 1 if that is not said."""
    found = _COUNT.fullmatch(attributes.get(name, "1"))
    return max(int(found[1]), 1) if found else 1


def read_value(attributes: dict[str, str], shown: str | None, *, elapsed: bool) -> tuple[CellKind, str, int] | None:
    """Return kind, value and format of a cell; None if it is empty.

    Args:
        attributes: attributes of the cell.
        shown: its paragraphs; None without any.
        elapsed: whether its style shows hours beyond 24.
    """
    kind, formula, text = attributes.get("office:value-type", ""), attributes.get("table:formula"), shown or ""
    # LibreOffice says itself which results are errors; other programs only show them.
    said = attributes.get("calcext:value-type")
    if said == "error" or (said is None and formula is not None and _ERROR.fullmatch(text)):
        return "e", text or "#VALUE!", 0
    match kind:
        case "float" | "percentage" | "currency":
            return _number(attributes.get("office:value", "").strip(), formula, text)
        case "boolean":
            return "b", "1" if attributes.get("office:boolean-value", "").strip() == "true" else "0", 0
        case "date":
            return _stamp(attributes.get("office:date-value", "").strip())
        case "time":
            return _time(attributes.get("office:time-value", "").strip(), elapsed=elapsed)
        case "string":
            value = attributes.get("office:string-value", text)
            return ("s", value, 0) if value or formula is not None else None
    if formula is not None and shown is None:
        return "f", formula, 0
    return ("s", text, 0) if text or formula is not None else None


def _number(value: str, formula: str | None, text: str) -> tuple[CellKind, str, int]:
    """Return a number, or a boolean that is the result of a formula."""
    if formula is not None and not value:
        return "f", formula, 0
    if formula is not None and value in {"0", "1"} and text in (_TRUE if value == "1" else _FALSE):
        return "b", value, 0
    return "n", value.removeprefix("+") if _NUMBER.fullmatch(value) else value or "?", 0


def _milliseconds(fraction: str | None) -> int:
    """Return the fraction of a second in milliseconds, rounded as spreadsheets show it."""
    return round(int((fraction or "0")[:9].ljust(9, "0")) / 1_000_000)


def _stamp(text: str) -> tuple[CellKind, str, int]:
    """Return a date, with its time of day unless that is midnight, to the millisecond; else the text as it is."""
    found = _STAMP.fullmatch(text)
    try:
        day = date.fromisoformat(found[1] if found else "")
        clock = time.fromisoformat(found[2]) if found and found[2] else time()
        stamp = datetime.combine(day, clock) + timedelta(milliseconds=_milliseconds(found[3] if found else None))
    except (ValueError, OverflowError):
        return "d", text or "?", 0
    return "d", stamp.isoformat(timespec="milliseconds" if stamp.microsecond else "seconds"), 0


def _time(text: str, *, elapsed: bool) -> tuple[CellKind, str, int]:
    """Return a time of day, or a duration as a number of days."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return "d", text or "?", 0
    days, hours, minutes, seconds = (int(found[n] or 0) for n in range(2, 6))
    total = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + _milliseconds(found[6])
    if found[1] or elapsed or total >= _DAY:
        return "n", repr((-total if found[1] else total) / _DAY), ELAPSED
    clock = (datetime.combine(date.min, time()) + timedelta(milliseconds=total)).time()
    return "d", clock.isoformat(timespec="milliseconds" if clock.microsecond else "seconds"), 0
