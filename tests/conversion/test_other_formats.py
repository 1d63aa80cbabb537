"""The same rows in every format give the same cells, sheets, hidden rows and columns, merges; what is bad is refused."""

from __future__ import annotations

import datetime as dt
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import xlwt
from support.otherbooks import Error, Table, record, wide, write_ods, write_xls, write_xlsb, write_xlsx
from support.reading import read_cells, reading

from importer.conversion import agreement, open_book
from importer.conversion.biff12 import rk_number
from importer.conversion.number_text import number_text
from importer.errors import CellsDisagree, InputError, LimitExceeded, SheetError, WorkbookRefused

if TYPE_CHECKING:
    from pathlib import Path

WRITERS = {"ods": write_ods, "xls": write_xls, "xlsb": write_xlsb}
MOMENT = dt.datetime.fromisoformat("2024-02-29T10:11:12.500")
ROWS: list[list[Any]] = [
    ["id", "name", "day", "at", "clock", "took", "ok", "amount", "bad"],
    [1, "Ada & <Bob>", MOMENT.date(), MOMENT, dt.time(10, 11, 12), dt.timedelta(hours=30, seconds=5), True, 0.1, Error("#N/A")],
    [],
    [2, " two\nlines ", dt.date(1900, 3, 1), dt.datetime.fromisoformat("1999-12-31T23:59:59"), dt.time(0, 0, 1),
     dt.timedelta(seconds=1), False, 1.5000000000000002, Error("#DIV/0!")],
    [3, "ü雲😀", None, None, None, None, None, -12345678901234567890.0, "_x0041_"],
    [None, None, 1e-300, 536870912, -536870912, 0.07, 1e16, 123456789.01, "=1+1"],
]  # fmt: skip
TABLES = [
    Table([], "Cover"),
    Table([["x"], ["y"]], "Secret", hidden=True),
    Table(ROWS, "Data", False, frozenset([3]), frozenset([1, 6]), [(4, 2, 4, 4)]),
    Table([["other"], [1]], "More & more"),
]


def everything(path: Path, **options: Any) -> dict[str, Any]:
    with reading(path, **options) as source:
        sheets = [(s.name, s.kind, s.visibility) for s in source.workbook.sheets]
        notes = [note for note in source.notes() if not note.startswith("read as")]
        assert source.workbook.path == path
        return {
            "cells": read_cells(source), "hidden": (source.cut.hidden_columns, source.hidden_rows), "notes": notes,
            "merges": source.cut.merges, "sheets": sheets, "sheet": source.sheet.name, "address": source.address(4, 2),
            "header": [c.name for c in source.header.columns], "empty": source.workbook.empty,
        }  # fmt: skip


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("sheet", [None, "More & more", "secret"])
def test_same_as_in_xlsx(tmp_path: Path, form: str, sheet: str | None) -> None:
    wanted = everything(write_xlsx(tmp_path / "b.xlsx", TABLES), sheet=sheet)
    path = WRITERS[form](tmp_path / f"b.{form}", TABLES)
    found = everything(path, sheet=sheet)
    assert {key: found[key] for key in wanted if found[key] != wanted[key]} == {}
    disguised = path.rename(tmp_path / "b.xlsx")
    assert everything(disguised, sheet=sheet)["cells"] == wanted["cells"]


@pytest.mark.parametrize("form", WRITERS)
def test_what_was_read_is_said(tmp_path: Path, form: str) -> None:
    path = WRITERS[form](tmp_path / f"b.{form}", TABLES)
    with reading(path) as source:
        assert f"read as .{form}: by " in source.notes()[0]
        assert "which agree in" in source.notes()[0]
        assert "of which there are 2" in source.notes()[0]
    with pytest.raises(SheetError, match="no sheet 'None'"):
        everything(path, sheet="None")
    with pytest.raises(SheetError, match="no visible sheet has rows"):
        everything(WRITERS[form](tmp_path / f"e.{form}", TABLES[:2]))


@pytest.mark.parametrize("form", ["xls", "xlsb"])
def test_dates_since_1904(tmp_path: Path, form: str) -> None:
    rows = [["at", "n"], [MOMENT, 1]]
    shift = 0 if form == "xls" else 1462
    moved = [["at", "n"], [MOMENT - dt.timedelta(days=shift), 1]]
    path = WRITERS[form](tmp_path / f"b.{form}", [Table(rows if form == "xls" else moved)], epoch_1904=True)
    assert everything(path)["cells"][2, 0] == ("datetime", MOMENT)


