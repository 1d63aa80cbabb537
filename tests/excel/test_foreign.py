"""Files that other programs, or nobody, should have written: one cell is a reject, or the file is refused with words."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commandline import importer
from support.rawbook import (
    CLOCK,
    DATE,
    ELAPSED,
    MAIN,
    STAMP,
    RawBook,
    RawSheet,
    boolean,
    inline,
    number,
    row,
    shared,
    write_rows,
)
from support.reading import read_cells, reading

from importer.errors import InputError, ReaderDied, WorkbookRefused
from importer.excel.addresses import column_letters
from importer.excel.workbook import open_workbook
from importer.settings import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

HEADER = row(1, inline("A1", "a"), inline("B1", "b"))
SHEET = "xl/worksheets/sheet1.xml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.xlsx"


# ---- CELLS ------------------------------------------------------------------------------------------------------

CELLS = {
    "inline text in v": ('<c r="B2" t="inlineStr"><v>x &amp; y</v></c>', ("text", "x & y")),
    "inline text without t": ('<c r="B2" t="inlineStr"><is>x &amp; y</is></c>', ("unreadable", "x & y")),
    "value in an unknown element": ('<c r="B2"><value> 5 </value></c>', ("unreadable", "5")),
    "reference to NUL": ('<c r="B2" t="str"><v>a&#0;b</v></c>', ("text", "a\0b")),
    "references to halves of a character": ('<c r="B2" t="str"><v>&#xD83D;&#56832;</v></c>', ("text", "\U0001f600")),
    "reference to half a character": ('<c r="B2" t="str"><v>a&#xD83D;</v></c>', ("text", "a_xD83D_")),
    "inline text twice": ('<c r="B2" t="inlineStr"><is><t>a</t></is><is><t>b</t></is></c>', ("unreadable", None)),
    "inline text and v": ('<c r="B2" t="inlineStr"><is><t>a</t></is><v>b</v></c>', ("unreadable", None)),
    "shared string with is": ('<c r="B2" t="s"><is><t>x</t></is></c>', ("text", "x")),
    "shared string of no index": ('<c r="B2" t="s"><v>1.002</v></c>', ("unreadable", "1.002")),
    "unknown type": ('<c r="B2" t="foo"><v>1</v></c>', ("unreadable", "1")),
    "empty type": ('<c r="B2" t=""><v>1</v></c>', ("unreadable", "1")),
    "number that is a text": ('<c r="B2" t="n"><v>1,5</v></c>', ("unreadable", "1,5")),
    "number with spaces": ('<c r="B2" t="n"><v> 5 </v></c>', ("number", 5.0)),
    "number beyond floats": ('<c r="B2" t="n"><v>1e400</v></c>', ("unreadable", None)),
    "two values": ('<c r="B2"><v>1</v><v>2</v></c>', ("unreadable", "several values: 1 | 2")),
    "empty and a value": ('<c r="B2"><v/><v>2</v></c>', ("number", 2.0)),
    "empty value": ('<c r="B2"><v/></c>', None),
    "empty result": ('<c r="B2" t="str"><f>A1</f><v/></c>', ("text", "")),
    "boolean in words": ('<c r="B2" t="b"><v>false</v></c>', ("boolean", False)),
    "true in words": ('<c r="B2" t="b"><v>TRUE</v></c>', ("boolean", True)),
    "unknown error": ('<c r="B2" t="e"><v xml:space="preserve">#SPILL!</v></c>', ("error", "#SPILL!")),
    "extension": ('<c r="B2"><v>7</v><extLst><ext uri="u"><v>8</v></ext></extLst></c>', ("number", 7.0)),
    "address in lower case": ('<c r="b2"><v>7</v></c>', ("number", 7.0)),
    "address with zeros": ('<c r="B0000000002"><v>7</v></c>', ("number", 7.0)),
    "attributes on lines": ('<c\n r="B2"\n t="b"\n><v>1</v></c>', ("boolean", True)),
    "no address": ("<c><v>7</v></c>", ("number", 7.0)),
}


@pytest.mark.parametrize(("cell", "wanted"), CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("late", [False, True])
def test_odd_cell_among_good_ones(path: Path, cell: str, wanted: tuple[str, object] | None, late: bool) -> None:
    """Also far from the start of the sheet, where the spelling is no longer looked for."""
    line = 4_000 if late else 2
    fill = "".join(row(n, number(f"A{n}", n), shared(f"B{n}", 1), attributes=' spans="1:2"') for n in range(2, line))
    odd = row(line, number(f"A{line}", -1), re.sub("([Bb]0*)2", rf"\g<1>{line}", cell))
    write_rows(path, HEADER + fill + odd + row(line + 1, number(f"A{line + 1}", 3)), strings=["<t>n</t>", "<t>s</t>"])
    with reading(path) as source:
        found = read_cells(source)
    assert found[line, 0] == ("number", -1.0)
    assert found[line + 1, 0] == ("number", 3.0)
    got = found.get((line, 1))
    assert (got if wanted is None or wanted[1] is not None or got is None else (got[0], None)) == wanted
    assert len(found) == 2 + 2 * (line - 2) + 2 + (wanted is not None)


def test_only_the_bad_cells_are_rejected(db: Database, path: Path) -> None:
    bad = {3: '<c r="B3" t="n"><v>n/a</v></c>', 5: '<c r="B5" t="inlineStr"><is><t>a</t></is><v>b</v></c>'}
    rows = "".join(row(n, number(f"A{n}", n), bad.get(n) or number(f"B{n}", n)) for n in range(2, 8))
    report = db.load(write_rows(path, HEADER + rows), table="t", workers=0)
    assert (report.success_count, report.error_count) == (4, 2)
    assert db.rows("select a from t order by a") == [(n,) for n in (2, 4, 6, 7)]


# ---- ADDRESSES --------------------------------------------------------------------------------------------------

NO_ADDRESS = [
    "A0",
    "XFE2",
    "AAAA2",
    "ZZZZ2",
    "AAAAAAA2",
    "A1048577",
    "A4294967298",
    "A18446744073709551618",
    "A-2",
    "2",
    "A",
    "$A$2",
    "",
]


@pytest.mark.parametrize("ref", NO_ADDRESS)
def test_address_that_no_sheet_has_is_refused(path: Path, ref: str) -> None:
    write_rows(path, HEADER + row(2, number("A2", 1), number(ref, 7)) + row(3, number("A3", 3)))
    with pytest.raises(WorkbookRefused, match=r"a cell (lies beyond|in row 2 has the address)"), reading(path):
        pass


@pytest.mark.parametrize("line", ["0", "-1", "x", "1048577", "4294967298", "18446744073709551618"])
def test_row_number_that_no_sheet_has_is_refused(path: Path, line: str) -> None:
    write_rows(path, HEADER + f'<row r="{line}"><c><v>1</v></c></row>' + row(3, number("A3", 3)))
    with pytest.raises(InputError, match=r"a row has the number|(has a row|a cell lies) beyond"), reading(path):
        pass


def test_cell_that_is_written_twice_is_refused_with_its_address(path: Path) -> None:
    write_rows(path, HEADER + row(2, number("A2", 1), number("B2", 2), number("A2", 3)))
    with pytest.raises(WorkbookRefused, match="cell A2 is written twice"), reading(path):
        pass


@given(st.permutations(range(2, 8)), st.permutations("ABCD"), st.booleans(), st.booleans())
@settings(max_examples=settings().max_examples // 3)
def test_rows_and_cells_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, lines: list[int], letters: list[str], split: bool, loose: bool
) -> None:
    """Each cell is where its address says; a row may be written in pieces, and a cell may stand outside of the rows."""
    parts = []
    for n in lines:
        cells = [number(f"{c}{n}", n * 10 + ord(c)) for c in letters]
        parts += [row(n, cell) for cell in cells] if split else [row(n, *cells)]
    head = row(1, *(inline(f"{c}1", c) for c in "ABCD"))
    path = tmp_path_factory.getbasetemp() / "order.xlsx"
    write_rows(path, head + "".join(parts) + (number("A9", 1) if loose else ""))
    with reading(path, header_rows=(1, 1)) as source:
        found = {place: value for place, (_, value) in read_cells(source).items() if place[0] > 1}
    wanted = {(n, ord(c) - 65): n * 10 + ord(c) for n in lines for c in letters}
    assert found == wanted | ({(9, 0): 1} if loose else {})


# ---- DATES AND DURATIONS ----------------------------------------------------------------------------------------

SERIALS = ["999999999", "1e9", "106751991", "106751992", "-106751992", "-1e9", "1e15", "1e300", "1e308", "-1e308"]


@pytest.mark.parametrize("serial", SERIALS)
def test_one_duration_that_cannot_be_stored(db: Database, path: Path, serial: str) -> None:
    cells = ["0.5", "1.25", serial, "2"]
    rows = "".join(row(n, number(f"A{n}", n), number(f"B{n}", x, ELAPSED)) for n, x in enumerate(cells, 2))
    report = db.load(write_rows(path, HEADER + rows), table="t", workers=0)
    fits = abs(float(serial)) < 106751991.1
    assert report.error_count == (0 if fits else 1)
    assert [r.example for r in report.rules] == ([] if fits else ["Data!B4"])
    days = "select (extract(epoch from b) / 86400)::float8 from t order by a"
    assert [d for (d,) in db.rows(days)] == [0.5, 1.25, *([float(serial)] if fits else []), 2.0]


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, 59.9, 60.0, 61.0, 2958465.999, 2958466.0, -0.001, 106751991.167])
    | st.integers(-(10**19), 10**19).map(float),
    st.sampled_from([DATE, STAMP, CLOCK, ELAPSED]),
)
def test_every_serial_is_a_value_or_a_reject(
    tmp_path_factory: pytest.TempPathFactory, serial: float, style: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "serial.xlsx"
    write_rows(path, HEADER + row(2, number("A2", "0.5", style), number("B2", repr(serial), style)))
    with reading(path, header_rows=(1, 1)) as source:
        kind, value = read_cells(source)[2, 1]
    if style == ELAPSED:
        assert kind == ("duration" if abs(serial) * 86_400_000 <= (2**63 - 1) // 1000 else "unreadable")
        assert kind != "duration" or abs(value.total_seconds() - serial * 86_400) <= max(1e-3, abs(serial) * 1e-9)
    else:
        good = 0 <= serial < 2958466 and not 60 <= serial < 61
        assert (kind in {"datetime", "time"}) or not good or serial > 2958465.9999


# ---- PARTS ------------------------------------------------------------------------------------------------------

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "utf-7", "utf-32", "cp037"]


@pytest.mark.parametrize("part", [SHEET, "xl/workbook.xml", "xl/sharedStrings.xml", "xl/styles.xml"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("declared", [None, "utf-7", "utf-16", "no-such"])
def test_part_in_another_encoding(path: Path, part: str, encoding: str, declared: str | None) -> None:
    """It is read as it is, or refused with words; never read as something else."""
    good = {(1, 0): ("text", "a"), (2, 0): ("text", "é"), (2, 1): ("datetime", None)}
    rows = row(1, shared("A1", 0), shared("B1", 1)) + row(2, shared("A2", 2), number("B2", 45000, STAMP))
    book = RawBook([RawSheet(rows)], strings=["<t>a</t>", "<t>b</t>", "<t>é</t>"])
    xml = book._parts()[part]
    assert isinstance(xml, str)
    said = declared or encoding.removesuffix("-sig")
    xml = re.sub(r"<\?xml.*?\?>", f'<?xml version="1.0" encoding="{said}"?>', xml)
    RawBook(book.sheets, book.strings, parts={part: xml.encode(encoding, "xmlcharrefreplace")}).write(path)
    try:
        with reading(path, header_rows=(1, 1)) as source:
            found = read_cells(source)
    except ReaderDied:
        raise
    except InputError:  # any other error fails the test
        return
    assert (found[2, 1][0], found[2, 0]) == (good[2, 1][0], good[2, 0])


def test_two_relationships_of_one_id_are_refused(path: Path) -> None:
    write_rows(path, HEADER)
    book = RawBook([RawSheet(HEADER + row(2, number("A2", 1))), RawSheet(HEADER)])
    rels = str(book._parts()["xl/_rels/workbook.xml.rels"]).replace('Id="rId2"', 'Id="rId1"')
    RawBook(book.sheets, parts={"xl/_rels/workbook.xml.rels": rels}).write(path)
    with pytest.raises(WorkbookRefused, match="two relationships .* have the id 'rId1'"):
        open_workbook(path, Limits())


def test_sheet_that_is_not_in_the_file_matters_only_if_it_is_read(path: Path) -> None:
    book = RawBook([RawSheet(HEADER, name="Module1", state="veryHidden"), RawSheet(HEADER, name="Data")])
    rels = str(book._parts()["xl/_rels/workbook.xml.rels"]).replace("sheet1.xml", "gone.xml")
    RawBook(book.sheets, parts={"xl/_rels/workbook.xml.rels": rels}).write(path)
    workbook = open_workbook(path, Limits())
    assert workbook.sheet(None).name == "Data"
    with pytest.raises(WorkbookRefused, match="sheet 'Module1' has no part in the file"):
        workbook.sheet("Module1")


def test_visible_sheet_without_relationship_has_no_cells(path: Path) -> None:
    """A module of Excel 95 may stand before the data; what a relationship names and is not there had cells."""
    book = RawBook([RawSheet(HEADER, name="Module1"), RawSheet(HEADER + row(2, number("A2", 1)), name="Data")])
    listed = str(book._parts()["xl/workbook.xml"])
    for relation in ('r:id=""', 'r:id="rId99"', ""):
        RawBook(book.sheets, parts={"xl/workbook.xml": listed.replace('r:id="rId1"', relation)}).write(path)
        with reading(path) as source:
            assert source.sheet.name == "Data"
            assert any("Module1 (not in the file)" in note for note in source.notes())


def test_targets_and_names_of_parts_are_addresses(path: Path) -> None:
    """They may be percent-encoded, or climb above the root, which is the root."""
    parts = RawBook([RawSheet(HEADER + row(2, shared("A2", 0)))], strings=["<t>x</t>"])._parts()
    parts["xl/my%20sheet.xml"] = parts.pop(SHEET)
    parts["texts.xml"] = parts.pop("xl/sharedStrings.xml")
    name = "xl/_rels/workbook.xml.rels"
    for folder in ("../../", "../", "/"):
        rels = str(parts[name]).replace("worksheets/sheet1.xml", "my%20sheet.xml")
        rewritten = {**parts, name: rels.replace("sharedStrings.xml", f"{folder}texts.xml")}
        with zipfile.ZipFile(path, "w") as package:
            for part, content in rewritten.items():
                package.writestr(part, content)
        with reading(path) as source:
            assert read_cells(source)[2, 0] == ("text", "x")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<sheetData>", '<sheetData xmlns="{}">'),
        ("<sheetData><row ", '<sheetData xmlns="{0}"><row xmlns="{0}" '),
        ("<c r", '<c xmlns="{}" r'),
        ("<(/?)(row|c|is|t|v)\\b", "<\\1y:\\2"),
    ],
)
def test_namespaces_declared_below_the_root(path: Path, old: str, new: str) -> None:
    """Some programs repeat the namespace at every element, or have a prefix for some of them."""
    xml = str(RawSheet(HEADER + row(2, number("A2", 1), inline("B2", "x"))).part())
    xml = re.sub(old, new.replace("{}", MAIN).replace("{0}", MAIN), xml)
    xml = xml.replace("<sheetData>", f'<sheetData xmlns:y="{MAIN}">') if "y:" in new else xml
    write_rows(path, "", xml=xml)
    with reading(path) as source:
        assert ([c.name for c in source.header.columns], source.rows) == (["a", "b"], 1)


def test_texts_that_are_not_utf_8_are_named(path: Path) -> None:
    """Latin-1 in a part that says it is UTF-8."""
    xml = str(RawSheet(HEADER + row(2, number("A2", 1), inline("B2", "caf@"))).part()).encode()
    write_rows(path, "", xml=xml.replace(b"@", b"\xe9"))
    with pytest.raises(WorkbookRefused, match="the text in cell B2 is not UTF-8"), reading(path):
        pass
    parts = RawBook([RawSheet(row(1, shared("A1", 0)) + row(2, shared("A2", 1)))], strings=["<t>a</t>", "<t>@</t>"])
    strings = str(parts._parts()["xl/sharedStrings.xml"]).encode().replace(b"@", b"\xe9")
    RawBook(parts.sheets, parts.strings, parts={"xl/sharedStrings.xml": strings}).write(path)
    with pytest.raises(WorkbookRefused, match="the shared strings are not UTF-8"), reading(path):
        pass


@pytest.mark.parametrize(
    ("entry", "target"), [("\\", "\\"), ("/", "/"), ("./", "./"), ("", "\\xl\\"), ("/", "..\\xl\\")]
)
def test_zip_with_other_names_of_parts(path: Path, entry: str, target: str) -> None:
    """Backslashes, a leading slash or dot, in names of entries and in targets."""
    parts = RawBook([RawSheet(HEADER + row(2, boolean("A2", value=True)))])._parts()
    with zipfile.ZipFile(path, "w") as package:
        for name, content in parts.items():
            written, text = name.replace("/", "\\") if entry == "\\" else entry + name, content
            if name.endswith("workbook.xml.rels"):
                start = {"\\": "", "/": "/xl/"}.get(target, target)
                text = str(text).replace('Target="worksheets/', f'Target="{start}worksheets/')
                text = text.replace("worksheets/", "worksheets\\") if "\\" in target else text
            package.writestr(written, text)
    with reading(path) as source:
        assert source.rows == 1


def test_hidden_columns_that_overlap_are_listed_once(path: Path) -> None:
    columns = (
        '<cols><col min="1" max="16384" hidden="1"/>' + '<col min="2" max="99999" hidden="1"/>' * 20_000 + "</cols>"
    )
    write_rows(path, HEADER + row(2, number("A2", 1)), before=columns)
    with reading(path) as source:
        assert source.cut.hidden_columns == ((0, 16383),)


def test_rows_without_cells_in_one_tag(path: Path) -> None:
    """More of them than a row may have bytes, before, between and behind the rows with cells, and white space last."""
    empty = "".join(f'<row r="{n}" spans="1:2" ht="15" customHeight="1"/>\n' for n in range(3, 60_000))
    tail = "".join(f'<row r="{n}" ht="15"/>' for n in range(60_001, 1_048_577))
    rows = HEADER + row(2, number("A2", 1)) + empty + row(60_000, number("A60000", 2)) + tail + "\n" * 9
    write_rows(path, rows)
    with reading(path, limits=Limits(row_bytes=100_000)) as source:
        assert source.rows == 2


def test_more_columns_than_half_of_what_a_query_gives(db: Database, path: Path) -> None:
    """Verification asks for two numbers of each."""
    letters = [column_letters(n) for n in range(900)]
    head, line = (row(n, *(number(f"{c}{n}", k) for k, c in enumerate(letters))) for n in (1, 2))
    report = db.load(write_rows(path, head + line), table="t", workers=0, header_row=0)
    assert (report.success_count, len(report.columns)) == (2, 900)


@pytest.mark.parametrize(("kind", "says"), [("_localImage", True), ("_webimage", True), ("_error", False)])
def test_pictures_in_cells_are_said_to_be_some(db: Database, path: Path, kind: str, says: bool) -> None:
    """They have an error value for older programs; so have errors of a new kind, which are none."""
    cell = '<c r="B2" t="e" vm="1"><v>#VALUE!</v></c>'
    part = f'<rvStructures xmlns="x" count="1"><s t="{kind}"><k n="a" t="i"/></s></rvStructures>'
    lines = HEADER + row(2, number("A2", 1), cell) + row(3, number("A3", 2))
    write_rows(path, lines, parts={"xl/richData/rdrichvaluestructure.xml": part})
    report = db.load(path, table="t", workers=0)
    assert (report.success_count, report.error_count) == (1, 1)
    assert any("pictures in cells have the error value #VALUE! in the file (b)" in str(n) for n in report.notes) == says


# ---- NAMES OF FILES ---------------------------------------------------------------------------------------------


def test_file_names(tmp_path: Path) -> None:
    good = write_rows(tmp_path / "good.xlsx", HEADER + row(2, number("A2", 1)))
    loop, fifo, long = tmp_path / "loop.xlsx", tmp_path / "fifo.xlsx", tmp_path / ("x" * 5000)
    loop.symlink_to(loop)
    os.mkfifo(fifo)
    bad = {
        os.fsdecode(b"caf\xe9.xlsx"): "is not UTF-8 text: 'caf\\xe9.xlsx'", loop.name: "Too many levels",
        fifo.name: "is a pipe or a device", str(long): "File name too long", "~$good.xlsx": "is the lock file",
        ".~lock.good.xlsx#": "that LibreOffice keeps", "._good.xlsx": "is what macOS keeps beside a file",
        "good.xlsx/a": "Not a directory", "/dev/null": "is a pipe or a device", ".": "is a folder",
    }  # fmt: skip
    for name in (os.fsdecode(b"caf\xe9.xlsx"), "~$good.xlsx", ".~lock.good.xlsx#", "._good.xlsx", "new\nline.xlsx"):
        shutil.copy(good, tmp_path / name)
    for name, words in bad.items():
        with pytest.raises(WorkbookRefused, match=re.escape(words).replace("caf", ".*caf")):
            open_workbook(tmp_path / name, Limits())
    with pytest.raises(WorkbookRefused, match="no file can be named"):
        open_workbook(tmp_path / "nul\0.xlsx", Limits())
    assert len(open_workbook(tmp_path / "new\nline.xlsx", Limits()).sheets) == 1


def test_loop_with_a_rejects_file_and_options_that_are_no_text(tmp_path: Path) -> None:
    loop = tmp_path / "loop.xlsx"
    loop.symlink_to(loop)
    ran = importer("check", loop, "--rejects", tmp_path / "r.csv", "--to", "postgresql:///?host=/nowhere", cwd=tmp_path)
    assert (ran.code, "Too many levels" in ran.err) == (3, True)
    good = write_rows(tmp_path / "good.xlsx", HEADER + row(2, number("A2", 1)))
    ran = importer("inspect", good, "--sheet", os.fsdecode(b"\xe9"), cwd=tmp_path)
    assert (ran.code, "--sheet is not UTF-8 text" in ran.err) == (2, True)


def test_row_whose_number_is_none(path: Path) -> None:
    """Its cells have no addresses, which would tell; nothing says in which row they are."""
    write_rows(path, HEADER + '<row r="2"><c><v>1</v></c></row><row r="x"><c><v>2</v></c></row>')
    with pytest.raises(InputError, match="a row has the number 'x'"), reading(path, header_rows=(1, 1)):
        pass
