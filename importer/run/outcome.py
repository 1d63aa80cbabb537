"""Ends a run: commits what it published, records how it stopped, or undoes what it created; says how to continue.

The run owns the transaction of its lease's session; the functions that commit or roll back here do so for it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from importer.errors import CommitUnknown, DatabaseError, ImporterError, TimedOut
from importer.ledger import tables as ledger
from importer.ledger.history import clean_after_import
from importer.ledger.rejects import drop_rejects_sql, keep_rejects
from importer.ledger.schema import SCHEMA, drop_empty_schema
from importer.postgres.sql import literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from importer.settings import Mode

    from .lease import RunLease
    from .staging_state import StagingState

#: Advice for a run that stopped: with `GO_ON` the next one keeps the written chunks, with `_RERUN_ADVICE` it does not.
_RERUN_ADVICE = "run the same command again"
GO_ON = f"{_RERUN_ADVICE}: it goes on where this one stopped"
#: How long the last ledger update of a failed run may take, in seconds; without it the run counts as dead as well.
_FINAL_UPDATE_SECONDS = 0.5


def commit_published(state: StagingState, mode: Mode, counts: Mapping[str, Any], rejects: Mapping[str, bytes]) -> None:
    """Mark the run as published, keep its rejects, drop staging, and commit all that with the published rows.

    Args:
        state: state of the run's staging.
        mode: mode of the load.
        counts: what the ledger keeps of the run report; see `report.model.Report.ledger_counts`.
        rejects: what it keeps of the rejects; see `report.rejects.packed.pack_rejects`.

    Raises:
        CommitUnknown: a signal or the deadline ended the wait for the answer to the commit, or what follows it.
    """
    lease, staging = state.lease, state.table
    session = lease.session
    writers = mode == "replace" and _can_read_target(lease)
    old = drop_rejects_sql(lease.run_id, lease.target.schema, lease.target.name)
    if lease.attempt not in (None, lease.run_id):
        counts = {**counts, ledger.ATTEMPT: lease.attempt}
    ledger.mark_published(session, lease.run_id, lease.target.quoted, counts, writers=writers, first=old)
    keep_rejects(session, lease.run_id, rejects)
    if staging is not None and not staging.becomes_target:
        session.run(f"DROP TABLE {staging.quoted}")
    try:
        session.commit()
        if session.is_joined:
            return  # whoever commits the whole does the rest
        # What stops the run from here on says so, too: it is not true any more that nothing was published.
        clean_after_import(session, lease.key, lease.workbook.recorded_name, lease.target.schema, lease.target.name)
    except KeyboardInterrupt as exc:
        raise CommitUnknown("interrupted while publishing, which may have been done", stopped_by=exc) from exc
    except TimedOut as exc:
        raise CommitUnknown(exc.fact, place=exc.place, choice=exc.choice, stopped_by=exc) from exc


def _can_read_target(lease: RunLease) -> bool:
    """Return whether the role may read the target and its rows have an `xmin` (it is a plain table)."""
    return bool(
        lease.session.value(
            "select relkind = 'r' and has_table_privilege(oid, 'select') from pg_class where oid = to_regclass($1)",
            [lease.target.quoted],
        )
    )


def end_run(state: StagingState, exc: BaseException, *, keep: bool) -> None:
    """Record how the run ended, or undo all that it created; errors here are ignored in favor of `exc`."""
    lease, guard = state.lease, state.lease.session.guard
    if state.direct is not None:
        state.direct.stop()
    stopped_by = exc.stopped_by if isinstance(exc, CommitUnknown) and exc.stopped_by is not None else exc
    if isinstance(stopped_by, TimedOut) or not isinstance(stopped_by, Exception | GeneratorExit):
        guard.expire(_FINAL_UPDATE_SECONDS)
    with contextlib.suppress(ImporterError):
        lease.session.rollback()
        if keep:
            ended = ledger.FAILED if isinstance(stopped_by, Exception) else ledger.INTERRUPTED
            known = ledger.mark_ended(lease.session, lease.run_id, ended, _error_fact(stopped_by))
            lease.session.commit()
            if not known and not isinstance(exc, CommitUnknown):
                state.forget_table()
        else:
            undo_run(state)
    if keep and state.may_continue:
        add_advice(exc, advice_for(state))


def undo_run(state: StagingState) -> None:
    """Drop the run's staging, ledger row and schema, as far as it created them. Ignores database errors. Commits."""
    session, staging, run_id = state.lease.session, state.table, state.lease.run_id
    if staging is None and state.direct is None:
        return
    with contextlib.suppress(DatabaseError):
        session.rollback()
        if staging is not None:
            session.run(f"DROP TABLE IF EXISTS {staging.quoted}")
        if session.value("select to_regclass($1)::text", [f"{SCHEMA}.runs"]):
            session.run(f"DELETE FROM {SCHEMA}.runs WHERE id = {literal(run_id)} AND state <> '{ledger.PUBLISHED}'")
        session.commit()
        if state.owns_schema:
            drop_empty_schema(session)
            session.commit()


def _error_fact(exc: BaseException) -> str:
    return exc.fact if isinstance(exc, ImporterError) else type(exc).__name__.strip("_")


def is_resumable(exc: BaseException) -> bool:
    """Return whether the same command can continue from what the run wrote until this error."""
    return exc.resumable if isinstance(exc, ImporterError) else True


def advice_for(state: StagingState | None) -> str:
    """Return the advice for a run that stopped: its staging can be continued, a direct copy was rolled back."""
    return GO_ON if state is None or state.direct is None else _RERUN_ADVICE


def add_advice(exc: BaseException, advice: str) -> None:
    """Append advice for the user to an error, after the advice it already has."""
    if isinstance(exc, ImporterError):
        if exc.choice is None or advice not in exc.choice:
            exc.choice = f"{exc.choice}; or {advice}" if exc.choice else advice
    elif advice not in getattr(exc, "__notes__", ()):
        exc.add_note(advice)
