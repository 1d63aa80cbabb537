"""Owns the last step before the wire: a field's value in its target column's exact type, or why it does not fit."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import NamedTuple

import polars as pl

from .composites import is_json
from .parts import shortest_text
from .pgtypes import TEXT_WIRE, UNFIT, UNFIT_FAMILIES, PgType, wire_of
from .spelling import to_text

INTEGER_RANGES = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
#: What Excel shows of a number, and what a decimal keeps through a 64-bit float.
_DECIMAL_DIGITS = 15
#: A float's shortest text without exponent is not longer; beyond it the regular expression only grows.
_LONGEST_TEXT = 40
_PLAIN_UUID = r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
_UUID = rf"^(?:{_PLAIN_UUID}|\{{{_PLAIN_UUID}\}})$"
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
    if pg_type.name in UNFIT or pg_type.name.startswith(UNFIT_FAMILIES):
        return f"type {pg_type} cannot be filled from a sheet"
    takes = _TAKES.get(pg_type.name)
    if takes is not None and field_type not in takes:
        return f"a {field_type} field cannot fill a column of type {pg_type}"
    if takes is None and pg_type.name in {"json", "jsonb"} and field_type == "geopoint":
        return f"a {field_type} field cannot fill a column of type {pg_type}"
    return None


def keeps_lexical(field_type: str, pg_type: PgType) -> bool:
    """Whether a text column takes the cell as it is written, once it is a value of the field's type.

    Lists and points have a PostgreSQL spelling of their own, which only a column of such a type needs.
    """
    return field_type in {"list", "geopoint"} and pg_type.name in _TEXT_TYPES


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
    text = shortest_text(value) if field_type == "number" else value.cast(pl.String)
    if not pg_type.args:
        return Fit(text, "is not a number")
    precision, scale = pg_type.args[0], pg_type.args[1] if len(pg_type.args) > 1 else 0
    # Nearly all texts are short enough as they stand; the others are looked at one by one.
    plain = _plain_decimal(precision, scale)
    fits = text.str.contains(plain) if plain else pl.lit(value=False)
    odd = (
        pl.when(~fits).then(text).map_elements(lambda t: _decimal_or_none(t, precision, scale), return_dtype=pl.String)
    )
    return Fit(pl.when(fits).then(text).otherwise(odd), f"does not fit {pg_type} without rounding")


def _plain_decimal(precision: int, scale: int) -> str | None:
    """The regular expression of decimals that fit as they are written, without exponent; None where it would be odd."""
    if not 0 <= scale <= precision or precision > _LONGEST_TEXT:
        return None
    fraction = rf"(?:\.\d{{1,{scale}}})?" if scale else ""
    return rf"^-?(?:0|[1-9]\d{{0,{precision - scale - 1}}}){fraction}$" if precision > scale else rf"^-?0{fraction}$"


def _decimal_or_none(text: str, precision: int, scale: int) -> str | None:
    """The decimal at that scale, when it is the same number but for the noise of binary fractions (0.1 + 0.2)."""
    number = Decimal(text)
    # The noise is beyond the digits that the sheet shows; a real third decimal is not.
    with localcontext(prec=1100):
        rounded = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN)
        close = abs(number - rounded) <= abs(number).scaleb(-_DECIMAL_DIGITS)
        return f"{rounded:f}" if close and abs(rounded) < Decimal(1).scaleb(precision - scale) else None


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
    return Fit(
        zoned.dt.convert_time_zone("UTC"),
        f"does not exist in time zone {timezone}, or has fractions that {pg_type} drops",
    )


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
    if pg_type.name in {"bit", "bit varying"}:
        return Fit(pl.when(text.str.contains(_bits(pg_type))).then(text), f"is not a text of bits that fits {pg_type}")
    if pg_type.name in {"character varying", "character"} and pg_type.args:
        return Fit(
            pl.when(clean.str.len_chars() <= pg_type.args[0]).then(clean), f"is longer than {pg_type}, or holds a NUL"
        )
    if pg_type.name == "uuid":
        return Fit(pl.when(text.str.contains(_UUID)).then(text), "is not a UUID")
    if pg_type.name in {"json", "jsonb"}:
        return Fit(text.map_elements(lambda t: t if is_json(t) else None, return_dtype=pl.String), "is not JSON")
    if pg_type.name == "name":
        return Fit(pl.when(clean.str.len_bytes() <= 63).then(clean), "is longer than 63 bytes")  # noqa: PLR2004 - NAMEDATALEN
    return Fit(clean, "holds a NUL character, which PostgreSQL cannot store")


def _bits(pg_type: PgType) -> str:
    """What a bit type takes; the server's cast would cut or fill up what is too long or too short."""
    size = pg_type.args[0] if pg_type.args else 1
    if pg_type.name == "bit":
        return rf"^[01]{{{size}}}$"
    return rf"^[01]{{0,{size}}}$" if pg_type.args else "^[01]*$"
