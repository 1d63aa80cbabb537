"""Runs that write straight into their table, killed and cut off: its readers see none of it, the next run all of it, once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support import faults
from support.commandline import Ran, importer
from support.faults import (
    SECONDS,
    CommitChosen,
    Server,
    kill_tree,
    own_server,
    small_disk,
    wait_for_backends,
    watching,
)
from support.holding import holding
from support.rawbook import inline, number, row, write_rows
from support.wire import Fault, Wire

from importer.load.direct_copy import DIRECT_BYTES
from importer.postgres.session import Session
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.fault_report import Injected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

#: More than `DIRECT_BYTES` of XML; smaller sheets go over staging.
BIG_ROWS, FILLER = 90_000, "x" * 1_450
#: What all sheets are big enough for.
SMALL = ("-c", "import importer.load.direct_copy as d; d.DIRECT_BYTES = 0; from importer.__main__ import main; main()")
ROWS, CHUNK_ROWS = 6_400, 200
CHUNKS = ROWS // CHUNK_ROWS
OPTIONS = ("--chunk-rows", CHUNK_ROWS, "--json")
STATE = "select count(*), coalesce(sum(number), 0)::text, count(id) from t"
OLD = (2, "-3", 2)


def new(rows: int) -> tuple[int, str, int]:
    """The state after so many rows."""
    return rows + 2, str(rows * (rows + 1) // 2 - 3), rows + 2


NEW = new(ROWS)
#: What the run's session sends for each chunk, and to publish.
COPY, PUBLISH = 'COPY "public"', "DELETE FROM importer.rejects k USING"
importing, finished = partial(faults.importing, program=SMALL), partial(faults.finished, program=SMALL)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_book(tmp_path_factory.mktemp("direct") / "orders.xlsx", ROWS)


def make_book(path: Path, rows: int, first: int = 1) -> Path:
    head = row(1, inline("A1", "number"), inline("B1", "name"))
    body = "".join(
        row(n, number(f"A{n}", first + n - 2), inline(f"B{n}", f"name {first + n - 2} {FILLER}"))
        for n in range(2, rows + 2)
    )
    assert rows < BIG_ROWS or len(body) > DIRECT_BYTES
    return write_rows(path, head + body, name="Orders")


def reset(own: Server) -> None:
    """The table as it was before, and an empty ledger."""
    own.run(
        "drop table if exists t",
        "drop schema if exists importer cascade",
        "create table t (id bigint generated always as identity primary key, number bigint, name text)",
        "insert into t (number, name) values (-1, 'a'), (-2, 'b')",
    )


def assert_one_load(own: Server, way: str | None = None, rows: int = ROWS) -> None:
    """The table is that of one clean load, and the ledger has one published run and nothing else."""
    assert own.rows(STATE) == [new(rows)]
    assert own.rows(
        "select count(*) from t where number > 0 and name = 'name ' || number || ' ' || repeat('x', 1450)"
    ) == [(rows,)]
    assert own.rows("select state, count(*) from importer.runs group by 1") == [("published", 1)]
    assert own.staging() == []
    if way is not None:
        ways = "select distinct split_part(staging, '_', 1) from importer.chunks"
        assert own.rows(ways) == [(way,)]


def run_on(own: Server, book: Path) -> Ran:
    """The same command, again until it succeeds."""
    for _ in range(5):
        ran = finished(own, book, *OPTIONS)
        assert "Traceback" not in ran.err
        if ran.code == 0:
            return ran
    raise AssertionError(ran)


def test_it_is_the_direct_way(own: Server, tmp_path: Path) -> None:
    """A sheet that is big enough, by the program as it is."""
    reset(own)
    path = make_book(tmp_path / "big.xlsx", BIG_ROWS)
    with watching(own, STATE) as seen:
        ran = faults.finished(own, path, "--chunk-rows", 3_000, "--json")
    assert (ran.code, ran.json["run"]["resumed_rows"]) == (0, 0)
    assert seen in ([OLD, new(BIG_ROWS)], [new(BIG_ROWS)], [OLD])
    assert_one_load(own, "direct", BIG_ROWS)


def points(chance: random.Random, few: int) -> list[tuple[str, int]]:
    """Statements that a run is held at: chunks, and every third time the one that publishes."""
    return [(PUBLISH, 1) if n % 3 == 2 else (COPY, chance.randrange(1, CHUNKS + 1)) for n in range(few)]


@pytest.mark.timeout(3600)
def test_killed_at_any_point(
    own: Server, book: Path, seed: int, injected: Injected, times: Callable[[int], int]
) -> None:
    """kill -9 of the whole tree; what was copied is gone, and the next run begins anew, over staging."""
    injected.moments = "a statement that the run is held at"
    for point in points(random.Random(seed), times(1)):
        reset(own)
        with watching(own, STATE) as seen:
            with holding(own, *point) as (wire, dsn), importing(own, book, *OPTIONS, dsn=dsn) as running:
                wire.wait(running)
                kill_tree(running)
            run_on(own, book)
        assert seen in ([OLD, NEW], [NEW], [OLD])
        assert_one_load(own, "stage")
        injected.kinds["kill"] += 1


def test_one_worker_killed(own: Server, book: Path, seed: int, injected: Injected, times: Callable[[int], int]) -> None:
    """Its window is read by a fresh worker, once, whether it was read already, or waited for, or begun."""
    chance = random.Random(seed)
    injected.moments = "a COPY that the run is held at"
    for _ in range(times(1)):
        reset(own)
        # Few windows are read ahead of the one that is written.
        with (
            holding(own, COPY, chance.randrange(1, 9)) as (wire, dsn),
            importing(own, book, *OPTIONS, dsn=dsn) as running,
        ):
            wire.wait(running)
            chance.choice(running.workers()).kill()
            wire.release()
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own, "direct")
        injected.kinds["kill-one"] += 1


@pytest.mark.timeout(3600)
def test_sessions_terminated(
    own: Server, book: Path, seed: int, injected: Injected, times: Callable[[int], int]
) -> None:
    """An administrator ends the session that writes: the chunks go over staging, in the same run."""
    writer = "select pg_terminate_backend(pid) from pg_locks where locktype = 'transactionid' and granted and mode = 'ExclusiveLock'"
    injected.moments = "a statement that the run is held at"
    for point in points(random.Random(seed), times(1)):
        reset(own)
        with holding(own, *point) as (wire, dsn), importing(own, book, *OPTIONS, dsn=dsn) as running:
            wire.wait(running)
            assert own.rows(writer) == [(True,)]
            wire.release()
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own, "stage")
        injected.kinds["session terminated"] += 1


def test_server_crashes_and_comes_back(
    own: Server, book: Path, seed: int, injected: Injected, times: Callable[[int], int]
) -> None:
    injected.moments = "a statement that the run is held at"
    for point in points(random.Random(seed), times(1)):
        reset(own)
        with holding(own, *point) as (wire, dsn), importing(own, book, *OPTIONS, dsn=dsn) as running:
            wire.wait(running)
            own.stop("immediate")
            wire.release()
            own.start()
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own)
        injected.kinds["crash of the server"] += 1


@pytest.mark.parametrize("how", ["before", "answer"])
def test_connection_cut_at_the_commit(own: Server, book: Path, how: str) -> None:
    """Before the commit nothing is there; behind it all is, whether its answer came or not: the ledger tells."""
    reset(own)
    fault = Fault("cut-before", when=CommitChosen(chunk=False, how=how))
    with Wire(own.port, fault) as wire:
        ran = finished(own, book, *OPTIONS, dsn=Dsn(own.dsn.text.replace(f":{own.port}/", f":{wire.port}/")))
    assert (fault.hit is not None, ran.code) == (True, 0), ran
    assert_one_load(own, "direct" if how == "answer" else "stage")


def test_disk_of_the_server_full(book: Path) -> None:
    with small_disk("800m") as disk, own_server(disk) as own:
        reset(own)
        ballast = disk / "ballast"
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        ballast.write_bytes(bytes(free - (2 << 20)))
        ran = finished(own, book, *OPTIONS, "--retry-for", 1)
        assert ran.code == 4, ran
        ballast.unlink()
        with contextlib.suppress(Exception):
            own.start()  # without space for its log a server stops altogether
        assert own.rows(STATE) == [OLD]
        run_on(own, book)
        assert_one_load(own)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_it_copies(own: Server, book: Path, signal_number: int) -> None:
    """Nothing is left but a line in the ledger; the message does not promise that anything was kept."""
    reset(own)
    with (
        holding(own, COPY, 1) as (wire, dsn),
        importing(own, book, *OPTIONS, dsn=dsn) as running,
        Session(own.dsn) as session,
    ):
        wire.wait(running)
        # Each row takes a number from the sequence.
        session.run("alter sequence public.t_id_seq cache 1")
        wire.release()
        running.wait_for(lambda: own.rows("select 1 from pg_locks where not granted"))
        running.process.send_signal(signal_number)
        # The sequence stays locked: the run ends the statement itself.
        ran = running.finish(SECONDS)
    assert ran.code == 128 + signal_number, ran
    assert "goes on where" not in ran.err
    assert own.rows(STATE) == [OLD]
    assert own.rows("select state from importer.runs") == [("interrupted",)]
    assert run_on(own, book).json["run"]["resumed_rows"] == 0
    assert_one_load(own, "stage")


def test_two_at_once_and_two_books_at_once(own: Server, book: Path, tmp_path: Path) -> None:
    """The same import waits and has nothing to do; another one writes beside it, and each counts its own rows."""
    reset(own)
    other = make_book(tmp_path / "other.xlsx", ROWS, 10**6)
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(importing(own, path, *OPTIONS, "--workers", 1)) for path in (book, book, other)]
        ended = [running.finish(SECONDS) for running in started]
    assert [ran.code for ran in ended] == [0, 0, 0], ended
    assert sorted(ran.json["outcome"] for ran in ended) == ["already-imported", "published", "published"]
    assert own.rows("select count(*), count(distinct number), count(*) filter (where number >= 1000000) from t") == [
        (2 * ROWS + 2, 2 * ROWS + 2, ROWS)
    ]


def test_dead_run_is_listed_and_forgotten(own: Server, book: Path) -> None:
    reset(own)

    def ledger(*arguments: str) -> Any:
        ran = importer("runs", *arguments, "--to", own.dsn.text, "--json")
        assert ran.code == 0, ran
        return json.loads(ran.out)

    with holding(own, COPY, 7) as (wire, dsn), importing(own, book, *OPTIONS, dsn=dsn) as running:
        wire.wait(running)
        assert [run["state"] for run in ledger()["runs"]] == ["running"]
        kill_tree(running)
    wait_for_backends(own)
    listed = ledger()
    assert ([run["state"] for run in listed["runs"]], listed["leftovers"]) == (["died"], [])
    assert ledger("forget", listed["runs"][0]["id"])
    run_on(own, book)
    assert_one_load(own, "direct")
