"""Turns rows that the database refused into rejects with an address, and corrects every count."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import polars as pl

from importer.cells import spool
from importer.cells.frame import ROW
from importer.errors import ConservationError, NotSpooled
from importer.load.insert_bisect import KEY_REPEATED, ROW_SKIPPED, RefusedRow
from importer.postgres.catalog import constraint_columns
from importer.validation.check_window import CheckedWindow, check_rows
from importer.validation.errors_frame import WHOLE_ROW, RowError, summarize_by_rule

if TYPE_CHECKING:
    from pathlib import Path

    from importer.plan.model import LoadPlan
    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.reading.sheet_source import SheetSource
    from importer.run.lease import RunLease
    from importer.validation.tasks import WindowChecked

DATABASE_ERROR = "database-error"


def reject_refused_rows(
    lease: RunLease, source: SheetSource, plan: LoadPlan, windows: dict[int, WindowChecked],
    refused: tuple[RefusedRow, ...], folder: Path,
) -> dict[int, WindowChecked]:  # fmt: skip
    """Return the windows with the rows that the database refused moved from the accepted rows to the rejects.

    Args:
        lease: lease of the run; its session is in the transaction that refused the rows, its target refused them.
        source: the sheet that was read.
        plan: plan that the rows were checked against.
        windows: results of the check, by window number.
        refused: refused rows, with their sheet row numbers.
        folder: the spool folder.

    Raises:
        NotSpooled: a window with refused rows was not kept.
        ConservationError: a refused row is not among the accepted rows.
    """
    refusals = sorted(_refusals(lease.session, plan, lease.target, refused))
    rows = [refusal.row for refusal in refusals]
    frames = {window.number: window.path for window in source.windows if window.kept}
    changed = dict(windows)
    for number, window in windows.items():
        in_window = refusals[bisect_left(rows, window.first_row) : bisect_right(rows, window.last_row)]
        if in_window and number not in frames:
            raise NotSpooled("rows of a window that was not kept were refused")
        if in_window:
            changed[number] = _reject_rows(window, frames[number], plan, in_window, folder)
    return changed


def _reject_rows(
    window: WindowChecked, frame: Path, plan: LoadPlan, refusals: list[RowError], folder: Path
) -> WindowChecked:
    """Return a window after some of its accepted rows were refused; only those rows are checked again."""
    rows = spool.read(frame).filter(pl.col(ROW).is_in([refusal.row for refusal in refusals]))
    before, after = check_rows(rows, plan, []), check_rows(rows, plan, refusals)
    if len(before.accepted) != len(refusals) or len(after.rejected) != len(refusals):
        raise ConservationError(f"the server refused {len(refusals):,} rows, {len(before.accepted):,} of them accepted")
    counts = {c: count - before.counts[c] + after.counts[c] for c, count in window.counts.items() if c in before.counts}
    errors, rejected = _merge_rejects(window, after)
    return window._replace(
        accepted=window.accepted - len(refusals),
        errors=spool.write(errors, folder / f"errors-{window.number}-all.arrow"),
        rejected=spool.write(rejected, folder / f"rejected-{window.number}-all.arrow"),
        counts=window.counts | counts,
        rules=summarize_by_rule(errors),
    )


def _merge_rejects(window: WindowChecked, after: CheckedWindow) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return all errors and all rejected rows of the window, in sheet order."""
    errors, rejected = [after.errors], [after.rejected]
    if window.errors and window.rejected:
        errors.append(spool.read(window.errors))
        rejected.append(spool.read(window.rejected))
    return (
        pl.concat(errors).sort(ROW, "column", maintain_order=True),
        pl.concat(rejected, how="diagonal").sort(ROW, maintain_order=True),
    )


def _refusals(session: Session, plan: LoadPlan, target: Target, refused: tuple[RefusedRow, ...]) -> list[RowError]:
    """Return the refusals as errors of a column, if the server named exactly one that is loaded, else of the row."""
    loaded = {c.field.name for c in plan.columns if c.column}
    fields: dict[tuple[str, str, str, str], str] = {}
    errors = []
    for row in refused:
        place = (row.schema, row.table, row.constraint, row.column)
        if place not in fields:
            columns = _columns(session, target, row)
            fields[place] = columns[0] if len(columns) == 1 and columns[0] in loaded else WHOLE_ROW
        errors.append(RowError(row.row, fields[place], DATABASE_ERROR, _reason(row)))
    return errors


def _columns(session: Session, target: Target, row: RefusedRow) -> tuple[str, ...]:
    """Return the target columns that a refusal is about; none if it is about another table."""
    if row.table and not _is_target(session, target, row):
        return ()
    if row.column:
        return (row.column,)
    return constraint_columns(session, row.schema, row.table, row.constraint) if row.table and row.constraint else ()


def _is_target(session: Session, target: Target, row: RefusedRow) -> bool:
    """Return whether the table that the server named is the target or one of its partitions."""
    if (row.schema, row.table) == (target.schema, target.name):
        return True
    return bool(
        session.value(
            """
            select 1 from pg_partition_tree(to_regclass($1)) t
            join pg_class c on c.oid = t.relid join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = $2 and c.relname = $3
            """,
            [target.quoted, row.schema, row.table],
        )
    )


def _reason(row: RefusedRow) -> str:
    if row.sqlstate in {ROW_SKIPPED, KEY_REPEATED}:
        return f"was not loaded: {row.message}"
    constraint = f", constraint {row.constraint}" if row.constraint else ""
    return f"was refused by the database: {row.message} (SQLSTATE {row.sqlstate}{constraint})"
