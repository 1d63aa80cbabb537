"""Reads PostgreSQL's catalog: a table's columns with their exact types, its keys, and the tables that refer to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from importer.errors import TargetRefused, UsageError

from .definition import read_definition
from .sql import quote
from .type_catalog import describe_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .session import Session
    from .types import PgType


@dataclass(frozen=True)
class TableColumn:
    """A column of an existing table.

    Attributes:
        name: name of the column.
        pg_type: exact type; for a domain, its base type with the domain's name.
        not_null: whether the column refuses null.
        has_default: whether the database fills it when no value is given (default, identity).
        filled_by_database: `identity` (GENERATED ALWAYS), `generated`, or None if values may be given.
    """

    name: str
    pg_type: PgType
    not_null: bool
    has_default: bool
    filled_by_database: str | None


@dataclass(frozen=True)
class Table:
    """An existing table.

    Attributes:
        schema: schema of the table.
        name: name of the table.
        columns: columns in table order.
        keys: (is primary key, column names) of each unique index that has neither expressions nor a predicate.
        cascading_tables: tables whose rows change when rows of this table are deleted.
        may_skip_rows: whether triggers or rules may leave a row out without an error.
        may_refuse_rows: whether triggers, rules or policies of the table may refuse a row for any reason.
        refers_to_itself: whether a foreign key of the table refers to the table itself.
        arbiters: column names of those `keys` that ON CONFLICT accepts (neither deferrable nor invalid).
        definition: all else that decides what becomes of a row; see `definition`.
    """

    schema: str
    name: str
    columns: tuple[TableColumn, ...]
    keys: tuple[tuple[bool, tuple[str, ...]], ...]
    cascading_tables: tuple[str, ...]
    may_skip_rows: bool = False
    may_refuse_rows: bool = False
    refers_to_itself: bool = False
    arbiters: tuple[tuple[str, ...], ...] = ()
    definition: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> TableColumn | None:
        """Return the column of that name, or None."""
        return next((c for c in self.columns if c.name == name), None)


def parse_table_name(text: str) -> tuple[str | None, str]:
    """Parse `table`, `schema.table` or `"My Schema"."My.Table"` into schema (or None) and table.

    Raises:
        UsageError: the text has none of these forms.
    """
    match = re.fullmatch(r'(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)', text.strip())
    if not match:
        raise UsageError(
            f"--table {text!r} is not a table name", choice='table, schema.table or "My Schema"."My.Table"'
        )
    schema, table = (_unquote(part) if part else None for part in match.groups())
    assert table is not None
    return schema, table


def _unquote(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


#: Schemas of the server, and our own.
_SYSTEM_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast", "importer")


def find_table(session: Session, schema: str | None, name: str) -> tuple[str, Table | None]:
    """Return the schema that a table name refers to, and the table, or None if it does not exist.

    Args:
        session: session with the target server.
        schema: the given schema; None to use the search path.
        name: name of the table.

    Raises:
        TargetRefused: the schema does not exist or is not for data, or the name belongs to something else.
    """
    if schema in _SYSTEM_SCHEMAS:
        raise TargetRefused(f"schema {schema!r} is reserved", choice="name another: --table schema.table")
    if schema is None:
        schema = find_schema(session, name) or next(iter(session.schemas), None)
        if schema is None:
            raise TargetRefused("no schema of the search path exists", choice="name one: --table schema.table")
    elif not session.value("select 1 from pg_namespace where nspname = $1", [schema]):
        raise TargetRefused(f"no schema {schema!r}", choice=f"create it: CREATE SCHEMA {quote(schema)};")
    kind = session.value(
        """
        select c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2
        """,
        [schema, name],
    )
    if kind is None:
        return schema, None
    if kind not in {"r", "p"}:
        named = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "i": "an index", "S": "a sequence"}
        what = named.get(kind, "not a table")
        raise TargetRefused(f"{quote(schema, name)} is {what}", choice="name another table with --table")
    if not session.value("select has_schema_privilege($1, 'usage')", [schema]):
        role = quote(str(session.value("select current_user::text")))
        raise TargetRefused(
            f"role {role} may not use schema {schema!r}",
            choice=f"ask an administrator to run: GRANT USAGE ON SCHEMA {quote(schema)} TO {role};",
            sqlstate="42501",
        )
    return schema, read_table(session, schema, name)


def find_schema(session: Session, name: str) -> str | None:
    """Return the first schema of the user's search path that has a table (or view…) of that name, or None.

    The server's own schema does not count: a workbook named pg_class does not mean the server's table.
    """
    found = session.query(
        "select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relname = $1",
        [name],
    )
    having = {schema for (schema,) in found}
    return next((schema for schema in session.schemas if schema in having and schema != "pg_catalog"), None)


def read_table(session: Session, schema: str, name: str) -> Table:
    """Read an existing table from the catalog."""
    keys = _keys(session, schema, name)
    triggers, policies, itself = session.query(_ROW_HOOKS, [quote(schema, name)])[0]
    return Table(
        schema,
        name,
        _columns(session, schema, name),
        tuple((primary, columns) for primary, columns, _ in keys),
        _cascades(session, schema, name),
        may_skip_rows=triggers,
        may_refuse_rows=triggers or policies,
        refers_to_itself=itself,
        arbiters=tuple(columns for _, columns, usable in keys if usable),
        definition=read_definition(session, quote(schema, name)),
    )


#: Triggers of partitions count as well, because rows are inserted into the partitions.
_ROW_HOOKS = """
select c.relhasrules or exists (
           select from pg_trigger t where not t.tgisinternal
           and (t.tgrelid = c.oid or t.tgrelid in (select relid from pg_partition_tree(c.oid)))),
       c.relrowsecurity,
       exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = c.oid)
