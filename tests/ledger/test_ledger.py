"""The ledger: the same import is a no-op, another one is not; what changed since is noticed; roles and waiting."""

from __future__ import annotations

import contextlib
import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.commandline import Ran, importer
from support.tables import contract, save

from importer.cli.commands import cli
from importer.errors import (
    BudgetExceeded,
    Conflict,
    ConnectionFailed,
    ImporterError,
    TargetRefused,
    TimedOut,
    WriterDied,
)
from importer.ledger.history import clean, leftovers
from importer.ledger.locks import lock_number, new_staging_name
from importer.ledger.schema import SCHEMA
from importer.pipeline import Hooks, run
from importer.postgres.session import Session
from importer.run.import_key import random_key, run_key
from importer.run.lease_holder import LeaseHolder
from importer.runtime import retry
from importer.runtime.progress import Clock
from importer.runtime.retry import Deadline, Retry
from importer.settings import Dsn, Settings, make_settings

if TYPE_CHECKING:
    from conftest import Database

ROWS = [["id", "name"], [1, "a"], [2, "b"], [3, "c"]]
LOADED = [(1, "a"), (2, "b"), (3, "c")]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", *ROWS)


def _all(db: Database, table: str = "t") -> list[tuple[Any, ...]]:
    return db.rows(f"select id, name from {table} order by id, name")


def _runs(db: Database) -> list[tuple[Any, ...]]:
    return db.rows(
        f"select state, count(*)::int from {SCHEMA}.runs where target_schema = '{db.schema}' group by 1 order by 1"
    )


@pytest.mark.parametrize("mode", ["append", "create", "replace"])
@pytest.mark.parametrize("existing", [False, True])
def test_same_import_is_done_once(db: Database, book: Path, mode: Any, existing: bool) -> None:
    if existing and mode != "create":
        db.run("create table t (id bigint primary key, name text)")
    first, second = db.load(book, mode=mode), db.load(book, mode=mode)
    assert (first.outcome, second.outcome) == ("published", "already-imported")
    assert second.run["id"] == first.run["id"]
    assert (second.total_records, second.success_count, second.error_count) == (3, 0, 0)
    assert f"already imported by run {first.run['id']}" in second.notes[0]
    assert _all(db) == LOADED
    assert _runs(db) == [("published", 1)]


def test_no_op_tells_the_rejects_of_the_first_run(db: Database, tmp_path: Path) -> None:
    """Its exit code is that of the first run; a stricter budget holds for what the ledger counted."""
    path = save(tmp_path / "t.xlsx", ["id"], [1], ["x"])
    described = contract(tmp_path / "c.json", fields=[{"name": "id", "type": "integer"}])
    codes = []
    arguments = ["run", path, "--contract", described, "--to", db.dsn.text, "--json"]
    for _ in range(2):
        ran = importer(*arguments, cwd=tmp_path)
        codes.append(ran.code)
    assert codes == [1, 1]
    assert ran.json["outcome"] == "already-imported"
    assert (ran.json["stats"]["total_records"], ran.json["stats"]["error_count"]) == (2, 1)
    assert ran.json["rejects"]["file"] == str(tmp_path / "t.rejects.xlsx")
    assert ran.json["notes"][1] == f"1 row was rejected then, and written to {tmp_path / 't.rejects.xlsx'}"
    assert (ran.json["stats"]["success_count"], ran.json["rows"]["unpublished"]) == (0, 1)


