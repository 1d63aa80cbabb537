"""The service's own file fails while it runs: requests are refused with words, runs end and are told, nothing is lost.

Another program that holds the file stands for all that may be wrong with it; `tests/faults/test_service_files.py` has the
other kinds, at any call.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from support.serving import Service, held, kill_all, numbers, serving, short_folder, wait_for

from importer.serve.errors import StoreFailed
from importer.serve.jobs.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@contextlib.contextmanager
def held_store(folder: Path) -> Iterator[None]:
    """The service's file, held by another program."""
    with contextlib.closing(sqlite3.connect(folder / "service.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def stored(folder: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(folder / "service.sqlite", isolation_level=None)) as store:
        return store.execute(sql).fetchall()


def said(service: Service) -> str:
    return (service.running.temp.parent / "err").read_text(encoding="utf-8")


def test_requests_are_refused_with_words_and_runs_end(db: Database, folder: Path) -> None:
    with serving(db.dsn, folder) as service:
        first = service.upload(numbers(1, 3), "first.xlsx", table="target").json()["run_id"]
        with held(db.dsn, "target"):
            run = service.upload(numbers(4, 9), path="/upload?wait=false", table="target").json()["run"]["id"]
            service.until(run, "running", stage="publish")
            store = contextlib.ExitStack()
            store.enter_context(held_store(folder))
        with store:
            # It ends and is told, although that cannot be saved; by its state it is found like any other.
            assert service.until(run, "done", "failed", "interrupted")["state"] == "done"
            assert [each["id"] for each in service.json("/runs", state="done")["runs"]] == [run, first]
            assert service.json("/runs", state="running")["runs"] == []
            assert service.json(f"/runs/{run}/report")["stats"]["success_count"] == 6
            for refused in (
                service.upload(numbers(20, 29), table="target"),
                service.upload(numbers(20, 29), path="/check", table="target"),
                service.client.delete(f"/runs/{first}"),
            ):
                assert refused.status_code == 503, refused.text
                error = refused.json()
                assert (error["type"], error["place"]) == ("StoreFailed", "service.sqlite")
                assert "database is locked" in error["error"]
                assert "try again" in error["choice"]
                assert refused.headers["Retry-After"]
        wait_for(lambda: stored(folder, f"SELECT state FROM runs WHERE id = '{run}'") == [("done",)])
        wait_for(lambda: service.kept() == [])
        assert service.upload(numbers(10, 19), table="target").status_code == 200
        assert "Traceback" not in said(service)
    assert db.rows("select count(*), count(distinct n) from target") == [(19, 19)]


def test_new_table_belongs_to_the_service_although_that_was_saved_late(db: Database, folder: Path) -> None:
    with serving(db.dsn, folder) as service:
        # The first run of a service makes the ledger; later ones wait for its lock.
        service.upload(numbers(1, 2), "other.xlsx")
        with held(db.dsn, "importer.runs"):
            run = service.upload(numbers(1, 2), "fresh.xlsx", "/upload?wait=false").json()["run"]["id"]
            wait_for(lambda: "fresh" in str(stored(folder, f"SELECT listed FROM runs WHERE id = '{run}'")))
            wait_for(lambda: service.run(run)["table"])
            store = contextlib.ExitStack()
            store.enter_context(held_store(folder))
        with store:
            assert service.until(run, "done", "failed", "interrupted")["state"] == "done"
            assert f"{db.schema}.fresh" in str(service.json("/tables"))
        wait_for(lambda: len(stored(folder, "SELECT name FROM owned")) == 2)
        kill_all(service.running)
    with serving(db.dsn, folder) as service:
        assert service.run(run)["state"] == "done"
        assert service.upload(numbers(3, 4), "fresh.xlsx").status_code == 200
    assert db.rows("select count(*) from fresh") == [(4,)]


def test_end_that_was_never_saved_is_found_again(db: Database, folder: Path) -> None:
    """Killed before the disk was well again: the run is resumed, with its workbook, and reports that all is done."""
    with serving(db.dsn, folder) as service:
        service.upload(numbers(1, 3), "first.xlsx", table="target")
        with held(db.dsn, "target"):
            run = service.upload(numbers(4, 9), path="/upload?wait=false", table="target").json()["run"]["id"]
            service.until(run, "running", stage="publish")
            store = contextlib.ExitStack()
            store.enter_context(held_store(folder))
        with store:
            service.until(run, "done")
            kill_all(service.running)
    with serving(db.dsn, folder) as service:
        assert service.run(run)["state"] == "interrupted"
        assert service.client.post(f"/runs/{run}/resume").status_code == 202
        assert service.until(run, "done", "failed")["outcome"] == "already-imported"
        wait_for(lambda: service.kept() == [])
    assert db.rows("select count(*), count(distinct n) from target") == [(9, 9)]


def test_failed_change_leaves_the_store_as_it_was(folder: Path) -> None:
    made = {"id": "a" * 32, "created_at": "2026", "state": "queued"}
    with open_store(folder / "service.sqlite", "here") as store:
        store.save(made)
        with held_store(folder):
            for change in (lambda: store.save(made | {"state": "done"}, {"stats": 1}), lambda: store.delete("a" * 32)):
                with pytest.raises(StoreFailed, match="database is locked"):
                    change()
            assert (store.get("a" * 32), store.report("a" * 32)) == (made, None)
        store.save(made | {"state": "done"}, {"stats": 1})
        assert (store.page(9, None, "done"), store.report("a" * 32)) == ([made | {"state": "done"}], {"stats": 1})
