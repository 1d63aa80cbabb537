"""Converts values of field types to text for a text column of the target."""

from __future__ import annotations

import polars as pl

from importer.numbers.digit_patterns import show_by_patterns

from .frame import MAX_EXACT_INTEGER, MarkedNumberKind, digits_name, part, pattern_name


def to_text(field_type: str, value: pl.Expr) -> pl.Expr:
    """Return values of a field type as text for a text column of the target."""
    match field_type:
        case "datetime":
            return iso_datetime(value)
        case "number":
            return shortest_text(value)
        case "boolean":
            return pl.when(value).then(pl.lit("true")).when(~value).then(pl.lit("false"))
        case "duration":
            return iso_duration(value)
        case "time":
            return iso_time(value)
        case "year":
            sign = pl.when(value < 0).then(pl.lit("-")).otherwise(pl.lit(""))
            return pl.concat_str(sign, value.abs().cast(pl.String).str.zfill(4))
        case _:
            return value.cast(pl.String)


def shortest_text(number: pl.Expr) -> pl.Expr:
    """Return numbers as the shortest text that reads back as the same 64-bit float: `1`, `0.1`, `1e-10`.

    Integral values below 2^53 have no decimal point; all others are printed by Ryū.
    """
    integral = (number == number.floor()) & (number.abs() < MAX_EXACT_INTEGER)
    return pl.when(integral).then(number.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(number.cast(pl.String))


def _number_text(column: int, kind: str) -> pl.Expr:
    """Return the numbers of a column as text: all digits that the cell has, shown by the pattern of its format."""
    text = shortest_text(pl.col(part(column, "number")))
    if isinstance(kind, MarkedNumberKind) and kind.has_digits:
        text = pl.coalesce(pl.col(digits_name(column)), text)
    if isinstance(kind, MarkedNumberKind) and kind.has_patterns:
        text = pl.coalesce(show_by_patterns(text, pl.col(pattern_name(column))), text)
    return text


def iso_datetime(stamp: pl.Expr) -> pl.Expr:
    """Return datetimes in ISO 8601: the date alone at midnight, else with milliseconds or microseconds if needed."""
    midnight = stamp == stamp.dt.truncate("1d")
    text = with_fraction(stamp, stamp.dt.microsecond(), "%Y-%m-%dT%H:%M:%S")
    return pl.when(midnight).then(stamp.dt.strftime("%Y-%m-%d")).otherwise(text)


def with_fraction(value: pl.Expr, micro: pl.Expr, form: str) -> pl.Expr:
    """Return times as text, with no, three or six digits after the seconds."""
    short, long = value.dt.strftime(f"{form}%.3f"), value.dt.strftime(f"{form}%.6f")
    text = pl.when(micro % 1000 == 0).then(short).otherwise(long)
    return pl.when(micro == 0).then(value.dt.strftime(form)).otherwise(text)


def iso_duration(duration: pl.Expr) -> pl.Expr:
    """Return durations as `[-]H:MM:SS[.mmm[mmm]]` with unbounded hours, like Excel's format `[h]:mm:ss`."""
    total = duration.dt.total_microseconds()
    size = total.abs()
    sign = pl.when(total < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    clock = [(size // 60_000_000) % 60, (size // 1_000_000) % 60]
    text = pl.format("{}{}:{}:{}", sign, size // 3_600_000_000, *[c.cast(pl.String).str.zfill(2) for c in clock])
    micro = size % 1_000_000
    short, long = (micro // 1000).cast(pl.String).str.zfill(3), micro.cast(pl.String).str.zfill(6)
    fraction = pl.when(micro % 1000 == 0).then(short).otherwise(long)
    return pl.when(micro == 0).then(text).otherwise(pl.format("{}.{}", text, fraction))


def iso_time(time: pl.Expr) -> pl.Expr:
    """Return times of day as `HH:MM:SS[.mmm[mmm]]`."""
    return with_fraction(time, time.dt.nanosecond() // 1000, "%H:%M:%S")


def as_text(column: int, kind: str) -> pl.Expr:
    """Return the cells of one kind as human-readable text; lossless for every kind."""
    cell = pl.col(part(column, kind))
    match kind:
        case "number":
            return _number_text(column, kind)
        case "boolean":
            return pl.when(cell).then(pl.lit("true")).when(~cell).then(pl.lit("false"))
        case "datetime":
            return iso_datetime(cell)
        case "time":
            return iso_time(cell)
        case "duration":
            return iso_duration(cell)
        case _:
            return cell


def raw_text(column: int, kinds: list[str]) -> pl.Expr:
    """Return every cell of a column as text, whatever its kind; null for an empty cell."""
    return pl.coalesce([as_text(column, kind) for kind in kinds]) if kinds else pl.lit(None, pl.String)
