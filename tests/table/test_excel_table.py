"""An Excel table in the file says where its header and its totals row are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openpyxl
from openpyxl.worksheet.table import Table
from support.reading import reading

if TYPE_CHECKING:
    from pathlib import Path


def save(path: Path, lines: list[list[Any]], *refs: str, totals: int = 0) -> Path:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    for n, ref in enumerate(refs):
        book.active.add_table(Table(displayName=f"T{n}", ref=ref, totalsRowCount=totals or None))
    book.save(path / "t.xlsx")
    return path / "t.xlsx"


def test_header_of_an_excel_table(tmp_path: Path) -> None:
    """Full rows of texts above it, which would be the header."""
    lines = [
        ["note", "of", "one"],
        ["and", "of", "two"],
        ["Name", "Town", "Note"],
        ["Ann", "Rome", "x"],
        ["Bob", "Oslo", "y"],
    ]
    with reading(save(tmp_path, lines, "A3:C5")) as source:
        assert (source.header.last_row, source.rows) == (3, 2)
        assert source.table_to_dict()["excel_tables"] == [{"name": "T0", "range": "A3:C5"}]
        assert source.edges.header.doubt is None
    with reading(save(tmp_path, lines, "A3:C5"), header_rows=(1, 1)) as source:
        assert source.header.last_row == 1


def test_totals_row_of_an_excel_table(tmp_path: Path) -> None:
    """Its cells say nothing that a total would; rows below the table are data all the same."""
    lines = [
        ["Name", "Town", "Note"],
        ["Ann", "Rome", "x"],
        ["Bob", "Oslo", "y"],
        ["n", "2", "z"],
        ["Eve", "Bern", "w"],
    ]
    with reading(save(tmp_path, lines, "A1:C4", totals=1)) as source:
        assert (list(source.data.left_out), source.rows) == ([4], 3)
        assert source.left_out == {0: 1, 1: 1, 2: 1}
    with reading(save(tmp_path, lines, "A1:C4", totals=1), footer="keep") as source:
        assert source.rows == 4


def test_remarks_below_an_excel_table(tmp_path: Path) -> None:
    """In two columns a text alone may be a row; below a blank row that the table does not hold it is none."""
    lines = [["a", "b"], ["x", 1], ["y", 2], [], ["Source: the office"]]
    with reading(save(tmp_path, lines, "A1:B3")) as source:
        assert (list(source.data.left_out), source.rows) == ([5], 2)
    with reading(save(tmp_path, [*lines[:3], ["Source: the office"]], "A1:B3")) as source:
        assert (list(source.data.left_out), source.rows) == ([], 3)
    with reading(save(tmp_path, [*lines[:3], [], ["z", 3], [], ["w"]], "A1:B3")) as source:
        assert (list(source.data.left_out), source.rows) == ([], 4)  # a name alone among rows that the table lacks


def test_several_excel_tables_say_nothing_of_the_sheet(tmp_path: Path) -> None:
    lines = [["a", "b", None, "c", "d"], [1, 2, None, 3, 4], [5, 6, None, 7, 8]]
    with reading(save(tmp_path, lines, "A1:B3", "D1:E3")) as source:
        assert (source.header.last_row, source.rows) == (1, 2)
        assert [each["name"] for each in source.table_to_dict()["excel_tables"]] == ["T0", "T1"]
