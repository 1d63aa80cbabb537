"""Lineage: every row tells its workbook, sheet, row and run, also after it was rejected and mended."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from openpyxl import load_workbook
from support.tables import save

from importer.errors import ContractError, TargetRefused

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

MADE = "_source_file text, _source_sheet varchar, _source_row bigint not null, _run_id uuid"
TOLD = "select k, _source_file, _source_sheet, _source_row from t order by k"


@pytest.mark.parametrize("existing", [False, True])
def test_rows_tell_where_they_came_from(db: Database, tmp_path: Path, existing: bool) -> None:
    if existing:
        db.run(f"create table t (k int, s text, {MADE})")
    path = save(tmp_path / "it's.xlsx", ["title"], [], ["k", "s"], [1, "a"], [], [2, "b"], sheet="A 'b'")
    report = db.load(path, table="t", lineage=True, header_row=3)
    assert db.rows(TOLD) == [(1, "it's.xlsx", "A 'b'", 4), (2, "it's.xlsx", "A 'b'", 6)]
    runs = {run for (run,) in db.rows("select _run_id::text from t")}
    assert len(runs) == 1
    assert uuid.UUID(runs.pop())
    assert [c.name for c in report.columns] == ["k", "s"]
    assert db.rows("select pg_typeof(_source_row)::text, pg_typeof(_run_id)::text from t limit 1") == [
        ("bigint", "uuid")
    ]


def test_run_id_is_that_of_the_ledger(db: Database, tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", ["k"], [1])
    db.load(path, lineage=True)
    assert db.rows("select count(*) from t join importer.runs r on r.id::text = t._run_id::text") == [(1,)]


def test_mended_rejects_tell_their_first_place(db: Database, tmp_path: Path) -> None:
    db.run(f"create table t (k int primary key, n int check (n > 0), {MADE})")
    path = save(tmp_path / "w.xlsx", ["k", "n"], [1, 1], [2, -2], [3, 3], [4, -4], sheet="S")
    db.load(path, table="t", lineage=True)
    rejects = tmp_path / "w.rejects.xlsx"
    book = load_workbook(rejects)
    assert book.active is not None
    book.active["D2"], book.active["D3"] = 2, 4
    book.active.title = "renamed"
    book.save(rejects)
    db.load(rejects, lineage=True)
    assert db.rows(TOLD) == [(k, "w.xlsx", "S", k + 1) for k in (1, 2, 3, 4)]
    assert db.rows("select count(distinct _run_id) from t") == [(2,)]


def test_upsert_changes_the_lineage_of_what_it_writes(db: Database, tmp_path: Path) -> None:
    path = save(tmp_path / "one.xlsx", ["k", "n"], [1, 1], [2, 2])
    db.load(path, table="t", mode="upsert", key=["k"], lineage=True)
    other = save(tmp_path / "two.xlsx", ["k", "n"], [2, 9], [1, 1], [3, 3])
    report = db.load(other, table="t", mode="upsert", key=["k"], lineage=True)
    assert (report.table_rows["inserted"], report.table_rows["updated"], report.table_rows["unchanged"]) == (1, 1, 1)
    assert db.rows(TOLD) == [(1, "one.xlsx", "Sheet", 2), (2, "two.xlsx", "Sheet", 2), (3, "two.xlsx", "Sheet", 4)]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("create table t (k int)", "ADD COLUMN _source_file text, ADD COLUMN _source_sheet text, ADD COLUMN _source_row bigint, ADD COLUMN _run_id uuid;"),
        ("create table t (k int, _source_file text, _source_sheet text, _source_row int, _run_id uuid)", "change its type to bigint"),
    ],
)  # fmt: skip
def test_table_without_room_for_it(db: Database, tmp_path: Path, made: str, said: str) -> None:
    db.run(made)
    with pytest.raises(TargetRefused) as caught:
        db.load(save(tmp_path / "t.xlsx", ["k"], [1]), lineage=True)
    assert said in str(caught.value)


def test_sheet_with_such_a_column(db: Database, tmp_path: Path) -> None:
    options: dict[str, Any] = {"lineage": True, "keep_names": True}
    with pytest.raises(ContractError, match="_source_file"):
        db.load(save(tmp_path / "t.xlsx", ["k", "_source_file"], [1, "x"]), **options)
