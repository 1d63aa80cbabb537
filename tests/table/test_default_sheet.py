"""The sheet that is read if nobody names one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.rawbook import RawBook, RawSheet, inline, row
from support.reading import reading

from importer.errors import SheetError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = row(1, inline("A1", "a"), inline("B1", "b")) + row(2, inline("A2", "x"), inline("B2", "y"))
STYLED = "".join(f'<row r="{n}" s="1"><c r="A{n}" s="1"/></row>' for n in range(1, 9))


@pytest.mark.parametrize("empty", ["", STYLED, '<row r="1"/>'], ids=["no rows", "formats only", "a row tag"])
def test_sheets_without_rows_are_passed_over(tmp_path: Path, empty: str) -> None:
    sheets = [
        RawSheet(empty, "Cover"),
        RawSheet(ROWS, "Hidden", "hidden"),
        RawSheet(ROWS, "Data"),
        RawSheet(ROWS, "More"),
    ]
    path = RawBook(sheets).write(tmp_path / "b.xlsx")
    with reading(path) as source:
        assert (source.sheet.name, source.rows) == ("Data", 1)
        assert "sheet 'Data' is the first visible one with rows; without rows: Cover" in source.notes()
    with reading(path, sheet="Cover") as source:
        assert source.rows == 0


@pytest.mark.parametrize("states", [("visible", "visible"), ("visible", "hidden"), ("hidden", "hidden")])
def test_workbook_without_rows_is_refused(tmp_path: Path, states: tuple[str, str]) -> None:
    rows = ROWS if states == ("visible", "hidden") else ""
    sheets = [RawSheet("", "One", states[0]), RawSheet(rows, "Two", states[1])]
    with (
        pytest.raises(SheetError, match=r"no (visible )?sheet has rows: 'One'") as caught,
        reading(RawBook(sheets).write(tmp_path / "b.xlsx")),
    ):
        pass
    assert caught.value.exit_code == 3
    assert "--sheet" in str(caught.value.choice)


def test_first_sheet_with_rows_is_taken_without_a_word(tmp_path: Path) -> None:
    with reading(RawBook([RawSheet(ROWS, "Data"), RawSheet("", "Notes")]).write(tmp_path / "b.xlsx")) as source:
        assert source.sheet.name == "Data"
        assert not [note for note in source.notes() if "first visible" in note]


@pytest.mark.parametrize("more", [True, False], ids=["before a table", "alone"])
def test_cover_of_one_cell_has_no_rows(tmp_path: Path, more: bool) -> None:
    """A title alone would make a table of its own: one column, no rows."""
    sheets = [RawSheet(row(1, inline("A1", "Report")), "Cover"), RawSheet(ROWS if more else "", "Data")]
    with reading(RawBook(sheets).write(tmp_path / "b.xlsx")) as source:
        assert (source.sheet.name, source.rows) == (("Data", 1) if more else ("Cover", 0))
        assert any("without rows: Cover" in note for note in source.notes()) == more


def test_formula_that_is_cut_from_its_value_is_one_cell(tmp_path: Path) -> None:
    """A sheet is looked through in blocks; a long formula ends in another one than it begins in."""
    title = f'<c r="A1"><f>{"1+" * 40_000}1</f><v>40001</v></c>'
    sheets = [RawSheet(row(1, title), "Cover"), RawSheet(ROWS, "Data")]
    with reading(RawBook(sheets).write(tmp_path / "b.xlsx")) as source:
        assert source.sheet.name == "Data"
