"""Files made to hurt: each is refused with a message of its own, within bounds, and leaves nothing behind."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
from support.commandline import MIB, assert_clean, importer
from support.rawbook import MAIN, RawBook, RawSheet, inline, row, write_rows
from support.reading import reading

from importer.errors import InputError
from importer.inspection import inspect_workbook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Database

#: Own memory of all processes together; a harmless run needs about 300 MiB, one worker may have 2048 more.
MEMORY = 1200 * MIB
SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"
HEADER = row(1, inline("A1", "a"), inline("B1", "b"))
GOOD = HEADER + row(2, inline("A2", "x"), inline("B2", "y"))
BOMB = (
    '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "{"&a;" * 10 if n == 1 else f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]>"
)
EXTERNAL = '<!DOCTYPE w [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


def far_corners(path: Path) -> Path:
    return write_rows(path, row(1, inline("A1", "a")) + row(1_048_576, '<c r="XFD1048576"><v>1</v></c>'))


def last_row(path: Path) -> Path:
    return write_rows(path, GOOD + row(1_048_576, *(f'<c r="{c}1048576"><v>1</v></c>' for c in "AB")))


def beyond_last_column(path: Path) -> Path:
    return write_rows(path, GOOD + row(3, '<c r="ZZZZ1"><v>1</v></c>'))


def beyond_last_column_in_header(path: Path) -> Path:
    return write_rows(path, row(1, inline("XFE1", "a")) + row(2, '<c r="XFE2"><v>1</v></c>'))


def beyond_last_row(path: Path) -> Path:
    return write_rows(path, GOOD + row(1_048_577, '<c r="A1048577"><v>1</v></c>'))


def row_number_overflow(path: Path) -> Path:
    return write_rows(path, GOOD + row(99_999_999_999, '<c r="A99999999999"><v>1</v></c>'))


def equal_headers(path: Path) -> Path:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["same"] * 2000)
        sheet.write_row(1, 0, [1] * 2000)
    return path


def long_string_repeated(path: Path) -> Path:
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>1</v></c></row>' for n in range(2, 400_002))
    head = row(1, '<c r="A1" t="s"><v>0</v></c>')
    return write_rows(path, head + rows, strings=["<t>head</t>", f"<t>{'x' * 32_767}</t>"])


def bomb(part: str, declaration: str, encoding: str = "utf-8") -> Callable[[Path], Path]:
    """A workbook with a document type declaration in front of one of its parts."""

    def build(path: Path) -> Path:
        write_rows(
            path,
            row(1, '<c r="A1" t="s"><v>0</v></c>') + row(2, '<c r="A2" t="s"><v>1</v></c>'),
            strings=["<t>a</t>", "<t>b</t>"],
        )
        return altered(path, part, lambda xml: declare(xml, declaration, encoding))

    return build


def declare(xml: bytes, declaration: str, encoding: str) -> bytes:
    body = xml.decode().partition("?>")[2].replace("<t>b</t>", "<t>&a9;</t>" if declaration == BOMB else "<t>&x;</t>")
    return f'<?xml version="1.0" encoding="{encoding}"?>{declaration}{body}'.encode(encoding)


def altered(path: Path, part: str, change: Callable[[bytes], bytes]) -> Path:
    """The workbook with another content of one part."""
    with zipfile.ZipFile(path) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    parts[part] = change(parts[part])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in parts.items():
            package.writestr(name, content)
    return path


def blank_sheet(path: Path) -> Path:
    return write_rows(path, GOOD + " " * (300 << 20))


def blank_strings(path: Path) -> Path:
    return write_rows(
        path,
        row(1, '<c r="A1" t="s"><v>0</v></c>') + row(2, '<c r="A2" t="s"><v>1</v></c>'),
        strings=["<t>a</t>", "<t>b</t>" + " " * (300 << 20)],
    )


def huge_workbook_part(path: Path) -> Path:
    write_rows(path, GOOD)
    return altered(path, "xl/workbook.xml", lambda xml: xml.replace(b"</sheets>", b"</sheets>" + b"<a/>" * (17 << 20)))


def many_sheets(path: Path) -> Path:
    write_rows(path, GOOD)
    return altered(
        path,
        "xl/workbook.xml",
        lambda xml: xml.replace(b"</sheets>", b'<sheet name="x" sheetId="9" r:id="rId1"/>' * 150_000 + b"</sheets>"),
    )


def deep_workbook_part(path: Path) -> Path:
    write_rows(path, GOOD)
    return altered(
        path,
        "xl/workbook.xml",
        lambda xml: xml.replace(b"</sheets>", b"</sheets>" + b"<a>" * 500_000 + b"</a>" * 500_000),
    )


def lying_size(change: int) -> Callable[[Path], Path]:
    """A workbook whose directory declares another size of the sheet than it has."""

    def build(path: Path) -> Path:
        write_rows(path, GOOD)
        return patched_directory(path, SHEET, 24, lambda size: size + change)

    return build


def patched_directory(path: Path, part: str, offset: int, change: Callable[[int], int]) -> Path:
    """The workbook with another 4-byte number in the directory's entry of a part (APPNOTE 4.3.12)."""
    data = bytearray(path.read_bytes())
    entry = data.find(b"PK\x01\x02")
    while data[entry + 46 : entry + 46 + len(part)] != part.encode():
        entry = data.find(b"PK\x01\x02", entry + 1)
    (number,) = struct.unpack_from("<L", data, entry + offset)
    struct.pack_into("<L", data, entry + offset, change(number))
    path.write_bytes(data)
    return path


