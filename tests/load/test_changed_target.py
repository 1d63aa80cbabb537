"""A table that somebody alters while a run waits to publish: the run plans again, by the table as it is then.

The test holds a lock that the run waits for, alters the table in the transaction that holds it, and commits.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.asking import user_session
from support.serving import wait_for
from support.tables import save

import importer.stages.load as story
from importer import pipeline
from importer.errors import BudgetExceeded, ContractError, DatabaseError, TargetChanged, TargetRefused
from importer.load import direct_copy
from importer.load.target_lock import lock_target
from importer.settings import Dsn, Settings
from importer.stages import read as reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database

    from importer.report.model import Report

HEADER = ["n", "name", "amount", "city"]
#: Every other amount has a fraction; names grow from 1 to 6 characters.
ROWS = [[n, "abcdef"[:n], n + (n % 2) / 4, f"c{n % 3}"] for n in range(1, 7)]
TABLE = "create table t (n bigint, name text, amount numeric(12,2), city text)"
SAID = "was changed while the run was under way"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", HEADER, *ROWS)


@contextlib.contextmanager
def altered_while_waiting(db: Database, *statements: str) -> Iterator[None]:
    """Lock table `t`; once a session waits for it, run the statements and commit."""
    waiting = "select count(*) from pg_locks where not granted and relation = to_regclass('t')"
    failed: list[BaseException] = []
    with user_session(db.dsn) as holder:
        holder.run("LOCK TABLE t IN SHARE MODE")

        def alter() -> None:
            try:
                wait_for(lambda: db.rows(waiting) != [(0,)])
                for statement in statements:
                    holder.run(statement)
                holder.commit()
            except Exception as exc:  # noqa: BLE001 - the test fails by it
                failed.append(exc)
                holder.rollback()

        thread = threading.Thread(target=alter)
        thread.start()
        try:
            yield
        finally:
            thread.join()
    assert not failed


def values(db: Database, table: str = "t") -> list[Any]:
    return db.rows(f"select n::text, name::text, amount::text, city::text from {table} order by {table}.n")


def written(rows: list[list[Any]], amount: str = "{:.2f}") -> list[tuple[str, ...]]:
    return [(str(n), name, amount.format(value), city) for n, name, value, city in rows]


def said(report: Report) -> list[str]:
    """What changed, by the note of the report."""
    return [str(note).split(": ", 1)[1] for note in report.notes if SAID in str(note)]


SKIPS = """
create function skip() returns trigger language plpgsql as
$$ begin return case when new.n < 4 then new end; end $$"""
EVEN = [row for row in ROWS if row[0] % 2 == 0]
LOADED = {
    "integer": ("alter table t alter amount type integer", EVEN, "{:.0f}", "columns"),
    "numeric(12,1)": ("alter table t alter amount type numeric(12,1)", EVEN, "{:.1f}", "columns"),
    "varchar(3)": ("alter table t alter name type varchar(3)", ROWS[:3], "{:.2f}", "columns"),
    "real": ("alter table t alter amount type real", ROWS, "{:g}", "columns"),
    "collation": ('alter table t alter name type text collate "C"', ROWS, "{:.2f}", "columns"),
    "column": ("alter table t add more text", ROWS, "{:.2f}", "columns"),
    "default": ("alter table t add more text not null default 'x'", ROWS, "{:.2f}", "columns"),
    "swapped": (
        "alter table t rename city to x;; alter table t rename name to city;; alter table t rename x to name",
        ROWS, "{:.2f}", "columns",
    ),
    "not null": ("alter table t alter n set not null", ROWS, "{:.2f}", "columns"),
    "check": ("alter table t add check (n < 3)", ROWS[:2], "{:.2f}", "constraints"),
    "unique": ("alter table t add unique (city)", ROWS[:3], "{:.2f}", "unique indexes"),
    "unique index": ("create unique index on t (lower(city))", ROWS[:3], "{:.2f}", "unique indexes"),
    "trigger": (
        f"{SKIPS};;create trigger s before insert on t for each row execute function skip()",
        ROWS[:3], "{:.2f}", "triggers",
    ),
    "rule": ("create rule r as on insert to t do instead nothing", [], "{:.2f}", "rules"),
    "policy": ("alter table t enable row level security", ROWS, "{:.2f}", "row level security"),
    "child": ("create table child () inherits (t)", ROWS, "{:.2f}", "inheritance"),
    "owner": ("create role {role};; alter table t owner to {role}", ROWS, "{:.2f}", "owner"),
    "recreated": (f"drop table t;; {TABLE}", ROWS, "{:.2f}", "the table itself"),
    "renamed": ("alter table t rename to old;; create table t (like old)", ROWS, "{:.2f}", "the table itself"),
    "other types": (f"drop table t;; {TABLE.replace('numeric(12,2)', 'text')}", ROWS, "{:g}", "the table itself, columns"),
    "partitioned": (
        f"drop table t;; {TABLE} partition by list (city);; create table c1 partition of t for values in ('c1')",
        [row for row in ROWS if row[3] == "c1"], "{:.2f}", "the table itself, inheritance",
    ),
    "dropped": ("drop table t", ROWS, "{:g}", "it was dropped"),
    "moved": ("alter table t set schema {schema}_2", ROWS, "{:g}", "it was dropped"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOADED)
def test_rows_are_checked_against_the_altered_table(db: Database, book: Path, case: str) -> None:
    """What fits is loaded as it was read, what does not is a reject."""
    change, rows, amount, what = LOADED[case]
    role = f"r{db.schema}"
    db.run(TABLE, f"create schema {db.schema}_2")
    try:
        with altered_while_waiting(db, *change.replace("{role}", role).replace("{schema}", db.schema).split(";;")):
            report = db.load(book, retry_for=0, workers=0)
        assert values(db) == written(rows, amount)
        assert (report.success_count, report.error_count) == (len(rows), len(ROWS) - len(rows))
        assert said(report) == [f"{what}; it was planned again"]
        assert db.leftovers() == []
        assert db.load(book, workers=0).outcome == "already-imported"
    finally:
        db.run(f"drop schema {db.schema}_2 cascade")
        if case == "owner":
            db.run(f"drop owned by {role} cascade", f"drop role {role}")


REFUSED = {
    "needs values": (
        "alter table t add more text not null default 'x';; alter table t alter more drop default",
        ContractError, "missing-label: the sheet has no column 'more'",
    ),
    "column dropped": ("alter table t drop city", ContractError, "extra-label"),
    "column renamed": ("alter table t rename city to town", ContractError, "extra-label"),
    "identity": (
        "alter table t alter n set not null;; alter table t alter n add generated always as identity",
        TargetRefused, "accepts no values",
    ),
    "generated": (
        "alter table t drop amount;; alter table t add amount numeric generated always as (n * 2) stored",
        TargetRefused, "accepts no values",
    ),
    "view": ("alter table t rename to old;; create view t as select * from old", TargetRefused, "is a view"),
    "sequence": ("drop table t;; create sequence t", TargetRefused, "is a sequence"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_no_longer_fits_is_refused(db: Database, book: Path, case: str) -> None:
    """As it would be if it had been so from the beginning; nothing is left behind."""
    change, kind, message = REFUSED[case]
    db.run(TABLE)
    with altered_while_waiting(db, *change.split(";;")), pytest.raises(kind, match=message):
        db.load(book, retry_for=0, workers=0)
    if case != "sequence":
        assert db.rows("select count(*) from t") == [(0,)]
    assert db.leftovers() == []


@pytest.mark.parametrize(("mode", "method"), [("replace", "batch"), ("upsert", "batch"), ("append", "sequential")])
def test_other_modes_and_methods(db: Database, book: Path, mode: Any, method: Any) -> None:
    key = TABLE.replace("n bigint", "n bigint primary key")
    db.run(key, "insert into t values (8, 'old', 8, 'old')")
    with altered_while_waiting(db, "alter table t alter amount type integer"):
        report = db.load(book, retry_for=0, mode=mode, method=method)
    kept = [] if mode == "replace" else [("8", "old", "8", "old")]
    assert values(db) == written(EVEN, "{:.0f}") + kept
    assert report.error_count == 3
    assert said(report) == ["columns; it was planned again"]


def test_replace_is_refused_once_other_tables_would_lose_rows(db: Database, book: Path) -> None:
    """A foreign key with ON DELETE needs a lock on the table that it refers to, too."""
    db.run(TABLE.replace("n bigint", "n bigint primary key"), "insert into t values (9, 'old', 9, 'old')")
    change = "create table child (n bigint references t on delete cascade)"
    with altered_while_waiting(db, change), pytest.raises(TargetRefused, match="would delete or change rows of"):
        db.load(book, retry_for=0, mode="replace", workers=0)
    assert db.rows("select n from t") == [(9,)]


def test_a_check_reports_what_a_run_would_do(db: Database, book: Path) -> None:
    db.run(TABLE)
    with altered_while_waiting(db, "alter table t alter amount type integer"):
        report = db.load(book, retry_for=0, dry_run=True, workers=0)
    assert (report.outcome, report.error_count) == ("checked", 3)
    assert said(report) == ["columns; it was planned again"]
    assert (values(db), db.leftovers()) == ([], [])


def test_rejects_of_the_new_plan_count_against_the_budget(db: Database, book: Path) -> None:
    db.run(TABLE)
    change = "alter table t alter amount type integer"
    with altered_while_waiting(db, change), pytest.raises(BudgetExceeded, match="3 of 6 rows"):
        db.load(book, retry_for=0, max_rejects="2", workers=0)
    assert (values(db), db.leftovers()) == ([], [])


@pytest.mark.parametrize("change", ["alter table t alter amount type integer", "alter table t add more text"])
def test_rows_written_while_the_sheet_was_read(db: Database, tmp_path: Path, change: str) -> None:
    """They were not kept in the spool: if the plan is the same, the sheet is read again."""
    rows = [[n, "x", n + (n % 2) / 4, "c"] for n in range(1, 501)]
    path = save(tmp_path / "t.xlsx", HEADER, *rows)
    db.run(TABLE)
    with altered_while_waiting(db, change):
        report = db.load(path, chunk_rows=100, workers=1)
    kept = written(rows[1::2], "{:.0f}") if "integer" in change else written(rows)
    assert values(db) == kept
    assert (report.success_count, report.error_count) == (len(kept), 500 - len(kept))
    assert db.leftovers() == []


def test_a_table_that_never_rests_is_left_alone(db: Database, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is altered before each attempt locks it."""
    db.run(TABLE)
    changes: list[str] = []

    def late(*args: Any) -> None:
        changes.append(f"alter table t add more{len(changes)} text")
        db.run(changes[-1])
        lock_target(*args)

    monkeypatch.setattr(story, "lock_target", late)
    with pytest.raises(TargetChanged, match=SAID) as caught:
        db.load(book, workers=0)
    assert caught.value.choice == "nothing was published; run again when nobody alters the table"
    assert len(changes) == 4
    assert (values(db), db.leftovers()) == ([], [])


