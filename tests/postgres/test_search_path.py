"""Names: functions, operators, types and tables of other roles are never taken for the server's own; the user's path still counts."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from support.asking import user_session
from support.roles import Roles, database_with_roles
from support.tables import contract, save

from importer import import_workbook
from importer.errors import TargetRefused
from importer.ledger.history import clean, forget, leftovers, list_runs, show_run
from importer.load import direct_copy
from importer.postgres.libpq import OPTIONS_REFUSED, with_own_path
from importer.postgres.session import Session
from importer.settings import Dsn
from importer.stages import read as reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = ["id", "name", "day", "amount", "mood"]
LINES: list[list[Any]] = [[1, "a", "2026-01-01", 1.5, "sad"], [2, "b", "2026-01-02", 2.5, "ok"]]
TYPES = (
    "bigint", "integer", "smallint", "oid", "text", "name", '"char"', "varchar", "jsonb", "date", "numeric", "boolean",
    "xid", "regproc", "int2[]", "text[]", "bigint[]", "traps.mood", "traps.word",
)  # fmt: skip
#: Functions that our SQL or the driver's calls, by name and arguments; the trap has arguments that fit better.
FUNCTIONS = ("count", "sum", "coalesce", "starts_with", "to_regclass", "pg_get_userbyid", "format_type", "octet_length",
             "hashtext", "crc32c", "textsend", "lower", "chr", "max", "min", "unnest", "string_agg", "obj_description",
             "set_config", "current_setting", "pg_try_advisory_lock", "pg_advisory_unlock", "has_table_privilege",
             "to_regtype", "jsonb_build_array", "least", "greatest", "left", "cardinality", "clock_timestamp",
             "quote_ident", "string_to_array", "pg_relation_size", "hashfloat8", "array_length")  # fmt: skip


@pytest.fixture(scope="module")
def database(server: Any) -> Iterator[Roles]:
    """A database where Mallory has a function or an operator in `public` for whatever is asked with odd arguments."""
    with database_with_roles(server, "mallory") as made:
        made.run("grant create on schema public to public", f"grant create on database {made.name} to {{mallory}}")
        made.trap()
        made.run(
            "create type traps.mood as enum ('sad', 'ok')",
            "create domain traps.word as text check (length(value) < 9)",
            """create function traps.log() returns boolean language plpgsql as $$
               begin insert into traps.sprung values (current_user); return true; end $$""",
            by="mallory",
        )
        made.run("; ".join([*_operators(), *_functions(), *_tables()]), by="mallory")
        made.run(
            "grant usage on schema traps to public",
            f"alter database {made.name} set search_path = public, traps, pg_catalog",
        )
        yield made


def _operators() -> list[str]:
    """Operators for all pairs of types for which the server has none of its own with exactly these."""
    made = []
    for left in TYPES:
        for right in TYPES:
            name = re.sub(r"\W", "_", f"op_{left}_{right}")
            made.append(
                f"create function public.{name}({left}, {right}) returns boolean language plpgsql as "
                "$$ begin return traps.log(); end $$"
            )
            made += [
                f"create operator public.{sign} (leftarg = {left}, rightarg = {right}, function = public.{name})"
                for sign in ("=", "<>", "<", ">", "<=", ">=", "~", "||", "->>")
            ]
    return made


def _functions() -> list[str]:
    return [
        f"""create function public."{name}"({", ".join(arguments)}) returns {arguments[0]} language plpgsql as
            $$ begin perform traps.log(); return null; end $$"""
        for name in FUNCTIONS
        for arguments in (
            ("text",),
            ("varchar",),
            ("text", "text"),
            ("name", "name"),
            ("bigint",),
            ("text", "text", "boolean"),
        )
    ]


def _tables() -> list[str]:
    """Relations with the names of catalogs, whose reading is noted, and types with the names of the server's."""
    views = (
        "pg_class",
        "pg_namespace",
        "pg_type",
        "pg_attribute",
        "pg_locks",
        "pg_database",
        "pg_roles",
        "runs",
        "chunks",
    )
    return [
        *(f"create view public.{name} as select traps.log() as oid" for name in views),
        *(
            f"create domain public.{name} as pg_catalog.text check (traps.log())"
            for name in ("text", "uuid", "jsonb", "date")
        ),
    ]


@pytest.fixture
def roles(database: Roles) -> Roles:
    database.run(
        "drop schema if exists importer cascade",
        "drop schema if exists shop cascade",
        "create schema shop",
        "create table shop.t (id bigint primary key, name traps.word, day pg_catalog.date, amount numeric(9,2), mood traps.mood)",
    )
    database.reset()
    return database


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", HEADER, *LINES)


