"""Owns the staging of a run that can be resumed: taken over where ledger and table agree, else made from nothing."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import __version__, ledger
from .errors import DatabaseError, ImporterError, TimedOut
from .identity import staging_name
from .postgres import literal
from .runs import clean_behind
from .schema import SCHEMA, create_in_schema, drop_empty_schema
from .staging import Staging, define_staging, plan_staging

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .claim import Claim
    from .contract import Contract
    from .direct import Direct
    from .ledger import Chunk
    from .plan import LoadPlan
    from .report import Report
    from .settings import Settings
    from .tasks import WindowChecked

#: What to do about a run that can be resumed, with what it wrote or without.
_AGAIN = "run the same command again"
GO_ON = f"{_AGAIN}: it goes on where this one stopped"
#: How long the last words of a failed run to the ledger may take, in seconds; without them it counts as dead as well.
_LAST_WORDS_SECONDS = 0.5
#: How long to wait for a table that a dying session still holds; it is found again by `importer runs clean`.
_DROP_MILLISECONDS = 2000


@contextlib.contextmanager
def staging_of(
    claim: Claim, contract: Contract, plan: LoadPlan, chunks: Mapping[int, Chunk], about: Mapping[str, Any],
    *, dry_run: bool,
) -> Iterator[tuple[Staging, frozenset[int]]]:  # fmt: skip
    """A staging table, and the numbers of the chunks that are in it.

    What fails for a reason that may pass leaves the table for the next try; what the data or the target are to blame
    for, and a dry run, leave nothing.

    Args:
        claim: of the run.
        contract: that holds.
        plan: of the load.
        chunks: of this run, by number.
        about: columns of the ledger for this run.
        dry_run: leave no trace.

    Raises:
        TargetRefused: the role may not create it.
    """
    staging, statement, shape = _planned(claim, contract, plan)
    made_schema = False
    try:
        found = None if dry_run else _found(claim, staging, shape, chunks, about)
        if found is None:
            done = frozenset[int]()
            made_schema = _make(claim, staging, statement, None if dry_run else {**about, "shape": shape})
        else:
            claim.staging, done = found
        assert claim.staging is not None
        yield claim.staging, done
    except BaseException as exc:
        _end(claim, exc, keep=not dry_run and _resumable(exc), made_schema=made_schema)
        raise
    if dry_run:
        _drop(claim, made_schema=made_schema)


@contextlib.contextmanager
def direct_of(claim: Claim) -> Iterator[Direct]:
    """What writes into the target itself; whatever fails in the block, and the table is as it was."""
    assert claim.direct is not None
    try:
        yield claim.direct
    except BaseException as exc:
        _end(claim, exc, keep=_resumable(exc), made_schema=False)
        raise


def begin_staging(claim: Claim, contract: Contract, plan: LoadPlan, about: Mapping[str, Any]) -> Staging:
    """A staging table for chunks that are written while the sheet is still being read; `staging_of` takes it over.

    What fails in between is to be told to `end_staging`.
    """
    staging, statement, shape = _planned(claim, contract, plan)
    claim.begun = shape
    _make(claim, staging, statement, {**about, "shape": shape})
    return staging


def end_staging(claim: Claim, exc: BaseException) -> None:
    """Write how a run ended whose staging nobody took over, or take it back; see `staging_of`."""
    _end(claim, exc, keep=_resumable(exc), made_schema=False)


def _planned(claim: Claim, contract: Contract, plan: LoadPlan) -> tuple[Staging, str, str]:
    """What staging is to be, the statement that makes it, and a checksum of that."""
    staging = plan_staging(staging_name(claim.key), claim.target, plan.columns, contract, lineage=plan.lineage)
    statement = define_staging(staging, claim.target, contract)
    return staging, statement, hashlib.sha256(statement.replace(staging.name, "").encode()).hexdigest()


def _found(
    claim: Claim, fresh: Staging, shape: str, chunks: Mapping[int, Chunk], about: Mapping[str, Any]
) -> tuple[Staging, frozenset[int]] | None:
    """The staging that this run began, or a dead one left, and the chunks in it; None where it does not fit."""
    if claim.begun is None:
        return _taken_over(claim, fresh, shape, chunks)
    if claim.begun != shape or claim.staging is None:
        return None
    staging, session = replace(fresh, name=claim.staging.name), claim.session
    written = ledger.written_chunks(session, staging.name)
    if any(chunks.get(number) != chunk for number, chunk in written.items()):
        return None
    ledger.open_run(session, {"id": claim.run, "key": claim.key, "staging": staging.name, **about, "shape": shape})
    session.commit()
    return staging, frozenset(written)


def _resumable(exc: BaseException) -> bool:
    return exc.resumable if isinstance(exc, ImporterError) else True


def _taken_over(
    claim: Claim, fresh: Staging, shape: str, chunks: Mapping[int, Chunk]
) -> tuple[Staging, frozenset[int]] | None:
    """The staging of the dead run and the chunks in it, where it is what the ledger says and fits this run's plan."""
    dead, session = claim.dead, claim.session
    if dead is None or dead.staging is None or dead.shape != shape:
        return None
    staging = replace(fresh, name=dead.staging)
    written = ledger.written_chunks(session, staging.name)
    if any(chunks.get(number) != chunk for number, chunk in written.items()):
        return None
    try:
        rows = session.value(f"select count(*) from {staging.quoted}")
    except DatabaseError as exc:
        if exc.transient:
            raise
        # It is gone, or another role's.
        session.rollback()
        return None
    # A crash of the server empties an unlogged table, and an INSERT per row leaves some of a chunk.
    if rows != sum(chunk.rows for chunk in written.values()):
        return None
    session.commit()
    return staging, frozenset(written)


