"""Owns the short way into an existing table: chunks are copied straight into it, in the transaction that publishes.

That saves the second pass, from staging into the table. It is taken where the server has no reason left to refuse or
change a row: no unique or exclusion constraint on what is loaded, no check, no trigger, rule or policy, and types that
COPY fills exactly. The transaction begins while the sheet is still being read and ends with the run, so nobody sees a
row before all are there and verified. Its price: a run that dies begins anew, because what it wrote is gone. Whatever
goes wrong here, the chunks are still in the spool, and the way over staging is open.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from . import ledger, spool
from .catalog import read_table
from .errors import DatabaseError, ImporterError, VerificationFailed
from .guard import Background
from .parts import ROW
from .pgtypes import is_certain, needs_cast
from .postgres import literal
from .timeline import Span
from .verification import compare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from .checksums import Checksum, TextHash
    from .claim import Claim
    from .plan import ColumnPlan, LoadPlan
    from .settings import Settings
    from .tasks import WindowChecked

#: Sheets of less XML go over staging: their second pass takes less than a second, and what a run that is killed leaves
#: there is worth more than that.
DIRECT_BYTES = 128 << 20
#: An index of expressions may refuse a row as well, but that is an error, and errors lead to staging.
_OPEN = """
select c.relkind = 'r' and not c.relhasrules and not c.relrowsecurity
       and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgtype & 4 <> 0)
       and not exists (select from pg_constraint k where k.conrelid = c.oid and k.contype in ('c', 'x'))
       and not exists (
           select from pg_index i cross join lateral unnest(i.indkey::int2[]) as k(number)
           left join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
           where i.indrelid = c.oid and (i.indisunique or i.indisexclusion)
             and (k.number = 0 or a.attname = any(array[{loaded}])))
       and has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'select') as open,
       pg_relation_size(c.oid) / current_setting('block_size')::int8 as blocks
from pg_class c where c.oid = to_regclass($1)
"""


class _Place(NamedTuple):
    """Where our rows are: whose transaction writes them, and from which block on, unless there are gaps before."""

    xid: str
    block: int


class Direct:
    """Chunks on their way into the target, over the session of the claim; its thread writes them one by one.

    Args:
        claim: of the run.
        plan: of the load.
        place: of the rows.
        spans: get the times of the copies.
    """

    def __init__(self, claim: Claim, plan: LoadPlan, place: _Place, spans: list[Span]) -> None:
        self._claim, self._session, self._target = claim, claim.session, claim.target
        self._types = {c.field.name: str(c.pg_type) for c in plan.columns}
        self._place, self._spans = place, spans
        self._text_hash: TextHash = plan.text_hash
        self._failed: BaseException | None = None
        self._stopped = self._copying = False

    def put(self, window: WindowChecked) -> None:
        """Copy the chunk of a window behind those that were put before; returns at once."""
        if window.chunk is not None:
            self._session.guard.later(partial(self._copy, window.chunk))

    def complete(self) -> bool:
        """Wait for the last chunk; whether all are in the table."""
        self._session.guard.call(lambda: None, self.stop)
        return self._failed is None

    def undo(self) -> None:
        """Take back what was written; the chunks go over staging."""
        self.stop()
        self._claim.direct = None
        with contextlib.suppress(ImporterError):  # a lost connection is told by the next call
            self._session.rollback()

    def stop(self) -> None:
        """Begin no further copy, and end the one that runs; returns at once."""
        self._stopped = True
        if self._copying:
            canceller = Background("cancel")
            canceller.submit(self._session.cancel)
            canceller.close()

    def verify(self, rows: int, expected: Mapping[str, Checksum]) -> None:
        """Compare the rows of this transaction with what was read; see `verification`.

        A table of many older rows is looked at from where it ended when the copies began; only where some of ours
        went into gaps before, all of it is.
        """
        table = f"ONLY {self._target.quoted} WHERE xmin = '{self._place.xid}'::xid"
        check = partial(compare, self._session, place=f"table {self._target.quoted}")
        blocks = self._session.value("select pg_relation_size($1::regclass) / current_setting('block_size')::int8",
                                     [self._target.quoted])  # fmt: skip
        if self._place.block > blocks - self._place.block:
            with contextlib.suppress(VerificationFailed):
                behind = f"{table} AND ctid >= '({self._place.block},0)'"
                check(behind, self._types, rows, expected, self._text_hash)
                return
        check(table, self._types, rows, expected, self._text_hash)

    def record(self, chunks: Mapping[int, ledger.Chunk], about: Mapping[str, Any]) -> None:
        """Write into the ledger, in the same transaction, which chunks there are, and what else is known by now."""
        run, session = self._claim.run, self._session
        ledger.open_run(session, {"id": run, "key": self._claim.key, "staging": None, **about})
        if chunks:
            session.run(ledger.chunk_statement(run, f"direct_{run}", *chunks.values()))

    def _copy(self, chunk: Path) -> None:
        if self._stopped or self._failed is not None:
            return
        began, self._copying = time.monotonic(), True
        try:
            self._session.copy(spool.read(chunk).drop(ROW), self._target.schema, self._target.name)
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the chunk is not in the table
            self._failed = exc
        self._copying = False
        self._spans.append(Span("writer", "write", began, time.monotonic()))


def begin_direct(
    settings: Settings, claim: Claim, plan: LoadPlan, about: Mapping[str, Any], spans: list[Span], *, xml_bytes: int
) -> Direct | None:
    """Open the transaction in which chunks go straight into the target; None where they have to go over staging.

    The run is in the ledger by then, committed.

    Args:
        settings: of the run.
        claim: of the run; its session has no open transaction that matters.
        plan: of the load.
        about: columns of the ledger for this run.
        spans: get the times of the copies.
        xml_bytes: of the sheet.
    """
    table, session = claim.target.table, claim.session
    if table is None or xml_bytes < DIRECT_BYTES or settings.mode != "append":
        return None
    if plan.lineage or plan.keys or not all(map(_is_exact, plan.columns)):
        return None
    try:
        if not _facts(claim, plan)[0]:
            return None
        ledger.open_run(session, {"id": claim.run, "key": claim.key, "staging": None, **about})
        session.commit()
        # Whoever holds the table now would hold up the reading.
        session.run(f"LOCK TABLE ONLY {claim.target.quoted} IN ROW EXCLUSIVE MODE NOWAIT")
        session.run("SET LOCAL idle_in_transaction_session_timeout = 0")
        is_open, block = _facts(claim, plan)
        if is_open and read_table(session, table.schema, table.name) == table:
            xid = session.value("select pg_current_xact_id()::xid::text")
            return Direct(claim, plan, _Place(xid, max(block - 1, 0)), spans)
    except DatabaseError:
        pass  # staging does without it, or says what is wrong
    with contextlib.suppress(ImporterError):
        session.rollback()
    return None


def _is_exact(column: ColumnPlan) -> bool:
    """Whether COPY fills the column with what was read, and no value of it can be refused."""
    return column.column is not None and is_certain(column.pg_type) and not needs_cast(column.pg_type)


def _facts(claim: Claim, plan: LoadPlan) -> tuple[bool, int]:
    """Whether nothing in the table refuses or changes a row, and how many blocks it has."""
    loaded = ", ".join(literal(c.field.name) for c in plan.columns)
    found = claim.session.query(_OPEN.replace("{loaded}", loaded), [claim.target.quoted])
    return (bool(found[0][0]), int(found[0][1])) if found else (False, 0)