from pg_class c where c.oid = to_regclass($1)
"""


_COLUMNS = """
with recursive base as (
    select a.attnum, a.attname, a.attnotnull, a.atthasdef, a.attidentity::text, a.attgenerated::text,
           format_type(a.atttypid, a.atttypmod) as declared, a.atttypid as type, a.atttypmod as typmod, false as notnull
    from pg_attribute a
    where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped
  union all
    select b.attnum, b.attname, b.attnotnull, b.atthasdef, b.attidentity, b.attgenerated,
           b.declared, t.typbasetype, t.typtypmod, b.notnull or t.typnotnull
    from base b join pg_type t on t.oid = b.type where t.typtype = 'd'
)
select b.attname::text, b.attnotnull or b.notnull as not_null, b.atthasdef, b.attidentity, b.attgenerated, b.declared,
       o.nspname::text as declared_in,
       format_type(b.type, b.typmod) as base, n.nspname::text as base_in, t.typtype::text as kind, t.oid::int8 as oid
from base b join pg_type t on t.oid = b.type join pg_namespace n on n.oid = t.typnamespace
join pg_attribute a on a.attrelid = to_regclass($1) and a.attnum = b.attnum
join pg_type d on d.oid = a.atttypid join pg_namespace o on o.oid = d.typnamespace
where t.typtype <> 'd' order by b.attnum
"""


def _columns(session: Session, schema: str, name: str) -> tuple[TableColumn, ...]:
    columns = []
    rows = session.query(_COLUMNS, [quote(schema, name)])
    for column, not_null, has_default, identity, generated, declared, declared_in, base, base_in, kind, oid in rows:
        pg_type = describe_type(session, (base, base_in), kind, oid)
        if declared != base:
            pg_type = pg_type.in_domain(declared, declared_in, session.schemas)
        filled = "identity" if identity == "a" else "generated" if generated else None
        columns.append(TableColumn(column, pg_type, not_null, has_default or bool(identity), filled))
    return tuple(columns)


def _keys(session: Session, schema: str, name: str) -> tuple[tuple[bool, tuple[str, ...], bool], ...]:
    rows = session.query(
        """
        select i.indisprimary, array_agg(a.attname::text order by k.position), i.indimmediate and i.indisvalid
        from pg_index i
        cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, position)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where i.indrelid = to_regclass($1) and i.indisunique and i.indpred is null and i.indexprs is null
          and k.position <= i.indnkeyatts
        group by i.indexrelid, i.indisprimary, i.indimmediate, i.indisvalid order by i.indexrelid
        """,
        [quote(schema, name)],
    )
    return tuple((primary, tuple(columns), usable) for primary, columns, usable in rows)


def _cascades(session: Session, schema: str, name: str) -> tuple[str, ...]:
    rows = session.query(
        """
        select conrelid::regclass::text from pg_constraint
        where confrelid = to_regclass($1) and contype = 'f' and confdeltype not in ('a', 'r')
        """,
        [quote(schema, name)],
    )
    return tuple(table for (table,) in rows)


def constraint_columns(session: Session, schema: str, table: str, constraint: str) -> tuple[str, ...]:
    """Return the columns of a table's constraint or unique index; empty if there is none or it has expressions."""
    rows = session.query(
        """
        select array(select a.attname::text from unnest(keys) as k(number)
                     join pg_attribute a on a.attrelid = relation and a.attnum = k.number)
        from (
            select conrelid as relation, conkey as keys, 0 as other from pg_constraint where conname = $2
          union all
            select i.indrelid, (i.indkey::int2[])[0:i.indnkeyatts - 1], 1
            from pg_index i join pg_class c on c.oid = i.indexrelid where c.relname = $2
            and 0 <> all((i.indkey::int2[])[0:i.indnkeyatts - 1])
        ) found where relation = to_regclass($1) order by other limit 1
        """,
        [quote(schema, table), constraint],
    )
    return tuple(rows[0][0]) if rows else ()
