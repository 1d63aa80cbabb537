"""Many imports that become visible in one transaction, or not at all, whatever is killed when."""

from __future__ import annotations

import queue
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.commandline import SECONDS, assert_clean, importer_here
from support.roles import database_with_roles
from support.tables import save, work_folder
from support.warm import PROGRAM, Template

from importer import import_many
from importer.batch.execution.locks import LockRoom, lock_tables
from importer.errors import Conflict, ConnectionFailed, DatabaseError, MachineError, UsageError
from importer.postgres.session import Session
from importer.run.import_lock import ImportLock
from importer.run.joined_session import JoinedSession, join_session
from importer.runtime.progress import Clock, NoProgress
from importer.runtime.retry import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database

    from importer.batch.report import ManyReport
    from importer.settings import Dsn


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with two workbooks."""
    folder = work_folder(tmp_path, monkeypatch)
    save(folder / "a.xlsx", ["id", "v"], [1, "x"], [2, "y"])
    save(folder / "b.xlsx", ["id", "v"], [3, "z"])
    return folder


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with Template() as made:
        yield made


def load(db: Database, *sources: str, **options: Any) -> ManyReport:
    given: dict[str, Any] = {"table": "t", "workers": 0, **options}
    return import_many(sources or ("a.xlsx", "b.xlsx"), to=db.dsn.text, together=True, **given)


def outcomes(report: ManyReport) -> list[str]:
    return [each.outcome for each in report.reports]


def ids(db: Database, table: str = "t") -> list[int]:
    return [n for (n,) in db.rows(f"select id from {table} order by id")]


def test_all_are_published_in_one_transaction_and_once(db: Database, here: Path) -> None:
    save(here / "c.xlsx", ["id", "v"], [4, 5])
    report = load(db, "a.xlsx", "b.xlsx", "c.xlsx", table="{stem}")
    assert (outcomes(report), report.exit_code) == (["published"] * 3, 0)
    ended = db.rows(
        "select count(distinct finished_at), count(*) from importer.runs where workbook in ('a.xlsx', 'b.xlsx', 'c.xlsx') and target_schema = current_schema()"
    )
    assert ended == [(1, 3)]
    # The same into one table, which is new, with types that all of them decide.
    report = load(db, "a.xlsx", "b.xlsx", "c.xlsx", lineage=True)
    assert outcomes(report) == ["published"] * 3
    assert db.rows("select id, v, _source_file from t where id > 2 order by id") == [
        (3, "z", "b.xlsx"),
        (4, "5", "c.xlsx"),
    ]
    again = load(db, "a.xlsx", "b.xlsx", "c.xlsx", lineage=True)
    assert outcomes(again) == ["already-imported"] * 3
    assert (ids(db), db.leftovers()) == ([1, 2, 3, 4], [])


def test_one_that_fails_leaves_none(db: Database, here: Path) -> None:
    (here / "c.xlsx").write_text("no workbook")
    save(here / "d.xlsx", ["id", "v"], ["no number", "x"])
    db.run("create table t (id bigint, v text)")
    report = load(db, "a.xlsx", "c.xlsx", "d.xlsx", "b.xlsx", max_rejects=0)
    assert outcomes(report) == ["not-published", "failed", "over-budget", "not-published"]
    assert report.exit_code == 3
    assert (report.sums["not_published"], report.sums["success_count"]) == (2, 0)
    assert "not published, because another import of the set failed" in str(report)
    assert ids(db) == []
    stopped = load(db, "a.xlsx", "c.xlsx", "d.xlsx", "b.xlsx", max_rejects=0, stop_on_error=True)
    assert outcomes(stopped) == ["not-published", "failed", "not-started", "not-started"]
    save(here / "c.xlsx", ["id", "v"], [4, "w"])
    save(here / "d.xlsx", ["id", "v"], [5, "x"])
    assert outcomes(load(db, "a.xlsx", "c.xlsx", "d.xlsx", "b.xlsx", max_rejects=0)) == ["published"] * 4
    assert (ids(db), db.leftovers()) == ([1, 2, 3, 4, 5], [])


def test_what_the_server_refuses_leaves_none(db: Database, here: Path) -> None:
    """A statement that fails ends the transaction of all."""
    db.run(
        "create table t (id bigint, v text)",
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not today' using errcode = 'XX000'; end $$",
        "create trigger refusing before insert on t for each row when (new.id = 3) execute function refuse()",
    )
    report = load(db)
    assert outcomes(report) == ["not-published", "failed"]
    assert "not today" in report.reports[1].error["message"]  # type: ignore[index]
    assert ids(db) == []
    db.run("drop trigger refusing on t")
    assert outcomes(load(db)) == ["published"] * 2
    assert ids(db) == [1, 2, 3]


def test_rows_that_collide_within_the_set_are_rejects(db: Database, here: Path) -> None:
    db.run("create table t (id bigint primary key, v text)")
    save(here / "b.xlsx", ["id", "v"], [2, "again"], [3, "z"])
    report = load(db)
    assert (report.exit_code, [r.error_count for r in report.reports]) == (1, [0, 1])
    assert Path(str(report.reports[1].rejects_file)).is_file()
    assert Path(str(report.reports[1].rejects_file)).name == "b.rejects.xlsx"
    assert ids(db) == [1, 2, 3]
    assert load(db).reports[1].rejects_file == report.reports[1].rejects_file
    assert len(list(here.glob("*.rejects*"))) == 1


def test_replacing_means_all_rows_of_all(db: Database, here: Path) -> None:
    db.run("create table t (id bigint, v text)", "insert into t values (99, 'old')")
    replace: dict[str, Any] = {"mode": "replace"}
    assert outcomes(load(db, **replace)) == ["published"] * 2
    assert ids(db) == [1, 2, 3]
    assert outcomes(load(db, **replace)) == ["already-imported"] * 2
    db.run("update t set v = 'changed' where id = 1")
    assert outcomes(load(db, **replace)) == ["published"] * 2, "the rows were changed"
    save(here / "c.xlsx", ["id", "v"], [4, "w"])
    assert outcomes(load(db, "a.xlsx", "b.xlsx", "c.xlsx", **replace)) == ["published"] * 3, "it is another set"
    assert ids(db) == [1, 2, 3, 4]
    db.run("delete from importer.runs where workbook = 'b.xlsx' and target_schema = current_schema()")
    assert outcomes(load(db, "a.xlsx", "b.xlsx", "c.xlsx", **replace)) == ["published"] * 3, "one was forgotten"
    assert ids(db) == [1, 2, 3, 4]
    assert outcomes(load(db, "a.xlsx", "b.xlsx", table="made", mode="create")) == ["published"] * 2
    assert ids(db, "made") == [1, 2, 3]


def test_later_workbooks_see_what_earlier_ones_did(db: Database, here: Path) -> None:
    db.run("create table t (id bigint primary key, v text)")
    save(here / "b.xlsx", ["id", "v", "more"], [2, "newer", True])
    report = load(db, mode="upsert", drift="add-columns")
    assert outcomes(report) == ["published"] * 2
    assert db.rows("select id, v, more from t order by id") == [(1, "x", None), (2, "newer", True)]


def test_a_table_that_appears_meanwhile_is_loaded_into(
    db: Database, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failed statement ends the transaction, so that the whole set begins again."""
    import importer.stages.load as story

    def late(*args: Any) -> Any:
        db.run("create table if not exists t (id bigint, v text, more text default 'x')")
        return publish(*args)

    publish = story.publish
    monkeypatch.setattr(story, "publish", late)
    report = load(db, retry_for=30)
    assert outcomes(report) == ["published"] * 2, str(report)
    assert db.rows("select id, more from t order by id") == [(1, "x"), (2, "x"), (3, "x")]


