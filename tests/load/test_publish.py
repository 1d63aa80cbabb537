"""Publishing: all rows or none, in every mode; what hangs on a table stays; a dry run leaves no trace."""

from __future__ import annotations

import json
import secrets
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.asking import user_session
from support.tables import contract, save

from importer.cells.field import Field
from importer.contract.model import Contract
from importer.errors import BudgetExceeded, DatabaseError, TargetChanged, TargetRefused, VerificationFailed
from importer.ledger.schema import SCHEMA, create_in_schema, session_role
from importer.load.publish import explain_refusal, publish
from importer.load.staging import Staging, define_staging, object_name, verify
from importer.plan.make_plan import PlannedLoad
from importer.plan.model import ColumnPlan, LoadPlan
from importer.plan.target import Target
from importer.postgres.session import Session
from importer.postgres.sql import quote
from importer.postgres.types import PgType
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database

    from importer.postgres.catalog import Table

ROWS = [["id", "name"], [1, "a"], [2, "b"], [3, "c"]]
#: A load of one field into a new table.
LOAD = PlannedLoad(Contract((Field("n", "integer"),)), LoadPlan((), (), (), "UTC", "reject"))
LOADED = [(1, "a"), (2, "b"), (3, "c")]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", *ROWS)


def _all(db: Database) -> list[tuple[Any, ...]]:
    return db.rows("select id, name from t order by id")


# ---- MODES ------------------------------------------------------------------------------------------------------


def test_append_makes_a_table_and_adds_to_it(db: Database, book: Path) -> None:
    first, second = db.load(book), db.load(book, again=True)
    assert (first.target["created"], second.target["created"]) == (True, False)
    assert _all(db) == sorted(LOADED * 2)
    assert db.leftovers() == []


def test_create_refuses_an_existing_table(db: Database, book: Path) -> None:
    db.load(book, mode="create")
    with pytest.raises(TargetRefused, match="already exists"):
        db.load(book, mode="create", again=True)
    assert _all(db) == LOADED


def test_replace_makes_a_missing_table(db: Database, book: Path) -> None:
    db.load(book, mode="replace")
    assert _all(db) == LOADED


def test_replace_keeps_what_hangs_on_the_table(db: Database, book: Path) -> None:
    role = f"r_{db.schema}"
    db.run(
        "create table t (id bigint primary key, name text)",
        "insert into t values (1, 'old'), (2, 'old'), (9, 'old')",
        "create view v as select count(*) as n from t",
        "create table child (t_id bigint references t)",
        "insert into child values (1), (2)",
        f"create role {role}",
        f"grant select on t to {role}",
    )
    try:
        assert db.load(book, mode="replace").success_count == 3
        assert _all(db) == LOADED
        assert db.rows("select n from v") == [(3,)]
        assert db.rows(f"select has_table_privilege('{role}', 't', 'select')") == [(True,)]
        assert db.rows("select count(*) from child") == [(2,)]
    finally:
        db.run(f"drop owned by {role}", f"drop role {role}")


def test_replace_that_would_orphan_rows_changes_nothing(db: Database, book: Path) -> None:
    db.run(
        "create table t (id bigint primary key, name text)",
        "insert into t values (9, 'old')",
        "create table child (t_id bigint references t)",
        "insert into child values (9)",
    )
    with pytest.raises(DatabaseError, match="child_t_id_fkey") as caught:
        db.load(book, mode="replace")
    assert caught.value.sqlstate == "23503"
    assert _all(db) == [(9, "old")]
    assert db.leftovers() == []


@pytest.mark.parametrize("action", ["cascade", "set null", "set default"])
def test_replace_that_would_cascade_is_refused(db: Database, book: Path, action: str) -> None:
    db.run(
        "create table t (id bigint primary key, name text)",
        "insert into t values (1, 'old')",
        f"create table child (t_id bigint references t on delete {action})",
        "insert into child values (1)",
    )
    with pytest.raises(TargetRefused, match="child"):
        db.load(book, mode="replace")
    assert _all(db) == [(1, "old")]
    assert db.rows("select t_id from child") == [(1,)]


