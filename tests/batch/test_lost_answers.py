"""Imports whose worker was lost after it had published: told as published, with counts, and not loaded again."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import pytest
from support.clusters import made_books
from support.tables import save

from importer import import_many
from importer.batch.execution.tasks import run_task
from importer.batch.import_spec import ImportSpec
from importer.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Database


class LosesAnswers(Executor):
    """Runs each task, and then cancels the first attempt at an import, as a cluster whose scheduler died."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        answer, future = function(*args, **kwargs), Future[Any]()
        if function is run_task and args[0].attempt == 0:
            future.cancel()
        else:
            future.set_result(answer)
        return future


def test_what_a_lost_worker_published_is_told_and_not_loaded_again(db: Database, tmp_path: Path) -> None:
    """Also with `again`, which another run of the same import would obey."""
    folder = made_books(tmp_path / "in", 2)
    save(folder / "bad.xlsx", ["id", "v"], [7, "x"], ["none", "y"])
    db.run("create table t (id bigint not null, v text)")
    how: dict[str, Any] = {"to": db.dsn.text, "table": "t", "executor": LosesAnswers()}
    report = import_many(folder, **how, again=True, rejects=f"{tmp_path}/")
    sums = report.sums
    assert (report.exit_code, sums["published"], sums["success_count"], sums["error_count"]) == (1, 3, 5, 1), str(
        report
    )
    assert db.rows("select id from t order by id") == [(0,), (1,), (7,), (100,), (101,)]
    told = report.reports[-1].report
    assert told["table_rows"]["inserted"] == 1
    assert told["rejects"]["file"] == f"{tmp_path}/bad.rejects.xlsx"
    assert "by an attempt whose answer was lost" in told["notes"][0]
    # Another command has not done it.
    after = import_many(folder, **how)
    assert (after.sums["published"], after.sums["already_imported"], after.sums["success_count"]) == (0, 3, 0)


#: Unfinished runs of the same imports, as a process leaves them that is killed while it copies into the table.
DEAD = (
    "create temp table dead as select distinct on (key) * from importer.runs where target_schema = current_schema()",
    "delete from dead using importer.runs r where r.key = dead.key and r.state = 'loading'",
    "update dead set id = gen_random_uuid(), state = 'loading', finished_at = null",
    "insert into importer.runs select * from dead",
    "drop table dead",
)


@pytest.mark.parametrize("when", ["before", "between"])
def test_what_a_lost_worker_published_is_found_where_other_runs_died(db: Database, tmp_path: Path, when: str) -> None:
    """The first attempt goes on with a run that died before it; the second finds one that died after the first."""
    how: dict[str, Any] = {"to": db.dsn.text, "table": "t", "again": True}
    folder = made_books(tmp_path / "in", 2)
    db.run("create table t (id bigint not null, v text)")

    class Between(LosesAnswers):
        def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = super().submit(function, *args, **kwargs)
            if future.cancelled():
                db.run(*DEAD)
            return future

    if when == "before":
        import_many(folder, **how)
        db.run(*DEAD, "truncate t")
    report = import_many(folder, **how, executor=LosesAnswers() if when == "before" else Between())
    assert (report.exit_code, report.sums["published"], report.sums["success_count"]) == (0, 2, 4), str(report)
    assert db.rows("select id from t order by id") == [(0,), (1,), (100,), (101,)]


def test_what_a_lost_worker_published_is_loaded_again_if_its_table_is_gone(db: Database, tmp_path: Path) -> None:
    """A task of Airflow that runs once more, after somebody dropped the table, has the name that it had."""
    book = save(tmp_path / "a.xlsx", ["id"], [1])
    spec = ImportSpec(str(book), None, "t", {"run_seed": "task", "workers": 0})
    for _ in range(2):
        report = import_many([spec], to=db.dsn.text)
        assert report.sums["published"] == 1, str(report)
        assert db.rows("select id from t") == [(1,)]
        db.run("drop table t")


class Stops(Executor):
    """Stops each task that it is given, as Ray does with one that is cancelled."""

    def submit(self, _function: Callable[..., Any], /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        future = Future[Any]()
        future.set_exception(Interrupted("it was told to stop"))
        return future


def test_what_its_executor_stopped_is_told_as_interrupted(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id bigint not null, v text)")
    report = import_many(made_books(tmp_path / "in", 2), to=db.dsn.text, table="t", executor=Stops())
    assert (report.exit_code, report.sums["interrupted"], report.sums["failed"]) == (130, 2, 0)
