"""Copies chunks straight into an existing table, in the transaction that publishes, without a staging table.

That saves the second pass, from staging into the table. It is used only where the server has no reason to refuse or
change a row: no unique or exclusion constraint on the loaded columns, no check, trigger, rule or policy, and types that
COPY fills exactly. The transaction begins while the sheet is still being read and ends with the run, so nobody sees a
row before all are written and verified. The cost: a run that dies starts from scratch, because its rows are rolled
back. Whatever fails here, the chunks are still in the spool and can be loaded through staging.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from importer.cells import spool
from importer.cells.frame import ROW
from importer.errors import DatabaseError, ImporterError, VerificationFailed
from importer.ledger import tables as ledger
from importer.postgres.catalog import read_table
from importer.postgres.sql import literal, set_own_path, set_target_path
from importer.postgres.types import is_never_refused, needs_cast
from importer.runtime.interruptible import CallThread
from importer.runtime.timeline import Span
from importer.verification.verify import ExpectedRows, verify_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from importer.plan.model import ColumnPlan, LoadPlan
    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.validation.tasks import WindowChecked
    from importer.verification.checksum_sql import Checksum, TextHash

#: Sheets with fewer bytes of XML go through staging: their second pass takes less than a second, and chunks that
#: survive a killed run are worth more than that.
DIRECT_BYTES = 128 << 20
#: Blocks of a table that a few rows are copied straight into; 32 MiB are searched in some 10 ms.
_MOST_BLOCKS = 4096
#: More blocks, one for so many rows, and at most so many: to look into a block takes the server 2.2 µs, and to move a
#: row of 9 texts out of staging 1.3 µs more than to copy it.
_ROWS_PER_BLOCK, _MOST_BLOCKS_EVER = 2, 1 << 15
#: Blocks before the end of a table that are looked into first for rows that were copied at once: other sessions may
#: have added blocks that this one, which goes on in its own, found behind it.
_BLOCKS_AROUND = 64
#: So many rows are checked faster than they are counted.
_FEW_ROWS = 1000
#: An expression index may refuse a row, too; that raises an error, and after an error the load goes through staging.
_DIRECT_CHECK = """
select c.relkind = 'r' and not c.relhasrules and not c.relrowsecurity
       and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgtype & 4 <> 0)
       and not exists (select from pg_constraint k where k.conrelid = c.oid and k.contype in ('c', 'x'))
       and not exists (
           select from pg_index i cross join lateral unnest(i.indkey::int2[]) as k(number)
           left join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
           where i.indrelid = c.oid and (i.indisunique or i.indisexclusion)
             and (k.number = 0 or a.attname = any(array[{loaded}])))
       and has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'select') as open,
       pg_relation_size(c.oid) / current_setting('block_size')::int8 as blocks,
       pg_current_xact_id()::xid::text as xid