def wrong_offset(path: Path) -> Path:
    return patched_directory(write_rows(path, GOOD), SHEET, 42, lambda start: start + 7)


def altered_digit(path: Path) -> Path:
    with zipfile.ZipFile(write_rows(path, GOOD + row(3, '<c r="A3"><v>123456</v></c>'))) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as package:
        for name, content in parts.items():
            package.writestr(name, content)
    path.write_bytes(path.read_bytes().replace(b"<v>123456</v>", b"<v>123457</v>"))
    return path


def climbing_names(path: Path) -> Path:
    write_rows(path, GOOD)
    return altered(
        path,
        "xl/_rels/workbook.xml.rels",
        lambda xml: xml.replace(b"worksheets/sheet1.xml", b"../../../../../etc/passwd"),
    )


def double_part(path: Path) -> Path:
    write_rows(path, GOOD)
    with zipfile.ZipFile(path, "a") as package, pytest.warns(UserWarning, match="Duplicate name"):
        package.writestr(SHEET, GOOD)
    return path


def double_part_by_case(path: Path) -> Path:
    write_rows(path, GOOD)
    with zipfile.ZipFile(path, "a") as package:
        package.writestr(SHEET.upper(), GOOD)
    return path


def many_parts(path: Path) -> Path:
    write_rows(path, GOOD)
    with zipfile.ZipFile(path, "a") as package:
        for number in range(70_000):
            package.writestr(f"x/{number}", "")
    return path


def huge_directory(path: Path) -> Path:
    """300,000 entries, whose directory is 15 MB; only its size is looked at."""
    write_rows(path, GOOD)
    with zipfile.ZipFile(path, "a") as package:
        for number in range(1000):
            package.writestr(f"x/{number:04}{'n' * 60_000}", "")
    return path


def open_row(path: Path) -> Path:
    return write_rows(path, "", xml=f'<worksheet xmlns="{MAIN}"><sheetData>{GOOD}<row r="3"><c r="A3"><v>1</v></c>')


def open_row_large(path: Path) -> Path:
    cells = "".join(f'<c r="A2"><v>{n}</v></c>' for n in random.Random(1).sample(range(10**9), 100_000))
    return write_rows(path, "", xml=f'<worksheet xmlns="{MAIN}"><sheetData>{HEADER}<row r="2">' + cells * 120)


def sheet_cut_short(path: Path) -> Path:
    return write_rows(path, "", xml=f'<worksheet xmlns="{MAIN}"><sheetData>{GOOD}<row r="3"><c r="A3"><v>1')


def no_rows_element(path: Path) -> Path:
    return write_rows(path, "", xml=f'<worksheet xmlns="{MAIN}"></worksheet>')


def missing_part(path: Path) -> Path:
    RawBook([RawSheet(GOOD), RawSheet(GOOD, name="Other")]).write(path)
    return without(path, SHEET)


