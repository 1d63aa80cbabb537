"""Owns the writing of one chunk into staging, by one of three methods. Runs in a worker.

`batch` is one binary COPY in one transaction. The other two are the baseline
that the benchmark compares with: one INSERT and one transaction a row, over one connection or over several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import spool
from .errors import DatabaseError
from .parts import ROW
from .postgres import Session, quote

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from .settings import Dsn, Method


@dataclass(frozen=True)
class IngestTask:
    """Which chunk goes where, and how; `row_column` takes the rows' numbers (None: they stay behind)."""

    number: int
    chunk: Path
    first_row: int
    last_row: int
    dsn: Dsn
    schema: str
    table: str
    method: Method
    row_column: str | None = None


def ingest_chunk(task: IngestTask) -> tuple[int, int]:
    """Write a chunk; returns its number and the rows written.

    Raises:
        DatabaseError: the server refused; nothing of the chunk remains (batch), or some rows (the other methods).
    """
    data = spool.read(task.chunk)
    data = data.drop(ROW) if task.row_column is None else data.rename({ROW: task.row_column})
    if task.method == "batch":
        _copy(task, data)
    else:
        _insert_rows(task, data)
    return task.number, len(data)


def _copy(task: IngestTask, data: pl.DataFrame) -> None:
    session = _session(task.dsn)
    try:
        session.copy(data, task.schema, task.table)
        session.commit()
    except DatabaseError:
        # Its transaction is over; the next chunk would be refused for that, and not for what is wrong with it.
        close_session()
        raise


_open_session: tuple[str, Session] | None = None


def _session(dsn: Dsn) -> Session:
    """This worker's connection; kept, because the driver reads the whole catalog of types on connecting (60 ms)."""
    global _open_session  # noqa: PLW0603 - a cache of one per worker process
    if _open_session is None or _open_session[0] != dsn.text:
        _open_session = (dsn.text, Session(dsn))
    return _open_session[1]


def close_session() -> None:
    """Close the connection that `ingest_chunk` kept, where it ran in this process."""
    global _open_session  # noqa: PLW0603 - see above
    if _open_session is not None:
        _open_session[1].__exit__(None, None, None)
        _open_session = None


def _insert_rows(task: IngestTask, data: pl.DataFrame) -> None:
    places = ", ".join(f"${n}" for n in range(1, data.width + 1))
    columns = ", ".join(quote(name) for name in data.columns)
    statement = f"INSERT INTO {quote(task.schema, task.table)} ({columns}) VALUES ({places})"
    with Session(task.dsn, autocommit=True) as session:
        # The plain loop of every tutorial: a statement, a round trip and a commit for each row.
        session.run_each(statement, data)
