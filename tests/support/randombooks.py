"""Random cells for the columns of an existing table, and the workbook that holds them, by three writers."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import openpyxl
import xlsxwriter
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from support.oracle import oracle_cells
from support.randomsheets import Cell, Sheet, date_cell, duration_cell, number_cell, time_cell

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

_DAY_MS = 86_400_000
_FORMATS = {"datetime": "yyyy-mm-dd hh:mm:ss.000", "time": "hh:mm:ss.000", "duration": "[h]:mm:ss.000"}
_STORED = ("shared", "inline", "inline runs", "shared runs", "result")
_SPELLINGS = ("plain", "without r", "prefix", "indented", "single quotes")
_ERRORS = ("#N/A", "#DIV/0!", "#REF!", "#VALUE!")

_NUMBERS = (
    0, 1, -1, 7, 101, 1010, 99.99, 100, 9999.99, 10_000, 0.5, 0.1, 0.1 + 0.2, 1.005, 1 / 3, 12.345678, 1e-10, 5e-324,
    32_767, 32_768, -32_768, -32_769, 2**31 - 1, 2**31, -(2**31), 16_777_216, 16_777_217, 2**53 - 1, 2**53, 2**53 + 2,
    1e15, 1e16, 1e22, 1e38, 3.5e38, 1e300, 0.00001, 0.99999, 99999.5, 2_147_483_647.5, -0.0, 123456.789, 1e-5,
)  # fmt: skip
_TEXTS = (
    "", " ", "a", "abcd", "abcde", "äöüß", "ab ", "  ", "😀😀", "sad", "ok", "Sad", "7", "true", "TRUE", "false", "0", "1",
    "yes", "007", "-5", "+5", " 12 ", "1.5", "1e3", ".5", "5.", "-.5e-3", "1,5", "0x10", "1_000", "nan", "inf", "1e400",
    "1e-400", "0e-400", "123456789012345", "1234567890123456", "9223372036854775807", "9223372036854775808", "32768",
    "99999.999995", "0.1234567890123456789", "2020-02-29", "2021-02-29", "2020-2-9", "2020-05-01 12:00",
    "2020-05-01T12:00:00.123456", "2020-05-01T12:00:00.1234567", "2020-05-01T12:00:00Z", "2020-05-01 24:00", "0001-01-01",
    "9999-12-31 23:59:59.999999", "12:30", "12:30:15", "12:30:15.25", "23:59:60", "24:00", "7:05", "P1D", "PT1M", "-PT5.5S",
    "P1W2DT3H4M5.678901S", "P", "PT", "P1M", "P1Y", "PT0.1234567S", "P100000000DT0.123457S", "P106751991DT4H",
    "P106751992D", "P99999999999D", "101", "10", "1010", "10101", "", "{}", "[1, 2]", '{"b": 1, "a": [null]}', '"x"', "{",
    "null", "NaN", '{"a": 1e400}', '"\\u00e9"', "10.0.0.1", "10.0.0", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
    "x" * 63, "x" * 64, "ä" * 32, "a\0b", "line\nbreak", "_x0041_", "\\N", "\\", "'; --", "NULL",
)  # fmt: skip
#: What a writer may put for the same number.
_NUMBER_FORMS = ("{!r}", "{:.17g}", "{:.17E}", "{:.20f}")


def random_cell(rng: Random) -> Cell | None:
    """A cell of any kind, or None for an empty one; many are at an edge of some type."""
    match rng.choices(
        ("number", "text", "boolean", "datetime", "time", "duration", "error", "formula", "none"),
        (30, 36, 5, 9, 5, 6, 1, 1, 7),
    )[0]:
        case "number":
            return _random_number(rng)
        case "text":
            return Cell("text", rng.choice(_TEXTS), rng.choice(_STORED))
        case "boolean":
            return Cell("boolean", rng.random() < 0.5)
        case "datetime":
            day = rng.choice((0, 58, 59, 36_525, rng.randrange(2_958_000))) * _DAY_MS
            return date_cell(False, day + rng.choice((0, 0, 43_200_000, rng.randrange(_DAY_MS))))
        case "time":
            return time_cell(rng.choice((0, 1000, 3_600_000, rng.randrange(_DAY_MS))))
        case "duration":
            return duration_cell(rng.choice((0, 500, _DAY_MS - 1, _DAY_MS, 30 * 3_600_000, rng.randrange(10**12))))
        case "error":
            return Cell("error", rng.choice(_ERRORS))
        case "formula":
            return Cell("formula", "=A1+1")
    return None


def _random_number(rng: Random) -> Cell:
    if rng.random() < 0.4:
        return number_cell(float(rng.choice((rng.randrange(-40_000, 40_000), rng.randrange(-(10**7), 10**7) / 100))))
    value = float(rng.choice(_NUMBERS))
    if abs(value) >= 2**53:  # whose digits are meant if they are written, and not with an exponent
        return number_cell(value)
    form = rng.choice(_NUMBER_FORMS).format(value)
    return Cell("number", value, form) if float(form) == value else number_cell(value)


def write_book(path: Path, writer: str, headers: list[str], lines: list[list[Cell | None]], rng: Random) -> Any:
    """Write a header row and lines of cells; return the cells by (row, column) as openpyxl has them, or the raw XML.

    Args:
        path: of the workbook.
        writer: `raw`, `openpyxl` or `xlsxwriter`; the two libraries cannot write every cell, and leave it empty.
        headers: of the columns, from A.
        lines: one for each row, from row 2.
        rng: chooses among spellings.
    """
    cells = {(r, c): cell for r, line in enumerate(lines, 2) for c, cell in enumerate(line) if cell is not None}
    if writer == "raw":
        Sheet(1, dict(enumerate(headers)), cells, False, rng.choice(_SPELLINGS)).write(path)
        return cells
    (_write_openpyxl if writer == "openpyxl" else _write_xlsxwriter)(path, headers, cells, rng)
    return {address: cell for address, cell in oracle_cells(path).items() if address[0] > 1}


def _is_written(cell: Cell) -> bool:
    """Whether the libraries can write a cell so that openpyxl reads it as it is."""
    if cell.kind == "text":
        return not ILLEGAL_CHARACTERS_RE.search(cell.value) and not re.search(r"_x[0-9A-F]{4}_", cell.value)
    return cell.kind != "datetime" or cell.value >= datetime(1900, 3, 1)


def _write_openpyxl(path: Path, headers: list[str], cells: dict[tuple[int, int], Cell], rng: Random) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(headers)
    for (row, column), given in cells.items():
        if not _is_written(given):
            continue
        cell = sheet.cell(row, column + 1)
        cell.value = given.value
        if given.kind in {"text", "error"}:
            cell.data_type = "s" if given.kind == "text" else "e"
        cell.number_format = _FORMATS.get(given.kind, "General")
    book.save(path)


def _write_xlsxwriter(path: Path, headers: list[str], cells: dict[tuple[int, int], Cell], rng: Random) -> None:
    with xlsxwriter.Workbook(path, {"constant_memory": rng.random() < 0.5}) as book:
        sheet = book.add_worksheet()
        formats = {kind: book.add_format({"num_format": form}) for kind, form in _FORMATS.items()}
        sheet.write_row(0, 0, headers)
        for (row, column), cell in sorted(cells.items(), key=lambda item: item[0]):
            if not _is_written(cell):
                continue
            match cell.kind:
                case "text":
                    sheet.write_string(row - 1, column, cell.value)
                case "number":
                    sheet.write_number(row - 1, column, cell.value)
                case "boolean":
                    sheet.write_boolean(row - 1, column, cell.value)
                case "error":
                    sheet.write_formula(row - 1, column, "=1/0", None, cell.value)
                case "datetime" | "time" | "duration":
                    sheet.write_datetime(row - 1, column, cell.value, formats[cell.kind])