@pytest.mark.parametrize(
    ("mode", "direct"), [("append", True), ("append", False), ("replace", False), ("upsert", False)]
)
def test_nobody_alters_the_table_between_the_check_and_the_commit(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any, direct: bool
) -> None:
    book = save(tmp_path / "t.xlsx", HEADER, *[[n, "x", n / 4, "c"] for n in range(200)])
    monkeypatch.setattr(reading, "STREAM_MIN_BYTES", 0)
    monkeypatch.setattr(direct_copy, "DIRECT_BYTES", 0 if direct else 1 << 40)
    key = "" if direct else " primary key"
    db.run(TABLE.replace("n bigint", f"n bigint{key}").replace("numeric(12,2)", "double precision"), SKIPS)
    attempts = [
        "alter table t alter amount type integer",
        "alter table t add more text",
        "alter table t rename to old",
        "drop table t",
        "create trigger s before insert on t for each row execute function skip()",
        "create rule r as on insert to t do instead nothing",
        "alter table t enable row level security",
        "alter table t owner to current_user",
        "create unique index on t (name)" if direct else "create table child (n bigint references t (n))",
    ]
    refused = []

    def before_publish() -> None:
        for change in attempts:
            with pytest.raises(DatabaseError, match="lock timeout"):
                db.run("set lock_timeout = '20ms'", change)
            refused.append(change)

    settings = Settings(
        workbook=book, dsn=db.dsn, mode=mode, rejects=book.with_suffix(".x.xlsx"), workers=1, chunk_rows=50
    )
    report = pipeline.run(settings, hooks=pipeline.Hooks(before_publish))
    assert (report.success_count, refused) == (200, attempts)
    found = f"select distinct split_part(c.staging, '_', 1) from importer.chunks c join importer.runs r on r.id = run where target_schema = '{db.schema}'"
    assert db.rows(found) == [("direct" if direct else "stage",)]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_the_comparison_sees_what_was_committed_while_it_waited(db: Database, book: Path, isolation: str) -> None:
    """A snapshot of before the lock would show the old definition."""
    db.run(TABLE)
    escaped = isolation.replace(" ", "%5C%20")
    dsn = Dsn(f"{db.dsn.text}%20-cdefault_transaction_isolation%3D{escaped}")
    with altered_while_waiting(db, "alter table t alter amount type integer"):
        report = type(db)(dsn, db.schema, db.server).load(book, retry_for=0, workers=0)
    assert (values(db), report.error_count) == (written(EVEN, "{:.0f}"), 3)


def test_a_role_that_may_write_only_some_columns(db: Database, book: Path) -> None:
    """It may not lock the table by name."""
    role = f"r{db.schema}"
    db.load(book, table="first", mode="create", workers=0)  # the ledger is there
    db.run(TABLE, f"create role {role} login", f"grant usage on schema {db.schema} to {role}",
           f"grant insert (n, name, amount, city) on t to {role}", f"grant usage, create on schema importer to {role}",
           f"grant select, insert, update, delete on all tables in schema importer to {role}")  # fmt: skip
    try:
        dsn = Dsn(db.dsn.text.replace("postgres:@", f"{role}@").replace("postgres@", f"{role}@"))
        with altered_while_waiting(db, "alter table t alter amount type integer"):
            report = type(db)(dsn, db.schema, dsn).load(book, table="t", retry_for=0, workers=0)
        assert (values(db), report.error_count) == (written(EVEN, "{:.0f}"), 3)
    finally:
        db.run(f"drop owned by {role} cascade", f"drop role {role}")
