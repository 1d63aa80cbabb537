"""Next month's file differs from the contract or the table: one report of all differences, and what the policy does."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from support.rawbook import inline, number, row, write_rows
from support.tables import contract, save

from importer import import_workbook
from importer.contract.loader import parse_contract
from importer.errors import ContractError, SheetError, TargetRefused
from importer.ledger.schema import SCHEMA
from importer.plan.model import match_fields
from importer.reading.header import SheetColumn
from importer.table.labels import to_identifier

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


def matched(fields: list[str], *headers: str, lenient: bool = False) -> None:
    columns = [SheetColumn(i, h, to_identifier(h)) for i, h in enumerate(headers)]
    match_fields(parse_contract({"fields": [{"name": name} for name in fields]}), columns, lenient=lenient)


def test_all_differences_are_in_one_report() -> None:
    with pytest.raises(ContractError) as caught:
        matched(["customer_name", "amount", "day"], "Customer Nme", "amount", "Remark", "Channel")
    assert caught.value.fact == (
        "missing-label: the sheet has no column 'customer_name', 'day'; extra-label: the contract has no field for "
        "'Customer Nme' (column A), 'Remark' (column C), 'Channel' (column D)"
    )
    assert caught.value.choice is not None
    assert "'Customer Nme' (column A) may be 'customer_name' under a new name" in caught.value.choice
    assert "--drift add-columns" in caught.value.choice
    assert "'day' under" not in caught.value.choice
    with pytest.raises(ContractError) as caught:
        matched(["customer_name", "amount"], "Customer Nme", "amount", "Remark", lenient=True)
    assert "'Customer Nme' (column A) may be 'customer_name' under a new name" in str(caught.value.choice)


@pytest.fixture
def books(tmp_path: Path) -> tuple[Path, Path]:
    """This month's workbook and the next one's, which has two columns more."""
    day = datetime(2024, 5, 1)
    first = save(tmp_path / "a.xlsx", ["id", "name"], [1, "x"])
    second = save(tmp_path / "b.xlsx", ["id", "Since", "name", "Id 2"], [2, day, "y", 5], [3, None, "z", 6])
    return first, second


def test_new_columns_of_a_table(db: Database, books: tuple[Path, Path]) -> None:
    first, second = books
    db.load(first, table="t", workers=0)
    for policy in ("refuse", "ignore-extra", "add-columns"):
        options: dict[str, Any] = {"table": "t", "drift": policy, "workers": 0}
        if policy == "refuse":
            with pytest.raises(ContractError, match="extra-label: .* 'Since' \\(column B\\), 'Id 2' \\(column D\\)"):
                db.load(second, **options)
            continue
        checked = db.load(second, dry_run=True, **options)
        assert db.rows("select count(*)::int from pg_attribute where attrelid = 't'::regclass and attnum > 0") == [(2,)]
        report = db.load(second, **options)
        assert (checked.success_count, report.success_count) == (2, 2)
        db.run("delete from t where id > 1") if policy == "ignore-extra" else None
    assert "columns added to the table: since date, id_2 bigint" in report.to_dict()["notes"]
    found = db.rows("select id, name, since::text, id_2 from t order by id")
    assert found == [(1, "x", None, None), (2, "y", "2024-05-01", 5), (3, "z", None, 6)]
    assert db.load(second, table="t", drift="add-columns", workers=0).outcome == "already-imported"


def test_new_columns_of_a_contract_and_its_table(db: Database, books: tuple[Path, Path], tmp_path: Path) -> None:
    """A field that the table lacks is added in the contract's type; a column that is missing is refused all the same."""
    first, second = books
    fields = [{"name": "id", "type": "integer"}, {"name": "name"}, {"name": "x", "title": "Id 2", "type": "integer"}]
    types = {"x": "numeric(6,1)"}
    described = contract(
        tmp_path / "c.json", fields=fields, postgresql={"types": types}, excel={"drift": "add-columns"}
    )
    db.run("create table t (id bigint primary key, name text)")
    with pytest.raises(ContractError, match="missing-label: the sheet has no column 'Id 2'"):
        db.load(first, table="t", contract=described, workers=0)
    report = db.load(second, table="t", contract=described, workers=0)
    assert "columns added to the table: x numeric(6,1), since date" in report.to_dict()["notes"]
    assert db.rows("select id, x::text, since::text from t order by id") == [(2, "5.0", "2024-05-01"), (3, "6.0", None)]


def test_added_column_keeps_all_digits(db: Database, tmp_path: Path) -> None:
    """It has the type that a new table would have had for it."""
    db.run("create table t (id bigint)")
    book = write_rows(
        tmp_path / "t.xlsx",
        row(1, inline("A1", "id"), inline("B1", "more"))
        + row(2, number("A2", 1), number("B2", "12345678901234567890"))
        + row(3, number("A3", 2), number("B3", "0.5")),
    )
    db.load(book, drift="add-columns", workers=0)
    assert db.rows("select more::text from t order by id") == [("12345678901234567890",), ("0.5",)]


