"""Columns of every kind in old and new tables: the cell's own value, a reject with its address, or a clear error."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support.tables import column, contract, save

from importer.errors import ContractError, DatabaseError, TargetRefused, UsageError
from importer.postgres.catalog import parse_table_name

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

    from importer.report.model import Report

NOON = datetime(2020, 5, 1, 12)
HALF = datetime(2020, 5, 1, 12, 0, 0, 500000)
DAY = datetime(2020, 5, 1)
REJECT = object()


def _rejected(path: Path) -> dict[int, str]:
    """Row -> reasons, as openpyxl reads the rejects."""
    if not path.exists():
        return {}
    return {row[0]: row[1] for row in openpyxl.load_workbook(path).active.iter_rows(min_row=2, values_only=True)}


def _check(db: Database, path: Path, cells: list[Any], expected: list[Any], report: Report, shown: str = "x") -> None:
    """Every cell is in table `t` with its value, or in the rejects with its address."""
    loaded = dict(db.rows(f"select n, {shown} from t order by n"))
    rejected = _rejected(path.with_suffix(".rejects.xlsx"))
    for row, (cell, value) in enumerate(zip(cells, expected, strict=True), 2):
        if value is REJECT:
            assert row not in loaded, (cell, loaded)
            assert f"B{row} " in rejected[row], cell
        else:
            assert loaded[row] == value, cell
            assert row not in rejected, cell
    assert report.success_count == sum(v is not REJECT for v in expected)
    assert db.leftovers() == []


# A column's type, what the test reads of it, the cells, and what becomes of each.
EXISTING: list[tuple[str, str, list[tuple[Any, Any]]]] = [
    ("smallint", "x", [(1, 1), (32767, 32767), (32768, REJECT), (-32768, -32768), (1.5, REJECT), (True, REJECT), ("7",
        7), ("x", REJECT), (DAY, REJECT), (None, None)]),
    ("integer", "x", [(2**31 - 1, 2**31 - 1), (2**31, REJECT), (1.5, REJECT), (True, REJECT), ("007", 7), (DAY,
        REJECT), (NOON, REJECT), (time(1), REJECT)]),
    ("bigint", "x", [(1.5, REJECT), (2**53, 2**53), (2.0**60, REJECT), ("9223372036854775807", 2**63 - 1), (False,
        REJECT), (-5, -5)]),
    ("real", "x::float8", [(16777216, 16777216.0), (16777217, REJECT), (0.5, 0.5), (0.1, 0.10000000149011612), (1e39,
        REJECT), (1e-50, REJECT), ("0.5", 0.5), (True, REJECT)]),
    ("double precision", "x", [(0.1, 0.1), (1, 1.0), (1e-10, 1e-10), (2**53 + 2, 2.0**53 + 2), (True, REJECT), ("1e3",
        1000.0), (DAY, REJECT)]),
    ("numeric", "x::text", [(0.1, "0.1"), (1, "1"), (1e22, "10000000000000000000000"), (1e-10, "0.0000000001"),
        ("0.10", "0.1"), (DAY, REJECT)]),
    ("numeric(6,2)", "x::text", [(0.1 + 0.2, "0.30"), (1234.56, "1234.56"), (9999.99, "9999.99"), (10000, REJECT),
        (1.005, REJECT), (1, "1.00")]),
    ("numeric(3,-2)", "x::text", [(1200, "1200"), (1250, REJECT), (99900, "99900"), (100000, REJECT)]),
    ("boolean", "x", [(True, True), (0, False), (2, REJECT), ("TRUE", True), ("yes", REJECT), (None, None)]),
    ("date", "x", [(DAY, date(2020, 5, 1)), (NOON, REJECT), (43952, REJECT), ("2020-05-01", date(2020, 5, 1)),
        ("1.5.2020", REJECT), (time(1), REJECT)]),
    ("timestamp", "x", [(NOON, NOON), (HALF, HALF), (DAY, DAY), (43952, REJECT), (time(1), REJECT),
        ("2020-05-01 12:00", NOON)]),
    ("timestamp(0)", "x", [(NOON, NOON), (HALF, REJECT)]),
    ("timestamptz", "x at time zone 'UTC'", [(NOON, NOON), (DAY, DAY), (1, REJECT)]),
    ("time", "x", [(time(1, 2, 3), time(1, 2, 3)), (NOON, REJECT), (0.5, REJECT), (timedelta(hours=30), REJECT),
        (timedelta(hours=3), time(3))]),
    ("time(0)", "x", [(time(1), time(1)), (time(1, 0, 0, 500000), REJECT)]),
    ("interval", "extract(epoch from x)::float8", [(timedelta(hours=30), 108000.0), (time(1), 3600.0), ("PT1M", 60.0),
        (1, REJECT)]),
    ("text", "x", [("007", "007"), (" a ", " a "), (7, "7"), (1e-10, "1e-10"), (True, "true"), (NOON,
        "2020-05-01T12:00:00"), (time(1), "01:00:00")]),
    ("varchar(3)", "x", [("abc", "abc"), ("abcd", REJECT), ("äöü", "äöü"), (1234, REJECT), ("   ", "   ")]),
    ("char(3)", "x", [("ab", "ab "), ("abcd", REJECT), ("a ", "a  ")]),
    ("uuid", "x::text", [("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), ("x",
        REJECT), (5, REJECT)]),
    ("jsonb", "x::text", [('{"b":1,"a":[]}', '{"a": [], "b": 1}'), ("{", REJECT), (5, "5"), (True, "true"),
        ('"\\u0000"', REJECT), ('"\\ud800"', REJECT)]),
    ("json", "x::text", [('{"b": 1}', '{"b": 1}'), ("x", REJECT)]),
    ("bit(3)", "x::text", [("101", "101"), ("10", REJECT), ("1010", REJECT)]),
    ("bit varying(3)", "x::text", [("10", "10"), ("1010", REJECT)]),
    ("name", "x::text", [("a" * 63, "a" * 63), ("a" * 64, REJECT)]),
    ("inet", "x::text", [("10.0.0.1", "10.0.0.1/32")]),
    ("int4range", "x::text", [("[1,3)", "[1,3)"), ("empty", "empty")]),
    ("daterange", "x::text", [("[2024-01-31,2024-03-01)", "[2024-01-31,2024-03-01)"), ("empty", "empty"),
        ("(,2024-03-01)", "(,2024-03-01)"), ("[01/02/2024,03/04/2024)", REJECT), ("[2024-03-01,2024-01-31)", REJECT),
        ("[today,infinity)", REJECT), ("[-infinity,Infinity)", "[-infinity,infinity)")]),
    ("tsrange", "x::text", [('["2024-01-31 12:00",2024-03-01)', '["2024-01-31 12:00:00","2024-03-01 00:00:00")'),
        ("[31.1.2024,)", REJECT)]),
    ("tstzrange", "lower(x) at time zone 'UTC'", [("[2024-01-31T12:00+01:00,)", datetime(2024, 1, 31, 11)),
        ("[2024-01-31 12:00Z,)", datetime(2024, 1, 31, 12)), ("[2024-01-31 12:00,)", REJECT)]),
]  # fmt: skip


@pytest.mark.parametrize(("pg_type", "shown", "cases"), EXISTING, ids=[t for t, _, _ in EXISTING])
def test_existing_column(db: Database, tmp_path: Path, pg_type: str, shown: str, cases: list[tuple[Any, Any]]) -> None:
    if pg_type == "numeric(3,-2)" and int(db.rows("select current_setting('server_version_num')")[0][0]) < 150000:
        pytest.skip("negative scales are of PostgreSQL 15")
    db.run(f"create table t (n int, x {pg_type})")
    cells, expected = [c for c, _ in cases], [v for _, v in cases]
    path = column(tmp_path / "t.xlsx", "x", cells)
    report = db.load(path)
    _check(db, path, cells, expected, report, shown)


NEW: list[tuple[str, str, str, list[tuple[Any, Any]]]] = [
    ("numeric(12,2)", "number", "x::text", [(0.1 + 0.2, "0.30"), (1.005, REJECT)]),
    ("real", "number", "x::float8", [(0.5, 0.5), (16777217, REJECT)]),
    ("smallint", "integer", "x", [(5, 5), (40000, REJECT)]),
    ("integer", "number", "x", [(5, 5), (1.5, REJECT)]),
    ("uuid", "string", "x::text", [("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("x", REJECT)]),
    ("jsonb", "object", "x::text", [('{"a":1}', '{"a": 1}'), ("[1]", REJECT)]),
    ("json", "string", "x::text", [('{"a":1}', '{"a":1}'), ("x", REJECT)]),
    ("varchar(20)", "string", "x", [("a" * 20, "a" * 20), ("a" * 21, REJECT), ("a ", "a ")]),
    ('"varchar"(3)', "string", "x", [("abc", "abc"), ("abcd", REJECT)]),
    ("pg_catalog.varchar(3)", "string", "x", [("abc", "abc"), ("abcd", REJECT)]),
    ('"numeric"(5,2)', "number", "x::text", [(1.25, "1.25"), (1.255, REJECT)]),
    ("char(3)", "string", "x", [("a ", "a  "), ("abcd", REJECT)]),
    ("timestamptz", "datetime", "x at time zone 'UTC'", [(NOON, NOON)]),
    ("timestamp(0)", "datetime", "x", [(NOON, NOON), (HALF, REJECT)]),
    ("date", "datetime", "x", [(DAY, date(2020, 5, 1)), (NOON, REJECT)]),
    ("interval", "duration", "extract(epoch from x)::float8", [(timedelta(hours=30), 108000.0)]),
    ("mood", "string", "x::text", [("sad", "sad"), ("Sad", REJECT)]),
    ("short", "string", "x::text", [("abc", "abc"), ("abcd", REJECT)]),
    ("shorter", "string", "x::text", [("abc", "abc"), ("abcd", REJECT)]),
    ("cents", "number", "x::text", [(1.25, "1.25"), (1.255, REJECT)]),
    ("hours", "duration", "x::text", []),
    ("bit(3)", "string", "x::text", [("101", "101"), ("1", REJECT)]),
    ("point", "geopoint", "x::text", [("1.5,2", "(1.5,2)"), ("500,2", REJECT)]),
    ("text", "list", "x", [("a,b", "a,b")]),
    ("jsonb", "list", "x::text", [("a,b", '["a", "b"]')]),
    ("text", "year", "x", [(2020, "2020"), ("0099", "0099")]),
    ("smallint", "year", "x", [(2020, 2020), ("x", REJECT)]),
]  # fmt: skip
TYPES = (
    "create type mood as enum ('sad', 'ok')", "create domain short as varchar(3)", "create domain shorter as short",
        "create domain cents as numeric(5,2)", "create domain hours as interval hour",
)  # fmt: skip


@pytest.mark.parametrize(("pg_type", "kind", "shown", "cases"), NEW, ids=[f"{k} in {t}" for t, k, _, _ in NEW])
def test_new_column(
    db: Database, tmp_path: Path, pg_type: str, kind: str, shown: str, cases: list[tuple[Any, Any]]
) -> None:
    db.run(*TYPES)
    cells, expected = [c for c, _ in cases], [v for _, v in cases]
    path = column(tmp_path / "t.xlsx", "x", cells)
    described = contract(
        tmp_path / "c.json",
        fields=[{"name": "n", "type": "integer"}, {"name": "x", "type": kind}],
        postgresql={"types": {"x": pg_type}},
    )
    if not cases:
        with pytest.raises(TargetRefused, match="cannot be filled"):
            db.load(path, contract=described)
        return
    _check(db, path, cells, expected, db.load(path, contract=described), shown)


@pytest.mark.parametrize("pg_type", ["short", "shorter", "cents", "mood"])
def test_existing_column_of_a_made_type(db: Database, tmp_path: Path, pg_type: str) -> None:
    """The cast into a domain cuts texts and rounds numbers without a word; the base type's rule holds instead."""
    db.run(*TYPES, f"create table t (n int, x {pg_type})")
    good, bad = {"cents": (1.25, 1.255), "mood": ("sad", "Sad")}.get(pg_type, ("abc", "abcd"))
    path = column(tmp_path / "t.xlsx", "x", [good, bad])
    _check(db, path, [good, bad], [str(good), REJECT], db.load(path), "x::text")