def test_replace_with_nothing_empties_the_table(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id bigint, name text)", "insert into t values (1, 'old')")
    assert db.load(save(tmp_path / "t.xlsx", ["id", "name"]), mode="replace").total_records == 0
    assert _all(db) == []


def test_older_snapshot_never_sees_an_empty_table(db: Database, book: Path) -> None:
    db.run("create table t (id bigint primary key, name text)", "insert into t values (7, 'old')")
    with user_session(db.dsn) as reader:
        reader.run("set transaction isolation level repeatable read")
        assert reader.query("select id, name from t") == [(7, "old")]
        db.load(book, mode="replace")
        assert reader.query("select id, name from t") == [(7, "old")]
        reader.commit()
        assert reader.query("select id, name from t order by id") == LOADED


@pytest.mark.parametrize(("mode", "seen"), [("replace", {2, 4000}), ("append", {2, 4002})])
def test_sampling_reader_sees_none_then_all(db: Database, tmp_path: Path, mode: Any, seen: set[int]) -> None:
    db.run("create table t (id bigint, name text)", "insert into t values (-1, 'old'), (-2, 'old')")
    path = save(tmp_path / "t.xlsx", ["id", "name"], *[[n, f"n{n}"] for n in range(4000)])
    counts: list[int] = []
    done = threading.Event()

    def sample() -> None:
        with user_session(db.dsn, autocommit=True) as session:
            while not done.is_set():
                counts.append(session.value("select count(*) from t"))
            counts.append(session.value("select count(*) from t"))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        db.load(path, mode=mode, chunk_rows=500, method="concurrent")
    finally:
        done.set()
        thread.join()
    assert set(counts) == seen
    assert counts == sorted(counts)


def test_two_runs_of_a_new_table(db: Database, book: Path) -> None:
    """Somebody else makes the table while we load: nothing of theirs is touched."""
    with _staged(db) as (session, staging, target):
        session.run(f"insert into {staging.quoted} values (1)")
        session.commit()
        db.run("create table fresh (mine int)")
        with pytest.raises(DatabaseError) as caught:
            publish(session, staging, target, LOAD, "append", 1)
        session.rollback()
        with pytest.raises(TargetChanged, match="created by another session"):
            raise explain_refusal(caught.value, session, target)
    assert db.rows("select count(*) from fresh") == [(0,)]
    assert db.leftovers() == []


def test_a_type_of_the_name_of_the_new_table(db: Database, book: Path) -> None:
    """The rows of a table are of a type of its name, so there can be no other; nobody has made the table meanwhile."""
    db.run("create domain t as int")
    with pytest.raises(TargetRefused, match="a type is named"):
        db.load(book, retry_for=0)
    assert db.leftovers() == []


