"""Owns the ledger: two tables in the target database that record all runs and which of their chunks are in staging.

A chunk's row commits in the transaction of its COPY, a run's state `published` in the transaction that publishes. So
the ledger decides whenever the answer to a commit was lost.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from importer.errors import VerificationFailed
from importer.postgres.sql import literal, quote, sql_value

from .schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from importer.postgres.session import Session
    from importer.validation.tasks import WindowChecked

#: States of a run. A killed run stays `loading`; the lock on its key shows whether it is alive.
LOADING, PUBLISHED, FAILED, INTERRUPTED = "loading", "published", "failed", "interrupted"
#: What is kept among the counts of a run that went on with a dead one: the id that all attempts at the import have.
ATTEMPT = "attempt"


class Chunk(NamedTuple):
    """A chunk: its index, its first and last sheet row, how many rows it has, and a checksum of them."""

    number: int
    first_row: int
    last_row: int
    rows: int
    checksum: str


def make_chunk(window: WindowChecked) -> Chunk:
    """Return the chunk of a checked window that has accepted rows."""
    digest = hashlib.sha256(repr(sorted(window.checksums.items())).encode()).hexdigest()[:32]
    return Chunk(window.number, window.first_row, window.last_row, window.accepted, digest)


@dataclass(frozen=True)
class LedgerRun:
    """A row of table `runs`, with the columns that a later run needs; times are texts.

    Attributes:
        is_believed: whether this role wrote the row, or one that may write to the target (and so could have).
    """

    id: str
    state: str
    workbook: str
    sheet: str
    target_oid: int | None
    counts: dict[str, Any]
    staging: str | None
    shape: str | None
    xids: str | None
    role: str
    started_at: str
    finished_at: str | None
    is_believed: bool = field(default=True)

    def is_one_of(self, ids: Container[str]) -> bool:
        """Return whether a run that has one of these ids published it, perhaps going on with another that died."""
        return self.id in ids or self.counts.get(ATTEMPT) in ids


_RUNS = f"""
select id::text, state, workbook, sheet, target_oid::int8, counts::text, staging, shape, xids, role,
       started_at::timestamptz(0)::text, finished_at::timestamptz(0)::text,
       coalesce(r.role = current_user or exists (select from pg_catalog.pg_roles w where w.rolname = r.role
           and has_any_column_privilege(w.oid, to_regclass($2), 'insert')), false) as is_believed
from {SCHEMA}.runs r where key = $1 and (state = 'published' or r.role = current_user)
order by is_believed desc, finished_at desc
"""


def find_runs(
    session: Session, key: str, target: str, own: Container[str] = ()
) -> tuple[LedgerRun | None, LedgerRun | None]:
    """Return the last published run of a key, of any role, and this role's unfinished one, each None if there is none.

    A role that cannot write to the target may still have written that it did; such a run comes last, and the caller
    must not take its word (`LedgerRun.is_believed`).

    Args:
        session: session with the target server.
        key: key of the import.
        target: quoted name of the table.
        own: ids of runs that come before later ones, if they were published.
    """
    found = [_run(row) for row in session.query(_RUNS, [key, target])]
    published = [r for r in found if r.state == PUBLISHED]
    last = next((r for r in published if r.is_one_of(own)), next(iter(published), None))
    return last, next((r for r in found if r.state != PUBLISHED), None)


def _run(row: tuple[Any, ...]) -> LedgerRun:
    values = list(row)
    counts = json.loads(values[5])
    values[5] = counts if isinstance(counts, dict) else {}
    return LedgerRun(*values)


def open_run(session: Session, values: Mapping[str, Any]) -> None:
    """Insert a run as `loading`, or set its existing row to `loading` again; see `open_run_sql`. Does not commit."""
    session.run(open_run_sql(session, values))


def open_run_sql(session: Session, values: Mapping[str, Any]) -> str:
    """Return the INSERT of a run as `loading`, which sets an existing row of it to `loading` again.

    The oid of its staging table, which exists by then, is stored with the name.

    Args:
        session: session with the target server.
        values: value by column of table `runs`, `id` included.
    """
    values = session.encoding.escape(values)
    expressions = {name: sql_value(value) for name, value in values.items()}
    if staging := values.get("staging"):
        expressions["staging_oid"] = f"to_regclass({literal(quote(SCHEMA, staging))})::oid"
    columns = ", ".join(expressions)
    again = ", ".join(f"{name} = excluded.{name}" for name in expressions if name != "id")
    written = ", ".join(expressions.values())
    return (
        f"INSERT INTO {SCHEMA}.runs (state, {columns}) VALUES ('{LOADING}', {written}) "
        f"ON CONFLICT (id) DO UPDATE SET state = '{LOADING}', error = NULL, finished_at = NULL, {again}"
    )


def delete_chunks(session: Session, run: str) -> None:
    """Delete the chunk rows of a run whose staging is about to be created from scratch. Does not commit."""
    session.run(f"DELETE FROM {SCHEMA}.chunks WHERE run = {literal(run)}")


def find_chunks(session: Session, staging: str) -> dict[int, Chunk]:
    """Return the chunks that this role's run wrote to a staging table, by number."""
    rows = session.query(
        f"select number, first_row, last_row, rows, checksum from {SCHEMA}.chunks "
        "where staging = $1 and role = current_user",
        [staging],
    )
    return {row[0]: Chunk(*row) for row in rows}


def chunk_insert_sql(run: str, staging: str, *chunks: Chunk) -> str:
    """Return the INSERT of chunks' ledger rows; it waits for any other transaction that writes the same chunks."""
    rows = ", ".join(f"({', '.join(map(sql_value, (run, staging, *chunk)))})" for chunk in chunks)
    return f"INSERT INTO {SCHEMA}.chunks (run, staging, number, first_row, last_row, rows, checksum) VALUES {rows}"


def mark_published(
    session: Session, run: str, target: str, counts: Mapping[str, Any], *, writers: bool, first: str
) -> None:
    """Set a run's state to published, in the transaction that publishes. Does not commit.

    Args:
        session: session with that transaction open.
        run: id of the run.
        target: quoted name of the table.
        counts: the counts of the run report.
        writers: whether to store the ids of the transactions that wrote the table's rows, so that later changes of
            the table can be detected.
        first: a statement that is sent before, in the same round trip.

    Raises:
        VerificationFailed: the run is not in the ledger, so that a later one would load the rows again.
    """
    xids = f"(SELECT string_agg(DISTINCT xmin::text, ',') FROM {target})" if writers else "NULL"
    marked = session.run(
        f"{first}; UPDATE {SCHEMA}.runs SET state = '{PUBLISHED}', staging = NULL, staging_oid = NULL, "
        "finished_at = clock_timestamp(), "
        f"target_oid = to_regclass({literal(target)})::oid, xids = {xids}, "
        f"counts = {sql_value(session.encoding.escape(counts))} WHERE id = {literal(run)}"
    )
    if marked != 1:
        raise VerificationFailed(
            f"run {run} is no longer in the ledger: it was removed while it loaded",
            choice="run again; nothing was published",
        )


def mark_ended(session: Session, run: str, state: str, error: str) -> bool:
    """Set a run's state to failed or interrupted; its staging stays for the next attempt. Does not commit.

    Returns:
        Whether the run is in the ledger, and loading.
    """
    text = literal(session.encoding.escape(error))
    changed = session.run(
        f"UPDATE {SCHEMA}.runs SET state = '{state}', error = {text}, finished_at = clock_timestamp() "
        f"WHERE id = {literal(run)} AND state = '{LOADING}'"
    )
    return changed != 0