def test_citext(db: Database, tmp_path: Path) -> None:
    try:
        db.run("create extension if not exists citext schema public")
    except DatabaseError as exc:
        pytest.skip(f"citext cannot be created here: {exc.fact}")
    db.run("create table t (n int, x citext unique)")
    path = column(tmp_path / "t.xlsx", "x", ["Ab", "aB", "c"])
    _check(db, path, ["Ab", "aB", "c"], ["Ab", REJECT, "c"], db.load(path), "x::text")
    described = contract(
        tmp_path / "c.json",
        fields=[{"name": "n", "type": "integer"}, {"name": "x"}],
        postgresql={"types": {"x": "citext"}},
    )
    assert db.load(path, contract=described, table="new").success_count == 3
    assert db.rows("select pg_typeof(x)::text, count(*) from new where x = 'AB' group by 1") == [("citext", 2)]


@pytest.mark.parametrize(
    "pg_type",
    [
        "varchar(2)[]",
        "date[]",
        "bytea",
        "money",
        "timetz",
        "tsvector",
        "oid",
        "xid8",
        "interval hour",
        "interval day to second(0)",
    ],
)
def test_column_that_no_cell_can_fill(db: Database, tmp_path: Path, pg_type: str) -> None:
    db.run(f"create table t (n int, x {pg_type})")
    path = column(tmp_path / "t.xlsx", "x", ["1"])
    with pytest.raises(TargetRefused, match=r"'x'.*cannot be filled"):
        db.load(path)
    assert db.load(path, columns=["n"]).success_count == 1
    assert db.rows("select n, x is null from t") == [(2, True)]


