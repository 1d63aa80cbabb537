"""Pieces of a workbook that somebody names: ranges of cells, defined names, Excel tables, ranges of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from click.testing import CliRunner
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.table import Table
from support.reading import reading

from importer.cli.commands import cli
from importer.errors import SheetError, UsageError
from importer.inspection import inspect_workbook
from importer.plan.model import choose_columns
from importer.settings import Settings
from importer.table.cell_range import parse_range, parse_typed_range

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from conftest import Database

    from importer.reading.sheet_source import SheetSource

#: A table in B4:D8, titles above, a note below, a column beside.
LINES: list[list[Any]] = [
    ["Report"], ["of June"], [],
    [None, "id", "name", "price", "note"],
    *[[None, n, f"n{n}", n * 1.5, "x" if n == 2 else None] for n in range(1, 5)],
    [], [None, None, None, 99, "y"],
]  # fmt: skip
NAMES = {
    "Prices": "Orders!$B$4:$D$8", "Two": "Orders!$B$4:$C$8,Orders!$D$4:$D$8", "Moving": "OFFSET(Orders!$B$4,0,0,5,3)",
    "Other": "'[1]Sheet1'!$A$1:$B$2", "Gone": "Orders!#REF!", "Rate": "0.19", "Second": "'My ''sheet'!$A$1:$B$3",
    "Elsewhere": "Nowhere!$A$1:$B$2",
}  # fmt: skip


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sheets `Orders` and `My 'sheet`, each with a table, and names of ranges and of other things."""
    made = openpyxl.Workbook()
    orders, mine = made.active, made.create_sheet("My 'sheet")
    orders.title = "Orders"
    for line in LINES:
        orders.append(line)
    for line in (["a", "b"], [1, 2], [3, 4], ["Sum", "6"], [], ["k", "v"], [5, 6]):
        mine.append(line)
    mine.add_table(Table(displayName="tblMine", ref="A1:B4", totalsRowCount=1))
    mine.add_table(Table(displayName="Later", ref="A6:B7"))
    for name, formula in NAMES.items():
        made.defined_names[name] = DefinedName(name, attr_text=formula)
    orders.defined_names["Local"] = DefinedName("Local", attr_text="Orders!$B$4:$C$6")
    mine.defined_names["Local"] = DefinedName("Local", attr_text="'My ''sheet'!$A$6:$B$7")
    mine.defined_names["Prices"] = DefinedName("Prices", attr_text="'My ''sheet'!$A$1:$B$2")
    made.save(tmp_path_factory.mktemp("pieces") / "book.xlsx")
    return tmp_path_factory.getbasetemp() / "pieces0" / "book.xlsx"


def found(source: SheetSource) -> tuple[str, list[str | None], int]:
    """The sheet, the headers and the number of rows."""
    return source.sheet.name, [c.header for c in source.header.columns], source.rows


WHOLE = ("Orders", ["id", "name", "price"], 4)
MINE = "My 'sheet"
PIECES: dict[str, tuple[dict[str, Any], tuple[str, list[str | None], int]]] = {
    "range": ({"range": "B4:D8"}, WHOLE),
    "absolute": ({"range": "$B$4:$D$8"}, WHOLE),
    "from another corner": ({"range": "d8:b4"}, WHOLE),
    "with its sheet": ({"range": "Orders!B4:D8"}, WHOLE),
    "with a quoted sheet": ({"range": "'My ''sheet'!A6:B7"}, (MINE, ["k", "v"], 1)),
    "with titles": ({"range": "B1:D8"}, WHOLE),
    "whole columns": ({"range": "B:D", "rows": (5, 8)}, WHOLE),
    "whole rows": ({"range": "4:8"}, ("Orders", ["id", "name", "price", "note"], 4)),
    "without an end": ({"range": "B4:C"}, ("Orders", ["id", "name"], 4)),
    "beyond the cells": ({"range": "C4:Z8"}, ("Orders", ["name", "price", "note"], 4)),
    "two rows less": ({"range": "B4:D6"}, ("Orders", ["id", "name", "price"], 2)),
    "without its header": ({"range": "B5:C8", "header_rows": (0, 0)}, ("Orders", [None, None], 4)),
    "a header above it": ({"range": "B6:C8", "header_rows": (4, 4)}, ("Orders", ["id", "name"], 3)),
    "another sheet": ({"range": "A6:B7", "sheet": MINE}, (MINE, ["k", "v"], 1)),
    "name": ({"range": "Prices"}, WHOLE),
    "name in capitals": ({"range": "PRICES"}, WHOLE),
    "name of a sheet": ({"range": "'My ''sheet'!Prices"}, (MINE, ["a", "b"], 1)),
    "name of that sheet": ({"range": "prices", "sheet": MINE}, (MINE, ["a", "b"], 1)),
    "name on another sheet": ({"range": "Second"}, (MINE, ["a", "b"], 2)),
    "name known in one sheet": ({"range": "Orders!Local"}, ("Orders", ["id", "name"], 2)),
    "Excel table": ({"excel_table": "TBLMINE"}, (MINE, ["a", "b"], 2)),
    "Excel table with its totals": ({"excel_table": "tblMine", "footer": "keep"}, (MINE, ["a", "b"], 3)),
    "second Excel table": ({"excel_table": "Later"}, (MINE, ["k", "v"], 1)),
}  # fmt: skip


