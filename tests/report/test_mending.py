"""A mended rejects workbook completes the import that it came from; what is still bad keeps its original address."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from openpyxl import load_workbook
from support.tables import contract, save

from importer.cli.commands import cli
from importer.errors import ContractError, UsageError
from importer.inspection import inspect_workbook

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

#: Title rows above, an empty column between: addresses differ from those in the rejects workbook.
LINES = [
    ["Staff", None, None, None], [None, None, None, None], ["id", None, "name", "age"],
    [1, None, "a", 30], ["x", None, "b", 31], [3, None, "c", -1], [1, None, "d", 40], [5, None, "e", "old"], [6, None, "f", 60],
]  # fmt: skip
DESCRIBED = {
    "fields": [{"name": "id", "type": "integer"}, {"name": "name"}, {"name": "age", "type": "integer"}],
    "primaryKey": "id",
}


def _sheet(path: Path) -> list[tuple[Any, ...]]:
    return list(load_workbook(path).active.iter_rows(values_only=True))  # type: ignore[union-attr]


def _mend(path: Path, cells: dict[str, Any]) -> None:
    book = load_workbook(path)
    for address, value in cells.items():
        assert book.active is not None
        book.active[address] = value
    book.save(path)


@pytest.fixture
def loaded(db: Database, tmp_path: Path) -> tuple[Path, Path]:
    """The contract, and the rejects of a load into table `people`: rows 5, 6, 7 and 8."""
    described = contract(tmp_path / "c.json", **DESCRIBED)
    db.run("create table people (id bigint primary key, name text, age bigint check (age > 0))")
    path = save(tmp_path / "staff.xlsx", *LINES, sheet="HR")
    report = db.load(path, contract=described, table="people", header_row=3)
    assert (report.success_count, report.error_count) == (2, 4)
    return described, tmp_path / "staff.rejects.xlsx"


def test_mended_rejects_complete_the_import(db: Database, tmp_path: Path, loaded: tuple[Path, Path]) -> None:
    described, rejects = loaded
    assert [row[0] for row in _sheet(rejects)] == ["_row", 5, 6, 7, 8]
    _mend(rejects, {"C2": 2, "C4": 4})
    again = tmp_path / "again.xlsx"
    report = db.load(rejects, contract=described, rejects=again)
    assert (report.success_count, report.error_count) == (2, 2)
    assert report.target["table"] == "people"
    assert db.rows("select id, name from people order by id") == [(1, "a"), (2, "b"), (4, "d"), (6, "f")]
    assert {r.key: r.example for r in report.rules} == {"age|database-error": "HR!D6", "age|type-error": "HR!D8"}
    assert any("fixed rejects" in note and "staff.xlsx" in note for note in report.notes)
    rows = _sheet(again)
    assert rows[0] == ("_row", "_errors", "id", "name", "age")
    assert [row[0] for row in rows[1:]] == [6, 8]
    assert rows[1][1].startswith("D6 database-error")
    assert rows[2][1].startswith("D8 type-error")
    # And once more, from the rejects of the rejects.
    _mend(again, {"E2": 33, "E3": 34})
    assert db.load(again, contract=described).error_count == 0
    assert db.rows("select id, age from people order by id") == [(1, 30), (2, 31), (3, 33), (4, 40), (5, 34), (6, 60)]
    assert db.load(again, contract=described).outcome != "published"


def test_rows_keep_their_number_in_any_order(db: Database, tmp_path: Path, loaded: tuple[Path, Path]) -> None:
    """Sorted, doubled and added rows: each is known by its own number, a new one by its place."""
    described, rejects = loaded
    book = load_workbook(rejects)
    sheet = book.active
    assert sheet is not None
    lines = [list(row) for row in sheet.iter_rows(min_row=2, values_only=True)]
    sheet.delete_rows(2, 10)
    new = [None, None, 7, "new", "?"]
    for line in [lines[3], lines[1], lines[1], [*lines[0][:2], 6, *lines[0][3:]], new]:
        sheet.append(line)
    book.save(rejects)
    report = db.load(rejects, contract=described, rejects=tmp_path / "again.csv")
    written = (tmp_path / "again.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in written] == ["_row", "8", "6", "6", "5", "6"]
    assert "repeats the id of row 6" in written[3]
    assert "A5 database-error" in written[4]
    assert report.error_count == 5


def test_rejects_without_properties(db: Database, tmp_path: Path, loaded: tuple[Path, Path]) -> None:
    """Another program may drop what the workbook says of itself: the rows keep their numbers, the name tells the table."""
    rows = _sheet(loaded[1])
    plain = save(tmp_path / "people.rejects-2.xlsx", *[list(row) for row in rows], sheet="HR")
    described = contract(tmp_path / "e.json", **DESCRIBED, excel={"headerRow": 3})
    report = db.load(plain, contract=described, rejects=tmp_path / "again.xlsx")
    assert (report.target["table"], report.target["created"]) == ("people", False)
    assert [row[0] for row in _sheet(tmp_path / "again.xlsx")] == ["_row", 5, 6, 7, 8]


@pytest.mark.parametrize(
    "excel",
    [{"headerRow": 3, "footer": "skip"}, {"headerRow": 2}, {"rows": "5-8"}, {"lastRow": 2}, {"range": "A3:D9"}],
)
def test_what_a_contract_says_of_the_rows_is_said_of_the_first_workbook(
    db: Database, tmp_path: Path, loaded: tuple[Path, Path], excel: dict[str, Any]
) -> None:
    """The suggested contract of a sheet with a title has its header row; the rejects have theirs in row 1."""
    described = contract(tmp_path / "e.json", **DESCRIBED, excel={"sheet": "HR", **excel})
    _mend(loaded[1], {"C2": 2, "C4": 4, "E3": 33, "E5": 35})
    report = db.load(loaded[1], contract=described)
    assert (report.success_count, report.error_count) == (4, 0)
    assert db.rows("select id, age from people order by id") == [(1, 30), (2, 31), (3, 33), (4, 40), (5, 35), (6, 60)]


def test_rejects_of_an_upsert(db: Database, tmp_path: Path) -> None:
    db.run("create table t (k text primary key, n int check (n > 0))", "insert into t values ('a', 1), ('b', 1)")
    path = save(tmp_path / "w.xlsx", ["k", "n"], ["a", 2], ["b", -2], ["c", -3])
    db.load(path, table="t", mode="upsert", key=["k"])
    rejects = tmp_path / "w.rejects.xlsx"
    _mend(rejects, {"D2": 2, "D3": 3})
    assert db.load(rejects, mode="upsert", key=["k"]).table_rows["updated"] == 1
    assert db.rows("select * from t order by k") == [("a", 2), ("b", 2), ("c", 3)]


def test_replace_by_rejects_is_refused(db: Database, loaded: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=r"rejects of staff\.xlsx"):
        db.load(loaded[1], contract=loaded[0], mode="replace")
    assert db.rows("select count(*) from people") == [(2,)]


def test_report_says_how_to_load_the_mended_rows(db: Database, tmp_path: Path) -> None:
    """The command that is shown does it, word for word."""
    db.run("create table t (k text primary key, n int check (n > 0))")
    path = save(tmp_path / "my book.xlsx", ["k", "n", "more"], ["a", 1, "x"], ["b", -2, "y"])
    options = [
        "--table",
        f"{db.schema}.t",
        "--mode",
        "upsert",
        "--columns",
        "k,n",
        "--rejects",
        str(tmp_path / "r e.xlsx"),
    ]
    ran = CliRunner().invoke(cli, ["run", str(path), "--to", db.dsn.text, *options])
    assert ran.exit_code == 1, ran.output
    shown = next(line for line in ran.output.splitlines() if line.startswith("fix the marked cells, then: "))
    words = shlex.split(shown.partition("then: ")[2])
    assert words[:2] == ["importer", "run"]
    assert words[words.index("--to") + 1] == db.dsn.masked
    words[words.index("--to") + 1] = db.dsn.text
    _mend(tmp_path / "r e.xlsx", {"D2": 2})
    ran = CliRunner().invoke(cli, words[1:])
    assert ran.exit_code == 0, ran.output
    assert db.rows("select k, n from t order by k") == [("a", 1), ("b", 2)]


def test_row_alone_is_no_rejects_workbook(db: Database, tmp_path: Path) -> None:
    """A sheet with a column `_row` of its own is told so; it has no place beside the number of the row."""
    path = save(tmp_path / "t.xlsx", ["_row", "n"], [1, 2])
    with pytest.raises(ContractError, match="_row"):
        db.load(path, keep_names=True)
    assert db.load(path).error_count == 0
    assert db.rows('select "row", n from t') == [(1, 2)]


def test_mended_rejects_can_be_inspected(loaded: tuple[Path, Path]) -> None:
    """Also without a problem cell, whose address would have been looked up while the rows were at hand."""
    found = inspect_workbook(loaded[1]).to_dict()
    assert found["problems"] == []
    assert [row["cells"]["A"] for row in found["sample"]] == ["5", "6", "7", "8"]
    assert any("addresses are those of sheet HR of staff.xlsx" in note for note in found["notes"])
