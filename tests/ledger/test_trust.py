"""Who is trusted with the ledger: no code of another role runs with the importing role's rights, no role writes another's runs."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.asking import held_session
from support.commandline import importer
from support.roles import Roles, database_with_roles
from support.tables import save

from importer import import_workbook
from importer.errors import ConnectionFailed, DatabaseError, TargetRefused, VerificationFailed
from importer.ledger.history import set_up
from importer.pipeline import Hooks, run
from importer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).parent.parent.parent / ".github" / "SECURITY.md"
LOADED = [(1, "a"), (2, "b"), (3, "c")]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", ["id", "name"], [1, "a"], [2, "b"], [3, "c"])


@pytest.fixture(scope="module")
def database(server: Any) -> Iterator[Roles]:
    with database_with_roles(server, "alice", "bob", "mallory") as made:
        made.run(f"grant create on database {made.name} to {{mallory}}")
        made.trap()
        yield made


@pytest.fixture
def roles(database: Roles) -> Roles:
    """Alice and Bob import, Mallory may create schemas and has functions that note who ran them. Nothing is imported yet."""
    database.run(
        "drop schema if exists importer cascade",
        "drop table if exists public.t, traps.child",
        "drop domain if exists traps.d",
        "drop role if exists {importer_ledger}",
        f"alter database {database.name} owner to postgres",
        "create table public.t (id bigint, name text)",
    )
    database.reset()
    return database


def _load(roles: Roles, book: Path, by: str | None = None, **options: Any) -> Any:
    """An import by one of the roles, else by the superuser."""
    to = roles.dsn_of(by) if by else roles.dsn
    options = {
        "table": "public.t",
        "workers": 0,
        "retry_for": 0,
        "rejects": book.with_suffix(".rejects.xlsx"),
    } | options
    return import_workbook(book, to=to.text, **options)


def _die(roles: Roles, book: Path, by: str | None = None) -> str:
    """Let a run lose its server before it publishes, and return the name of its staging table."""

    def fail() -> None:
        raise ConnectionFailed("the server is gone")

    to = roles.dsn_of(by) if by else roles.dsn
    settings = Settings(workbook=book, dsn=to, table="public.t", workers=0, retry_for=0)
    with pytest.raises(ConnectionFailed):
        run(settings, hooks=Hooks(before_publish=fail))
    return str(roles.rows("select staging from importer.runs where state <> 'published'")[0][0])


def _rows(roles: Roles) -> list[tuple[Any, ...]]:
    return roles.rows("select id, name from public.t order by 1")


def _share(roles: Roles) -> None:
    """What `SECURITY.md` tells an administrator to do, for Alice and Bob."""
    with held_session(roles.dsn) as session:
        set_up(session)
    script = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[0]
    for name in ("alice", "bob", "importer_ledger"):
        script = re.sub(rf"\b{name}\b", roles.role(name), script)
    script = script.replace("shop.orders", "public.t").replace("SCHEMA shop", "SCHEMA public")
    roles.run(*(statement for statement in re.sub(r"--.*", "", script).split(";") if statement.strip()))


# ---- SOMEBODY ELSE'S SCHEMA OR TABLES ----------------------------------------------------------------------------

_FIRST = [
    s
    for s in re.sub(r"--.*", "", Path(__file__).with_name("versions").joinpath("1.sql").read_text()).split(";\n")
    if s.strip()
]


@pytest.mark.parametrize("what", ["schema", "ledger", "ledger with a trigger"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_schema_of_another_role_is_refused(roles: Roles, book: Path, what: str, dry_run: bool) -> None:
    """Its owner can exchange whatever is in it, also while a run is under way."""
    if what == "schema":
        roles.run("create schema importer", by="mallory")
    else:
        roles.run(*_FIRST, by="mallory")
        roles.run("grant usage, create on schema importer to public", by="mallory")
    if "trigger" in what:
        roles.run("create trigger evil before insert or update or delete on importer.runs for each row "
                  "execute function traps.spring()", by="mallory")  # fmt: skip
    with pytest.raises(TargetRefused, match="schema 'importer' belongs to role mallory") as caught:
        _load(roles, book, dry_run=dry_run)
    assert 'ALTER SCHEMA importer OWNER TO "postgres"' in str(caught.value.choice)
    assert (_rows(roles), roles.sprung()) == ([], [])


@pytest.mark.parametrize("command", [["runs"], ["runs", "clean"], ["runs", "forget", "0"]])
def test_commands_refuse_the_ledger_of_another_role(roles: Roles, command: list[str]) -> None:
    roles.run(*_FIRST, by="mallory")
    roles.run("create trigger evil before insert or update or delete on importer.runs for each row "
              "execute function traps.spring()", by="mallory")  # fmt: skip
    ran = importer(*command, "--to", roles.dsn.text)
    assert ran.code == 4
    assert "schema 'importer' belongs to role mallory" in ran.err
    assert roles.sprung() == []


@pytest.mark.parametrize(("changes", "said"), [
    (["alter table importer.runs owner to {mallory}"], 'table "importer"."runs" of the ledger belongs to role mallory'),
    (["grant trigger on importer.chunks to {mallory}"], 'has TRIGGER on table "importer"."chunks"'),
    (["grant references on importer.chunks to public"], 'PUBLIC has REFERENCES on table "importer"."chunks"'),
    (["grant insert on importer.runs to public"], 'PUBLIC has INSERT on table "importer"."runs"'),
    (["alter table importer.runs disable row level security"], '"runs" of the ledger does not restrict'),
    (["drop policy own_rows on importer.chunks"], "lacks policy"),
    (["create policy evil on importer.runs using (traps.note(true))"], 'has policy "evil"'),
    (["create policy evil on importer.runs as restrictive using (true)"], 'has policy "evil"'),
    (["alter policy all_rows on importer.runs using (traps.note(true))"], 'has policy "all_rows"'),
    (["create trigger evil before insert on importer.runs execute function traps.spring()"], 'has trigger "evil"'),
    (["create rule evil as on insert to importer.runs do also select traps.note(1)"], 'has rule "evil"'),
    (["alter table importer.runs alter error set default traps.note('x'::text)"], 'default of column "error"'),
    (["alter table importer.runs add x text generated always as (traps.fixed(key)) stored"], 'default of column "x"'),
    (["alter table importer.chunks add constraint evil check (traps.note(rows) > 0)"], 'has constraint "evil"'),
    (["create index evil on importer.runs (traps.fixed(key))"], 'has index "evil"'),
    (["create index evil on importer.runs (key) where traps.fixed(key) > ''"], 'has index "evil"'),
    (["create domain traps.d as text check (traps.note(value) > '')", "alter table importer.runs add x traps.d"], 'has a column "x" of another type'),
    (["create table traps.child () inherits (importer.runs)"], "has a parent or a child"),
])  # fmt: skip
def test_what_executes_code_in_the_ledger_is_refused(roles: Roles, book: Path, changes: list[str], said: str) -> None:
    """Nothing is written before it is found."""
    _share(roles)
    roles.run("grant all on schema importer, traps to {mallory}", *changes)
    with pytest.raises(TargetRefused) as caught:
        _load(roles, book)
    assert said in caught.value.fact
    assert caught.value.choice
    assert (_rows(roles), roles.sprung()) == ([], [])


@pytest.mark.parametrize("owner", ["alice", "group", "owner of the database"])
def test_ledger_of_a_trusted_role_is_used(roles: Roles, book: Path, owner: str) -> None:
    """That is the role itself, one that an administrator made it a member of, or the database's owner."""
    name = {"alice": "{alice}", "group": "{team}", "owner of the database": "{bob}"}[owner]
    roles.run("drop role if exists {team}", "create role {team}", "grant {team} to {alice}", f"create schema importer authorization {name}",
              f"grant usage, create on schema importer to {name}, {{alice}}", "grant insert, select on public.t to {alice}")  # fmt: skip
    if owner == "owner of the database":
        roles.run(f"alter database {roles.name} owner to {{bob}}", "grant usage, create on schema importer to {alice}")
        with held_session(roles.dsn_of("bob")) as session:
            set_up(session)
        roles.run("grant select, insert, update, delete on importer.runs, importer.chunks, importer.rejects to {alice}")
    assert _load(roles, book, "alice").outcome == "published"
    assert _load(roles, book, "alice").outcome == "already-imported"