@pytest.mark.parametrize("chunk_rows", [None, 2])
def test_pieces(book: Path, chunk_rows: int | None) -> None:
    for name, (options, right) in PIECES.items():
        with reading(book, chunk_rows=chunk_rows, **options) as source:
            assert found(source) == right, name
            area = source.cut.piece
            assert area is not None
            beside = {c for c, facts in source.facts.items() if facts.cells and not area.left <= c <= area.right}
            assert not beside & {c.index for c in source.header.columns}, name


REFUSED = {
    "Two": "stands for 2 ranges", "Moving": "stands for a formula", "Other": "cells of another workbook", "Rate": "formula",
    "Gone": "deleted (#REF!)", "Elsewhere": "not in this workbook", "Local": "that of several ranges", "Pricse": "neither a range",
    "tblMine": "neither a range", "J20:K25": "has no cells", "A0:B2": "neither", "XFE1:XFF2": "neither", "A4:": "neither",
    "Nowhere!A1:B2": "no sheet 'Nowhere'",
}  # fmt: skip
CHOICES = {
    "Local": "Orders!Local", "Pricse": "did you mean 'Prices'", "tblMine": "--excel-table tblMine",
    "J20:K25": "cells of the sheet are in A1:E10",
}  # fmt: skip


def test_pieces_that_are_refused(book: Path) -> None:
    for asked, fact in REFUSED.items():
        with pytest.raises(SheetError) as caught, reading(book, range=asked):
            pass
        assert fact in caught.value.fact, asked
        assert CHOICES.get(asked, "") in (caught.value.choice or ""), asked
    with pytest.raises(SheetError) as caught, reading(book, excel_table="tblMin"):
        pass
    assert "did you mean 'tblMine'? its tables: tblMine ('My ''sheet'!A1:B4)" in str(caught.value.choice)
    for options in ({"range": "Prices", "sheet": "Nowhere"}, {"excel_table": "Later", "sheet": "Orders"}):
        with pytest.raises(SheetError, match="not on|neither"), reading(book, **options):
            pass


def test_pieces_that_contradict_each_other(tmp_path: Path) -> None:
    for options in ({"range": "A1:B2", "excel_table": "T"}, {"range": ""}, {"merged": "all"}):
        with pytest.raises(UsageError):
            Settings(workbook=tmp_path, **options)