@pytest.mark.parametrize("mode", ["append", "create"])
def test_a_table_that_appears_is_planned_for(
    db: Database, book: Path, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    """The run begins again, and then does what its mode says of a table that exists."""
    import importer.stages.load as story

    def late(*args: Any) -> Any:
        db.run("create table if not exists t (id bigint, name varchar(1), more text default 'x')")
        return publish(*args)

    monkeypatch.setattr(story, "publish", late)
    if mode == "create":
        with pytest.raises(TargetRefused, match="already exists"):
            db.load(book, retry_for=0, mode=mode)
        assert _all(db) == []
    else:
        report = db.load(book, retry_for=0)
        assert db.rows("select id, name::text, more from t order by id") == [(*row, "x") for row in LOADED]
        assert any(
            "was created by another session in the meantime; it was planned again" in str(n) for n in report.notes
        )
    assert db.leftovers() == []


# ---- WHO ENDS A TRANSACTION -------------------------------------------------------------------------------------


def test_publish_leaves_the_failed_transaction_to_its_owner(db: Database) -> None:
    with _staged(db) as (session, staging, target):
        session.commit()
        db.run("create table fresh (mine int)")
        with pytest.raises(DatabaseError):
            publish(session, staging, target, LOAD, "append", 1)
        with pytest.raises(DatabaseError, match="in an error state; first rollback"):
            session.query("select 1")


def test_role_is_read_in_the_open_transaction(db: Database) -> None:
    with user_session(db.dsn) as session:
        session.run("create temporary table mine (n int)")
        assert session_role(session) == quote(str(db.rows("select current_user::text")[0][0]))
        assert session.value("select to_regclass('pg_temp.mine')::text") is not None
        session.rollback()
        assert session.value("select to_regclass('pg_temp.mine')::text") is None


# ---- VERIFICATION -----------------------------------------------------------------------------------------------


class _staged:  # noqa: N801 - used as a function
    """A staging table with column `n` for a new table `fresh`."""

    def __init__(self, db: Database, table: Table | None = None) -> None:
        self._session = Session(db.dsn)
        self._target = Target(db.schema, "fresh", table)
        columns = (
            ColumnPlan(Field("n", "integer"), None, PgType("bigint"), ("",)),
            ColumnPlan(Field("x"), None, PgType("text"), ("",)),
        )
        self._staging = Staging(f"stage_{secrets.token_hex(8)}_{secrets.token_hex(4)}", table is None, columns)
        statement = define_staging(self._staging, self._target, Contract(tuple(c.field for c in columns)))
        create_in_schema(self._session, lambda: self._session.run(statement) and None)

    def __enter__(self) -> Any:
        return self._session, self._staging, self._target

    def __exit__(self, *error: object) -> None:
        self._session.rollback()
        self._session.run(f"DROP TABLE IF EXISTS {self._staging.quoted}")
        self._session.commit()
        self._session.close()


EXPECTED = {"n": (2, 3), "x": (2, 2, 0)}
CORRUPTIONS = [
    "delete from {} where n = 2",
    "update {} set n = 3 where n = 2",
    "update {} set x = 'c' where x = 'b'",
    "update {} set x = null where n = 1",
    "insert into {} values (0, null)",
    "insert into {} values (null, null)",
    "update {} set x = case x when 'a' then 'b' else 'bb' end",
]


def _expected() -> dict[str, tuple[int, ...]]:
    import polars as pl

    from importer.verification.checksum_frame import source_checksums

    return source_checksums(pl.DataFrame({"n": [1, 2], "x": ["a", "b"]}), "hashtext")


@pytest.mark.parametrize("corruption", [None, *CORRUPTIONS])
def test_verification(db: Database, corruption: str | None) -> None:
    with _staged(db) as (session, staging, _):
        session.run(f"insert into {staging.quoted} values (1, 'a'), (2, 'b')")
        if corruption is None:
            verify(session, staging, 2, _expected(), "hashtext")
            return
        session.run(corruption.format(staging.quoted))
        with pytest.raises(VerificationFailed, match="nothing was published"):
            verify(session, staging, 2, _expected(), "hashtext")


def test_verification_of_no_rows(db: Database) -> None:
    with _staged(db) as (session, staging, _):
        verify(session, staging, 0, {}, "hashtext")
        session.run(f"insert into {staging.quoted} values (1, 'a')")
        with pytest.raises(VerificationFailed, match="0 rows were accepted but staging holds 1"):
            verify(session, staging, 0, {}, "hashtext")


def test_staging_that_changes_fails_the_run(db: Database, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importer.stages.load as story

    def spoiled(session: Session, staging: Any, rows: int, expected: Any, text_hash: Any) -> None:
        session.run(f"update {staging.quoted} set name = 'z' where id = 2")
        session.commit()
        verify(session, staging, rows, expected, text_hash)

    monkeypatch.setattr(story, "verify", spoiled)
    db.run("create table t (id bigint, name text)", "insert into t values (7, 'old')")
    with pytest.raises(VerificationFailed, match="differs from what was read"):
        db.load(book)
    assert _all(db) == [(7, "old")]
    assert db.leftovers() == []


# ---- A NEW TABLE ------------------------------------------------------------------------------------------------

DESCRIBED = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "name", "constraints": {"required": True, "unique": True}},
    ],
    "primaryKey": ["id"],
    "uniqueKeys": [["name", "id"]],
    "postgresql": {
        "types": {"name": "varchar(20)"},
        "extraColumns": [
            {"name": "row_id", "type": "bigint", "identity": True},
            {"name": "made", "type": "timestamptz", "notNull": True, "default": "now()"},
            {"name": "gone", "type": "timestamptz"},
        ],
        "indexes": [["name"], ["gone", "name"]],
    },
}