def test_a_set_gives_way_to_an_import_that_waits_for_it(server: Dsn) -> None:
    """That one holds the lock on an import of the set, whose transaction it waits for: neither could ever go on.

    Neither role may see what the other's session does.
    """
    key, statement = "ab" * 32, "lock table public.t in access exclusive mode"
    with database_with_roles(server, "one", "many") as db:
        db.run("create table public.t ()", "grant all on public.t to {one}, {many}")
        with Session(db.dsn_of("one")) as other, ThreadPoolExecutor(1) as pool:
            ImportLock(Clock(), threading.Event()).acquire(other, key)
            with join_session(db.dsn_of("many")) as joined:
                joined.run(statement)
                joined.commit()
                waiting = pool.submit(other.run, statement)
                with pytest.raises(Conflict, match="waits for this transaction"):
                    ImportLock(Clock(deadline=Deadline(SECONDS)), threading.Event()).acquire(joined, key)
            waiting.result(SECONDS)


def test_sets_into_one_table_wait_for_each_other(db: Database) -> None:
    """Each would have an import of the other locked, if they have the same ones in other orders."""
    said: queue.Queue[str] = queue.Queue()

    class Says(NoProgress):
        def say(self, text: str) -> None:
            said.put(text)

    with ThreadPoolExecutor(1) as pool, join_session(db.dsn) as second:
        with join_session(db.dsn) as first:
            lock_tables(first, ['"u"', f'"{db.schema}"."t"'], Clock())
            waiting = pool.submit(lock_tables, second, ["t"], Clock(Says(), Deadline(SECONDS)))
            assert said.get(timeout=SECONDS).startswith("another set of imports into the same table is under way")
            assert not waiting.done()
        waiting.result(SECONDS)


