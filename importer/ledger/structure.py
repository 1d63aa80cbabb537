"""Knows what the ledger's tables look like, and refuses tables of the same names that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import TargetRefused

from .schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.postgres.session import Session

#: The columns that a ledger of this version has, by table, each with its type. All of them are used by our statements.
TABLES = {
    "runs": {
        "id": "uuid", "key": "text", "state": "text", "workbook": "text", "sha256": "text", "sheet": "text",
        "target_schema": "text", "target_table": "text", "target_oid": "oid", "mode": "text", "contract_sha256": "text",
        "plan": "jsonb", "counts": "jsonb", "staging": "text", "staging_oid": "oid", "shape": "text", "xids": "text",
        "role": "text",
        "client": "text", "version": "text", "started_at": "timestamp with time zone",
        "finished_at": "timestamp with time zone", "error": "text",
    },
    "chunks": {
        "run": "uuid", "staging": "text", "number": "integer", "first_row": "integer", "last_row": "integer",
        "rows": "bigint", "checksum": "text", "state": "text", "written_at": "timestamp with time zone",
        "role": "text",
    },
    "rejects": {"run": "uuid", "part": "text", "number": "integer", "content": "bytea", "role": "text"},
}  # fmt: skip
#: The keys whose uniqueness makes an import happen once: table, columns, predicate of a partial index.
UNIQUE_KEYS = (
    ("runs", "id", None),
    ("runs", "key, role", "(state <> 'published'::text)"),
    ("chunks", "run, staging, number", None),
    ("rejects", "run, part, number", None),
)
#: Names of the schema that the ledger takes besides its tables.
INDEXES = ("runs_pkey", "runs_open", "runs_key", "chunks_pkey", "chunks_run", "rejects_pkey")
#: What `pg_class.relkind` means where a table (`r`) is expected.
_KINDS = {
    "v": "a view", "m": "a materialized view", "f": "a foreign table", "p": "a partitioned table", "S": "a sequence",
    "c": "a type", "i": "an index",
}  # fmt: skip
#: A table's kind, column name, type, and whether an INSERT that leaves the column out fails; a row with nulls for a
#: relation without columns.
_COLUMNS = """
select c.relname::text, c.relkind::text, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull and not a.atthasdef and a.attidentity = '' as needed
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = $1 and c.relname = any(pg_catalog.string_to_array($2, ','))
"""
#: A table's usable unique indexes: columns in order, and the predicate.
_UNIQUE = """
select c.relname::text,
       (select pg_catalog.string_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true), ', ' order by k)
        from pg_catalog.generate_series(1, i.indnkeyatts) k),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid)
from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = any(pg_catalog.string_to_array($2, ',')) and i.indisunique and i.indisvalid
"""


def check_structure(session: Session) -> None:
    """Check that the tables of the ledger are those that this version makes.

    Raises:
        TargetRefused: a table, a column or a unique key is missing or of another kind.
    """
    fault = next(_faults(session), None)
    if fault is not None:
        raise damaged_error(session, fault)


def damaged_error(session: Session, fault: str) -> TargetRefused:
    """Return the error about a ledger that was changed by others."""
    return TargetRefused(
        f"the ledger in schema {SCHEMA!r} is damaged: {fault}",
        place=_place(session),
        choice="undo that, or restore the schema from a backup; or begin a new ledger "
        f"(ALTER SCHEMA {SCHEMA} RENAME TO {SCHEMA}_damaged), which does not know what was imported before, "
        "and would import it again",
    )


def _faults(session: Session) -> Iterator[str]:
    kinds: dict[str, str] = {}
    columns: dict[str, dict[str, tuple[str, bool]]] = {table: {} for table in TABLES}
    for table, kind, column, pg_type, needed in session.query(_COLUMNS, [SCHEMA, ",".join(TABLES)]):
        kinds[table] = kind
        columns[table][column] = pg_type, needed
    for table, expected in TABLES.items():
        if table not in kinds:
            yield f"table {table} is missing"
        elif kinds[table] != "r":
            yield f"{table} is {_KINDS.get(kinds[table], 'something else')}, not a table"
        else:
            yield from _column_faults(table, columns[table], expected)
    found = session.query(_UNIQUE, [SCHEMA, ",".join(TABLES)])
    for table, names, predicate in UNIQUE_KEYS:
        if (table, names, predicate) not in found:
            yield f"table {table} has no unique key on {names}{f' where {predicate}' if predicate else ''}"


def _column_faults(table: str, columns: dict[str, tuple[str, bool]], expected: dict[str, str]) -> Iterator[str]:
    for name, pg_type in expected.items():
        if name not in columns:
            yield f"table {table} has no column {name}"
        elif columns[name][0] != pg_type:
            yield f"column {name} of table {table} is {columns[name][0]}, not {pg_type}"
    for name, (_, needed) in columns.items():
        if needed and name not in expected:
            yield f"column {name} of table {table} is not this program's and takes no empty value"


def foreign_schema(session: Session, name: str, kind: str, version: str) -> TargetRefused:
    """Return the error about a relation that has a name of the ledger but is not part of one.

    Args:
        session: session with the target server.
        name: name of the relation.
        kind: its `pg_class.relkind`.
        version: the comment that table `runs` of a ledger of this version has.
    """
    choice = f"rename that schema (ALTER SCHEMA {SCHEMA} RENAME TO another_name), or load into another database"
    if next(_faults(session), None) is None:
        mark = f"COMMENT ON TABLE {SCHEMA}.runs IS '{version}'"
        choice = f"if it is one that was restored without comments: {mark}; else {choice}"
    return TargetRefused(
        f"schema {SCHEMA!r} has {_KINDS.get(kind, 'a table')} {name!r}, but is not a ledger of this program",
        place=_place(session),
        choice=choice,
    )


def _place(session: Session) -> str:
    return f"schema {SCHEMA} of database {session.value('select pg_catalog.current_database()::text')}"
