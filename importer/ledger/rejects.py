"""Keeps the rejects of published runs in the ledger, until the next run of the same table has published.

They are written in the transaction that publishes, so they are there exactly if the rows are, also when the run is
killed before it can name its rejects file. What is kept are opaque parts, named by the caller and cut into pieces;
there is no limit to their size but the disk's.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from importer.errors import ImporterError
from importer.postgres.sql import literal, sql_value

from .migrations import find_ledger
from .schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from importer.postgres.session import Session

#: A value of a row can have 1 GB, but the server holds it in memory several times.
_PIECE_BYTES = 4 << 20


def drop_rejects_sql(run: str, schema: str, table: str) -> str:
    """Return the statement that drops the rejects of earlier runs of a table than one that is being published.

    Those of a run that has not named its file yet stay: it was killed, and the same command again writes them.

    Args:
        run: id of the run that is being published.
        schema: schema of the target table.
        table: name of the target table.
    """
    return (
        f"DELETE FROM {SCHEMA}.rejects k USING {SCHEMA}.runs r WHERE r.id = k.run AND r.id <> {literal(run)} "
        f"AND r.target_schema = {literal(schema)} AND r.target_table = {literal(table)} "
        "AND r.counts ->> 'rejects_file' IS NOT NULL"
    )


def keep_rejects(session: Session, run: str, parts: Mapping[str, bytes]) -> None:
    """Keep the rejects of a run that is being published. Does not commit.

    Args:
        session: session with the transaction that publishes.
        run: id of the run.
        parts: content by name; empty without rejects.
    """
    for part, content in parts.items():
        for number, start in enumerate(range(0, len(content), _PIECE_BYTES)):
            session.query(
                f"INSERT INTO {SCHEMA}.rejects (run, part, number, content) "
                "VALUES ($1::uuid, $2::text, $3::int, $4::bytea) RETURNING number",
                [run, part, number, content[start : start + _PIECE_BYTES]],
            )


def find_rejects(session: Session, run: str) -> dict[str, bytes]:
    """Return the parts that were kept for a run; none if nothing is kept, or only another role may see it."""
    found: dict[str, list[bytes]] = {}
    asked = f"select part, content from {SCHEMA}.rejects where run = $1::uuid order by part, number"
    for part, content in session.query(asked, [run]):
        found.setdefault(part, []).append(content)
    return {part: b"".join(pieces) for part, pieces in found.items()}


def change_rejects_part(session: Session, run: str, part: str, change: Callable[[bytes], bytes]) -> None:
    """Change what is kept under a name for a run, if this role may. Commits."""
    asked = f"select content from {SCHEMA}.rejects where run = $1::uuid and part = $2 order by number"
    content = b"".join(piece for (piece,) in session.query(asked, [run, part]))
    if content:
        session.run(f"DELETE FROM {SCHEMA}.rejects WHERE run = {literal(run)} AND part = {literal(part)}")
        keep_rejects(session, run, {part: change(content)})
    session.commit()


def record_rejects_file(session: Session, runs: Sequence[str], path: str) -> None:
    """Record where the rejects of published runs were written. Commits, and ignores errors: the file is there."""
    named = sql_value({"rejects_file": path.encode("utf-8", "replace").decode()})
    listed = ", ".join(literal(run) for run in runs)
    with contextlib.suppress(ImporterError):
        session.run(f"UPDATE {SCHEMA}.runs SET counts = counts || {named}::jsonb WHERE id IN ({listed})")
        session.commit()


def prune_rejects(session: Session) -> dict[str, int]:
    """Drop all rejects that the ledger keeps of this role's runs; return `runs`, of how many, and `bytes`. Commits."""
    if not find_ledger(session, writes=True):
        return {"runs": 0, "bytes": 0}
    runs, size = session.query(
        f"select count(distinct run), coalesce(sum(length(content)), 0)::int8 from {SCHEMA}.rejects"
    )[0]
    session.run(f"DELETE FROM {SCHEMA}.rejects")
    session.commit()
    return {"runs": runs, "bytes": size}
