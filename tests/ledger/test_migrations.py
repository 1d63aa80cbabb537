"""The ledger's versions: every earlier one is brought up to date with its data, a newer or damaged one is refused in words."""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Database
from support.asking import held_session, other_database
from support.commandline import importer
from support.tables import save

from importer.errors import Conflict, TargetRefused
from importer.ledger.history import list_runs
from importer.ledger.migrations import STEPS, VERSION, _take_steps, ensure_ledger, find_ledger
from importer.ledger.schema import create_in_schema
from importer.ledger.structure import TABLES, UNIQUE_KEYS
from importer.postgres.session import Session
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The first version as a program of that version made it; those after it are made by the steps.
FIRST = (Path(__file__).parent / "versions" / "1.sql").read_text(encoding="utf-8").split(";\n")
RUNS = "select id::text, key, state, workbook, counts::text, staging, started_at::text, error from importer.runs order by 1"
CHUNKS = "select run::text, staging, number, rows, checksum, written_at::text from importer.chunks order by 1, 3"
#: What is in the schema: columns, constraints, indexes and comments, without the oids.
CATALOG = """
    select c.relname::text as about, a.attname::text as name, format_type(a.atttypid, a.atttypmod) || a.attnotnull::text
           || coalesce(pg_get_expr(d.adbin, d.adrelid), '') as fact
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'importer'::regnamespace and c.relkind in ('r', 'v')
    union all select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'importer'::regnamespace
    union all select tablename::text, indexname, indexdef from pg_indexes where schemaname = 'importer'
    union all select relname, 'acl', relacl::text from pg_class where relnamespace = 'importer'::regnamespace and relkind = 'r'
    union all select relname, 'comment', obj_description(oid, 'pg_class') from pg_class
    where relnamespace = 'importer'::regnamespace and relkind = 'r'
    order by 1, 2, 3
"""


@pytest.fixture
def own(server: Dsn) -> Iterator[Database]:
    """A database of its own, because its ledger is broken here."""
    name = f"l_{secrets.token_hex(6)}"
    with held_session(server, autocommit=True) as session:
        session.run(f"CREATE DATABASE {name}")
    dsn = Dsn(other_database(server.text, name))
    assert dsn != server
    try:
        yield Database(dsn, "public", dsn)
    finally:
        with held_session(server, autocommit=True) as session:
            session.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", ["id", "name"], [1, "a"], [2, "b"])


def _ensure(dsn: Dsn, steps: Any = STEPS) -> None:
    with Session(dsn) as session:
        comment = session.value("select obj_description(to_regclass('importer.runs'))")
        ensure_ledger(session, comment, steps)
        session.commit()


def _make_version(dsn: Dsn, version: int) -> None:
    """Take the steps to that version, without the check that it is the newest."""
    with Session(dsn) as session:
        create_in_schema(session, lambda: _take_steps(session, STEPS[:version]))


def _earlier(db: Database, version: int) -> None:
    """Make a ledger of an earlier version, with its runs."""
    db.run(*(statement for statement in FIRST if statement.strip()))
    if version > 1:
        _make_version(db.dsn, version)


def _listed(db: Database) -> list[dict[str, Any]]:
    with Session(db.dsn) as session:
        return list_runs(session)


def _refused(db: Database, book: Path) -> TargetRefused:
    """The refusal of an import and of the list of runs, which must be the same; the target is not made."""
    with pytest.raises(TargetRefused) as caught:
        db.load(book, retry_for=0, workers=0)
    with pytest.raises(TargetRefused) as listed, Session(db.dsn) as session:
        list_runs(session)
    assert str(listed.value) == str(caught.value)
    assert db.rows("select to_regclass('public.t')::text") == [(None,)]
    return caught.value


# ---- EARLIER VERSIONS -------------------------------------------------------------------------------------------


def test_first_step_makes_what_the_first_version_made(own: Database) -> None:
    _make_version(own.dsn, 1)
    made = own.rows(CATALOG)
    own.run("drop schema importer cascade")
    _earlier(own, 1)
    assert own.rows(CATALOG) == made


