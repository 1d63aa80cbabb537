"""Casts a field's values to the exact type of the target column, or gives the reason why they do not fit."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import NamedTuple

import polars as pl

from importer.cells.array_literals import array_literal
from importer.cells.frame import MAX_EXACT_INTEGER
from importer.cells.structured import is_json
from importer.cells.temporal import instants
from importer.cells.text import to_text
from importer.postgres.types import TEXT_WIRE_TYPE, PgType, wire_type_of

INTEGER_RANGES = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
#: Significant digits that Excel shows of a number, and that a decimal keeps in a 64-bit float.
_DECIMAL_DIGITS = 15
#: Significant digits with which every 64-bit float can be told from the others.
_FLOAT_DIGITS = 17
#: The shortest text of a float without exponent is not longer; a larger regular expression would gain nothing.
_LONGEST_TEXT = 40
_PLAIN_UUID = r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
_UUID = rf"^(?:{_PLAIN_UUID}|\{{{_PLAIN_UUID}\}})$"
_DAY, _CLOCK = r"\d{4}-\d\d-\d\d", r"[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?"
#: Bounds of ranges that mean the same whatever date style and time zone a session has: their forms, and an example.
_RANGE_BOUNDS = {
    "date": (_DAY, "[2024-01-31,2024-03-01)"),
    "ts": (f"{_DAY}(?:{_CLOCK})?", "[2024-01-31 12:00,2024-03-01)"),
    "tstz": (rf"{_DAY}{_CLOCK}(?:Z|[+-]\d\d(?::?\d\d)?)", "[2024-01-31T12:00Z,2024-03-01T12:00+02:00)"),
}
_TEXT_TYPES = {"text", "character varying", "character", "citext", "name"}


class Cast(NamedTuple):
    """Values cast to the wire type of a target column.

    Attributes:
        value: expression in the wire type; null where the value does not fit.
        reason: error text for the values that do not fit.
    """

    value: pl.Expr
    reason: str


def keeps_cell_text(field_type: str, pg_type: PgType) -> bool:
    """Return whether a text column stores the cell as written, if it is a value of the field's type.

    Lists and points are converted to PostgreSQL's own syntax, which a text column does not need.
    """
    return field_type in {"list", "geopoint"} and pg_type.name in _TEXT_TYPES and not pg_type.array


def fit(
    field_type: str,
    value: pl.Expr,
    pg_type: PgType,
    timezone: str,
    digits: pl.Expr | None = None,
    *,
    nul: bool = True,
) -> Cast:
    """Return values in the wire type of a target column.

    Args:
        field_type: Table Schema type of `value`.
        value: expression of the values that `convert` returned.
        pg_type: type of the target column, for which `misfit` returned None.
        timezone: time zone of datetimes that go into a `timestamptz` column.
        digits: for values of type number, the digits of those that a float does not hold, else null; or None.
        nul: whether a text may hold the character NUL.
    """
    name = pg_type.name
    if pg_type.array:
        return _text(to_text(field_type, value), pg_type, nul=nul)
    if name in INTEGER_RANGES:
        return Cast(_integer(value, field_type, name, digits), f"is not a whole number in the range of {name}")
    if name == "numeric":
        return _numeric(_with_digits(field_type, value, digits), pg_type)
    if name in {"double precision", "real"}:
        # Of a decimal that rounds to zero, a float keeps no digit.
        kept = value if digits is None else pl.when(digits.is_null() | (value != 0)).then(value)
        return _float(kept, field_type, name)
    if name in {"timestamp", "timestamp with time zone"}:
        return _timestamp(value, pg_type, timezone)
    if name == "date":
        day = value if field_type == "date" else pl.when(value == value.dt.truncate("1d")).then(value)
        return Cast(day.cast(pl.Date), "has a time of day, but the column holds only dates")
    if name in {"time", "interval"}:
        return _clock(value, field_type, pg_type)
    if name == "boolean":
        return Cast(value, "is not a boolean")
    return _text(_with_digits(field_type, value, digits), pg_type, nul=nul)


def _with_digits(field_type: str, value: pl.Expr, digits: pl.Expr | None) -> pl.Expr:
    """Return values as text, with all digits."""
    text = to_text(field_type, value)
    return text if digits is None else pl.coalesce(digits, text)


def _integer(value: pl.Expr, field_type: str, name: str, digits: pl.Expr | None) -> pl.Expr:
    bound, wire = INTEGER_RANGES[name], wire_type_of(PgType(name)).frame
    if field_type == "number":
        # Not only the column's own bound: a larger float does not stand for exactly one integer.
        limit = float(min(bound, MAX_EXACT_INTEGER))
        value = pl.when((value == value.floor()) & (value >= -limit) & (value <= limit)).then(value)
    cast = value.cast(wire, strict=False)
    return cast if digits is None else pl.when(digits.is_null()).then(cast).otherwise(digits.cast(wire, strict=False))


def _numeric(text: pl.Expr, pg_type: PgType) -> Cast:
    """Return decimals as text, which the server parses exactly."""
    if not pg_type.args:
        # Only a decimal nearer to zero than any float has an exponent in capitals (see `exact_digits`).
        return Cast(pl.when(~text.str.contains("E", literal=True)).then(text), "is too near to zero")
    precision, scale = pg_type.args[0], pg_type.args[1] if len(pg_type.args) > 1 else 0
    # Nearly all texts fit as written; the others are checked one by one.
    plain = _decimal_regex(precision, scale)
    fits = text.str.contains(plain) if plain else pl.lit(value=False)
    odd = pl.when(~fits).then(text).map_elements(lambda t: _round_decimal(t, precision, scale), return_dtype=pl.String)
    return Cast(pl.when(fits).then(text).otherwise(odd), f"does not fit {pg_type} without rounding")


def _decimal_regex(precision: int, scale: int) -> str | None:
    """Return a regular expression for decimals that fit as written, without exponent; None for unusual scales."""
    if not 0 <= scale <= precision or precision > _LONGEST_TEXT:
        return None
    fraction = rf"(?:\.\d{{1,{scale}}})?" if scale else ""
    return rf"^-?(?:0|[1-9]\d{{0,{precision - scale - 1}}}){fraction}$" if precision > scale else rf"^-?0{fraction}$"


def _round_decimal(text: str, precision: int, scale: int) -> str | None:
    """Return the decimal at that scale if it is the same number up to binary rounding noise (0.1 + 0.2), or None.

    A number with more digits than a float has was no float, so none of its digits is noise.
    """
    number = Decimal(text)
    noise = abs(number).scaleb(-_DECIMAL_DIGITS) if len(number.as_tuple().digits) <= _FLOAT_DIGITS else 0
    # Noise is beyond the digits that Excel shows; a real digit beyond the scale is not.
    with localcontext(prec=1100):
        rounded = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN)
        close = abs(number - rounded) <= noise
        return f"{rounded:f}" if close and abs(rounded) < Decimal(1).scaleb(precision - scale) else None


def _float(value: pl.Expr, field_type: str, name: str) -> Cast:
    double = value.cast(pl.Float64)
    if field_type != "number":
        double = pl.when(double.cast(pl.Int128, strict=False) == value.cast(pl.Int128)).then(double)
    if name == "double precision":
        return Cast(double, "has more digits than double precision holds")
    single = double.cast(pl.Float32)
    whole = double == double.floor()
    good = single.is_finite() & (~whole | (single.cast(pl.Float64) == double)) & ((single != 0) | (double == 0))
    return Cast(pl.when(good).then(single), "is out of the range of real, or a whole number that real cannot hold")


def _timestamp(value: pl.Expr, pg_type: PgType, timezone: str) -> Cast:
    stamp = _in_precision(value.cast(pl.Datetime("us")), pg_type)
    if pg_type.name == "timestamp":
        return Cast(stamp, f"has fractions of a second that {pg_type} drops")
    # A local time that occurs twice is taken as the earlier one; one that a clock change skips does not exist.
    zoned = stamp.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return Cast(
        zoned.dt.convert_time_zone("UTC"),
        f"does not exist in time zone {timezone}, or has fractions that {pg_type} drops",
    )


def _in_precision(stamp: pl.Expr, pg_type: PgType) -> pl.Expr:
    """Return the stamps without those that have more fractional digits than the type keeps."""
    digits = pg_type.args[0] if pg_type.args else 6
    if digits >= 6:  # noqa: PLR2004 - microseconds
        return stamp
    return pl.when(stamp.dt.microsecond() % 10 ** (6 - digits) == 0).then(stamp)


def with_instants(fitted: Cast, text: pl.Expr, pg_type: PgType) -> Cast:
    """Return a cast to `timestamptz` in which texts with an offset are the instants that they name."""
    named = _in_precision(instants(text), pg_type)
    return Cast(pl.coalesce(named, fitted.value), fitted.reason)


def _clock(value: pl.Expr, field_type: str, pg_type: PgType) -> Cast:
    digits = pg_type.args[0] if pg_type.args else 6
    micro = value.cast(pl.Int64) // 1000 if field_type == "time" else value.cast(pl.Duration("us")).cast(pl.Int64)
    if digits < 6:  # noqa: PLR2004 - microseconds
        micro = pl.when(micro % 10 ** (6 - digits) == 0).then(micro)
    target = micro.cast(pl.Duration("us")) if pg_type.name == "interval" else (micro * 1000).cast(pl.Time)
    return Cast(target, f"has fractions of a second that {pg_type} drops")


def _text(text: pl.Expr, pg_type: PgType, *, nul: bool) -> Cast:
    """Return texts for a text column, or for a type that the server parses from text."""
    assert wire_type_of(pg_type) == TEXT_WIRE_TYPE
    if pg_type.array:
        literal = text.map_elements(array_literal, return_dtype=pl.String)
        return Cast(literal, 'is not a list such as {a,b} or ["a","b"]')
    clean = pl.when(~text.str.contains("\0", literal=True)).then(text) if nul else text
    if pg_type.labels is not None:
        labels = ", ".join(pg_type.labels[:12])
        return Cast(
            pl.when(text.is_in(list(pg_type.labels))).then(text), f"is not one of {pg_type}'s labels ({labels})"
        )
    if pg_type.name in {"bit", "bit varying"}:
        return Cast(
            pl.when(text.str.contains(_bits_regex(pg_type))).then(text), f"is not a bit string that fits {pg_type}"
        )
    if pg_type.name in {"character varying", "character"} and pg_type.args:
        return Cast(
            pl.when(clean.str.len_chars() <= pg_type.args[0]).then(clean), f"is longer than {pg_type}, or holds a NUL"
        )
    if pg_type.name == "uuid":
        return Cast(pl.when(text.str.contains(_UUID)).then(text), "is not a UUID")
    for subtype, (bound, example) in _RANGE_BOUNDS.items():
        if pg_type.name in {f"{subtype}range", f"{subtype}multirange"}:
            fits = text.str.contains(_range_regex(bound, is_multi="multi" in pg_type.name))
            return Cast(pl.when(fits).then(text), f"is not a {pg_type.name} with bounds as in {example}")
    if pg_type.name in {"json", "jsonb"}:
        return Cast(text.map_elements(lambda t: t if is_json(t) else None, return_dtype=pl.String), "is not JSON")
    if pg_type.name == "name":
        return Cast(pl.when(clean.str.len_bytes() <= 63).then(clean), "is longer than 63 bytes")  # noqa: PLR2004 - NAMEDATALEN
    return Cast(clean, "holds a NUL character, which PostgreSQL cannot store")


def _range_regex(bound: str, *, is_multi: bool) -> str:
    """Return a regular expression for a range with such bounds, or for several in braces; `(?i:…)` ignores case."""
    one = rf'(?:"{bound}"|{bound}|(?i:-?infinity))?'
    single = rf"(?:[\[(]{one},{one}[\])]|(?i:empty))"
    return rf"^\{{(?:{single}(?:, ?{single})*)?\}}$" if is_multi else rf"^{single}$"


def _bits_regex(pg_type: PgType) -> str:
    """Return a regular expression for texts of a bit type; the server's cast would truncate or pad other lengths."""
    size = pg_type.args[0] if pg_type.args else 1
    if pg_type.name == "bit":
        return rf"^[01]{{{size}}}$"
    return rf"^[01]{{0,{size}}}$" if pg_type.args else "^[01]*$"
