"""Owns PostgreSQL's types as data: spellings, which values of a sheet each accepts, and how those are sent (the wire).

Binary COPY does not check types of equal width (a float64 sent into a bigint column is stored as its bits), so a value
is sent only in exactly the type of the staging column. Types that COPY cannot fill from Arrow (uuid, jsonb, numeric…)
are sent as text and cast by the server, in publish.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from .sql import quote

if TYPE_CHECKING:
    from collections.abc import Collection

#: Maximum length of a name in bytes: PostgreSQL's NAMEDATALEN - 1.
NAME_BYTES = 63
_ALIASES = {
    "bool": "boolean", "int2": "smallint", "int": "integer", "int4": "integer", "int8": "bigint",
    "float4": "real", "float8": "double precision", "decimal": "numeric", "dec": "numeric",
    "varchar": "character varying", "char": "character", "bpchar": "character",
    "timestamp without time zone": "timestamp", "timestamptz": "timestamp with time zone",
    "time without time zone": "time",
}  # fmt: skip
_TYPE_PATTERN = re.compile(
    r"""\s*(?:"?pg_catalog"?\.)?
    (?P<name>"[^"]+"(?:\."[^"]+")?|[\w.]+(?:\s(?:precision|varying))?)
    \s*(?:\(\s*(?P<args>-?\d+(?:\s*,\s*-?\d+)?)\s*\))?
    (?P<zone>\swith(?:out)?\stime\szone)?\s*(?P<array>(?:\[\d*\])*)\s*""",
    re.VERBOSE | re.IGNORECASE,
)


#: Types with a syntax of their own; they take no schema and are always the server's own.
_KEYWORDS = (
    "boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "character varying", "character",
    "bit", "bit varying", "time", "time with time zone", "timestamp", "timestamp with time zone", "interval",
)  # fmt: skip


@dataclass(frozen=True)
class PgType:
    """A PostgreSQL type.

    Attributes:
        name: the name as `format_type` spells it, without arguments (`character varying`).
        args: length, or precision and scale.
        array: whether the type is an array of the named type.
        labels: the labels of an enum; None for other types.
        domain: the name of a domain, or None; for a domain, `name` and `args` are those of its base type.
        schema: for a type that is not the server's own, the quoted schema and a dot if `str` leaves them out (because
            the schema is on the user's search path), else empty; None for the server's own.
    """

    name: str
    args: tuple[int, ...] = ()
    array: bool = False
    labels: tuple[str, ...] | None = None
    domain: str | None = None
    schema: str | None = None

    def in_domain(self, spelling: str, schema: str, searched: Collection[str]) -> PgType:
        """Return the type of a domain with this base type; see `split_schema`."""
        prefix, domain = split_schema(spelling, schema, searched)
        return replace(self, domain=domain, schema=prefix)

    @property
    def sql(self) -> str:
        """The spelling for SQL, where only `pg_catalog` is on the search path."""
        return f"{self.schema or ''}{self}"

    @property
    def qualified(self) -> str:
        """The spelling for SQL that means the same on any search path."""
        is_keyword = self.name in _KEYWORDS or self.name.startswith(UNSUPPORTED_PREFIXES)
        return self.sql if self.schema is not None or is_keyword else f"pg_catalog.{self}"

    def __str__(self) -> str:
        if self.domain:
            return self.domain
        args = f"({','.join(map(str, self.args))})" if self.args else ""
        first, zone, rest = self.name.partition(" with time zone")
        return f"{first}{args}{zone}{rest}{'[]' if self.array else ''}"


def split_schema(spelling: str, schema: str, searched: Collection[str]) -> tuple[str | None, str]:
    """Return `PgType.schema` and the name to show, which has no schema if the user's search path has it.

    Args:
        spelling: the type as `format_type` spells it when only `pg_catalog` is searched.
        schema: its schema.
        searched: schemas on the user's search path.
    """
    if schema == "pg_catalog":
        return None, spelling
    prefix = next((p for p in (f"{schema}.", f"{quote(schema)}.") if spelling.startswith(p)), "")
    return (prefix, spelling.removeprefix(prefix)) if schema in searched else ("", spelling)


def parse_type(text: str) -> PgType | None:
    """Parse a type as spelled in SQL; return None if the text is not a type name."""
    match = _TYPE_PATTERN.fullmatch(text)
    if match is None:
        return None
    name = re.sub(r"\s+", " ", match["name"] if match["name"].startswith('"') else match["name"].lower())
    name = _ALIASES.get(name, name)
    zone = re.sub(r"\s+", " ", (match["zone"] or "").lower())
    name = _ALIASES.get(name + zone, name + zone) if zone else name
    args = tuple(int(a) for a in match["args"].split(",")) if match["args"] else ()
    if name == "float":
        # SQL's float(p) counts binary digits.
        name, args = "real" if args and args[0] <= 24 else "double precision", ()  # noqa: PLR2004
    if name == "character" and not args:
        args = (1,) if text.strip().lower() != "bpchar" else ()
    return PgType(name, args, bool(match["array"]))


@dataclass(frozen=True)
class WireType:
    """How values are sent.

    Attributes:
        staging: PostgreSQL type of the staging column.
        frame: Polars type that COPY writes into exactly that type.
    """

    staging: str
    frame: pl.DataType | type[pl.DataType]


WIRE_TYPES = {
    "boolean": WireType("boolean", pl.Boolean),
    "smallint": WireType("smallint", pl.Int16),
    "integer": WireType("integer", pl.Int32),
    "bigint": WireType("bigint", pl.Int64),
    "real": WireType("real", pl.Float32),
    "double precision": WireType("double precision", pl.Float64),
    "date": WireType("date", pl.Date),
    "time": WireType("time", pl.Time),
    "timestamp": WireType("timestamp", pl.Datetime("us")),
    "timestamp with time zone": WireType("timestamp with time zone", pl.Datetime("us", "UTC")),
    "interval": WireType("interval", pl.Duration("us")),
}
TEXT_WIRE_TYPE = WireType("text", pl.String)
#: Types that COPY fills from Arrow text directly, so that a new table needs no cast.
#: `character` is not one of them: it drops trailing blanks, so staging would not hold what was read.
TEXT_LIKE = ("text", "character varying", "citext", "json")
#: Types with binary, composite or otherwise special values, which no cell of a sheet can mean.
UNFIT = ("bytea", "record", "oid", "xid", "xid8", "tsvector", "tsquery", "money", '"char"', "time with time zone")
#: Prefixes of further such types: for `interval hour` and the like, the server's cast drops smaller units.
UNSUPPORTED_PREFIXES = ("interval ",)


def wire_type_of(pg_type: PgType) -> WireType:
    """Return how values for a column of that type are sent."""
    return TEXT_WIRE_TYPE if pg_type.array else WIRE_TYPES.get(pg_type.name, TEXT_WIRE_TYPE)


def needs_cast(pg_type: PgType) -> bool:
    """Return whether a new table's column is staged in a type other than its own and cast by publish."""
    if pg_type.domain or pg_type.array:
        return True
    wire = WIRE_TYPES.get(pg_type.name)
    if wire is not None:
        return bool(pg_type.args)
    return pg_type.name not in TEXT_LIKE


