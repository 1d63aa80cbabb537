"""Converts cells to dates, times and durations; texts are parsed as ISO 8601 or by a strptime pattern."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from .frame import UTC_MIDNIGHT, array_or_nulls, part, texts_or_nulls

if TYPE_CHECKING:
    from collections.abc import Callable

    from .field import Field

_ANY_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%Y%m%d")
_TIME_FORMATS = ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M")
_YEAR_69 = 2069
_DAY_US = 86_400_000_000
#: Longest duration in microseconds: what 64 bits hold, as in Arrow and in `interval`.
_LONGEST = 2**63 - 1

#: Directives of strptime patterns, and the texts that each accepts. The engine (chrono) is more lenient: it reads the
#: year 20 from `%Y`, drops the seventh digit of a second, and turns 23:59:60 into the next day.
_DIRECTIVES = {
    "Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{1,2}", "d": r"\d{1,2}", "j": r"\d{1,3}",
    "H": r"\d{1,2}", "I": r"\d{1,2}", "M": r"\d{1,2}", "S": r"[0-5]?\d", "f": r"\d{1,6}", "p": r"[AaPp][Mm]",
    "b": r"\pL+", "B": r"\pL+", "a": r"\pL+", "A": r"\pL+", "%": "%",
}  # fmt: skip


def strptime_fault(kind: str, form: str) -> str | None:
    """Return why a strptime pattern cannot be the format of a `date`, `time` or `datetime`; None if it can."""
    found = re.findall(r"%(.?)", form, re.DOTALL)
    for letter in found:
        if letter not in _DIRECTIVES:
            return f"%{letter} is not supported"
    if "f" in found and ".%f" not in form:
        return "%f needs a dot before it"
    given = set(found)
    day = bool(given & {"Y", "y"}) and ("j" in given or ("d" in given and bool(given & {"m", "b", "B"})))
    some_day, some_clock = bool(given & set("YymdjbBaA")), bool(given & set("HIMSfp"))
    clock = "M" in given and ("H" in given or {"I", "p"} <= given) and ("S" in given or "f" not in given)
    if kind == "time":
        return "a time needs hours and minutes, and has no date" if some_day or not clock else None
    if not day:
        return "it does not determine a day"
    if kind == "date":
        return "a date has no time of day; use type datetime" if some_clock else None
    return "its time needs hours and minutes" if some_clock and not clock else None


def _compile_pattern(form: str, *, fixed: bool) -> tuple[str, str]:
    """Return a strptime pattern in the engine's syntax, and a regular expression for the texts that it accepts.

    Args:
        form: pattern with Python's directives.
        fixed: whether every number has two digits (the year four), as in ISO 8601.
    """
    tokens = re.findall(r"%.|[^%]+", form, re.DOTALL)
    expression = ""
    for n, token in enumerate(tokens):
        if not token.startswith("%"):
            expression += re.escape(token)
            continue
        # Adjacent numbers need all their digits; otherwise 2020105 is ambiguous.
        close = any(t.startswith("%") and t[1] in "YymdjHIMS" for t in tokens[max(n - 1, 0) : n + 2] if t is not token)
        expression += {True: {r"\d{1,2}": r"\d{2}", r"[0-5]?\d": r"[0-5]\d", r"\d{1,3}": r"\d{3}"}, False: {}}[
            fixed or close
        ].get(_DIRECTIVES[token[1]], _DIRECTIVES[token[1]])
    return form.replace(".%f", "%.f"), f"^{expression}$"


def _parse_first_match(
    field: Field, texts: pl.Expr, parse: Callable[[pl.Expr, str], pl.Expr], formats: tuple[str, ...]
) -> pl.Expr:
    """Return each text as parsed by the first pattern that accepts it."""
    found = []
    for form in formats:
        engine, expression = _compile_pattern(form, fixed=field.format == "default")
        value = parse(pl.when(texts.str.contains(expression)).then(texts), engine)
        if "%y" in form:
            # In POSIX, two-digit years start at 1969; in the engine, at 1970.
            value = pl.when(value.dt.year() == _YEAR_69).then(value.dt.offset_by("-100y")).otherwise(value)
        found.append(value)
    return pl.coalesce(found)


def _parse_date(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_date(form, strict=False)


def _parse_datetime(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_datetime(form, time_unit="us", strict=False)


def _parse_time(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_time(form, strict=False)


def _field_patterns(field: Field, default: tuple[str, ...], anything: tuple[str, ...]) -> tuple[str, ...]:
    """Return the strptime patterns of a date-like field."""
    return {"default": default, "any": anything}.get(field.format, (field.format,))


def to_date(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the dates of a column: datetimes at midnight, instants at midnight UTC, and parsed texts."""
    stamp = array_or_nulls(kinds, column, "datetime", pl.Datetime("us"))
    day: pl.Expr = pl.when(stamp == stamp.dt.truncate("1d")).then(stamp.cast(pl.Date))
    if "instant" in kinds:
        instant = pl.col(part(column, "instant"))
        named = pl.when(instant.str.ends_with(UTC_MIDNIGHT)).then(instant.str.slice(0, 10))
        day = pl.coalesce(day, named.str.to_date("%Y-%m-%d", strict=False))
    if "text" not in kinds:
        return day
    return pl.coalesce(
        day,
        _parse_first_match(
            field, texts_or_nulls(column, kinds), _parse_date, _field_patterns(field, ("%Y-%m-%d",), _ANY_DATE_FORMATS)
        ),
    )


