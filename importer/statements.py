"""Owns the INSERT from staging into an existing table: exact casts, and what happens to a row whose key is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .pgtypes import wire_of
from .postgres import quote

if TYPE_CHECKING:
    from .catalog import Table, TableColumn
    from .pgtypes import PgType
    from .settings import Mode
    from .staging import Staging

#: Columns that tell when a row was last written. An upsert gives them their default again where the sheet has no such
#: column; without that, the sample's own `updated_at` would tell a lie.
TOUCHED = ("updated_at", "modified_at")
#: Types whose `=` is missing, or takes different values for equal (areas, letter case, 24 hours and 1 day).
_COMPARED_AS_TEXT = {
    "json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle", "interval",
    "text", "character varying", "citext",
}  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """An INSERT without its choice of rows.

    Attributes:
        source: the staging table, quoted.
        target: the table, quoted.
        values: column -> expression over staging.
        casts: of them, those whose expression may fail.
        replaces: the rows that are there are deleted first.
        key: columns by which a row is recognised; without any, every row is new.
        updates: for a row that is there: column -> expression over `excluded`.
        differs: when such a row is written at all, over `importer_target` and `excluded`.
    """

    source: str
    target: str
    values: dict[str, str]
    casts: tuple[tuple[str, str], ...]
    replaces: bool = False
    key: tuple[str, ...] = ()
    updates: tuple[tuple[str, str], ...] = ()
    differs: str = ""

    def insert(self, rows: str) -> str:
        """The INSERT of the staging rows that meet a condition; of a row that is there, only when it differs."""
        if not self.key:
            return self._insert(rows)
        action = "NOTHING"
        if self.updates:
            assigned = ", ".join(f"{quote(name)} = {value}" for name, value in self.updates)
            action = f"UPDATE SET {assigned} WHERE {self.differs}"
        return f"{self._insert(rows)} ON CONFLICT ({_list(self.key)}) DO {action}"

    def insert_always(self, rows: str) -> str:
        """The same, but every row that is there is written, as long as no trigger or rule prevents it."""
        updates = self.updates or tuple((name, f"excluded.{quote(name)}") for name in self.key)
        assigned = ", ".join(f"{quote(name)} = {value}" for name, value in updates)
        return f"{self._insert(rows)} ON CONFLICT ({_list(self.key)}) DO UPDATE SET {assigned}"

    def _insert(self, rows: str) -> str:
        # Everybody who writes the same keys takes them in the same order, lest two runs wait for each other.
        order = f" ORDER BY {', '.join(self.values[name] for name in self.key)}" if self.key else ""
        return (
            f"INSERT INTO {self.target} AS importer_target ({_list(tuple(self.values))}) "
            f"SELECT {', '.join(self.values.values())} FROM {self.source} WHERE {rows}{order}"
        )


def make_statement(
    staging: Staging, table: Table, mode: Mode, key: tuple[str, ...] = (), extra: dict[str, str] | None = None
) -> Statement:
    """The INSERT of a load into a table that exists.

    Args:
        staging: with the rows.
        table: they go to.
        mode: what happens to rows that are there.
        key: of an upsert.
        extra: further columns -> expressions over staging; they do not count when rows are compared.
    """
    # A field that the sheet has no column for is not written, so that the table's default holds.
    columns = [c for c in staging.columns if c.column]
    values = {c.field.name: f"{quote(c.field.name)}::{c.pg_type}" for c in columns}
    casts = tuple((c.field.name, values[c.field.name]) for c in columns if wire_of(c.pg_type).staging != str(c.pg_type))
    target = quote(table.schema, table.name)
    if mode != "upsert":
        return Statement(staging.quoted, target, values | (extra or {}), casts, replaces=mode == "replace")
    compared = [c for c in columns if c.field.name not in key]
    written = [*(c.field.name for c in compared), *(extra or {})] if compared else []
    updates = [(name, f"excluded.{quote(name)}") for name in written]
    updates += [(name, "DEFAULT") for name in _touched(table, set(values))] if updates else []
    differs = " OR ".join(_differs(c.field.name, c.pg_type) for c in compared)
    return Statement(staging.quoted, target, values | (extra or {}), casts, False, key, tuple(updates), differs)


def _touched(table: Table, loaded: set[str]) -> list[str]:
    def fills(column: TableColumn) -> bool:
        return column.has_default and column.filled_by_database is None

    return [c.name for c in table.columns if c.name in TOUCHED and c.name not in loaded and fills(c)]


def _differs(name: str, pg_type: PgType) -> str:
    as_text = pg_type.name in _COMPARED_AS_TEXT
    cast = '::text COLLATE "C"' if as_text else ""
    return f"importer_target.{quote(name)}{cast} IS DISTINCT FROM excluded.{quote(name)}{cast}"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(quote(name) for name in names)
