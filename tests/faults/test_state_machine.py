"""Any history of runs, kills, reruns, other writers, altered tables and restarts: the tables are what a plain model says.

The model applies whole imports one after the other. Where a run was killed it says whether that was before or after the
commit, because the run waits at the statement that it is killed at.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, cast

import hypothesis
import openpyxl
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.asking import held_session
from support.faults import SECONDS, Server, kill_tree, own_server, wait_for_backends
from support.stepping import SteppingWire
from support.tables import save
from support.warm import Template

from importer import import_workbook
from importer.errors import BudgetExceeded, ImporterError
from importer.ledger.history import clean, forget, set_up
from importer.postgres.session import Session
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.fault_report import Injected

    from importer.report.model import Report

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

#: Tables that are always there; table `n` is made by the mode `create`.
TABLES = {
    "t": "create table t (number bigint, name text)",
    "k": "create table k (number bigint primary key, name text)",
}
BAD = "abc"
#: Rows of a workbook: few numbers, so that keys meet; a few cells that are no number.
ROWS = st.lists(
    st.tuples(st.integers(1, 9) | st.just(BAD), st.sampled_from(["x", "yy", "zzz"])), min_size=1, max_size=6
)
LOADS = st.sampled_from([
    ("t", "append"), ("t", "append"), ("t", "replace"), ("k", "append"), ("k", "upsert"), ("k", "replace"), ("n", "create"),
])  # fmt: skip
KILLS = ("stage", "verify", "ledger", "commit", "after")


class History(RuleBasedStateMachine):
    """The rules; `server`, `template` and `folder` are set by the test."""

    server: ClassVar[Server]
    template: ClassVar[Template]
    folder: ClassVar[Path]
    counts: ClassVar[Counter[str]]
    _histories: ClassVar[Iterator[int]] = itertools.count()

    @initialize(rows=ROWS)
    def begin(self, rows: list[tuple[Any, str]]) -> None:
        self.home = self.folder / str(next(self._histories))
        (self.home / "spool").mkdir(parents=True)
        #: Table -> its rows as texts; `n` only while it is there.
        self.tables: dict[str, list[tuple[str, str]]] = {"t": [], "k": []}
        #: Table -> which one of that name it is.
        self.made = {"t": 0, "k": 0, "n": 0}
        #: Id of a published run -> its import, the table that it went to, and the name of its workbook; oldest first.
        self.published: dict[str, tuple[Any, int, str]] = {}
        #: Name of a workbook -> its rows.
        self.books: dict[str, list[tuple[Any, str]]] = {}
        #: Rejects file that was not mended yet -> table and mode of its run.
        self.rejected: dict[str, tuple[str, str]] = {}
        #: Ids of runs whose rejects file, if they had one, is not where they wrote it.
        self.lost: set[str] = set()
        #: Further files that belong to somebody.
        self.files: set[str] = set()
        self.numbers = itertools.count()
        #: Steps since the last run: of a history of writes alone there is nothing to learn.
        self.idle = 0
        #: Runs that were killed since the last `clean`.
        self.killed = 0
        with held_session(self.server.dsn, autocommit=True) as session:
            session.run("set client_min_messages = warning; drop schema if exists importer cascade")
            session.run("drop table if exists t, k, n")
            session.run("create schema importer; grant all on schema public to other")
            session.run("grant usage, create on schema importer to other")
            for statement in TABLES.values():
                session.run(statement)
            session.run("grant all on t, k to other")
        with Session(self.server.dsn) as session:
            # The ledger belongs to neither role alone: a superuser uses none that another role made.
            set_up(session)
            session.run("grant select, insert, update, delete on all tables in schema importer to other")
            session.commit()
        self.save_book("b0.xlsx", rows)

    # ---- WORKBOOKS ----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.idle < 2)
    @rule(rows=ROWS)
    def add_book(self, rows: list[tuple[Any, str]]) -> None:
        self.save_book(f"b{len(self.books)}.xlsx", rows)
        self.count("workbook")

    @precondition(lambda self: self.idle < 2)
    @rule(data=st.data(), rows=ROWS)
    def change_book(self, data: st.DataObject, rows: list[tuple[Any, str]]) -> None:
        self.save_book(self.draw_book(data), rows)
        self.count("workbook")

    def save_book(self, name: str, rows: list[tuple[Any, str]]) -> None:
        save(self.home / name, ["number", "name"], *[list(row) for row in rows])
        self.books[name] = rows

    def draw_book(self, data: st.DataObject) -> str:
        return str(data.draw(st.sampled_from(sorted(self.books)), "workbook"))

    # ---- RUNS ---------------------------------------------------------------------------------------------------

    @rule(
        data=st.data(), load=LOADS, role=st.sampled_from(["postgres", "postgres", "other"]),
        again=st.sampled_from([False, False, True]), budget=st.sampled_from([None, None, 0]),
        chunk_rows=st.sampled_from([None, 2]),
    )  # fmt: skip
    def run(
        self,
        data: st.DataObject,
        load: tuple[str, str],
        role: str,
        again: bool,
        budget: int | None,
        chunk_rows: int | None,
    ) -> None:
        options = {"again": again, "max_rejects": budget, "chunk_rows": chunk_rows}
        self.count(f"run {load[1]}")
        self.load(self.draw_book(data), load, role, **options)

    @precondition(lambda self: self.rejected)
    @rule(data=st.data())
    def mend(self, data: st.DataObject) -> None:
        """The rejects of a run, mended, are an import of their own."""
        file, load = data.draw(st.sampled_from(sorted(self.rejected.items())), "rejects")
        del self.rejected[file]
        path = self.home / f"mended-{file}"
        book = openpyxl.load_workbook(self.home / file)
        sheet = book.worksheets[0]
        names = [cell.value for cell in sheet[1]]
        for cells in sheet.iter_rows(min_row=2):
            cells[names.index("number")].value = 100 + next(self.numbers)
        rows = [
            (row[names.index("number")], row[names.index("name")])
            for row in sheet.iter_rows(min_row=2, values_only=True)
        ]
        book.save(path)
        self.books[path.name] = rows
        self.count("mended")
        self.load(path.name, load, "postgres")
        del self.books[path.name]
        self.files.add(path.name)

    def load(self, name: str, load: tuple[str, str], role: str, **options: Any) -> None:
        """One run in this process; the model follows."""
        before, rejects = self.newest(name, load), f"rejects-{next(self.numbers)}.xlsx"
        try:
            report: Report | None = import_workbook(
                self.home / name, to=self.dsn(role).text, table=load[0], mode=load[1], workers=0, retry_for=0,
                rejects=self.home / rejects, temp_dir=self.home / "spool", **options,
            )  # fmt: skip
        except ImporterError as exc:
            self.refused(name, load, exc, before, rejects=rejects, options=options)
            return
        assert report is not None
        if report.outcome == "already-imported":
            self.restored(rejects, before)
        self.finished(name, load, report.outcome, report.error_count, before, again=bool(options.get("again")))
        if report.outcome == "published" and report.error_count:
            self.files.add(rejects)
            if load[1] in {"append", "upsert"} and not name.startswith("mended"):
                self.rejected[rejects] = load

    def refused(
        self, name: str, load: tuple[str, str], exc: ImporterError, before: str | None, *, rejects: str, options: Any
    ) -> None:
        """A run that published nothing must have had a reason for it."""
        if isinstance(exc, BudgetExceeded):
            assert options.get("max_rejects") == 0 or self.empties(name, load)
            if cast("Report", exc.report).outcome == "already-imported":
                # The run that published it had the rejects, and their file.
                assert before is not None
                assert not options["again"]
                self.restored(rejects, before)
                return
            assert self.after(name, load)[1] > 0
            self.files.add(rejects)
        else:
            assert load == ("n", "create"), exc
            assert "n" in self.tables, exc

    def restored(self, rejects: str, before: str | None) -> None:
        """A run that had nothing to do writes the rejects of the run that did it, if their file is gone."""
        if (self.home / rejects).exists():
            assert before in self.lost
            self.files.add(rejects)

    def finished(
        self, name: str, load: tuple[str, str], outcome: str, errors: int, before: str | None, *, again: bool = False
    ) -> None:
        """The model after a run that did what it should."""
        table, mode = load
        after, rejected = self.after(name, load)
        if outcome == "already-imported":
            assert before is not None
            assert not again
            if mode == "replace":
                assert sorted(self.tables[table]) == sorted(after)
            return
        assert outcome == "published", outcome
        assert errors == rejected
        assert before is None or again or mode == "replace", "loaded twice"
        self.publish(name, load, after)

    def publish(self, name: str, load: tuple[str, str], after: list[tuple[str, str]]) -> None:
        table = load[0]
        if table not in self.tables:
            self.made[table] = next(self.numbers)
        self.tables[table] = after
        new = {run for (run,) in self.server.rows("select id::text from importer.runs where state = 'published'")}
        (run,) = new - set(self.published)
        self.published[run] = (self.key(name, load), self.made[table], name)

    def key(self, name: str, load: tuple[str, str]) -> Any:
        return (hashlib.sha256((self.home / name).read_bytes()).hexdigest(), load)

    def newest(self, name: str, load: tuple[str, str]) -> str | None:
        """The published run that makes one of this import unnecessary."""
        key = self.key(name, load)
        runs = [(run, made) for run, (its, made, _) in self.published.items() if its == key]
        there = load[0] in self.tables
        return runs[-1][0] if runs and there and runs[-1][1] == self.made[load[0]] else None

    def after(self, name: str, load: tuple[str, str]) -> tuple[list[tuple[str, str]], int]:
        """The rows of the table after that import, and how many rows of the workbook it rejects."""
        table, mode = load
        rows = [(str(number), text) for number, text in self.books[name]]
        if mode == "create":
            return rows, 0
        good = [row for row in rows if row[0] != BAD]
        old = [] if mode == "replace" else self.tables[table]
        if table == "t":
            return old + good, len(rows) - len(good)
        new = dict(reversed(good))
        if mode == "append":
            new = {number: text for number, text in new.items() if number not in dict(old)}
        return list((dict(old) | new).items()), len(rows) - len(new)

    def empties(self, name: str, load: tuple[str, str]) -> bool:
        """Whether the import would replace all rows by none."""
        return load[1] == "replace" and not self.after(name, load)[0]

    # ---- FAULTS -------------------------------------------------------------------------------------------------

    @rule(data=st.data(), load=LOADS, stop=st.sampled_from(KILLS))
    def kill(self, data: st.DataObject, load: tuple[str, str], stop: str) -> None:
        """kill -9 of all processes of a run when it is about to send a certain statement."""
        name, published = self.draw_book(data), set(self.published)
        before, killed = self.newest(name, load), []

        def on_stop(name: str) -> None:
            if stop == name:
                killed.append(stop)
                kill_tree(running)
                raise ConnectionError

        with SteppingWire(self.server.port, on_stop) as wire:
            dsn = self.server.dsn.text.replace(f":{self.server.port}/", f":{wire.port}/")
            words = ["run", self.home / name, "--to", dsn, "--table", load[0], "--mode", load[1], "--workers", "0"]
            elsewhere = self.home / "spool" / "killed"
            elsewhere.mkdir()
            with self.template.started(*words, "--json", "--retry-for", "0", cwd=elsewhere) as running:
                ran = running.finish(SECONDS)
            shutil.rmtree(elsewhere)
        wait_for_backends(self.server)
        self.count(f"kill at {stop}" if killed else "kill too late")
        self.killed += bool(killed)
        if killed and stop != "after":
            return
        if killed:
            self.publish(name, load, self.after(name, load)[0])
        elif ran.code == 5:
            assert self.empties(name, load), ran
        elif ran.code not in {0, 1}:
            assert (load, "n" in self.tables) == (("n", "create"), True), ran
        else:
            self.finished(name, load, ran.json["outcome"], ran.json["stats"]["error_count"], before)
        self.lost |= set(self.published) - published

    @precondition(lambda self: self.idle < 2)
    @rule(how=st.sampled_from(["fast", "immediate"]))
    def restart(self, how: str) -> None:
        self.count(f"restart {how}")
        self.server.stop(how)
        self.server.start()
        for role, alone in (("postgres", True), ("postgres", False), ("other", True)):
            with contextlib.suppress(ImporterError), held_session(self.dsn(role), autocommit=alone) as session:
                session.query("select 1")

    # ---- OTHERS -------------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def forget_run(self, data: st.DataObject) -> None:
        with Session(self.server.dsn) as session:
            if session.value("select to_regclass('importer.runs')::text") is None:
                return
            # Not by id, which is another one each time that a history is repeated.
            runs = [run for (run,) in session.query("select id::text from importer.runs order by started_at")]
            if not runs:
                return
            run = data.draw(st.integers(0, len(runs) - 1).map(lambda n: runs[n]), "run")
            forget(session, run)
        self.published.pop(run, None)
        self.count("forget")

    @precondition(lambda self: self.killed)
    @rule()
    def clean_up(self) -> None:
        with Session(self.server.dsn) as session:
            clean(session)
        assert self.server.staging() == []
        self.killed = 0
        self.count("clean")

    @precondition(lambda self: self.idle < 2)
    @rule(table=st.sampled_from(sorted(TABLES)), number=st.integers(1, 9), delete=st.booleans())
    def write(self, table: str, number: int, delete: bool) -> None:
        """Another role writes to the table."""
        rows = self.tables[table]
        if not delete and table == "k" and str(number) in dict(rows):
            return
        with held_session(self.dsn("other"), autocommit=True) as session:
            if delete:
                session.run(f"delete from {table} where number = {number}")
                self.tables[table] = [row for row in rows if row[0] != str(number)]
            else:
                session.run(f"insert into {table} (number, name) values ({number}, 'w')")
                self.tables[table] = [*rows, (str(number), "w")]
        self.count("write")

    @precondition(lambda self: self.idle < 2)
    @rule(table=st.sampled_from(sorted(TABLES)), change=st.sampled_from(["add", "type", "index", "again", "rename"]))
    def alter(self, table: str, change: str) -> None:
        """Somebody alters the table, or puts another one in its place."""
        statements = {
            "add": f"alter table {table} add more_{next(self.numbers)} text",
            "type": f"alter table {table} alter number type numeric(9)",
            "index": f"create index on {table} (name)",
            "again": f"drop table {table}; {TABLES[table]}; grant all on {table} to other",
            "rename": f"alter table {table} rename to old; create table {table} (like old including all); "
                      f"insert into {table} select * from old; drop table old; grant all on {table} to other",
        }  # fmt: skip
        with held_session(self.server.dsn, autocommit=True) as session:
            for statement in statements[change].split("; "):
                session.run(statement)
        if change in {"again", "rename"}:
            self.made[table] = next(self.numbers)
        if change == "again":
            self.tables[table] = []
        self.count(f"alter {change}")

    @precondition(lambda self: "n" in self.tables)
    @rule()
    def drop(self) -> None:
        with held_session(self.server.dsn, autocommit=True) as session:
            session.run("drop table n")
        del self.tables["n"]
        self.count("drop")

    # ---- WHAT HOLDS ---------------------------------------------------------------------------------------------

    def dsn(self, role: str) -> Dsn:
        return Dsn(self.server.dsn.text.replace("postgres@", f"{role}@"))

    def count(self, what: str) -> None:
        self.counts[what] += 1
        self.idle = 0 if what.startswith(("run", "kill", "mend")) else self.idle + 1

    @invariant()
    def tables_are_as_if_imports_were_serial(self) -> None:
        for table in ("t", "k", "n"):
            if self.server.rows(f"select to_regclass('public.{table}')::text") == [(None,)]:
                assert table not in self.tables
                continue
            found = self.server.rows(f"select number::text, name::text from {table} order by 1, 2")
            assert found == sorted(self.tables[table]), table

    @invariant()
    def ledger_agrees(self) -> None:
        if self.server.rows("select to_regclass('importer.runs')::text") == [(None,)]:
            assert not self.published
            return
        found = self.server.rows("select id::text, workbook from importer.runs where state = 'published'")
        assert sorted(found) == sorted((run, name) for run, (_, _, name) in self.published.items())
        assert self.server.rows(
            "select count(*) from importer.chunks c left join importer.runs r on r.id = c.run where r.id is null"
        ) == [(0,)]

    @invariant()
    def no_staging_without_a_run(self) -> None:
        if self.server.rows("select to_regclass('importer.runs')::text") == [(None,)]:
            assert self.server.staging() == []
            return
        runs = self.server.rows("select staging from importer.runs where state <> 'published' and staging is not null")
        assert set(self.server.staging()) <= {name for (name,) in runs}

    @invariant()
    def no_file_without_an_owner(self) -> None:
        assert list((self.home / "spool").iterdir()) == []
        assert {path.name for path in self.home.iterdir()} == {*self.books, *self.files, "spool"}


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with own_server() as made:
        made.run("create role other login")
        yield made


@pytest.fixture
def template() -> Iterator[Template]:
    with Template() as made:
        yield made


@pytest.mark.timeout(36_000)
def test_any_history(
    own: Server, template: Template, tmp_path: Path, injected: Injected, request: pytest.FixtureRequest
) -> None:
    long = request.config.getoption("--long")
    many = request.config.getoption("--moments") or (300 if long else 4)
    counts: Counter[str] = Counter()
    machine = type("Machine", (History,), {"server": own, "template": template, "folder": tmp_path, "counts": counts})
    # To shorten a history that failed takes many of them.
    phases = tuple(hypothesis.Phase) if long else (hypothesis.Phase.generate,)
    settings = hypothesis.settings(max_examples=many, stateful_step_count=30 if long else 12, phases=phases)
    run_state_machine_as_test(machine, settings=settings)
    print(f"{many} histories, {sum(counts.values())} steps: {dict(sorted(counts.items()))}")
    injected.moments = f"{many} histories of {sum(counts.values())} steps"
    injected.kinds.update({step: n for step, n in counts.items() if step.startswith(("kill at", "restart"))})
