"""What openpyxl says that a sheet holds, and the comparison of a loaded table and its rejects with that.

Documented differences: openpyxl leaves `_xHHHH_` escapes as they are (decoded here); it reads the serial 60 and
negative serials as dates, which no calendar has; it returns integers beyond 2^53 exactly, which no 64-bit float can
carry. A test names those cells in `unreadable`. An uncalculated formula is a formula without a cached value.
"""

from __future__ import annotations

import re
import warnings
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import openpyxl
from openpyxl.utils import column_index_from_string, get_column_letter
from support.randomsheets import PROBLEMS, Cell
from support.reading import same_loaded

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from conftest import Database

    from importer.report.model import Report

Cells = dict[tuple[int, int], Cell]


def oracle_cells(path: Path, sheet: str | None = None) -> Cells:
    """Every non-empty cell by (row, 0-based column)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of dates that it cannot read
        values, formulas = openpyxl.load_workbook(path, data_only=True), openpyxl.load_workbook(path)
    value_sheet = values[sheet] if sheet else values.worksheets[0]
    formula_sheet = formulas[sheet] if sheet else formulas.worksheets[0]
    found: Cells = {}
    for address, cell in formula_sheet._cells.items():
        row, column = address[0], address[1] - 1
        cached = value_sheet._cells[address]
        if cached.value is not None:
            found[row, column] = _cell(cached.value, cached.data_type)
        elif cell.data_type == "f":
            found[row, column] = Cell("formula", str(getattr(cell.value, "text", cell.value)))
    return found


def _cell(value: Any, data_type: str) -> Cell:
    if data_type == "e":
        return Cell("error", value)
    match value:
        case bool():
            return Cell("boolean", value)
        case int() | float():
            return Cell("number", value)
        case datetime() | date():
            return Cell("datetime", value if isinstance(value, datetime) else datetime.combine(value, time()))
        case time():
            return Cell("time", value)
        case timedelta():
            return Cell("duration", value)
    return Cell("text", decoded(str(value)))


def decoded(text: str) -> str:
    """A text without the escapes of ST_Xstring."""
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda m: chr(int(m[1], 16)), text)


def at(ref: str) -> tuple[int, int]:
    """Row and 0-based column of `D17`."""
    match = re.fullmatch(r"([A-Z]+)(\d+)", ref)
    assert match, ref
    return int(match[2]), column_index_from_string(match[1]) - 1


def table_rows(db: Database, report: Report) -> list[dict[str, Any]]:
    """The table's rows in the order of the sheet, by column letter; intervals as timedeltas."""
    loaded = [c for c in report.columns if c.type]
    asked = [
        f'(extract(epoch from "{c.name}") * 1000)::bigint' if c.type == "interval" else f'"{c.name}"' for c in loaded
    ]
    rows = (
        db.rows(f'SELECT {", ".join(asked)} FROM "{report.target["schema"]}"."{report.target["table"]}" ORDER BY ctid')
        if asked
        else []
    )
    kinds = {c.letter: c.type for c in loaded}
    named = [dict(zip(kinds, row, strict=True)) for row in rows]
    return [
        {k: timedelta(milliseconds=v) if kinds[k] == "interval" and v is not None else v for k, v in row.items()}
        for row in named
    ]


def rejected_rows(report: Report) -> dict[int, tuple[str, dict[str, Cell]]]:
    """What the rejects workbook says: reasons and cells (by the sheet's column letter) of every rejected row."""
    if report.rejects_file is None:
        return {}
    sheet = openpyxl.load_workbook(report.rejects_file, data_only=True).worksheets[0]
    found = {}
    for line in sheet.iter_rows(min_row=2):
        cells = {
            c.letter: _cell(cell.value, cell.data_type)
            for c, cell in zip(report.columns, line[2:], strict=True)
            if cell.value is not None
        }
        found[int(line[0].value)] = (str(line[1].value), cells)
    return found


def rejected_comments(report: Report) -> list[str]:
    """The comments of the rejects workbook, row by row."""
    sheet = openpyxl.load_workbook(report.rejects_file).worksheets[0]
    return [cell.comment.text for line in sheet.iter_rows() for cell in line if cell.comment]


