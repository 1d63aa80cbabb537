"""Compares every cell of a sheet with what a second reader, python-calamine, reads."""

from __future__ import annotations

import contextlib
import math
import re
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from importer.errors import CellsDisagree, LimitExceeded, WorkbookRefused
from importer.excel.addresses import column_letters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from .model import OtherCell, OtherRow

#: Most cells of the rectangle around all cells: the second reader holds them all, the empty ones, too.
_MOST_CELLS = 40_000_000
#: What follows the last row.
_NO_ROW: tuple[int, list[Any]] = (1 << 62, [])
_DAY_ZERO, _ZERO_1904 = (datetime.fromisoformat(day) for day in ("1899-12-30", "1904-01-01"))
#: Dates are compared to the millisecond, in days.
_MILLISECOND = 1 / 86_400_000
_DURATION = re.compile(
    r"(-?)P(?:([0-9]{1,6})D)?T(?:([0-9]{1,8})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,12}(?:[.,][0-9]{1,9})?)S)?"
)
_STAMP = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)?)Z")
_CHOICE = "open it in the program that made it and save it as .xlsx"

_NO_REASON = "a part or a value of it is not as its format says, or its cells lie too far from each other"


def _joined(text: str) -> str:
    """Return a text without tabs and line breaks: calamine drops those that OpenDocument writes as elements."""
    return text.replace("\t", "").replace("\n", "").replace("\r", "")


