"""Chunks that go straight into an existing table: where they may, where they must not, and what is left when they fail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from support.asking import user_session
from support.rawbook import error, inline, number, row, write_rows
from support.serving import wait_for
from support.tables import contract, save

from importer import BudgetExceeded
from importer.errors import ConnectionFailed, VerificationFailed
from importer.load import direct_copy as direct
from importer.postgres import kept_sessions
from importer.postgres.session import Session
from importer.stages import read as reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Database

LAST = 500
TABLE = "create table t (id bigint generated always as identity primary key, n bigint, t text)"
OLD = "insert into t (n, t) values (-1, 'old'), (-2, null)"


@pytest.fixture(autouse=True)
def every_sheet_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is worth it for a big sheet alone happens to every one."""
    monkeypatch.setattr(reading, "STREAM_MIN_BYTES", 0)
    monkeypatch.setattr(direct, "DIRECT_BYTES", 0)


def plain(n: int) -> tuple[str, ...]:
    return number(f"A{n}", n), inline(f"B{n}", f"text {n}")


def book(path: Path, cells: Callable[[int], tuple[str, ...]] = plain, **options: Any) -> Path:
    rows = row(1, inline("A1", "n"), inline("B1", "t"))
    rows += "".join(row(n, *cells(n)) for n in range(2, LAST + 1))
    return write_rows(path / "b.xlsx", rows, **options)


def load(db: Database, path: Path, **options: Any) -> Any:
    return db.load(path, **{"table": "t", "workers": 1, "chunk_rows": 50, **options})


def ways(db: Database) -> set[str]:
    """How the chunks of the published runs went: `direct` or `stage`."""
    chunks = "select distinct split_part(c.staging, '_', 1) from importer.chunks c join importer.runs r on r.id = run"
    return {way for (way,) in db.rows(f"{chunks} where target_schema = '{db.schema}'")}


def states(db: Database) -> list[str]:
    return [s for (s,) in db.rows(f"select state from importer.runs where target_schema = '{db.schema}'")]


def rows_of(db: Database) -> list[tuple[Any, ...]]:
    return db.rows("select n, t from t order by n")


NEW = [(n, f"text {n}") for n in range(2, LAST + 1)]
BOTH = [(-2, None), (-1, "old"), *NEW]


def test_rows_go_straight_into_the_table(db: Database, tmp_path: Path) -> None:
    db.run(TABLE, OLD)
    path = book(tmp_path)
    report = load(db, path)
    assert (ways(db), states(db), db.leftovers()) == ({"direct"}, ["published"], [])
    assert rows_of(db) == BOTH
    assert {k: n for k, n in report.table_rows.items() if n} == {"inserted": LAST - 1}
    assert report.success_count == LAST - 1
    assert db.rows("select count(distinct id), min(id), max(id) from t") == [(LAST + 1, 1, LAST + 1)]
    assert db.rows("select plan ->> 'chunks', counts ->> 'success_count' from importer.runs "
                   f"where target_schema = '{db.schema}'") == [("10", str(LAST - 1))]  # fmt: skip
    assert load(db, path).outcome == "already-imported"
    assert load(db, path, again=True).outcome == "published"
    assert db.rows("select count(*) from t") == [(2 * LAST,)]


def test_rejected_rows_stay_behind(db: Database, tmp_path: Path) -> None:
    db.run(TABLE, OLD)
    bad = {100, 444}
    report = load(db, book(tmp_path, lambda n: plain(n) if n not in bad else (error(f"A{n}", "#N/A"),)))
    assert ways(db) == {"direct"}
    assert report.error_count == 2
    assert rows_of(db) == [r for r in BOTH if r[0] not in bad]


