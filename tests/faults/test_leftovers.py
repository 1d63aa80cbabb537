"""What a killed run leaves on the disk: the next one removes it and says how much, but nothing that a living one needs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from support.asking import user_session
from support.commandline import SECONDS, Ran, Running, importer, started
from support.faults import kill_tree
from support.holding import holding
from support.tables import save

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database
    from support.faults import Server

#: How the statement of a worker begins that writes rows.
COPY = "COPY"
SAID = r"importer: removed 1 spool folder \(\d[\d.]* (bytes|kB|MB)\) of a run that was killed\n"


@pytest.fixture
def temp() -> Iterator[Path]:
    """A folder for temporary files that several runs share; its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="it-") as name:
        yield Path(name)


def _command(db: Database, path: Path, *options: object, command: str = "run") -> list[str]:
    return [str(word) for word in (command, path, "--to", db.dsn.text, "--table", "t", "--workers", 2, *options)]


def _run(db: Database, path: Path, temp: Path, *options: object) -> Ran:
    return importer(*_command(db, path, *options), env={"TMPDIR": str(temp)}, cwd=path.parent)


def _check(db: Database, path: Path, temp: Path) -> Ran:
    """A run that does not wait for the lock on the table."""
    return importer("check", path, "--to", db.dsn.text, "--table", "other", env={"TMPDIR": str(temp)}, cwd=path.parent)


@contextlib.contextmanager
def _waiting(db: Database, path: Path, temp: Path, *options: object, command: str = "run") -> Iterator[Running]:
    """A run that waits to write to a table (`t`: it publishes), which the test locks until the block ends."""
    words = [sys.executable, "-m", "importer", *_command(db, path, *options, command=command)]
    with contextlib.ExitStack() as lock, contextlib.ExitStack() as run:
        # The session is closed before the run is looked after: that it ends is what it needs to go on.
        holder = lock.enter_context(user_session(db.dsn))
        holder.run("LOCK TABLE t IN SHARE MODE")
        running = run.enter_context(started(*words, env={"TMPDIR": str(temp)}, cwd=path.parent))
        waits = "select 1 from pg_locks where relation = 't'::regclass and not granted"
        running.wait_for(lambda: holder.query(waits))
        running.tree()
        yield running
        lock.close()
        running.finish()


@pytest.fixture
def books(db: Database, tmp_path: Path) -> tuple[Path, Path]:
    """Two workbooks for one table."""
    db.run("create table t (id bigint, name text)")
    return save(tmp_path / "a.xlsx", ["id", "name"], [1, "a"]), save(tmp_path / "b.xlsx", ["id", "name"], [2, "b"])


def _spools(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith("importer-")]


@pytest.mark.parametrize("whole_tree", [True, False])
def test_next_run_removes_what_a_killed_one_left(
    db: Database, books: tuple[Path, Path], temp: Path, whole_tree: bool
) -> None:
    with _waiting(db, books[0], temp) as running:
        if whole_tree:
            kill_tree(running)
        else:
            running.process.kill()
            running.process.wait()
        assert running.orphans() == []
    assert len(_spools(temp)) == 1
    ran = _run(db, books[1], temp)
    assert (ran.code, list(temp.iterdir())) == (0, [])
    assert len(re.findall(SAID, ran.err)) == 1, ran.err
    ran = _run(db, books[0], temp)
    assert (ran.code, ran.err) == (0, "")
    assert db.rows("select id from t order by 1") == [(1,), (2,)]


@pytest.mark.parametrize("command", ["check", "run"])
def test_staging_of_a_killed_check_goes(db: Database, books: tuple[Path, Path], temp: Path, command: str) -> None:
    with _waiting(db, books[0], temp, command="check") as running:
        kill_tree(running)
    assert len(db.leftovers()) == 1
    ran = _check(db, books[1], temp) if command == "check" else _run(db, books[1], temp)
    assert (ran.code, db.leftovers()) == (0, [])
    assert db.rows("select id from t") == ([] if command == "check" else [(2,)])


def test_folder_of_a_run_under_way_stays(db: Database, books: tuple[Path, Path], temp: Path) -> None:
    with _waiting(db, books[0], temp) as running:
        ran = _check(db, books[1], temp)
        assert (ran.code, ran.err) == (0, "")
        assert len(_spools(temp)) == 1
    assert running.process.returncode == 0
    assert list(temp.iterdir()) == []
    assert db.rows("select id from t") == [(1,)]


def test_worker_that_outlives_its_run_keeps_the_folder(own: Server, tmp_path: Path, temp: Path) -> None:
    """A stopped process cannot notice that its run is gone, and may go on at any time."""
    own.run("create table t (id bigint, name text)")
    book = save(tmp_path / "a.xlsx", ["id", "name"], *[[n, "a"] for n in range(40)])
    environment = {"TMPDIR": str(temp)}
    with holding(own, COPY, 1) as (wire, dsn):
        words = ["run", book, "--to", dsn.text, "--table", "t", "--workers", 2, "--chunk-rows", 20]
        command = [sys.executable, "-m", "importer", *map(str, words)]
        with started(*command, env=environment, cwd=tmp_path) as running:
            wire.wait(running)
            worker = wire.owner(running)
            assert worker is not None
            os.kill(worker.pid, signal.SIGSTOP)
            running.tree()
            running.process.kill()
            running.process.wait()
            ran = importer("check", book, "--to", own.dsn.text, "--table", "other", env=environment, cwd=tmp_path)
            assert (ran.code, ran.err, len(_spools(temp))) == (0, "", 1)
            worker.kill()
            psutil.wait_procs([worker], timeout=SECONDS)
            assert running.orphans() == []
    ran = importer("check", book, "--to", own.dsn.text, "--table", "other", env=environment, cwd=tmp_path)
    assert len(re.findall(SAID, ran.err)) == 1, ran.err
    assert list(temp.iterdir()) == []


def test_folder_of_temp_dir_is_removed(db: Database, books: tuple[Path, Path], temp: Path, tmp_path: Path) -> None:
    """The spool is where --temp-dir says, the sockets are where TMPDIR says."""
    spool = tmp_path / "spool"
    spool.mkdir()
    with _waiting(db, books[0], temp, "--temp-dir", spool) as running:
        kill_tree(running)
        assert running.orphans() == []
    assert len(_spools(spool)) == 1
    ran = _run(db, books[1], temp, "--temp-dir", spool, "--json")
    assert len(re.findall(SAID, ran.err)) == 1, ran.err
    assert (ran.code, list(temp.iterdir()), list(spool.iterdir())) == (0, [], [])
    assert ran.json["outcome"] == "published"
