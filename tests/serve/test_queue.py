"""The queue of runs: when it forgets them, and what it says of one whose process it killed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from support.serving import book, short_folder

from importer.serve.config import Config
from importer.serve.errors import stamp
from importer.serve.jobs import execution
from importer.serve.jobs.database import Database
from importer.serve.jobs.processes import ChildPool
from importer.serve.jobs.queue import Jobs
from importer.serve.jobs.service_run import ASK_BY_RESUME, DONE, GO_ON, INTERRUPTED, RUNNING, ServiceRun, StageProgress
from importer.serve.jobs.store import open_store
from importer.serve.jobs.uploads import Uploads
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAYS = 30


def ago(days: float) -> str:
    return stamp((datetime.now(UTC) - timedelta(days=days)).timestamp())


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with short_folder() as folder:
        yield folder


def run(state: str, created: float, finished: float | None) -> ServiceRun:
    made = ServiceRun("upload", "0" * 32, f"{state}.xlsx", 1, {}, created_at=ago(created), state=state)
    made.finished_at = None if finished is None else ago(finished)
    return made


def pruned(folder: Path, *runs: ServiceRun) -> list[str]:
    """The states of the runs that are still listed after a queue that had them was pruned."""
    config = Config(folder=folder, keep_days=DAYS)
    for path in (config.uploads, config.results, config.scratch):
        path.mkdir()
    with open_store(folder / "service.sqlite", "embedded") as store:
        for each in runs:
            store.save(each.stored())
        jobs = Jobs(config, store, Uploads(config), ChildPool(config.scratch, 1), Database(None))
        asyncio.run(jobs.prune())
        return [listed["state"] for listed in store.page(10, None, None)]


def test_run_that_ended_today_is_kept_however_long_ago_it_was_sent(tmp_path: Path) -> None:
    assert pruned(tmp_path, run(DONE, created=DAYS + 9, finished=0.1)) == [DONE]


def test_run_that_ended_long_ago_is_forgotten(tmp_path: Path) -> None:
    old = run(DONE, created=DAYS + 9, finished=DAYS + 1)
    assert pruned(tmp_path, old, run(RUNNING, created=DAYS + 9, finished=None)) == [RUNNING]


def test_interrupted_run_can_be_resumed_as_long_after_it_was_stopped(tmp_path: Path) -> None:
    assert pruned(tmp_path, run(INTERRUPTED, created=DAYS + 9, finished=DAYS - 1)) == [INTERRUPTED]


@pytest.mark.parametrize(("stage", "choice"), [("publish", ASK_BY_RESUME), ("load", GO_ON)])
def test_run_that_does_not_notice_its_deadline_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, choice: str
) -> None:
    """It can be resumed; from the last stage on, nobody knows whether it published its rows."""
    monkeypatch.setattr(execution, "_GRACE_SECONDS", 0.0)
    made = run(RUNNING, created=0, finished=None)
    config = Config(folder=tmp_path, seconds=0.01)
    for path in (config.uploads, config.results, config.scratch):
        path.mkdir()

    async def work() -> None:
        uploads, children = Uploads(config), ChildPool(config.scratch, 1)
        upload = uploads.begin("data.xlsx", 1)
        upload.path.write_bytes(book(["n"], [1]))
        uploads.keep(upload, 1, once=True)
        made.upload, made.writing, made.progress = upload.id, True, StageProgress(stage, 1, 1, None)
        with open_store(tmp_path / "service.sqlite", "embedded") as store:
            try:
                await Jobs(config, store, uploads, children, Database(Dsn("host=/nowhere")))._work(made)
            finally:
                await children.stop()

    asyncio.run(work())
    assert made.error is not None
    assert (made.state, made.error.type, made.error.choice) == (INTERRUPTED, "TimedOut", choice)