def test_every_type_that_goes_straight(db: Database, tmp_path: Path) -> None:
    """All that COPY fills as it is; a contract says what the cells mean."""
    types = {
        "i2": ("smallint", "integer"), "i4": ("integer", "integer"), "f4": ("real", "number"),
        "f8": ("double precision", "number"), "b": ("boolean", "boolean"), "d": ("date", "date"),
        "ts": ("timestamp", "datetime"), "tz": ("timestamptz", "datetime"), "iv": ("interval", "duration"),
        "v": ("varchar(9)", "string"), "j": ("json", "string"),
    }  # fmt: skip
    cells = {
        "i2": number("A{}", 7), "i4": number("B{}", -70000), "f4": number("C{}", 0.5), "f8": number("D{}", 1.25),
        "b": '<c r="E{}" t="b"><v>1</v></c>', "d": number("F{}", 45_000, 1), "ts": number("G{}", 45_000.5, 2),
        "tz": number("H{}", 45_000.25, 2), "iv": number("I{}", 1.5, 4), "v": inline("J{}", "nine char"),
        "j": inline("K{}", '{"a": 1}'.replace("{", "{{").replace("}", "}}")),
    }  # fmt: skip
    rows = row(1, *(inline(f"{'ABCDEFGHIJK'[i]}1", name) for i, name in enumerate(types)))
    rows += "".join(row(n, *(text.format(n) for text in cells.values())) for n in range(2, 202))
    path = write_rows(tmp_path / "b.xlsx", rows)
    listed = ", ".join(f"{name} {pg_type}" for name, (pg_type, _) in types.items())
    given = contract(tmp_path / "c.json", fields=[{"name": n, "type": kind} for n, (_, kind) in types.items()])
    for table in ("t", "u"):
        db.run(f"create table {table} ({listed})")
    load(db, path, contract=given)
    assert ways(db) == {"direct"}
    load(db, path, contract=given, table="u", method="concurrent")
    text = "select array_agg(x::text order by x::text) from {} x"
    assert db.rows(text.format("t")) == db.rows(text.format("u"))
    assert db.rows("select count(*) from t where i2 = 7 and iv = '36 hours' and d = '2023-03-15'") == [(200,)]


OVER_STAGING = {
    "unique": ["alter table t add unique (n)"],
    "unique on an expression": ["create unique index on t ((n + 1000))"],
    "partial unique": ["create unique index on t (t) where n < 0"],
    "exclusion": ["alter table t add exclude using btree (n with =)"],
    "check": ["alter table t add check (n < 1000)"],
    "foreign key": [
        "create table other (n bigint primary key)", "insert into other select generate_series(-2, 1000)",
        "alter table t add foreign key (n) references other",
    ],
    "trigger": [
        "create function f() returns trigger language plpgsql as $$ begin return new; end $$",
        "create trigger g before insert on t for each row execute function f()",
    ],
    "statement trigger": [
        "create function f() returns trigger language plpgsql as $$ begin return null; end $$",
        "create trigger g after insert on t execute function f()",
    ],
    "rule": ["create rule r as on insert to t do also select 1"],
    "policy": ["alter table t enable row level security"],
    "numeric": ["alter table t alter n type numeric(9, 2)"],
    "domain": ["create domain d as text check (value <> 'x')", "alter table t alter t type d"],
    "timestamp of few digits": ["alter table t alter t type character(12)"],
}  # fmt: skip


@pytest.mark.parametrize("case", OVER_STAGING)
def test_tables_that_may_refuse_a_row(db: Database, tmp_path: Path, case: str) -> None:
    db.run(TABLE, OLD, *OVER_STAGING[case])
    load(db, book(tmp_path))
    assert ways(db) == {"stage"}
    assert db.rows("select count(*), sum(n)::int8 from t where n > 0") == [(LAST - 1, sum(range(2, LAST + 1)))]


@pytest.mark.parametrize("options", [{"mode": "replace"}, {"lineage": True}, {"mode": "create", "table": "u"}])
def test_loads_that_are_no_plain_append(db: Database, tmp_path: Path, options: dict[str, Any]) -> None:
    db.run("create table t (n bigint, t text, _run uuid, _row bigint)" if "lineage" in options else TABLE)
    if "lineage" in options:
        db.run("drop table t")
        load(db, write_rows(tmp_path / "a.xlsx", row(1, inline("A1", "n"), inline("B1", "t")) + row(2, *plain(2))),
             lineage=True)  # fmt: skip
    load(db, book(tmp_path), **options)
    assert ways(db) == {"stage"}


def test_a_table_that_is_a_partition_of_others_or_has_children(db: Database, tmp_path: Path) -> None:
    """Rows of a child are not ours, even though they show in its parent."""
    db.run(
        "create table t (n bigint, t text)", "create table child () inherits (t)", "insert into child values (9, 'c')"
    )
    load(db, book(tmp_path))
    assert ways(db) == {"direct"}
    assert db.rows("select count(*) from only t") == [(LAST - 1,)]
    db.run("create table p (n bigint, t text) partition by range (n)",
           "create table p1 partition of p for values from (0) to (1000)")  # fmt: skip
    load(db, book(tmp_path), table="p1")
    load(db, book(tmp_path), table="p")
    assert db.rows("select count(*) from p") == [(2 * (LAST - 1),)]
    assert ways(db) == {"direct", "stage"}


