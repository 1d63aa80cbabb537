"""Writes one chunk into staging, by one of three methods. Runs in a worker.

`batch` is one binary COPY, in one transaction with the chunk's row in the ledger. After a failure that may pass it is
retried, and the ledger shows whether the chunk is in staging already. The other two methods are the baseline that the
benchmark compares with: one INSERT and one transaction per row, over one connection or over several. If one of them
stops half-way through a chunk, staging disagrees with the ledger and the next run creates it from scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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
class CopyTarget:
    """Where all chunks of a run are written to, and how.

    Attributes:
        dsn: connection string of the target server.
        schema: schema of the table to write to.
        table: name of the table to write to.
        method: how rows are written (`sequential`, `concurrent`, `batch`).
        row_column: column that stores the sheet row numbers; None to leave them out.
        run: id of the run whose ledger gets a row for each chunk; None to write no ledger row.
        retry_for: seconds during which failures of the server are retried.
    """

    dsn: Dsn
    schema: str
    table: str
    method: Method
    row_column: str | None = None
    run: str | None = None
    retry_for: float = 0.0

    def ledger_statement(self, chunk: Chunk) -> str | None:
        """Return the SQL that writes a chunk's ledger row, or None where the ledger gets none."""
        return None if self.run is None else chunk_insert_sql(self.run, self.table, chunk)


#: The commit of a chunk does not wait for the disk. A chunk and its row in the ledger are one transaction, so that a
#: server that crashes loses both or none, and what is lost is written again. The server writes its log in order, and
#: the commits of the run's row before and of publishing after wait: chunks are never there without the former, nor
#: the latter without the chunks.
_DURABLE_LATER = "SET LOCAL synchronous_commit = off"


class WriteTask(NamedTuple):
    """A spooled chunk to write.

    Attributes:
        target: where it is written to, and how.
        chunk: its number, sheet rows and checksum.
        path: Arrow IPC file with its rows.
    """

    target: CopyTarget
    chunk: Chunk
    path: Path


def write_chunk(task: WriteTask) -> tuple[int, int]:
    """Write a spooled chunk and return its number and the number of rows written.

    Raises:
        DatabaseError: the server refused; no row of the chunk remains (`batch`), or some may (the other methods).
    """
    return task.chunk.number, write_rows(task.target, task.chunk, spool.read(task.path))


def write_rows(target: CopyTarget, chunk: Chunk, rows: pl.DataFrame) -> int:
    """Write the rows of a chunk, given with their sheet row numbers, and return their count; see `write_chunk`."""
    data = rows.drop(ROW) if target.row_column is None else rows.rename({ROW: target.row_column})
    if target.method == "batch":
        _copy(target, chunk, data)
    else:
        _insert_rows(target, chunk, data)
    return len(data)


def _copy(target: CopyTarget, chunk: Chunk, data: pl.DataFrame) -> None:
    retry = Retry(target.retry_for)
    while True:
        try:
            _copy_rows(worker_session(target.dsn), target, chunk, data)
        except DatabaseError as exc:
            # The failed transaction makes the connection unusable: the server would refuse the next chunk as well.
            close_session(broken=True)
            if exc.constraint == _CHUNKS_KEY:
                return
            retry.wait_or_raise(exc)
        else:
            return


def _copy_rows(session: Session, target: CopyTarget, chunk: Chunk, data: pl.DataFrame) -> None:
    # The ledger row comes first: it waits for any other session that may still be writing this chunk (one whose client
    # was killed, or whose commit was not answered), and fails if that session commits.
    if statement := target.ledger_statement(chunk._replace(rows=len(data))):
        session.run(statement if session.is_joined else f"{_DURABLE_LATER}; {statement}")
    session.copy(data, target.schema, target.table)
    session.commit()


def _insert_rows(target: CopyTarget, chunk: Chunk, data: pl.DataFrame) -> None:
    places = ", ".join(f"${n}" for n in range(1, data.width + 1))
    columns = quoted_list(data.columns)
    statement = f"INSERT INTO {quote(target.schema, target.table)} ({columns}) VALUES ({places})"
    with Session(target.dsn, autocommit=True) as session:
        # The plain loop of a tutorial: one statement, one round trip and one commit per row.
        session.run_each(statement, data)
        if written := target.ledger_statement(chunk._replace(rows=len(data))):
            session.run(written)