def test_no_op_is_held_to_its_own_budget(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    db.run("create table t (id bigint)")
    path = save(tmp_path / "t.xlsx", ["id"], [1], ["x"], [3], [4])
    with pytest.raises(BudgetExceeded) as refused:
        db.load(path, max_rejects=0)
    assert (refused.value.report.success_count, refused.value.report.unpublished) == (0, 3)
    assert db.load(path, max_rejects=1).success_count == 3
    assert db.load(path, max_rejects="25%").outcome == "already-imported"
    for budget in (0, "24%"):
        with pytest.raises(BudgetExceeded, match="1 of 4 rows were rejected by run"):
            db.load(path, max_rejects=budget)
    assert db.rows("select id from t order by 1") == [(1,), (3,), (4,)]


def test_published_run_without_its_counts_is_not_believed(db: Database, book: Path) -> None:
    db.load(book, table="t")
    db.run(f"update {SCHEMA}.runs set counts = '{{}}'")
    with pytest.raises(TargetRefused, match="but not what that run counted") as caught:
        db.load(book, table="t")
    assert "--again" in str(caught.value.choice)
    assert db.load(book, table="t", again=True).success_count > 0


def test_again_loads_once_more(db: Database, book: Path) -> None:
    db.load(book)
    assert db.load(book, again=True).outcome == "published"
    assert _all(db) == sorted(LOADED * 2)
    assert db.load(book).outcome == "already-imported"
    assert _runs(db) == [("published", 2)]


@pytest.mark.parametrize(
    "options",
    [{"table": "other"}, {"columns": ["id"]}, {"mode": "replace"}, {"keep_names": True}, {"timezone": "Asia/Tokyo"}],
    ids=str,
)
def test_another_import_is_not_the_same(db: Database, book: Path, options: dict[str, Any]) -> None:
    db.load(book)
    assert db.load(book, **options).outcome == "published"


@pytest.mark.parametrize(
    "options", [{"workers": 1}, {"method": "concurrent"}, {"chunk_rows": 2}, {"max_rejects": 0}], ids=str
)
def test_how_it_is_done_does_not_matter(db: Database, book: Path, options: dict[str, Any]) -> None:
    db.load(book)
    assert db.load(book, **options).outcome == "already-imported"


def test_contract_is_known_by_what_it_says(db: Database, tmp_path: Path, book: Path) -> None:
    fields = [{"name": "id", "type": "integer"}, {"name": "name"}]
    db.load(book, contract=contract(tmp_path / "a.json", fields=fields))
    same = contract(
        tmp_path / "b.json", missingValues=[""], fields=[{"type": "integer", "name": "id"}, {"name": "name"}]
    )
    assert db.load(book, contract=same).outcome == "already-imported"
    fields[1]["constraints"] = {"maxLength": 9}  # type: ignore[assignment]
    assert db.load(book, contract=contract(tmp_path / "c.json", fields=fields)).outcome == "published"


@pytest.mark.parametrize("then", ["drop table t", "alter table t rename to u"])
def test_table_that_is_gone_is_loaded_again(db: Database, book: Path, then: str) -> None:
    first = db.load(book)
    db.run(then)
    second = db.load(book)
    assert second.outcome == "published"
    assert any(first.run["id"] in note and "is gone" in note for note in second.notes)
    assert _all(db) == LOADED


def test_table_made_anew_is_loaded_again(db: Database, book: Path) -> None:
    db.load(book)
    db.run("drop table t", "create table t (id bigint, name text)")
    assert any("was replaced by another table" in note for note in db.load(book).notes)
    assert _all(db) == LOADED


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (["alter table t rename to u"], "is {}.u now, and is left as it is"),
        (["alter table t rename to u", "create table t (like u)"], "is {}.u now, and is left as it is"),
        (["drop table t"], "is gone"),
        (["alter table t add more int"], ""),
    ],
    ids=["renamed", "renamed and made anew", "dropped", "altered"],
)
def test_table_of_an_unfinished_run_that_moved_is_told(db: Database, book: Path, then: list[str], said: str) -> None:
    db.run("create table t (id bigint, name text)")

    def fail() -> None:
        raise ConnectionFailed("the server is gone")

    settings = Settings(workbook=book, dsn=db.dsn, table="t", workers=0, retry_for=0)
    with pytest.raises(ConnectionFailed):
        run(settings, hooks=Hooks(before_publish=fail))
    db.run(*then)
    report = db.load(book)
    assert report.outcome == "published"
    told = [note for note in report.notes if "unfinished run" in note]
    assert len(told) == bool(said)
    assert all(note.endswith(said.format(db.schema)) for note in told)
    assert _all(db) == LOADED


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(
    "change", ["insert into t values (9, 'z')", "delete from t where id = 2", "update t set name = 'z' where id = 2"]
)
def test_replace_notices_changed_rows(db: Database, book: Path, existing: bool, change: str) -> None:
    """The rows are to be those of the workbook: to say that they are, when somebody changed one, would be wrong."""
    if existing:
        db.run("create table t (id bigint, name text)", "insert into t values (7, 'old')")
    db.load(book, mode="replace")
    assert db.load(book, mode="replace").outcome == "already-imported"
    db.run(change)
    again = db.load(book, mode="replace")
    assert again.outcome == "published"
    assert any("were changed since" in note for note in again.notes)
    assert _all(db) == LOADED