@pytest.mark.parametrize("gaps", [False, True])
def test_rows_are_found_among_many_old_ones(db: Database, tmp_path: Path, gaps: bool) -> None:
    """Behind the old ones, or in the gaps that deleted rows have left."""
    db.run(TABLE, "insert into t (n, t) select -n, 'old' from generate_series(1, 50000) n")
    if gaps:
        db.run("delete from t where n > -40000 and n % 2 = 0", "vacuum t")
    before = db.rows("select count(*), pg_relation_size('t') from t")[0]
    load(db, book(tmp_path))
    assert ways(db) == {"direct"}
    after = db.rows("select count(*), pg_relation_size('t') from t")[0]
    assert (after[0], after[1] > before[1]) == (before[0] + LAST - 1, not gaps)
    assert db.rows("select n, t from t where n > 0 order by n") == NEW


def test_over_the_budget_the_table_is_as_it_was(db: Database, tmp_path: Path) -> None:
    db.run(TABLE, OLD)
    path = book(tmp_path, lambda n: plain(n) if n % 100 else (error(f"A{n}", "#N/A"), inline(f"B{n}", "x")))
    with pytest.raises(BudgetExceeded):
        load(db, path, max_rejects=4)
    assert rows_of(db) == BOTH[:2]
    assert (states(db), db.leftovers()) == ([], [])


def test_a_row_that_the_server_refuses_after_all(db: Database, tmp_path: Path) -> None:
    """An index over an expression may fail; the row is found over staging, for which the sheet is read once more."""
    db.run(TABLE, OLD, "create index on t ((1 / (n - 333)))")
    report = load(db, book(tmp_path))
    assert [(rule.key, rule.example) for rule in report.rules] == [("*|database-error", "Data!333:333")]
    assert rows_of(db) == [r for r in BOTH if r[0] != 333]
    assert (ways(db), states(db), db.leftovers()) == ({"stage"}, ["published"], [])


def test_a_header_that_merged_cells_make_longer(db: Database, tmp_path: Path) -> None:
    """What stands behind the rows changes the plan: what was copied is taken back, and the sheet read once more."""
    db.run("create table t (n bigint, t_more text)", "insert into t values (-1, 'old')")
    head = row(1, inline("A1", "n"), inline("B1", "t")) + row(2, inline("B2", "more"))
    rows = head + "".join(row(n, number(f"A{n}", n), inline(f"B{n}", f"text {n}")) for n in range(3, LAST))
    path = write_rows(tmp_path / "m.xlsx", rows, behind='<mergeCells count="1"><mergeCell ref="A1:A2"/></mergeCells>')
    given = contract(tmp_path / "c.json", fields=[{"name": "n", "type": "integer"}, {"name": "t_more"}])
    report = load(db, path, contract=given)
    assert report.success_count == LAST - 3
    assert db.rows("select count(*), count(distinct n), min(n) from t") == [(LAST - 2, LAST - 2, -1)]
    assert states(db) == ["published"]


