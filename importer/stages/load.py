"""Loads checked windows: writes chunks to staging, verifies them and publishes them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from importer.errors import DatabaseError, ImporterError, NotSpooled, WriterDied
from importer.ledger.schema import SCHEMA
from importer.load.copy import CopyTarget, WriteTask, max_writers, write_chunk
from importer.load.direct_copy import begin_direct_copy
from importer.load.insert_bisect import PublishResult
from importer.load.publish import explain_refusal, publish
from importer.load.sequences import move_sequences
from importer.load.staging import Staging, verify
from importer.load.target_lock import lock_target
from importer.load.worker_session import close_session
from importer.postgres.kept_sessions import keeps_sessions
from importer.run.recovery import describe_run, finish_direct_copy, ledger_row, make_chunks, open_staging
from importer.runtime.stage import Stage
from importer.verification.checksum_sql import Checksum, add

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from importer.ledger.tables import Chunk
    from importer.plan.make_plan import PlannedLoad
    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.run.lease import RunLease
    from importer.run.staging_state import StagingState
    from importer.validation.tasks import WindowChecked

    from .workspace import RunContext


@contextlib.contextmanager
def write_and_publish(
    run: RunContext,
    state: StagingState,
    load: PlannedLoad,
    windows: dict[int, WindowChecked],
    counts: Mapping[str, int],
) -> Iterator[PublishResult]:
    """Write, verify and publish all chunks, and yield the result in a transaction that the caller then owns.

    Chunks go through staging, unless they went straight into the target while the sheet was read.
    The caller commits it, or rolls it back. Without a commit before the block ends, the target is unchanged.

    Args:
        run: context of the run.
        state: state of the run's staging; the session of its lease publishes.
        load: contract, plan and lineage of the load.
        windows: results of the check, by window number.
        counts: counts of the run report, which the ledger keeps while the run writes.
    """
    lease, clock = state.lease, run.clock
    session, target = lease.session, lease.target
    accepted = sum(w.accepted for w in windows.values())
    chunks = make_chunks(windows)
    about = describe_run(run.settings, lease, len(chunks), counts)
    if _is_for_direct_copy(run, state, load, windows):
        direct = begin_direct_copy(session, target, load.plan, None, clock.spans)
        if direct is not None:
            state.copy_directly(direct)
    if state.direct is not None and not state.direct.copy_rest(windows):
        state.roll_back_direct()
    if (direct := state.direct) is not None:
        with finish_direct_copy(state):
            with clock.stage(Stage.VERIFY):
                direct.verify(accepted, _total_checksums(windows))
            direct.write_ledger(chunks, ledger_row(lease, about))
            yield PublishResult(accepted, 0, 0, 0, (), move_sequences(session, target, load.plan))
        return
    with open_staging(state, load.contract, load.plan, chunks, about, dry_run=run.dry_run) as (staging, done):
        written = sum(chunks[number].rows for number in done)
        with clock.stage(Stage.WRITE):
            clock.expect(accepted)
            clock.advance(written)
            left = {number: chunk for number, chunk in chunks.items() if number not in done}
            _write(run, lease, staging, windows, left)
        with clock.stage(Stage.VERIFY):
            verify(session, staging, accepted, _total_checksums(windows), load.plan.text_hash)
        with clock.stage(Stage.PUBLISH), _roll_back_refusal(run, session, target, load):
            lock_target(session, target, run.settings.mode, load.plan.added)
            published = publish(session, staging, target, load, run.settings.mode, accepted)
            if not run.dry_run:
                published = replace(published, notes=move_sequences(session, target, load.plan))
        yield published


def _is_for_direct_copy(
    run: RunContext, state: StagingState, load: PlannedLoad, windows: Mapping[int, WindowChecked]
) -> bool:
    """Return whether the few rows of one of many imports may be copied without a staging table.

    Making and dropping one costs the server more than such rows do.
    """
    if not keeps_sessions() or run.dry_run or not run.pool.own_process or state.lease.session.is_joined:
        return False
    if state.direct is not None or state.table is not None or state.lease.dead_run is not None:
        return False
    few = all(w.chunk is not None for w in windows.values() if w.accepted)
    return few and run.settings.mode == "append" and run.settings.method == "batch" and not load.plan.added


@contextlib.contextmanager
def _roll_back_refusal(run: RunContext, session: Session, target: Target, load: PlannedLoad) -> Iterator[None]:
    """Roll the transaction back if the server refuses to publish, and raise what that means for the user.

    `write_and_publish` owns the transaction until it yields. It ends it here, because the role that the message names
    can only be read in a new one.
    """
    try:
        yield
    except DatabaseError as exc:
        session.rollback()
        raise explain_refusal(exc, session, target, load, run.settings.mode) from None


def _write(
    run: RunContext, lease: RunLease, staging: Staging, windows: dict[int, WindowChecked], chunks: dict[int, Chunk]
) -> None:
    """Write these chunks to staging.

    Raises:
        NotSpooled: a chunk that was written while the sheet was read is missing in staging, and was not kept.
    """
    paths = {number: path for number in chunks if (path := windows[number].chunk) is not None}
    if len(paths) < len(chunks):
        raise NotSpooled("what was written while the sheet was read is not in staging")
    settings, ledger = run.settings, not run.dry_run
    rowwise = settings.method != "batch"
    retry_for = 0.0 if rowwise or not ledger else settings.retry_for
    target = CopyTarget(
        lease.dsn,
        SCHEMA,
        staging.name,
        settings.method,
        staging.row_column,
        lease.run_id if ledger else None,
        retry_for,
    )
    tasks = (WriteTask(target, chunks[number], path) for number, path in paths.items())
    cells = sum(w.accepted for w in windows.values()) * len(staging.columns)
    lanes = {"sequential": 1, "concurrent": None}.get(settings.method, max_writers(cells))
    # A retry needs the ledger, to know whether a chunk is in staging; one written row by row may be there in part.
    again = ledger and not rowwise
    try:
        written = (
            map(write_chunk, tasks)  # no other session sees the table
            if lease.session.is_joined
            else run.pool.run(write_chunk, tasks, partial(_writer_error, lease), lanes=lanes, again=again)
        )
        for _, rows in written:
            run.clock.advance(rows)
    except BaseException:
        close_session(broken=True)
        raise
    close_session()
    run.pool.retire()


def _writer_error(lease: RunLease, task: WriteTask, how: str) -> ImporterError:
    return WriterDied(
        f"the process that wrote sheet {lease.sheet.name!r}, rows {task.chunk.first_row}-{task.chunk.last_row}, {how}; "
        "nothing was published"
    )


def _total_checksums(windows: dict[int, WindowChecked]) -> dict[str, Checksum]:
    totals: dict[str, Checksum] = {}
    for window in windows.values():
        for name, checksum in window.checksums.items():
            totals[name] = add(totals.get(name), checksum)
    return totals
