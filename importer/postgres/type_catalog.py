"""Reads the types that the server defines: enums with their labels, domains with their base types."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.errors import TargetRefused

from .sql import quote
from .types import PgType, parse_type, split_schema

if TYPE_CHECKING:
    from .session import Session


def describe_type(session: Session, spelling: tuple[str, str], kind: str, oid: int) -> PgType:
    """Return the type with that spelling (by `format_type`) and schema, `typtype` and oid; an enum gets its labels."""
    schema, shown = split_schema(*spelling, session.schemas)
    if kind == "c":
        return PgType("record")
    if kind == "e":
        labels = session.query("select enumlabel::text from pg_enum where enumtypid = $1 order by enumsortorder", [oid])
        return PgType(shown, labels=tuple(label for (label,) in labels), schema=schema)
    return replace(parse_type(shown) or PgType(shown), schema=schema)


_TYPE = """
with recursive base as (
    select t.oid, t.typtype::text as kind, t.typbasetype as next, t.typtypmod as nextmod, -1 as typmod
    from pg_type t where t.oid = to_regtype($1)
  union all
    select t.oid, t.typtype::text, t.typbasetype, t.typtypmod, b.nextmod
    from base b join pg_type t on t.oid = b.next where b.kind = 'd'
)
select b.kind, format_type(b.oid, nullif(b.typmod, -1)) as base, b.oid::int8 as oid, n.nspname::text as base_in,
       format_type(to_regtype($1), null) as asked, (
           select o.nspname::text from pg_type d join pg_namespace o on o.oid = d.typnamespace
           where d.oid = to_regtype($1)) as asked_in
from base b join pg_type t on t.oid = b.oid join pg_namespace n on n.oid = t.typnamespace where b.kind <> 'd'
"""


def find_type(session: Session, text: str) -> PgType:
    """Return the type that a contract names, as the server defines it, with an enum's labels or a domain's base type.

    Raises:
        TargetRefused: the server has no such type, or no column can have it.
    """
    asked = parse_type(text)
    bare = str(replace(asked, args=(), array=False)) if asked else text
    found = session.query(_TYPE, [bare])
    if not found and asked and "." not in bare:
        spelled = [f"{quote(schema)}.{bare}" for schema in session.schemas]
        found = next((rows for name in spelled if (rows := session.query(_TYPE, [name]))), [])
    if asked is None or not found:
        raise TargetRefused(
            f"the server has no type {text!r}", choice="create it (or its extension) first, or change the contract"
        )
    kind, base, oid, base_in, declared, declared_in = found[0]
    if kind == "p":
        raise TargetRefused(f"no column can have the type {text!r}", choice="change the contract")
    pg_type = describe_type(session, (base, base_in), kind, oid)
    if declared != base:
        pg_type = pg_type.in_domain(declared, declared_in, session.schemas)
    else:
        pg_type = replace(pg_type, args=asked.args)
    return replace(pg_type, array=pg_type.array or asked.array)