def test_composite_column(db: Database, tmp_path: Path) -> None:
    db.run("create type pair as (a int, b int)", "create table t (n int, x pair)")
    with pytest.raises(TargetRefused, match="'x'"):
        db.load(column(tmp_path / "t.xlsx", "x", ["(1,2)"]))


@pytest.mark.parametrize(
    ("pg_type", "kind"),
    [
        ("bigint", "boolean"),
        ("boolean", "integer"),
        ("date", "integer"),
        ("integer", "date"),
        ("timestamp", "time"),
        ("time", "datetime"),
        ("interval", "integer"),
        ("real", "date"),
        ("bigint", "geopoint"),
        ("integer", "list"),
        ("date", "yearmonth"),
        ("jsonb", "geopoint"),
    ],
)
def test_field_and_column_of_other_kinds(db: Database, tmp_path: Path, pg_type: str, kind: str) -> None:
    """FACTS 3.1: what COPY would store as bits is refused before a row is written."""
    db.run(f"create table t (n int, x {pg_type})")
    described = contract(tmp_path / "c.json", fields=[{"name": "n", "type": "integer"}, {"name": "x", "type": kind}])
    with pytest.raises(TargetRefused, match=f"a {kind} field cannot fill a column of type"):
        db.load(column(tmp_path / "t.xlsx", "x", [1]), contract=described)
    assert db.rows("select * from t") == []