def test_new_table_is_as_described(db: Database, tmp_path: Path, book: Path) -> None:
    db.load(book, contract=contract(tmp_path / "c.json", **DESCRIBED))
    columns = db.rows(
        "select column_name::text, data_type::text, is_nullable::text, is_identity::text "
        "from information_schema.columns "
        f"where table_schema = '{db.schema}' and table_name = 't' order by ordinal_position"
    )
    assert columns == [
        ("row_id", "bigint", "NO", "YES"), ("id", "bigint", "NO", "NO"), ("name", "character varying", "NO", "NO"),
        ("made", "timestamp with time zone", "NO", "NO"), ("gone", "timestamp with time zone", "YES", "NO"),
    ]  # fmt: skip
    indexes = {name for (name,) in db.rows(f"select indexname::text from pg_indexes where schemaname = '{db.schema}'")}
    assert indexes == {"t_pkey", "t_name_key", "t_name_id_key", "t_name_idx", "t_gone_name_idx"}
    assert db.rows("select pg_get_serial_sequence('t', 'row_id')::regclass::text") == [("t_row_id_seq",)]
    assert db.rows(
        "select relpersistence::text, relowner::regrole::text = quote_ident(current_user) "
        "from pg_class where oid = 't'::regclass"
    ) == [("p", True)]
    assert db.rows("select id, name, made is not null, gone is null from t order by id") == [
        (*r, True, True) for r in LOADED
    ]
    assert sorted(r[0] for r in db.rows("select row_id from t")) == [1, 2, 3]
    named = [name for (name,) in db.rows("select conname::text from pg_constraint where conrelid = 't'::regclass")]
    assert not [name for name in named if "stage" in name]


def test_new_table_takes_default_privileges(db: Database, book: Path) -> None:
    role = f"r_{db.schema}"
    db.run(
        f"create role {role}",
        f"alter default privileges in schema {db.schema} grant select, insert on tables to {role}",
    )
    try:
        db.load(book)
        found = db.rows(
            f"select has_table_privilege('{role}', 't', 'select'), has_table_privilege('{role}', 't', 'insert'), "
            f"has_table_privilege('{role}', 't', 'delete')"
        )
        assert found == [(True, True, False)]
    finally:
        db.run(f"drop owned by {role}", f"drop role {role}")


def test_new_table_without_a_contract(db: Database, book: Path) -> None:
    db.load(book)
    assert db.rows("select count(*) from pg_index where indrelid = 't'::regclass") == [(0,)]
    assert db.rows("select pg_typeof(id)::text, pg_typeof(name)::text from t limit 1") == [("bigint", "text")]


def test_replace_of_which_all_rows_are_rejected_needs_a_budget(db: Database, tmp_path: Path) -> None:
    """It is rather the wrong sheet than an empty table that is wanted; a sheet without rows says what it wants."""
    db.run("create table t (id bigint check (id <> 5))", "insert into t values (1)")
    for wrong in ("x", 5):
        path = save(tmp_path / "t.xlsx", ["id"], [wrong])
        with pytest.raises(
            BudgetExceeded, match="1 of 1 rows were rejected, and replacing would leave the table empty"
        ):
            db.load(path, mode="replace", table="t")
        assert db.rows("select id from t") == [(1,)]
    assert db.load(path, mode="append", table="t").error_count == 1
    assert db.load(path, mode="replace", table="t", max_rejects="100%").outcome == "published"
    assert db.rows("select id from t") == []


