"""Builds the INSERT from staging into an existing table: exact casts, and the action for a row whose key exists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from importer.postgres.sql import quote, quoted_list
from importer.postgres.types import wire_type_of

if TYPE_CHECKING:
    from importer.plan.model import ColumnPlan
    from importer.postgres.catalog import Table, TableColumn
    from importer.postgres.types import PgType
    from importer.settings import Mode

    from .staging import Staging

#: Columns that hold when a row was last written. An upsert resets them to their default when the sheet has no such
#: column; without that, `updated_at` of an updated row would be wrong.
UPDATED_AT_COLUMNS = ("updated_at", "modified_at")
#: Types that the server's own `=` compares by value. The others are compared as texts: they have no `=`, or one that
#: holds for different values (equal areas, letter case, 24 hours and 1 day), or it is another role's.
_COMPARED_BY_VALUE = {
    "boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "date", "time", "timestamp",
    "timestamp with time zone", "uuid", "jsonb", "bit", "bit varying", "character", "name", "inet", "cidr", "macaddr",
    "macaddr8", "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange",
}  # fmt: skip
#: What the server's message has in it when a row would update one that this load has written: their keys differ here
#: and are equal there, by a type, a collation or a trigger. In one statement the server itself refuses that (21000).
KEY_TAKEN = "importer-key-taken"
#: Whether a row with this `xmin` was written by this transaction or a savepoint in it: since it began, and not ended.
_WRITTEN_BY_US = """pg_catalog.age({xmin}) OPERATOR(pg_catalog.<=)
        pg_catalog.age(pg_catalog.pg_current_xact_id()::pg_catalog.xid)
    AND pg_catalog.pg_xact_status((
        pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8
        OPERATOR(pg_catalog.+) pg_catalog.age(pg_catalog.pg_current_xact_id()::pg_catalog.xid)::pg_catalog.int8
        OPERATOR(pg_catalog.-) pg_catalog.age({xmin})::pg_catalog.int8
    )::pg_catalog.text::pg_catalog.xid8) OPERATOR(pg_catalog.=) 'in progress'"""
#: Further types with an `=` of the server, by which an index finds a value.
_TEXTS = ("text", "character varying")


@dataclass(frozen=True)
class InsertSelect:
    """An INSERT whose rows are chosen later.

    Attributes:
        source: quoted name of the staging table.
        target: quoted name of the target table.
        values: expression over staging by target column.
        casts: the (column, expression) pairs of `values` whose cast may fail.
        deletes_existing: whether the table's existing rows are deleted first.
        key: columns that identify an existing row; if empty, every row is new.
        updates: (column, expression over `excluded`) pairs that update an existing row.
        differs: condition over `importer_target` and `excluded` under which an existing row is updated.
        old_xmin: expression over `importer_target`: the `xmin` of the existing row.
        is_new: expression for RETURNING: whether the row was inserted.
    """

    source: str
    target: str
    values: dict[str, str]
    casts: tuple[tuple[str, str], ...]
    deletes_existing: bool = False
    key: tuple[str, ...] = ()
    updates: tuple[tuple[str, str], ...] = ()
    differs: str = ""
    old_xmin: str = "importer_target.xmin"
    is_new: str = "xmax OPERATOR(pg_catalog.=) 0"

    def insert(self, rows: str, *, is_first: bool = True) -> str:
        """Return the INSERT of the staging rows that meet a condition; it updates an existing row only if it differs.

        Args:
            rows: SQL condition on the staging table.
            is_first: whether no earlier statement of the load wrote rows. A later one fails, with SQLSTATE 22P02 and
                `KEY_TAKEN` in its message, where it would update one of those.
        """
        if not self.key:
            return self._build_insert(rows)
        action = "NOTHING"
        if self.updates:
            assigned = ", ".join(f"{quote(name)} = {value}" for name, value in self.updates)
            action = f"UPDATE SET {assigned} WHERE {self.differs if is_first else self._differs_or_fails()}"
        return f"{self._build_insert(rows)} ON CONFLICT ({quoted_list(self.key)}) DO {action}"

    def build_forced_insert(self, rows: str) -> str:
        """Return the same INSERT, except that it updates every existing row, unless a trigger or rule prevents it."""
        updates = self.updates or tuple((name, f"excluded.{quote(name)}") for name in self.key)
        assigned = ", ".join(f"{quote(name)} = {value}" for name, value in updates)
        return f"{self._build_insert(rows)} ON CONFLICT ({quoted_list(self.key)}) DO UPDATE SET {assigned}"

    def _differs_or_fails(self) -> str:
        """Return `differs`, which fails for a row that this load has written; SQL can only raise errors by a cast."""
        ours = _WRITTEN_BY_US.format(xmin=self.old_xmin)
        fails = f"pg_catalog.concat('{KEY_TAKEN} ', {self.old_xmin})::pg_catalog.bool"
        return f"CASE WHEN {ours} THEN {fails} ELSE {self.differs} END"

    def _build_insert(self, rows: str) -> str:
        # All runs write the same keys in the same order, so that two of them cannot deadlock.
        order = f" ORDER BY {', '.join(self.values[name] for name in self.key)}" if self.key else ""
        return (
            f"INSERT INTO {self.target} AS importer_target ({quoted_list(tuple(self.values))}) "
            f"SELECT {', '.join(self.values.values())} FROM {self.source} WHERE {rows}{order}"
        )


def make_insert(
    staging: Staging, table: Table, mode: Mode, key: tuple[str, ...] = (), extra: dict[str, str] | None = None
) -> InsertSelect:
    """Return the INSERT of a load into an existing table.

    Args:
        staging: the staging table that holds the rows.
        table: the table that the rows go to.
        mode: what happens to rows that exist in the table.
        key: key columns of an upsert.
        extra: expressions over staging by further column; ignored when rows are compared.
    """
    # A field without a column in the sheet is not written, so that the table's default applies.
    columns = [c for c in staging.columns if c.column]
    values = {c.field.name: f"{quote(c.field.name)}::{c.pg_type.qualified}" for c in columns}
    casts = tuple(
        (c.field.name, values[c.field.name]) for c in columns if wire_type_of(c.pg_type).staging != str(c.pg_type)
    )
    target = quote(table.schema, table.name)
    if mode != "upsert":
        return InsertSelect(staging.quoted, target, values | (extra or {}), casts, deletes_existing=mode == "replace")
    compared = [c for c in columns if c.field.name not in key]
    written = [*(c.field.name for c in compared), *(extra or {})] if compared else []
    updates = [(name, f"excluded.{quote(name)}") for name in written]
    updates += [(name, "DEFAULT") for name in _updated_at_columns(table, set(values))] if updates else []
    differs = " OR ".join(_differs_sql(c.field.name, c.pg_type) for c in compared)
    insert = InsertSelect(staging.quoted, target, values | (extra or {}), casts, False, key, tuple(updates), differs)
    return _in_partitions(insert, [c for c in columns if c.field.name in key]) if table.is_partitioned else insert


def _in_partitions(insert: InsertSelect, key: list[ColumnPlan]) -> InsertSelect:
    """Return the upsert of a partitioned table, where ON CONFLICT and RETURNING have no system columns.

    The table is asked for the row by the key that it holds; it answers with what it had before the statement.
    """
    row = f"FROM {insert.target} AS importer_old WHERE {' AND '.join(_same_key_sql(c) for c in key)}"
    return replace(insert, old_xmin=f"(SELECT importer_old.xmin {row})", is_new=f"NOT EXISTS (SELECT {row})")


def _same_key_sql(column: ColumnPlan) -> str:
    has_index = not column.pg_type.array and column.pg_type.name in {*_COMPARED_BY_VALUE, *_TEXTS}
    cast = "" if has_index else '::pg_catalog.text COLLATE pg_catalog."C"'
    old, new = (f"{table}.{quote(column.field.name)}{cast}" for table in ("importer_old", "importer_target"))
    return f"{old} OPERATOR(pg_catalog.=) {new}"


def _updated_at_columns(table: Table, loaded: set[str]) -> list[str]:
    def fills(column: TableColumn) -> bool:
        return column.has_default and column.filled_by_database is None

    return [c.name for c in table.columns if c.name in UPDATED_AT_COLUMNS and c.name not in loaded and fills(c)]


def _differs_sql(name: str, pg_type: PgType) -> str:
    """Return the condition; not IS DISTINCT FROM, which takes the `=` that the user's search path finds."""
    by_value = pg_type.schema is None if pg_type.array else pg_type.name in _COMPARED_BY_VALUE
    cast = "" if by_value else '::pg_catalog.text COLLATE pg_catalog."C"'
    old, new = f"importer_target.{quote(name)}{cast}", f"excluded.{quote(name)}{cast}"
    return f"(({old} OPERATOR(pg_catalog.=) {new}) IS NOT TRUE AND NOT ({old} IS NULL AND {new} IS NULL))"