from pg_class c where c.oid = to_regclass($1)
"""


class _RowLocation(NamedTuple):
    """Where the rows of this run are in the target.

    Attributes:
        xid: id of the transaction that writes them (`xmin` of the rows).
        block: first block they may be in, unless some filled free space in earlier blocks.
        few: whether they fit into a few blocks.
    """

    xid: str
    block: int
    few: bool


class DirectCopy:
    """Copies chunks into the target one by one, in the background thread of the session.

    Args:
        session: the session that has the open transaction.
        target: the table.
        plan: the load plan.
        place: where the rows of this run are in the target.
        spans: list to which the time span of each copy is appended.
    """

    def __init__(
        self, session: Session, target: Target, plan: LoadPlan, place: _RowLocation, spans: list[Span]
    ) -> None:
        self._session, self._target = session, target
        self._types = {c.field.name: str(c.pg_type) for c in plan.columns}
        self._location, self._spans = place, spans
        self._text_hash: TextHash = plan.text_hash
        self._failed: BaseException | None = None
        self._stopped = self._copying = False
        self._submitted: set[int] = set()

    def submit(self, window: WindowChecked) -> None:
        """Queue the chunk of a window to be copied after those queued before; return at once."""
        self._submitted.add(window.number)
        if window.chunk is not None:
            self._session.guard.later(partial(self._copy, window.chunk))

    def copy_rest(self, windows: Mapping[int, WindowChecked]) -> bool:
        """Copy the chunks that were not submitted while the sheet was read; return whether all are in the table."""
        for number, window in sorted(windows.items()):
            if number not in self._submitted:
                self.submit(window)
        return self.complete()

    def complete(self) -> bool:
        """Wait for the last chunk, and return whether all are in the table."""
        self._session.guard.call(lambda: None, self.stop)
        return self._failed is None

    def rollback(self) -> None:
        """Roll back what was written; the chunks then go through staging."""
        self.stop()
        with contextlib.suppress(ImporterError):  # the next call reports a lost connection
            self._session.rollback()

    def stop(self) -> None:
        """Start no further copy and cancel the one that runs; return at once."""
        self._stopped = True
        if self._copying:
            canceller = CallThread("cancel")
            canceller.submit(self._session.cancel)
            canceller.close()

    def verify(self, rows: int, expected: Mapping[str, Checksum]) -> None:
        """Compare the rows of this transaction with what was read; see `verification.verify`.

        When most blocks of the table are older, only those after the block where the table ended when the copies began
        are scanned, if all rows are there; some may be in free space before it.

        Args:
            rows: number of accepted rows.
            expected: checksums of the accepted rows by column.

        Raises:
            VerificationFailed: a count or a column differs.
        """
        set_own_path(self._session)
        table = f"ONLY {self._target.quoted} WHERE xmin = '{self._location.xid}'::xid"
        check = partial(
            verify_rows,
            self._session,
            types=self._types,
            expected=ExpectedRows(rows, expected, self._text_hash),
            place=f"table {self._target.quoted}",
        )
        behind = f"{table} AND ctid >= '({self._location.block},0)'"
        if self._location.few and self._location.block:
            with contextlib.suppress(VerificationFailed):
                check(behind)
                return
        # Rows of unequal lengths nearly always fill some room before it: to count them takes a third of the checksums.
        elif self._are_most_older() and self._session.value(f"SELECT count(*) FROM {behind}") == rows:
            table = behind
        check(table)

    def _are_most_older(self) -> bool:
        """Return whether most blocks of the table were there before the first copy."""
        before = self._location.block
        if not before:
            return False
        asked = "select pg_relation_size($1::regclass) / current_setting('block_size')::int8"
        return before > int(self._session.value(asked, [self._target.quoted])) - before

    def write_ledger(self, chunks: Mapping[int, ledger.Chunk], row: Mapping[str, Any]) -> None:
        """Write the run and its chunks into the ledger, in the same transaction.

        Args:
            chunks: chunks of this run, by number.
            row: the run's row in the ledger, as known by now; see `begin_direct_copy`.
        """
        statements = [ledger.open_run_sql(self._session, row)]
        if chunks:
            statements.append(ledger.chunk_insert_sql(row["id"], f"direct_{row['id']}", *chunks.values()))
        self._session.run("; ".join(statements))

    def _copy(self, chunk: Path) -> None:
        if self._stopped or self._failed is not None:
            return
        began, self._copying = time.monotonic(), True
        try:
            self._session.copy(spool.read(chunk).drop(ROW), self._target.schema, self._target.name)
        except BaseException as exc:  # noqa: BLE001 - whatever the error, the chunk is not in the table
            self._failed = exc
        self._copying = False
        self._spans.append(Span("writer", "write", began, time.monotonic()))


def begin_direct_copy(
    session: Session, target: Target, plan: LoadPlan, row: Mapping[str, Any] | int, spans: list[Span]
) -> DirectCopy | None:
    """Open the transaction in which chunks are copied into the target; return None if they must go through staging.

    The run's ledger row is committed before that transaction begins, if it is long.

    Args:
        session: session of the run; any transaction open in it may be committed or rolled back.
        target: the table, which the mode appends to.
        plan: the load plan.
        row: the run's row in the ledger: its `id`, its `key`, no `staging`, and what else is known of it. Or the number
            of rows, if all are there to be copied at once: then `write_ledger` writes the run's row in the same
            transaction, and the table must be small beside them, because all of it may have to be searched for them.
        spans: list to which the time span of each copy is appended.
    """
    table = target.table
    if table is None:
        return None
    if plan.lineage or plan.keys or not all(map(_is_exact, plan.columns)):
        return None
    try:
        if not isinstance(row, int):
            if not _inspect_target(session, target, plan).is_open:
                return None
            ledger.open_run(session, row)
            session.commit()
        # NOWAIT: waiting for a session that holds the table would hold up the reading of the sheet.
        session.run(f"LOCK TABLE ONLY {target.quoted} IN ROW EXCLUSIVE MODE NOWAIT")
        found = _inspect_target(session, target, plan)
        ready = row if isinstance(row, int) else None
        is_open = found.is_open and (ready is None or found.blocks <= _most_blocks(ready))
        if is_open and read_table(session, table.schema, table.name) == table:
            # Defaults of columns that are not loaded may rely on the user's search path.
            set_target_path(session, own_first=True)
            block = max(found.blocks - (1 if ready is None else _BLOCKS_AROUND), 0)
            few = ready is not None and ready <= _FEW_ROWS
            return DirectCopy(session, target, plan, _RowLocation(found.xid, block, few), spans)
    except DatabaseError:
        pass  # loading through staging works without this, or reports the error
    with contextlib.suppress(ImporterError):
        session.rollback()
    return None


def _most_blocks(rows: int) -> int:
    """Return how many blocks of a table may have to be searched for rows that are copied at once."""
    return max(_MOST_BLOCKS, min(rows // _ROWS_PER_BLOCK, _MOST_BLOCKS_EVER))


def _is_exact(column: ColumnPlan) -> bool:
    """Return whether COPY stores the column's values exactly as read and the server can refuse none of them."""
    return column.column is not None and is_never_refused(column.pg_type) and not needs_cast(column.pg_type)


class _Inspected(NamedTuple):
    """Whether nothing in a table refuses or changes a row, how many blocks it has, and the id of our transaction."""

    is_open: bool
    blocks: int
    xid: str


def _inspect_target(session: Session, target: Target, plan: LoadPlan) -> _Inspected:
    loaded = ", ".join(literal(c.field.name) for c in plan.columns)
    found = session.query(_DIRECT_CHECK.replace("{loaded}", loaded), [target.quoted])
    return _Inspected(*found[0]) if found else _Inspected(is_open=False, blocks=0, xid="")