def _make(claim: Claim, staging: Staging, statement: str, about: dict[str, Any] | None) -> bool:
    """Create the staging table, and the run's row in the same transaction; returns whether the schema was made."""
    session = claim.session
    old = claim.staging.name if claim.staging else claim.dead.staging if claim.dead else None
    # Known before it is made: a signal may come when the table is there and we do not know it yet.
    claim.staging = staging

    def create() -> None:
        if old is not None and about is not None:
            ledger.forget_chunks(session, claim.run)
        session.run(statement)
        if about is not None:
            ledger.open_run(session, {"id": claim.run, "key": claim.key, "staging": staging.name, **about})

    made = create_in_schema(session, create)
    if old is not None and about is not None:
        drop_staging(claim, old)
    return made


def drop_staging(claim: Claim, name: str) -> None:
    """Drop a staging table that nobody needs, unless somebody holds it; never fails. Commits."""
    with contextlib.suppress(DatabaseError):
        claim.session.rollback()
        claim.session.run(f"SET LOCAL lock_timeout = {_DROP_MILLISECONDS}")
        claim.session.run(f"DROP TABLE IF EXISTS {Staging(name, becomes_target=False, columns=()).quoted}")
        claim.session.commit()


def _end(claim: Claim, exc: BaseException, *, keep: bool, made_schema: bool) -> None:
    """Write how the run ended, or take back all that it made; the first error is the one to show."""
    guard = claim.session.guard
    if claim.direct is not None:
        claim.direct.stop()
    if isinstance(exc, TimedOut) or not isinstance(exc, Exception | GeneratorExit):
        guard.expire(_LAST_WORDS_SECONDS)
    with contextlib.suppress(ImporterError):
        claim.session.rollback()
        if keep:
            state = ledger.FAILED if isinstance(exc, Exception) else ledger.INTERRUPTED
            ledger.mark_ended(claim.session, claim.run, state, _fact(exc))
            claim.session.commit()
        else:
            _drop(claim, made_schema=made_schema)
    if keep:
        add_advice(exc, advice_of(claim))


def _fact(exc: BaseException) -> str:
    return exc.fact if isinstance(exc, ImporterError) else type(exc).__name__.strip("_")


def advice_of(claim: Claim | None) -> str:
    """What to do about a run that stopped: its staging is taken over, a transaction of its own is gone."""
    return GO_ON if claim is None or claim.direct is None else _AGAIN


def add_advice(exc: BaseException, advice: str) -> None:
    """Tell the user what to do about an error, behind what it says already."""
    if isinstance(exc, ImporterError):
        if exc.choice is None or advice not in exc.choice:
            exc.choice = f"{exc.choice}; or {advice}" if exc.choice else advice
    elif advice not in getattr(exc, "__notes__", ()):
        exc.add_note(advice)


def _drop(claim: Claim, *, made_schema: bool) -> None:
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


def settle(claim: Claim, report: Report) -> None:
    """Commit what was published, and with it that it was; staging goes in the same transaction."""
    session, staging = claim.session, claim.staging
    counts = {k: v for k, v in report.stats.items() if k.endswith(("count", "records"))}
    counts |= {"rejects_file": report.rejects_file, **report.table_rows}
    writers = report.target["mode"] == "replace" and _may_look(claim)
    ledger.mark_published(session, claim.run, claim.target.quoted, counts, writers=writers)
    if staging is not None and not staging.becomes_target:
        session.run(f"DROP TABLE {staging.quoted}")
    try:
        session.commit()
    except (KeyboardInterrupt, TimedOut) as exc:
        # It may have been done: whoever tells the user must not say that it was not.
        exc.unsure = True  # type: ignore[union-attr]
        raise
    clean_behind(session, claim.key, claim.workbook.path.name, claim.target.schema, claim.target.name)


def _may_look(claim: Claim) -> bool:
    """Whether the role may read the target, and its rows tell who wrote them."""
    return bool(
        claim.session.value(
            "select relkind = 'r' and has_table_privilege(oid, 'select') from pg_class where oid = to_regclass($1)",
            [claim.target.quoted],
        )
    )


def chunks_of(windows: Mapping[int, WindowChecked]) -> dict[int, Chunk]:
    """The chunks of judged windows, by number, each with a checksum of its rows."""
    return {number: ledger.chunk_of(window) for number, window in sorted(windows.items()) if window.accepted}


def about_run(settings: Settings, claim: Claim, chunks: int | None, counts: Mapping[str, int]) -> dict[str, Any]:
    """What the ledger says of a run that begins to write; the chunks are None as long as they are not known."""
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
