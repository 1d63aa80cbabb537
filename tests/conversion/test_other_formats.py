"""The same rows in every format give the same cells, sheets, hidden rows and columns, merges; what is bad is refused."""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import xlwt
from support.otherbooks import Error, Table, record, wide, write_ods, write_xls, write_xlsb, write_xlsx
from support.reading import read_cells, reading
from xlwt.CompoundDoc import XlsDoc

from importer.conversion import agreement, open_book
from importer.conversion.biff12 import rk_number
from importer.conversion.number_text import number_text
from importer.conversion.xls_formulas import _result_kind, find_uncalculated
from importer.conversion.xls_records import walk_sheet
from importer.errors import CellsDisagree, InputError, LimitExceeded, SheetError, WorkbookRefused
from importer.settings import Limits

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


@pytest.mark.parametrize("form", ["ods", "xlsb"])
def test_too_many_columns_are_refused_by_the_first_rows(tmp_path: Path, form: str) -> None:
    path = WRITERS[form](tmp_path / f"b.{form}", [Table([["title"], [f"c{n}" for n in range(30)], list(range(30))])])
    with pytest.raises(SheetError, match="30 columns, a table can have 20"):
        everything(path, limits=Limits(columns=20))
    assert everything(path, limits=Limits(columns=20), range="A2:C3")["header"] == ["c0", "c1", "c2"]


#: Tokens of [MS-XLSB] 2.5.98.16 with their bytes, as the sections of the structures say: `..` stands for any byte.
TOKENS_12 = """
01 row:4|1C 07|1D 01|1E ....|1F {8}|20 {14}|21 ....|22 02 ....|23 {4}|24 {4} ....|25 {4} {4} .... ....|26 {4} ....|27 .. {3} ....
28 {4} ....|29 ....|2A {6}|2B {12}|2C {4} ....|2D {4} {4} .... ....|39 .... {4}|3A .... {4} ....|3B .... {4} {4} .... ....
3C .... {6}|3D .... {12}|17 0200 61006200|18 19 .... .... {4} .... ....|18 1D {4}|19 01 ....|19 02 ....|19 04 0100 .... ....
19 08 ....|19 20 ....|19 40 ....|19 41 ....|19 80 ....|44 {4} ....|64 {4} ....|03|12|13|14|15|16
"""
TOKENS_8 = """
01 ........|02 ........|17 02 00 6162|17 01 01 6100|18 01 {4}|18 1D {4}|1C 07|1F {8}|20 {7}|23 {4}|24 ........|25 {8}|26 {4} ....|27 {6}
29 ....|2A {4}|2B {8}|2C ........|2D {8}|39 .... {4}|3A .... ........|3B .... {8}|3C .... {4}|3D .... {8}|19 04 0000 ....
"""


def test_size_of_every_token_of_a_formula() -> None:
    """What follows each token is found: a product, whose result is a number. No token begins with the byte FF."""
    for version, listed in ((120, TOKENS_12), (80, TOKENS_8)):
        for token in re.split(r"[|\n]", listed.strip()):
            spelled = (
                re.sub(r"(?:row:|\{)(\d+)\}?", lambda m: "FF" * int(m[1]), token).replace("..", "FF").replace(" ", "")
            )
            tokens = bytes.fromhex(spelled) + b"\x05"
            assert _result_kind(struct.pack("<H", len(tokens)) + tokens, version)[0] == "n", (version, token)


class Huge(dt.timedelta):
    """A duration of 1e300 days."""

    def __truediv__(self, other: Any) -> Any:
        return 1e300


def test_duration_at_which_the_second_reader_panics(tmp_path: Path) -> None:
    """calamine's panic is no Exception."""
    path = write_xls(tmp_path / "b.xls", [Table([["a", "b"], [1, 1.5], [Huge(3), 2.5]])])
    with pytest.raises(InputError, match=r"second reader \(calamine\) cannot read") as caught:
        everything(path)
    assert caught.value.exit_code == 3


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_xls(tmp_path / "b.xls", TABLES)
    monkeypatch.setitem(open_book._LIBRARIES, "xls", ("xlrd", "no_such_library"))
    with pytest.raises(WorkbookRefused, match="is not installed") as caught:
        everything(path)
    assert "pip install 'importer[formats]'" in str(caught.value.choice)


# ---- OPENDOCUMENT -----------------------------------------------------------------------------------------------


