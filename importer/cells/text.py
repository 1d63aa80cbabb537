"""Converts values of field types to text for a text column of the target."""

from __future__ import annotations

import polars as pl

from .frame import iso_datetime, iso_duration, iso_time, shortest_text


def to_text(field_type: str, value: pl.Expr) -> pl.Expr:
    """Return values of a field type as text for a text column of the target."""
    match field_type:
        case "datetime":
            micro = value.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
            return pl.when(value.dt.microsecond() % 1000 == 0).then(iso_datetime(value)).otherwise(micro)
        case "number":
            return shortest_text(value)
        case "boolean":
            return pl.when(value).then(pl.lit("true")).when(~value).then(pl.lit("false"))
        case "duration":
            return _duration_text(value)
        case "time":
            micro = value.dt.strftime("%H:%M:%S%.6f")
            return pl.when(value.dt.nanosecond() % 1_000_000 == 0).then(iso_time(value)).otherwise(micro)
        case "year":
            sign = pl.when(value < 0).then(pl.lit("-")).otherwise(pl.lit(""))
            return pl.concat_str(sign, value.abs().cast(pl.String).str.zfill(4))
        case _:
            return value.cast(pl.String)


def _duration_text(value: pl.Expr) -> pl.Expr:
    """Return what `iso_duration` returns, with microseconds if there are any (only texts can have them)."""
    total = value.dt.total_microseconds()
    size = total.abs()
    sign = pl.when(total < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    clock = [c.cast(pl.String).str.zfill(2) for c in ((size // 60_000_000) % 60, (size // 1_000_000) % 60)]
    micro = pl.format(
        "{}{}:{}:{}.{}", sign, size // 3_600_000_000, *clock, (size % 1_000_000).cast(pl.String).str.zfill(6)
    )
    return pl.when(total % 1000 == 0).then(iso_duration(value)).otherwise(micro)