def test_replace_by_a_role_that_may_not_read(db: Database, book: Path) -> None:
    """It cannot check whether the rows are unchanged; the failed read is rolled back, and the rows are replaced."""
    role = f"w_{db.schema}"
    db.load(book, table="other", mode="replace")
    db.run(
        "create table t (id bigint, name text)",
        f"create role {role}",
        f"grant usage, create on schema {db.schema} to {role}",
        f"grant insert, delete on t to {role}",
        f"grant usage, create on schema {SCHEMA} to {role}",
        f"grant all on all tables in schema {SCHEMA} to {role}",
        f"grant all on all sequences in schema {SCHEMA} to {role}",
    )
    try:
        from importer import import_workbook

        to = f"{db.dsn.text}%20-crole%3D{role}"
        first, second = (import_workbook(book, to=to, table="t", mode="replace") for _ in range(2))
    finally:
        db.run(f"drop owned by {role}", f"drop role {role}")
    assert (first.outcome, second.outcome) == ("published", "published")
    assert any("were changed since" in note for note in second.notes)
    assert _all(db) == LOADED


def test_replace_by_turns(db: Database, tmp_path: Path, book: Path) -> None:
    other = save(tmp_path / "u.xlsx", ["id", "name"], [5, "e"])
    for path, rows in ((book, LOADED), (other, [(5, "e")]), (book, LOADED)):
        assert db.load(path, mode="replace", table="t").outcome == "published"
        assert _all(db) == rows


def test_replace_minds_later_runs_of_its_table_only(db: Database, tmp_path: Path, book: Path) -> None:
    bad = save(tmp_path / "bad.xlsx", ["id", "name"], ["x", "none of this is loaded"])
    db.run("create table t (id bigint, name text)", f"create schema {db.schema}_2")
    try:
        db.run(f"create table {db.schema}_2.t (id bigint, name text)")
        first = db.load(book, mode="replace", table="t")
        db.load(book, mode="replace", table="other")
        db.load(bad, table=f"{db.schema}_2.t")
        with pytest.raises(BudgetExceeded):
            db.load(bad, table="t", max_rejects=0)
        assert db.load(book, mode="replace", table="t").outcome == "already-imported"
        assert db.load(bad, table="t").success_count == 0
        again = db.load(book, mode="replace", table="t")
        assert (again.outcome, again.success_count) == ("published", first.success_count)
    finally:
        db.run(f"drop schema {db.schema}_2 cascade")


def test_check_neither_reads_nor_writes_the_ledger(db: Database, book: Path) -> None:
    db.load(book)
    before = db.rows(f"select id::text, state from {SCHEMA}.runs order by 1")
    assert db.load(book, dry_run=True).outcome == "checked"
    assert db.rows(f"select id::text, state from {SCHEMA}.runs order by 1") == before
    assert _all(db) == LOADED


def test_refused_run_leaves_nothing(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id int check (id < 3))")
    path = save(tmp_path / "t.xlsx", ["id"], [1], [5])
    with pytest.raises(BudgetExceeded):
        db.load(path, max_rejects=0)
    assert _runs(db) == []
    assert db.leftovers() == []
    assert db.load(path).error_count == 1