def ods_cell(value: str, more: str = "") -> str:
    return f'<table:table-cell office:value-type="float" office:value="{value}" {more}/>'


def ods_text(content: str, more: str = "") -> str:
    return f'<table:table-cell office:value-type="string" {more}><text:p>{content}</text:p></table:table-cell>'


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
        '<table:table-cell table:formula="of:=&quot;&quot;"><text:p/></table:table-cell>': ("text", ""),
        '<table:table-cell table:formula="of:=[.A1]" office:value-type="float"/>': ("formula", "=of:=[.A1]"),
        '<table:table-cell table:formula="of:=[.A1]&gt;1" office:value-type="float" office:value="1"><text:p>WAHR</text:p></table:table-cell>':
            ("boolean", True),
        '<table:table-cell office:value-type="float" office:value="1"><text:p>TRUE</text:p></table:table-cell>': ("number", 1.0),
        '<table:table-cell table:formula="of:=[.A1]" office:value-type="string" office:string-value="#N/A" calcext:value-type="string">'
        "<text:p>#N/A</text:p></table:table-cell>": ("text", "#N/A"),
        '<table:table-cell table:formula="of:=[.A1]" office:value-type="string"><text:p>#1</text:p></table:table-cell>': ("text", "#1"),
    }  # fmt: skip
    with reading(ods_of(tmp_path / "b.ods", "".join(map(ods_row, cells)), _DELETED), header_rows=(0, 0)) as source:
        found = read_cells(source)
    assert list(found.values()) == list(cells.values())


#: Deleted content of tracked changes holds cells, too.
_DELETED = (
    '<table:tracked-changes><table:cell-content-change><table:previous><table:change-track-table-cell office:value="1"/>'
    "</table:previous></table:cell-content-change></table:tracked-changes>"
)


def test_ods_elapsed_time_by_a_style_of_either_part(tmp_path: Path) -> None:
    """LibreOffice writes the formats of times to `styles.xml`, and styles are derived from others."""
    path = write_ods(tmp_path / "b.ods", [Table([["took"], [dt.timedelta(hours=2)]])])
    with zipfile.ZipFile(path) as package:
        parts = {name: package.read(name).decode() for name in package.namelist() if name != "mimetype"}
    content = parts["content.xml"]
    before, _, after = content.partition("<office:automatic-styles>")
    styles, _, after = after.partition("</office:automatic-styles>")
    own = '<style:style style:name="mine" style:family="table-cell" style:parent-style-name="took"/>'
    name = re.search(r'style:name="([^"]*)" style:family="table-cell"[^>]*data-style-name', styles)
    assert name is not None
    parts["styles.xml"] = f"<a xmlns:style='s' xmlns:number='n'>{styles.replace(name[1], 'took')}</a>"
    parts["content.xml"] = f"{before}<office:automatic-styles>{own}</office:automatic-styles>" + after.replace(
        f'table:style-name="{name[1]}"', 'table:style-name="mine"'
    )
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        for part, text in parts.items():
            package.writestr(part, text)
    assert everything(path)["cells"][2, 0] == ("duration", dt.timedelta(hours=2))


def test_ods_durations_that_the_second_reader_gives_as_texts(tmp_path: Path) -> None:
    """LibreOffice writes negative ones with a sign, and hours; other programs also days, or fractions with a comma."""
    took = {
        "PT36H": 36 * 3600, "-PT1H30M0S": -5400, "P2DT1H": 49 * 3600, "-P1DT1S": -86401, "PT25H00M00.5S": 90000.5, "PT25H0M0,25S": 90000.25,
        "PT99999M": 5999940,
    }  # fmt: skip
    cell = '<table:table-cell office:value-type="time" office:time-value="{}"/>'
    rows = "".join(ods_row(ods_text("x") + cell.format(text)) for text in took)
    cells = everything(ods_of(tmp_path / "b.ods", rows), header_rows=(0, 0))["cells"]
    assert [cells[n, 1] for n in range(1, 8)] == [("duration", dt.timedelta(seconds=each)) for each in took.values()]


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
    "texts": (
        ods_row(ods_text("y" * 9000, 'table:number-columns-repeated="4999"'), 'table:number-rows-repeated="900"'),
        "repeated cells have more than 200,000,000 characters",
    ),
    "spaces": (ods_row(ods_text('<text:s text:c="99999"/>' * 101)), "more than 10,000,000 spaces"),
    "below": (ods_row("<table:table-cell/>", 'table:number-rows-repeated="1048576"') + ods_row(ods_cell("1")), "beyond row"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "fact"), BOMBS.values(), ids=BOMBS)
