"""Merged cells in the data: only the first has its value, or each of them, in the type of the first."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support.rawbook import number, row, write_rows
from support.reading import read_cells, reading

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

DAY = datetime(2024, 5, 1)
LINES: list[list[Any]] = [
    ["group", "day", "n", "m"],
    ["north", DAY, 1, 1.5], [None, None, 2, None], [None, None, 3, 2.5],
    ["south", datetime(2024, 5, 2), 4, 3.5], [None, None, 5, 4.5],
    ["Total", None, 15, None],
]  # fmt: skip
#: A label over two columns of the header, groups, a date, a number over two columns, a label of totals.
MERGES = ("A2:A4", "B2:B4", "A5:A6", "C3:D3", "A7:B7")


def save(path: Path) -> Path:
    book = openpyxl.Workbook()
    for line in LINES:
        book.active.append(line)
    for ref in MERGES:
        book.active.merge_cells(ref)
    book.save(path / "m.xlsx")
    return path / "m.xlsx"


@pytest.mark.parametrize("chunk_rows", [None, 1, 2])
def test_merged_cells(tmp_path: Path, chunk_rows: int | None) -> None:
    path = save(tmp_path)
    with reading(path, chunk_rows=chunk_rows) as source:
        assert [source.facts[c].cells for c in range(4)] == [2, 2, 5, 4]
        assert (
            "4 merged ranges in the data: only the first cell of each has the value; --merged fill repeats it"
            in source.notes()
        )
    with reading(path, chunk_rows=chunk_rows, merged="fill") as source:
        assert [dict(source.facts[c].kinds) for c in range(4)] == [
            {"text": 5},
            {"date": 4},
            {"number": 5},
            {"number": 5},
        ]
        assert source.rows == 5
        assert (
            "4 merged ranges in the data: 6 cells filled with the value of the first (--merged fill)" in source.notes()
        )


def test_merged_cells_are_loaded_and_counted(db: Database, tmp_path: Path) -> None:
    path = save(tmp_path)
    report = db.load(path, table="t", workers=1, merged="fill", chunk_rows=2)
    assert db.rows("select * from t order by n") == [
        ("north", DAY.date(), 1, 1.5), ("north", DAY.date(), 2, 2.0), ("north", DAY.date(), 3, 2.5),
        ("south", datetime(2024, 5, 2).date(), 4, 3.5), ("south", None, 5, 4.5),
    ]  # fmt: skip
    assert all(c.count.balanced for c in report.columns)
    assert db.load(path, table="t", workers=0).outcome == "published"  # not the same import


def test_merged_number_beyond_floats(tmp_path: Path) -> None:
    """All of its digits are repeated; a row without cells is none, and a cell of its own is kept."""
    lines = row(1, number("A1", 0), number("B1", 0)) + row(2, number("A2", "12345678901234567"), number("B2", 1))
    lines += row(3, number("B3", 2)) + row(4) + row(5, number("A5", 7), number("B5", 3))
    path = write_rows(tmp_path / "d.xlsx", lines, behind='<mergeCells count="1"><mergeCell ref="A2:A9"/></mergeCells>')
    with reading(path, header_rows=(0, 0), merged="fill") as source:
        assert source.rows == 4
        assert source.facts[0].cells == 4
        assert source.facts[0].beyond_floats
        assert read_cells(source)