def test_roles_that_use_the_ledger_can_keep_rejects_in_it(own: Database) -> None:
    """The table that a step adds is granted to them as the ones before."""
    _make_version(own.dsn, 2)
    role = f"r_{secrets.token_hex(6)}"
    own.run(f"create role {role}", f"grant select, insert on importer.runs, importer.chunks to {role}")
    try:
        _ensure(own.dsn)
        asked = "select has_table_privilege('{}', 'importer.rejects', '{}')"
        assert [own.rows(asked.format(role, p)) for p in ("select", "insert", "update", "truncate")] == [
            [(True,)], [(True,)], [(False,)], [(False,)]
        ]  # fmt: skip
        assert own.rows("select relrowsecurity from pg_class where oid = 'importer.rejects'::regclass") == [(True,)]
    finally:
        own.run(f"drop owned by {role}", f"drop role {role}")


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_earlier_version_becomes_this_one_with_its_data(own: Database, version: int) -> None:
    """It is then what a new ledger is, to the last index and privilege."""
    _ensure(own.dsn)
    made = own.rows(CATALOG)
    own.run("drop schema importer cascade")
    _earlier(own, version)
    runs, chunks = own.rows(RUNS), own.rows(CHUNKS)
    assert (len(runs), len(chunks)) == (2, 1)
    _ensure(own.dsn)
    assert own.rows(CATALOG) == made
    assert (own.rows(RUNS), own.rows(CHUNKS)) == (runs, chunks)


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_runs_of_an_earlier_version_are_listed_and_joined(own: Database, book: Path, version: int) -> None:
    _earlier(own, version)
    assert [run["workbook"] for run in _listed(own)] == ["dead.xlsx", "old.xlsx"]
    assert own.load(book).outcome == "published"
    assert own.load(book).outcome == "already-imported"
    assert [run["state"] for run in _listed(own)] == ["published", "interrupted", "published"]


def _add_column(session: Session) -> None:
    session.run("ALTER TABLE importer.runs ADD COLUMN added text")


def _fail(session: Session) -> None:
    session.run("SELECT 1 / 0")


def test_failed_step_leaves_the_version_that_was_there(own: Database) -> None:
    _earlier(own, VERSION)
    before = own.rows(CATALOG)
    with pytest.raises(Exception, match="division by zero"):
        _ensure(own.dsn, (*STEPS, _add_column, _fail))
    assert own.rows(CATALOG) == before
    _ensure(own.dsn, (*STEPS, _add_column))
    assert ("runs", "comment", f"importer ledger, version {VERSION + 1}") in own.rows(CATALOG)


def test_a_step_is_done_once_by_many(own: Database) -> None:
    """All have seen the old version before any has the lock: the test holds it until they wait."""
    _earlier(own, VERSION)
    failures: list[BaseException] = []

    def migrate() -> None:
        try:
            _ensure(own.dsn, (*STEPS, _add_column))
        except BaseException as exc:  # noqa: BLE001 - asserted below
            failures.append(exc)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    with Session(own.dsn) as holder:
        holder.query("select pg_advisory_xact_lock(hashtext('importer ledger'))")
        for thread in threads:
            thread.start()
        waiting = "select count(*)::int from pg_locks where locktype = 'advisory' and not granted"
        while holder.value(waiting) < len(threads) and not failures:
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_step_waits_for_a_run_that_writes(own: Database) -> None:
    """Not for long, so that it is not in the way of that run: the import tries again, and says why."""
    _earlier(own, VERSION)
    with Session(own.dsn) as writer:
        writer.run("UPDATE importer.runs SET error = NULL")
        with pytest.raises(Conflict, match="another run is writing"):
            _ensure(own.dsn, (*STEPS, _add_column))
        writer.rollback()
    _ensure(own.dsn, (*STEPS, _add_column))


def test_role_that_does_not_own_the_ledger_may_not_change_it(own: Database) -> None:
    role = f"r_{secrets.token_hex(6)}"
    _earlier(own, VERSION)
    own.run(f"create role {role}", f"grant usage, create on schema importer to {role}")
    try:
        with pytest.raises(TargetRefused) as caught:
            _ensure(Dsn(f"{own.dsn.text}&options=-crole%3D{role}"), (*STEPS, _add_column))
    finally:
        own.run(f"drop owned by {role}", f"drop role {role}")
    assert f"from version {VERSION} to version {VERSION + 1}" in caught.value.fact
    assert "as role postgres," in str(caught.value.choice)


# ---- WHAT IS NO LEDGER OF THIS VERSION --------------------------------------------------------------------------


def test_newer_version_is_refused(own: Database, book: Path) -> None:
    _earlier(own, VERSION)
    own.run(f"comment on table importer.runs is 'importer ledger, version {VERSION + 1}'")
    before = own.rows(CATALOG)
    error = _refused(own, book)
    assert f"version {VERSION + 1}" in error.fact
    assert "newer version" in error.fact
    assert error.choice == "use that version"
    assert own.rows(CATALOG) == before
    ran = importer("runs", "--to", own.dsn.text)
    assert (ran.code, ran.out, ran.err) == (4, "", f"importer: {error}\n")


@pytest.mark.parametrize("make", [
    "create table importer.runs (id int primary key, what text)",
    "create view importer.runs as select 1 as id",
    "create sequence importer.runs",
    "create table importer.chunks (n int)",
    "create table importer.mine (n int constraint runs_open unique)",
    "create materialized view importer.runs as select 'published' as state",
])  # fmt: skip
def test_schema_of_something_else_is_refused(own: Database, book: Path, make: str) -> None:
    own.run("create schema importer", make)
    before = own.rows(CATALOG)
    error = _refused(own, book)
    name = own.dsn.text.split("/")[3].split("?")[0]
    assert "not a ledger of this program" in error.fact
    assert error.place == f"schema importer of database {name}"
    assert "ALTER SCHEMA importer RENAME TO" in str(error.choice)
    assert own.rows(CATALOG) == before