def test_newer_ledger_is_left_alone(db: Database, book: Path) -> None:
    db.load(book)
    comment = db.rows(f"select obj_description('{SCHEMA}.runs'::regclass)")[0][0]
    db.run(f"comment on table {SCHEMA}.runs is 'importer ledger, version 99'")
    try:
        with pytest.raises(TargetRefused, match="version 99"):
            db.load(book)
    finally:
        db.run(f"comment on table {SCHEMA}.runs is '{comment}'")


def test_second_run_says_who_it_waits_for(db: Database, book: Path) -> None:
    """The lock is held by another session; the run waits as long as it may, and says for whom."""
    said: list[str] = []

    class Listening(Clock):
        def say(self, text: str) -> None:
            said.append(text)

    class UntilSaid(Deadline):
        """Over once something was said."""

        def left(self) -> float:
            return 0.0 if said else 60.0

    settings = Settings(workbook=book, dsn=db.dsn, workers=0, timeout=30)
    from importer.stages.read import open_source

    def key() -> str:
        with LeaseHolder(settings, None, Clock(deadline=Deadline(30)), dry_run=False) as holder:
            holder.set_source(*open_source(settings, Clock()))
            return holder.get().key

    with Session(db.dsn) as other:
        other.query("select pg_advisory_lock($1::bigint)", [lock_number(key())])
        backend = other.value("select pg_backend_pid()")
        with LeaseHolder(settings, None, Listening(deadline=UntilSaid(1)), dry_run=False) as holder:
            holder.set_source(*open_source(settings, Clock()))
            with pytest.raises(TimedOut):
                holder.get()
        assert len(said) == 1
        assert f"server process {backend}" in said[0]
        assert "the same import is under way" in said[0]


def test_role_that_may_not_make_the_ledger(db: Database, book: Path) -> None:
    """The schema is there, but the role may not create in it: the message has the administrator's two statements."""
    role = f"w_{db.schema}"
    db.load(book, table="first")
    db.run(
        f"create role {role}",
        f"grant usage, create on schema {db.schema} to {role}",
        f"grant usage on schema {SCHEMA} to {role}",
    )
    try:
        with pytest.raises(TargetRefused) as caught:
            db_of = Dsn(f"{db.dsn.text}%20-crole%3D{role}")
            from importer import import_workbook

            import_workbook(book, to=db_of.text, table="second")
        assert f'CREATE SCHEMA IF NOT EXISTS {SCHEMA}; GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO "{role}";' in str(
            caught.value
        )
    finally:
        db.run(f"drop owned by {role}", f"drop role {role}")


# ---- KEYS AND PATIENCE ------------------------------------------------------------------------------------------


def test_key_of_a_plain_run_is_that_of_earlier_versions(db: Database, book: Path) -> None:
    """A setting that was added since is not in it at its default: a workbook is not loaded again after an upgrade."""
    from importer.plan.target import Target
    from importer.stages.read import open_source

    settings = make_settings(book)
    _, options = run_key(settings, *open_source(settings, Clock()), None, Target(db.schema, "t", None))
    assert set(options) == {
        "columns", "error_cells", "header_rows", "hidden", "keep_names", "key", "lineage", "mode", "on_duplicate",
        "timezone",
    }  # fmt: skip


def test_key_of_an_import_stays_what_it_is() -> None:
    """The ledgers of users hold it: another spelling of the same parts would load every workbook once more."""
    from importer.plan.target import Target

    sheet: Any = SimpleNamespace(name="Übersicht")
    workbook: Any = SimpleNamespace(sha256="0" * 64)
    key, _ = run_key(Settings(workbook=Path("a.xlsx")), workbook, sheet, None, Target("public", "t", None))
    assert key == "264d17942a8de2d8437e477016a373c0ccd6282d070cccb3e7ec21e15bbdee90"
    assert len({random_key() for _ in range(3)}) == 3


