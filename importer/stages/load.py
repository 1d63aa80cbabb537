"""Loads checked windows: writes chunks to staging, verifies them and publishes them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from importer.errors import DatabaseError, ImporterError, NotSpooled, WriterDied
from importer.ledger.schema import SCHEMA
from importer.load.copy import CopyTarget, WriteTask, max_writers, write_chunk
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
    from importer.workers.task_result import Death

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

    Chunks go through staging, unless they went straight into the target while the sheet was read, or can now.
    The caller commits it, or rolls it back. Without a commit before the block ends, the target is unchanged.

    Args:
        run: context of the run.
        state: state of the run's staging; the session of its lease publishes.
        load: contract, plan and lineage of the load.
        windows: results of the check, by window number.
        counts: counts of the run report, which the ledger keeps while the run writes.
    """
    chunks = make_chunks(windows)
    about = describe_run(run.settings, state.lease, len(chunks), counts)
    _complete_direct_copy(run, state, load, windows)
    if state.direct is None:
        with open_staging(state, load.contract, load.plan, chunks, about, dry_run=run.dry_run) as (staging, done):
            _write_rest(run, state.lease, staging, windows, {n: chunk for n, chunk in chunks.items() if n not in done})
            yield _verify_and_publish(run, state.lease, staging, load, windows)
        return
    accepted, lease = _accepted(windows), state.lease
    with finish_direct_copy(state):
        with run.clock.stage(Stage.VERIFY):
            state.direct.verify(accepted, _total_checksums(windows))
        state.direct.write_ledger(chunks, ledger_row(lease, about))
        yield PublishResult(accepted, 0, 0, 0, (), move_sequences(lease.session, lease.target, load.plan))


def _complete_direct_copy(
    run: RunContext, state: StagingState, load: PlannedLoad, windows: Mapping[int, WindowChecked]
) -> None:
    """Copy straight into the target what a direct copy still lacks, or all rows of one of many; or roll that back."""
    if _is_for_direct_copy(run, state, load, windows):
        from importer.load.direct_copy import begin_direct_copy

        direct = begin_direct_copy(
            state.lease.session, state.lease.target, load.plan, _accepted(windows), run.clock.spans
        )
        if direct is not None:
            state.copy_directly(direct)
    if state.direct is not None and not state.direct.copy_rest(windows):
        state.roll_back_direct()


def _write_rest(
    run: RunContext, lease: RunLease, staging: Staging, windows: dict[int, WindowChecked], left: dict[int, Chunk]
) -> None:
    """Write the chunks that are not in staging yet, and count those that are."""
    accepted = _accepted(windows)
    with run.clock.stage(Stage.WRITE):
        run.clock.expect(accepted)
        run.clock.advance(accepted - sum(chunk.rows for chunk in left.values()))
        _write(run, lease, staging, windows, left)


def _verify_and_publish(
    run: RunContext, lease: RunLease, staging: Staging, load: PlannedLoad, windows: dict[int, WindowChecked]
) -> PublishResult:
    """Compare staging with what was read, and move its rows into the target, in a transaction that stays open."""
    session, target, accepted = lease.session, lease.target, _accepted(windows)
    with run.clock.stage(Stage.VERIFY):
        verify(session, staging, accepted, _total_checksums(windows), load.plan.text_hash)
    with run.clock.stage(Stage.PUBLISH), _roll_back_refusal(run, session, target, load):
        lock_target(session, target, run.settings.mode, load.plan.added)
        published = publish(session, staging, target, load, run.settings.mode, accepted)
        if not run.dry_run:
            published = replace(published, notes=(*published.notes, *move_sequences(session, target, load.plan)))
    return published


def _accepted(windows: Mapping[int, WindowChecked]) -> int:
    return sum(window.accepted for window in windows.values())


def _is_for_direct_copy(
    run: RunContext, state: StagingState, load: PlannedLoad, windows: Mapping[int, WindowChecked]
) -> bool:
    """Return whether the rows of one of many imports may be copied without a staging table.

    Making and dropping one costs the server more than few rows do, and moving them as much as copying them.
    """
    if not keeps_sessions() or run.dry_run or not run.pool.own_process or state.lease.session.is_joined:
        return False
    if state.direct is not None or state.table is not None or state.lease.dead_run is not None:
        return False
    kept = all(w.chunk is not None for w in windows.values() if w.accepted)
    return kept and run.settings.mode == "append" and run.settings.method == "batch" and not load.plan.added


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
    # A retry needs the ledger, to know whether a chunk is in staging; one written row by row may be there in part.
    again = run.settings.method == "batch" and not run.dry_run
    target = CopyTarget(
        lease.dsn, SCHEMA, staging.name, run.settings.method, staging.row_column,
        None if run.dry_run else lease.run_id, run.settings.retry_for if again else 0.0,
    )  # fmt: skip
    tasks = (WriteTask(target, chunks[number], path) for number, path in paths.items())
    cells = _accepted(windows) * len(staging.columns)
    workers = {"sequential": 1, "concurrent": None}.get(run.settings.method, max_writers(cells))
    try:
        written = (
            map(write_chunk, tasks)  # no other session sees the table
            if lease.session.is_joined
            else run.pool.run(write_chunk, tasks, partial(_writer_error, lease), workers=workers, again=again)
        )
        for _, rows in written:
            run.clock.advance(rows)
    except BaseException:
        close_session(broken=True)
        raise
    close_session()
    run.pool.retire()


def _writer_error(lease: RunLease, task: WriteTask, how: Death) -> ImporterError:
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