def test_ledger_restored_without_comments_says_how_to_mark_it(own: Database, book: Path) -> None:
    _earlier(own, VERSION)
    own.run("comment on table importer.runs is null")
    error = _refused(own, book)
    assert f"COMMENT ON TABLE importer.runs IS 'importer ledger, version {VERSION}'" in str(error.choice)


@pytest.mark.parametrize(("change", "said"), [
    ("alter table importer.runs drop column xids", "table runs has no column xids"),
    ("alter table importer.runs alter column started_at type text", "column started_at of table runs is text, not timestamp with time zone"),
    ("alter table importer.chunks alter column rows type numeric(9)", "column rows of table chunks is numeric(9,0), not bigint"),
    ("alter table importer.runs add column mine int not null", "column mine of table runs is not this program's and takes no empty value"),
    ("drop table importer.chunks", "table chunks is missing"),
    ("alter table importer.chunks drop constraint chunks_pkey", "table chunks has no unique key on run, staging, number"),
    ("drop index importer.runs_open", "table runs has no unique key on key, role where (state <> 'published'::text)"),
    ("alter table importer.runs drop constraint runs_pkey cascade", "table runs has no unique key on id"),
    ("alter table importer.chunks rename to other; create view importer.chunks as select * from importer.other", "chunks is a view, not a table"),
])  # fmt: skip
def test_damaged_ledger_is_refused(own: Database, book: Path, change: str, said: str) -> None:
    _ensure(own.dsn)
    own.run(*change.split("; "))
    error = _refused(own, book)
    assert error.fact == f"the ledger in schema 'importer' is damaged: {said}"
    assert "restore" in str(error.choice)
    assert "ALTER SCHEMA importer RENAME TO" in str(error.choice)


@pytest.mark.parametrize(
    ("version", "change", "said"),
    [
        (1, "drop table importer.rejects", 'column "staging_oid" of relation "runs" already exists'),
        (2, "drop table importer.rejects; create domain importer.rejects as int", 'type "rejects" already exists'),
    ],
)  # fmt: skip
def test_half_a_step_is_damage(own: Database, book: Path, version: int, change: str, said: str) -> None:
    _ensure(own.dsn)
    own.run(*change.split("; "), f"comment on table importer.runs is 'importer ledger, version {version}'")
    error = _refused(own, book)
    assert error.fact.startswith(
        f"the ledger in schema 'importer' is damaged: it cannot be brought from version {version}"
    )
    assert said in error.fact
    assert "ALTER SCHEMA importer RENAME TO" in str(error.choice)


@pytest.mark.parametrize("stored", ["null", "[1]", "5"])
def test_run_whose_counts_are_no_object_is_listed(own: Database, book: Path, stored: str) -> None:
    run = own.load(book).run["id"]
    own.run(f"update importer.runs set counts = '{stored}', plan = '{stored}'")
    for arguments in ([], [run[:8]], ["--json"]):
        ran = importer("runs", *arguments, "--to", own.dsn.text)
        assert ran.code == 0, ran.err
        assert run[:8] in ran.out


def test_renamed_schema_is_the_way_out(own: Database, book: Path) -> None:
    own.run("create schema importer", "create view importer.runs as select 1 as id")
    _refused(own, book)
    own.run("alter schema importer rename to importer_old")
    assert own.load(book).outcome == "published"


def test_column_of_an_administrator_does_no_harm(own: Database, book: Path) -> None:
    _ensure(own.dsn)
    own.run("alter table importer.runs add column remark text")
    assert own.load(book).outcome == "published"
    assert len(_listed(own)) == 1


def test_structure_is_what_the_steps_make(own: Database) -> None:
    """Every column and unique key of a new ledger is checked."""
    _ensure(own.dsn)
    made = own.rows(
        "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod) from pg_class c join pg_attribute a "
        "on a.attrelid = c.oid and a.attnum > 0 where c.relnamespace = 'importer'::regnamespace and c.relkind = 'r'"
    )
    assert sorted(made) == sorted((t, name, kind) for t, columns in TABLES.items() for name, kind in columns.items())
    unique = own.rows(
        "select count(*)::int from pg_index i join pg_class c on c.oid = i.indrelid "
        "where c.relnamespace = 'importer'::regnamespace and i.indisunique"
    )
    assert unique == [(len(UNIQUE_KEYS),)]


def test_no_ledger_is_no_error(own: Database) -> None:
    with Session(own.dsn) as session:
        assert find_ledger(session) is False
    assert _listed(own) == []