@pytest.mark.parametrize("given", ["date[]", "nosuchtype", "anyelement", "record", "serial"])
def test_new_column_of_an_unknown_type(db: Database, tmp_path: Path, given: str) -> None:
    described = contract(
        tmp_path / "c.json",
        fields=[{"name": "n", "type": "integer"}, {"name": "x"}],
        postgresql={"types": {"x": given}},
    )
    with pytest.raises(TargetRefused):
        db.load(column(tmp_path / "t.xlsx", "x", ["1"]), contract=described)
    assert db.rows("select to_regclass('t')::text") == [(None,)]


# ---- TIME ZONES -------------------------------------------------------------------------------------------------


def test_timestamptz_in_a_zone(db: Database, tmp_path: Path) -> None:
    db.run("create table t (n int, x timestamptz)")
    cells = [datetime(2021, 3, 28, 2, 30), datetime(2021, 10, 31, 2, 30), datetime(2021, 7, 1), datetime(2021, 1, 1)]
    hours = [REJECT, datetime(2021, 10, 31, 0, 30), datetime(2021, 6, 30, 22), datetime(2020, 12, 31, 23)]
    path = column(tmp_path / "t.xlsx", "x", cells)
    report = db.load(path, timezone="Europe/Zurich")
    _check(db, path, cells, hours, report, "x at time zone 'UTC'")
    assert any("Europe/Zurich" in note for note in report.notes)


