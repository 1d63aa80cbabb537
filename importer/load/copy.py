"""Writes one chunk into staging, by one of three methods. Runs in a worker.

`batch` is one binary COPY, in one transaction with the chunk's row in the ledger. After a failure that may pass it is
retried, and the ledger shows whether the chunk is in staging already. The other two methods are the baseline that the
benchmark compares with: one INSERT and one transaction per row, over one connection or over several. If one of them
stops half-way through a chunk, staging disagrees with the ledger and the next run creates it from scratch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from importer.cells import spool
from importer.cells.frame import ROW
from importer.errors import DatabaseError
from importer.ledger.tables import Chunk, chunk_insert_sql
from importer.postgres.session import Session
from importer.postgres.sql import quote, quoted_list
from importer.runtime.retry import Retry

from .worker_session import close_session, worker_session

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from importer.settings import Dsn, Method


#: Primary key of table `chunks`; a violation says that this chunk is in staging already.
_CHUNKS_KEY = "chunks_pkey"


#: Connecting one more worker costs as much time, on client and server, as copying this many cells.
_CELLS_PER_WRITER = 250_000


def max_writers(cells: int) -> int:
    """Return how many workers, each with its own connection, write `cells` cells fastest; more would be slower."""
    return 1 + cells // _CELLS_PER_WRITER


@dataclass(frozen=True)
class WriteTask:
    """One chunk to write: its rows, the table it goes to, and the method.

    Attributes:
        number: index of the chunk, the same as that of its window.
        chunk: path of the Arrow IPC file with its rows; None when the rows are in memory.
        first_row: sheet row number of the chunk's first row.
        last_row: sheet row number of the chunk's last row.
        dsn: connection string of the target server.
        schema: schema of the table to write to.
        table: name of the table to write to.
        method: how rows are written (`sequential`, `concurrent`, `batch`).
        row_column: column that stores the sheet row numbers; None to leave them out.
        run: id of the run whose ledger gets a row for the chunk; None to write no ledger row.
        checksum: checksum of the chunk's rows, stored in the ledger.
        retry_for: seconds during which failures of the server are retried.
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

    def for_chunk(self, chunk: Chunk) -> WriteTask:
        """Return this task with the number, row range and checksum of `chunk`."""
        return replace(
            self, number=chunk.number, first_row=chunk.first_row, last_row=chunk.last_row, checksum=chunk.checksum
        )

    def statement(self, rows: int) -> str | None:
        """Return the SQL that writes the chunk's ledger row, or None when the task has no run.

        Args:
            rows: number of rows in the chunk.
        """
        if self.run is None:
            return None
        chunk = Chunk(self.number, self.first_row, self.last_row, rows, self.checksum)
        return chunk_insert_sql(self.run, self.table, chunk)


def write_chunk(task: WriteTask) -> tuple[int, int]:
    """Write a spooled chunk and return its number and the number of rows written.

    Raises:
        DatabaseError: the server refused; no row of the chunk remains (`batch`), or some may (the other methods).
    """
    assert task.chunk is not None
    return task.number, write_rows(task, spool.read(task.chunk))


def write_rows(task: WriteTask, rows: pl.DataFrame) -> int:
    """Write the rows of a chunk, given with their sheet row numbers, and return their count; see `write_chunk`."""
    data = rows.drop(ROW) if task.row_column is None else rows.rename({ROW: task.row_column})
    if task.method == "batch":
        _copy(task, data)
    else:
        _insert_rows(task, data)
    return len(data)


def _copy(task: WriteTask, data: pl.DataFrame) -> None:
    patience = Retry(task.retry_for)
    while True:
        try:
            _copy_rows(worker_session(task.dsn), task, data)
        except DatabaseError as exc:
            # The failed transaction makes the connection unusable: the server would refuse the next chunk as well.
            close_session()
            if exc.constraint == _CHUNKS_KEY:
                return
            patience.wait_or_raise(exc)
        else:
            return


def _copy_rows(session: Session, task: WriteTask, data: pl.DataFrame) -> None:
    # The ledger row comes first: it waits for any other session that may still be writing this chunk (one whose client
    # was killed, or whose commit was not answered), and fails if that session commits.
    if statement := task.statement(len(data)):
        session.run(statement)
    session.copy(data, task.schema, task.table)
    session.commit()


def _insert_rows(task: WriteTask, data: pl.DataFrame) -> None:
    places = ", ".join(f"${n}" for n in range(1, data.width + 1))
    columns = quoted_list(data.columns)
    statement = f"INSERT INTO {quote(task.schema, task.table)} ({columns}) VALUES ({places})"
    with Session(task.dsn, autocommit=True) as session:
        # The plain loop of a tutorial: one statement, one round trip and one commit per row.
        session.run_each(statement, data)
        if written := task.statement(len(data)):
            session.run(written)
