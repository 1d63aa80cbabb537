"""Runs that write straight into their table, killed and cut off: its readers see none of it, the next run all of it, once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.commandline import Ran, importer
from support.faults import (
    SECONDS,
    Proxy,
    Server,
    finished,
    importing,
    kill_tree,
    own_server,
    small_disk,
    wait_for_backends,
    watching,
)
from support.rawbook import inline, number, row, write_rows

from importer.errors import ImporterError
from importer.load.direct_copy import DIRECT_BYTES
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.commandline import Running

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

#: More than `DIRECT_BYTES` of XML; smaller sheets go over staging. Five rows fill a page of the table.
ROWS, FILLER = 90_000, "x" * 1_450
TABLE_BYTES = ROWS / 5 * 8_192
OPTIONS = ("--chunk-rows", 3_000, "--json")
STATE = "select count(*), coalesce(sum(number), 0)::text, count(id) from t"
OLD, NEW = (2, "-3", 2), (ROWS + 2, str(ROWS * (ROWS + 1) // 2 - 3), ROWS + 2)


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with own_server() as made:
        yield made


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    head = row(1, inline("A1", "number"), inline("B1", "name"))
    body = "".join(
        row(n, number(f"A{n}", n - 1), inline(f"B{n}", f"name {n - 1} {FILLER}")) for n in range(2, ROWS + 2)
    )
    assert len(body) > DIRECT_BYTES
    return write_rows(tmp_path_factory.mktemp("direct") / "orders.xlsx", head + body, name="Orders")


def reset(own: Server) -> None:
    """The table as it was before, and an empty ledger."""
    own.run(
        "drop table if exists t",
        "drop schema if exists importer cascade",
        "create table t (id bigint generated always as identity primary key, number bigint, name text)",
        "insert into t (number, name) values (-1, 'a'), (-2, 'b')",
    )


def assert_one_load(own: Server, way: str | None = None) -> None:
    """The table is that of one clean load, and the ledger has one published run and nothing else."""
    assert own.rows(STATE) == [NEW]
    assert own.rows(
        "select count(*) from t where number > 0 and name = 'name ' || number || ' ' || repeat('x', 1450)"
    ) == [(ROWS,)]
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


def filled(own: Server) -> float:
    """How much of what it will be the table is already, though nobody sees a row."""
    with contextlib.suppress(ImporterError):
        return int(own.rows("select pg_relation_size('t')")[0][0]) / TABLE_BYTES
    return 0.0


def wait_until_filled(own: Server, running: Running, part: float) -> None:
    running.wait_for(lambda: filled(own) >= part)


def test_it_is_the_direct_way(own: Server, book: Path) -> None:
    reset(own)
    with watching(own, STATE) as seen:
        ran = finished(own, book, *OPTIONS)
    assert (ran.code, ran.json["run"]["resumed_rows"]) == (0, 0)
    assert seen in ([OLD, NEW], [NEW], [OLD])
    assert_one_load(own, "direct")


@pytest.mark.timeout(3600)
def test_killed_at_any_moment(own: Server, book: Path, seed: int, times: Callable[[int], int]) -> None:
    """kill -9 of the whole tree; what was copied is gone, and the next run begins anew, over staging."""
    chance, ways = random.Random(seed), []
    for _ in range(times(1)):
        reset(own)
        with watching(own, STATE) as seen:
            with importing(own, book, *OPTIONS) as running:
                part = chance.random() * 1.1
                end = time.monotonic() + SECONDS
                while time.monotonic() < end and running.process.poll() is None and filled(own) < min(part, 0.97):
                    time.sleep(0.003)
                if part > 0.97:
                    time.sleep(chance.random() * 0.3)
                kill_tree(running)
            run_on(own, book)
        assert seen in ([OLD, NEW], [NEW], [OLD])
        assert_one_load(own)
        ways += own.rows("select distinct split_part(staging, '_', 1) from importer.chunks")
    print(f"killed; finished over {ways}")


def test_one_worker_killed(own: Server, book: Path, seed: int, times: Callable[[int], int]) -> None:
    """Its window is read by a fresh worker, once."""
    chance = random.Random(seed)
    for _ in range(times(1)):
        reset(own)
        with importing(own, book, *OPTIONS) as running:
            wait_until_filled(own, running, chance.random() * 0.6)
            with contextlib.suppress(psutil.Error, IndexError):
                chance.choice(running.workers()).kill()
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own, "direct")


@pytest.mark.timeout(3600)
def test_sessions_terminated(own: Server, book: Path, seed: int, times: Callable[[int], int]) -> None:
    """An administrator ends the session that writes: the chunks go over staging, in the same run."""
    chance = random.Random(seed)
    writer = "select pg_terminate_backend(pid) from pg_locks where locktype = 'transactionid' and granted and mode = 'ExclusiveLock'"
    for _ in range(times(1)):
        reset(own)
        with importing(own, book, *OPTIONS) as running:
            wait_until_filled(own, running, chance.random() * 0.9)
            own.rows(writer)
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own)


def test_server_crashes_and_comes_back(own: Server, book: Path, seed: int, times: Callable[[int], int]) -> None:
    chance = random.Random(seed)
    for _ in range(times(1)):
        reset(own)
        with importing(own, book, *OPTIONS) as running:
            wait_until_filled(own, running, chance.random() * 0.9)
            own.stop("immediate")
            time.sleep(0.3 * chance.random())
            own.start()
            ran = running.finish(SECONDS)
        assert ran.code == 0, ran
        assert_one_load(own)


@pytest.mark.parametrize("how", ["before", "answer"])
def test_connection_cut_at_the_commit(own: Server, book: Path, how: str) -> None:
    """Before the commit nothing is there; behind it all is, whether its answer came or not: the ledger tells."""
    reset(own)
    marked: list[int] = []
    state: dict[str, Any] = {"done": False, "committing": None}

    def cut(towards: bool, data: bytes, connection: int) -> str | None:
        if state["done"]:
            return None
        if towards and b"published" in data and b"UPDATE" in data:
            marked.append(connection)
        if towards and connection in marked and b"COMMIT" in data:
            state.update(committing=connection, done=how == "before")
            return "before" if how == "before" else None
        if not towards and state["committing"] == connection:
            state["done"] = True
            return "before"
        return None

    proxy = Proxy(own.port, cut)
    try:
        ran = finished(own, book, *OPTIONS, dsn=Dsn(own.dsn.text.replace(f":{own.port}/", f":{proxy.port}/")))
    finally:
        proxy.close()
    assert (state["done"], ran.code) == (True, 0), ran
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
    with importing(own, book, *OPTIONS) as running:
        wait_until_filled(own, running, 0.2)
        begun = time.monotonic()
        running.process.send_signal(signal_number)
        running.process.wait(10)
        seconds = time.monotonic() - begun
        ran = running.finish(SECONDS)
    assert (ran.code, seconds < 3) == (128 + signal_number, True), ran
    assert "goes on where" not in ran.err
    assert own.rows(STATE) == [OLD]
    assert own.rows("select state from importer.runs") == [("interrupted",)]
    assert run_on(own, book).json["run"]["resumed_rows"] == 0
    assert_one_load(own, "stage")


def test_two_at_once_and_two_books_at_once(own: Server, book: Path, tmp_path: Path) -> None:
    """The same import waits and has nothing to do; another one writes beside it, and each counts its own rows."""
    reset(own)
    other = tmp_path / "other.xlsx"
    rows = row(1, inline("A1", "number"), inline("B1", "name"))
    rows += "".join(row(n, number(f"A{n}", 10**6 + n), inline(f"B{n}", "y" * 1_450)) for n in range(2, ROWS + 2))
    write_rows(other, rows)
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(importing(own, path, *OPTIONS, "--workers", 1)) for path in (book, book, other)]
        ended = [running.finish(SECONDS) for running in started]
    assert [ran.code for ran in ended] == [0, 0, 0], ended
    assert sorted(ran.json["outcome"] for ran in ended) == ["already-imported", "published", "published"]
    assert own.rows("select count(*), count(distinct number), count(*) filter (where number > 1000000) from t") == [
        (2 * ROWS + 2, 2 * ROWS + 2, ROWS)
    ]


def test_dead_run_is_listed_and_forgotten(own: Server, book: Path) -> None:
    reset(own)

    def ledger(*arguments: str) -> Any:
        ran = importer("runs", *arguments, "--to", own.dsn.text, "--json")
        assert ran.code == 0, ran
        return json.loads(ran.out)

    with importing(own, book, *OPTIONS) as running:
        wait_until_filled(own, running, 0.2)
        running.process.send_signal(signal.SIGSTOP)
        assert [run["state"] for run in ledger()["runs"]] == ["running"]
        kill_tree(running)
    wait_for_backends(own)
    listed = ledger()
    assert ([run["state"] for run in listed["runs"]], listed["leftovers"]) == (["died"], [])
    assert ledger("forget", listed["runs"][0]["id"])
    run_on(own, book)
    assert_one_load(own, "direct")