def test_ods_bomb_of_repeated_cells(tmp_path: Path, rows: str, fact: str) -> None:
    path = ods_of(tmp_path / "b.ods", rows)
    assert path.stat().st_size < 4096
    with pytest.raises(LimitExceeded, match=fact) as caught:
        everything(path)
    assert caught.value.exit_code == 3


DAMAGED = {
    "<table:table": "not well-formed", "": "holds no spreadsheet", "<!DOCTYPE a>": "document type declaration",
    f'<table:table table:name="Data">{ods_row(ods_cell("1,5"))}</table:table>': "calamine.*a value of it is not as its format says",
}  # fmt: skip


@pytest.mark.parametrize(("content", "fact"), DAMAGED.items(), ids=DAMAGED.values())
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


def _gaps(rows: dict[int, bytes]) -> Any:
    """A change that adds rows with these records; the rows between them are not written."""
    head = {row: record(0, struct.pack("<IIHBB", row - 1, 0, 300, 0, 0) + bytes(5)) for row in rows}
    return lambda part: part.replace(record(146), b"".join(head[n] + cell for n, cell in rows.items()) + record(146))


def test_xlsb_rows_that_are_not_written_and_odd_cells(tmp_path: Path) -> None:
    """Gaps, a style that there is none of, a boolean of 2, a number that is none, a zero byte in a text."""
    no_style = struct.pack("<II", 0, 0xFFFFFF)
    rows = {
        7: record(5, no_style + struct.pack("<d", 1.5)), 900: record(4, bytes(8) + b"\x02"),
        901: record(5, bytes(8) + struct.pack("<d", math.inf)), 70_000: record(6, bytes(8) + wide("a\0b")),
    }  # fmt: skip
    cells = everything(write_xlsb(tmp_path / "b.xlsb", [Table([["a"], [1]])], change=_gaps(rows)))["cells"]
    assert cells == {
        (1, 0): ("text", "a"), (2, 0): ("number", 1.0), (7, 0): ("number", 1.5), (900, 0): ("boolean", True),
        (901, 0): ("unreadable", "inf"), (70_000, 0): ("text", "a\0b"),
    }  # fmt: skip


@pytest.mark.parametrize("form", WRITERS)
def test_cells_that_begin_far_from_the_corner(tmp_path: Path, form: str) -> None:
    """The second reader gives all rows, but no columns before the first one with a cell."""
    rows: list[list[Any]] = [
        [],
        [],
        [None, None, None, "id", "n"],
        [None, None, None, 1, 2.5],
        [],
        [None, None, None, 2, 3.5],
    ]
    found = everything(WRITERS[form](tmp_path / f"b.{form}", [Table(rows)]))
    assert list(found["cells"]) == [(3, 3), (3, 4), (4, 3), (4, 4), (6, 3), (6, 4)]


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
    with pytest.raises(InputError, match="damaged|cut short|cannot read"):
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


def test_xls_formulas_that_xlwt_did_not_calculate(tmp_path: Path) -> None:
    """It gives every formula the result ''; that a product has it shows that they are none."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for column, value in enumerate(["n", "double", "word", "sum", "text"]):
        sheet.write(0, column, value)
    formulas = ["A2*2", 'IF(A2>1,"x","")', "SUM(A2:A3)", 'A2&"!"']
    for column, formula in enumerate(formulas, 1):
        sheet.write(1, column, xlwt.Formula(formula))
    sheet.write(1, 0, 7)
    book.save(str(tmp_path / "b.xls"))
    cells = everything(tmp_path / "b.xls")["cells"]
    assert [cells[2, n] for n in range(5)] == [("number", 7.0)] + 4 * [("formula", "=?")]


def test_xls_of_xlwt_has_no_results_whatever_the_formula_gives(tmp_path: Path) -> None:
    """'' may be what a branch or a look-up gives; that only xlwt writes no name of a user says that it is none."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for column, formula in enumerate(['IF(A2>1,"x","")', "VLOOKUP(A2,A1:B9,2)"], 1):
        sheet.write(0, column, f"f{column}")
        sheet.write(1, column, xlwt.Formula(formula))
    sheet.write(0, 0, "n")
    sheet.write(1, 0, 7)
    book.save(str(tmp_path / "b.xls"))
    cells = everything(tmp_path / "b.xls")["cells"]
    assert [cells[2, n] for n in range(3)] == [("number", 7.0)] + 2 * [("formula", "=?")]


