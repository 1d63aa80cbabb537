"""Numbers that Excel shows with leading zeros: as text they have them, as numbers they are what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support import rawbook
from support.rawbook import inline, number, row, write_rows
from support.tables import contract

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize("chunk_rows", [None, 2])
def test_padded_numbers_are_text_as_they_are_shown(db: Database, tmp_path: Path, chunk_rows: int | None) -> None:
    path = book(tmp_path / "b.xlsx", *[cell for cell, _ in CELLS])
    report = db.load(path, table="t", workers=1, chunk_rows=chunk_rows)
    assert report.columns[0].kinds == {"number": 8, "text": 1}
    assert [text for (text,) in db.rows("select zip from t order by n")] == [shown for _, shown in CELLS]


def test_padded_numbers_alone_are_numbers(db: Database, tmp_path: Path) -> None:
    db.load(book(tmp_path / "b.xlsx", CELLS[0][0], CELLS[1][0]), table="t", workers=1)
    assert db.rows("select zip, pg_typeof(zip)::text from t order by n") == [(2494, "bigint"), (-42, "bigint")]


@pytest.mark.parametrize("target", ["contract", "table"])
def test_padded_numbers_for_a_column_of_text(db: Database, tmp_path: Path, target: str) -> None:
    options: dict[str, Any] = {}
    if target == "table":
        db.run("create table t (zip varchar(5), n int)")
    else:
        fields = [{"name": "zip", "constraints": {"pattern": "[0-9]{5}"}}, {"name": "n", "type": "integer"}]
        options = {"contract": contract(tmp_path / "c.json", fields=fields)}
    db.load(book(tmp_path / "b.xlsx", CELLS[0][0], CELLS[6][0]), table="t", workers=1, **options)
    assert db.rows("select zip from t order by n") == [("02494",), ("00000",)]


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
