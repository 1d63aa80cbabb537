"""Runs tasks in workers; the fork server imports this module, and with it all that the tasks need."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

from importer.cells import spool
from importer.cells.frame import ROW
from importer.decoding import shared_strings
from importer.decoding.engine import discard_sheet
from importer.decoding.string_views import discard_strings
from importer.ledger.tables import make_chunk
from importer.load.copy import write_chunk, write_rows
from importer.load.worker_session import close_session, connect_ahead
from importer.reading import read_window as reading
from importer.validation.check_window import CheckedWindow, check_rows
from importer.validation.conservation import add_left_out
from importer.validation.errors_frame import summarize_by_rule
from importer.validation.tasks import CheckTask, WindowChecked
from importer.verification.checksum_frame import source_checksums

from .tasks import LoadTask, WindowLoaded

if TYPE_CHECKING:
    from importer.decoding.tasks import ReadTask, StringsTask, WindowRead
    from importer.settings import Dsn

__all__ = ["check_window", "load_window", "parse_strings", "read_window", "write_chunk"]


def warm_up_libraries(_: None) -> None:
    """Make libraries do their first-use work (threads, caches, memory) before the first window arrives."""
    texts = pl.Series(["a", None])
    frame = pl.DataFrame({"a": texts}).with_columns(pl.col("a").str.contains("[b-d]").alias("b"))
    frame.write_ipc(io.BytesIO())
    source_checksums(texts.to_frame(), "crc32c")


def release_resources(_: None) -> None:
    """Release what a worker keeps for the next window; needed only if tasks ran in the caller's own process."""
    discard_sheet()
    discard_strings()
    close_session()


def parse_strings(task: StringsTask) -> int:
    """Parse the shared strings, while a connection is opened; see `decoding.shared_strings.parse_strings`."""
    _connect(task.dsn)
    return shared_strings.parse_strings(task)


def read_window(task: ReadTask) -> WindowRead:
    """Read one window, while a connection is opened; see `reading.read_window.read_window`."""
    _connect(task.dsn)
    return reading.read_window(task)


def check_window(task: CheckTask) -> WindowChecked:
    """Check one window against the plan and spool the results."""
    _connect(task.dsn)
    checked, answer = _check_frame(spool.read(task.frame), task, may_hold_nul=task.nul)
    return answer._replace(chunk=spool.write_if_nonempty(checked.accepted, task.folder / f"chunk-{task.number}.arrow"))


def load_window(task: LoadTask) -> WindowLoaded:
    """Read, check and write one window; only what is needed later goes to the spool."""
    dsn = task.target.dsn if task.target is not None else task.check.dsn
    _connect(dsn)
    if task.read is None:
        frame, read = spool.read(task.check.frame), None
    else:
        frame, read = reading.read_frame(task.read)
        read = read._replace(kept=task.keep or not read.plain)
        if read.kept:
            spool.write(frame, task.read.out)
    if frame.is_empty() or (read is not None and not read.plain):
        return WindowLoaded(read, None)
    nul = task.check.nul if read is None else read.may_hold_nul
    checked, answer = _check_frame(frame, task.check, may_hold_nul=nul)
    if task.target is None:
        chunk = spool.write_if_nonempty(checked.accepted, task.check.folder / f"chunk-{task.check.number}.arrow")
        return WindowLoaded(read, answer._replace(chunk=chunk))
    if answer.accepted:
        write_rows(task.target, make_chunk(answer), checked.accepted)
    return WindowLoaded(read, answer)


def _check_frame(frame: pl.DataFrame, task: CheckTask, *, may_hold_nul: bool) -> tuple[CheckedWindow, WindowChecked]:
    """Check a frame; return the result in memory and as an answer, whose accepted rows are not spooled yet."""
    frame, left_out = task.rows.split(frame)
    nul = may_hold_nul or bool(task.rows.merged)  # the value of a merged range may come from another window
    checked = check_rows(frame, task.plan, list(task.refusals), task.superseded, may_hold_nul=nul)
    accepted, rows = checked.accepted, frame[ROW]
    return checked, WindowChecked(
        number=task.number,
        rows=len(frame),
        first_row=int(rows[0]) if len(rows) else 0,
        last_row=int(rows[-1]) if len(rows) else 0,
        accepted=len(accepted),
        chunk=None,
        errors=spool.write_if_nonempty(checked.errors, task.folder / f"errors-{task.number}.arrow"),
        rejected=spool.write_if_nonempty(checked.rejected, task.folder / f"rejected-{task.number}.arrow"),
        keys=spool.write_if_nonempty(checked.keys, task.folder / f"keys-{task.number}.arrow"),
        counts=add_left_out(checked.counts, left_out),
        checksums=source_checksums(accepted.drop(ROW), task.plan.text_hash),
        rules=summarize_by_rule(checked.errors),
        superseded=task.superseded,
    )


def _connect(dsn: Dsn | None) -> None:
    """Start connecting to the server that this worker will write to, if that is known."""
    if dsn is not None:
        connect_ahead(dsn)