def test_workers_read_and_this_session_writes(db: Database, here: Path) -> None:
    save(here / "a.xlsx", ["id", "v"], *[[n, "x"] for n in range(10, 40)])
    report = load(db, workers=2, chunk_rows=7)
    assert outcomes(report) == ["published"] * 2, str(report)
    assert ids(db) == [3, *range(10, 40)]


def test_the_command_line(db: Database, here: Path) -> None:
    to = ["--to", db.dsn.text]
    checked = importer_here(
        "check", "a.xlsx", "b.xlsx", "--together", "--table", "t", *to, "--json", temp=here.parent / "temp"
    )
    assert [each["outcome"] for each in checked.json["reports"]] == ["checked"] * 2
    assert db.rows("select to_regclass('t')::text") == [(None,)]
    (here / "jobs.yaml").write_text(
        "together: true\nimports:\n- {source: a.xlsx, table: t}\n- {source: b.xlsx, table: u}\n"
    )
    ran = importer_here("run", "-f", here / "jobs.yaml", *to, temp=here.parent / "temp")
    assert ran.code == 0, ran.err
    assert_clean(ran)
    assert (ids(db), ids(db, "u")) == ([1, 2], [3])
    (here / "jobs.yaml").write_text("- {source: a.xlsx, together: true}\n- {source: b.xlsx}\n")
    ran = importer_here("run", "-f", here / "jobs.yaml", *to, temp=here.parent / "temp")
    assert (ran.code, "about all imports of the file" in ran.err) == (2, True)


def test_what_cannot_be_together_is_refused(db: Database, here: Path) -> None:
    with pytest.raises(UsageError, match="method"):
        load(db, method="sequential")
    with ThreadPoolExecutor(1) as executor, pytest.raises(UsageError, match="one process"):
        load(db, executor=executor)
    ran = importer_here("plan", "a.xlsx", "--together", "--to", db.dsn.text, temp=here.parent / "temp")
    assert (ran.code, "by itself" in ran.err) == (2, True)


#: Ends the process as `kill -9` does: before the commit, while it is under way, or behind it.
KILL = """
import os, signal, threading
from importer.postgres.session import Session
from importer.run.import_lock import ImportLock
from importer.run.joined_session import JoinedSession, join_session
from importer.runtime.progress import Clock, NoProgress
from importer.runtime.retry import Deadline
commit = JoinedSession.commit_all
def killed(self):
    if {when!r} == "in":
        threading.Thread(target=commit, args=[self]).start()
    elif {when!r} == "behind":
        commit(self)
    os.kill(os.getpid(), signal.SIGKILL)
JoinedSession.commit_all = killed
"""