def test_column_that_the_contract_lacks_is_added_once(db: Database, tmp_path: Path) -> None:
    """Later files fill the column that the first one added, also where it got a number behind its name."""
    fields = [{"name": "id", "type": "integer"}]
    own = {"table": "t", "extraColumns": [{"name": "at", "type": "date", "default": "'2024-01-01'"}]}
    described = contract(tmp_path / "c.json", fields=fields, postgresql=own)
    for n in (1, 2, 3):
        book = save(tmp_path / f"{n}.xlsx", ["Note", "id", "At"], [f"n{n}", n, n * 10])
        report = db.load(book, contract=described, drift="add-columns", workers=0)
        assert not any("columns added" in note for note in report.to_dict()["notes"])
    assert db.rows("select id, at::text, note, at_2 from t order by id") == [
        (n, "2024-01-01", f"n{n}", n * 10) for n in (1, 2, 3)
    ]


def test_nothing_is_added_by_a_run_over_its_budget(db: Database, tmp_path: Path) -> None:
    """Its rows are refused by the table after the columns were added, in the transaction that is rolled back."""
    db.run("create table t (id bigint check (id < 2))")
    book = save(tmp_path / "t.xlsx", ["id", "more"], [1, "a"], [2, "b"])
    with pytest.raises(Exception, match="over the budget"):
        db.load(book, drift="add-columns", max_rejects=0, workers=0)
    assert db.rows("select attname::text from pg_attribute where attrelid = 't'::regclass and attnum > 0") == [("id",)]


def test_role_that_may_not_add_columns_gets_the_statement(db: Database, tmp_path: Path) -> None:
    role, book = f"w_{db.schema}", save(tmp_path / "t.xlsx", ["id", "more"], [1, "a"])
    db.run(
        "create table t (id bigint)", f"create role {role}", f"grant usage on schema {db.schema} to {role}",
        f"grant insert, select on t to {role}", f"drop schema if exists {SCHEMA} cascade",
        f"create schema {SCHEMA} authorization {role}",
    )  # fmt: skip
    with pytest.raises(TargetRefused) as caught:
        import_workbook(book, to=f"{db.dsn.text}%20-crole%3D{role}", table="t", drift="add-columns", workers=0)
    db.run(f"drop owned by {role} cascade", f"drop role {role}")
    assert f'ALTER TABLE "{db.schema}"."t" ADD COLUMN "more" text' in str(caught.value.choice)


def test_retyped_and_absent_columns_are_said(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id bigint, day date, note text, at timestamptz default now())")
    book = save(tmp_path / "t.xlsx", ["id", "day"], [1, 7], [2, 8], [3, datetime(2024, 5, 1)])
    report = db.load(book, workers=0)
    notes = report.to_dict()["notes"]
    assert "day is date in the table, and 2 numbers, 1 date in the sheet" in notes
    assert "columns of the table that the sheet does not have: note" in notes
    assert report.error_count == 2
    # Where the sheet is refused for its columns, the refusal has these, too: one list of all differences.
    more = save(tmp_path / "more.xlsx", ["id", "day", "new"], [1, 7, "x"], [2, 8, "y"])
    with pytest.raises(ContractError) as caught:
        db.load(more, table="t", workers=0)
    assert caught.value.fact == (
        "extra-label: the contract has no field for 'new' (column C); day is date in the table, and 2 numbers in the sheet"
    )


def test_triggers_that_may_change_rows_are_said(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id bigint, n bigint)")
    db.run("create function f() returns trigger language plpgsql as 'begin new.n := new.n * 2; return new; end'")
    for name, when in (
        ('"Twice, ""at"" least"', "before insert or update"), ("later", "after insert"), ("changes", "before update"),
        ("off", "before insert"),
    ):  # fmt: skip
        db.run(f"create trigger {name} {when} on t for each row execute function f()")
    db.run("alter table t disable trigger off")
    report = db.load(save(tmp_path / "t.xlsx", ["id", "n"], [1, 5]), table="t")
    said = [str(note) for note in report.notes if "triggers" in str(note)]
    assert said == ['triggers of the table may change rows before they are stored: "Twice, ""at"" least"']
    assert db.rows("select * from t") == [(1, 10)]


def test_columns_option_names_the_nearest_header(db: Database, tmp_path: Path) -> None:
    book = save(tmp_path / "t.xlsx", ["Customer", "Amount"], ["a", 1])
    with pytest.raises(SheetError) as caught:
        db.load(book, columns=["Custmer"], workers=0)
    assert str(caught.value.choice).startswith("did you mean 'Customer'?")
