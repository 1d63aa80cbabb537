"""Owns the tasks that run in workers, and what the fork server imports for them."""

from __future__ import annotations

import io

import polars as pl

from . import spool
from .hashes import source_checksum
from .ingest import connect_ahead, ingest_chunk
from .parts import ROW
from .read import read_window
from .tasks import CheckTask, WindowChecked
from .validate import broken_rules, check, data_rows

__all__ = ["check_window", "ingest_chunk", "read_window"]


def warm_up(_: None) -> None:
    """What libraries do at their first use (threads, caches, memory), done before the first window comes."""
    texts = pl.Series(["a", None])
    frame = pl.DataFrame({"a": texts}).with_columns(pl.col("a").str.contains("[b-d]").alias("b"))
    frame.write_ipc(io.BytesIO())
    source_checksum(texts)


def check_window(task: CheckTask) -> WindowChecked:
    """Judge one window and spool what came out."""
    if task.dsn is not None:
        connect_ahead(task.dsn)
    frame = data_rows(spool.read(task.frame), task.header_row, skip_hidden=task.skip_hidden)
    checked = check(frame, task.plan, list(task.refusals), task.superseded)
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
        superseded=task.superseded,
    )
