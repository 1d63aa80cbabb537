"""Reads binary workbooks (.xlsb): the records of their parts, streamed. Source: [MS-XLSB] 2.4."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from importer.errors import LimitExceeded, WorkbookRefused
from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS, column_letters
from importer.excel.package import Package
from importer.excel.workbook import find_related, read_relations
from importer.number_formats.builtin import CODES

from . import biff12
from .biff12 import read_records, rk_number, wide_string
from .model import CellKind, OtherCell, OtherRow, OtherSheet, Surroundings
from .number_text import number_text
from .xls_formulas import BIFF12, Formula, SharedFormulas, judge_results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from importer.settings import Limits

_MAIN = "xl/workbook.bin"
_VISIBILITY = ("visible", "hidden", "veryHidden")
_KINDS = {"xlMacrosheet": "macrosheet", "xlIntlMacrosheet": "macrosheet"}
#: Error values by their codes ([MS-XLSB] 2.5.97.2).
_ERRORS = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}  # fmt: skip
_RESAVE = "open it in Excel and save it as .xlsx"
_U32X2, _U32, _DOUBLE, _COLUMNS, _MERGE = map(struct.Struct, ("<II", "<I", "<d", "<IIIIH", "<IIII"))
#: The byte of a row's flags, and its bit for a hidden one.
_ROW_FLAGS, _ROW_HIDDEN = 11, 0x10
#: Most bytes of the tokens of a formula that are looked at.
_MOST_TOKENS = 0xFFFF
_DAMAGE = (struct.error, IndexError, UnicodeDecodeError)


class XlsbBook:
    """A binary workbook.

    Attributes:
        sheets: its sheets.
        formats: number formats by cell format; at least General.
        epoch_1904: whether days count from 1904.
        reader: what reads it.

    Raises:
        WorkbookRefused: it is damaged or hostile.
    """

    reader = "importer's own reader of binary workbooks"

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self.sheets: list[OtherSheet] = []
        self._parts: list[str] = []
        self.epoch_1904 = False
        with Package(path, limits) as package:
            try:
                self._read_book(package)
                self.formats = self._read_formats(package)
            except _DAMAGE as exc:
                raise self._damaged(exc) from None
        if not self.sheets:
            raise WorkbookRefused("the workbook has no worksheet", place=path.name, choice=_RESAVE)

    def _read_book(self, package: Package) -> None:
        relations = read_relations(package, _MAIN)
        self._strings = find_related(package, relations, "sharedStrings")
        self._styles = find_related(package, relations, "styles")
        for kind, content in read_records(package, _MAIN):
            if kind == biff12.BOOK_PROPERTIES:
                self.epoch_1904 = bool(content[0] & 1)
            elif kind == biff12.SHEET:
                state, _ = _U32X2.unpack_from(content, 0)
                relation, at = wide_string(content, 8)
                name, _ = wide_string(content, at)
                word, part = relations.get(relation, ("missing", ""))
                if part not in package:
                    raise self._refused(f"sheet {name!r} has no part in the file")
                visibility = _VISIBILITY[state] if state in range(3) else "visible"
                self.sheets.append(OtherSheet(name, _KINDS.get(word, word), visibility))
                self._parts.append(part)

    def _read_formats(self, package: Package) -> list[str]:
        """Return the number format of each cell format."""
        if self._styles is None:
            return ["General"]
        codes, used, inside = dict(CODES), list[int](), False
        for kind, content in read_records(package, self._styles):
            if kind == biff12.FORMAT:
                codes[int.from_bytes(content[:2], "little")] = wide_string(content, 2)[0]
            elif kind in {biff12.BEGIN_CELL_FORMATS, biff12.END_CELL_FORMATS}:
                inside = kind == biff12.BEGIN_CELL_FORMATS
            elif kind == biff12.CELL_FORMAT and inside:
                used.append(int.from_bytes(content[2:4], "little"))
        return [codes.get(number, "General") for number in used] or ["General"]

    def rows(self, index: int, beside: Surroundings) -> Iterator[OtherRow]:
        """Yield the rows of a sheet that have cells, in order; fill in what is beside them.

        Raises:
            LimitExceeded: a cell lies beyond the last row or column.
            WorkbookRefused: the sheet is damaged.
        """
        with Package(self._path, self._limits) as package:
            try:
                strings = self._read_strings(package)
                yield from self._rows(package, self._parts[index], strings, beside)
            except _DAMAGE as exc:
                raise self._damaged(exc) from None

    def _read_strings(self, package: Package) -> list[str]:
        if self._strings is None:
            return []
        records = read_records(package, self._strings)
        return [wide_string(content, 1)[0] for kind, content in records if kind == biff12.SHARED_ITEM]

    def _rows(self, package: Package, part: str, strings: list[str], beside: Surroundings) -> Iterator[OtherRow]:
        number, hidden, inside = 0, False, False
        cells: list[OtherCell] = []
        waiting = _find_uncalculated(package, part)
        for kind, content in read_records(package, part):
            if inside and kind not in {biff12.ROW, biff12.END_ROWS}:
                cell = self._cell(kind, content, strings, number)
                if cell is not None and (number - 1, cell.column) in waiting:
                    cell = OtherCell(cell.column, "f", "?")  # how it was written is not decoded
                if cell is not None:
                    if cells and cell.column <= cells[-1].column:
                        raise self._refused(f"the cells of row {number} are out of order")
                    cells.append(cell)
                continue
            if inside and cells:
                yield OtherRow(number, hidden, cells)
                cells = []
            if kind == biff12.ROW and inside:
                before, number = number, _U32.unpack_from(content, 0)[0] + 1
                if not before < number <= MAX_ROWS:
                    raise self._refused(f"row {number:,} follows row {before:,}, or lies beyond row {MAX_ROWS:,}")
                hidden = bool(content[_ROW_FLAGS] & _ROW_HIDDEN)
            elif kind in {biff12.BEGIN_ROWS, biff12.END_ROWS}:
                inside = kind == biff12.BEGIN_ROWS
            else:
                _read_beside(kind, content, beside)

    def _cell(self, kind: int, content: memoryview, strings: list[str], row: int) -> OtherCell | None:
        """Return the cell of a record; None for an empty cell, and for a record that is no cell."""
        if kind in biff12.SHORT_CELLS:
            raise self._refused("cells are written without their columns")
        if kind not in _READERS and kind != biff12.CELL_SHARED:
            return None
        column, style = _U32X2.unpack_from(content, 0)
        if column >= MAX_COLUMNS or not row:
            raise LimitExceeded(f"a cell lies beyond column {column_letters(MAX_COLUMNS - 1)}", place=self._path.name)
        style &= 0xFFFFFF
        if kind == biff12.CELL_SHARED:
            (text,) = _U32.unpack_from(content, 8)
            return OtherCell(column, "s", strings[text])
        found = _READERS[kind](content)
        return OtherCell(column, *found, style if found[0] == "n" and style < len(self.formats) else 0)

    def _damaged(self, exc: Exception) -> WorkbookRefused:
        return self._refused(f"the workbook is damaged or cut short ({exc})")

    def _refused(self, fact: str) -> WorkbookRefused:
        return WorkbookRefused(fact, place=self._path.name, choice=_RESAVE)


def _find_uncalculated(package: Package, part: str) -> set[tuple[int, int]]:
    """Return row and column, 0-based, of the formulas of a sheet that were never calculated."""
    formulas: list[Formula] = []
    shared: SharedFormulas = []
    row = 0
    for kind, content in read_records(package, part):
        if kind == biff12.ROW:
            (row,) = _U32.unpack_from(content, 0)
        elif kind in biff12.FORMULAS:
            formulas.append(_formula(kind, content, row))
        elif kind in {biff12.SHARED_FORMULA, biff12.ARRAY_FORMULA}:
            top, bottom, left, right = _MERGE.unpack_from(content, 0)
            tokens = _tokens(content, 16 if kind == biff12.SHARED_FORMULA else 17)
            shared.append((range(top, bottom + 1), range(left, right + 1), tokens))
    return judge_results(formulas, shared, BIFF12) if formulas else set()


def _formula(kind: int, content: memoryview, row: int) -> Formula:
    """Return the formula of a record, its result as in BIFF8."""
    (column,) = _U32.unpack_from(content, 0)
    result, at = b"\x01" + bytes(5) + b"\xff\xff", 9  # a boolean or an error: always a result
    if kind == biff12.FORMULA_NUMBER:
        result, at = bytes(content[8:16]), 16
    elif kind == biff12.FORMULA_TEXT:
        text, at = wide_string(content, 8)
        result = (b"\x00" if text else b"\x03") + bytes(5) + b"\xff\xff"
    return Formula((row, column), result, int.from_bytes(content[at : at + 2], "little"), _tokens(content, at + 2))


def _tokens(content: memoryview, at: int) -> bytes:
    """Return the tokens of a formula with their size in two bytes, from the offset of their size in four."""
    (size,) = _U32.unpack_from(content, at)
    tokens = bytes(content[at + 4 : at + 4 + size])
    return len(tokens).to_bytes(2, "little") + tokens if len(tokens) <= _MOST_TOKENS else bytes(2)


def _read_beside(kind: int, content: memoryview, beside: Surroundings) -> None:
    """Fill in what a record outside the rows says."""
    if kind == biff12.COLUMNS:
        low, high, _, _, flags = _COLUMNS.unpack_from(content, 0)
        if flags & 1 and low <= high:
            beside.hidden_columns.append((low, min(high, MAX_COLUMNS - 1)))
    elif kind == biff12.MERGE:
        top, bottom, left, right = _MERGE.unpack_from(content, 0)
        if top <= bottom < MAX_ROWS and left <= right < MAX_COLUMNS:
            beside.merges.append(f"{column_letters(left)}{top + 1}:{column_letters(right)}{bottom + 1}")


_READERS: dict[int, Callable[[memoryview], tuple[CellKind, str]]] = {
    biff12.CELL_RK: lambda content: ("n", number_text(rk_number(content, 8))),
    biff12.CELL_REAL: lambda content: ("n", number_text(_DOUBLE.unpack_from(content, 8)[0])),
    biff12.FORMULA_NUMBER: lambda content: ("n", number_text(_DOUBLE.unpack_from(content, 8)[0])),
    biff12.CELL_TEXT: lambda content: ("s", wide_string(content, 8)[0]),
    biff12.FORMULA_TEXT: lambda content: ("s", wide_string(content, 8)[0]),
    biff12.CELL_RICH: lambda content: ("s", wide_string(content, 9)[0]),
    biff12.CELL_BOOL: lambda content: ("b", "1" if content[8] else "0"),
    biff12.FORMULA_BOOL: lambda content: ("b", "1" if content[8] else "0"),
    biff12.CELL_ERROR: lambda content: ("e", _ERRORS.get(content[8], f"error {content[8]}")),
    biff12.FORMULA_ERROR: lambda content: ("e", _ERRORS.get(content[8], f"error {content[8]}")),
}