def _duration_days(text: str) -> float | None:
    """Return an ISO duration, which calamine gives as its text, in days."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes = (int(found[n] or 0) for n in (2, 3, 4))
    seconds = float((found[5] or "0").replace(",", "."))
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds) / timedelta(days=1)
    return -length if found[1] else length


class SecondReader:
    """The rows of a sheet as python-calamine reads them; a context manager.

    Args:
        path: the workbook.
        sheet: name of the sheet.
        epoch_1904: whether days count from 1904.

    Attributes:
        compared: number of cells that both read alike.
        ignored: number of cells that this reader cannot give.

    Raises:
        WorkbookRefused: it cannot read the workbook.
    """

    def __init__(self, path: Path, sheet: str, *, epoch_1904: bool) -> None:
        import python_calamine

        self._zero = _ZERO_1904 if epoch_1904 else _DAY_ZERO
        self._name = sheet
        self._place = path.name
        self.compared = self.ignored = 0
        self._file: BinaryIO = path.open("rb")
        try:
            self._sheet = self._load(python_calamine, sheet)
            self._check_size(path)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def _load(self, library: Any, sheet: str) -> Any:
        with self._refusals():
            return library.CalamineWorkbook.from_filelike(self._file).get_sheet_by_name(sheet)

    def _rows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield the number and the values of each of its rows; last, one that follows all."""
        with self._refusals():
            yield from enumerate(self._sheet.iter_rows(), 1)
        while True:
            yield _NO_ROW

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn what calamine raises into a refusal: on some damaged files it panics, which is no Exception."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
            raise
        except BaseException as exc:  # noqa: BLE001 - a panic, or one of its many errors
            raise self._refusal(exc) from None

    def _check_size(self, path: Path) -> None:
        """Refuse a sheet whose cells lie far from each other."""
        if self._sheet.total_height * self._sheet.total_width > _MOST_CELLS:
            rows, columns = self._sheet.total_height, self._sheet.total_width
            raise LimitExceeded(
                f"the sheet's cells spread over {rows:,} rows x {columns:,} columns",
                place=f"{path.name}, sheet {self._name!r}",
                choice="delete the cells far from the others, or save it as .xlsx",
            )

    def _refusal(self, exc: BaseException) -> WorkbookRefused:
        # Of an .ods it only says that it knows no such format, whatever it cannot read in it.
        reason = _NO_REASON if "detect file format" in str(exc) else str(exc)
        return WorkbookRefused(
            f"the second reader (calamine) cannot read the workbook: {reason}", place=self._place, choice=_CHOICE
        )

    def check(self, rows: Iterator[OtherRow]) -> Iterator[OtherRow]:
        """Yield the rows, each compared.

        Raises:
            CellsDisagree: the readers differ.
        """
        # Their rows begin with the first one of the sheet, but at the first column that has a cell.
        offset = (self._sheet.start or (0, 0))[1]
        theirs = self._rows()
        number, their = next(theirs)
        for row in rows:
            while number < row.number:
                self._check_empty(number, their, offset)
                number, their = next(theirs)
            if number == row.number:
                self._compare(row, their, offset)
                number, their = next(theirs)
            else:
                self._compare(row, [], offset)
            yield row
        while number < _NO_ROW[0]:
            self._check_empty(number, their, offset)
            number, their = next(theirs)

    def _check_empty(self, number: int, their: list[Any], offset: int) -> None:
        for column, value in enumerate(their, offset):
            if value != "":
                raise self._disagree(number, column, "an empty cell", value)

    def _compare(self, row: OtherRow, their: list[Any], offset: int) -> None:
        """Compare a row; `offset` is the column of their first cell."""
        end = offset + len(their)
        at = offset
        for cell in row.cells:
            column = cell.column
            while at < min(column, end):
                if their[at - offset] != "":
                    raise self._disagree(row.number, at, "an empty cell", their[at - offset])
                at += 1
            value = their[column - offset] if offset <= column < end else ""
            if not self._same(cell, value):
                raise self._disagree(row.number, column, repr(cell.value), value)
            at = column + 1
        self._check_empty(row.number, their[max(at - offset, 0) :], max(at, offset))

    def _same(self, cell: OtherCell, value: Any) -> bool:
        """Return whether a value of calamine's is that of a cell; it has no errors and formulas: '', a text, or 0."""
        kind = cell.kind
        if kind == "n" and type(value) is float:  # most cells
            self.compared += 1
            return value == self._days(cell)
        if kind in {"e", "f"}:
            self.ignored += 1
            return value in ("", 0) or (kind == "e" and isinstance(value, str))
        self.compared += 1
        if kind == "s":
            return isinstance(value, str) and (value == cell.value or _joined(value) == _joined(cell.value))
        if kind == "b":  # LibreOffice writes the results of formulas as 0 and 1, and how they are shown
            return isinstance(value, bool | float) and value == (cell.value == "1")
        if isinstance(value, bool) or value == "":
            return False
        if kind == "n" and isinstance(value, int | float):
            return float(value) == self._days(cell)
        ours, theirs = self._days(cell), self._days_of(value)
        if ours is None:  # no date without a zone, whatever it is: its text
            return isinstance(value, str) and value.strip() == cell.value
        return theirs is not None and math.isclose(ours, theirs, abs_tol=_MILLISECOND, rel_tol=0)

    def _days(self, cell: OtherCell) -> float | None:
        """Return a cell's date, time or number as a serial; None if it is none."""
        try:
            if cell.kind == "n":
                return float(cell.value)
            is_time = ":" in cell.value[:3]
            return self._days_of((time if is_time else datetime).fromisoformat(cell.value))
        except (ValueError, TypeError):  # a zone, too, makes it none
            return None

    def _days_of(self, value: Any) -> float | None:
        """Return a date or time of calamine's as a serial."""
        if isinstance(value, datetime):
            return (value - self._zero) / timedelta(days=1)
        if isinstance(value, str):
            return self._days_of_text(value)
        if isinstance(value, date):
            return float((value - self._zero.date()).days)
        if isinstance(value, time):
            return timedelta(
                hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
            ) / timedelta(days=1)
        return value / timedelta(days=1) if isinstance(value, timedelta) else None

    def _days_of_text(self, text: str) -> float | None:
        """Return a duration, or a date with a `Z`, as a serial."""
        found = _STAMP.fullmatch(text)
        try:
            return _duration_days(text) if found is None else self._days_of(datetime.fromisoformat(found[1]))
        except ValueError:
            return None

    def _disagree(self, row: int, column: int, ours: str, theirs: Any) -> CellsDisagree:
        read = "an empty cell" if theirs == "" else repr(theirs)
        return CellsDisagree(
            f"two readers read {ours} and {read}",
            place=f"{self._place}, {self._name}!{column_letters(column)}{row}", choice=_CHOICE,
        )  # fmt: skip
