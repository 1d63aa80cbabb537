"""Owns the last step before the wire: a field's value in the exact type of its target column, or why it does not fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from .convert import to_text
from .parts import shortest_text
from .pgtypes import TEXT_WIRE, UNFIT, PgType, wire_of

if TYPE_CHECKING:
    from collections.abc import Callable

INTEGER_RANGES = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
#: What Excel shows of a number, and what a decimal keeps through a 64-bit float.
_DECIMAL_DIGITS = 15
_UUID = r"^\{?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?$"
#: Field types whose values a type can take; types not listed take text.
_TAKES = {
    "boolean": {"boolean"},
    "smallint": {"integer", "number", "year"},
    "integer": {"integer", "number", "year"},
    "bigint": {"integer", "number", "year"},
    "numeric": {"integer", "number", "year"},
    "real": {"integer", "number", "year"},
    "double precision": {"integer", "number", "year"},
    "date": {"date", "datetime"},
    "timestamp": {"datetime", "date"},
    "timestamp with time zone": {"datetime", "date"},
    "time": {"time"},
    "interval": {"duration", "time"},
}
_TEXT_TYPES = {"text", "character varying", "character", "citext", "name"}


class Fit(NamedTuple):
    """A value on its way to a column.

    Attributes:
        value: the expression in the wire's type; null where it does not fit.
        reason: why it may not fit, for the reject.
    """

    value: pl.Expr
    reason: str


def misfit(field_type: str, pg_type: PgType) -> str | None:
    """Why no value of a field type can go into a column of that type, or None when it can."""
    if pg_type.array:
        return "arrays cannot be filled from a sheet"
    if pg_type.name in UNFIT:
        return f"type {pg_type} cannot be filled from a sheet"
    takes = _TAKES.get(pg_type.name)
    if takes is not None and field_type not in takes:
        return f"a {field_type} field cannot fill a column of type {pg_type}"
    if takes is None and pg_type.name in {"json", "jsonb"} and field_type in {"geopoint"}:
        return f"a {field_type} field cannot fill a column of type {pg_type}"
    return None


def fit(field_type: str, value: pl.Expr, pg_type: PgType, timezone: str) -> Fit:
    """The value in the wire's type of a target column.

    Args:
        field_type: Table Schema type of `value`.
        value: as `convert` made it.
        pg_type: of the target column; `misfit` said None.
        timezone: what naive stamps mean for `timestamptz`.
    """
    name = pg_type.name
    if name in INTEGER_RANGES:
        return Fit(_integer(value, field_type, name), f"is not a whole number in the range of {name}")
    if name == "numeric":
        return _numeric(value, field_type, pg_type)
    if name in {"double precision", "real"}:
        return _float(value, field_type, name)
    if name in {"timestamp", "timestamp with time zone"}:
        return _timestamp(value, pg_type, timezone)
    if name == "date":
        day = value if field_type == "date" else pl.when(value == value.dt.truncate("1d")).then(value)
        return Fit(day.cast(pl.Date), "has a time of day, the column holds dates only")
    if name in {"time", "interval"}:
        return _clock(value, field_type, pg_type)
    if name == "boolean":
        return Fit(value, "is not a boolean")
    return _text(to_text(field_type, value), pg_type)


def _integer(value: pl.Expr, field_type: str, name: str) -> pl.Expr:
    bound = INTEGER_RANGES[name]
    if field_type == "number":
        # 2^53 rather than the column's own bound: beyond it a float is no longer one certain integer.
        limit = float(min(bound, 2**53))
        value = pl.when((value == value.floor()) & (value >= -limit) & (value <= limit)).then(value)
    return value.cast(wire_of(PgType(name)).frame, strict=False)


def _numeric(value: pl.Expr, field_type: str, pg_type: PgType) -> Fit:
    """Decimals travel as their shortest text, which the server reads exactly."""
    if not pg_type.args:
        return Fit(shortest_text(value) if field_type == "number" else value.cast(pl.String), "is not a number")
    precision, scale = pg_type.args[0], pg_type.args[1] if len(pg_type.args) > 1 else 0
    limit = 10.0 ** (precision - scale)
    if field_type != "number":
        return Fit(pl.when(value.cast(pl.Float64).abs() < limit).then(value).cast(pl.String), f"does not fit {pg_type}")
    rounded = value.round(max(scale, 0))
    if scale < 0:
        rounded = (value / 10.0**-scale).round(0) * 10.0**-scale
    # The noise of binary fractions (0.1+0.2) is beyond the digits that the sheet shows; a real third decimal is not.
    close = (value - rounded).abs() <= value.abs() * 10.0**-_DECIMAL_DIGITS
    good = pl.when(close & (rounded.abs() < limit)).then(rounded)
    return Fit(shortest_text(good), f"does not fit {pg_type} without rounding")


def _float(value: pl.Expr, field_type: str, name: str) -> Fit:
    double = value.cast(pl.Float64)
    if field_type != "number":
        double = pl.when(double.cast(pl.Int64, strict=False) == value.cast(pl.Int64)).then(double)
    if name == "double precision":
        return Fit(double, "has more digits than double precision holds")
    single = double.cast(pl.Float32)
    whole = double == double.floor()
    good = single.is_finite() & (~whole | (single.cast(pl.Float64) == double)) & ((single != 0) | (double == 0))
    return Fit(pl.when(good).then(single), "is out of the range of real, or a whole number that real cannot hold")


def _timestamp(value: pl.Expr, pg_type: PgType, timezone: str) -> Fit:
    stamp = value.cast(pl.Datetime("us"))
    digits = pg_type.args[0] if pg_type.args else 6
    if digits < 6:  # noqa: PLR2004 - microseconds
        stamp = pl.when(stamp.dt.microsecond() % 10 ** (6 - digits) == 0).then(stamp)
    if pg_type.name == "timestamp":
        return Fit(stamp, f"has fractions of a second that {pg_type} drops")
    # A clock reading that occurs twice is the earlier one; one that a change of clocks skips does not exist.
    zoned = stamp.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return Fit(zoned.dt.convert_time_zone("UTC"), f"does not exist in time zone {timezone}, or has fractions that {pg_type} drops")


def _clock(value: pl.Expr, field_type: str, pg_type: PgType) -> Fit:
    digits = pg_type.args[0] if pg_type.args else 6
    micro = value.cast(pl.Int64) // 1000 if field_type == "time" else value.cast(pl.Duration("us")).cast(pl.Int64)
    if digits < 6:  # noqa: PLR2004 - microseconds
        micro = pl.when(micro % 10 ** (6 - digits) == 0).then(micro)
    target = micro.cast(pl.Duration("us")) if pg_type.name == "interval" else (micro * 1000).cast(pl.Time)
    return Fit(target, f"has fractions of a second that {pg_type} drops")


def _text(text: pl.Expr, pg_type: PgType) -> Fit:
    """Text for a text column, or for a type that the server reads from text."""
    assert wire_of(pg_type) == TEXT_WIRE
    clean = pl.when(~text.str.contains("\0", literal=True)).then(text)
    if pg_type.labels is not None:
        labels = ", ".join(pg_type.labels[:12])
        return Fit(pl.when(text.is_in(list(pg_type.labels))).then(text), f"is none of {pg_type}'s labels ({labels})")
    if pg_type.name in {"character varying", "character"} and pg_type.args:
        return Fit(pl.when(clean.str.len_chars() <= pg_type.args[0]).then(clean), f"is longer than {pg_type}, or holds a NUL")
    if pg_type.name == "uuid":
        return Fit(pl.when(text.str.contains(_UUID)).then(text), "is not a UUID")
    if pg_type.name in {"json", "jsonb"}:
        return Fit(text.map_elements(_json_or_none, return_dtype=pl.String), "is not JSON")
    if pg_type.name == "name":
        return Fit(pl.when(clean.str.len_bytes() <= 63).then(clean), "is longer than 63 bytes")  # noqa: PLR2004 - NAMEDATALEN
    return Fit(clean, "holds a NUL character, which PostgreSQL cannot store")


def _json_or_none(text: str) -> str | None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    return None if "\\u0000" in text else text


