"""Imports on a Dask cluster: equal to those of one process, whatever dies on the way, and what is said when it cannot be."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.clusters import (
    DaskProcesses,
    dask_client,
    free_port,
    made_books,
    make_held,
    move_to,
    time_limit,
    wait_for_locks,
)
from support.commandline import started
from support.serving import held

from importer import ConnectionFailed, UsageError, import_many
from importer.batch.execution.tasks import run_task
from importer.batch.import_spec import ImportSpec
from importer.batch.one_import import ImportTask
from importer.integrations import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database
    from distributed import Client

pytest.importorskip("distributed")
BOOKS = 8
ROWS = "select id, v from {} order by id"


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_books(tmp_path_factory.mktemp("books") / "in", BOOKS)


@contextlib.contextmanager
def loading(db: Database, books: Path, **options: Any) -> Iterator[Any]:
    """A load into table `held`, which waits for it: a future."""
    make_held(db)
    with ThreadPoolExecutor(1) as pool, held(db.dsn, "held"):
        report = pool.submit(import_many, books, to=db.dsn.text, table="held", **options)
        wait_for_locks(db, 2)
        yield report


def assert_all_loaded(db: Database, table: str = "held") -> None:
    """Each row once, as its workbook has it."""
    expected = [(n + more, f"{letter}{n}") for more, letter in ((0, "a"), (100, "b")) for n in range(BOOKS)]
    assert db.rows(ROWS.format(table)) == expected
    assert db.leftovers() == []


def test_a_cluster_of_worker_processes(db: Database, books: Path, tmp_path: Path) -> None:
    """One test, because a cluster takes seconds to start."""
    with dask_client() as client:
        a_new_table_is_agreed_on_by_workers(db, client, books)
        a_killed_workers_import_is_done_by_another_once(db, client, books)
        ctrl_c_cancels_and_the_same_command_goes_on(db, client, books)
        if sys.platform == "linux":
            a_workbook_that_only_some_workers_see_is_said_to_be_so(db, client, (books, tmp_path))


def a_new_table_is_agreed_on_by_workers(db: Database, client: Client, books: Path) -> None:
    """Also by an executor that answers equal calls from memory, as Dask's does by default; progress is told."""
    seen: list[str] = []
    executor = client.get_executor()
    report = import_many(
        books, to=db.dsn.text, table="t", executor=executor, on_report=lambda each: seen.append(each.source)
    )
    assert (report.exit_code, report.sums["success_count"], len(seen)) == (0, 2 * BOOKS, BOOKS), str(report)
    assert_all_loaded(db, "t")
    db.run("drop table t")
    first = sorted(books.iterdir())[:2]
    assert import_many(first, to=db.dsn.text, table="t", executor=executor).sums["success_count"] == 4


def a_killed_workers_import_is_done_by_another_once(db: Database, client: Client, books: Path) -> None:
    with loading(db, books, executor=client.get_executor(pure=False)) as report:
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
    assert report.result().exit_code == 0, str(report.result())
    assert report.result().sums["failed"] == 0
    assert_all_loaded(db)


def ctrl_c_cancels_and_the_same_command_goes_on(db: Database, client: Client, books: Path) -> None:
    make_held(db)
    address = client.scheduler.address.replace("tcp:", "dask:")
    program = (
        "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from importer.__main__ import main; main()"
    )
    arguments = ("run", str(books), "--table", "held", "--to", db.dsn.text, "--on", address, "--json")
    command = (sys.executable, "-c", program, *arguments)
    with held(db.dsn, "held"), started(*command, env={"PYTHONWARNINGS": ""}) as running:
        running.wait_for(lambda: db.rows("select count(*) from pg_locks where not granted") == [(2,)])
        running.process.send_signal(signal.SIGINT)
        ran = running.finish()
        assert ran.code == 130, ran.err
        sums = ran.json["sums"]
        assert (sums["interrupted"], sums["not_started"]) == (2, BOOKS - 2)
        wait_for_locks(db, 0)
    assert import_many(books, to=db.dsn.text, table="held", on=address).exit_code == 0
    assert_all_loaded(db)


