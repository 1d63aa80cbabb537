"""The header where it is known what its columns are called: by a contract, an existing table, or the options."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support.grids import frame_of
from support.reading import reading
from support.tables import save

from importer.errors import ContractError
from importer.table.cell_range import parse_merges
from importer.table.grid import make_grid
from importer.table.header_rows import find_header
from importer.table.known_labels import KnownLabels, header_by_labels

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

#: A sheet whose cells do not tell its header: one bad cell, and few rows.
GUESSED = [["number", "name"], ["abc", "zzz"], [1, "x"]]


def find(lines: list[list[Any]], *columns: str, merges: tuple[str, ...] = ()) -> tuple[int, int]:
    grid, spans = make_grid(frame_of(lines)), parse_merges(merges, len(lines))
    known = KnownLabels(tuple((name,) for name in columns), "the table")
    header = header_by_labels(grid, spans, find_header(grid, spans), known)
    return header.first, header.last


@pytest.mark.parametrize(
    ("lines", "columns", "header"),
    [
        (GUESSED, ("number", "name"), (1, 1)),
        ([["x", "yy"], *GUESSED[:1], ["zzz", "x"]], ("number", "name"), (2, 2)),  # all texts
        ([["Report"], ["by", "Ann"], [], *GUESSED], ("name", "number", "more"), (4, 4)),
        ([["Order No.", "Größe"], ["a", "b"], ["c", "d"]], ("order_no", "größe"), (1, 1)),
        ([["name"], ["x"], ["y"]], ("id", "name"), (1, 1)),
        ([["x", "y"], ["id", "id"], ["z", "u"]], ("id", "id_2"), (2, 2)),  # named as duplicates are
        ([["item", 2023.0, 2024.0], ["a", 2.0, 3.0], ["b", 1.0, 4.0]], ("item", "_2023", "_2024"), (1, 1)),
        ([["x", "q", 1], ["id", "name", "x"], ["a", "b", 3]], ("id", "name", "town", "street"), (2, 2)),  # a part of it
        ([["a", "b"], ["c", "d"], ["number", "name"], ["e", "f"], ["number", "name"], ["g", "h"]], ("number", "name"), (3, 3)),
        # Nothing that is known: as found by the cells.
        ([["id", "day"], [1, "x"], [2, "y"]], ("number", "name"), (1, 1)),
        ([["id", "day"], [1, "number"], [2, "y"]], ("number", "name"), (1, 1)),  # one cell of two columns tells nothing
        ([["a", "b", "c", "d", "e"], [1, 2, 3, 4, 5], ["number", "name", 3, 4, 5]], ("number", "name", "x"), (1, 1)),
        ([["id", "day"], ["number", "name"], ["number", "size"], [1, 2], [3, 4]], ("number", "name", "size"), (1, 1)),  # two rows
    ],
)  # fmt: skip
def test_row_of_known_names(lines: list[list[Any]], columns: tuple[str, ...], header: tuple[int, int]) -> None:
    assert find(lines, *columns) == header


def test_groups_above_known_names() -> None:
    """Rows that belong to the header of the cells stay in it where their joined texts are the names."""
    lines = [["Item", "Hub A", None], [None, "in", "out"], ["x", 1, 2], ["y", 3, 4]]
    merges = ("A1:A2", "B1:C1")
    assert find(lines, "item", "hub_a_in", "hub_a_out", merges=merges) == (1, 2)
    assert find(lines, "in", "out", merges=merges) == (2, 2)


def test_options_name_columns(tmp_path: Path) -> None:
    path = save(tmp_path / "o.xlsx", ["x", "yy"], ["number", "name"], ["zzz", "x"])
    with reading(path, types=(("number", "string"),), columns=("name", "number", "A-B")) as source:
        assert (source.header.first_row, source.header.last_row) == (2, 2)
        assert "header row 2: its cells are the names of columns of the options" in source.notes()
    with reading(path, types=(("number", "string"),), columns=("name",), header_rows=(1, 1)) as source:
        assert source.header.last_row == 1


def test_existing_table_names_the_header(db: Database, tmp_path: Path) -> None:
    db.run("create table t (number bigint, name text)")
    path = save(tmp_path / "g.xlsx", ["yy", "x"], ["number", "name"], ["abc", "zzz"], [1, "x"])
    report = db.load(path, table="t", workers=0, mode="replace")
    assert (report.header_rows, report.success_count, report.error_count) == ((2, 2), 1, 1)
    assert any("header row 2: its cells are the names of columns of the table" in note for note in report.notes)
    assert any("not read as data: 1 row above the header row" in note for note in report.notes)
    assert db.load(path, table="t", workers=0, mode="replace").outcome == "already-imported"
    with pytest.raises(ContractError, match="missing-label"):
        db.load(path, table="t", workers=0, mode="append", header_row=1)


def test_contract_names_the_header(db: Database, tmp_path: Path) -> None:
    path = save(tmp_path / "c.xlsx", ["yy", "x"], ["No.", "name"], ["a", "zzz"], ["b", "x"])
    contract = {"fields": [{"name": "number", "title": "No.", "type": "string"}, {"name": "name", "type": "string"}]}
    report = db.load(path, table="c", contract=contract, workers=0)
    assert (report.header_rows, report.success_count) == ((2, 2), 2)
    assert any("names of columns of the contract" in note for note in report.notes)


def test_existing_table_picks_the_table_of_a_sheet(db: Database, tmp_path: Path) -> None:
    db.run("create table t (rate float8, fee float8, code text)")
    book = openpyxl.Workbook()
    rates = [["code", "rate", "fee"], ["a", 1.5, 1], ["b", 2.5, 2]]
    for line in [["id", "amount"], *[[n, n / 4] for n in range(9)], [], *rates]:
        book.active.append(line)
    book.save(tmp_path / "s.xlsx")
    report = db.load(tmp_path / "s.xlsx", table="t", workers=0)
    assert (report.header_rows, report.success_count) == ((12, 12), 2)
    assert any("only the one that fits the table, A12:C14, was read" in note for note in report.notes)


def test_existing_table_picks_one_of_two_tables_beside_each_other(db: Database, tmp_path: Path) -> None:
    """Where it is in doubt whether they are two: read as one, the columns of the other would be refused."""
    db.run("create table t (item text, day date, qty bigint)")
    days = [[n, n * 2, None, f"i{n}", date(2024, 1, n), n] for n in range(1, 6)]
    path = save(tmp_path / "s.xlsx", ["x", "y", None, "item", "day", "qty"], *days)
    report = db.load(path, table="t", workers=0)
    assert report.success_count == 5
    assert any("only the one that fits the table, D1:F6, was read" in str(note) for note in report.notes)


def test_sheet_without_header_is_no_other_for_a_table(db: Database, tmp_path: Path) -> None:
    db.run("create table t (column_a bigint, column_b bigint)")
    path = save(tmp_path / "n.xlsx", [1, 2], [3, 4], [5, 6])
    assert db.load(path, table="t", workers=0).success_count == 3