def _load(roles: Roles, path: Path, **options: Any) -> Any:
    return import_workbook(path, to=roles.dsn.text, workers=0, rejects=path.with_suffix(".rejects.xlsx"), **options)


def test_the_traps_are_traps(roles: Roles) -> None:
    """Any other client that asks the same runs them."""
    with user_session(roles.dsn, autocommit=True) as session:
        session.query("select 1 from pg_catalog.pg_type where typreceive <> 0 limit 1")
    assert roles.sprung() == ["postgres"]


@pytest.mark.parametrize("mode", ["append", "replace", "upsert", "create"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_nothing_of_another_role_runs(roles: Roles, book: Path, mode: Any, dry_run: bool) -> None:
    table = "shop.fresh" if mode == "create" else "shop.t"
    assert _load(roles, book, table=table, mode=mode, dry_run=dry_run).success_count == 2
    if not dry_run:
        again = save(book.with_name("u.xlsx"), HEADER, [1, "z", "2026-01-01", 1.5, "ok"], [3, "c", "x", 1, "odd"])
        _load(roles, again, table=table, mode="append" if mode == "create" else mode)
    assert roles.sprung() == []


def test_nothing_of_another_role_runs_beside_a_direct_copy(
    roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction has the user's path behind ours, for the defaults of columns, until the rows are verified."""
    monkeypatch.setattr(reading, "STREAM_MIN_BYTES", 0)
    monkeypatch.setattr(direct_copy, "DIRECT_BYTES", 0)
    roles.run(
        "create table shop.plain (id bigint, name pg_catalog.text, day pg_catalog.date, share float8, old boolean)"
    )
    lines = [[n, f"text {n}", date(2026, 1, 1), n / 7, n > 2] for n in range(500)]
    header = ["id", "name", "day", "share", "old"]
    for name in ("one", "two"):
        _load(roles, save(tmp_path / f"{name}.xlsx", header, *lines, [name]), table="shop.plain", chunk_rows=50)
    assert roles.rows("select count(*)::int from shop.plain") == [(1000,)]
    assert roles.rows("select distinct split_part(staging, '_', 1) from importer.chunks") == [("direct",)]
    assert roles.sprung() == []


def test_rows_that_the_server_refuses(roles: Roles, tmp_path: Path) -> None:
    """They are found by more statements: casts that are tried, foreign keys to the table itself, bisection."""
    roles.run("create table shop.tree (id bigint primary key, up bigint references shop.tree, name traps.word)")
    path = save(
        tmp_path / "r.xlsx", ["id", "up", "name"], [2, 1, "b"], [1, 1, "a"], [3, 9, "c"], [4, 1, "much too long"]
    )
    report = _load(roles, path, table="shop.tree")
    assert (report.success_count, report.error_count) == (2, 2)
    assert roles.sprung() == []


def test_new_table_of_a_contract(roles: Roles, book: Path, tmp_path: Path) -> None:
    """Its types are those that the user's search path has; another schema's need their schema."""
    described = contract(
        tmp_path / "c.json",
        fields=[{"name": n, "type": t} for n, t in zip(HEADER, ("integer", "string", "string", "number", "string"), strict=True)],
        primaryKey=["id"],
        postgresql={
            "types": {"name": "word", "mood": "mood"},
            "extraColumns": [{"name": "how", "type": "mood", "default": "ok"}, {"name": "at", "type": "timestamptz", "default": "now()"}],
        },
    )  # fmt: skip
    assert _load(roles, book, contract=described, table="shop.new", lineage=True).success_count == 2
    found = roles.rows(
        "select attname::pg_catalog.text, pg_catalog.format_type(atttypid, atttypmod) from pg_catalog.pg_attribute "
        "where attrelid = 'shop.new'::pg_catalog.regclass and attnum > 0"
    )
    assert {name: shown.rpartition(".")[2] for name, shown in found if name in {"name", "mood", "how"}} == {
        "name": "word", "mood": "mood", "how": "mood",
    }  # fmt: skip
    assert roles.sprung() == []


def test_commands_for_the_ledger(roles: Roles, book: Path) -> None:
    run = _load(roles, book, table="shop.t").run["id"]
    with Session(roles.dsn) as session:
        assert [found["id"] for found in list_runs(session)] == [run]
        assert show_run(session, run[:8])["chunks"]
        assert (leftovers(session), clean(session)) == ([], [])
        forget(session, run)
    assert roles.sprung() == []


# ---- THE USER'S OWN PATH -----------------------------------------------------------------------------------------


def test_table_without_a_schema_is_found_as_before(server: Dsn, book: Path) -> None:
    """In the first schema of the search path that has one; else it is created in the first."""
    with database_with_roles(server) as own:
        own.run("create schema one", "create schema two", "create table two.t (id bigint, name text)")
        to = Dsn(f"{own.dsn.text}&options=-csearch_path%3Done,two")
        own.run(f"alter database {own.name} set search_path = nowhere")
        for table, place in (("t", "two"), ("pg_class", "one")):
            report = import_workbook(book, to=to.text, table=table, columns=["id", "name"], workers=0)
            assert report.to_dict()["target"]["schema"] == place
        with pytest.raises(TargetRefused, match="no schema of the search path exists"):
            import_workbook(book, to=own.dsn.text, table="t", workers=0)


@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
def test_triggers_of_the_target_have_the_users_path(server: Dsn, tmp_path: Path, mode: Any) -> None:
    """They, and defaults and domains, may name tables and functions without a schema; many do."""
    with database_with_roles(server) as own:
        own.run(
            "create table public.log (what text)",
            "create function public.logs() returns trigger language plpgsql as "
            "$$ begin insert into log values (tg_op || ' ' || tg_level || ' ' || tg_when); return coalesce(new, old); end $$",
            "create sequence public.numbers",
            "create function public.next() returns bigint language sql as $$ select nextval('numbers') $$",
            "create function public.is_short(text) returns boolean language plpgsql as $$ begin return length(short($1)) < 9; end $$",
            "create function public.short(text) returns text language sql as $$ select trim($1) $$",
            "create domain public.word as text check (is_short(value))",
            "create table public.t (id bigint primary key, name word, number bigint default next())",
            "insert into public.t values (1, 'old')",
            *(f"create trigger {w}_{n} {w} insert or update or delete on public.t for each {n} execute function logs()"
              for w in ("before", "after") for n in ("row", "statement")),
        )  # fmt: skip
        path = save(tmp_path / "t.xlsx", ["id", "name"], [1, "new"], [2, "b"], [3, "much too long"])
        report = import_workbook(path, to=own.dsn.text, table="t", mode=mode, workers=0, rejects=tmp_path / "r.xlsx")
        assert report.error_count == (2 if mode == "append" else 1)
        said = {what for (what,) in own.rows("select distinct what from public.log")}
        assert {"INSERT ROW BEFORE", "INSERT ROW AFTER", "INSERT STATEMENT BEFORE", "INSERT STATEMENT AFTER"} <= said
        assert (mode == "replace") == ("DELETE STATEMENT BEFORE" in said and "DELETE ROW AFTER" in said)
        assert own.rows("select count(*)::int from public.t where number is null") == [(0,)]


def test_sessions_search_the_servers_own_schema_alone(server: Dsn) -> None:
    """After a rollback, too; what the user would search is kept beside it."""
    joint = "&" if "?" in server.text else "?"
    with Session(Dsn(f"{server.text}{joint}options=-csearch_path%3Done,public")) as session:
        session.rollback()
        assert session.value("select current_setting('search_path')") == "pg_catalog, pg_temp"
        assert (session.user_path, session.schemas) == ("one,public", ("public",))


@pytest.mark.parametrize(("text", "options"), [
    ("postgresql://me@h/db", "postgresql://me@h/db?options={own}"),
    ("postgresql://me@h/db?sslmode=require", "postgresql://me@h/db?sslmode=require&options={own}"),
    ("postgresql://me@h/db?options=-cx%3D1&a=b", "postgresql://me@h/db?options=-cx%3D1%20{own}&a=b"),
    ("host=h dbname=db", "host=h dbname=db options='-csearch_path=pg_catalog,pg_temp'"),
    ("host=h options=-cx=1 dbname=db", "host=h options='-cx=1 -csearch_path=pg_catalog,pg_temp' dbname=db"),
    ("host=h options='-c x=\\'1\\''", "host=h options='-c x=\\'1\\' -csearch_path=pg_catalog,pg_temp'"),
])  # fmt: skip
def test_own_path_joins_the_options_of_a_connection_string(
    monkeypatch: pytest.MonkeyPatch, text: str, options: str
) -> None:
    monkeypatch.delenv("PGOPTIONS", raising=False)
    assert with_own_path(text) == options.replace("{own}", "-csearch_path%3Dpg_catalog%2Cpg_temp")


def test_options_of_the_environment_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c a=1")
    assert (
        with_own_path("postgresql://h/") == "postgresql://h/?options=-c%20a%3D1%20-csearch_path%3Dpg_catalog%2Cpg_temp"
    )


@pytest.mark.parametrize("message", [
    "FATAL:  unsupported startup parameter: options",
    "FATAL:  unsupported startup parameter in options: search_path",
    "Feature not supported: RDS Proxy currently doesn't support command-line options.",
])  # fmt: skip
def test_poolers_that_take_no_options_are_known(message: str) -> None:
    assert OPTIONS_REFUSED.search(message)