@pytest.mark.parametrize("when", ["before", "in", "behind"])
def test_killed_at_the_commit(db: Database, here: Path, template: Template, when: str) -> None:
    db.run("create table t (id bigint primary key, v text)")
    save(here / "b.xlsx", ["id", "v"], [2, "again"], [3, "z"])
    dsn = f"{db.dsn.text}{'&' if '?' in db.dsn.text else '?'}application_name={db.schema}"
    words = ["run", "a.xlsx", "b.xlsx", "--together", "--table", "t", "--to", dsn]
    with template.started(*words, "--workers", 0, cwd=here, program=KILL.format(when=when) + PROGRAM) as running:
        assert running.finish().code == -signal.SIGKILL
    wait_until_ended(db)
    found = ids(db)
    assert found in {"before": [[]], "in": [[], [1, 2, 3]], "behind": [[1, 2, 3]]}[when]
    assert (list(here.glob("*.rejects*")), db.leftovers()) == ([], [])
    assert outcomes(load(db)) == ["already-imported" if found else "published"] * 2
    assert [p.name for p in here.glob("*.rejects*")] == ["b.rejects.xlsx"]
    assert (ids(db), outcomes(load(db))) == ([1, 2, 3], ["already-imported"] * 2)


def wait_until_ended(db: Database) -> None:
    """Wait until no session of the killed process is left, which may still commit; those of other tests may stay."""
    theirs = f"select 1 from pg_stat_activity where application_name = '{db.schema}'"
    end = time.monotonic() + 240
    while db.rows(theirs) and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_the_answer_to_the_commit_is_lost(
    db: Database, here: Path, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    commit, lost = JoinedSession.commit_all, [ConnectionFailed("lost")]

    def losing(session: JoinedSession) -> None:
        if done or not lost:
            commit(session)
        if lost:
            raise lost.pop()

    monkeypatch.setattr(JoinedSession, "commit_all", losing)
    report = load(db)
    assert outcomes(report) == ["published"] * 2
    assert [len(each.report["columns"]) for each in report.reports] == [2, 2]
    assert ids(db) == [1, 2, 3]


def test_ctrl_c_in_the_commit(db: Database, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = JoinedSession.commit_all

    def interrupted(session: JoinedSession) -> None:
        commit(session)
        raise KeyboardInterrupt

    monkeypatch.setattr(JoinedSession, "commit_all", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        load(db)
    assert "which may have been done" in caught.value.__notes__[0]
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert outcomes(load(db)) == ["already-imported"] * 2


def test_a_server_without_room_for_the_locks_names_the_setting(db: Database, here: Path) -> None:
    with JoinedSession(db.dsn) as session:
        room = LockRoom(session, [f"t{n}" for n in range(100_000)])
        with pytest.raises(
            UsageError, match=r"100,000 imports in one transaction need 400,000 locks.*max_locks_per"
        ) as caught:
            room.check()
        assert "set max_locks_per_transaction = " in str(caught.value.choice)
        LockRoom(session, ["t"] * 500).check()
        full = DatabaseError("out of shared memory", sqlstate="53200")
        room.advise(full)
        assert "max_locks_per_transaction" in str(full.choice)
        session.close_all()


def test_rejects_that_cannot_be_written_do_not_undo_what_is_committed(
    db: Database, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails behind the commit: all is published, the report says so, and the same command writes them."""
    save(here / "b.xlsx", ["id", "v"], [3, "z"], ["four", "w"])

    def full(*_: object) -> None:
        raise MachineError("the machine refused: No space left on device", place="/tmp")

    with monkeypatch.context() as patched:
        patched.setattr("importer.batch.execution.together.open_workspace", full)
        report = load(db, types="id=integer")
    assert (outcomes(report), report.exit_code, ids(db)) == (["published"] * 2, 1, [1, 2, 3])
    notes = report.reports[1].report["notes"]
    assert any(f"importer runs {report.reports[1].report['run']['id']} --rejects FILE" in note for note in notes)
    again = load(db, types="id=integer")
    assert outcomes(again) == ["already-imported"] * 2
    assert Path(str(again.reports[1].rejects_file)).exists()
