"""Reads workbooks of Excel 5 to 2003 (.xls) with xlrd: cells, number formats, hidden rows and columns, merges."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import IO, TYPE_CHECKING, Any

from importer.errors import ImporterError, WorkbookRefused
from importer.excel.addresses import column_letters

from .model import OtherCell, OtherRow, OtherSheet, Surroundings
from .number_text import number_text
from .xls_formulas import find_uncalculated
from .xls_records import SheetRecords, find_repeated, walk_sheet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

_VISIBILITY = ("visible", "hidden", "veryHidden")
_RESAVE = "open it in Excel or LibreOffice and save it as .xlsx"
#: xlrd's types of cells.
_EMPTY, _TEXT, _NUMBER, _DATE, _BOOLEAN, _ERROR = range(6)
_BIFF8 = 80
#: The type of a stream in the directory of an OLE document.
_STREAM = 2
#: The value of a formula without a result: how it was written is not decoded.
_FORMULA = "?"


class XlsBook:
    """A workbook of Excel 5 to 2003.

    Attributes:
        sheets: its worksheets.
        formats: number formats that its cells use, General first.
        epoch_1904: whether days count from 1904.
        reader: what reads it.

    Raises:
        WorkbookRefused: it is encrypted, damaged or hostile.
    """

    reader = "xlrd"

    def __init__(self, path: Path) -> None:
        import xlrd

        self._path = path
        self._xlrd = xlrd
        self.formats = ["General"]
        self._styles: dict[int, int] = {}
        with self._refusals(), open(os.devnull, "w", encoding="utf-8") as log:  # noqa: PTH123 - a device
            _refuse_endless_streams(path, log)
            self._book: Any = xlrd.open_workbook(
                str(path), logfile=log, formatting_info=True, on_demand=True, ragged_rows=True
            )
            states = list(self._book._sheet_visibility)  # noqa: SLF001 - its own list, with no other way to it
            names = self._book.sheet_names()
            self.epoch_1904 = self._book.datemode == 1
            #: Whether the texts are in a code page that the workbook does not name: both readers take them for Latin-1.
            self._codes_unsaid = self._book.biff_version < _BIFF8 and self._book.codepage is None
        self.sheets = [
            OtherSheet(name, "worksheet", _VISIBILITY[state] if state in range(3) else "visible")
            for name, state in zip(names, states, strict=False)
        ]
        if not self.sheets:
            raise WorkbookRefused("the workbook has no worksheet", place=path.name, choice=_RESAVE)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn what xlrd raises on a damaged file into a refusal: it checks little, so that is any exception."""
        try:
            yield
        except (ImporterError, MemoryError):
            raise
        except UnicodeDecodeError as exc:
            if exc.reason != "unexpected end of data":
                raise self._damaged(exc) from None
            fact = "a character beyond U+FFFF, such as an emoji, lies in two records, and the readers do not join it"
            raise WorkbookRefused(fact, place=self._path.name, choice=_RESAVE) from None
        except Exception as exc:  # noqa: BLE001 - struct.error, AssertionError, IndexError… depending on the damage
            if "encrypted" in str(exc).lower() or "password" in str(exc).lower():
                raise WorkbookRefused(
                    "the workbook is encrypted", place=self._path.name,
                    choice="save it without a password, or as .xlsx if it has none: protecting an .xls encrypts it",
                ) from None  # fmt: skip
            raise self._damaged(exc) from None

    def _damaged(self, exc: Exception) -> WorkbookRefused:
        return WorkbookRefused(
            f"the workbook is damaged or cut short ({str(exc) or type(exc).__name__})", place=self._path.name,
            choice=f"copy it again, or {_RESAVE}",
        )  # fmt: skip

    def rows(self, index: int, beside: Surroundings) -> Iterator[OtherRow]:
        """Yield the rows of a sheet that have cells, in order; fill in what is beside them.

        Raises:
            WorkbookRefused: the sheet is damaged, or a cell is written more than once, of which xlrd reads the last.
        """
        with self._refusals(), open(os.devnull, "w", encoding="utf-8") as log:  # noqa: PTH123 - a device
            self._book.logfile = log
            sheet = self._book.sheet_by_index(index)
            start = self._book._sh_abs_posn[index]  # noqa: SLF001 - where its records begin
            records = walk_sheet(self._book.mem, start)
            waiting = self._uncalculated(records)
        beside.hidden_columns += [(c, c) for c, info in sorted(sheet.colinfo_map.items()) if info.hidden]
        beside.merges += [
            f"{column_letters(left)}{top + 1}:{column_letters(right - 1)}{bottom}"
            for top, bottom, left, right in sheet.merged_cells
        ]
        count = 0
        for number in range(sheet.nrows):
            with self._refusals():
                cells = self._cells(sheet, number, waiting.get(number, ()))
            if cells:
                count += len(cells)
                if self._codes_unsaid:
                    self._check_ascii(number, cells)
                info = sheet.rowinfo_map.get(number)
                yield OtherRow(number + 1, bool(info is not None and info.hidden), cells)

        if count != records.cells:
            raise self._miscounted(count, records.cells, start)

    def _check_ascii(self, row: int, cells: list[OtherCell]) -> None:
        for cell in cells:
            if not cell.value.isascii():
                raise WorkbookRefused(
                    f"the workbook does not say in which code page its texts are, such as {cell.value[:40]!r}",
                    place=f"{self._path.name}, cell {column_letters(cell.column)}{row + 1}", choice=_RESAVE,
                )  # fmt: skip

    def _miscounted(self, read: int, written: int, start: int) -> WorkbookRefused:
        repeated = find_repeated(self._book.mem, start)
        fact = f"the sheet has {written:,} cells, of which {read:,} were read"
        if repeated is not None:
            fact = f"cell {column_letters(repeated[1])}{repeated[0] + 1} is written more than once"
        return WorkbookRefused(fact, place=self._path.name, choice=_RESAVE)

    def _uncalculated(self, records: SheetRecords) -> dict[int, set[int]]:
        """Return the columns of the formulas of a sheet that were never calculated, by row."""
        found: dict[int, set[int]] = {}
        for row, column in find_uncalculated(self._book.mem, records, self._book.biff_version):
            found.setdefault(row, set()).add(column)
        return found

    def _cells(self, sheet: Any, row: int, waiting: Collection[int]) -> list[OtherCell]:
        found = []
        # Its objects for cells take as long to make as all the rest here.
        styles = sheet._cell_xf_indexes[row]  # noqa: SLF001 - no other way to those of a row
        for column, (kind, value) in enumerate(zip(sheet.row_types(row), sheet.row_values(row), strict=True)):
            if column in waiting and kind != _EMPTY:
                found.append(OtherCell(column, "f", _FORMULA))
            elif kind in {_NUMBER, _DATE}:
                found.append(OtherCell(column, "n", number_text(value), self._style(styles[column])))
            elif kind == _TEXT:
                found.append(OtherCell(column, "s", value))
            elif kind == _BOOLEAN:
                found.append(OtherCell(column, "b", "1" if value else "0"))
            elif kind == _ERROR:
                text = self._xlrd.error_text_from_code.get(value, f"error {value}")
                found.append(OtherCell(column, "e", text))
        return found

    def _style(self, xf: int) -> int:
        """Return the index of the number format of a cell format."""
        found = self._styles.get(xf)
        if found is None:
            code = self._book.format_map[self._book.xf_list[xf].format_key].format_str
            if code not in self.formats:
                self.formats.append(code)
            found = self._styles[xf] = self.formats.index(code)
        return found


def _refuse_endless_streams(path: Path, log: IO[str]) -> None:
    """Refuse a small stream whose sectors form a circle: xlrd looks for circles only in the large ones ([MS-CFB] 2.4).

    Raises:
        WorkbookRefused: there is one.
    """
    from xlrd.compdoc import CompDoc

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        container = CompDoc(content, logfile=log)
    most = container.min_size_std_stream
    starts = [each.first_SID for each in container.dirlist if each.etype == _STREAM and each.tot_size < most]
    if has_circle(container.SSAT, starts):
        raise WorkbookRefused(
            "the workbook is damaged: the sectors of a stream form a circle", place=path.name,
            choice=f"copy it again, or {_RESAVE}",
        )  # fmt: skip


def has_circle(following: Sequence[int], starts: Iterable[int]) -> bool:
    """Return whether sectors form a circle; each is looked at once, however many streams go through it.

    Args:
        following: number of the sector that follows each; negative after the last one of a stream.
        starts: first sectors of the streams.
    """
    seen: dict[int, int] = {}
    for stream, start in enumerate(starts):
        sector = start
        while 0 <= sector < len(following) and sector not in seen:
            seen[sector] = stream
            sector = following[sector]
        if seen.get(sector) == stream:
            return True
    return False