def test_what_is_not_what_was_read_is_not_published(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.run(TABLE, OLD)
    true_copy = Session.copy

    def spoiled(self: Session, rows: pl.DataFrame, schema: str, table: str) -> None:
        true_copy(self, rows.with_columns(pl.col("t").str.replace("text 77", "text 78")), schema, table)

    monkeypatch.setattr(Session, "copy", spoiled)
    with pytest.raises(VerificationFailed, match="differs from what was read"):
        load(db, book(tmp_path))
    assert rows_of(db) == BOTH[:2]
    assert (states(db), db.leftovers()) == ([], [])


def test_a_lost_row_is_not_published(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db.run(TABLE, "insert into t (n, t) select -n, 'old' from generate_series(1, 50000) n")
    true_copy = Session.copy
    monkeypatch.setattr(
        Session, "copy", lambda self, rows, *place: true_copy(self, rows.filter(pl.col("n") != 99), *place)
    )
    with pytest.raises(VerificationFailed, match="table .* holds 498"):
        load(db, book(tmp_path))
    assert db.rows("select count(*) from t") == [(50000,)]


def end_where_it_waits(db: Database) -> None:
    """End the session of a run once the server has it wait for the table."""
    waiting = "select pg_terminate_backend(pid) from pg_locks where not granted and relation = 't'::regclass"
    wait_for(lambda: db.rows(waiting))


def test_a_table_that_somebody_holds_is_left_to_staging(db: Database, tmp_path: Path) -> None:
    db.run(TABLE, OLD)
    path = book(tmp_path)
    with user_session(db.dsn) as other:
        other.run("LOCK TABLE t IN SHARE MODE")
        with ThreadPoolExecutor(1) as pool, pytest.raises(ConnectionFailed):
            pool.submit(end_where_it_waits, db)
            load(db, path, retry_for=0)
    assert rows_of(db) == BOTH[:2]
    report = load(db, path)
    assert (ways(db), rows_of(db), report.run["resumed_rows"]) == ({"stage"}, BOTH, LAST - 1)


def test_a_role_that_may_not_read_the_table(db: Database, tmp_path: Path) -> None:
    """Nothing can be verified there, but over staging it can."""
    load(db, book(tmp_path), table="u", mode="create")  # the ledger is there
    role = f"r{db.schema}"
    db.run(TABLE, f"create role {role} login", f"grant usage on schema {db.schema} to {role}",
           f"grant insert on t to {role}", f"grant usage, create on schema importer to {role}",
           f"grant select, insert, update, delete on all tables in schema importer to {role}")  # fmt: skip
    try:
        from importer.settings import Dsn

        dsn = Dsn(db.dsn.text.replace("postgres:@", f"{role}@").replace("postgres@", f"{role}@"))
        assert role in dsn.text
        type(db)(dsn, db.schema, dsn).load(book(tmp_path), table="t", workers=1, chunk_rows=50)
        assert ways(db) == {"stage"}
        assert db.rows("select count(*) from t") == [(LAST - 1,)]
    finally:
        db.run(f"drop owned by {role} cascade", f"drop role {role}")


def test_few_rows_of_one_of_many_go_straight_into_a_plain_table(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process that runs many imports; a table that may refuse a row, or does, gets them through staging."""
    monkeypatch.setattr(kept_sessions._Kept, "enabled", True)
    ways = "select c.staging ~ '^direct_' from importer.chunks c join importer.runs r on r.id = c.run where target_schema = current_schema() order by written_at"
    db.run("create table t (id bigint, v text)")
    try:
        for n in range(2):
            report = db.load(save(tmp_path / f"{n}.xlsx", ["id", "v"], [n, "x"], [n + 10, None]), table="t")
            assert (report.outcome, report.success_count) == ("published", 2)
        assert db.load(tmp_path / "1.xlsx", table="t").outcome == "already-imported"
        db.run("alter table t add check (id < 100)")
        report = db.load(save(tmp_path / "2.xlsx", ["id", "v"], [2, "x"], [1000, "y"]), table="t")
        assert (report.success_count, report.error_count) == (1, 1)
        db.run("alter table t drop constraint t_id_check", "create index on t ((1 / (id - 7)))")
        report = db.load(save(tmp_path / "3.xlsx", ["id", "v"], [3, "x"], [7, "y"]), table="t")
        assert (report.success_count, report.error_count) == (1, 1)
        assert db.rows(ways) == [(True,), (True,), (False,), (False,)]
        assert db.rows("select sum(id)::int, count(*) from t") == [(27, 6)]
    finally:
        kept_sessions.close_kept()


def test_many_rows_of_one_of_many_are_found_in_the_room_that_others_left(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is larger than the sheet is worth gets them through staging."""
    monkeypatch.setattr(kept_sessions._Kept, "enabled", True)
    monkeypatch.setattr(direct, "_MOST_BLOCKS", 2)
    monkeypatch.setattr(direct, "_FEW_ROWS", 10)
    monkeypatch.setattr(direct, "_BLOCKS_AROUND", 1)
    db.run(
        "create table t (id bigint, v text)", "insert into t select n, repeat('x', 500) from generate_series(1, 200) n"
    )
    db.run("delete from t where id between 20 and 60")
    with Session(db.dsn, autocommit=True) as session:
        session.run(f"set search_path to {db.schema}")
        session.run("vacuum t")
    blocks = db.rows("select pg_relation_size('t') / current_setting('block_size')::int8")[0][0]
    try:
        for name, number in (("many", 2 * blocks + 2), ("fewer", 2 * blocks - 2)):
            rows = [[1000 + n, f"{name} {n}" * 20] for n in range(number)]
            report = db.load(save(tmp_path / f"{name}.xlsx", ["id", "v"], *rows), table="t")
            assert (report.outcome, report.success_count) == ("published", number)
        room = "select min((ctid::text::point)[0]) < 4 from t where v like 'many%'"
        assert db.rows(room) == [(True,)]
        ways = "select c.staging ~ '^direct_' from importer.chunks c join importer.runs r on r.id = c.run where target_schema = current_schema() order by written_at"
        assert db.rows(ways) == [(True,), (False,)]
        assert db.rows("select count(*) from t") == [(159 + 4 * blocks,)]
    finally:
        kept_sessions.close_kept()