def test_key_has_every_setting_that_changes_rows(db: Database, book: Path) -> None:
    """Another value of a setting is another key, apart from those that say how the work is done."""
    from importer.plan.target import Target
    from importer.stages.read import open_source

    opened = open_source(Settings(workbook=book), Clock())
    target = Target(db.schema, "t", None)
    base = run_key(Settings(workbook=book), *opened, None, target)[0]
    assert (
        run_key(Settings(workbook=book, workers=1, chunk_rows=5, retry_for=1, again=True), *opened, None, target)[0]
        == base
    )
    keys = {
        run_key(Settings(workbook=book, **changed), *opened, None, target)[0]
        for changed in (
            {"mode": "replace"},
            {"error_cells": "null"},
            {"hidden": "skip"},
            {"header_rows": (2, 2)},
            {"columns": ("id",)},
        )
    }
    assert len(keys | {base}) == 6
    assert run_key(Settings(workbook=book), *opened, "abc", target)[0] != base
    assert lock_number(new_staging_name(base).removeprefix("stage_")) == lock_number(base)


@pytest.mark.parametrize("kind", [ConnectionFailed, Conflict])
def test_patience_bears_what_may_pass(kind: type[ImporterError], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    patience = Retry(0.4)
    tries = 0
    with pytest.raises(kind):
        while True:
            patience.wait_or_raise(kind("no"))
            tries += 1
    assert 2 <= tries < 10


@pytest.mark.parametrize("error", [TargetRefused("no"), BudgetExceeded("no"), ImporterError("no")])
def test_patience_does_not_bear_what_is_final(error: ImporterError) -> None:
    with pytest.raises(type(error)):
        Retry(60).wait_or_raise(error)


def test_patience_bears_one_death(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Retry(60)
    patience.wait_or_raise(WriterDied("killed"))
    with pytest.raises(WriterDied):
        patience.wait_or_raise(WriterDied("killed"))


def test_patience_ends_with_the_deadline() -> None:
    with pytest.raises(TimedOut):
        for _ in range(1000):
            Retry(60, Deadline(0.05)).wait_or_raise(ConnectionFailed("no"))


def test_eight_threads_make_one_ledger(db: Database, book: Path) -> None:
    if db.rows(f"select 1 from pg_namespace where nspname = '{SCHEMA}'"):
        db.run(f"drop schema {SCHEMA} cascade")
    failures: list[BaseException] = []

    def load(n: int) -> None:
        try:
            db.load(book, table=f"t{n}", workers=0, rejects=book.with_suffix(f".{n}.xlsx"))
        except BaseException as exc:  # noqa: BLE001 - told below
            failures.append(exc)

    threads = [threading.Thread(target=load, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert _runs(db) == [("published", 8)]


# ---- COMMANDS ---------------------------------------------------------------------------------------------------


def test_runs_are_shown_to_people(db: Database, book: Path) -> None:
    run = db.load(book).run["id"]
    listed = importer("runs", "--to", db.dsn.text)
    assert listed.code == 0
    (line,) = [line for line in listed.out.splitlines() if line.split()[0] == run[:8]]
    assert line.split()[1:6] == ["published", "t.xlsx", "Sheet", f"{db.schema}.t", "append"]
    shown = importer("runs", run[:13], "--to", db.dsn.text)
    assert shown.code == 0
    assert f"{'id':<16}{run}" in shown.out.splitlines()
    assert f"{'success_count':<16}3" in shown.out.splitlines()
    assert "chunks written  1, 3 rows" in shown.out


@pytest.mark.parametrize("arguments", [["nosuchrun"], ["show", "0x"], ["forget", "nosuchrun"]])
@pytest.mark.parametrize("before", [False, True])
def test_runs_that_are_not_there(db: Database, arguments: list[str], before: bool) -> None:
    """An option of the group may stand before the command as well."""
    to = ["--to", db.dsn.text]
    ran = importer("runs", *(to + arguments if before else arguments + to))
    assert ran.code == 2
    assert "no runs begin with" in ran.err


def test_forgotten_run_can_be_done_again(db: Database, book: Path) -> None:
    run = db.load(book).run["id"]
    assert importer("runs", "forget", run, "--to", db.dsn.text).out == f"forgotten: {run}\n"
    assert db.load(book).outcome == "published"
    assert _all(db) == sorted(LOADED * 2)


def test_leftovers_are_listed_and_cleaned(db: Database) -> None:
    """A table of no run that the ledger knows, as a killed `check` leaves it."""
    name = new_staging_name("ab" * 32)
    db.run(f"create schema if not exists {SCHEMA}", f"create table {SCHEMA}.{name} (n int)")
    assert "left behind: 1 staging tables" in importer("runs", "--to", db.dsn.text).out
    with Session(db.dsn) as holder:
        holder.query("select pg_advisory_lock($1::bigint)", [lock_number("ab" * 32)])
        assert leftovers(holder) == []
        assert importer("runs", "clean", "--to", db.dsn.text).out == "dropped: nothing\n"
    assert importer("runs", "clean", "--to", db.dsn.text).out == f"dropped: {name}\n"
    assert db.leftovers() == []


def test_leftover_that_a_session_still_reads_is_not_dropped(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importer.ledger.history._DROP_MILLISECONDS", 20)
    name = new_staging_name("cd" * 32)
    db.run(f"create schema if not exists {SCHEMA}", f"create table {SCHEMA}.{name} (n int)")
    with Session(db.dsn) as reader, Session(db.dsn) as session:
        reader.query(f"select n from {SCHEMA}.{name}")
        assert clean(session) == []
        reader.rollback()
        assert clean(session) == [name]


def test_import_drops_what_earlier_attempts_of_it_left_and_nothing_else(
    db: Database, book: Path, tmp_path: Path
) -> None:
    db.load(save(tmp_path / "first.xlsx", *ROWS), table="first")
    mine, others = new_staging_name("12" * 32), new_staging_name("34" * 32)
    for name, table in ((mine, "t"), (others, "u")):
        db.run(
            f"create table {SCHEMA}.{name} (n int)",
            f"""
            insert into {SCHEMA}.runs (id, key, state, workbook, sha256, sheet, target_schema, target_table, mode, plan,
                counts, staging, client, version)
            values (gen_random_uuid(), '{name.split("_")[1] * 4}', 'interrupted', 't.xlsx', 'x', 'Sheet', '{db.schema}',
                '{table}', 'append', '{{}}', '{{}}', '{name}', 'x', 'x')
            """,
        )
    db.load(book)
    assert db.leftovers() == [others]


def test_old_runs_are_pruned(db: Database, tmp_path: Path) -> None:
    """Those that ended so long ago, unless they can be resumed; their workbooks are loaded once more then."""
    books = [save(tmp_path / f"{name}.xlsx", ["v"], [name]) for name in ("done", "unfinished", "new")]
    for path in books:
        db.load(path, table="t")
    old = "update importer.runs set finished_at = now() - interval '91 days'"
    mine = f"target_schema = '{db.schema}' and workbook"
    staged = "state = 'interrupted', staging = 'stage_0123456789abcdef_1'"
    db.run(f"{old} where {mine} = 'done.xlsx'", f"{old}, {staged} where {mine} = 'unfinished.xlsx'")
    command = ("runs", "prune", "--to", db.dsn.text, "--json", "--older-than")
    for age in ("90", "-1d", "1y", "0d", "9999999999w", "٩d"):
        refused = importer_runs(*command, age)
        assert (refused.code, refused.json["error"]["message"]) == (2, "not an age"), age
    assert importer_runs(*command, "92d").json == {"pruned": {"runs": 0}}
    assert importer_runs(*command, "12w").json == {"pruned": {"runs": 1}}
    left = db.rows(f"select workbook from importer.runs where {mine} is not null order by 1")
    assert left == [("new.xlsx",), ("unfinished.xlsx",)]
    assert db.rows(
        "select count(*) from importer.chunks c left join importer.runs r on r.id = c.run where r.id is null"
    ) == [(0,)]
    assert [db.load(path, table="t").outcome for path in (books[0], books[2])] == ["published", "already-imported"]


def importer_runs(*arguments: str) -> Ran:
    """The command line in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = cli(list(arguments), prog_name="importer", standalone_mode=False)
        except SystemExit as exc:
            code = exc.code
    return Ran(code or 0, out.getvalue(), "", 0, [], [])
