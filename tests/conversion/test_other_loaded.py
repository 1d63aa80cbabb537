"""Workbooks of other formats in the database, and by the command line: the same table, rejects, addresses, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from openpyxl import load_workbook
from support.commandline import importer
from support.otherbooks import Error, Table, write_csv, write_ods, write_xls, write_xlsb, write_xlsx

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

ROWS = [["id", "name", "share"], *([n, f"text {n}", n / 8] for n in range(1, 40)), [40, Error("#N/A"), 1.5]]


def test_same_table_and_rejects_from_every_format(db: Database, tmp_path: Path) -> None:
    writers = {"xlsx": write_xlsx, "ods": write_ods, "xls": write_xls, "xlsb": write_xlsb}
    loaded = {}
    for form, write in writers.items():
        path = write(tmp_path / f"{form}_book.{form}", [Table(ROWS)])
        report = db.load(path)
        assert (report.success_count, report.error_count, report.workbook["name"]) == (39, 1, path.name)
        assert [group.cells for group in report.reasons] == ["B41"]
        assert report.rules[0].example == "Data!B41"
        loaded[form] = db.rows(f"select * from {form}_book order by id")
        assert db.load(path).outcome == "already-imported"
    assert all(rows == loaded["xlsx"] for rows in loaded.values())


def test_fixed_rejects_complete_the_import_of_every_format(db: Database, tmp_path: Path) -> None:
    """They are an .xlsx whatever they come from, and their rows have the addresses of the file."""
    contract = tmp_path / "c.json"
    contract.write_text(
        '{"fields": [{"name": "id", "type": "integer"}, {"name": "name", "type": "string", "constraints": {"maxLength": 8}}]}'
    )
    rows = [["id", "name"], [1, "one"], [2, "much too long"], [3, "three"], [4, "too long, too"]]
    writers = {"xlsx": write_xlsx, "ods": write_ods, "xls": write_xls, "xlsb": write_xlsb, "csv": write_csv}
    for form, write in writers.items():
        rows[2][1] = "much too long" if form != "csv" else '"much, too long"'
        rows[4][1] = "too long, too" if form != "csv" else "too long too"
        path = write(tmp_path / f"b.{form}", [Table(rows)])
        report = db.load(path, table=form, contract=contract)
        assert (report.success_count, report.error_count) == (2, 2), form
        rejects = tmp_path / "b.rejects.xlsx"
        book = load_workbook(rejects)
        names = {cell.value: cell for row in book.active.iter_rows() for cell in row}
        names["much, too long" if form == "csv" else "much too long"].value = "two"
        book.save(rejects)
        again = db.load(rejects, table=form, contract=contract, rejects=tmp_path / "again.xlsx")
        assert (again.success_count, [group.cells for group in again.reasons]) == (1, ["B5"]), form
        assert (
            db.load(rejects, table=form, contract=contract, rejects=tmp_path / "x.xlsx").outcome == "already-imported"
        )
        assert db.rows(f"select id, name from {form} order by id") == [(1, "one"), (2, "two"), (3, "three")]
        rejects.unlink()


@pytest.mark.parametrize("form", ["ods", "xls", "xlsb"])
def test_small_workbook_by_the_command_line(tmp_path: Path, form: str) -> None:
    """It is read in a worker, whatever its size."""
    path = {"ods": write_ods, "xls": write_xls, "xlsb": write_xlsb}[form](tmp_path / f"b.{form}", [Table(ROWS)])
    ran = importer("inspect", path, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["workbook"]["name"] == f"b.{form}"
    assert ran.json["rows"]["data"] == 40
    path.write_bytes(path.read_bytes()[:400])
    ran = importer("inspect", path, cwd=tmp_path)
    assert (ran.code, "Traceback" in ran.err, ran.left, ran.orphans) == (3, False, [], [])


def test_cells_far_apart_are_refused(tmp_path: Path) -> None:
    """The second reader holds the rectangle around all cells: in a worker, whose memory is limited."""
    cell = '<table:table-cell office:value-type="float" office:value="1"/>'
    blank = '<table:table-cell table:number-columns-repeated="9000"/>'
    rows = f"<table:table-row>{cell}</table:table-row>"
    rows += f'<table:table-row table:number-rows-repeated="900000">{blank}</table:table-row>'
    rows += f"<table:table-row>{blank}{cell}</table:table-row>"
    path = write_ods(tmp_path / "b.ods", [], f'<table:table table:name="Data">{rows}</table:table>')
    ran = importer("inspect", path, cwd=tmp_path)
    assert (ran.code, "Traceback" in ran.err, ran.left, ran.orphans) == (3, False, [], [])
