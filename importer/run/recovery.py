"""Owns the staging table of a run: takes over that of a dead run if ledger and table agree, else creates a new one."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from importer.errors import CommitUnknown, DatabaseError, ImporterError, TimedOut
from importer.ledger import tables as ledger
from importer.ledger.history import clean_after_import
from importer.ledger.locks import new_staging_name
from importer.ledger.schema import SCHEMA, create_in_schema, drop_empty_schema
from importer.load.staging import Staging, define_staging, plan_staging
from importer.postgres.sql import literal
from importer.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from importer.contract.model import Contract
    from importer.ledger.tables import Chunk
    from importer.load.direct_copy import DirectCopy
    from importer.plan.model import LoadPlan
    from importer.settings import Mode, Settings
    from importer.validation.tasks import WindowChecked

    from .lease import HeldLease

#: Advice for a run that stopped: with `GO_ON` the next one keeps the written chunks, with `_RERUN_ADVICE` it does not.
_RERUN_ADVICE = "run the same command again"
GO_ON = f"{_RERUN_ADVICE}: it goes on where this one stopped"
#: How long the last ledger update of a failed run may take, in seconds; without it the run counts as dead as well.
_FINAL_UPDATE_SECONDS = 0.5
#: How long to wait for a table that a session being terminated still holds; after that it is left to `importer runs
#: clean`.
_DROP_MILLISECONDS = 2000


@contextlib.contextmanager
def open_staging(
    claim: HeldLease, contract: Contract, plan: LoadPlan, chunks: Mapping[int, Chunk], about: Mapping[str, Any],
    *, dry_run: bool,
) -> Iterator[tuple[Staging, frozenset[int]]]:  # fmt: skip
    """Provide a staging table and the numbers of the chunks that are in it.

    A failure for a reason that may pass leaves the table for the next attempt. A failure caused by the data or the
    target, and a dry run, leave nothing.

    Args:
        claim: claim of the run.
        contract: the contract of the load.
        plan: the load plan.
        chunks: chunks of this run, by number.
        about: the ledger's columns for this run.
        dry_run: whether to leave no trace.

    Raises:
        TargetRefused: the role may not create the table.
    """
    staging, statement, shape = _planned(claim, contract, plan)
    made_schema = False
    try:
        found = None if dry_run else _found(claim, staging, shape, chunks, about)
        if found is None:
            done = frozenset[int]()
            made_schema = _create_staging(claim, staging, statement, None if dry_run else {**about, "shape": shape})
        else:
            claim.staging, done = found
        assert claim.staging is not None
        yield claim.staging, done
    except BaseException as exc:
        _end(claim, exc, keep=not dry_run and _resumable(exc), made_schema=made_schema)
        raise
    if dry_run:
        _undo_run(claim, made_schema=made_schema)


@contextlib.contextmanager
def open_direct_copy(claim: HeldLease) -> Iterator[DirectCopy]:
    """Provide the direct copy into the target; on any failure in the block, the table is as it was before."""
    assert claim.direct is not None
    try:
        yield claim.direct
    except BaseException as exc:
        _end(claim, exc, keep=_resumable(exc), made_schema=False)
        raise


def begin_staging(claim: HeldLease, contract: Contract, plan: LoadPlan, about: Mapping[str, Any]) -> Staging:
    """Create a staging table for chunks that are written while the sheet is still being read.

    `open_staging` takes it over; a failure before that must be passed to `end_staging`.
    """
    staging, statement, shape = _planned(claim, contract, plan)
    claim.begun = shape
    _create_staging(claim, staging, statement, {**about, "shape": shape})
    return staging


def end_staging(claim: HeldLease, exc: BaseException) -> None:
    """Record how a run ended before `open_staging` took over its staging, or undo it; see `open_staging`."""
    _end(claim, exc, keep=_resumable(exc), made_schema=False)


def _planned(claim: HeldLease, contract: Contract, plan: LoadPlan) -> tuple[Staging, str, str]:
    """Return the planned staging table, the statement that creates it, and that statement's checksum (the shape)."""
    staging = plan_staging(new_staging_name(claim.key), claim.target, plan.columns, contract, lineage=plan.lineage)
    statement = define_staging(staging, claim.target, contract)
    return staging, statement, hashlib.sha256(statement.replace(staging.name, "").encode()).hexdigest()


