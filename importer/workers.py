"""Owns the tasks that run in workers, and what the fork server imports for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from . import spool
from .checksums import Checksum, source_checksum
from .ingest import IngestTask, ingest_chunk
from .parts import ROW
from .read import ReadTask, read_window
from .validate import ColumnCount, Refusal, check, data_rows

if TYPE_CHECKING:
    from pathlib import Path

    from .plan import LoadPlan

__all__ = ["CheckTask", "IngestTask", "ReadTask", "WindowChecked", "check_window", "ingest_chunk", "read_window"]


@dataclass(frozen=True)
class CheckTask:
    """Which window to judge, by which plan, and where the results go (`folder`)."""

    number: int
    frame: Path
    folder: Path
    plan: LoadPlan
    header_row: int
    skip_hidden: bool
    refusals: tuple[Refusal, ...] = ()


class WindowChecked(NamedTuple):
    """What became of a window.

    Attributes:
        number: of the window.
        rows: data rows.
        first_row: sheet row of the first data row (0: none).
        last_row: of the last.
        accepted: rows in the chunk.
        chunk: Arrow IPC of the accepted rows, with `_row`; None when there are none.
        errors: Arrow IPC of the errors (see `validate.ERRORS_SCHEMA`); None when there are none.
        rejected: Arrow IPC of the rejected rows as read; None when there are none.
        keys: Arrow IPC of the keys of all rows, or None.
        counts: by sheet column.
        checksums: of the accepted rows, by table column.
        rules: (field|rule) -> (errors, row and column of the first).
    """

    number: int
    rows: int
    first_row: int
    last_row: int
    accepted: int
    chunk: Path | None
    errors: Path | None
    rejected: Path | None
    keys: Path | None
    counts: dict[int, ColumnCount]
    checksums: dict[str, Checksum]
    rules: dict[str, tuple[int, int, int]]


def check_window(task: CheckTask) -> WindowChecked:
    """Judge one window and spool what came out."""
    frame = data_rows(spool.read(task.frame), task.header_row, skip_hidden=task.skip_hidden)
    checked = check(frame, task.plan, list(task.refusals))
    accepted, rows = checked.accepted, frame[ROW]
    return WindowChecked(
        number=task.number,
        rows=len(frame),
        first_row=int(rows[0]) if len(rows) else 0,
        last_row=int(rows[-1]) if len(rows) else 0,
        accepted=len(accepted),
        chunk=spool.write_some(accepted, task.folder / f"chunk-{task.number}.arrow"),
        errors=spool.write_some(checked.errors, task.folder / f"errors-{task.number}.arrow"),
        rejected=spool.write_some(checked.rejected, task.folder / f"rejected-{task.number}.arrow"),
        keys=spool.write_some(checked.keys, task.folder / f"keys-{task.number}.arrow"),
        counts=checked.counts,
        checksums={name: source_checksum(accepted[name]) for name in accepted.columns if name != ROW},
        rules=broken_rules(checked.errors),
    )


def broken_rules(errors: pl.DataFrame) -> dict[str, tuple[int, int, int]]:
    """For every `field|rule`: how many errors, and the address of the first."""
    grouped = errors.group_by("field", "rule", maintain_order=True).agg(
        pl.len(), pl.col(ROW).first(), pl.col("column").first()
    )
    return {f"{field}|{rule}": (count, row, column) for field, rule, count, row, column in grouped.iter_rows()}
