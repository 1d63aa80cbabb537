"""Owns the staging table of a run: takes over that of a dead run if ledger and table agree, else creates a new one."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from importer.errors import DatabaseError
from importer.ledger import tables as ledger
from importer.ledger.history import clean_after_check, drop_staging_table
from importer.ledger.locks import new_staging_name
from importer.ledger.schema import create_in_schema
from importer.ledger.trust import is_own_staging
from importer.load.staging import Staging, define_staging, plan_staging
from importer.version import __version__

from .outcome import end_run, is_resumable, undo_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from importer.contract.model import Contract
    from importer.ledger.tables import Chunk
    from importer.plan.model import LoadPlan
    from importer.postgres.session import Session
    from importer.settings import Settings
    from importer.validation.tasks import WindowChecked

    from .lease import RunLease
    from .staging_state import StagingState


@contextlib.contextmanager
def open_staging(
    state: StagingState, contract: Contract, plan: LoadPlan, chunks: Mapping[int, Chunk], about: Mapping[str, Any],
    *, dry_run: bool,
) -> Iterator[tuple[Staging, frozenset[int]]]:  # fmt: skip
    """Provide a staging table and the numbers of the chunks that are in it.

    A failure for a reason that may pass leaves the table for the next attempt. A failure caused by the data or the
    target, and a dry run, leave nothing.

    Args:
        state: state of the run's staging.
        contract: the contract of the load.
        plan: the load plan.
        chunks: chunks of this run, by number.
        about: the ledger's columns for this run.
        dry_run: whether to leave no trace.

    Raises:
        TargetRefused: the role may not create the table.
    """
    fresh, statement, shape = _plan_table(state.lease, contract, plan)
    try:
        found = None if dry_run else _find_staging(state, fresh, shape, chunks, about)
        if found is None:
            replaced = state.create(fresh)
            row = None if dry_run else {**about, "shape": shape}
            if _create_staging(state.lease, fresh, statement, row, replaced):
                state.own_schema()
            found = fresh, frozenset()
        yield found
    except BaseException as exc:
        end_run(state, exc, keep=not dry_run and is_resumable(exc))
        raise
    if dry_run:
        undo_run(state)
        clean_after_check(state.lease.session)


@contextlib.contextmanager
def finish_direct_copy(state: StagingState) -> Iterator[None]:
    """Run the block that completes a direct copy; on any failure in it, the table is as it was before."""
    try:
        yield
    except BaseException as exc:
        end_staging(state, exc)
        raise


def begin_staging(state: StagingState, contract: Contract, plan: LoadPlan, about: Mapping[str, Any]) -> Staging:
    """Create a staging table for chunks that are written while the sheet is still being read.

    `open_staging` takes it over; a failure before that must be passed to `end_staging`.
    """
    staging, statement, shape = _plan_table(state.lease, contract, plan)
    state.begin(staging, shape)
    _create_staging(state.lease, staging, statement, {**about, "shape": shape}, None)
    return staging


def end_staging(state: StagingState, exc: BaseException) -> None:
    """Record how a run ended before `open_staging` took over its staging, or undo it; see `open_staging`."""
    end_run(state, exc, keep=is_resumable(exc))


def _plan_table(lease: RunLease, contract: Contract, plan: LoadPlan) -> tuple[Staging, str, str]:
    """Return the planned staging table, the statement that creates it, and that statement's checksum (the shape)."""
    staging = plan_staging(new_staging_name(lease.key), lease.target, plan.columns, contract, lineage=plan.lineage)
    statement = define_staging(staging, lease.target, contract)
    return staging, statement, hashlib.sha256(statement.replace(staging.name, "").encode()).hexdigest()


