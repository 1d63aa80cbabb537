"""Inserts staging's rows into an existing table and finds the rows that the server refuses, by bisection.

All of it happens in one call of a PL/pgSQL function that is dropped after the call. First all rows are tried at once.
If the server refuses them, they are tried in batches in sheet order, each under a savepoint (an exception block), and a
refused batch is halved until one row is left: the refused one. So the server itself decides what it accepts: keys,
checks, foreign keys, exclusions, domains, triggers, policies, casts, and conflicts with earlier rows of this load. A
client cannot do that: the driver refuses every statement, even ROLLBACK TO, in a transaction in which one has failed.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from importer.errors import DatabaseError, VerificationFailed
from importer.ledger.schema import SCHEMA
from importer.postgres.sql import literal, quote

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
#: SQLSTATE classes no row can cause: connection, transaction state, conflicts, resources, operator, system, internal.
_GLOBAL_CLASSES = ("08", "25", "26", "40", "53", "57", "58", "F0", "XX")
#: SQLSTATE classes that a row causes only if a trigger or policy may raise them: privileges and invalid SQL.
_TRIGGER_CLASSES = ("0A", "28", "2B", "3D", "3F", "42")
#: After this many refusals of those classes and no accepted row, the rows are not the cause and the load fails.
_MAX_FIRST_REFUSALS = 8


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
    """The outcome of publishing: counts of rows inserted, updated, unchanged and deleted, and the refused rows."""

    inserted: int
    updated: int
    unchanged: int
    deleted: int
    refused: tuple[RefusedRow, ...]


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
    session.run(_function(function, staging, table, statement))
    called = f"{function}(0, {_MAX_ROW}, NULL)"
    if statement.deletes_existing:
        # One statement deletes the rows and calls the function, because foreign keys that refer to this table are
        # checked at its end, when the rows are back. TRUNCATE would show an empty table to older snapshots. The
        # sub-select makes the deletion happen first.
        answers = session.query(
            f"WITH gone AS (DELETE FROM {statement.target} RETURNING 1) "
            f"SELECT {called}, (SELECT count(*) FROM gone) WHERE (SELECT count(*) FROM gone) >= 0"
        )
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


def _function(name: str, staging: Staging, table: Table, statement: InsertSelect) -> str:
    """Return the statement that creates the function; it returns a JSON array per refused row, then the counts."""
    assert staging.row_column is not None
    number = quote(staging.row_column)
    # Columns take precedence over variables of the same name; parameters are referred to by number only.
    parts = {
        "attempt": _attempt_sql(statement, staging, f"{number} BETWEEN $1 AND $2", table),
        "attempt_waiting": _attempt_sql(statement, staging, f"{number} = ANY($3)", table),
        "staging": staging.quoted,
        "number": number,
        "never": ", ".join(map(literal, _GLOBAL_CLASSES)),
        "rarely": ", ".join(map(literal, _TRIGGER_CLASSES)),
        "hopeless": _MAX_FIRST_REFUSALS if table.may_refuse_rows else 0,
        "first": _FIRST_BATCH,
        "largest": _LARGEST_BATCH,
        "waits": str(table.refers_to_itself).lower(),
        "probes": "".join(_probe_cast_sql(cast, staging, number) for cast in statement.casts),
    }
    body = _BODY.format(**parts, again=_RETRY_WAITING.format(**parts) if table.refers_to_itself else "")
    tag = f"$importer_{secrets.token_hex(6)}$"
    return f"CREATE FUNCTION {name}(bigint, bigint, bigint[]) RETURNS SETOF text LANGUAGE plpgsql AS {tag}{body}{tag}"


def _attempt_sql(statement: InsertSelect, staging: Staging, rows: str, table: Table) -> str:
    """Return the PL/pgSQL that tries some rows and counts the outcome; it raises SKIPPED if rows were left out."""
    counted = f"SELECT count(*) INTO importer_count FROM {staging.quoted} WHERE {rows};"
    lost = (
        f"RAISE EXCEPTION USING ERRCODE = '{ROW_SKIPPED}', "
        "MESSAGE = 'a trigger or rule of the table left the row out without an error';"
    )
    if not statement.key:
        check = f"{counted} IF importer_new <> importer_count THEN {lost} END IF;" if table.may_skip_rows else ""
        return f"{statement.insert(rows)}; GET DIAGNOSTICS importer_new = ROW_COUNT; {check}"
    check = ""
    if table.may_skip_rows:
        # A row that is not written is unchanged, or a trigger prevented the write: then it prevents this one, too.
        forced = f"WITH importer_done AS ({statement.build_forced_insert(rows)} RETURNING 1)"
        check = f"""
        IF importer_same > 0 THEN
          BEGIN
            {forced} SELECT count(*) INTO importer_forced FROM importer_done;
            RAISE EXCEPTION USING ERRCODE = 'IM002';
          EXCEPTION WHEN SQLSTATE 'IM002' THEN NULL;
          END;
          IF importer_forced <> importer_count THEN {lost} END IF;
        END IF;"""
    return f"""
      WITH importer_done AS ({statement.insert(rows)} RETURNING xmax = 0 AS importer_is_new)
      SELECT count(*) FILTER (WHERE importer_is_new), count(*) FILTER (WHERE NOT importer_is_new)
      INTO importer_new, importer_changed FROM importer_done;
      {counted} importer_same := importer_count - importer_new - importer_changed; {check}"""


def _probe_cast_sql(cast: tuple[str, str], staging: Staging, number: str) -> str:
    """Return the PL/pgSQL that finds out whether a cast is what failed in row `$1`."""
    name, expression = cast
    return f"""
          IF importer_column = '' AND importer_table = '' THEN
            BEGIN PERFORM {expression} FROM {staging.quoted} WHERE {number} = $1;
            EXCEPTION WHEN OTHERS THEN importer_column := {literal(name)};
            END;
          END IF;"""


_DIAGNOSE = """
      GET STACKED DIAGNOSTICS importer_state = RETURNED_SQLSTATE, importer_text = MESSAGE_TEXT,
        importer_schema = SCHEMA_NAME, importer_table = TABLE_NAME, importer_constraint = CONSTRAINT_NAME,
        importer_column = COLUMN_NAME;
      IF left(importer_state, 2) IN ({never}) OR importer_state = '55P03' OR left(importer_state, 2) IN ({rarely})
        AND ({hopeless} = 0 OR importer_taken = 0 AND importer_refusals >= {hopeless}) THEN RAISE; END IF;"""
_ANSWER = """
          {probes}
          importer_answer := jsonb_build_array($1, importer_state, importer_text, importer_schema, importer_table,
            importer_constraint, importer_column)::text;"""
_ADD_COUNTS = """
      importer_taken := importer_taken + importer_new + importer_changed + importer_same;
      importer_news := importer_news + importer_new;
      importer_changes := importer_changes + importer_changed;
      importer_sames := importer_sames + importer_same;"""
#: `$1` to `$2` is the current batch; `$3` holds the rows that refer to rows not loaded yet (foreign keys to the table
#: itself).
_BODY = (
    """