#: Types cast from text whose values `fit` has all checked, so that the cast cannot fail.
_CHECKED_TEXT_TYPES = ("numeric", "uuid", "character", "bit", "bit varying", "name")


def is_never_refused(pg_type: PgType) -> bool:
    """Return whether the server accepts every value that fits that type; for other types it may refuse some."""
    if pg_type.domain or pg_type.array:
        return False
    return pg_type.name in {*WIRE_TYPES, *TEXT_LIKE, *_CHECKED_TEXT_TYPES} or pg_type.labels is not None


#: Table Schema field type -> PostgreSQL type of a new column.
FIELD_TYPES = {
    "string": "text", "number": "double precision", "integer": "bigint", "boolean": "boolean",
    "date": "date", "time": "time", "datetime": "timestamp", "year": "integer", "yearmonth": "text",
    "duration": "interval", "object": "jsonb", "array": "jsonb", "list": "jsonb", "geojson": "jsonb",
    "geopoint": "point", "any": "text",
}  # fmt: skip


def field_type_for(pg_type: PgType) -> str:
    """Return the Table Schema type that describes an existing column of that type."""
    if pg_type.array:
        return "string"
    simple = {
        "boolean": "boolean", "smallint": "integer", "integer": "integer", "bigint": "integer",
        "real": "number", "double precision": "number", "numeric": "number", "date": "date", "time": "time",
        "timestamp": "datetime", "timestamp with time zone": "datetime", "interval": "duration",
    }  # fmt: skip
    return simple.get(pg_type.name, "string")