def test_role_that_makes_others_its_members_is_not_trusted(roles: Roles, book: Path) -> None:
    """Before version 16 any role may, a superuser included; later one that may create roles can with those it created."""
    roles.run("alter role {mallory} createrole")
    roles.run("create role {bait}", "grant {bait} to postgres", by="mallory")
    roles.run("create schema importer", by="mallory")
    roles.run("alter schema importer owner to {bait}")
    with pytest.raises(TargetRefused, match="schema 'importer' belongs to role bait"):
        _load(roles, book)


# ---- MANY ROLES, ONE LEDGER --------------------------------------------------------------------------------------


def test_roles_share_a_ledger_and_import_once(roles: Roles, book: Path, tmp_path: Path) -> None:
    _share(roles)
    first = _load(roles, book, "alice")
    second = _load(roles, book, "bob")
    assert (first.outcome, second.outcome, second.run["id"]) == ("published", "already-imported", first.run["id"])
    other = save(tmp_path / "u.xlsx", ["id", "name"], [4, "d"])
    assert _load(roles, other, "bob").outcome == "published"
    assert _rows(roles) == [*LOADED, (4, "d")]
    assert _load(roles, other, "alice").notes[0].startswith("already imported by run")


def test_import_that_another_role_left_unfinished_begins_again(roles: Roles, book: Path) -> None:
    """Its staging stays that role's; then there is nothing to do for it."""
    _share(roles)
    _die(roles, book, "alice")
    assert _load(roles, book, "bob").run["resumed_rows"] == 0
    assert _load(roles, book, "alice").outcome == "already-imported"
    assert _rows(roles) == LOADED


