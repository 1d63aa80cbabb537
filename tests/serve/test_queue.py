"""The queue of runs forgets them by when they ended, not by when they were sent."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from importer.serve.config import Config
from importer.serve.errors import stamp
from importer.serve.jobs.database import Database
from importer.serve.jobs.processes import ChildPool
from importer.serve.jobs.queue import Jobs
from importer.serve.jobs.run import DONE, INTERRUPTED, RUNNING, Run
from importer.serve.jobs.store import Store
from importer.serve.jobs.uploads import Uploads

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 30


def ago(days: float) -> str:
    return stamp((datetime.now(UTC) - timedelta(days=days)).timestamp())


def run(state: str, created: float, finished: float | None) -> Run:
    made = Run("upload", "0" * 32, f"{state}.xlsx", 1, {}, created_at=ago(created), state=state)
    made.finished_at = None if finished is None else ago(finished)
    return made


def pruned(folder: Path, *runs: Run) -> list[str]:
    """The states of the runs that are still listed after a queue that had them was pruned."""
    config = Config(folder=folder, keep_days=DAYS)
    for path in (config.uploads, config.results, config.scratch):
        path.mkdir()
    with contextlib.closing(Store(folder / "service.sqlite", "embedded")) as store:
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