def test_timestamptz_reads_back_as_an_instant(db: Database, tmp_path: Path) -> None:
    db.run("create table t (n int, x timestamptz)")
    db.load(column(tmp_path / "t.xlsx", "x", [NOON]), timezone="America/New_York")
    assert db.rows("select x from t")[0][0].astimezone(UTC) == datetime(2020, 5, 1, 16, tzinfo=UTC)


# ---- FILLED BY THE DATABASE -------------------------------------------------------------------------------------

FILLED = """create table t (
    id bigint generated always as identity primary key, alt int generated by default as identity,
    n int not null, twice int generated always as (n * 2) stored, made text not null default 'here', tags text[]
)"""


def test_columns_that_the_database_fills(db: Database, tmp_path: Path) -> None:
    db.run(FILLED)
    assert db.load(save(tmp_path / "t.xlsx", ["n"], [5], [6])).success_count == 2
    assert db.rows("select id, alt, n, twice, made, tags from t order by n") == [
        (1, 1, 5, 10, "here", None),
        (2, 2, 6, 12, "here", None),
    ]


@pytest.mark.parametrize(("header", "said"), [("id", "GENERATED ALWAYS AS IDENTITY"), ("twice", "GENERATED ALWAYS")])
def test_column_that_takes_no_values(db: Database, tmp_path: Path, header: str, said: str) -> None:
    db.run(FILLED)
    path = save(tmp_path / "t.xlsx", ["n", header], [5, 9])
    with pytest.raises(TargetRefused, match=said):
        db.load(path)
    assert db.load(path, columns=["n"]).success_count == 1


def test_identity_by_default_and_default_take_values(db: Database, tmp_path: Path) -> None:
    db.run(FILLED)
    report = db.load(save(tmp_path / "t.xlsx", ["n", "alt", "made"], [5, 77, "there"], [6, 78, None]))
    assert db.rows("select alt, n, made from t") == [(77, 5, "there")]
    assert [(r.key, r.example) for r in report.rules] == [("made|constraint-error", "Sheet!C3")]


def test_field_that_the_sheet_lacks_takes_the_default(db: Database, tmp_path: Path) -> None:
    db.run("create table t (a text, b text not null default 'd')")
    described = contract(tmp_path / "c.json", fields=[{"name": "a"}, {"name": "b"}], fieldsMatch="superset")
    with pytest.raises(ContractError, match="missing-label"):
        db.load(save(tmp_path / "t.xlsx", ["c"], ["x"]), contract=described)
    db.run("alter table t alter b drop not null")
    assert db.load(save(tmp_path / "t.xlsx", ["a"], ["x"]), contract=described).success_count == 1
    assert db.rows("select a, b from t") == [("x", "d")]


def test_column_that_must_have_values(db: Database, tmp_path: Path) -> None:
    db.run("create table t (a text, b text not null)")
    with pytest.raises(ContractError, match=r"missing-label.*'b'"):
        db.load(save(tmp_path / "t.xlsx", ["a"], ["x"]))
    described = contract(tmp_path / "c.json", fields=[{"name": "a"}])
    with pytest.raises(TargetRefused, match="needs values for b"):
        db.load(save(tmp_path / "t.xlsx", ["a"], ["x"]), contract=described)


def test_not_null_column_rejects_empty_cells(db: Database, tmp_path: Path) -> None:
    db.run("create domain filled as text not null", "create table t (n int, x text not null, y filled)")
    path = save(tmp_path / "t.xlsx", ["n", "x", "y"], [1, "a", "b"], [2, None, "b"], [3, "a", ""])
    described = contract(tmp_path / "c.json", fields=[{"name": "n", "type": "integer"}, {"name": "x"}, {"name": "y"}])
    report = db.load(path, contract=described)
    assert [(r.key, r.example) for r in report.rules] == [
        ("x|constraint-error", "Sheet!B3"),
        ("y|constraint-error", "Sheet!C4"),
    ]
    assert db.rows("select n from t") == [(1,)]


# ---- NAMES ------------------------------------------------------------------------------------------------------

ODD = ["My Table", 'say "hi"', "ÜBER", "select", "a.b", "x'); drop table victim; --", "ü" * 31, "a" * 63, "日本"]