#variable_conflict use_column
DECLARE
  importer_last bigint := $2;
  importer_size bigint;
  importer_count bigint; importer_forced bigint; importer_row bigint;
  importer_new bigint := 0; importer_changed bigint := 0; importer_same bigint := 0;
  importer_news bigint := 0; importer_changes bigint := 0; importer_sames bigint := 0; importer_taken bigint := 0;
  importer_refusals bigint := 0;
  importer_state text; importer_text text; importer_schema text; importer_table text; importer_constraint text;
  importer_column text; importer_answer text;
  importer_waiting bigint[] := '{{}}'; importer_answers text[] := '{{}}';
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  WHILE $1 <= importer_last LOOP
    BEGIN
      {attempt}"""
    + _ADD_COUNTS
    + """
      importer_size := least(importer_size * 2, {largest});
      $1 := $2 + 1;
    EXCEPTION WHEN OTHERS OR assert_failure THEN"""
    + _DIAGNOSE
    + """
      IF importer_size IS NULL THEN
        CREATE INDEX ON {staging} ({number});
        ANALYZE {staging} ({number});
        SELECT min({number}), max({number}) INTO $1, importer_last FROM {staging};
        importer_size := {first};
      ELSIF $1 < $2 THEN
        importer_size := greatest(($2 - $1 + 1) / 2, 1);
      ELSE
"""
    + _ANSWER
    + """
        IF {waits} AND importer_state = '23503' THEN
          importer_waiting := importer_waiting || $1;
          importer_answers := importer_answers || importer_answer;
        ELSE
          importer_refusals := importer_refusals + 1;
          RETURN NEXT importer_answer;
        END IF;
        $1 := $1 + 1;
      END IF;
    END;
    $2 := least($1 + importer_size - 1, importer_last);
  END LOOP;
{again}
  RETURN NEXT jsonb_build_array(importer_news, importer_changes, importer_sames)::text;
END"""
)
#: Tries the waiting rows together, for rows that refer to each other; then one by one, in alternating order, as long as
#: each pass loads some of them.
_RETRY_WAITING = (
    """
  WHILE cardinality(importer_waiting) > 0 LOOP
    $3 := importer_waiting; importer_waiting := '{{}}'; importer_answers := '{{}}';
    BEGIN
      {attempt_waiting}"""
    + _ADD_COUNTS
    + """
      EXIT;
    EXCEPTION WHEN OTHERS OR assert_failure THEN"""
    + _DIAGNOSE
    + """
    END;
    FOREACH importer_row IN ARRAY $3 LOOP
      $1 := importer_row; $2 := importer_row;
      BEGIN
        {attempt}"""
    + _ADD_COUNTS
    + """
      EXCEPTION WHEN OTHERS OR assert_failure THEN"""
    + _DIAGNOSE
    + _ANSWER
    + """
        importer_waiting := importer_row || importer_waiting;
        importer_answers := importer_answer || importer_answers;
      END;
    END LOOP;
    IF cardinality(importer_waiting) = cardinality($3) THEN
      FOREACH importer_answer IN ARRAY importer_answers LOOP RETURN NEXT importer_answer; END LOOP;
      EXIT;
    END IF;
  END LOOP;"""
)
