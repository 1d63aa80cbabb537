"""The service is killed, its children are, callers go away: rows are exact, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from support.serving import (
    SECONDS,
    Service,
    connected,
    head,
    held,
    kill_all,
    numbers,
    serving,
    short_folder,
    wait_for,
)

from importer.serve.child.main import _work
from importer.serve.models.child import PingCommand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database

    from importer.serve.models.child import LastEvent

ROWS = 1000


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


def begun(service: Service, name: str, first: int, **options: Any) -> str:
    """A run that has written all its rows, and waits for the lock on its table."""
    content = numbers(first, first + ROWS - 1)
    run = service.upload(content, name, "/upload?wait=false", table="target", **options).json()["run"]["id"]
    service.until(run, "running", stage="publish")
    return run


def children(service: Service) -> list[psutil.Process]:
    """The processes of the service that work on commands."""
    found = []
    for process in psutil.Process(service.running.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # ended, or about to be
            found += [process] if "importer.serve.child.main" in process.cmdline() else []
    return found


def assert_tidy(service: Service) -> None:
    """No workbook, no spool, no staging, no process of a run."""
    wait_for(lambda: not service.json("/runs", state="running")["runs"])
    assert service.kept() == []
    assert list((service.folder / "t").rglob("importer-*")) == []


def target(db: Database) -> list[Any]:
    return db.rows("select count(*), count(distinct n) from target")


def test_killed_service_goes_on_where_it_stopped(db: Database, folder: Path) -> None:
    """Killed with all its processes in the middle of an import and with another one waiting; started again."""
    with serving(db.dsn, folder, "--concurrency", "1") as service:
        service.upload(numbers(1, ROWS), "first.xlsx", table="target")
        with held(db.dsn, "target"):
            run = begun(service, "second.xlsx", ROWS + 1)
            waiting = service.upload(numbers(-5, -1), "third.xlsx", "/upload?wait=false", table="target").json()["run"][
                "id"
            ]
            check = service.upload(numbers(1, 2), "fourth.xlsx", "/check?wait=false").json()["run"]["id"]
            kill_all(service.running)
    assert target(db) == [(ROWS, ROWS)]
    with serving(db.dsn, folder, "--concurrency", "1") as service:
        interrupted = service.json("/runs", state="interrupted")["runs"]
        assert [r["id"] for r in interrupted] == [waiting, run]
        assert all(r["resumable"] and r["error"]["error"] == "the service was stopped" for r in interrupted)
        assert service.run(check)["state"] == "failed"
        assert (interrupted[1]["workbook"], interrupted[1]["table"]) == ("second.xlsx", f"{db.schema}.target")
        assert len(service.kept()) == 3  # those two, and the one that a check was sent
        assert service.client.post(f"/runs/{run}/resume").status_code == 202
        service.until(run, "done")
        assert service.json(f"/runs/{run}/report")["run"]["resumed_rows"] == ROWS
        assert target(db) == [(2 * ROWS, 2 * ROWS)]
        assert service.client.delete(f"/runs/{waiting}").json()["run"]["state"] == "cancelled"
        assert service.client.post(f"/runs/{waiting}/resume").status_code == 409
        assert target(db) == [(2 * ROWS, 2 * ROWS)]
        assert len(service.kept()) == 1
    assert db.leftovers() == []


def test_run_that_was_published_but_not_told(db: Database, folder: Path) -> None:
    """The service died between the commit and the answer: a resume finds that all is done, and whose the table is."""
    with serving(db.dsn, folder) as service:
        upload = service.upload(numbers(1, 9), "told.xlsx", "/uploads").json()["upload"]["id"]
        run = service.client.post("/upload", params={"upload": upload}).json()["run_id"]
        kill_all(service.running)
    with contextlib.closing(sqlite3.connect(folder / "service.sqlite", isolation_level=None)) as store:
        (listed,) = store.execute("SELECT listed FROM runs WHERE id = ?", (run,)).fetchone()
        before = json.dumps(json.loads(listed) | {"state": "running", "outcome": None})
        store.execute("UPDATE runs SET state = 'running', report = NULL, listed = ? WHERE id = ?", (before, run))
        store.execute("DELETE FROM owned")
    with serving(db.dsn, folder) as service:
        assert service.upload(numbers(10, 11), "told.xlsx").status_code == 403
        service.client.post(f"/runs/{run}/resume")
        assert service.until(run, "done")["outcome"] == "already-imported"
        assert service.upload(numbers(10, 11), "told.xlsx").status_code == 200
    assert db.rows("select count(*) from told") == [(11,)]


def test_killed_service_leaves_what_the_next_removes(db: Database, folder: Path) -> None:
    """Spool and half an upload; the next service says how much that was."""
    lines = ["Content-Type: multipart/form-data; boundary=b", "Content-Length: 9000000"]
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="half.xlsx"\r\n\r\n' + b"PK" * 1_500_000
    with serving(db.dsn, folder) as service:
        service.upload(numbers(1, ROWS), "first.xlsx", table="target")
        with held(db.dsn, "target"), connected(service) as connection:
            begun(service, "second.xlsx", ROWS + 1)
            connection.sendall(head(service, "/upload", *lines) + part)
            wait_for(lambda: [p for p in folder.glob("uploads/*/half.xlsx") if p.stat().st_size > 100_000])
            assert list(folder.glob("t/*/importer-spool-*"))
            kill_all(service.running)
    with serving(db.dsn, folder) as service:
        assert list(folder.glob("uploads/*/half.xlsx")) == list(folder.glob("t/*/importer-spool-*")) == []
        said = (service.running.temp.parent / "err").read_text(encoding="utf-8")
    assert re.search(r"importer: removed \d[\d.]* [kM]B of temporary files of a service that was killed\n", said)
    assert re.search(r"importer: removed \d[\d.]* [kM]B of uploads of a service that was killed\n", said)


def test_stopped_service_answers_and_leaves_no_file(db: Database, folder: Path) -> None:
    answers: list[httpx.Response] = []
    with serving(db.dsn, folder) as service:
        service.upload(numbers(1, ROWS), "first.xlsx", table="target")
        with held(db.dsn, "target"):
            content = numbers(ROWS + 1, 2 * ROWS)

            def send() -> None:
                with httpx.Client(base_url=service.url, timeout=SECONDS, trust_env=False) as client:
                    answers.append(client.post("/upload?table=target", files={"file": ("second.xlsx", content)}))

            sender = threading.Thread(target=send)
            sender.start()
            wait_for(
                lambda: [
                    r
                    for r in service.json("/runs", state="running")["runs"]
                    if (r["progress"] or {}).get("stage") == "publish"
                ]
            )
            service.running.tree()
            service.running.process.send_signal(signal.SIGTERM)
            sender.join(SECONDS)
            ran = service.running.finish()
    assert (ran.code, ran.left, ran.orphans) == (0, [], [])
    assert "Traceback" not in ran.err
    assert (answers[0].status_code, answers[0].json()["type"]) == (503, "Interrupted")
    run = answers[0].json()["run"]["id"]
    left = {p.relative_to(folder).parts[0] for p in folder.rglob("*") if p.is_file()}
    assert left <= {"service.sqlite", "service.sqlite-wal", "service.sqlite-shm", "service.lock", "uploads", "runs"}
    assert not (folder / "t").exists()
    with serving(db.dsn, folder) as service:
        service.client.post(f"/runs/{run}/resume")
        service.until(run, "done")
        assert_tidy(service)
    assert target(db) == [(2 * ROWS, 2 * ROWS)]


def test_cancelled_run_leaves_nothing(db: Database, folder: Path) -> None:
    with serving(db.dsn, folder) as service:
        service.upload(numbers(1, ROWS), "first.xlsx", table="target")
        with held(db.dsn, "target"):
            run = begun(service, "second.xlsx", ROWS + 1)
            assert len(db.leftovers()) == 1
            answer = service.client.delete(f"/runs/{run}")
            assert (answer.status_code, answer.json()["message"]) == (200, "cancelled")
            assert answer.json()["run"]["state"] == "cancelled"
        wait_for(lambda: db.leftovers() == [])
        assert target(db) == [(ROWS, ROWS)]
        assert_tidy(service)
        # The same workbook is a new import.
        assert (
            service.upload(numbers(ROWS + 1, 2 * ROWS), "second.xlsx", table="target").json()["outcome"] == "published"
        )
        assert target(db) == [(2 * ROWS, 2 * ROWS)]


def test_killed_child_costs_one_upload(db: Database, folder: Path) -> None:
    with serving(db.dsn, folder) as service:
        service.upload(numbers(1, ROWS), "first.xlsx", table="target")
        with held(db.dsn, "target"):
            run = begun(service, "second.xlsx", ROWS + 1)
            assert service.upload(numbers(1, 10), "beside.xlsx", table="beside").status_code == 200
            for process in children(service):
                process.kill()
            found = service.until(run, "interrupted", "failed")
        assert (found["state"], found["error"]["type"]) == ("interrupted", "ChildDied")
        assert found["error"]["status"] == 500
        assert service.client.get("/health").status_code == 200
        assert service.upload(numbers(11, 20), "beside.xlsx", table="beside").status_code == 200
        assert target(db) == [(ROWS, ROWS)]
        service.client.post(f"/runs/{run}/resume")
        service.until(run, "done")
        assert target(db) == [(2 * ROWS, 2 * ROWS)]
        assert_tidy(service)


def test_inspection_whose_child_others_kill_may_be_sent_again(db: Database, folder: Path) -> None:
    """Every child is killed as soon as there is one, until the answer is there."""
    with serving(db.dsn, folder) as service:
        answers: list[httpx.Response] = []
        files = {"file": ("b.xlsx", numbers(1, 3))}
        asking = threading.Thread(target=lambda: answers.append(service.client.post("/inspect", files=files)))
        asking.start()
        while asking.is_alive():
            for process in children(service):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        assert answers[0].status_code == 503
        assert (answers[0].json()["type"], answers[0].json()["choice"]) == ("ReaderKilled", "send it again")
        assert service.client.post("/inspect", files=files).status_code == 200


def test_child_killed_a_moment_ago_costs_nothing(db: Database, folder: Path) -> None:
    from importer.serve.jobs.processes import ChildPool

    async def ask() -> LastEvent:
        pool = ChildPool(folder, places=1)
        await pool.start()
        try:
            async with pool.child() as first:
                await first.work(PingCommand(dsn=db.dsn.text))
            (idle,) = (p for p in psutil.Process().children() if "importer.serve.child.main" in p.cmdline())
            idle.kill()  # asyncio does not know yet: nothing is awaited in between
            async with pool.child() as second:
                return await second.work(PingCommand(dsn=db.dsn.text))
        finally:
            await pool.stop()

    assert asyncio.run(ask()).event == "done"
    assert list(folder.iterdir()) == []


def in_progress(service: Service, kind: str) -> list[str]:
    return [run["id"] for run in service.json("/runs", state="running")["runs"] if run["kind"] == kind]


def test_caller_that_goes_away_does_not_stop_an_upload_but_a_check(db: Database, folder: Path) -> None:
    with serving(db.dsn, folder) as service:
        service.upload(numbers(1, ROWS), "first.xlsx", table="target")
        with held(db.dsn, "target"):
            for path in ("/upload", "/check"):
                files = {"file": (f"{path[1:]}.xlsx", numbers(ROWS + 1, ROWS + 9))}
                request = httpx.Request("POST", service.url + path, files=files, data={"table": "target"})
                lines = [f"{name}: {request.headers[name]}" for name in ("content-type", "content-length")]
                with connected(service) as connection:
                    connection.sendall(head(service, path, *lines) + request.read())
                    wait_for(partial(in_progress, service, path[1:]))
            wait_for(lambda: service.json("/runs", state="cancelled")["runs"])
            (going,) = service.json("/runs", state="running")["runs"]
            assert (going["kind"], going["workbook"]) == ("upload", "upload.xlsx")
        service.until(going["id"], "done")
        assert target(db) == [(ROWS + 9, ROWS + 9)]


def test_database_that_is_lost_is_told(db: Database, folder: Path) -> None:
    """A backend that dies during the import is replaced; the rows are exact."""
    with serving(db.dsn, folder) as service:
        service.upload(numbers(1, ROWS), "first.xlsx", table="target")
        with held(db.dsn, "target"):
            run = begun(service, "second.xlsx", ROWS + 1)
            db.rows("select pg_terminate_backend(pid) from pg_locks where not granted")
        assert service.until(run, "done", "interrupted", "failed")["state"] == "done"
        assert target(db) == [(2 * ROWS, 2 * ROWS)]
        assert_tidy(service)
        service.running.tree()
        os.kill(service.running.process.pid, signal.SIGKILL)
        service.running.process.wait()
        assert service.running.orphans() == []  # children do not outlive the service


def test_events_end_with_the_service(db: Database, folder: Path) -> None:
    with serving(db.dsn, folder) as service:
        service.upload(numbers(1, ROWS), "first.xlsx", table="target")
        with held(db.dsn, "target"), connected(service) as connection:
            run = begun(service, "second.xlsx", ROWS + 1)
            connection.sendall(f"GET /runs/{run}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            told = connection.recv(65_536)
            service.running.process.send_signal(signal.SIGTERM)
            while piece := connection.recv(65_536):
                told += piece
        assert b"event: progress" in told
        assert b"event: end" in told
        assert b'"state": "interrupted"' in told


def test_disk_that_fails_below_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Any] = []

    class Channel:
        send = staticmethod(events.append)

    def operation(command: Any, channel: Any) -> Any:
        (tmp_path / "file" / "data.xlsx").open("rb")

    (tmp_path / "file").touch()
    _work(operation, PingCommand(dsn="postgresql://"), Channel())  # type: ignore[arg-type]
    assert [(event.error.error, event.error.status) for event in events] == [
        ("the machine refused: Not a directory", 500)
    ]
    assert str(tmp_path) not in events[0].model_dump_json()
    assert f"{tmp_path}/file/data.xlsx" in (err := capsys.readouterr().err)
    assert "Traceback" not in err
