"""Owns the staging table of a run: takes over that of a dead run if ledger and table agree, else creates a new one."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from importer.errors import DatabaseError
from importer.ledger import tables as ledger
from importer.ledger.locks import new_staging_name
from importer.ledger.schema import create_in_schema
from importer.load.staging import Staging, define_staging, plan_staging
from importer.version import __version__

from .outcome import end_run, is_resumable, undo_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from importer.contract.model import Contract
    from importer.ledger.tables import Chunk
    from importer.load.direct_copy import DirectCopy
    from importer.plan.model import LoadPlan
    from importer.settings import Settings
    from importer.validation.tasks import WindowChecked

    from .lease import RunLease

#: How long to wait for a table that a session being terminated still holds; after that it is left to `importer runs
#: clean`.
_DROP_MILLISECONDS = 2000


@contextlib.contextmanager
def open_staging(
    lease: RunLease, contract: Contract, plan: LoadPlan, chunks: Mapping[int, Chunk], about: Mapping[str, Any],
    *, dry_run: bool,
) -> Iterator[tuple[Staging, frozenset[int]]]:  # fmt: skip
    """Provide a staging table and the numbers of the chunks that are in it.

    A failure for a reason that may pass leaves the table for the next attempt. A failure caused by the data or the
    target, and a dry run, leave nothing.

    Args:
        lease: lease of the run.
        contract: the contract of the load.
        plan: the load plan.
        chunks: chunks of this run, by number.
        about: the ledger's columns for this run.
        dry_run: whether to leave no trace.

    Raises:
        TargetRefused: the role may not create the table.
    """
    staging, statement, shape = _planned(lease, contract, plan)
    made_schema = False
    try:
        found = None if dry_run else _found(lease, staging, shape, chunks, about)
        if found is None:
            done = frozenset[int]()
            made_schema = _create_staging(lease, staging, statement, None if dry_run else {**about, "shape": shape})
        else:
            lease.staging, done = found
        assert lease.staging is not None
        yield lease.staging, done
    except BaseException as exc:
        end_run(lease, exc, keep=not dry_run and is_resumable(exc), made_schema=made_schema)
        raise
    if dry_run:
        undo_run(lease, made_schema=made_schema)


@contextlib.contextmanager
def open_direct_copy(lease: RunLease) -> Iterator[DirectCopy]:
    """Provide the direct copy into the target; on any failure in the block, the table is as it was before."""
    assert lease.direct is not None
    try:
        yield lease.direct
    except BaseException as exc:
        end_run(lease, exc, keep=is_resumable(exc), made_schema=False)
        raise


def begin_staging(lease: RunLease, contract: Contract, plan: LoadPlan, about: Mapping[str, Any]) -> Staging:
    """Create a staging table for chunks that are written while the sheet is still being read.

    `open_staging` takes it over; a failure before that must be passed to `end_staging`.
    """
    staging, statement, shape = _planned(lease, contract, plan)
    lease.begun = shape
    _create_staging(lease, staging, statement, {**about, "shape": shape})
    return staging


def end_staging(lease: RunLease, exc: BaseException) -> None:
    """Record how a run ended before `open_staging` took over its staging, or undo it; see `open_staging`."""
    end_run(lease, exc, keep=is_resumable(exc), made_schema=False)


def _planned(lease: RunLease, contract: Contract, plan: LoadPlan) -> tuple[Staging, str, str]:
    """Return the planned staging table, the statement that creates it, and that statement's checksum (the shape)."""
    staging = plan_staging(new_staging_name(lease.key), lease.target, plan.columns, contract, lineage=plan.lineage)
    statement = define_staging(staging, lease.target, contract)
    return staging, statement, hashlib.sha256(statement.replace(staging.name, "").encode()).hexdigest()


def ledger_row(lease: RunLease, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's row in the ledger where it has no staging."""
    return {"id": lease.run_id, "key": lease.key, "staging": None, **about}


def _found(
    lease: RunLease, fresh: Staging, shape: str, chunks: Mapping[int, Chunk], about: Mapping[str, Any]
) -> tuple[Staging, frozenset[int]] | None:
    """Return the staging that this run began or a dead one left, and the chunks in it; None if it does not fit."""
    if lease.begun is None:
        return _take_over(lease, fresh, shape, chunks)
    if lease.begun != shape or lease.staging is None:
        return None
    staging, session = replace(fresh, name=lease.staging.name), lease.session
    written = ledger.find_chunks(session, staging.name)
    if any(chunks.get(number) != chunk for number, chunk in written.items()):
        return None
    ledger.open_run(session, {"id": lease.run_id, "key": lease.key, "staging": staging.name, **about, "shape": shape})
    session.commit()
    return staging, frozenset(written)


def _take_over(
    lease: RunLease, fresh: Staging, shape: str, chunks: Mapping[int, Chunk]
) -> tuple[Staging, frozenset[int]] | None:
    """Return the dead run's staging and the chunks in it; None if it differs from the ledger or from this plan."""
    dead, session = lease.dead_run, lease.session
    if dead is None or dead.staging is None or dead.shape != shape:
        return None
    staging = replace(fresh, name=dead.staging)
    written = ledger.find_chunks(session, staging.name)
    if any(chunks.get(number) != chunk for number, chunk in written.items()):
        return None
    try:
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
    return staging, frozenset(written)


def _create_staging(lease: RunLease, staging: Staging, statement: str, about: dict[str, Any] | None) -> bool:
    """Create the staging table and the run's row in one transaction; return whether the schema was created, too."""
    session = lease.session
    old = lease.staging.name if lease.staging else lease.dead_run.staging if lease.dead_run else None
    # Set before the table is created: a signal may arrive after its creation and before the next line runs.
    lease.staging = staging

    def create() -> None:
        if old is not None and about is not None:
            ledger.delete_chunks(session, lease.run_id)
        session.run(statement)
        if about is not None:
            ledger.open_run(session, {"id": lease.run_id, "key": lease.key, "staging": staging.name, **about})

    made = create_in_schema(session, create)
    if old is not None and about is not None:
        drop_staging(lease, old)
    return made


def drop_staging(lease: RunLease, name: str) -> None:
    """Drop a staging table that is no longer needed, unless a session holds it. Ignores database errors. Commits."""
    with contextlib.suppress(DatabaseError):
        lease.session.rollback()
        lease.session.run(f"SET LOCAL lock_timeout = {_DROP_MILLISECONDS}")
        lease.session.run(f"DROP TABLE IF EXISTS {Staging(name, becomes_target=False, columns=()).quoted}")
        lease.session.commit()


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
        "workbook": lease.workbook.path.name, "sha256": lease.workbook.sha256, "sheet": lease.sheet.name,
        "target_schema": lease.target.schema, "target_table": lease.target.name, "mode": settings.mode,
        "contract_sha256": lease.contract_sha256,
        "plan": {**method, "options": lease.options},
        "counts": counts,
        "client": f"{socket.gethostname()}, process {os.getpid()}", "version": __version__,
    }  # fmt: skip