@pytest.mark.parametrize("name", ODD)
def test_odd_table_and_column_names(db: Database, tmp_path: Path, name: str) -> None:
    db.run("create table victim (a int)")
    quoted = '"' + name.replace('"', '""') + '"'
    path = save(tmp_path / "t.xlsx", ["id", name], [1, "v"], [2, "w"])
    described = contract(
        tmp_path / "c.json",
        fields=[{"name": "id", "type": "integer"}, {"name": name, "constraints": {"required": True, "unique": True}}],
        primaryKey="id",
        postgresql={
            "table": name,
            "indexes": [[name]],
            "extraColumns": [{"name": f"{name[:20]}#", "type": "bigint", "identity": True}],
        },
    )
    assert db.load(path, contract=described).success_count == 2
    assert db.rows(f"select {quoted} from {quoted} order by id") == [("v",), ("w",)]
    spelled = f'"{db.schema}".{quoted}'
    assert db.load(path, table=spelled, columns=["id", name], mode="replace").success_count == 2
    assert db.rows(f"select count(*) from {quoted}") == [(2,)]
    assert db.rows("select count(*) from victim") == [(0,)]
    assert db.leftovers() == []


def test_headers_cannot_inject(db: Database, tmp_path: Path) -> None:
    header = 'x" int); drop table victim; --'
    db.run("create table victim (a int)")
    path = save(
        tmp_path / "t.xlsx",
        [header, "y'); drop table victim; --"],
        [1, "'; drop table victim; --"],
        sheet="a'; drop table victim",
    )
    db.load(path, keep_names=True, sheet="a'; drop table victim")
    table = "t_a_drop_table_victim"
    names = [
        name
        for (name,) in db.rows(
            f"select column_name::text from information_schema.columns where table_name = '{table}' order by 1"
        )
    ]
    assert names == [header, "y'); drop table victim; --"]
    assert db.rows("select count(*) from victim") == [(0,)]


def test_extra_column_default_is_a_literal(db: Database, tmp_path: Path) -> None:
    evil = "'); drop table victim; --\\"
    db.run("create table victim (a int)")
    extra = [
        {"name": "e", "default": evil}, {"name": "i", "type": "int", "default": 5}, {"name": "b", "type": "boolean",
        "default": True},
        {"name": "r", "type": "float8", "default": -1.5}, {"name": "d", "type": "date", "default": "CURRENT_DATE"},
        {"name": "t", "default": "new (draft)"},
    ]  # fmt: skip
    described = contract(
        tmp_path / "c.json", fields=[{"name": "n", "type": "integer"}], postgresql={"extraColumns": extra}
    )
    db.load(save(tmp_path / "t.xlsx", ["n"], [1]), contract=described)
    assert db.rows("select e, i, b, r, d = current_date, t from t") == [(evil, 5, True, -1.5, True, "new (draft)")]
    assert db.rows("select count(*) from victim") == [(0,)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("t", (None, "t")),
        ("s.t", ("s", "t")),
        ("My.Table", ("My", "Table")),
        ('"a.b"', (None, "a.b")),
        ('"My S"."t ""x"""', ("My S", 't "x"')),
        ("sch ema.ta ble", ("sch ema", "ta ble")),
    ],
)
def test_table_names(text: str, expected: tuple[str | None, str]) -> None:
    assert parse_table_name(text) == expected


@pytest.mark.parametrize("text", ["", "a.b.c", '"a', "a.", ".a", 'a"b', '""'])
def test_wrong_table_names(text: str) -> None:
    with pytest.raises(UsageError):
        parse_table_name(text)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("a" * 64, "1-63 bytes"),
        ("nosuch.t", "no schema 'nosuch'"),
        ("pg_catalog.pg_class", "is reserved"),
        ("importer.x", "is reserved"),
        ("v", "a view"),
        ("s_id_seq", "a sequence"),
    ],
)
def test_target_that_is_none(db: Database, tmp_path: Path, table: str, said: str) -> None:
    db.run("create view v as select 1 as n", "create table s (id serial)")
    with pytest.raises(DatabaseError, match=said):
        db.load(save(tmp_path / "t.xlsx", ["n"], [1]), table=table)


def test_workbook_named_like_a_system_table(db: Database, tmp_path: Path) -> None:
    assert db.load(save(tmp_path / "pg_class.xlsx", ["n"], [1])).success_count == 1
    assert db.rows(f"select n from {db.schema}.pg_class") == [(1,)]