def ledger_row(lease: RunLease, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's row in the ledger where it has no staging."""
    return {"id": lease.run_id, "key": lease.key, "staging": None, **about}


def _find_staging(
    state: StagingState, fresh: Staging, shape: str, chunks: Mapping[int, Chunk], about: Mapping[str, Any]
) -> tuple[Staging, frozenset[int]] | None:
    """Take over what this run began or a dead one left; return it and the chunks in it, or None if it does not fit."""
    if state.begun_shape is None:
        return _take_over(state, fresh, shape, chunks)
    if state.begun_shape != shape or state.table is None:
        return None
    lease = state.lease
    staging, session = replace(fresh, name=state.table.name), lease.session
    if not is_own_staging(session, lease.run_id, staging.name):
        return None
    written = ledger.find_chunks(session, staging.name)
    if any(chunks.get(number) != chunk for number, chunk in written.items()):
        return None
    ledger.open_run(session, {"id": lease.run_id, "key": lease.key, "staging": staging.name, **about, "shape": shape})
    session.commit()
    state.take_over(staging)
    return staging, frozenset(written)


def _take_over(
    state: StagingState, fresh: Staging, shape: str, chunks: Mapping[int, Chunk]
) -> tuple[Staging, frozenset[int]] | None:
    """Take over the dead run's staging, unless it differs from the ledger or from this plan; see `_find_staging`."""
    dead, session = state.lease.dead_run, state.lease.session
    if dead is None or dead.staging is None or dead.shape != shape:
        return None
    staging = replace(fresh, name=dead.staging)
    written = ledger.find_chunks(session, staging.name)
    if any(chunks.get(number) != chunk for number, chunk in written.items()):
        return None
    try:
        if not is_own_staging(session, dead.id, staging.name):
            session.rollback()
            return None
        rows = session.value(f"select count(*) from {staging.quoted}")
    except DatabaseError as exc:
        if exc.transient:
            raise
        # The table was dropped or belongs to another role.
        session.rollback()
        return None
    # A crash of the server empties an unlogged table, and the methods that insert row by row may leave part of a chunk.
    if rows != sum(chunk.rows for chunk in written.values()):
        return None
    session.commit()
    state.take_over(staging, resumed_rows=rows)
    return staging, frozenset(written)


def _create_staging(
    lease: RunLease, staging: Staging, statement: str, about: dict[str, Any] | None, replaced: str | None
) -> bool:
    """Create the staging table and the run's row in one transaction, and drop the table that they replace.

    Returns:
        Whether the schema was created, too.
    """
    session = lease.session

    def create() -> None:
        if replaced is not None and about is not None:
            ledger.delete_chunks(session, lease.run_id)
        session.run(statement)
        if about is not None:
            ledger.open_run(session, {"id": lease.run_id, "key": lease.key, "staging": staging.name, **about})

    made = create_in_schema(session, create)
    if replaced is not None and about is not None:
        drop_staging(session, replaced)
    return made


def drop_staging(session: Session, name: str) -> None:
    """Drop a staging table that is no longer needed, unless a session holds it. Ignores database errors. Commits."""
    try:
        session.rollback()
        drop_staging_table(session, name)
        session.commit()
    except DatabaseError:
        with contextlib.suppress(DatabaseError):
            session.rollback()


def make_chunks(windows: Mapping[int, WindowChecked]) -> dict[int, Chunk]:
    """Return the chunks of checked windows that have accepted rows, by number."""
    return {number: ledger.make_chunk(window) for number, window in sorted(windows.items()) if window.accepted}


def describe_run(settings: Settings, lease: RunLease, chunks: int | None, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the ledger's columns for a run that begins to write.

    Args:
        settings: settings of the run.
        lease: lease of the run.
        chunks: number of chunks; None while it is not known.
        counts: the counts of the run report.
    """
    import os
    import socket

    method = {"name": settings.method, "workers": settings.workers, "chunks": chunks}
    return {
        "workbook": lease.workbook.recorded_name, "sha256": lease.workbook.sha256, "sheet": lease.sheet.name,
        "target_schema": lease.target.schema, "target_table": lease.target.name, "mode": settings.mode,
        "target_oid": lease.target.table.oid if lease.target.table else None,
        "contract_sha256": lease.contract_sha256,
        "plan": {**method, "options": lease.options},
        "counts": counts,
        "client": f"{socket.gethostname()}, process {os.getpid()}", "version": __version__,
    }  # fmt: skip