@pytest.mark.parametrize("resource", ["", "parent", '"parent"'])
def test_foreign_key_of_a_new_table(db: Database, tmp_path: Path, resource: str) -> None:
    """It may name the table itself, or one beside it, whatever the search path says."""
    path, other = save(tmp_path / "t.xlsx", ["id", "up"], [1, None], [2, 1]), f"{db.schema}_o"
    db.run("create table parent (id bigint primary key)", "insert into parent values (1)")
    db.run(f"create schema {other}", f"create table {other}.parent (id bigint primary key)")
    fields = [{"name": "id", "type": "integer"}, {"name": "up", "type": "integer"}]
    keys = [{"fields": ["up"], "reference": {"resource": resource, "fields": ["id"]}}]
    from importer import import_workbook

    try:
        import_workbook(
            path,
            to=db.dsn.text.replace(f"search_path%3D{db.schema}", f"search_path%3D{other}"),
            table=f"{db.schema}.t",
            contract=contract(tmp_path / "c.json", fields=fields, primaryKey="id", foreignKeys=keys),
        )
    finally:
        db.run(f"drop schema {other} cascade")
    found = db.rows(
        "select confrelid::regclass::text from pg_constraint where conrelid = 't'::regclass and contype = 'f'"
    )
    assert found == [("parent" if resource else "t",)]


@pytest.mark.parametrize(
    ("table", "column"), [("t", "c"), ("t" * 63, "c"), ("t" * 40, "c" * 40), ("ü" * 31, "日" * 21)]
)
def test_names_are_cut_as_postgresql_does(db: Database, table: str, column: str) -> None:
    db.run(f"create table {quote(table)} ({quote(column)} bigint generated always as identity)")
    found = db.rows(
        f"select relname::text from pg_class c join pg_namespace n on n.oid = relnamespace "
        f"where nspname = '{db.schema}' and relkind = 'S'"
    )
    assert found == [(object_name(table, column, "seq"),)]


def test_sequence_name_that_is_taken(db: Database, tmp_path: Path, book: Path) -> None:
    db.run("create sequence t_row_id_seq")
    db.load(book, contract=contract(tmp_path / "c.json", **DESCRIBED))
    assert db.rows("select pg_get_serial_sequence('t', 'row_id')::regclass::text") == [("t_row_id_seq1",)]


# ---- ROLES ------------------------------------------------------------------------------------------------------


@pytest.fixture
def weak(db: Database) -> Iterator[tuple[str, Dsn]]:
    """A role that may use the test's schema and nothing else, and a connection string of its sessions."""
    role = f"w_{db.schema}"
    db.run(f"create role {role}", f"grant usage on schema {db.schema} to {role}")
    yield role, Dsn(f"{db.dsn.text}%20-crole%3D{role}")
    db.run(f"drop owned by {role}", f"drop role {role}")


def _load_as(dsn: Dsn, path: Path, **options: Any) -> Any:
    from importer import import_workbook

    return import_workbook(path, to=dsn.text, **options)


def test_role_without_create_on_the_database(db: Database, weak: tuple[str, Dsn], book: Path) -> None:
    if db.rows(f"select 1 from pg_namespace where nspname = '{SCHEMA}'"):
        db.run(f"drop schema {SCHEMA} cascade")
    with pytest.raises(TargetRefused) as caught:
        _load_as(weak[1], book)
    assert f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};" in str(caught.value)
    assert f'GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO "{weak[0]}";' in str(caught.value)


def test_role_without_insert(db: Database, weak: tuple[str, Dsn], book: Path) -> None:
    db.run(
        "create table t (id bigint, name text)",
        f"grant select on t to {weak[0]}",
        f"drop schema if exists {SCHEMA} cascade",
        f"create schema {SCHEMA}",
        f"grant usage, create on schema {SCHEMA} to {weak[0]}",
    )
    with pytest.raises(TargetRefused, match=f'role "{weak[0]}" may not write'):
        _load_as(weak[1], book)
    db.run(f"grant insert on t to {weak[0]}")
    assert _load_as(weak[1], book).success_count == 3
    assert db.leftovers() == []


