"""Rows that are judged and written while the sheet is still being read: what the first windows promised must hold for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.rawbook import error, inline, number, row, write_rows
from support.tables import contract

from importer import BudgetExceeded
from importer.ledger import tables as ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Database

#: Rows of a chunk; two for the first 64 rows and one for the worker are read before anything is decided.
CHUNK, LAST = 50, 500


def book(path: Path, cells: Callable[[int], tuple[str, ...]], **options: Any) -> Path:
    rows = row(1, inline("A1", "n"), inline("B1", "t"))
    rows += "".join(row(n, *cells(n)) for n in range(2, LAST + 1))
    return write_rows(path / "b.xlsx", rows, **options)


def plain(n: int) -> tuple[str, ...]:
    return number(f"A{n}", n), inline(f"B{n}", f"text {n}")


def load(db: Database, path: Path, **options: Any) -> Any:
    return db.load(path, table="t", workers=1, chunk_rows=CHUNK, **options)


def rows_of(db: Database, what: str = "n, t") -> list[tuple[Any, ...]]:
    return db.rows(f"select {what} from t order by n")


def assert_clean(db: Database, states: list[str]) -> None:
    assert db.leftovers() == []
    assert [s for (s,) in db.rows(f"select state from importer.runs where target_schema = '{db.schema}'")] == states


def test_rows_are_written_while_the_sheet_is_read(db: Database, tmp_path: Path) -> None:
    report = load(db, book(tmp_path, plain))
    assert "load" in report.timings
    assert rows_of(db) == [(n, f"text {n}") for n in range(2, LAST + 1)]
    assert report.run["resumed_rows"] == 0
    assert_clean(db, ["published"])
    chunks = "select count(*), sum(rows)::int8 from importer.chunks join importer.runs r on r.id = run"
    assert db.rows(f"{chunks} where target_schema = '{db.schema}'") == [(10, LAST - 1)]


@pytest.mark.parametrize(
    ("late", "pg_type"),
    [
        (number("A450", "0.5"), "double precision"),
        (inline("A450", "many"), "text"),
        (number("A450", 45_000, 1), "text"),
    ],
)
def test_a_type_that_shows_late_is_the_type_of_all(db: Database, tmp_path: Path, late: str, pg_type: str) -> None:
    path = book(tmp_path, lambda n: plain(n) if n != 450 else (late, inline("B450", "late")))
    report = load(db, path)
    assert (report.columns[0].type, report.success_count) == (pg_type, LAST - 1)
    loaded = {text: value for value, text in db.rows("select n::text, t from t")}
    assert len(loaded) == LAST - 1
    assert loaded["text 7"] == "7"
    assert loaded["late"] == {"double precision": "0.5"}.get(pg_type, loaded["late"])
    assert_clean(db, ["published"])


def test_a_column_that_shows_late_is_not_lost(db: Database, tmp_path: Path) -> None:
    """Texts alone are not kept in the spool; with another column the sheet is read again."""

    def cells(n: int) -> tuple[str, ...]:
        found = (inline(f"A{n}", f"{n:03}"), inline(f"B{n}", f"text {n}"))
        return (*found, inline(f"C{n}", "late")) if n == 480 else found

    report = load(db, book(tmp_path, cells))
    assert rows_of(db, "n, t, column_c") == [
        (f"{n:03}", f"text {n}", "late" if n == 480 else None) for n in range(2, LAST + 1)
    ]
    assert report.success_count == LAST - 1
    assert_clean(db, ["published"])


def test_a_header_that_merged_cells_make_longer(db: Database, tmp_path: Path) -> None:
    """Merged ranges stand behind the rows; what they say of the header comes last."""
    head = row(1, inline("A1", "n"), inline("B1", "t")) + row(2, inline("B2", "more"))
    rows = head + "".join(row(n, number(f"A{n}", n), inline(f"B{n}", f"text {n}")) for n in range(3, LAST))
    merges = '<mergeCells count="1"><mergeCell ref="A1:A2"/></mergeCells>'
    streamed = load(db, write_rows(tmp_path / "m.xlsx", rows, behind=merges))
    found = db.rows("select * from t order by 1")
    again = db.load(
        write_rows(tmp_path / "m2.xlsx", rows, behind=merges),
        table="u",
        workers=1,
        chunk_rows=CHUNK,
        method="concurrent",
    )
    assert streamed.header_rows == again.header_rows
    assert found == db.rows("select * from u order by 1")
    assert_clean(db, ["published", "published"])


def test_over_the_budget_nothing_is_left(db: Database, tmp_path: Path) -> None:
    path = book(tmp_path, lambda n: plain(n) if n % 100 else (error(f"A{n}", "#N/A"), inline(f"B{n}", "x")))
    with pytest.raises(BudgetExceeded) as caught:
        load(db, path, max_rejects=4)
    assert caught.value.report is not None
    assert caught.value.report.error_count == 5
    assert db.rows(f"select to_regclass('{db.schema}.t')::text") == [(None,)]
    assert_clean(db, [])


def test_refused_and_rejected_rows_have_their_addresses(db: Database, tmp_path: Path) -> None:
    db.run("create table t (n bigint check (n <> 333), t text)")
    report = load(db, book(tmp_path, lambda n: plain(n) if n != 444 else (inline("A444", "x"), inline("B444", "y"))))
    assert {rule.key: rule.example for rule in report.rules} == {
        "n|database-error": "Data!A333",
        "n|type-error": "Data!A444",
    }
    assert [n for (n,) in rows_of(db, "n")] == [n for n in range(2, LAST + 1) if n not in {333, 444}]
    assert_clean(db, ["published"])


def test_chunks_that_are_missing_are_read_and_written_again(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path, lambda n: (inline(f"A{n}", f"{n:03}"), inline(f"B{n}", f"text {n}")))
    known = ledger.find_chunks
    losses = [3]

    def some_lost(session: Any, staging: str) -> Any:
        if losses:
            number_of = losses.pop()
            session.run(f"delete from importer.chunks where staging = '{staging}' and number = {number_of}")
            session.run(
                f"delete from importer.{staging} where n between '{(number_of - 1) * CHUNK + 51:03}' and '{number_of * CHUNK + 50:03}'"
            )
            session.commit()
        return known(session, staging)

    monkeypatch.setattr(ledger, "find_chunks", some_lost)
    report = load(db, path)
    assert rows_of(db) == [(f"{n:03}", f"text {n}") for n in range(2, LAST + 1)]
    assert report.run["resumed_rows"] > 0
    assert_clean(db, ["published"])


@pytest.mark.parametrize("options", [{}, {"max_rejects": 0}, {"dry_run": True}])
def test_a_contract_is_known_from_the_start(db: Database, tmp_path: Path, options: dict[str, Any]) -> None:
    given = contract(tmp_path / "c.json", fields=[{"name": "n", "type": "integer"}, {"name": "t", "type": "string"}])
    report = load(db, book(tmp_path, plain), contract=given, **options)
    assert ("load" in report.timings, report.success_count) == (True, LAST - 1)
    if not options.get("dry_run"):
        assert rows_of(db) == [(n, f"text {n}") for n in range(2, LAST + 1)]
    assert db.leftovers() == []


def test_keys_are_settled_before_anything_is_written(db: Database, tmp_path: Path) -> None:
    fields = [{"name": "n", "type": "integer", "constraints": {"unique": True}}, {"name": "t", "type": "string"}]
    given = contract(tmp_path / "c.json", fields=fields)
    report = load(
        db, book(tmp_path, lambda n: plain(n) if n != 400 else (number("A400", 3), inline("B400", "x"))), contract=given
    )
    assert ("load" in report.timings, report.success_count) == (True, LAST - 2)
    assert {rule.key: rule.example for rule in report.rules} == {"n|unique-error": "Data!A400"}
    assert_clean(db, ["published"])