def to_datetime(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the datetimes of a column; texts may lack the time of day, but a time zone is refused: none is stored."""
    stamp = array_or_nulls(kinds, column, "datetime", pl.Datetime("us"))
    if "text" not in kinds:
        return stamp
    text = texts_or_nulls(column, kinds)
    iso = tuple(f"%Y-%m-%d{sep}{clock}" for sep in ("T", " ") for clock in _TIME_FORMATS)
    more = tuple(f"{day}{sep}{clock}" for day in _ANY_DATE_FORMATS for sep in ("T", " ") for clock in _TIME_FORMATS)
    days = _field_patterns(field, ("%Y-%m-%d",), _ANY_DATE_FORMATS)
    if not set(re.findall(r"%(.)", days[0])) & set("HI"):
        day = _parse_first_match(field, text, _parse_date, days).cast(pl.Datetime("us"))
        stamp = pl.coalesce(stamp, day)
        iso, more = (iso, more) if field.format in {"default", "any"} else ((), ())
    formats = _field_patterns(field, iso, more) if field.format in {"default", "any"} or iso else ()
    return pl.coalesce(stamp, _parse_first_match(field, text, _parse_datetime, formats)) if formats else stamp


def to_time(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the times of day of a column: times, durations below 24 hours, and parsed texts."""
    clock = array_or_nulls(kinds, column, "time", pl.Time)
    duration = array_or_nulls(kinds, column, "duration", pl.Duration("us"))
    size = duration.dt.total_microseconds()
    # A time of day formatted as a duration ([h]:mm) is the same clock reading.
    within = pl.when((size >= 0) & (size < _DAY_US)).then(size * 1_000).cast(pl.Time)
    if "text" not in kinds:
        return pl.coalesce(clock, within)
    return pl.coalesce(
        clock,
        within,
        _parse_first_match(
            field, texts_or_nulls(column, kinds), _parse_time, _field_patterns(field, _TIME_FORMATS, _TIME_FORMATS)
        ),
    )


def to_yearmonth(_field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the months (`YYYY-MM`) of a column: datetimes at the start of a month, and texts."""
    stamp = array_or_nulls(kinds, column, "datetime", pl.Datetime("us"))
    first = pl.when(stamp == stamp.dt.truncate("1mo")).then(stamp.dt.strftime("%Y-%m"))
    text = texts_or_nulls(column, kinds)
    return pl.coalesce(first, pl.when(text.str.contains(r"^\d{4}-(?:0[1-9]|1[0-2])$")).then(text))


def to_duration(_field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the durations of a column: durations, times of day, and parsed texts."""
    elapsed = array_or_nulls(kinds, column, "duration", pl.Duration("us"))
    clock = array_or_nulls(kinds, column, "time", pl.Time).cast(pl.Int64) // 1000
    return pl.coalesce(elapsed, clock.cast(pl.Duration("us")), _iso_duration(texts_or_nulls(column, kinds)))


def _iso_duration(text: pl.Expr) -> pl.Expr:
    """Parse ISO 8601 durations of weeks, days and time; years and months have no fixed length and are refused."""
    pattern = (
        r"^(-?)P(?:([0-9]+)W)?(?:([0-9]+)D)?"
        r"(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:\.([0-9]{1,6}))?S)?)?$"
    )
    sign, *counts, fraction = [text.str.extract(pattern, n) for n in range(1, 8)]
    # Whole numbers throughout: a float of some thousand years keeps no microseconds.
    seconds = pl.sum_horizontal(
        (_whole_seconds(count, unit) for count, unit in zip(counts, (604_800, 86_400, 3_600, 60, 1), strict=True)),
        ignore_nulls=False,
    )
    micro = fraction.str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    most, rest = divmod(_LONGEST, 1_000_000)
    size = pl.when((seconds < most) | ((seconds == most) & (micro <= rest))).then(seconds * 1_000_000 + micro)
    complete = text.str.contains(pattern) & text.str.contains("[0-9]") & ~text.str.ends_with("T")
    return pl.when(complete).then(pl.when(sign == "-").then(-size).otherwise(size)).cast(pl.Duration("us"))


def _whole_seconds(count: pl.Expr, unit: int) -> pl.Expr:
    """Return so many units of that many seconds, 0 for no count, and null if that alone is too long."""
    whole = pl.when(count.is_null()).then(0).otherwise(count.cast(pl.Int64, strict=False))
    return pl.when(whole <= _LONGEST // 1_000_000 // unit).then(whole * unit)


#: ISO 8601 with an offset: date, hours, minutes, seconds, fraction; sign, hours and minutes of the offset, or a name
#: of the zone that has none.
_WITH_OFFSET = (
    r"^(\d{4}-\d\d-\d\d)[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,6}))?)?"
    r" ?(?:Z|UTC|GMT|([+-])([01]\d|2[0-3])(?::?([0-5]\d))?)$"
)


def instants(text: pl.Expr) -> pl.Expr:
    """Return the instants (UTC) of texts in ISO 8601 with an offset, such as `2024-05-01T10:00+02:00`; else null."""
    parts = [text.str.extract(_WITH_OFFSET, n) for n in range(1, 9)]
    day, hour, minute, second, fraction, sign, hours, minutes = parts
    written = pl.concat_str(
        day, pl.lit("T"), hour, pl.lit(":"), minute, pl.lit(":"), second.fill_null("00"), pl.lit("."),
        fraction.fill_null("0"), sign.fill_null("+"), hours.fill_null("00"), minutes.fill_null("00"),
    )  # fmt: skip
    return written.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)