def ledger_row(claim: HeldLease, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's row in the ledger where it has no staging."""
    return {"id": claim.run, "key": claim.key, "staging": None, **about}


def _found(
    claim: HeldLease, fresh: Staging, shape: str, chunks: Mapping[int, Chunk], about: Mapping[str, Any]
) -> tuple[Staging, frozenset[int]] | None:
    """Return the staging that this run began or a dead one left, and the chunks in it; None if it does not fit."""
    if claim.begun is None:
        return _take_over(claim, fresh, shape, chunks)
    if claim.begun != shape or claim.staging is None:
        return None
    staging, session = replace(fresh, name=claim.staging.name), claim.session
    written = ledger.find_chunks(session, staging.name)
    if any(chunks.get(number) != chunk for number, chunk in written.items()):
        return None
    ledger.open_run(session, {"id": claim.run, "key": claim.key, "staging": staging.name, **about, "shape": shape})
    session.commit()
    return staging, frozenset(written)


def _resumable(exc: BaseException) -> bool:
    return exc.resumable if isinstance(exc, ImporterError) else True


def _take_over(
    claim: HeldLease, fresh: Staging, shape: str, chunks: Mapping[int, Chunk]
) -> tuple[Staging, frozenset[int]] | None:
    """Return the dead run's staging and the chunks in it; None if it differs from the ledger or from this plan."""
    dead, session = claim.dead, claim.session
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


def _create_staging(claim: HeldLease, staging: Staging, statement: str, about: dict[str, Any] | None) -> bool:
    """Create the staging table and the run's row in one transaction; return whether the schema was created, too."""
    session = claim.session
    old = claim.staging.name if claim.staging else claim.dead.staging if claim.dead else None
    # Set before the table is created: a signal may arrive after its creation and before the next line runs.
    claim.staging = staging

    def create() -> None:
        if old is not None and about is not None:
            ledger.delete_chunks(session, claim.run)
        session.run(statement)
        if about is not None:
            ledger.open_run(session, {"id": claim.run, "key": claim.key, "staging": staging.name, **about})

    made = create_in_schema(session, create)
    if old is not None and about is not None:
        drop_staging(claim, old)
    return made


def drop_staging(claim: HeldLease, name: str) -> None:
    """Drop a staging table that is no longer needed, unless a session holds it. Ignores database errors. Commits."""
    with contextlib.suppress(DatabaseError):
        claim.session.rollback()
        claim.session.run(f"SET LOCAL lock_timeout = {_DROP_MILLISECONDS}")
        claim.session.run(f"DROP TABLE IF EXISTS {Staging(name, becomes_target=False, columns=()).quoted}")
        claim.session.commit()


def _end(claim: HeldLease, exc: BaseException, *, keep: bool, made_schema: bool) -> None:
    """Record how the run ended, or undo all that it created; errors here are ignored in favor of `exc`."""
    guard = claim.session.guard
    if claim.direct is not None:
        claim.direct.stop()
    stopped_by = exc.stopped_by if isinstance(exc, CommitUnknown) and exc.stopped_by is not None else exc
    if isinstance(stopped_by, TimedOut) or not isinstance(stopped_by, Exception | GeneratorExit):
        guard.expire(_FINAL_UPDATE_SECONDS)
    with contextlib.suppress(ImporterError):
        claim.session.rollback()
        if keep:
            state = ledger.FAILED if isinstance(stopped_by, Exception) else ledger.INTERRUPTED
            ledger.mark_ended(claim.session, claim.run, state, _error_fact(stopped_by))
            claim.session.commit()
        else:
            _undo_run(claim, made_schema=made_schema)
    if keep:
        add_advice(exc, advice_for(claim))


def _error_fact(exc: BaseException) -> str:
    return exc.fact if isinstance(exc, ImporterError) else type(exc).__name__.strip("_")


def advice_for(claim: HeldLease | None) -> str:
    """Return the advice for a run that stopped: its staging can be continued, a direct copy was rolled back."""
    return GO_ON if claim is None or claim.direct is None else _RERUN_ADVICE


def add_advice(exc: BaseException, advice: str) -> None:
    """Append advice for the user to an error, after the advice it already has."""
    if isinstance(exc, ImporterError):
        if exc.choice is None or advice not in exc.choice:
            exc.choice = f"{exc.choice}; or {advice}" if exc.choice else advice
    elif advice not in getattr(exc, "__notes__", ()):
        exc.add_note(advice)


def _undo_run(claim: HeldLease, *, made_schema: bool) -> None:
    session, staging = claim.session, claim.staging
    if staging is None and claim.direct is None:
        return
    with contextlib.suppress(DatabaseError):
        session.rollback()
        if staging is not None:
            session.run(f"DROP TABLE IF EXISTS {staging.quoted}")
        if session.value("select to_regclass($1)::text", [f"{SCHEMA}.runs"]):
            session.run(f"DELETE FROM {SCHEMA}.runs WHERE id = {literal(claim.run)} AND state <> '{ledger.PUBLISHED}'")
        session.commit()
        if made_schema:
            drop_empty_schema(session)
            session.commit()


def commit_published(claim: HeldLease, mode: Mode, counts: Mapping[str, Any]) -> None:
    """Mark the run as published, drop staging, and commit both together with the published rows.

    Args:
        claim: claim of the run.
        mode: mode of the load.
        counts: what the ledger keeps of the run report; see `report.model.Report.ledger_counts`.

    Raises:
        CommitUnknown: a signal or the deadline ended the wait for the server's answer to the commit.
    """
    session, staging = claim.session, claim.staging
    writers = mode == "replace" and _can_read_target(claim)
    ledger.mark_published(session, claim.run, claim.target.quoted, counts, writers=writers)
    if staging is not None and not staging.becomes_target:
        session.run(f"DROP TABLE {staging.quoted}")
    try:
        session.commit()
    except KeyboardInterrupt as exc:
        raise CommitUnknown("interrupted while publishing, which may have been done", stopped_by=exc) from exc
    except TimedOut as exc:
        raise CommitUnknown(exc.fact, place=exc.place, choice=exc.choice, stopped_by=exc) from exc
    clean_after_import(session, claim.key, claim.workbook.path.name, claim.target.schema, claim.target.name)


def _can_read_target(claim: HeldLease) -> bool:
    """Return whether the role may read the target and its rows have an `xmin` (it is a plain table)."""
    return bool(
        claim.session.value(
            "select relkind = 'r' and has_table_privilege(oid, 'select') from pg_class where oid = to_regclass($1)",
            [claim.target.quoted],
        )
    )


def make_chunks(windows: Mapping[int, WindowChecked]) -> dict[int, Chunk]:
    """Return the chunks of checked windows that have accepted rows, by number."""
    return {number: ledger.make_chunk(window) for number, window in sorted(windows.items()) if window.accepted}


def describe_run(settings: Settings, claim: HeldLease, chunks: int | None, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the ledger's columns for a run that begins to write.

    Args:
        settings: settings of the run.
        claim: claim of the run.
        chunks: number of chunks; None while it is not known.
        counts: the counts of the run report.
    """
    import os
    import socket

    method = {"name": settings.method, "workers": settings.workers, "chunks": chunks}
    return {
        "workbook": claim.workbook.path.name, "sha256": claim.workbook.sha256, "sheet": claim.sheet.name,
        "target_schema": claim.target.schema, "target_table": claim.target.name, "mode": settings.mode,
        "contract_sha256": claim.contract_sha256,
        "plan": {**method, "options": claim.options},
        "counts": counts,
        "client": f"{socket.gethostname()}, process {os.getpid()}", "version": __version__,
    }  # fmt: skip
