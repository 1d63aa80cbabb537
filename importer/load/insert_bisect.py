"""Inserts staging's rows into an existing table and finds the rows that the server refuses, by bisection.

All of it happens in one call of a PL/pgSQL function, written in `insert_bisect.sql`, that is dropped after the call.
First all rows are tried at once. If the server refuses them, they are tried in batches in sheet order, each under a
savepoint (an exception block), and a refused batch is halved until one row is left: the refused one. So the server
itself decides what it accepts: keys, checks, foreign keys, exclusions, domains, triggers, policies, casts, and
conflicts with earlier rows of this load. A client cannot do that: the driver refuses every statement, even ROLLBACK TO,
in a transaction in which one has failed.
"""

from __future__ import annotations

import functools
import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from importer.errors import DatabaseError, VerificationFailed
from importer.ledger.schema import SCHEMA
from importer.postgres.sql import OWN_PATH, literal, path_sql, quote, set_own_path, set_target_path

from .insert_select import KEY_TAKEN

if TYPE_CHECKING:
    from importer.postgres.catalog import Table
    from importer.postgres.session import Session

    from .insert_select import InsertSelect
    from .staging import Staging

#: Rows per batch, at first and at most. With one row in a hundred refused, first batches of 64, 256 and 1,024 rows took
#: the same time (100,000 rows cost the server 0.65 s clean, 1.5 s with 1,000 refused, 4 s with all refused).
_FIRST_BATCH, _LARGEST_BATCH = 256, 8192
#: A row number beyond the last row of any sheet.
_MAX_ROW = 1 << 40
#: Our own SQLSTATE: a trigger or rule left a row out without an error.
ROW_SKIPPED = "IM001"
#: Another one: the row's key equals that of a row above it, though only to the server.
KEY_REPEATED = "IM003"
#: SQLSTATE classes no row can cause: connection, transaction state, conflicts, resources, operator, system, internal.
_GLOBAL_CLASSES = ("08", "25", "26", "40", "53", "57", "58", "F0", "XX")
#: SQLSTATE classes that a row causes only if a trigger or policy may raise them: privileges and invalid SQL.
_TRIGGER_CLASSES = ("0A", "28", "2B", "3D", "3F", "42")
#: After this many refusals of those classes and no accepted row, the rows are not the cause and the load fails.
_MAX_FIRST_REFUSALS = 8
#: The syntax of `insert_bisect.sql`: the line that begins a fragment, comment lines, and `{name}`, but not `{}`.
_FRAGMENT = re.compile(r"^-- fragment: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class RefusedRow(NamedTuple):
    """A row that the server refused, and the server's error.

    Attributes:
        row: sheet row number.
        sqlstate: the error's SQLSTATE, five characters.
        message: first line of the server's message, without DETAIL.
        schema: schema of the table that the server named, or empty.
        table: table that the server named, or empty.
        constraint: constraint that was violated, or empty.
        column: column that the server named or whose cast failed, or empty.
    """

    row: int
    sqlstate: str
    message: str
    schema: str
    table: str
    constraint: str
    column: str


@dataclass(frozen=True)
class PublishResult:
    """The outcome of publishing: counts of rows inserted, updated, unchanged and deleted, refused rows, and notes."""

    inserted: int
    updated: int
    unchanged: int
    deleted: int
    refused: tuple[RefusedRow, ...]
    notes: tuple[str, ...] = ()


def fill(session: Session, staging: Staging, table: Table, statement: InsertSelect, rows: int) -> PublishResult:
    """Insert staging's rows into a table, except those that the server refuses.

    Args:
        session: session whose open transaction is used.
        staging: the staging table, with a row number column.
        table: the existing table to insert into.
        statement: the INSERT to run.
        rows: number of rows in staging.

    Raises:
        DatabaseError: the server refuses for a reason that lies in no single row.
        VerificationFailed: the server's counts do not add up.
    """
    assert staging.row_column is not None
    function = quote(SCHEMA, f"fill_{secrets.token_hex(6)}")
    session.run(_function(function, staging, table, statement, _path_changes(session.user_path)))
    called = f"{function}(0, {_MAX_ROW}, NULL)"
    if statement.deletes_existing:
        # One statement deletes the rows and calls the function, because foreign keys that refer to this table are
        # checked at its end, when the rows are back. TRUNCATE would show an empty table to older snapshots. The
        # sub-select makes the deletion happen first.
        gone = "(SELECT pg_catalog.count(*) FROM gone)"
        set_target_path(session)
        answers = session.query(
            f"WITH gone AS (DELETE FROM {statement.target} RETURNING 1) "
            f"SELECT {called}, {gone} WHERE {gone} OPERATOR(pg_catalog.>=) 0"
        )
        set_own_path(session)
    else:
        answers = session.query(f"SELECT {called}, 0")
    session.run(f"DROP FUNCTION {function}(bigint, bigint, bigint[])")
    return _parse_answers(answers, rows)


def _parse_answers(answers: list[tuple[str, int]], rows: int) -> PublishResult:
    """Parse the function's answers and check that they account for every row."""
    (new, changed, same), *refused = [json.loads(text) for text, _ in reversed(answers)]
    filled = PublishResult(new, changed, same, answers[0][1], tuple(sorted(RefusedRow(*row) for row in refused)))
    if filled.inserted + filled.updated + filled.unchanged + len(filled.refused) != rows:
        raise VerificationFailed(
            f"{rows:,} rows were sent to the table but the server accounts for {filled.inserted:,} inserted, "
            f"{filled.updated:,} updated, {filled.unchanged:,} unchanged and {len(filled.refused):,} refused",
            choice="nothing was published; check the rules and triggers of the table",
        )
    if refused and len(filled.refused) == rows and all(row.sqlstate[:2] in _TRIGGER_CLASSES for row in filled.refused):
        first = filled.refused[0]
        raise DatabaseError(f"PostgreSQL refused: {first.message} (SQLSTATE {first.sqlstate})", sqlstate=first.sqlstate)
    return filled


def _path_changes(user_path: str) -> dict[str, str]:
    """Return the PL/pgSQL that sets the user's search path, and that which sets ours again, by fragment."""
    paths = {"target_path": user_path, "own_path": OWN_PATH}
    return {name: path_sql(path).replace("SELECT", "PERFORM", 1) + ";" for name, path in paths.items()}


def _function(name: str, staging: Staging, table: Table, statement: InsertSelect, paths: dict[str, str]) -> str:
    """Return the statement that creates the function; it returns a JSON array per refused row, then the counts."""
    assert staging.row_column is not None
    number = quote(staging.row_column)
    batch = f"{number} OPERATOR(pg_catalog.>=) $1 AND {number} OPERATOR(pg_catalog.<=) $2"
    probes = "".join(_probe_cast_sql(cast, staging, number, paths) for cast in statement.casts)
    shared = {
        "attempt": _attempt_sql(statement, staging, batch, table, paths),
        "staging": staging.quoted,
        "number": number,
        "add_counts": _sql("add_counts"),
        "diagnose": _diagnose_sql(table),
        "answer": _sql("answer", probes=probes),
    }
    retry = ""
    if table.refers_to_itself:
        waiting = _attempt_sql(statement, staging, f"{number} OPERATOR(pg_catalog.=) ANY ($3)", table, paths)
        retry = _sql("retry_waiting", attempt_waiting=waiting, **shared)
    waits = str(table.refers_to_itself).lower()
    body = _sql("body", first=_FIRST_BATCH, largest=_LARGEST_BATCH, waits=waits, retry_waiting=retry, **shared)
    tag = f"$importer_{secrets.token_hex(6)}$"
    return (
        f"CREATE FUNCTION {name}(bigint, bigint, bigint[]) RETURNS SETOF text LANGUAGE plpgsql "
        f"SET search_path = {OWN_PATH} AS {tag}{body}{tag}"
    )


def _diagnose_sql(table: Table) -> str:
    """Return the PL/pgSQL that raises the error of a batch again if no row of it can be the cause."""
    never, rarely = (", ".join(map(literal, classes)) for classes in (_GLOBAL_CLASSES, _TRIGGER_CLASSES))
    hopeless = _MAX_FIRST_REFUSALS if table.may_refuse_rows else 0
    taken = {"key_taken": KEY_TAKEN, "key_repeated": KEY_REPEATED}
    return _sql("diagnose", never=never, rarely=rarely, hopeless=hopeless, **taken)


def _attempt_sql(statement: InsertSelect, staging: Staging, rows: str, table: Table, paths: dict[str, str]) -> str:
    """Return the PL/pgSQL that tries some rows and counts the outcome; it raises ROW_SKIPPED if rows were left out."""
    count = _sql("count", staging=staging.quoted, rows=rows)
    lost = _sql("lost", row_skipped=ROW_SKIPPED)
    if not statement.key:
        check = _sql("check_inserted", count=count, lost=lost) if table.may_skip_rows else ""
        return _sql("insert", statement=statement.insert(rows), check=check, **paths)
    check = ""
    if table.may_skip_rows:
        check = _sql("check_unchanged", forced=statement.build_forced_insert(rows), lost=lost, **paths)
    first, later = (
        _sql("upsert_counts", statement=statement.insert(rows, is_first=is_first), is_new=statement.is_new)
        for is_first in (True, False)
    )
    return _sql("upsert", first_upsert=first, later_upsert=later, count=count, check=check, **paths)


def _probe_cast_sql(cast: tuple[str, str], staging: Staging, number: str, paths: dict[str, str]) -> str:
    """Return the PL/pgSQL that finds out whether a cast is what failed in row `$1`."""
    name, expression = cast
    return _sql("probe", expression=expression, staging=staging.quoted, number=number, column=literal(name), **paths)


def _sql(fragment: str, **values: object) -> str:
    """Return a fragment of `insert_bisect.sql` with its placeholders replaced.

    Each value is inserted as it is, so that names and texts must be quoted already. What looks like a placeholder in a
    value, such as the name of a column in braces, stays.
    """
    return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), _fragments()[fragment])


@functools.cache
def _fragments() -> dict[str, str]:
    """Read `insert_bisect.sql` and return its fragments by name, without comment lines."""
    text = Path(__file__).with_name("insert_bisect.sql").read_text(encoding="utf-8")
    _, *parts = _FRAGMENT.split(text)
    return {name: "\n" + _COMMENT.sub("", part).strip("\n") for name, part in zip(parts[::2], parts[1::2], strict=True)}
