"""Reads PostgreSQL's catalog: a table's columns with their exact types, its keys, and the tables that refer to it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from importer.errors import TargetRefused, UsageError

from .definition import PARTS, PARTS_SQL
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


#: `server_version_num` of the oldest server whose catalog and syntax our SQL supports.
MIN_SERVER = 130_000
#: Name of a trigger that is enabled and runs before each row is inserted, in the definition of a table.
_BEFORE_ROW = re.compile(
    r'^[OA] \d+ CREATE TRIGGER ("(?:[^"]|"")+"|\S+) BEFORE INSERT\b[^\n]*? FOR EACH ROW\b', re.MULTILINE
)


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

    @property
    def oid(self) -> int:
        """The table's own number, which it keeps when it is renamed."""
        return int(self.definition["the table itself"].split()[0])

    @property
    def is_partitioned(self) -> bool:
        """Whether the table is one of partitions."""
        return self.definition["the table itself"].split()[1] == "p"

    @property
    def changing_triggers(self) -> tuple[str, ...]:
        """The names, as SQL quotes them, of the triggers that see a row before it is inserted, and may change it."""
        return tuple(_BEFORE_ROW.findall(self.definition.get("triggers") or ""))


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
    found = session.query(_RELATION, [schema, name])
    if not found:
        raise TargetRefused(f"no schema {schema!r}", choice=f"create it: CREATE SCHEMA {quote(schema)};")
    kind, may_use = found[0]
    if kind is None:
        return schema, None
    if kind not in {"r", "p"}:
        named = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "i": "an index", "S": "a sequence"}
        what = named.get(kind, "not a table")
        raise TargetRefused(f"{quote(schema, name)} is {what}", choice="name another table with --table")
    if not may_use:
        role = quote(str(session.value("select current_user::text")))
        raise TargetRefused(
            f"role {role} may not use schema {schema!r}",
            choice=f"ask an administrator to run: GRANT USAGE ON SCHEMA {quote(schema)} TO {role};",
            sqlstate="42501",
        )
    return schema, read_table(session, schema, name)


#: Whether there is a schema (a row), what in it has a name, and whether the role may use what is in it.
_RELATION = """
select (select c.relkind::text from pg_class c where c.relnamespace = n.oid and c.relname = $2) as kind,
       has_schema_privilege(n.oid, 'usage') as may_use
from pg_namespace n where n.nspname = $1
"""


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
    row = session.query(_TABLE, [quote(schema, name)])[0]
    triggers, policies, itself, listed_keys, listed_columns, cascades = row[:6]
    keys = [(primary, tuple(columns), usable) for primary, columns, usable in json.loads(listed_keys)]
    return Table(
        schema,
        name,
        tuple(_column(session, column) for column in json.loads(listed_columns)),
        tuple((primary, columns) for primary, columns, _ in keys),
        tuple(json.loads(cascades)),
        may_skip_rows=triggers,
        may_refuse_rows=triggers or policies,
        refers_to_itself=itself,
        arbiters=tuple(columns for _, columns, usable in keys if usable),
        definition=dict(zip(PARTS, row[6:], strict=True)),
    )


_KEYS = """
select i.indisprimary, array_agg(a.attname::text order by k.position), i.indimmediate and i.indisvalid, i.indexrelid
from pg_index i
cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, position)
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indrelid = to_regclass($1) and i.indisunique and i.indpred is null and i.indexprs is null
  and k.position <= i.indnkeyatts
group by i.indexrelid, i.indisprimary, i.indimmediate, i.indisvalid
"""
#: The columns, and the base types of domains, one below the other.
_BASES = """
base as (
    select a.attnum, a.attname, a.attnotnull, a.atthasdef, a.attidentity::text, a.attgenerated::text,
           format_type(a.atttypid, a.atttypmod) as declared, a.atttypid as type, a.atttypmod as typmod, false as notnull
    from pg_attribute a
    where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped
  union all
    select b.attnum, b.attname, b.attnotnull, b.atthasdef, b.attidentity, b.attgenerated,
           b.declared, t.typbasetype, t.typtypmod, b.notnull or t.typnotnull
    from base b join pg_type t on t.oid = b.type where t.typtype = 'd'
)
"""
_COLUMNS = """
select b.attnum, json_build_array(
    b.attname, b.attnotnull or b.notnull, b.atthasdef, b.attidentity, b.attgenerated, b.declared, o.nspname,
    format_type(b.type, b.typmod), n.nspname, t.typtype, t.oid::int8)
from base b join pg_type t on t.oid = b.type join pg_namespace n on n.oid = t.typnamespace
join pg_attribute a on a.attrelid = to_regclass($1) and a.attnum = b.attnum
join pg_type d on d.oid = a.atttypid join pg_namespace o on o.oid = d.typnamespace
where t.typtype <> 'd'
"""
#: All of a table in one row: the catalog is asked twice in an import, and more questions would cost more than answers.
#: Triggers of partitions count as well, because rows are inserted into the partitions.
_TABLE = f"""
with recursive {_BASES}
select c.relhasrules or exists (
           select from pg_trigger t where not t.tgisinternal
           and (t.tgrelid = c.oid or t.tgrelid in (select relid from pg_partition_tree(c.oid)))) as triggers,
       c.relrowsecurity,
       exists (select from pg_constraint k
               where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = c.oid) as itself,
       (select coalesce(json_agg(json_build_array(k.is_primary, k.names, k.usable) order by k.index), '[]')::text
        from ({_KEYS}) as k(is_primary, names, usable, index)) as keys,
       (select coalesce(json_agg(k.described order by k.number), '[]')::text
        from ({_COLUMNS}) as k(number, described)) as columns,
       (select coalesce(json_agg(k.conrelid::regclass::text), '[]')::text from pg_constraint k
        where k.confrelid = c.oid and k.contype = 'f' and k.confdeltype not in ('a', 'r')) as cascades,
       {PARTS_SQL}
from pg_class c where c.oid = to_regclass($1)
"""


def _column(session: Session, described: list[Any]) -> TableColumn:
    """Return the column that a row of `_COLUMNS` describes."""
    name, not_null, has_default, identity, generated, declared, declared_in, base, base_in, kind, oid = described
    pg_type = describe_type(session, (base, base_in), kind, oid)
    if declared != base:
        pg_type = pg_type.in_domain(declared, declared_in, session.schemas)
    filled = "identity" if identity == "a" else "generated" if generated else None
    return TableColumn(name, pg_type, not_null, has_default or bool(identity), filled)


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


def check_server(session: Session) -> str:
    """Check that the server is supported, and return its version (`15.8`).

    Raises:
        TargetRefused: the server is older than 13, or read-only (a standby).
    """
    number, version, recovering = session.query(
        "select current_setting('server_version_num')::int as number, current_setting('server_version') as version, "
        "pg_is_in_recovery()"
    )[0]
    if number < MIN_SERVER:
        raise TargetRefused(f"the server is PostgreSQL {version}, but 13 is the oldest supported version")
    if recovering:
        raise TargetRefused("the server is a standby and accepts no writes", choice="connect to the primary")
    return str(version).split()[0]