def without(path: Path, part: str) -> Path:
    """The package without a part."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as package, zipfile.ZipFile(buffer, "w") as out:
        for name in package.namelist():
            if name != part:
                out.writestr(name, package.read(name))
    path.write_bytes(buffer.getvalue())
    return path


def hidden_beside_missing(path: Path) -> Path:
    RawBook([RawSheet(GOOD), RawSheet(GOOD, name="Secret", state="hidden")]).write(path)
    return without(path, SHEET)


def missing_styles(path: Path) -> Path:
    return without(write_rows(path, [row(1, '<c r="A1" s="1"><v>45000</v></c>')]), "xl/styles.xml")


def missing_strings(path: Path) -> Path:
    RawBook([RawSheet(row(1, '<c r="A1" t="s"><v>0</v></c>'))], strings=["<t>x</t>"]).write(path)
    return without(path, "xl/sharedStrings.xml")


@pytest.mark.parametrize("part", ["xl/styles.xml", "xl/sharedStrings.xml"])
def test_named_part_that_no_cell_needs(tmp_path: Path, part: str) -> None:
    """Some writers name both in every workbook; a cell that names the first style is as one that names none."""
    cells = row(1, inline("A1", "id")) + row(2, '<c r="A2" s="0"><v>1</v></c>') + row(3, '<c r="A3"><v>2</v></c>')
    book = RawBook([RawSheet(cells)], strings=["<t>x</t>"])
    book.write(tmp_path / "b.xlsx")
    with reading(without(tmp_path / "b.xlsx", part)) as source:
        assert [column.name for column in source.header.columns] == ["id"]
        assert source.rows == 2


def other_name_in_the_directory(path: Path) -> Path:
    """As a flipped bit makes it, or who shows one part to one reader and another one to the next."""
    write_rows(path, GOOD)
    before, name, after = path.read_bytes().rpartition(b"xl/styles.xml")
    path.write_bytes(before + name.replace(b".xml", b".xmm") + after)
    return path


def encrypted_part(path: Path) -> Path:
    write_rows(path, GOOD)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02", data.find(b"PK\x01\x02") + 1)
    while data[at + 46 : at + 46 + len(SHEET)] != SHEET.encode():
        at = data.find(b"PK\x01\x02", at + 1)
    data[at + 8] |= 1
    path.write_bytes(data)
    return path


#: Small files, refused in an instant.
REFUSED = {
    beyond_last_column: "a cell lies beyond column XFD",
    beyond_last_column_in_header: "a cell lies beyond column XFD",
    beyond_last_row: "has a row beyond 1,048,576",
    bomb(SHEET, BOMB): "document type declaration",
    bomb(SHEET, EXTERNAL): "document type declaration",
    bomb(SHEET, BOMB, "utf-16"): "document type declaration",
    bomb(STRINGS, BOMB): "document type declaration",
    bomb(STRINGS, EXTERNAL): "document type declaration",
    bomb(STRINGS, BOMB, "utf-16"): "document type declaration",
    bomb("xl/workbook.xml", BOMB): "document type declaration",
    bomb("xl/workbook.xml", EXTERNAL): "document type declaration",
    bomb("xl/workbook.xml", BOMB, "utf-16"): "document type declaration",
    bomb("xl/workbook.xml", EXTERNAL, "utf-16-le"): "document type declaration",
    bomb("xl/workbook.xml", EXTERNAL, "utf-16-be"): "document type declaration",
    bomb("xl/styles.xml", BOMB): "document type declaration",
    bomb("[Content_Types].xml", BOMB): "document type declaration",
    bomb("_rels/.rels", BOMB): "document type declaration",
    many_sheets: "lists more than 100,000 entries",
    lying_size(-1): "but holds more",
    lying_size(+1): "fails its checksum",
    lying_size(+(1 << 31)): "fails its checksum",
    wrong_offset: "is not where the zip directory says",
    altered_digit: "fails its checksum: the file was altered or damaged",
    climbing_names: "sheet 'Data' has no part in the file",
    double_part: f"two parts are named '{SHEET}'",
    double_part_by_case: f"two parts are named '{SHEET.upper()}'",
    open_row: "ends in the middle of its rows",
    sheet_cut_short: "ends in the middle of its rows",
    no_rows_element: "has no rows element",
    missing_part: "sheet 'Data' has no part in the file",
    hidden_beside_missing: "sheet 'Data' has no part in the file",
    missing_strings: "part 'xl/sharedStrings.xml', which cells refer to, is not in the file",
    missing_styles: "part 'xl/styles.xml', which cells refer to, is not in the file",
    other_name_in_the_directory: "part 'xl/styles.xmm' has another name in the file than in its directory",
    encrypted_part: "is encrypted",
}
#: Files that would take much memory or time: run as a process of its own, and watched.
HEAVY = {
    row_number_overflow: "a row has the number '99999999999'",
    equal_headers: "the header has 2,000 columns, a table can have 1,600",
    blank_sheet: "inflates to more than 200 times its size",
    blank_strings: "inflates to more than 200 times its size",
    huge_workbook_part: "far more than such a part needs",
    many_parts: "the workbook has 70,006 parts, more than 20,000",
    huge_directory: "too many parts, or their names are too long",
    open_row_large: "has a row of more than 268,435,456 bytes, or one without end",
}


def case_name(value: object) -> str | None:
    return getattr(value, "__qualname__", None)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("build", "message"), REFUSED.items(), ids=case_name)
def test_hostile_refused(tmp_path: Path, build: Callable[[Path], Path], message: str) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    with pytest.raises(InputError) as caught:
        inspect_workbook(build(tmp_path / "h.xlsx"), workers=1, temp_dir=spool)
    assert message in caught.value.fact
    assert caught.value.exit_code == 3
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(("build", "message"), HEAVY.items(), ids=case_name)
def test_hostile_heavy(tmp_path: Path, build: Callable[[Path], Path], message: str) -> None:
    ran = importer("inspect", build(tmp_path / "h.xlsx"), "--memory", 512, "--workers", 2, cwd=tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert message in ran.err
    assert_clean(ran)
    assert ran.peak < MEMORY


def test_hostile_long_string_repeated_costs_no_more_than_once(tmp_path: Path) -> None:
    book = long_string_repeated(tmp_path / "h.xlsx")
    ran = importer("inspect", book, "--memory", 512, "--workers", 2, "--json", cwd=tmp_path)
    assert (ran.code, ran.json["columns"][0]["kinds"]) == (0, {"text": 400_000})
    assert_clean(ran)
    assert ran.peak < MEMORY


@pytest.mark.parametrize(
    "build", [blank_sheet, altered_digit, open_row, beyond_last_column, bomb(SHEET, BOMB, "utf-16")], ids=case_name
)
@pytest.mark.parametrize("mode", ["replace", "create"])
def test_hostile_publishes_nothing(db: Database, tmp_path: Path, build: Callable[[Path], Path], mode: str) -> None:
    if mode == "replace":
        db.run(f"CREATE TABLE {db.schema}.h (a text)", f"INSERT INTO {db.schema}.h VALUES ('before')")
    ran = importer("run", build(tmp_path / "h.xlsx"), "--to", db.dsn.text, "--table", "h", "--mode", mode, cwd=tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert_clean(ran)
    found = db.rows(
        f"select relname::text from pg_class where relnamespace = '{db.schema}'::regnamespace and relkind = 'r'"
    )
    assert found == ([("h",)] if mode == "replace" else [])
    if mode == "replace":
        assert db.rows("select a from h") == [("before",)]
    assert db.leftovers() == []
    assert [p.name for p in tmp_path.iterdir()] == ["h.xlsx"]


def test_hostile_far_corners_are_two_cells(db: Database, tmp_path: Path) -> None:
    """Two cells at A1 and XFD1048576 are two cells, at two addresses; the engine would need 400 GB for them."""
    ran = importer(
        "run",
        far_corners(tmp_path / "h.xlsx"),
        "--to",
        db.dsn.text,
        "--table",
        "h",
        "--header-row",
        0,
        "--json",
        cwd=tmp_path,
    )
    assert ran.code == 0, ran.err
    assert [(c["letter"], c["cells"], c["loaded"]) for c in ran.json["columns"]] == [("A", 1, 1), ("XFD", 1, 1)]
    assert db.rows("select column_a, column_xfd from h order by 1") == [("a", None), (None, 1)]
    assert ran.peak < MEMORY
    assert_clean(ran)


def test_hostile_stray_cell_in_last_row(db: Database, tmp_path: Path) -> None:
    ran = importer("run", last_row(tmp_path / "h.xlsx"), "--to", db.dsn.text, "--table", "h", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["stats"]["total_records"] == 2
    assert ran.json["rows"]["blank"] == 1_048_573
    assert db.rows("select a, b from h order by 1") == [("1", "1"), ("x", "y")]
    assert ran.peak < MEMORY
    assert_clean(ran)


def test_hostile_deep_nesting_is_harmless(tmp_path: Path) -> None:
    found = inspect_workbook(deep_workbook_part(tmp_path / "h.xlsx"), workers=1)
    assert found.source.rows == 1


def test_hostile_bound_is_not_met_by_honest_files(tmp_path: Path) -> None:
    """200,000 equal rows deflate about 40 to 1, which is no bomb."""
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>1</v></c></row>' for n in range(2, 200_002))
    found = inspect_workbook(write_rows(tmp_path / "h.xlsx", row(1, inline("A1", "a")) + rows), workers=1)
    assert found.source.rows == 200_000
