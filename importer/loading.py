"""Owns the loading of judged windows: chunks into staging, verified, and published."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from .checksums import Checksum, add
from .errors import ImporterError, MachineError
from .ingest import IngestTask, close_session, ingest_chunk
from .publish import publish
from .staging import SCHEMA, Staging, staging_table, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .clock import Clock
    from .contract import Contract
    from .filling import Published
    from .plan import LoadPlan
    from .pool import Pool
    from .postgres import Session
    from .settings import Dsn, Settings
    from .target import Target
    from .tasks import WindowChecked


@contextlib.contextmanager
def loaded(
    settings: Settings, session: Session, dsn: Dsn, target: Target, contract: Contract, plan: LoadPlan,
    windows: dict[int, WindowChecked], pool: Pool, clock: Clock, *, sheet: str,
) -> Iterator[Published]:  # fmt: skip
    """All chunks written to staging, verified and published, in a transaction that is still open: the caller commits.

    Without a commit by the end, the target is as it was.
    """
    accepted = sum(w.accepted for w in windows.values())
    with staging_table(session, target, plan.columns, contract) as staging:
        with clock.stage("write"):
            clock.expect(accepted)
            lanes = 1 if settings.method == "sequential" else None
            try:
                for _, rows in pool.run(
                    ingest_chunk, _chunks(settings, dsn, staging, windows), partial(_writer_died, sheet), lanes=lanes
                ):
                    clock.advance(rows)
            finally:
                close_session()
            pool.retire()
        with clock.stage("verify"):
            verify(session, staging, accepted, _checksums(windows))
        with clock.stage("publish"):
            published = publish(session, staging, target, contract, settings.mode, accepted)
        yield published


def _chunks(settings: Settings, dsn: Dsn, staging: Staging, windows: dict[int, WindowChecked]) -> Iterator[IngestTask]:
    for number, window in sorted(windows.items()):
        if window.chunk is not None:
            yield IngestTask(
                number, window.chunk, window.first_row, window.last_row, dsn, SCHEMA, staging.name, settings.method,
                staging.row_column,
            )  # fmt: skip


def _writer_died(sheet: str, task: IngestTask, how: str) -> ImporterError:
    rows = f"{task.first_row}-{task.last_row}"
    return MachineError(
        f"the process that wrote sheet {sheet!r}, rows {rows}, {how}", choice="nothing was published; run again"
    )


def _checksums(windows: dict[int, WindowChecked]) -> dict[str, Checksum]:
    totals: dict[str, Checksum] = {}
    for window in windows.values():
        for name, checksum in window.checksums.items():
            totals[name] = add(totals.get(name), checksum)
    return totals