def test_range_that_cuts_merged_cells(tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    for line in (["title"], ["a", "b", "c"], ["x", 1, 2], [None, 3, 4]):
        made.active.append(line)
    made.active.merge_cells("A1:C1")
    made.active.merge_cells("A3:A4")
    made.save(tmp_path / "m.xlsx")
    with pytest.raises(SheetError, match="cuts the merged cells A3:A4"), reading(tmp_path / "m.xlsx", range="A4:C4"):
        pass
    with reading(tmp_path / "m.xlsx", range="B1:C4") as source:  # a title is neither header nor data
        assert found(source)[1:] == (["b", "c"], 2)


def test_named_pieces_are_listed(book: Path) -> None:
    shown = inspect_workbook(book, workers=0).to_dict()
    assert shown["excel_tables"] == [
        {"name": "tblMine", "sheet": MINE, "range": "A1:B4"}, {"name": "Later", "sheet": MINE, "range": "A6:B7"},
    ]  # fmt: skip
    assert {(n["name"], n["sheet"], n["range"]) for n in shown["defined_names"]} == {
        ("Prices", "Orders", "B4:D8"), ("Second", MINE, "A1:B3"), ("Orders!Local", "Orders", "B4:C6"),
        ("'My ''sheet'!Local", MINE, "A6:B7"), ("'My ''sheet'!Prices", MINE, "A1:B2"),
    }  # fmt: skip


def test_pieces_on_the_command_line(book: Path) -> None:
    def inspect(*words: str) -> Result:
        return CliRunner().invoke(cli, ["inspect", str(book), "--workers", "0", *words])

    shown = inspect("--range", "B5:C8", "--no-header").output
    assert "table: B5:C8, no header row" in shown
    assert "Excel tables (--excel-table): tblMine (My 'sheet!A1:B4), Later (My 'sheet!A6:B7)" in shown
    assert "names (--range): Prices (Orders!B4:D8)" in shown
    assert "--no-header and --header-row" in str(inspect("--no-header", "--header-row", "3").output)
    assert inspect("--no-header", "--header-row", "3").exit_code == 2


def test_every_cell_of_a_piece_is_accounted_for(db: Database, book: Path) -> None:
    report = db.load(book, table="t", range="Prices", workers=0)
    assert db.rows("select id::int, name, price::float8 from t order by id") == [
        (n, f"n{n}", n * 1.5) for n in range(1, 5)
    ]
    assert [(c.letter, c.count.cells, c.count.loaded, c.count.ignored) for c in report.columns] == [
        ("B", 4, 4, 0), ("C", 4, 4, 0), ("D", 5, 4, 1),
    ]  # fmt: skip
    assert report.table["range"] == "B4:D8"
    assert "only range B4:D8 (Prices) was read; 3 cells below and beside it ignored" in report.notes
    assert db.load(book, table="t", range="Prices", workers=0).outcome == "already-imported"
    assert db.load(book, table="t", range="B4:D7", workers=0).outcome == "published"


@pytest.mark.parametrize("top", [40, 100, 700])
def test_piece_far_down_in_many_windows(db: Database, tmp_path: Path, top: int) -> None:
    """Its header is beyond the first windows, and rows before and behind it look like its own."""
    made = openpyxl.Workbook()
    for n in range(1, 900):
        made.active.append(["id", "name", "note"] if n == top else [n, f"n{n}", "x"])
    made.save(tmp_path / "far.xlsx")
    report = db.load(tmp_path / "far.xlsx", table="t", range=f"A{top}:B{top + 90}", chunk_rows=50, workers=1)
    assert db.rows("select count(*)::int, min(id)::int, max(id)::int from t") == [(90, top + 1, top + 90)]
    assert report.header_rows == (top, top)
    assert all(c.count.balanced for c in report.columns)


def test_pieces_in_a_contract(db: Database, book: Path, tmp_path: Path) -> None:
    fields = '"fields": [{"name": "k", "type": "integer"}, {"name": "v", "type": "integer"}]'
    for n, excel in enumerate(
        ('{"excelTable": "later"}', '{"sheet": "My \'sheet", "range": "A6:B7", "merged": "first"}')
    ):
        (tmp_path / "c.json").write_text(f'{{{fields}, "excel": {excel}}}')
        db.load(book, table=f"t{n}", contract=tmp_path / "c.json", workers=0)
        assert db.rows(f"select k::int, v::int from t{n}") == [(5, 6)]


def test_ranges_of_columns(tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    made.active.append(["a", "b", None, "d-e", "f", "B-C"])
    made.active.append([1, 2, None, 4, 5, 6])
    made.save(tmp_path / "c.xlsx")
    with reading(tmp_path / "c.xlsx", header_rows=(1, 1)) as source:
        for wanted, letters in (
            (("A-D",), "ABD"), (("D:A", "f"), "ABDE"), (("A", "D-XFD"), "ADEF"), (("d-e",), "D"), (("B-C",), "F"),
        ):  # fmt: skip
            assert "".join(c.letter for c in choose_columns(source.header, wanted)[0]) == letters
        for word in ("C-C", "X-Z", "A-1"):
            with pytest.raises(SheetError, match="no column"):
                choose_columns(source.header, (word,))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("A4:H205", "A4:H205"), ("h205:a4", "A4:H205"), ("A:H", "A1:H1048576"), ("4:205", "A4:XFD205"), ("$4:$205", "A4:XFD205"),
        ("B4:D", "B4:D1048576"), ("B:D9", "B1:D9"), (" B2 ", "B2:B2"), ("B2 : C3", "B2:C3"), ("B", None), ("4", None),
        ("A0:B2", None), ("XFE1:A1", None), ("A1:A1048577", None), ("A1:B2:C3", None), ("Prices", None), ("", None), (":", None),
    ],
)  # fmt: skip
def test_range_that_a_person_writes(text: str, address: str | None) -> None:
    area = parse_typed_range(text)
    assert (area and area.address) == address
    assert area is None or parse_range(area.address) == area
