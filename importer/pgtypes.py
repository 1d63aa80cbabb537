"""Owns PostgreSQL's types as data: their spellings, what each can take from a sheet, and how it travels (the wire).

COPY in binary does not check types of equal width (a float64 sent into a bigint column is stored as its bits), so a
value is sent only in a type that the staging column has exactly. Types that COPY cannot take from Arrow (uuid, jsonb,
numeric…) travel as text and are cast by the server, in publish.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

#: Most bytes of a name: PostgreSQL's NAMEDATALEN - 1.
NAME_BYTES = 63
_ALIASES = {
    "bool": "boolean", "int2": "smallint", "int": "integer", "int4": "integer", "int8": "bigint",
    "float4": "real", "float8": "double precision", "decimal": "numeric", "dec": "numeric",
    "varchar": "character varying", "char": "character", "bpchar": "character",
    "timestamp without time zone": "timestamp", "timestamptz": "timestamp with time zone",
    "time without time zone": "time",
}  # fmt: skip
_SPELLING = re.compile(
    r"""\s*(?:"?pg_catalog"?\.)?
    (?P<name>"[^"]+"(?:\."[^"]+")?|[\w.]+(?:\s(?:precision|varying))?)
    \s*(?:\(\s*(?P<args>-?\d+(?:\s*,\s*-?\d+)?)\s*\))?
    (?P<zone>\swith(?:out)?\stime\szone)?\s*(?P<array>(?:\[\d*\])*)\s*""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class PgType:
    """A PostgreSQL type.

    Attributes:
        name: as `format_type` spells it, without arguments (`character varying`).
        args: length, or precision and scale.
        array: whether it is an array of that.
        labels: of an enum, else None.
        domain: the domain's name when the column's type is one (name and args are then its base type's).
    """

    name: str
    args: tuple[int, ...] = ()
    array: bool = False
    labels: tuple[str, ...] | None = None
    domain: str | None = None

    def __str__(self) -> str:
        if self.domain:
            return self.domain
        args = f"({','.join(map(str, self.args))})" if self.args else ""
        first, zone, rest = self.name.partition(" with time zone")
        return f"{first}{args}{zone}{rest}{'[]' if self.array else ''}"


def parse_type(text: str) -> PgType | None:
    """The type that a spelling means, or None when it is no type's name."""
    match = _SPELLING.fullmatch(text)
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
class Wire:
    """How values travel: the staging column's type, and the Polars type that COPY writes into exactly that."""

    staging: str
    frame: pl.DataType | type[pl.DataType]


WIRES = {
    "boolean": Wire("boolean", pl.Boolean),
    "smallint": Wire("smallint", pl.Int16),
    "integer": Wire("integer", pl.Int32),
    "bigint": Wire("bigint", pl.Int64),
    "real": Wire("real", pl.Float32),
    "double precision": Wire("double precision", pl.Float64),
    "date": Wire("date", pl.Date),
    "time": Wire("time", pl.Time),
    "timestamp": Wire("timestamp", pl.Datetime("us")),
    "timestamp with time zone": Wire("timestamp with time zone", pl.Datetime("us", "UTC")),
    "interval": Wire("interval", pl.Duration("us")),
}
TEXT_WIRE = Wire("text", pl.String)
#: Types that COPY fills from Arrow text as they are, so that a new table needs no cast.
#: `character` is not one of them: it drops trailing blanks, so staging would not hold what was read.
TEXT_LIKE = ("text", "character varying", "citext", "json")
#: Types whose values are binary or composite: nothing in a sheet means one of them.
UNFIT = ("bytea", "record", "oid", "xid", "tsvector", "tsquery", "money", '"char"', "time with time zone")
#: `interval hour` and the like: the server's cast drops what is smaller.
UNFIT_FAMILIES = ("interval ",)


def wire_of(pg_type: PgType) -> Wire:
    """How values for a column of that type travel."""
    return TEXT_WIRE if pg_type.array else WIRES.get(pg_type.name, TEXT_WIRE)


def needs_cast(pg_type: PgType) -> bool:
    """Whether a new table's column is staged in another type than its own, and cast by publish."""
    if pg_type.domain or pg_type.array:
        return True
    wire = WIRES.get(pg_type.name)
    if wire is not None:
        return bool(pg_type.args)
    return pg_type.name not in TEXT_LIKE


#: Types cast from text whose every value `fit` has proven to be one.
_PROVEN = ("numeric", "uuid", "character", "bit", "bit varying", "name")


def is_certain(pg_type: PgType) -> bool:
    """Whether the server takes every value that fits a column of that type; it has the last word on all others."""
    if pg_type.domain or pg_type.array:
        return False
    return pg_type.name in {*WIRES, *TEXT_LIKE, *_PROVEN} or pg_type.labels is not None


#: Table Schema field type -> PostgreSQL type of a new column.
FIELD_TYPES = {
    "string": "text", "number": "double precision", "integer": "bigint", "boolean": "boolean",
    "date": "date", "time": "time", "datetime": "timestamp", "year": "integer", "yearmonth": "text",
    "duration": "interval", "object": "jsonb", "array": "jsonb", "list": "jsonb", "geojson": "jsonb",
    "geopoint": "point", "any": "text",
}  # fmt: skip


def field_type_for(pg_type: PgType) -> tuple[str, str]:
    """The Table Schema type and format that describe an existing column of that type."""
    simple = {
        "boolean": "boolean", "smallint": "integer", "integer": "integer", "bigint": "integer",
        "real": "number", "double precision": "number", "numeric": "number", "date": "date", "time": "time",
        "timestamp": "datetime", "timestamp with time zone": "datetime", "interval": "duration",
    }  # fmt: skip
    if pg_type.name == "uuid":
        return "string", "uuid"
    return simple.get(pg_type.name, "string"), "default"
