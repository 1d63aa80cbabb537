"""Builds the INSERT from staging into an existing table: exact casts, and the action for a row whose key exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from importer.postgres.sql import quote, quoted_list
from importer.postgres.types import wire_type_of

if TYPE_CHECKING:
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
    """

    source: str
    target: str
    values: dict[str, str]
    casts: tuple[tuple[str, str], ...]
    deletes_existing: bool = False
    key: tuple[str, ...] = ()
    updates: tuple[tuple[str, str], ...] = ()
    differs: str = ""

    def insert(self, rows: str) -> str:
        """Return the INSERT of the staging rows that meet a condition; it updates an existing row only if it differs.

        Args:
            rows: SQL condition on the staging table.
        """
        if not self.key:
            return self._build_insert(rows)
        action = "NOTHING"
        if self.updates:
            assigned = ", ".join(f"{quote(name)} = {value}" for name, value in self.updates)
            action = f"UPDATE SET {assigned} WHERE {self.differs}"
        return f"{self._build_insert(rows)} ON CONFLICT ({quoted_list(self.key)}) DO {action}"

    def build_forced_insert(self, rows: str) -> str:
        """Return the same INSERT, except that it updates every existing row, unless a trigger or rule prevents it."""
        updates = self.updates or tuple((name, f"excluded.{quote(name)}") for name in self.key)
        assigned = ", ".join(f"{quote(name)} = {value}" for name, value in updates)
        return f"{self._build_insert(rows)} ON CONFLICT ({quoted_list(self.key)}) DO UPDATE SET {assigned}"

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
    return InsertSelect(staging.quoted, target, values | (extra or {}), casts, False, key, tuple(updates), differs)


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
