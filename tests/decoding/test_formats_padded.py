"""Numbers that Excel shows with leading zeros: as text they have them, as numbers they are what they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import openpyxl
import pytest
from support import rawbook
from support.rawbook import inline, number, row, write_rows
from support.tables import contract

from importer.inspection import inspect_workbook

if TYPE_CHECKING:
    from conftest import Database

FIVE, TWO_PARTS, GENERAL = 1, 2, 0
STYLES = (
    f'<styleSheet xmlns="{rawbook.MAIN}"><numFmts count="2"><numFmt numFmtId="170" formatCode="00000"/>'
    '<numFmt numFmtId="171" formatCode="000;-000"/></numFmts><fonts count="1"><font/></fonts>'
    '<fills count="1"><fill/></fills><borders count="1"><border/></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="170"/></cellStyleXfs>'
    '<cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="170"/><xf numFmtId="171"/></cellXfs></styleSheet>'
)
CELLS = [
    (number("A{n}", 2494, FIVE), "02494"), (number("A{n}", -42, FIVE), "-00042"), (number("A{n}", 123456, FIVE), "123456"),
    (number("A{n}", 7, GENERAL), "7"), (number("A{n}", 7, TWO_PARTS), "007"), (number("A{n}", "42.5", FIVE), "42.5"),
    (number("A{n}", 0, FIVE), "00000"), (number("A{n}", "1e20", FIVE), "1e+20"), (inline("A{n}", "D-1"), "D-1"),
]  # fmt: skip


def book(path: Path, *cells: str) -> Path:
    lines = row(1, inline("A1", "zip"), inline("B1", "n"))
    lines += "".join(row(n, cell.format(n=n), number(f"B{n}", n)) for n, cell in enumerate(cells, 2))
    return write_rows(path, lines, parts={"xl/styles.xml": STYLES})


def test_zeros_of_some_numbers_only(db: Database, tmp_path: Path) -> None:
    """A number without the format makes no identifiers of the others: they are numbers, with a note."""
    path = book(tmp_path / "b.xlsx", CELLS[0][0], CELLS[3][0])
    note = "loaded as numbers: zip; --types zip=string keeps what is shown"
    assert any(note in str(each) for each in db.load(path, table="t", workers=0).notes)
    assert any(note in each for each in inspect_workbook(path).to_dict()["notes"])
    report = db.load(path, table="u", workers=0, types={"zip": "string"})
    assert db.rows("select zip from u order by n") == [("02494",), ("7",)]
    assert not any("filled up" in str(each) for each in report.notes)


@pytest.mark.parametrize("chunk_rows", [None, 2])
def test_padded_numbers_are_text_as_they_are_shown(db: Database, tmp_path: Path, chunk_rows: int | None) -> None:
    path = book(tmp_path / "b.xlsx", *[cell for cell, _ in CELLS])
    report = db.load(path, table="t", workers=1, chunk_rows=chunk_rows)
    assert report.columns[0].kinds == {"number": 8, "text": 1}
    assert [text for (text,) in db.rows("select zip from t order by n")] == [shown for _, shown in CELLS]


def test_padded_numbers_alone_are_identifiers(db: Database, tmp_path: Path) -> None:
    """A new table would lose their zeros as numbers; one number that is shown otherwise says that they are amounts."""
    path = book(tmp_path / "b.xlsx", CELLS[0][0], CELLS[6][0])
    report = db.load(path, table="t", workers=1)
    assert db.rows("select zip, pg_typeof(zip)::text from t order by n") == [("02494", "text"), ("00000", "text")]
    note = "numbers filled up with zeros by their format are identifiers, loaded as texts: zip; --types zip=integer loads numbers"
    assert note in report.notes
    shown = inspect_workbook(path).to_dict()
    assert (shown["columns"][0]["type"], note in shown["notes"]) == ("text", True)
    db.load(path, table="u", workers=1, types={"zip": "integer"})
    assert db.rows("select zip from u order by n") == [(2494,), (0,)]
    for number_beside in (CELLS[3], CELLS[5]):
        db.load(book(tmp_path / "c.xlsx", CELLS[0][0], number_beside[0]), table="v", mode="replace", again=True)
        assert db.rows("select pg_typeof(zip)::text in ('bigint', 'double precision') from v limit 1") == [(True,)]
        db.run("drop table v")


@pytest.mark.parametrize(
    ("form", "identifies"), [("00", True), ("00000000000", True), ("000000000000", False), ("00000000\\-0000", True)]
)
def test_formats_that_say_that_numbers_are_identifiers(tmp_path: Path, form: str, identifies: bool) -> None:
    """Twelve zeros may just show the digits of long numbers, which General shows with an exponent."""
    sheet = openpyxl.Workbook()
    assert sheet.active is not None
    sheet.active.append(["id", "n"])
    for n in (81227827, 60254750):
        sheet.active.append([n, 1])
        sheet.active.cell(sheet.active.max_row, 1).number_format = form
    sheet.save(tmp_path / "b.xlsx")
    shown = inspect_workbook(tmp_path / "b.xlsx").to_dict()["columns"][0]["type"]
    assert shown == ("text" if identifies else "bigint")


@pytest.mark.parametrize("target", ["contract", "table"])
def test_padded_numbers_for_a_column_of_text(db: Database, tmp_path: Path, target: str) -> None:
    options: dict[str, Any] = {}
    if target == "table":
        db.run("create table t (zip varchar(5), n int)")
    else:
        fields = [{"name": "zip", "constraints": {"pattern": "[0-9]{5}"}}, {"name": "n", "type": "integer"}]
        options = {"contract": contract(tmp_path / "c.json", fields=fields)}
    db.load(book(tmp_path / "b.xlsx", CELLS[0][0], CELLS[6][0]), table="t", workers=1, **options)
    report = db.load(book(tmp_path / "b.xlsx", CELLS[0][0], CELLS[6][0]), table="t", workers=1, again=True, **options)
    assert not [note for note in report.notes if "identifiers" in str(note)]  # it was not we who decided
    assert db.rows("select distinct zip from t order by zip desc") == [("02494",), ("00000",)]


def test_padded_numbers_survive_the_way_through_the_rejects(db: Database, tmp_path: Path) -> None:
    fields = [{"name": "zip", "type": "string"}, {"name": "n", "type": "integer", "constraints": {"minimum": 3}}]
    given = contract(tmp_path / "c.json", fields=fields)
    path = book(tmp_path / "b.xlsx", CELLS[0][0], CELLS[0][0])
    report = db.load(path, table="t", workers=1, contract=given)
    assert report.rejects_file is not None
    rejects = openpyxl.load_workbook(report.rejects_file)
    sheet = rejects.active
    assert sheet is not None
    assert (sheet["C2"].value, sheet["C2"].number_format) == (2494, "00000")
    sheet["D2"].value = 9
    mended = tmp_path / "mended.xlsx"
    rejects.save(mended)
    db.load(mended, table="t", workers=1, contract=given, rejects=tmp_path / "again.xlsx")
    assert db.rows("select zip, n from t order by n") == [("02494", 3), ("02494", 9)]


#: Cells by format code, and their texts.
SHOWN = {
    "[<=99999]00000;00000\\-0000": [(2494, "02494"), (21390001, "02139-0001"), (99999, "99999")],
    "000\\-00\\-0000": [(12345678, "012-34-5678"), (-1234567, "-001-23-4567"), ("0.5", "0.5")],
    '"A-"0000': [(7, "A-0007"), (123456, "A-123456"), (0, "A-0000")],
    "[<=9999999]###\\-####;\\(###\\)\\ ###\\-####": [(5551234, "555-1234"), (2065551234, "(206) 555-1234"), (0, "0")],
    "0000000000000000": [("41111111111111111", "41111111111111111"), (42, "0000000000000042"), ("9007199254740993", "9007199254740993")],
    '"$"0': [(5, "5")], "0.00": [(5, "5")], "#,##0": [(1234567, "1234567")], "0%": [("0.5", "0.5")], "General": [(7, "7")],
}  # fmt: skip


def test_texts_are_as_formats_show_the_digits(db: Database, tmp_path: Path) -> None:
    """And so they are in the rejects."""
    codes = "".join(f"<numFmt numFmtId='{200 + n}' formatCode={quoteattr(code)}/>" for n, code in enumerate(SHOWN))
    used = "".join(f"<xf numFmtId='{200 + n}'/>" for n in range(len(SHOWN)))
    styles = f"<styleSheet xmlns='{rawbook.MAIN}'><numFmts>{codes}</numFmts><cellXfs>{used}</cellXfs></styleSheet>"
    cells = [(value, n, text) for n, each in enumerate(SHOWN.values()) for value, text in each]
    lines = row(1, inline("A1", "x"), inline("B1", "n"))
    lines += "".join(row(n, number(f"A{n}", c[0], c[1]), number(f"B{n}", n)) for n, c in enumerate(cells, 2))
    path = write_rows(tmp_path / "b.xlsx", lines, parts={"xl/styles.xml": styles})
    rules = {"type": "integer", "constraints": {"maximum": 1}}
    for name, field in (("t", {"type": "integer"}), ("refused", rules)):
        given = contract(tmp_path / f"{name}.json", fields=[{"name": "x"}, {"name": "n"} | field])
        report = db.load(path, table=name, workers=0, header_row=1, contract=given)
    assert [text for (text,) in db.rows("select x from t order by n")] == [text for _, _, text in cells]
    lax = contract(tmp_path / "lax.json", fields=[{"name": "x"}, {"name": "n", "type": "integer"}])
    assert report.rejects_file is not None
    db.load(Path(report.rejects_file), table="again", workers=0, contract=lax)
    assert db.rows("select x, n from again order by n") == db.rows("select x, n from t order by n")