def test_second_reader_disagrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its values are compared cell by cell: a changed one is named with its address."""
    path = write_xlsb(tmp_path / "b.xlsb", [Table([["a", "b"], [1, "x"], [2, "y"]])])
    for value, wrong, place in ((2, 3.0, "Data!A3"), ("y", "", "Data!B3"), (None, "z", "Data!B3")):
        monkeypatch.setattr(agreement.SecondReader, "check", _altered(value, wrong))
        with pytest.raises(CellsDisagree, match="two readers read") as caught:
            everything(path)
        assert str(caught.value.place).endswith(place)
        assert caught.value.exit_code == 3


def _altered(value: Any, wrong: Any) -> Any:
    check = vars(agreement.SecondReader).get("original", agreement.SecondReader.check)
    agreement.SecondReader.original = check  # type: ignore[attr-defined]

    class Sheet:
        start = (0, 0)

        def __init__(self, sheet: Any) -> None:
            self.sheet = sheet

        def iter_rows(self) -> Any:
            rows = [list(row) for row in self.sheet.iter_rows()]
            if value is None:
                rows[2][1] = wrong
            return iter([[wrong if cell == value else cell for cell in row] for row in rows])

    def altered(self: Any, rows: Any) -> Any:
        self._sheet = Sheet(self._sheet)
        return check(self, rows)

    return altered


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_xls(tmp_path / "b.xls", TABLES)
    monkeypatch.setitem(open_book._LIBRARIES, "xls", ("xlrd", "no_such_library"))
    with pytest.raises(WorkbookRefused, match="is not installed") as caught:
        everything(path)
    assert "pip install 'importer[formats]'" in str(caught.value.choice)


# ---- OPENDOCUMENT -----------------------------------------------------------------------------------------------


def ods_cell(value: str, more: str = "") -> str:
    return f'<table:table-cell office:value-type="float" office:value="{value}" {more}/>'


def ods_of(path: Path, rows: str, before: str = "") -> Path:
    return write_ods(path, [], f'{before}<table:table table:name="Data">{rows}</table:table>')


def ods_row(cells: str, more: str = "") -> str:
    return f"<table:table-row {more}>{cells}</table:table-row>"


def test_ods_texts_and_values(tmp_path: Path) -> None:
    cells = {
        '<table:table-cell office:value-type="string"><text:p>a<text:s text:c="3"/>b<text:tab/>c<text:line-break/>'
        "<text:span>d</text:span><text:a>e</text:a></text:p><text:p/><text:p>f &amp; g</text:p></table:table-cell>":
            ("text", "a   b\tc\nde\n\nf & g"),
        '<table:table-cell office:value-type="string"><office:annotation><text:p>note</text:p></office:annotation>'
        "<text:p>x</text:p></table:table-cell>": ("text", "x"),
        '<table:table-cell office:value-type="string" office:string-value="y"/>': ("text", "y"),
        '<table:table-cell office:value-type="percentage" office:value="0.25"><text:p>25%</text:p></table:table-cell>': ("number", 0.25),
        '<table:table-cell office:value-type="currency" office:value="1.10"/>': ("number", 1.1),
        '<table:table-cell table:formula="of:=[.A1]"/>': ("formula", "=of:=[.A1]"),
        '<table:table-cell table:formula="of:=1/0" office:value-type="float" office:value="0"><text:p>#DIV/0!</text:p></table:table-cell>':
            ("error", "#DIV/0!"),
    }  # fmt: skip
    with reading(ods_of(tmp_path / "b.ods", "".join(map(ods_row, cells)), _DELETED), header_rows=(0, 0)) as source:
        found = read_cells(source)
    assert list(found.values()) == list(cells.values())


#: Deleted content of tracked changes holds cells, too.
_DELETED = (
    '<table:tracked-changes><table:cell-content-change><table:previous><table:change-track-table-cell office:value="1"/>'
    "</table:previous></table:cell-content-change></table:tracked-changes>"
)


def test_ods_repeats(tmp_path: Path) -> None:
    rows = ods_row(
        '<table:table-cell table:number-columns-repeated="2"/>' + ods_cell("7", 'table:number-columns-repeated="2"')
    )
    rows += ods_row("<table:table-cell/>", 'table:number-rows-repeated="1000"')
    rows += ods_row(ods_cell("8"), 'table:number-rows-repeated="3"')
    with reading(ods_of(tmp_path / "b.ods", rows), header_rows=(0, 0)) as source:
        found = [(at, value) for at, (_, value) in read_cells(source).items()]
    assert found == [((1, 2), 7.0), ((1, 3), 7.0), ((1002, 0), 8.0), ((1003, 0), 8.0), ((1004, 0), 8.0)]


BOMBS = {
    "cells": (ods_row(ods_cell("1", 'table:number-columns-repeated="16384"'), 'table:number-rows-repeated="1048576"'), "repeated"),
    "columns": (ods_row(ods_cell("1", 'table:number-columns-repeated="999999999"')), "beyond column XFD"),
    "rows": (ods_row(ods_cell("1"), 'table:number-rows-repeated="999999999"'), "beyond row 1,048,576"),
    "below": (ods_row("<table:table-cell/>", 'table:number-rows-repeated="1048576"') + ods_row(ods_cell("1")), "beyond row"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "fact"), BOMBS.values(), ids=BOMBS)
def test_ods_bomb_of_repeated_cells(tmp_path: Path, rows: str, fact: str) -> None:
    path = ods_of(tmp_path / "b.ods", rows)
    assert path.stat().st_size < 4096
    with pytest.raises(LimitExceeded, match=fact) as caught:
        everything(path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("content", "fact"),
    [("<table:table", "not well-formed"), ("", "holds no spreadsheet"), ("<!DOCTYPE a>", "document type declaration")],
)
def test_ods_damaged(tmp_path: Path, content: str, fact: str) -> None:
    with pytest.raises(WorkbookRefused, match=fact):
        everything(write_ods(tmp_path / "b.ods", [], content))


def test_ods_encrypted(tmp_path: Path) -> None:
    path = write_ods(tmp_path / "b.ods", TABLES)
    with zipfile.ZipFile(path) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    parts["META-INF/manifest.xml"] = b"<manifest><manifest:encryption-data/></manifest>"
    with zipfile.ZipFile(path, "w") as package:
        for name, data in parts.items():
            package.writestr(name, data)
    with pytest.raises(WorkbookRefused, match="the workbook is encrypted"):
        everything(path)


# ---- BINARY WORKBOOKS -------------------------------------------------------------------------------------------


def test_numbers_of_32_bits() -> None:
    for value, wanted in (
        (0x3FF00001, 0.01),
        (5 << 2 | 2, 5.0),
        (((1 << 30) - 5) << 2 | 3, -0.05),
        (0x40590000, 100.0),
    ):
        assert rk_number(memoryview(struct.pack("<I", value)), 0) == wanted
    for value, text in ((5.0, "5"), (-0.0, "-0.0"), (1e16, "1e+16"), (0.1, "0.1"), (2.0**53, "9007199254740992.0")):
        assert number_text(value) == text


CHANGES = {
    "cut short": (lambda part: part[:-9], "cut short|cannot read"),
    "a lie about a length": (lambda part: part.replace(record(145), b"\x91\x01\xff\xff\xff\x7f", 1), "wrong length"),
    "a record too short": (lambda part: part.replace(record(146), record(5, b"\0" * 9) + record(146)), "damaged"),
    "a text beyond its record": (
        lambda part: part.replace(record(146), record(6, struct.pack("<II", 9, 0) + wide("abc")[:6]) + record(146)), "damaged|cannot read",
    ),
    "no such text": (
        lambda part: part.replace(record(146), record(7, struct.pack("<III", 9, 0, 99)) + record(146)), "damaged|cannot read",
    ),
    "rows out of order": (
        lambda part: part.replace(record(146), record(0, bytes(17)) + record(146)), "row 1 follows row",
    ),
    "cells out of order": (
        lambda part: part.replace(record(146), record(5, bytes(16)) + record(146)), "out of order",
    ),
    "a column beyond all": (
        lambda part: part.replace(record(146), record(5, struct.pack("<IId", 99_999, 0, 1.0)) + record(146)), "beyond column",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "fact"), CHANGES.values(), ids=CHANGES)
def test_xlsb_damaged(tmp_path: Path, change: Any, fact: str) -> None:
    path = write_xlsb(tmp_path / "b.xlsb", [Table([["a"], [1], ["x"]])], change=change)
    with pytest.raises(InputError, match=fact) as caught:
        everything(path)
    assert caught.value.exit_code == 3


# ---- EXCEL 97 ---------------------------------------------------------------------------------------------------


def test_xls_long_texts_and_many_cells(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for n in range(300):
        sheet.write(n, 0, f"text {n}" if n else "name")
        sheet.write(n, 1, "ü" * (n * 30) if n else "long")
    book.save(str(tmp_path / "b.xls"))
    with reading(tmp_path / "b.xls") as source:
        cells = read_cells(source)
    assert all(cells[n + 1, 1] == ("text", "ü" * (n * 30)) for n in range(1, 300))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_xls_cut_short(tmp_path: Path, share: float) -> None:
    path = write_xls(tmp_path / "b.xls", [Table([["a", "b"], *([n, f"text {n}"] for n in range(500))])])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="damaged|cut short|another OLE document|cannot read"):
        everything(path)


def test_xls_chain_of_sectors_that_never_ends(tmp_path: Path) -> None:
    path = write_xls(tmp_path / "b.xls", [Table([["a", "b"], *([n, f"text {n}"] for n in range(500))])])
    data = bytearray(path.read_bytes())
    table = struct.unpack_from("<I", data, 76)[0]  # the first sector of the allocation table
    start = (table + 1) << 9
    for n in range(8, 128):
        if struct.unpack_from("<I", data, start + 4 * n)[0] < 0xFFFFFFF0:
            struct.pack_into("<I", data, start + 4 * n, n - 4)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        everything(path)


def test_xls_record_that_lies_about_its_length(tmp_path: Path) -> None:
    path = write_xls(tmp_path / "b.xls", [Table([["a", "b"], *([n, f"text {n}"] for n in range(50))])])
    data = path.read_bytes()
    number = data.find(struct.pack("<HHHH", 0x027E, 10, 1, 0))  # an RK record of row 1
    assert number > 0
    for length in (0xFFFF, 2, 0):
        path.write_bytes(data[: number + 2] + struct.pack("<H", length) + data[number + 4 :])
        with pytest.raises(InputError, match=r"damaged|two readers|cannot read"):
            everything(path)
