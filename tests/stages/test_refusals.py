"""Rows that the database refuses become rejects with their address; the good rows load; every count still balances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from openpyxl import load_workbook
from support.tables import contract, save

from importer.errors import BudgetExceeded, DatabaseError, TargetRefused

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

    from importer.report.model import Report


def _errors(path: Path) -> dict[int, str]:
    """Row number -> reasons of a rejects workbook."""
    rows = list(load_workbook(path).active.iter_rows(values_only=True))  # type: ignore[union-attr]
    assert rows[0][:2] == ("_row", "_errors")
    return {row[0]: row[1] for row in rows[1:]}


def _assert_balanced(report: Report) -> None:
    assert all(c.count.balanced for c in report.columns)
    moved = report.table_rows
    assert moved["inserted"] + moved["updated"] + moved["unchanged"] == report.success_count
    assert moved["refused"] <= report.error_count


# ---- ONE OF EVERY KIND ------------------------------------------------------------------------------------------

HEADER = ["id", "n", "code", "ref", "room", "pos", "ip", "word", "u1", "u2", "later"]
KINDS: list[tuple[str, str, str, str, Any]] = [
    # what refuses, column of the address, SQLSTATE, constraint, the cell (or cells) that is refused
    ("check on a column", "B", "23514", "n_check", {"n": -1}),
    ("check on two columns", "", "23514", "n_code", {"n": 7, "code": "seven"}),
    ("unique index, partial", "C", "23505", "code_partial", {"code": "only"}),
    ("unique index, expression", "", "23505", "word_lower", {"word": "TAKEN"}),
    ("unique constraint against the table", "A", "23505", "t_pkey", {"id": 900}),
    ("unique constraint of two columns", "", "23505", "u_both", {"u1": 1, "u2": 1}),
    ("foreign key", "D", "23503", "t_ref_fkey", {"ref": 99}),
    ("exclusion", "E", "23P01", "t_room_excl", {"room": "[5,9)"}),
    ("domain", "F", "23514", "positive_check", {"pos": 0}),
    ("cast", "G", "22P02", "", {"ip": "300.1.1.1"}),
    ("trigger that raises", "", "P0001", "", {"word": "raise"}),
    ("trigger with a code of its own", "", "ZZ123", "", {"word": "code"}),
    ("trigger that divides by zero", "", "22012", "", {"word": "zero"}),
    ("trigger that leaves the row out", "", "left the row out", "", {"word": "skip"}),
    ("trigger that makes a null", "B", "23502", "", {"word": "null"}),
    ("deferred unique constraint", "K", "23505", "later_key", {"later": 5}),
]


@pytest.fixture
def judge(db: Database) -> Database:
    """A table that refuses in every way."""
    db.run(
        "create domain positive as int check (value > 0)",
        "create table p (id bigint primary key)",
        "insert into p values (1)",
        "create table t (id bigint constraint t_pkey primary key, n int not null constraint n_check check (n >= 0), code text, "
        "ref bigint constraint t_ref_fkey references p deferrable initially deferred, "
        "room int4range, constraint t_room_excl exclude using gist (room with &&), "
        "pos positive, ip inet, word text, u1 int, u2 int, later int constraint later_key unique deferrable initially deferred, "
        "constraint n_code check (n <> 7 or code <> 'seven'), constraint u_both unique (u1, u2) include (n))",
        "create unique index code_partial on t (code) where n < 100",
        "create unique index word_lower on t (lower(word))",
        "insert into t values (900, 5, 'only', 1, '[1,6)', 1, null, 'taken', 1, 1, 5)",
        """create function judge() returns trigger language plpgsql as $$ begin
        if new.word = 'raise' then raise exception 'not today'; end if;
        if new.word = 'code' then raise exception 'own code' using errcode = 'ZZ123'; end if;
        if new.word = 'zero' then new.n := 1 / (new.n - new.n); end if;
        if new.word = 'skip' then return null; end if;
        if new.word = 'null' then new.n := null; end if;
        return new; end $$""",
        "create trigger judge before insert on t for each row execute function judge()",
    )
    return db


def _line(row: int, cells: dict[str, Any]) -> list[Any]:
    return [{"id": row, "n": 1, **cells}.get(name) for name in HEADER]


@pytest.mark.parametrize(("mode", "method"), [("append", "batch"), ("append", "sequential"), ("replace", "concurrent")])
def test_every_kind_of_refusal_in_one_sheet(judge: Database, tmp_path: Path, mode: Any, method: Any) -> None:
    # Against other rows of the sheet, these are found before the database is asked.
    kinds = [kind for kind in KINDS if mode == "append" or kind[3] not in {"t_pkey", "u_both", "later_key"}]
    lines, bad = [], {}
    for kind in kinds:
        lines.append(_line(len(lines) + 2, {}))
        bad[len(lines) + 2] = kind
        lines.append(_line(len(lines) + 2, kind[4]))
    if mode == "replace":
        # The old row goes, so what it holds must be held by the first row of the sheet.
        lines.insert(0, [900, 5, "only", 1, "[1,6)", 1, None, "taken", 1, 1, 5])
        bad = {row + 1: kind for row, kind in bad.items()}
    path = save(tmp_path / "t.xlsx", HEADER, *lines)
    report = judge.load(path, mode=mode, method=method)
    found = _errors(path.with_suffix(".rejects.xlsx"))
    assert sorted(found) == sorted(bad)
    for row, (what, letter, state, constraint, _) in bad.items():
        assert found[row].startswith(f"{letter}{row} database-error: " if letter else f"row {row} database-error: "), (
            what
        )
        assert state in found[row], what
        assert not constraint or f"constraint {constraint})" in found[row], what
    good = [line[0] for row, line in enumerate(lines, 2) if row not in bad]
    old = [900] if mode == "append" else []
    assert sorted(id_ for (id_,) in judge.rows("select id from t")) == sorted([*old, *good])
    _assert_balanced(report)
    assert report.error_count == report.table_rows["refused"] == len(kinds)
    assert report.table_rows["deleted"] == (mode == "replace")
    assert {r.key: r.count for r in report.rules}["*|database-error"] == sum(not kind[1] for kind in kinds)
    assert next(r for r in report.rules if r.key == "pos|database-error").example.startswith("Sheet!F")
    assert judge.leftovers() == []


def test_earlier_rows_of_the_sheet_count(db: Database, tmp_path: Path) -> None:
    """Keys that only the server can compare: the first row in the sheet wins, whatever the chunks."""
    db.run("create table t (id int, word text)", "create unique index on t (lower(word))")
    words = ["a", "A", "b", "c", "B", "C", "d", "a"]
    path = save(tmp_path / "t.xlsx", ["id", "word"], *[[n, w] for n, w in enumerate(words, 2)])
    report = db.load(path, chunk_rows=2)
    assert db.rows("select id, word from t order by id") == [(2, "a"), (4, "b"), (5, "c"), (8, "d")]
    assert sorted(_errors(path.with_suffix(".rejects.xlsx"))) == [3, 6, 7, 9]
    _assert_balanced(report)


def test_nulls_not_distinct(db: Database, tmp_path: Path) -> None:
    if int(db.rows("select current_setting('server_version_num')")[0][0]) < 150000:
        pytest.skip("NULLS NOT DISTINCT came with PostgreSQL 15")
    db.run("create table t (id int, word text, unique nulls not distinct (word))")
    path = save(tmp_path / "t.xlsx", ["id", "word"], [2, None], [3, "x"], [4, None])
    db.load(path)
    assert db.rows("select id from t order by id") == [(2,), (3,)]
    assert list(_errors(path.with_suffix(".rejects.xlsx"))) == [4]


def test_refusals_join_the_other_rejects(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id int primary key, name text check (name <> 'no'), more text)")
    lines = [[2, "a", "x"], ["?", "b", "x"], [4, "no", None], [2, "d", "x"], [6, "f", "x"], [7, "no", "x"]]
    path = save(tmp_path / "t.xlsx", ["id", "name", "more"], *lines)
    report = db.load(path)
    assert (report.success_count, report.error_count) == (2, 4)
    assert list(_errors(path.with_suffix(".rejects.xlsx"))) == [3, 4, 5, 7]
    assert {r.key: (r.count, r.example) for r in report.rules} == {
        "name|database-error": (2, "Sheet!B4"), "id|type-error": (1, "Sheet!A3"), "id|primary-key": (1, "Sheet!A5"),
    }  # fmt: skip
    counts = {c.name: c.count for c in report.columns}
    assert (counts["id"].cells, counts["id"].loaded, counts["id"].rejected) == (6, 2, 4)
    assert (counts["more"].cells, counts["more"].loaded, counts["more"].rejected) == (5, 2, 3)
    _assert_balanced(report)


def test_all_rows_refused(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id int check (id < 0))")
    path = save(tmp_path / "t.xlsx", ["id"], *[[n] for n in range(1, 300)])
    report = db.load(path)
    assert (report.success_count, report.error_count) == (0, 299)
    assert db.rows("select count(*) from t") == [(0,)]


def test_partitions(db: Database, tmp_path: Path) -> None:
    """A row without a partition, and a constraint of one partition alone."""
    db.run(
        "create table t (id int, n int) partition by range (id)",
        "create table t1 partition of t for values from (0) to (10)",
        "alter table t1 add constraint small check (n < 5)",
    )
    path = save(tmp_path / "t.xlsx", ["id", "n"], [1, 1], [50, 1], [2, 9], [3, 4])
    db.load(path)
    found = _errors(path.with_suffix(".rejects.xlsx"))
    assert list(found) == [3, 4]
    assert found[3].startswith("row 3 database-error")
    assert found[4].startswith("B4 database-error")
    assert db.rows("select id from t order by id") == [(1,), (3,)]


def test_rule_that_does_something_else(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id int)", "create rule nothing as on insert to t where new.id = 2 do instead nothing")
    path = save(tmp_path / "t.xlsx", ["id"], [1], [2], [3])
    report = db.load(path)
    assert list(_errors(path.with_suffix(".rejects.xlsx"))) == [3]
    assert db.rows("select id from t order by id") == [(1,), (3,)]
    _assert_balanced(report)


# ---- FOREIGN KEYS -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True])
def test_rows_that_refer_to_each_other(db: Database, tmp_path: Path, backwards: bool) -> None:
    """A chain in either direction loads, two rows that need each other load, and a refused row takes its children along."""
    db.run("create table t (id int primary key, up int references t, name text check (name <> 'no'))")
    chain = [[n, n - 1 if n > 1 else None, "x"] for n in range(1, 40)]
    chain = chain[::-1] if backwards else chain
    lines = [*chain, [50, 51, "x"], [51, 50, "x"], [60, None, "no"], [61, 60, "x"], [62, 61, "x"], [63, 99, "x"]]
    path = save(tmp_path / "t.xlsx", ["id", "up", "name"], *lines)
    report = db.load(path)
    loaded = {id_ for (id_,) in db.rows("select id from t")}
    assert loaded >= set(range(1, 40))
    assert loaded.isdisjoint({60, 61, 62, 63})
    assert sorted(_errors(path.with_suffix(".rejects.xlsx"))) == [
        n for n, line in enumerate(lines, 2) if line[0] not in loaded
    ]
    _assert_balanced(report)


def test_replace_of_rows_that_others_refer_to(db: Database, tmp_path: Path) -> None:
    """The rows come back in the statement that deletes them, also when some others are refused."""
    db.run(
        "create table t (id int primary key, name text check (name <> 'no'))",
        "insert into t values (1, 'old'), (2, 'old'), (9, 'old')",
        "create table child (t_id int references t)",
        "insert into child values (1), (2)",
    )
    path = save(tmp_path / "t.xlsx", ["id", "name"], [1, "a"], [2, "b"], [3, "no"], [4, "d"])
    report = db.load(path, mode="replace")
    assert db.rows("select * from t order by id") == [(1, "a"), (2, "b"), (4, "d")]
    assert report.table_rows == {"inserted": 3, "updated": 0, "unchanged": 0, "deleted": 3, "refused": 1}
    with pytest.raises(DatabaseError, match="child_t_id_fkey"):
        db.load(save(tmp_path / "t.xlsx", ["id", "name"], [1, "a"], [2, "no"]), mode="replace")
    assert db.rows("select * from t order by id") == [(1, "a"), (2, "b"), (4, "d")]


NEW = {
    "fields": [{"name": "id", "type": "integer"}, {"name": "ip"}, {"name": "data", "type": "object"}],
    "primaryKey": "id",
    "foreignKeys": [{"fields": "id", "reference": {"resource": "p", "fields": "id"}}],
    "postgresql": {
        "types": {"ip": "inet"},
        "extraColumns": [{"name": "row_id", "type": "bigint", "identity": True}],
        "indexes": [["ip"]],
    },
}


@pytest.mark.parametrize("dry_run", [False, True])
def test_new_table(db: Database, tmp_path: Path, dry_run: bool) -> None:
    """A new table refuses rows, too: by foreign keys, and by casts to types that only the server reads."""
    db.run("create table p (id bigint primary key)", "insert into p values (1), (2), (3), (4)")
    lines = [
        [1, "10.0.0.1", "{}"],
        [2, "10.0.0.999", "{}"],
        [3, "::1", '{"a": "\\u0000"}'],
        [4, None, "{}"],
        [5, None, None],
    ]
    path = save(tmp_path / "t.xlsx", ["id", "ip", "data"], *lines)
    report = db.load(path, contract=contract(tmp_path / "c.json", **NEW), dry_run=dry_run)
    found = _errors(path.with_suffix(".rejects.xlsx"))
    assert {row: text.split()[0] for row, text in found.items()} == {3: "B3", 4: "C4", 6: "A6"}
    _assert_balanced(report)
    assert (report.success_count, report.target["created"]) == (2, True)
    if dry_run:
        assert db.rows("select to_regclass('t')::text") == [(None,)]
        return
    assert db.rows("select id, ip::text from t order by id") == [(1, "10.0.0.1/32"), (4, None)]
    assert {n for (n,) in db.rows("select conname::text from pg_constraint where conrelid = 't'::regclass and contype <> 'n'")} == {
        "t_pkey", "t_id_fkey",
    }  # fmt: skip
    assert db.rows("select pg_get_serial_sequence('t', 'row_id')::regclass::text") == [("t_row_id_seq",)]
    assert db.leftovers() == []


# ---- BUDGET AND CHECK -------------------------------------------------------------------------------------------


def test_refusals_count_in_the_budget(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id int, name text check (name <> 'no'))", "insert into t values (0, 'old')")
    lines = [[1, "a"], ["?", "b"], [3, "no"], [4, "d"]]
    path = save(tmp_path / "t.xlsx", ["id", "name"], *lines)
    with pytest.raises(BudgetExceeded) as caught:
        db.load(path, max_rejects=1)
    assert caught.value.report is not None
    assert (caught.value.report.outcome, caught.value.report.error_count) == ("over-budget", 2)
    assert list(_errors(path.with_suffix(".rejects.xlsx"))) == [3, 4]
    assert db.rows("select id from t") == [(0,)]
    assert db.leftovers() == []
    assert db.load(path, max_rejects=2).outcome == "published"
    assert db.rows("select id from t order by id") == [(0,), (1,), (4,)]


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_check_says_what_run_will(judge: Database, tmp_path: Path, mode: Any) -> None:
    path = save(
        tmp_path / "t.xlsx", HEADER, *[_line(n, kind[4]) for n, kind in enumerate([*KINDS, ("", "", "", "", {})], 2)]
    )
    before = judge.rows("select t.*::text, xmin::text from t")
    checked = judge.load(path, mode=mode, dry_run=True)
    assert judge.rows("select t.*::text, xmin::text from t") == before
    ran = judge.load(path, mode=mode)
    assert (checked.outcome, ran.outcome) == ("checked", "published")
    assert checked.table_rows == ran.table_rows
    assert checked.rules == ran.rules
    assert [c.to_dict() for c in checked.columns] == [c.to_dict() for c in ran.columns]
    assert checked.table_rows["refused"] == checked.error_count >= 10


# ---- NOT THE ROWS' FAULT ----------------------------------------------------------------------------------------


def test_broken_trigger_fails_the_run(db: Database, tmp_path: Path) -> None:
    """What no row is guilty of is an error of the run, not a reject of every row."""
    db.run(
        "create table t (id int)",
        "create function broken() returns trigger language plpgsql as $$ begin perform * from nowhere; return new; end $$",
        "create trigger broken before insert on t for each row execute function broken()",
    )
    path = save(tmp_path / "t.xlsx", ["id"], *[[n] for n in range(50)])
    with pytest.raises(DatabaseError, match="nowhere") as caught:
        db.load(path)
    assert caught.value.sqlstate == "42P01"
    assert not path.with_suffix(".rejects.xlsx").exists()
    assert db.leftovers() == []


def test_row_security(db: Database, tmp_path: Path) -> None:
    """Rows that a policy refuses are rejects; a missing privilege is an error of the run."""
    from importer import import_workbook

    role = f"w_{db.schema}"
    db.run(
        "create table t (id int)",
        "create policy p on t for insert with check (id <> 2)",
        "create policy q on t for select using (true)",
        "alter table t enable row level security",
        f"create role {role}",
        f"grant usage on schema {db.schema} to {role}",
        "drop schema if exists importer cascade",
        "create schema importer",
        f"grant usage, create on schema importer to {role}",
    )
    path = save(tmp_path / "t.xlsx", ["id"], *[[n] for n in range(1, 20)])
    dsn = f"{db.dsn.text}%20-crole%3D{role}"
    try:
        with pytest.raises(TargetRefused, match="may not write"):
            import_workbook(path, to=dsn, rejects=tmp_path / "r.xlsx")
        db.run(f"grant insert, select on t to {role}")
        report = import_workbook(path, to=dsn, rejects=tmp_path / "r.xlsx")
        assert list(_errors(tmp_path / "r.xlsx")) == [3]
        assert report.success_count == 18
    finally:
        db.run(f"drop owned by {role}", f"drop role {role}")