def test_own_unfinished_import_goes_on(roles: Roles, book: Path) -> None:
    _share(roles)
    _die(roles, book, "alice")
    assert _load(roles, book, "alice").run["resumed_rows"] == 3
    assert _rows(roles) == LOADED


@pytest.mark.parametrize("statement", [
    "update importer.runs set state = 'published'",
    "update importer.runs set staging = 'stage_mine'",
    "update importer.runs set role = '{bob}'",
    "delete from importer.runs",
    "delete from importer.chunks",
    "update importer.chunks set rows = 0",
    "insert into importer.runs select (r).* from (select r from importer.runs r) x",
    "insert into importer.chunks select id, staging, 7, 1, 1, 1, '', 'written', now(), role from importer.runs",
    "alter table importer.runs disable row level security",
    "create trigger evil before insert on importer.runs execute function traps.spring()",
    "drop policy own_rows on importer.runs",
    "drop table importer.runs",
    "create index on importer.runs (traps.fixed(key))",
])  # fmt: skip
def test_a_role_cannot_change_another_ones_run(roles: Roles, book: Path, statement: str) -> None:
    _share(roles)
    _die(roles, book, "alice")
    before = roles.rows("select r::text from importer.runs r"), roles.rows("select c::text from importer.chunks c")
    with contextlib.suppress(DatabaseError):
        roles.run(statement, by="bob")
    assert (
        roles.rows("select r::text from importer.runs r"),
        roles.rows("select c::text from importer.chunks c"),
    ) == before
    assert roles.rows("select count(*)::int from importer.chunks", by="bob") == [(0,)]
    assert _load(roles, book, "alice").run["resumed_rows"] == 3
    assert _rows(roles) == LOADED


#: A row of Bob that says what one of Alice says.
_FORGED = """
    insert into importer.runs (id, key, state, workbook, sha256, sheet, target_schema, target_table, target_oid, mode,
        plan, counts, staging, client, version, finished_at)
    select '00000000-0000-4000-8000-00000000000b', key, {state}, workbook, sha256, sheet, target_schema, target_table,
        'public.t'::regclass, mode, plan, '[]', {staging}, client, version, clock_timestamp() from importer.runs
"""


def test_run_of_a_role_that_may_not_write_the_table_is_not_believed(roles: Roles, book: Path) -> None:
    _share(roles)
    _die(roles, book, "alice")
    roles.run("revoke insert on public.t from {bob}")
    roles.run(_FORGED.replace("{state}", "'published'").replace("{staging}", "null"), by="bob")
    with pytest.raises(TargetRefused, match="may not write to") as caught:
        _load(roles, book, "alice")
    assert f"role {roles.role('bob')}" in caught.value.fact
    assert "again=True" in str(caught.value.choice)
    assert _load(roles, book, "alice", again=True).outcome == "published"
    assert _load(roles, book, "alice").outcome == "already-imported"
    assert _rows(roles) == LOADED


def test_open_run_of_another_role_is_not_in_the_way(roles: Roles, book: Path) -> None:
    """Nor its chunks, which name this role's staging table; and it is not dropped for that role."""
    _share(roles)
    staging = _die(roles, book, "alice")
    roles.run(
        _FORGED.replace("{state}", "'loading'").replace("{staging}", "staging"),
        "insert into importer.chunks (run, staging, number, first_row, last_row, rows, checksum) "
        f"select '00000000-0000-4000-8000-00000000000b', '{staging}', n, 1, 1, 1, '' from generate_series(0, 9) n",
        by="bob",
    )
    assert importer("runs", "forget", "00000000-0000-4000-8000-00000000000b", "--to", roles.dsn.text).code == 0
    assert roles.rows(f"select to_regclass('importer.{staging}')::text") == [(f"importer.{staging}",)]
    assert _load(roles, book, "alice").run["resumed_rows"] == 3
    assert _rows(roles) == LOADED


