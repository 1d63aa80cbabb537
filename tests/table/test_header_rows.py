"""Header detection, measured on sheets whose header rows are known."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import openpyxl
import pytest
from support.grids import frame_of
from support.reading import reading
from table.labelled import Labelled, labelled_sheets

from importer.reading.windows import HEAD_ROWS
from importer.table.cell_range import parse_merges, parse_range
from importer.table.grid import make_grid
from importer.table.header_rows import HeaderRows, find_header

SHEETS = labelled_sheets()


def find(lines: Any, merges: tuple[str, ...] = ()) -> HeaderRows:
    return find_header(make_grid(frame_of(lines[:HEAD_ROWS])), parse_merges(merges, HEAD_ROWS))


def test_headers_found(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 98 % are right, and every other one is said to be a guess."""
    assert len(SHEETS) >= 150
    assert not {name: n for name, n in Counter(sheet.name for sheet in SHEETS).items() if n > 1}
    found = [(sheet, find(sheet.lines, sheet.merges)) for sheet in SHEETS]
    missed = [(sheet, header) for sheet, header in found if (header.first, header.last) != sheet.header]
    doubtful = sum(header.doubt is not None for _, header in found)
    share = 1 - len(missed) / len(found)
    with capsys.disabled():
        print(
            f"\nheaders found: {len(found) - len(missed)} of {len(found)} ({share:.1%}), {doubtful} said to be a guess"
        )
    assert share >= 0.98, [sheet.name for sheet, _ in missed]
    assert not [sheet.name for sheet, header in missed if header.doubt is None]


@pytest.mark.parametrize("sheet", [sheet for sheet in SHEETS if sheet.header == (0, 0)], ids=lambda sheet: sheet.name)
def test_no_row_of_a_sheet_without_header_is_left_out(sheet: Labelled) -> None:
    """Also where a header is seen in one of them by mistake: never are the rows above it left out."""
    header = find(sheet.lines)
    assert header.first == 0 or header.first == next(n for n, line in enumerate(sheet.lines, 1) if line)


def test_labelled_sheets_as_workbooks(tmp_path: Any) -> None:
    """A part of them written and read: the grid of a workbook is that of the frame."""
    for sheet in SHEETS[::12]:
        book = openpyxl.Workbook()
        for line in sheet.lines:
            book.active.append(line)
        for ref in sheet.merges:
            book.active.merge_cells(ref)
        book.save(tmp_path / "s.xlsx")
        with reading(tmp_path / "s.xlsx", footer="keep") as source:
            assert (source.header.first_row, source.header.last_row) == sheet.header, sheet.name
            assert source.rows == sum(any(v is not None for v in line) for line in sheet.lines[sheet.data - 1 :]), (
                sheet.name
            )


def test_guess_names_the_other_row_and_the_option() -> None:
    header = find([["All of them"], [], ["Name"], ["Ann"], ["Bob"]])
    assert header.doubt is None or "--header-row" in header.doubt
    doubt = find([["Ann", "Rome"], ["Bob", "Oslo"], ["Eve", "Bern"]]).doubt
    assert doubt is not None
    assert doubt.startswith("header row 1 is a guess")
    assert "--header-row 0" in doubt


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A4:H205", (4, 0, 205, 7)),
        ("$A$4:$H$205", (4, 0, 205, 7)),
        ("B2", (2, 1, 2, 1)),
        ("B:D", (1, 1, 1_048_576, 3)),
        ("H4:A4", None),
        ("A0:B2", None),
        ("XFE1:XFF2", None),
        ("A1:B1048577", None),
        ("Prices", None),
        ("", None),
    ],
)
def test_range(text: str, found: tuple[int, ...] | None) -> None:
    assert parse_range(text) == found


@pytest.mark.parametrize(
    "first",
    [
        ["abc", "yy"],  # neither a number nor a unit
        ["tbc", "kg"],
        ["old", "DE"],  # a code
        ["kg", "x"],  # `x` is a name below, too
    ],
)
def test_first_row_that_misses_its_numbers_is_data(first: list[str]) -> None:
    lines = [["number", "name"], first, [8, "x"], [6, "x"], [7, "DE"], [9, "zzz"]]
    assert (find(lines).first, find(lines).last) == (1, 1)


@pytest.mark.parametrize(
    ("row", "header"),
    [
        ([5], 0),
        ([1, 2, 3], 0),
        (["a", 5], 0),
        (["x", True, None], 0),
        ([2023, 2024], 0),
        (["Ann", datetime(2024, 1, 1)], 0),
        (["id"], 1),
        (["id", "name"], 1),
        (["id", 2023, 2024], 1),
        (["item", datetime(2024, 1, 1), datetime(2024, 2, 1)], 1),
    ],
)
def test_only_row_of_values_is_data(row: list[Any], header: int) -> None:
    """Its values would be lost as names; that it is no header is said to be a guess."""
    found = find([row])
    assert (found.last, found.after, found.doubt is None) == (header, header, bool(header))


@pytest.mark.parametrize(
    "rows",
    [
        [[7, "yy"], ["abc", "zzz"], ["abc", "zzz"], [1, "x"]],
        [[6, "x"], ["abc", "zzz"], [4, "yy"], ["abc", "zzz"]],
        [[8, "yy"], ["abc", "x"], ["abc", "x"], [3, "zzz"]],
        [[6, "x", 1], ["abc", "zzz", "n/a"], [4, "yy", 2], ["abc", "zzz", "n/a"]],
    ],
)
def test_row_of_the_data_that_occurs_twice_is_no_header(rows: Any) -> None:
    """Rows equal to it say nothing for it; those above it have the kinds of the others below it."""
    header = find([["number", "name", "share"][: len(rows[0])], *rows])
    assert (header.first, header.last) == (1, 1)
