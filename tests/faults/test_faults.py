"""Runs that are killed, cut off, crowded and starved: the same command again ends in one clean load, and nothing between.

Every test prints its seed: `--seed N` repeats it. `--long` tries sixty moments of each kind
instead of a few, `--moments N` as many as you like.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.asking import user_session
from support.commandline import Ran, Running, importer
from support.faults import (
    SECONDS,
    CommitChosen,
    Server,
    finished,
    importing,
    kill_tree,
    own_server,
    small_disk,
    wait_for_backends,
    watching,
)
from support.holding import holding
from support.rawbook import inline, number, row, write_rows
from support.wire import Fault, Wire

from importer.errors import ImporterError
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.fault_report import Injected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

ROWS, CHUNK_ROWS = 6_000, 500
#: All chunks that a clean run writes: the head of the sheet is one of its own.
CHUNKS = ROWS // CHUNK_ROWS
OPTIONS = ("--chunk-rows", CHUNK_ROWS, "--json")
#: What a worker sends for each chunk, a session for each change, and the run's own to publish.
COPY, COMMIT, PUBLISH = 'COPY "importer"', "COMMIT", "DELETE FROM importer.rejects k USING"
#: What the methods for comparison send for each row.
INSERT = 'INSERT INTO "importer"'
STATE = "select count(*) as n, coalesce(sum(number), 0)::text as s, count(distinct city) as c from t"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_book(tmp_path_factory.mktemp("faults") / "orders.xlsx", 1)


def make_book(path: Path, first: int, rows: int = ROWS) -> Path:
    head = row(1, inline("A1", "number"), inline("B1", "name"), inline("C1", "city"))
    body = "".join(
        row(n, number(f"A{n}", first + n - 2), inline(f"B{n}", f"name {n} {'x' * 40}"), inline(f"C{n}", f"c{n % 7}"))
        for n in range(2, rows + 2)
    )
    return write_rows(path, head + body, name="Orders")


PLAIN = "create table t (number bigint, name text, city text)"
KEYED = (
    "create table t (number bigint primary key check (number > -10), name text not null, "
    "city varchar(9) references cities, unique (name, number))"
)
CITIES = "insert into cities select 'c' || n from generate_series(0, 6) n"
#: Scenario -> mode, statements that make the table, its rows before, and after one clean load.
OLD = (2, "-3", 1)
SCENARIOS: dict[str, tuple[str, list[str], Any, Any]] = {
    "append": ("append", [PLAIN, "insert into t values (-1, 'a', 'c0'), (-2, 'b', 'c0')"], OLD,
               (ROWS + 2, str(ROWS * (ROWS + 1) // 2 - 3), 7)),
    "constraints": ("append", [KEYED, "insert into t values (-1, 'a', 'c0'), (-2, 'b', 'c0')"], OLD,
                    (ROWS + 2, str(ROWS * (ROWS + 1) // 2 - 3), 7)),
    "replace": ("replace", [PLAIN, "insert into t values (-1, 'a', 'c0'), (-2, 'b', 'c0')"], OLD,
                (ROWS, str(ROWS * (ROWS + 1) // 2), 7)),
    "upsert": ("upsert", [KEYED, "insert into t values (-1, 'a', 'c0'), (-2, 'b', 'c0'), (5, 'old', 'c1')"],
               (3, "2", 2), (ROWS + 2, str(ROWS * (ROWS + 1) // 2 - 3), 7)),
    "create": ("create", [], None, (ROWS, str(ROWS * (ROWS + 1) // 2), 7)),
}  # fmt: skip


def reset(own: Server, scenario: str = "append") -> None:
    """The table as it was before, and an empty ledger."""
    own.run(
        "drop table if exists t",
        "drop schema if exists importer cascade",
        "create table if not exists cities (city text primary key)",
        "delete from cities",
        CITIES,
        *SCENARIOS[scenario][1],
    )


def assert_one_load(own: Server, scenario: str = "append") -> None:
    """The table is that of one clean load, the ledger has one published run and nothing else, and no staging is left."""
    assert own.rows(STATE) == [SCENARIOS[scenario][3]]
    assert own.rows(
        "select count(*) from t where number > 0 and name = 'name ' || number + 1 || ' ' || repeat('x', 40)"
    ) == [(ROWS,)]
    assert own.rows("select state, count(*) from importer.runs group by 1") == [("published", 1)]
    assert own.staging() == []


def run_on(own: Server, book: Path, scenario: str = "append", tries: int = 5, **more: Any) -> Ran:
    """The same command, again until it succeeds."""
    for _ in range(tries):
        ran = finished(own, book, *OPTIONS, mode=SCENARIOS[scenario][0], **more)
        assert "Traceback" not in ran.err
        if ran.code == 0:
            return ran
    raise AssertionError(ran)


def ledger(own: Server, sql: str, default: Any) -> Any:
    """An answer of the ledger, or the default while there is none."""
    with contextlib.suppress(ImporterError):
        found = own.rows(sql)
        return found[0][0] if found else default
    return default


def written(own: Server) -> int:
    return int(ledger(own, "select count(*) from importer.chunks", 0))


def stage_of(own: Server) -> str:
    """How far a killed run had come."""
    state = ledger(own, "select state from importer.runs", "none")
    return {"none": "before writing", "published": "behind publishing"}.get(state, f"with {written(own)} chunks")


@contextlib.contextmanager
def locked_table(own: Server) -> Iterator[None]:
    """The target, held by somebody else: publishing waits for it."""
    with user_session(own.dsn) as session:
        session.run("LOCK TABLE t IN SHARE MODE")
        yield
        with contextlib.suppress(ImporterError):
            session.rollback()


def is_publishing(own: Server) -> bool:
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query !~ 'pg_stat_activity'"
    return bool(own.rows(waiting)[0][0])


# ---- KILL -9 ----------------------------------------------------------------------------------------------------


def kill_point(chance: random.Random) -> tuple[str, int]:
    """A statement that every run comes to, and which of those."""
    return chance.choice([(COPY, chance.randrange(CHUNKS) + 1), (COMMIT, chance.randrange(CHUNKS) + 1), (PUBLISH, 1)])


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_moment(
    own: Server, book: Path, scenario: str, seed: int, injected: Injected, times: Callable[[int], int]
) -> None:
    """kill -9 of the whole tree; a reader sees the old rows or the new ones, and the next run makes one clean load."""
    chance = random.Random(seed)
    mode, _, old, new = SCENARIOS[scenario]
    seen_stages = []
    injected.moments = "a statement that the run is held at"
    for _ in range(times(1)):
        reset(own, scenario)
        point = kill_point(chance)
        with watching(own, STATE) as seen:
            with holding(own, *point) as (wire, dsn), importing(own, book, *OPTIONS, mode=mode, dsn=dsn) as running:
                wire.wait(running)
                kill_tree(running)
            seen_stages.append(stage_of(own))
            run_on(own, book, scenario)
        assert seen in ([old, new], [new], [old], [])
        assert_one_load(own, scenario)
        injected.kinds["kill"] += 1
    print(f"{scenario}: killed {', '.join(seen_stages)}")


def test_resume_keeps_what_was_written(own: Server, book: Path, seed: int) -> None:
    """Chunks that are in staging are not written again; the run keeps its id."""
    reset(own)
    chance = random.Random(seed)
    wanted = chance.randrange(3, CHUNKS)
    with locked_table(own), importing(own, book, *OPTIONS) as running:
        running.wait_for(lambda: written(own) >= wanted)
        kill_tree(running)
    wait_for_backends(own)
    kept, rows = own.rows("select count(*), sum(rows)::int8 from importer.chunks")[0]
    run = own.rows("select id::text from importer.runs")[0][0]
    ran = run_on(own, book)
    assert (ran.json["run"]["resumed_rows"], ran.json["run"]["id"]) == (rows, run)
    assert kept >= wanted
    assert_one_load(own)


def test_changed_chunks_do_not_mix(own: Server, book: Path) -> None:
    """Another plan of chunks cannot use what is there; it begins from nothing."""
    reset(own)
    with locked_table(own), importing(own, book, *OPTIONS) as running:
        running.wait_for(lambda: written(own) >= 3)
        kill_tree(running)
    ran = finished(own, book, "--chunk-rows", 1500, "--json")
    assert (ran.code, ran.json["run"]["resumed_rows"]) == (0, 0)
    assert_one_load(own)


def test_changed_workbook_does_not_mix(own: Server, book: Path, tmp_path: Path) -> None:
    """A file of the same name with other rows is another import; what the dead one left goes with its success."""
    reset(own)
    with locked_table(own), importing(own, book, *OPTIONS) as running:
        running.wait_for(lambda: written(own) >= 3)
        kill_tree(running)
    other = make_book(tmp_path / book.name, 5, 100)
    assert finished(own, other, "--json").code == 0
    assert own.rows("select count(*), min(number), max(number) from t where number > 0") == [(100, 5, 104)]
    assert own.staging() == []


def test_one_worker_killed(own: Server, book: Path, seed: int, injected: Injected, times: Callable[[int], int]) -> None:
    """Its chunk is written by a fresh worker, once."""
    chance = random.Random(seed)
    injected.moments = "a COPY that the run is held at"
    for _ in range(times(1)):
        reset(own)
        chunk = chance.randrange(1, CHUNKS + 1)
        with holding(own, COPY, chunk) as (wire, dsn), importing(own, book, *OPTIONS, dsn=dsn) as running:
            wire.wait(running)
            writer = wire.owner(running)
            assert writer is not None
            writer.kill()
            wire.release()
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own)
        injected.kinds["kill-one"] += 1


@pytest.mark.parametrize("method", ["sequential", "concurrent"])
def test_killed_in_the_middle_of_a_chunk(own: Server, tmp_path: Path, method: str) -> None:
    """An INSERT per row leaves half a chunk: staging is made anew."""
    reset(own)
    path = make_book(tmp_path / "few.xlsx", 1, 900)
    with (
        holding(own, INSERT, 500) as (wire, dsn),
        importing(own, path, "--method", method, "--chunk-rows", 200, dsn=dsn) as running,
    ):
        wire.wait(running)
        kill_tree(running)
    wait_for_backends(own)
    ran = finished(own, path, "--method", method, "--chunk-rows", 200, "--json")
    assert ran.code == 0
    assert own.rows("select count(*), count(distinct number) from t where number > 0") == [(900, 900)]
    assert own.staging() == []


# ---- THE SERVER FAILS -------------------------------------------------------------------------------------------


@pytest.mark.timeout(3600)
def test_sessions_terminated(
    own: Server, book: Path, seed: int, injected: Injected, times: Callable[[int], int]
) -> None:
    """An administrator ends a random session of the run: the run goes on over a new one."""
    chance = random.Random(seed)
    injected.moments = "a COPY that the run is held at"
    ours = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> 'tests'"
    for _ in range(times(2)):
        reset(own)
        chunk = chance.randrange(1, CHUNKS + 1)
        with (
            holding(own, COPY, chunk) as (wire, dsn),
            importing(own, book, *OPTIONS, dsn=dsn) as running,
            user_session(own.dsn, autocommit=True) as session,
        ):
            wire.wait(running)
            pids = [pid for (pid,) in session.query(ours)]
            session.query("select pg_terminate_backend($1::int)", [chance.choice(pids)])
            wire.release()
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own)
        injected.kinds["session terminated"] += 1


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", ["append", "create"])
def test_server_crashes_and_comes_back(
    own: Server, book: Path, scenario: str, seed: int, injected: Injected, times: Callable[[int], int]
) -> None:
    """A crash empties unlogged tables; the run waits for the server, and writes again what is gone."""
    chance = random.Random(seed)
    injected.moments = "a COPY that the run is held at"
    for _ in range(times(1)):
        reset(own, scenario)
        with (
            holding(own, COPY, chance.randrange(1, CHUNKS + 1)) as (wire, dsn),
            importing(own, book, *OPTIONS, mode=SCENARIOS[scenario][0], dsn=dsn) as running,
        ):
            wire.wait(running)
            own.stop("immediate")
            wire.release()
            own.start()
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own, scenario)
        injected.kinds["crash of the server"] += 1


def test_server_away_for_too_long(own: Server, book: Path) -> None:
    """Nothing is published; the message says what to do; later the same command does it."""
    reset(own)
    with locked_table(own), importing(own, book, *OPTIONS, "--retry-for", 1) as running:
        running.wait_for(lambda: is_publishing(own))
        own.stop("immediate")
        try:
            ran = running.finish(SECONDS)
        finally:
            own.start()
    assert ran.code == 4
    assert ran.json["error"]["type"] == "ConnectionFailed"
    assert "run the same command again" in ran.json["error"]["choice"]
    assert own.rows(STATE) == [OLD]
    run_on(own, book)
    assert_one_load(own)


# ---- THE WIRE IS CUT --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["before", "answer"])
@pytest.mark.parametrize("what", ["chunk", "publish"])
@pytest.mark.parametrize("scenario", ["append", "create"])
def test_connection_cut_at_a_commit(own: Server, book: Path, what: str, how: str, scenario: str) -> None:
    """Between COPY and COMMIT nothing was written; between COMMIT and its answer all was: the ledger tells."""
    reset(own, scenario)
    fault = Fault("cut-before", when=CommitChosen(chunk=what == "chunk", how=how))
    with Wire(own.port, fault) as wire:
        dsn = Dsn(own.dsn.text.replace(f":{own.port}/", f":{wire.port}/"))
        ran = finished(own, book, *OPTIONS, mode=SCENARIOS[scenario][0], dsn=dsn)
    assert (fault.hit is not None, ran.code) == (True, 0), ran
    assert_one_load(own, scenario)
    # The run itself published them, whatever it heard of that.
    assert (ran.json["outcome"], ran.json["stats"]["success_count"]) == ("published", ROWS)


# ---- NO SPACE ---------------------------------------------------------------------------------------------------


def test_disk_of_the_server_full(book: Path) -> None:
    """Nothing is published; with space again, the same command does it."""
    with small_disk("200m") as disk, own_server(disk) as own:
        reset(own)
        ballast = disk / "ballast"
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        ballast.write_bytes(bytes(free - (1 << 20)))
        ran = finished(own, book, *OPTIONS, "--retry-for", 1)
        assert ran.code == 4, ran
        ballast.unlink()
        with contextlib.suppress(Exception):
            own.start()  # without space for its log a server stops altogether
        assert own.rows(STATE) == [OLD]
        run_on(own, book)
        assert_one_load(own)


def test_disk_of_the_spool_full(own: Server, book: Path) -> None:
    reset(own)
    with small_disk("400k") as disk:
        ran = finished(own, book, *OPTIONS, "--temp-dir", disk)
    assert ran.code == 4, ran
    assert own.rows(STATE) == [OLD]
    run_on(own, book)
    assert_one_load(own)


# ---- MANY AT ONCE -----------------------------------------------------------------------------------------------


def waits_for_other(running: Running) -> bool:
    return "the same import is under way" in (running.temp.parent / "err").read_text()


@pytest.mark.parametrize("runs", [2, 8])
def test_same_workbook_many_times_at_once(own: Server, book: Path, runs: int) -> None:
    """One loads, the others wait for it and have nothing to do."""
    reset(own)
    with contextlib.ExitStack() as stack:
        with locked_table(own):
            started = [stack.enter_context(importing(own, book, *OPTIONS, "--workers", 1)) for _ in range(runs)]
            # One waits for the table, and all others for that one.
            started[0].wait_for(lambda: is_publishing(own) and sum(map(waits_for_other, started)) == runs - 1)
        ended = [running.finish(SECONDS) for running in started]
    assert [ran.code for ran in ended] == [0] * runs, ended
    assert sorted(ran.json["outcome"] for ran in ended) == ["already-imported"] * (runs - 1) + ["published"]
    assert_one_load(own)


@pytest.mark.parametrize("scenario", ["append", "create"])
def test_eight_workbooks_into_one_table(own: Server, tmp_path: Path, scenario: str) -> None:
    """All rows, whether the table is there or the first of them makes it."""
    reset(own, scenario)
    books = [make_book(tmp_path / f"b{n}.xlsx", 1 + 1000 * n, 1000) for n in range(8)]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(importing(own, path, "--json", "--workers", 1)) for path in books]
        ended = [running.finish(SECONDS) for running in started]
    assert [ran.code for ran in ended] == [0] * 8, ended
    assert own.rows("select count(*), count(distinct number), sum(number)::text from t where number > 0") == [
        (8000, 8000, str(8000 * 8001 // 2))
    ]
    assert own.staging() == []


# ---- STAGING IS WRONG -------------------------------------------------------------------------------------------


def test_corrupted_staging_is_caught(own: Server, book: Path) -> None:
    """A wrong value in staging, as many rows as before: verification finds it, and the next try begins from nothing."""
    reset(own)
    with locked_table(own), importing(own, book, *OPTIONS) as running:
        running.wait_for(lambda: written(own) >= CHUNKS)
        kill_tree(running)
    wait_for_backends(own)
    (staging,) = own.staging()
    changed = f"update importer.{staging} set city = 'c9' where number = (select min(number) from importer.{staging})"
    own.run(changed)
    ran = finished(own, book, *OPTIONS)
    assert (ran.code, ran.json["error"]["type"]) == (4, "VerificationFailed")
    assert own.rows(STATE) == [OLD]
    run_on(own, book)
    assert_one_load(own)


# ---- STOPPED ON PURPOSE -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_a_statement(own: Server, book: Path, signal_number: int) -> None:
    """It ends although the table stays locked; all that was written is taken over by the next run."""
    reset(own)
    with locked_table(own), importing(own, book, *OPTIONS) as running:
        running.wait_for(lambda: is_publishing(own))
        running.process.send_signal(signal_number)
        ran = running.finish(SECONDS)
        assert not is_publishing(own)
    assert ran.code == 128 + signal_number
    assert "run the same command again: it goes on where this one stopped" in ran.err
    assert own.rows("select state from importer.runs") == [("interrupted",)]
    assert run_on(own, book).json["run"]["resumed_rows"] == ROWS
    assert_one_load(own)


def test_timeout_bounds_the_run(own: Server, book: Path) -> None:
    """It ends although the table stays locked."""
    reset(own)
    with locked_table(own):
        ran = finished(own, book, *OPTIONS, "--timeout", 4)
    assert (ran.code, ran.json["error"]["type"]) == (4, "TimedOut")
    assert own.rows(STATE) == [OLD]
    run_on(own, book)
    assert_one_load(own)


# ---- THE LEDGER AS USERS SEE IT ---------------------------------------------------------------------------------


def ledger_command(own: Server, *arguments: str) -> Any:
    ran = importer("runs", *arguments, "--to", own.dsn.text, "--json")
    assert ran.code == 0, ran
    return json.loads(ran.out)


def test_dead_run_is_listed_cleaned_and_forgotten(own: Server, book: Path) -> None:
    reset(own)
    with locked_table(own), importing(own, book, *OPTIONS) as running:
        running.wait_for(lambda: written(own) >= 2)
        assert [run["state"] for run in ledger_command(own)["runs"]] == ["running"]
        assert ledger_command(own, "clean") == {"dropped": []}
        kill_tree(running)
    wait_for_backends(own)
    (staging,) = own.staging()
    listed = ledger_command(own)
    (run,) = listed["runs"]
    assert (run["state"], run["workbook"], run["staging"]) == ("died", book.name, staging)
    assert [each["table"] for each in listed["leftovers"]] == [staging]
    shown = ledger_command(own, run["id"][:8])
    assert len(shown["chunks"]) >= 2
    assert ledger_command(own, "clean") == {"dropped": [staging]}
    assert (own.staging(), written(own)) == ([], 0)
    assert ledger_command(own, run["id"])["state"] == "interrupted"
    run_on(own, book)
    assert_one_load(own)
    assert finished(own, book, *OPTIONS).json["outcome"] == "already-imported"
    assert ledger_command(own, "forget", run["id"]) == {"forgotten": run["id"]}
    assert finished(own, book, *OPTIONS).json["outcome"] == "published"
