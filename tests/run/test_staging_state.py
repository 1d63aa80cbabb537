"""What a run is sure of while it holds its lease, and the states that its staging goes through."""

from __future__ import annotations

import threading
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING

import pytest
from support.tables import save

from importer.load.staging import Staging
from importer.run.lease_holder import LeaseHolder
from importer.run.staging_state import StagingState
from importer.runtime.progress import Clock
from importer.runtime.retry import Deadline
from importer.settings import make_settings
from importer.stages.read import open_source
from importer.stages.stream import Stream
from importer.stages.workspace import RunContext
from importer.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database

    from importer.run.lease import RunLease


@pytest.fixture
def lease(db: Database, tmp_path: Path) -> Iterator[RunLease]:
    settings = make_settings(save(tmp_path / "b.xlsx", ["a"], [1]), to=db.dsn.text, workers=0)
    with LeaseHolder(settings, None, Clock(deadline=Deadline(30)), dry_run=False) as holder:
        holder.set_source(*open_source(settings, Clock()))
        yield holder.get()


def test_lease_cannot_be_changed(lease: RunLease) -> None:
    with pytest.raises(FrozenInstanceError):
        lease.run_id = "another"  # type: ignore[misc]
    assert (lease.dead_run, lease.published_run, lease.notes) == (None, None, ())


def test_fields_of_staging_are_changed_by_verbs_only(lease: RunLease) -> None:
    state = StagingState(lease)
    for name in ("table", "direct", "begun_shape", "resumed_rows", "owns_schema"):
        with pytest.raises(AttributeError):
            setattr(state, name, None)
    assert (state.table, state.direct, state.begun_shape, state.resumed_rows) == (None, None, None, 0)


def test_staging_that_was_begun_is_replaced_or_taken_over(lease: RunLease) -> None:
    begun, other = (Staging(name, becomes_target=False, columns=()) for name in ("begun", "other"))
    state = StagingState(lease)
    state.begin(begun, "shape")
    assert (state.table, state.begun_shape) == (begun, "shape")
    state.take_over(begun)
    assert (state.table, state.resumed_rows) == (begun, 0)
    assert state.create(other) == "begun"
    assert state.table == other
    assert StagingState(lease).create(other) is None


def test_holder_and_stream_start_no_thread_before_the_holder_is_entered(db: Database, tmp_path: Path) -> None:
    settings = make_settings(save(tmp_path / "b.xlsx", ["a"], [1]), to=db.dsn.text, workers=0)
    before = set(threading.enumerate())
    holder = LeaseHolder(settings, None, Clock(), dry_run=True)
    pool = Pool(settings.workers, settings.limits, tmp_path / "log")
    stream = Stream(RunContext(settings, None, Clock(), tmp_path, pool, dry_run=True), holder)
    assert stream.dsn() is None
    assert set(threading.enumerate()) <= before
    with holder:
        holder.set_source(*open_source(settings, Clock()))
        assert holder.get().dsn == holder.dsn() == db.dsn