def xlsb_formula(kind: int, column: int, result: bytes, tokens: bytes) -> bytes:
    return record(kind, struct.pack("<II", column, 0) + result + bytes(2) + struct.pack("<I", len(tokens)) + tokens)


def test_xlsb_formulas_that_were_not_calculated(tmp_path: Path) -> None:
    """Joined texts whose result is the number 0, a product whose result is ''; a sum that is 0 is a result."""
    reference = b"\x44" + struct.pack("<IH", 0, 0)
    join, times = reference + b"\x17" + struct.pack("<H", 1) + b"!\0\x08", reference + b"\x1e\x02\x00\x05"
    shared = b"\x01" + struct.pack("<I", 1)
    zero = struct.pack("<d", 0)
    row = record(0, struct.pack("<IIHBB", 1, 0, 300, 0, 0) + b"\0" + struct.pack("<I", 0))
    cells = [(9, zero, join), (9, zero, times), (8, wide("x"), join), (8, wide(""), times), (9, zero, shared)]
    row += b"".join(xlsb_formula(kind, column, *rest) for column, (kind, *rest) in enumerate(cells))
    row += record(427, struct.pack("<IIII", 1, 1, 4, 4) + struct.pack("<I", len(join)) + join)
    path = tmp_path / "b.xlsb"
    write_xlsb(
        path, [Table([["a", "b", "c", "d", "e"]])], change=lambda part: part.replace(record(146), row + record(146))
    )
    cells = everything(path)["cells"]
    formula = ("formula", "=?")
    assert [cells[2, n] for n in range(5)] == [formula, ("number", 0.0), ("text", "x"), formula, formula]


NUMBER, BLANK, TWO = bytes(8), b"\x03" + bytes(5) + b"\xff\xff", struct.pack("<d", 2)
JOIN, TIMES, BRANCH = (
    b"\x1e\x01\x00\x17\x01\x00!\x08",
    b"\x1e\x01\x00\x1e\x02\x00\x05\x15",
    b"\x1e\x01\x00\x42\x03\x01\x00",
)
VOLATILE = b"\x19\x01\x00\x00" + BRANCH
RESULTS = {
    "a product is 2": ([(TWO, 0, TIMES)], []), "a product is 0": ([(NUMBER, 0, TIMES)], []),
    "a branch is ''": ([(BLANK, 0, BRANCH)], []), "a joined text is ''": ([(BLANK, 0, JOIN)], []),
    "a product is ''": ([(BLANK, 0, TIMES), (BLANK, 0, BRANCH), (TWO, 0, TIMES)], [0, 1]),
    "a joined text is 0": ([(NUMBER, 0, JOIN), (NUMBER, 0, TIMES)], [0]),
    "all that are calculated on opening are 0": ([(NUMBER, 2, TIMES), (NUMBER, 2, BRANCH)], [0, 1]),
    "some are not": ([(NUMBER, 2, TIMES), (TWO, 2, BRANCH)], []),
    "a volatile one is 0": ([(NUMBER, 3, VOLATILE)], []),
    "tokens that are not known": ([(NUMBER, 0, b"\x18\x01" + JOIN), (NUMBER, 0, b"\x08\x17")], []),
}  # fmt: skip


@pytest.mark.parametrize(("formulas", "wanted"), RESULTS.values(), ids=RESULTS)
def test_xls_result_that_a_formula_cannot_have(formulas: list[Any], wanted: list[int]) -> None:
    sheet = record16(0x809, bytes(16))
    for row, (result, flags, tokens) in enumerate(formulas):
        chart = record16(0x809, bytes(16)) + record16(6, b"\xff" * 40) + record16(10)
        head = struct.pack("<HHH8sHI", row, 5, 15, result, flags, 0)
        sheet += chart + record16(6, head + struct.pack("<H", len(tokens)) + tokens)
    sheet += record16(10) + record16(6, b"\xff" * 40)
    for data in (sheet, sheet[:-48]):
        assert find_uncalculated(data, walk_sheet(data, 0), 80) == {(row, 5) for row in wanted}
    for size in range(0, len(sheet), 7):
        assert find_uncalculated(sheet[:size], walk_sheet(sheet[:size], 0), 80) is not None