def check_loaded(
    db: Database,
    report: Report,
    cells: Cells,
    *,
    unreadable: Collection[str] = (),
    nulls: bool = False,
    blanks: Mapping[str, int] | None = None,
    missing: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Fail, naming the guilty cell, unless every data cell is in the table with its value or in the rejects.

    A row that holds nothing but empty texts looks blank, and must not be there.

    Args:
        db: with the table.
        report: of the run.
        cells: of the sheet, as openpyxl or a random sheet has them; those up to the header row are no data.
        unreadable: addresses of cells that must be rejected although openpyxl has a value for them.
        nulls: error cells and uncalculated formulas were to be loaded as nulls.
        blanks: formulas that returned an empty text by column letter: openpyxl shows none of them.
        missing: texts by column letter that the contract declares to mean a missing value.
    """
    data = {address: cell for address, cell in cells.items() if address[0] > report.header_rows[1]}
    kept = {c.letter for c in report.columns if c.type}
    bad = {a for a, cell in data.items() if _is_bad(cell, nulls=nulls) and get_column_letter(a[1] + 1) in kept} | {
        at(ref) for ref in unreadable
    }
    rows = sorted({row for (row, _), cell in data.items() if cell.kind != "text" or cell.value})
    rejects, table = rejected_rows(report), table_rows(db, report)
    assert {row for row, _ in bad} == set(rejects)
    assert (report.total_records, report.error_count) == (len(rows), len(rejects))
    good = [row for row in rows if row not in rejects]
    assert len(good) == len(table) == report.success_count
    loaded = dict(zip(good, table, strict=True))
    for (row, column), cell in data.items():
        letter = get_column_letter(column + 1)
        if row in rejects:
            _check_rejected(f"{letter}{row}", cell, rejects[row], bad=(row, column) in bad)
        elif letter in kept and row in loaded:
            declared = cell.kind == "text" and cell.value in (missing or {}).get(letter, ())
            expected = Cell("text", "") if cell.kind in PROBLEMS or declared else cell
            assert same_loaded(expected, loaded[row][letter]), (
                f"{letter}{row} {cell} was loaded as {loaded[row][letter]!r}"
            )
    _check_nothing_else(data, loaded, kept)
    _check_conservation(report, data, blanks or {})


def _is_bad(cell: Cell, *, nulls: bool) -> bool:
    return (
        cell.kind == "unreadable"
        or (cell.kind in PROBLEMS and not nulls)
        or (cell.kind == "text" and "\0" in cell.value)
    )


def _check_rejected(ref: str, cell: Cell, reject: tuple[str, dict[str, Cell]], *, bad: bool) -> None:
    reasons, cells = reject
    assert bad == (re.search(rf"(?:^|; ){ref} ", reasons) is not None), f"{ref} {cell}: {reasons}"
    check_kept(ref, cell, cells, bad=bad)


def check_kept(ref: str, cell: Cell, cells: dict[str, Cell], *, bad: bool) -> None:
    """Fail unless the rejects file has a cell of a rejected row, with its value if it is no bad one.

    Args:
        ref: address of the cell in the sheet.
        cell: as it is in the sheet.
        cells: of that row in the rejects, by the sheet's column letter.
        bad: whether the cell is a reason for the reject.
    """
    if cell.kind == "text" and not cell.value:
        return
    letter = ref.rstrip("0123456789")
    assert letter in cells, f"{ref} {cell} is not in the rejects"
    if not bad:
        # openpyxl drops each `x005F_` from shared strings, so that an escaped `_x0041_` is decoded once too often, and
        # the text `_x005F_x0041_` twice.
        expected = (
            {cell.value, decoded(cell.value), decoded(decoded(cell.value))} if cell.kind == "text" else {cell.value}
        )
        shown = float(cells[letter].value) if cell.kind == "number" else cells[letter].value  # may be a longer integer
        assert shown in expected, f"{ref} {cell} is {cells[letter]} in the rejects"
    elif cell.kind == "error":
        # What Excel 2007 does not know is written as #N/A, and named in a comment.
        assert cells[letter].value in {cell.value, "#N/A"}


def _check_nothing_else(data: Cells, loaded: dict[int, dict[str, Any]], kept: set[str]) -> None:
    for row, values in loaded.items():
        for letter in kept:
            assert values[letter] is None or (row, column_index_from_string(letter) - 1) in data, (
                f"{letter}{row} is empty in the sheet"
            )


def _check_conservation(report: Report, data: Cells, blanks: Mapping[str, int]) -> None:
    for column in report.columns:
        index = column_index_from_string(column.letter) - 1
        assert column.count.cells == sum(c == index for _, c in data) + blanks.get(column.letter, 0)
        assert column.count.balanced
