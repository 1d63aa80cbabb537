"""Writes cells of every kind into a workbook: exact numbers, texts that never become formulas, bad cells marked."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Self

from importer.excel.addresses import MAX_CHARACTERS
from importer.reading.header import REJECT_COLUMNS

if TYPE_CHECKING:
    from importer.reading.header import SheetColumn

ROW_COLUMN, ERRORS_COLUMN = REJECT_COLUMNS
_MAX_SHEET_NAME_LENGTH = 31


class WrittenNumber(float):
    """A number that xlsxwriter writes with all its digits; its own format has 16, but floats need 17.

    Attributes:
        digits: the digits of a number that a float does not hold, else None.
        pattern: code of the number format that shows it, or None for General.
    """

    digits: str | None
    pattern: str | None

    def __new__(cls, number: float, digits: str | None = None, pattern: str | None = None) -> Self:
        """Return a number with its digits and its pattern."""
        written = super().__new__(cls, number)
        written.digits, written.pattern = digits, pattern
        return written

    def __format__(self, spec: str) -> str:
        return self.digits or repr(float(self))


class CellWriter:
    """Writes the cells of one workbook, with the formats of their kinds.

    Texts are always written as strings, so none can become a formula. An error cell stays one. A formula that was
    never calculated becomes `#N/A` with the formula in a comment: its references would mean other cells here.

    Args:
        book: workbook of xlsxwriter.
    """

    def __init__(self, book: Any) -> None:
        self._book, self._formats = book, _formats(book)

    @property
    def header_format(self) -> Any:
        """The format of a header cell."""
        return self._formats["header"]

    def write(self, sheet: Any, line: int, place: int, cell: tuple[str, Any] | None, *, bad: bool) -> None:
        """Write a cell given as (kind, value), or an empty one; a bad cell is marked."""
        kind: str
        value: Any
        kind, value = cell or ("empty", None)
        form = self._formats[f"bad {kind}" if bad else kind] if bad or kind in _NUM_FORMATS else None
        match kind:
            case "empty":
                if bad:
                    sheet.write_blank(line, place, None, form)
            case "number":
                sheet.write_number(line, place, value, self._shown_by(value.pattern, bad) if value.pattern else form)
            case "boolean":
                sheet.write_boolean(line, place, value, form)
            case "datetime" | "time" | "duration" if _is_finer(value):
                self._text(sheet, line, place, _iso_text(value), form)
            case "datetime":
                self._write_datetime(sheet, line, place, value, form, bad)
            case "time" | "duration":
                days = _clock(value) if kind == "time" else _duration_serial(value)
                sheet.write_number(line, place, WrittenNumber(days), form)
            case "error":
                self._write_error(sheet, line, place, str(value), form)
            case "formula":
                sheet.write_formula(line, place, "=NA()", form, "#N/A")
                sheet.write_comment(line, place, f"never calculated: {value}"[:1000])
            case _:
                self._text(sheet, line, place, str(value), form)

    def _shown_by(self, pattern: str, bad: bool) -> Any:
        """Return the format that shows a number by a pattern, as in the original."""
        name = f"{'bad ' if bad else ''}pattern {pattern}"
        if name not in self._formats:
            self._formats[name] = self._book.add_format((_BAD_CELL_FORMAT if bad else {}) | {"num_format": pattern})
        return self._formats[name]

    def _write_datetime(self, sheet: Any, line: int, place: int, value: datetime, form: Any, bad: bool) -> None:
        if value.time() != time.min:
            form = self._formats["bad stamp" if bad else "stamp"]
        sheet.write_number(line, place, WrittenNumber(_datetime_serial(value)), form)

    def _write_error(self, sheet: Any, line: int, place: int, value: str, form: Any) -> None:
        if value in _ERROR_LITERALS:
            sheet.write_formula(line, place, f"={value}", form, value)
        else:
            sheet.write_formula(line, place, "=NA()", form, "#N/A")
            sheet.write_comment(line, place, f"was {value}"[:1000])

    def _text(self, sheet: Any, line: int, place: int, text: str, form: Any) -> None:
        if len(text) > MAX_CHARACTERS:
            # If it were cut, it would load as another text once the row's other cells are fixed.
            self._write_error(
                sheet, line, place, f"a text of {len(text):,} characters, more than a cell can hold: {text}", form
            )
        else:
            sheet.write_string(line, place, text, form)


def _is_finer(value: datetime | time | timedelta) -> bool:
    """Return whether a value has microseconds, which a serial number loses when it is read again."""
    return (value.microseconds if isinstance(value, timedelta) else value.microsecond) % 1000 != 0


def _iso_text(value: datetime | time | timedelta) -> str:
    if not isinstance(value, timedelta):
        return value.isoformat()
    seconds, micro = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    return f"{'-' if value < timedelta() else ''}PT{seconds}.{micro:06}S"


def _clock(value: time) -> float:
    hours, minutes = timedelta(hours=value.hour), timedelta(minutes=value.minute)
    return _duration_serial(hours + minutes + timedelta(seconds=value.second, microseconds=value.microsecond))


def _duration_serial(length: timedelta) -> float:
    return length / timedelta(days=1)


def _datetime_serial(stamp: datetime) -> float:
    """Return Excel's serial number of a stamp; xlsxwriter would turn 1900-01-01 into a time of day."""
    days = (stamp - datetime(1899, 12, 31)) / timedelta(days=1)  # noqa: DTZ001 - a sheet knows no zones
    return days + (stamp >= datetime(1900, 3, 1))  # noqa: DTZ001


_NUM_FORMATS = {"datetime": "yyyy-mm-dd", "time": "hh:mm:ss.000", "duration": "[h]:mm:ss.000"}
_ERROR_LITERALS = {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}


#: The format of a bad cell: Excel's own `Bad` style.
_BAD_CELL_FORMAT = {"bg_color": "#FFC7CE", "font_color": "#9C0006"}


def _formats(book: Any) -> dict[str, Any]:
    """Return cell formats by kind, and each in the colours of a bad cell under `bad KIND`."""
    shown = _NUM_FORMATS | {"stamp": "yyyy-mm-dd hh:mm:ss.000"}
    made = {kind: book.add_format({"num_format": code}) for kind, code in shown.items()}
    made["header"] = book.add_format({"bold": True, "bottom": 1})
    for kind in ("empty", "number", "text", "boolean", "instant", "error", "formula", "unreadable", *shown):
        made[f"bad {kind}"] = book.add_format(_BAD_CELL_FORMAT | ({"num_format": shown[kind]} if kind in shown else {}))
    return made


def unique_titles(columns: list[SheetColumn]) -> list[str]:
    """Return unique titles: the header texts, or the column's name where a text is blank or repeated."""
    headers = [c.header for c in columns]
    reserved = {ROW_COLUMN, ERRORS_COLUMN}
    titles = {n: h for n, h in enumerate(headers) if h and headers.count(h) == 1 and h not in reserved}
    taken = reserved | set(titles.values())
    for n, column in enumerate(columns):
        if n not in titles:
            titles[n] = _free(column.name, taken)
            taken.add(titles[n])
    return [titles[n] for n in range(len(columns))]


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def sheet_name(name: str, number: int) -> str:
    """Return a sheet name that Excel accepts: the original's, followed by a number from the second sheet on."""
    suffix = f" ({number + 1})" if number else ""
    clean = re.sub(r"[\[\]:*?/\\]", "_", name).strip("'")[: _MAX_SHEET_NAME_LENGTH - len(suffix)].rstrip("'")
    return f"{clean or 'Rejects'}{suffix}"