def test_role_without_create_on_the_schema(db: Database, weak: tuple[str, Dsn], book: Path) -> None:
    db.run(
        f"drop schema if exists {SCHEMA} cascade",
        f"create schema {SCHEMA}",
        f"grant usage, create on schema {SCHEMA} to {weak[0]}",
    )
    with pytest.raises(TargetRefused, match="GRANT USAGE, CREATE ON SCHEMA"):
        _load_as(weak[1], book)
    db.run(f"grant create on schema {db.schema} to {weak[0]}")
    assert _load_as(weak[1], book).success_count == 3
    assert db.rows("select relowner::regrole::text from pg_class where oid = 't'::regclass") == [(weak[0],)]


def test_read_only_session(db: Database, book: Path) -> None:
    with pytest.raises(DatabaseError, match="read-only"):
        _load_as(Dsn(f"{db.dsn.text}%20-cdefault_transaction_read_only%3Don"), book)


# ---- DRY RUN ----------------------------------------------------------------------------------------------------

TRACES = (
    "select count(*), max(oid::text) from pg_class where relkind in ('r', 'S', 'i', 'v') "
    "and relnamespace in (select oid from pg_namespace where nspname = '{}' or nspname = 'importer')"
)


@pytest.mark.parametrize("existing", [False, True])
def test_dry_run_leaves_no_trace_and_counts_the_same(db: Database, tmp_path: Path, existing: bool) -> None:
    if db.rows(f"select 1 from pg_namespace where nspname = '{SCHEMA}'"):
        db.run(f"drop schema {SCHEMA} cascade")
    path = save(tmp_path / "t.xlsx", *ROWS, [3, "again"], ["x", "y"])
    described = contract(tmp_path / "c.json", **DESCRIBED)
    if existing:
        db.load(save(tmp_path / "first.xlsx", ["id", "name"], [10, "ten"]), contract=described, table="t")
        db.run(f"drop schema if exists {SCHEMA} cascade")
    before = db.rows(TRACES.format(db.schema))
    checked = db.load(path, contract=described, dry_run=True, table="t")
    assert db.rows(TRACES.format(db.schema)) == before
    assert db.rows(f"select count(*) from pg_namespace where nspname = '{SCHEMA}'") == [(0,)]
    loaded = db.load(path, contract=described, table="t")
    assert (checked.outcome, loaded.outcome) == ("checked", "published")
    assert (checked.success_count, checked.error_count) == (loaded.success_count, loaded.error_count) == (3, 2)
    assert [c.to_dict() for c in checked.columns] == [c.to_dict() for c in loaded.columns]
    assert checked.rules == loaded.rules
    assert db.rows("select count(*) from t") == [(4 if existing else 3,)]


def test_many_first_runs_at_once(db: Database, book: Path) -> None:
    """Each makes or drops schema `importer` under the others; all of them load."""
    if db.rows(f"select 1 from pg_namespace where nspname = '{SCHEMA}'"):
        db.run(f"drop schema {SCHEMA} cascade")
    failures: list[BaseException] = []

    def stage(number: int) -> None:
        try:
            for n in range(4):
                db.load(book, table=f"t{number}_{n}", workers=0, dry_run=True)
                db.load(book, table=f"t{number}_{n}", workers=0)
        except BaseException as exc:  # noqa: BLE001 - told below
            failures.append(exc)

    threads = [threading.Thread(target=stage, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert db.rows(f"select count(*) from pg_tables where schemaname = '{db.schema}'") == [(16,)]
    assert db.leftovers() == []


def test_report_of_a_new_table_is_json(db: Database, tmp_path: Path, book: Path) -> None:
    report = json.loads(json.dumps(db.load(book, contract=contract(tmp_path / "c.json", **DESCRIBED)).to_dict()))
    assert [c["type"] for c in report["columns"]] == ["bigint", "character varying(20)"]