def a_workbook_that_only_some_workers_see_is_said_to_be_so(
    db: Database, client: Client, folders: tuple[Path, Path]
) -> None:
    workers = sorted(client.run(os.getpid))
    for name, folder in zip(workers, folders, strict=True):
        client.run(move_to, str(folder), workers=[name])
    blind = client.get_executor(pure=False, workers=workers[1:])
    here = "/proc/self/cwd"  # another folder in each process
    for sources in ([f"{here}/00.xlsx"], [f"{here}/00.xlsx", f"{here}/01.xlsx"]):
        report = import_many(sources, to=db.dsn.text, table="s", executor=blind)
        assert (report.exit_code, report.sums["failed"]) == (3, len(sources))
        said = str(report.reports[0])
        assert f"1 of 2 workers do not see {here}/00.xlsx; nor does this machine" in said
        assert workers[1] in said
    sighted = client.get_executor(pure=False, workers=workers[:1])
    assert import_many([f"{here}/00.xlsx"], to=db.dsn.text, table="s", executor=sighted).exit_code == 0


def test_a_scheduler_that_is_killed_and_started_again(db: Database, tmp_path: Path, books: Path) -> None:
    """What its workers did is lost with it, and handed out again."""
    with DaskProcesses(tmp_path) as dask:
        dask.wait_until_ready()
        with loading(db, books, on=dask.address) as report:
            dask.kill()
            dask.start()
        assert report.result().exit_code == 0, str(report.result())
    assert_all_loaded(db)


@pytest.mark.timeout(1200)
def test_sixty_workbooks_while_workers_and_the_scheduler_die(
    db: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A worker is killed at every tenth import that ends, once the scheduler with its worker."""
    if not request.config.getoption("--long"):
        pytest.skip("in the long form")
    folder, killed, seen = made_books(tmp_path / "in", 60), [], itertools.count(1)
    (tmp_path / "dask").mkdir()
    with DaskProcesses(tmp_path / "dask") as dask:
        dask.wait_until_ready()

        def on_report(_: Any) -> None:
            if (count := next(seen)) % 10 == 0 and count < 60:
                killed.append("both" if count == 30 else "worker")
                dask.kill() if count == 30 else dask.kill("worker")
                dask.start() if count == 30 else dask.start("worker")

        report = import_many(folder, to=db.dsn.text, table="t", on=dask.address, on_report=on_report)
    assert report.exit_code == 0, str(report)
    # What a worker had done before it died is found done by the next one, and told as done by this command.
    assert (report.sums["published"], report.sums["success_count"]) == (60, 120)
    assert killed == ["worker", "worker", "both", "worker", "worker"]
    import_many(folder, to=db.dsn.text, table="serial")
    assert db.rows(ROWS.format("t")) == db.rows(ROWS.format("serial"))
    assert db.leftovers() == []


def test_another_version_is_said(books: Path) -> None:
    task = ImportTask(ImportSpec(str(books / "00.xlsx")), "postgresql://me:secret@db/shop")
    assert "secret" not in repr(task)
    spec = ImportSpec("https://me:secret@h/a.xlsx?sig=secret", options={"rejects": "s3://me:secret@b/r/", "key": ["a"]})
    assert repr(spec) == (
        "ImportSpec('https://***@h/a.xlsx?sig=***', None, None, {'rejects': 's3://me:***@b/r/', 'key': ['a']})"
    )
    report = run_task(replace(task, version="0.0.1"))
    assert report.error is not None
    assert report.exit_code == 4
    assert "and not 0.0.1" in report.error["message"]
    assert socket.gethostname() in report.error["place"]


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, books: Path) -> None:
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("importer.integrations.dask.CONNECT_SECONDS", 1.0)
    with pytest.raises(ConnectionFailed, match="does not answer") as refused:
        import_many(books, on=f"dask://127.0.0.1:{free_port()}")
    assert refused.value.exit_code == 4
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        time_limit(20),
        pytest.raises(ConnectionFailed, match="no Dask scheduler answers"),
    ):
        import_many(books, on=f"dask://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("address", ["spark://x", "dask://", "dask://auto", "ray://a:b", "127.0.0.1:8786", ""])
def test_what_is_no_address(books: Path, address: str) -> None:
    with pytest.raises(UsageError, match="not the address of a cluster"):
        import_many(books, on=address)


def test_a_cluster_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch, books: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ray")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"'ray' is not installed") as refused:
        import_many(books, on="ray://auto")
    assert refused.value.choice == "pip install 'importer[ray]'"
    with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="on and executor contradict"):
        import_many(books, on="ray://auto", executor=pool)