def test_role_without_privileges_gets_the_administrators_statements(roles: Roles, book: Path) -> None:
    assert importer("runs", "setup", "--to", roles.dsn.text).out == "the ledger is ready\n"
    roles.run("grant insert, select on public.t to {alice}")
    with pytest.raises(TargetRefused) as caught:
        _load(roles, book, "alice")
    statements = str(caught.value.choice).split("run: ")[1].split(";")
    roles.run(*(s for s in statements if s.strip()))
    assert _load(roles, book, "alice").outcome == "published"


def test_run_that_was_removed_meanwhile_is_not_published(roles: Roles, book: Path) -> None:
    """Its rows would be loaded again by the next run."""
    settings = Settings(workbook=book, dsn=roles.dsn, table="public.t", workers=0, retry_for=0)
    with pytest.raises(VerificationFailed, match="no longer in the ledger"):
        run(settings, hooks=Hooks(before_publish=lambda: roles.run("delete from importer.runs")))
    assert _rows(roles) == []


# ---- STAGING OF A DEAD RUN ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [
    "create trigger evil before insert on importer.{} for each row execute function traps.spring()",
    "alter table importer.{} add x text default traps.note('x'::text)",
    "alter table importer.{} add x text generated always as (traps.fixed(name)) stored",
    "alter table importer.{} add check (traps.note(true))",
    "create rule evil as on insert to importer.{} do also select traps.note(1)",
    "create index on importer.{} (traps.fixed(name))",
    "create table traps.child () inherits (importer.{})",
    "alter table importer.{} enable row level security; create policy evil on importer.{} using (traps.note(true))",
    "grant trigger on importer.{} to {mallory}",
    "alter table importer.{} owner to {bob}",
    "drop table importer.{}",
    "alter table importer.{} rename to other; create table importer.{} (like importer.other); insert into importer.{} select * from importer.other",
    "alter table importer.{} rename to other; create view importer.{} as select id, traps.note(name) as name, _row from importer.other",
    "update importer.runs set staging_oid = 'public.t'::regclass",
])  # fmt: skip
def test_staging_that_is_not_as_the_run_left_it_is_not_taken_over(roles: Roles, book: Path, change: str) -> None:
    by = "alice" if "owner" in change else None
    _share(roles)
    staging = _die(roles, book, by)
    roles.run("grant usage on schema traps to {alice}", *change.replace("{}", staging).split("; "))
    # Whoever changed it may have run that code.
    roles.reset()
    assert _load(roles, book, by).run["resumed_rows"] == 0
    assert _rows(roles) == LOADED
    assert roles.sprung() == []


def test_staging_that_another_role_put_in_its_place_is_not_taken_over(roles: Roles, book: Path) -> None:
    """Also when the row of the ledger was changed, which only its owner could do."""
    _share(roles)
    staging = _die(roles, book)
    roles.run("grant usage, create on schema importer to {mallory}")
    roles.run(
        "create table importer.stage_mine (id bigint, name text, _row bigint)",
        "grant all on importer.stage_mine to public",
        "create trigger evil before insert on importer.stage_mine for each row execute function traps.spring()",
        by="mallory",
    )
    roles.run(
        "update importer.runs set staging = 'stage_mine'", f"delete from importer.chunks where staging = '{staging}'"
    )
    assert _load(roles, book).run["resumed_rows"] == 0
    assert (_rows(roles), roles.sprung()) == (LOADED, [])
    assert roles.rows("select to_regclass('importer.stage_mine')::text") == [("importer.stage_mine",)]


def test_forgetting_a_run_drops_only_its_own_staging(roles: Roles, book: Path) -> None:
    _share(roles)
    staging = _die(roles, book, "alice")
    _die(roles, book)
    roles.run(f"update importer.runs set staging = '{staging}' where role = 'postgres'")
    (found,) = roles.rows("select id::text from importer.runs where role = 'postgres'")
    assert importer("runs", "forget", found[0], "--to", roles.dsn.text).code == 0
    assert roles.rows(f"select to_regclass('importer.{staging}')::text") == [(f"importer.{staging}",)]
    (left,) = roles.rows("select id::text from importer.runs")
    refused = importer("runs", "forget", left[0], "--to", roles.dsn_of("bob").text)
    assert refused.code == 4
    assert f"is one of role {roles.role('alice')}" in refused.err