def record16(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def test_xls_formula_that_cells_share(tmp_path: Path) -> None:
    tokens = struct.pack("<H", len(JOIN)) + JOIN
    refers = struct.pack("<HBHH", 5, 1, 1, 2)
    sheet = record16(0x809, bytes(16))
    sheet += record16(6, struct.pack("<HHH8sHI", 1, 2, 15, NUMBER, 8, 0) + refers)
    sheet += record16(0x4BC, struct.pack("<HHBBBB", 1, 2, 2, 2, 0, 2) + tokens)
    sheet += record16(6, struct.pack("<HHH8sHI", 2, 2, 15, NUMBER, 8, 0) + refers)
    sheet += record16(6, struct.pack("<HHH8sHI", 3, 2, 15, NUMBER, 8, 0) + refers) + record16(10)
    assert find_uncalculated(sheet, walk_sheet(sheet, 0), 80) == {(1, 2), (2, 2)}


def test_xls_of_excel_5(tmp_path: Path) -> None:
    """Texts of one byte a character, in the code page that the workbook names; written by hand into a container of xlwt's."""
    font = record16(0x31, struct.pack("<HHHHHBBBBB", 200, 0, 0x7FFF, 400, 0, 0, 0, 0, 0, 5) + b"Arial")
    style = record16(0xE0, struct.pack("<HHHHHHHH", 0, 0, 0xFFF5, 0x20, 0x20C0, 0, 0, 0))
    date = record16(0xE0, struct.pack("<HHHHHHHH", 0, 14, 1, 0x20, 0x20C0, 0, 0, 0))
    head = record16(0x809, struct.pack("<HHHH", 0x500, 5, 0x96C, 0x7C9)) + record16(0x42, struct.pack("<H", 1250))
    head += font * 4 + style * 15 + record16(0xE0, struct.pack("<HHHHHHHH", 0, 0, 1, 0x20, 0x20C0, 0, 0, 0)) + date
    sheet = record16(0x809, struct.pack("<HHHH", 0x500, 0x10, 0x96C, 0x7C9)) + record16(
        0x200, struct.pack("<HHHHH", 0, 3, 0, 3, 0)
    )
    for column, text in enumerate(("město", "n", "den")):
        sheet += record16(0x204, struct.pack("<HHHH", 0, column, 15, len(text)) + text.encode("cp1250"))
    sheet += record16(0x204, struct.pack("<HHHH", 1, 0, 15, 7) + "Třebíč!".encode("cp1250"))
    sheet += record16(0x203, struct.pack("<HHHd", 1, 1, 15, 2.5)) + record16(
        0x27E, struct.pack("<HHHI", 1, 2, 16, 45351 << 2 | 2)
    )
    sheet += record16(
        6, struct.pack("<HHH8sHI", 2, 1, 15, NUMBER, 0, 0) + struct.pack("<H", 7) + b"\x1e\x01\x00\x17\x01!\x08"
    ) + record16(10)
    place = len(head) + 4 + 6 + 1 + 4 + 4
    book = head + record16(0x85, struct.pack("<IH", place, 0) + b"\x04Data") + record16(10)
    assert len(book) == place
    path = tmp_path / "b.xls"
    with path.open("wb") as file:
        XlsDoc().save(file, (book + sheet).ljust(4096, b"\0"))
    name = "Workbook\0".encode("utf-16-le")
    data = path.read_bytes().replace(name, "Book\0".encode("utf-16-le").ljust(len(name), b"\0"))
    at = data.find("Book\0".encode("utf-16-le"))
    path.write_bytes(data[: at + 64] + struct.pack("<H", 10) + data[at + 66 :])
    assert everything(path)["cells"] == {
        (1, 0): ("text", "město"), (1, 1): ("text", "n"), (1, 2): ("text", "den"), (2, 0): ("text", "Třebíč!"),
        (2, 1): ("number", 2.5), (2, 2): ("datetime", dt.datetime(2024, 2, 29)), (3, 1): ("formula", "=?"),
    }  # fmt: skip


def test_emoji_whose_halves_lie_in_two_records_of_an_xls_is_named(tmp_path: Path) -> None:
    """LibreOffice writes such files, too, and both readers lose the character: nothing is damaged."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for n in range(2):  # of the two, one is cut within a pair, whatever stands before them
        sheet.write(n, 0, "x" * n + "😀" * 9_000)
    book.save(str(tmp_path / "t.xls"))
    with pytest.raises(InputError, match="a character beyond U\\+FFFF, such as an emoji, lies in two records"):
        everything(tmp_path / "t.xls")
