"""Imports on a local Ray: equal to those of one process, also when a worker is killed; skipped where Ray is not installed."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.clusters import made_books, make_held, wait_for_locks
from support.commandline import started
from support.serving import held

from importer import ConnectionFailed, import_many

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'importer[ray]'")
BOOKS = 6


@pytest.fixture
def books(tmp_path: Path) -> Path:
    return made_books(tmp_path / "in", BOOKS)


def ray_workers() -> list[psutil.Process]:
    """The processes that run tasks of ours now."""
    names = {p: " ".join(p.cmdline()) for p in psutil.Process().children(recursive=True) if p.is_running()}
    return [process for process, name in names.items() if name.startswith("ray::run_task")]


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_a_local_ray(db: Database, books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, because Ray takes seconds to start: a new table, and a worker that is killed on the way."""
    from importer.integrations.clusters import executor_at

    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    make_held(db)
    with executor_at("ray://local") as executor:
        report = import_many(books, to=db.dsn.text, table="t", executor=executor)
        assert (report.exit_code, report.sums["success_count"]) == (0, 2 * BOOKS), str(report)
        with ThreadPoolExecutor(1) as pool:
            with held(db.dsn, "held"):
                killed = pool.submit(import_many, books, to=db.dsn.text, table="held", executor=executor)
                wait_for_locks(db, 1)
                os.kill(ray_workers()[0].pid, signal.SIGKILL)
            assert killed.result().exit_code == 0, str(killed.result())
    rows = [(n + more, f"{letter}{n}") for more, letter in ((0, "a"), (100, "b")) for n in range(BOOKS)]
    for table in ("t", "held"):
        assert db.rows(f"select id, v from {table} order by id") == rows


@pytest.mark.timeout(600)
def test_ctrl_c_cancels_and_the_same_command_goes_on(
    db: Database, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    make_held(db)
    program = (
        "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from importer.__main__ import main; main()"
    )
    arguments = ("run", str(books), "--table", "held", "--to", db.dsn.text, "--on", "ray://local", "--json")
    command = (sys.executable, "-c", program, *arguments)
    with held(db.dsn, "held"), started(*command, env={"PYTHONWARNINGS": ""}) as running:
        wait_for_locks(db, 1)
        running.process.send_signal(signal.SIGINT)
        ran = running.finish()
        assert ran.code == 130, ran.err
        assert ran.json["sums"]["interrupted"] == BOOKS
        wait_for_locks(db, 0)
    assert import_many(books, to=db.dsn.text, table="held").exit_code == 0
    assert db.rows("select count(*), count(distinct id) from held") == [(2 * BOOKS, 2 * BOOKS)]


@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_sixty_workbooks_while_workers_die(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A worker is killed at every tenth import that ends."""
    from importer.integrations.clusters import executor_at

    if not request.config.getoption("--long"):
        pytest.skip("in the long form")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    folder, killed, seen = made_books(tmp_path / "in", 60), [], itertools.count(1)

    def on_report(_: Any) -> None:
        if (count := next(seen)) % 10 == 0 and count < 60 and (running := ray_workers()):
            os.kill(running[0].pid, signal.SIGKILL)
            killed.append(count)

    with executor_at("ray://local") as executor:
        report = import_many(folder, to=db.dsn.text, table="t", executor=executor, on_report=on_report)
    assert report.exit_code == 0, str(report)
    # What a worker had done before it died is found done by the next one, and told as done by this command.
    assert (report.sums["published"], report.sums["success_count"]) == (60, 120)
    assert killed
    import_many(folder, to=db.dsn.text, table="serial")
    rows = "select id, v from {} order by id"
    assert db.rows(rows.format("t")) == db.rows(rows.format("serial"))
    assert db.leftovers() == []


def test_a_ray_that_does_not_answer(books: Path) -> None:
    with pytest.raises(ConnectionFailed, match="does not answer"):
        import_many(books, on="ray://127.0.0.1:1")
