"""Owns the writing of one chunk into staging, by one of three methods. Runs in a worker.

`batch` is one binary COPY, in one transaction with the chunk's row in the
ledger; after any trouble it is simply tried again, and the ledger tells whether it is needed. The other two are the
baseline that the benchmark compares with: one INSERT and one transaction a row, over one connection or over several. A
chunk of theirs that stops half-way makes staging disagree with the ledger, and is the reason to make it anew.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import spool
from .errors import DatabaseError
from .ledger import Chunk, chunk_statement
from .parts import ROW
from .patience import Patience
from .postgres import Session, quote

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from .settings import Dsn, Method


#: The key of table `chunks`: this chunk is in staging.
_WRITTEN = "chunks_pkey"


#: A worker's connection takes as long as copying so many cells, on both sides.
_CELLS_PER_WRITER = 250_000


def most_writers(cells: int) -> int:
    """How many workers may write so many cells, each over a connection of its own, before more make it slower."""
    return 1 + cells // _CELLS_PER_WRITER


@dataclass(frozen=True)
class IngestTask:
    """Which chunk goes where, and how.

    Attributes:
        number: of the chunk.
        chunk: Arrow IPC of its rows; None where they are at hand.
        first_row: sheet row of its first row.
        last_row: of the last.
        dsn: of the server.
        schema: of the table.
        table: to write to.
        method: of writing.
        row_column: takes the rows' numbers; None: they stay behind.
        run: id of the run whose ledger gets a row for the chunk; None: no ledger.
        checksum: of the rows, for the ledger.
        retry_for: seconds that trouble with the server may last.
    """

    number: int
    chunk: Path | None
    first_row: int
    last_row: int
    dsn: Dsn
    schema: str
    table: str
    method: Method
    row_column: str | None = None
    run: str | None = None
    checksum: str = ""
    retry_for: float = 0.0

    def of_chunk(self, chunk: Chunk) -> IngestTask:
        """The same task for that chunk."""
        return replace(
            self, number=chunk.number, first_row=chunk.first_row, last_row=chunk.last_row, checksum=chunk.checksum
        )

    def statement(self, rows: int) -> str | None:
        """What writes the chunk's row in the ledger."""
        if self.run is None:
            return None
        chunk = Chunk(self.number, self.first_row, self.last_row, rows, self.checksum)
        return chunk_statement(self.run, self.table, chunk)


def ingest_chunk(task: IngestTask) -> tuple[int, int]:
    """Write a chunk; returns its number and the rows written.

    Raises:
        DatabaseError: the server refused; nothing of the chunk remains (batch), or some rows (the other methods).
    """
    assert task.chunk is not None
    return task.number, write_rows(task, spool.read(task.chunk))


def write_rows(task: IngestTask, rows: pl.DataFrame) -> int:
    """Write the rows of a chunk, with their numbers; returns how many they are. See `ingest_chunk`."""
    data = rows.drop(ROW) if task.row_column is None else rows.rename({ROW: task.row_column})
    if task.method == "batch":
        _copy(task, data)
    else:
        _insert_rows(task, data)
    return len(data)


def _copy(task: IngestTask, data: pl.DataFrame) -> None:
    patience = Patience(task.retry_for)
    while True:
        try:
            _copy_rows(_session(task.dsn), task, data)
        except DatabaseError as exc:
            # Its transaction is over; the next chunk would be refused for that, and not for what is wrong with it.
            close_session()
            if exc.constraint == _WRITTEN:
                return
            patience.bear(exc)
        else:
            return


def _copy_rows(session: Session, task: IngestTask, data: pl.DataFrame) -> None:
    # First the ledger: whoever else may still be writing this chunk (a session whose client was killed, or whose answer
    # to a commit was lost) is waited for here, and found out.
    if statement := task.statement(len(data)):
        session.run(statement)
    session.copy(data, task.schema, task.table)
    session.commit()


class _Open(threading.local):
    """The connection that is kept: one a thread, because workers may be threads of the caller's as well."""

    session: tuple[str, Session] | None = None
    #: One that is being made.
    coming: Future[tuple[str, Session]] | None = None


_open = _Open()


def _session(dsn: Dsn) -> Session:
    """This worker's connection; kept, because the driver reads the whole catalog of types on connecting (60 ms)."""
    _arrived()
    if _open.session is None or _open.session[0] != dsn.text:
        _open.session = (dsn.text, Session(dsn))
    return _open.session[1]


def connect_ahead(dsn: Dsn) -> None:
    """Begin to connect in a thread, so that the first chunk need not wait for it."""
    if _open.session is None and _open.coming is None:
        thread = ThreadPoolExecutor(1)
        _open.coming = thread.submit(lambda: (dsn.text, Session(dsn)))
        thread.shutdown(wait=False)


def _arrived() -> None:
    """Take the connection that was begun ahead; if that failed, the next one says why."""
    coming, _open.coming = _open.coming, None
    if coming is not None:
        with contextlib.suppress(DatabaseError):
            _open.session = coming.result()


def close_session() -> None:
    """Close the connection that `ingest_chunk` kept, where it ran in this thread."""
    if _open.coming is not None:
        _arrived()
    if _open.session is not None:
        _open.session[1].close()
        _open.session = None


def _insert_rows(task: IngestTask, data: pl.DataFrame) -> None:
    places = ", ".join(f"${n}" for n in range(1, data.width + 1))
    columns = ", ".join(quote(name) for name in data.columns)
    statement = f"INSERT INTO {quote(task.schema, task.table)} ({columns}) VALUES ({places})"
    with Session(task.dsn, autocommit=True) as session:
        # The plain loop of every tutorial: a statement, a round trip and a commit for each row.
        session.run_each(statement, data)
        if written := task.statement(len(data)):
            session.run(written)
