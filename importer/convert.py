"""Owns the meaning of cells: from the kinds that a column holds to the values of a Table Schema field type.

Each function takes a field and the sheet column's kinds in one window and returns an expression that is null wherever
the cell cannot mean that type. Cells that are missing, or problems, are handled by `validate` before it asks.
Lexical forms are those of Table Schema (Data Package v2); dates given as text follow `format`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from .parts import VALUE_PARTS, as_text, iso_datetime, part, raw_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from .contract import Field

_MAX_EXACT = 2**53
_TRUE = ["true", "True", "TRUE", "1"]
_FALSE = ["false", "False", "FALSE", "0"]
#: More significant digits than this and two decimal numbers can share one 64-bit float.
_SAFE_DIGITS = 15
_ANY_DATE = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%Y%m%d")
_ANY_CLOCK = ("%H:%M:%S%.f", "%H:%M:%S", "%H:%M")


def convert(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """The cells of a sheet column as values of the field's type; null where they have none.

    Args:
        field: of the contract.
        column: 0-based sheet column.
        kinds: those that the column holds in this window.
    """
    values = [kind for kind in kinds if kind in VALUE_PARTS]
    return _CONVERTERS[field.type](field, column, values)


def _when(kinds: list[str], column: int, kind: str, otherwise: pl.DataType | type[pl.DataType]) -> pl.Expr:
    """The array of one kind, or nulls."""
    return pl.col(part(column, kind)) if kind in kinds else pl.lit(None, otherwise)


def _text(column: int, kinds: list[str]) -> pl.Expr:
    return _when(kinds, column, "text", pl.String)


def _string(_field: Field, column: int, kinds: list[str]) -> pl.Expr:
    return raw_text(column, kinds)


def _plain_number(field: Field, text: pl.Expr) -> pl.Expr:
    """Number texts with the field's decimal and group characters and surrounding words taken away."""
    text = text.str.strip_chars()
    if field.options.get("bareNumber") is False:
        text = text.str.replace(r"^[^\d+\-.,]+", "").str.replace(r"[^\d.,]+$", "")
    group, decimal = field.options.get("groupChar", ""), field.options.get("decimalChar", ".")
    if group:
        text = text.str.replace_all(group, "", literal=True)
    elif decimal != ".":
        # Without a group character a dot is no part of a number.
        text = pl.when(~text.str.contains(".", literal=True)).then(text)
    return text.str.replace_all(decimal, ".", literal=True)


def _number(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    text = _plain_number(field, _text(column, kinds))
    digits = text.str.replace(r"[eE].*$", "").str.replace_all(r"\D", "").str.strip_chars_start("0").str.len_chars()
    lexical = text.str.contains(r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$") & (digits <= _SAFE_DIGITS)
    parsed = pl.when(lexical).then(text).str.strip_prefix("+").cast(pl.Float64, strict=False)
    return pl.coalesce(_when(kinds, column, "number", pl.Float64), pl.when(parsed.is_finite()).then(parsed))


def _integer(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    number = _when(kinds, column, "number", pl.Float64)
    whole = pl.when((number == number.floor()) & (number.abs() <= _MAX_EXACT)).then(number).cast(pl.Int64, strict=False)
    text = _plain_number(field, _text(column, kinds))
    parsed = pl.when(text.str.contains(r"^[+-]?\d+$")).then(text).str.strip_prefix("+").cast(pl.Int64, strict=False)
    return pl.coalesce(whole, parsed)


def _boolean(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    shown = pl.coalesce([as_text(column, k) for k in kinds if k in {"text", "number"}] or [pl.lit(None, pl.String)])
    true, false = field.options.get("trueValues", _TRUE), field.options.get("falseValues", _FALSE)
    parsed = pl.when(shown.is_in(true)).then(pl.lit(value=True)).when(shown.is_in(false)).then(pl.lit(value=False))
    return pl.coalesce(_when(kinds, column, "boolean", pl.Boolean), parsed)


def _first(texts: pl.Expr, parse: Callable[[pl.Expr, str], pl.Expr], formats: tuple[str, ...]) -> pl.Expr:
    return pl.coalesce([parse(texts, form) for form in formats])


def _parse_date(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_date(form, strict=False)


def _parse_datetime(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_datetime(form, time_unit="us", strict=False)


def _parse_time(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_time(form, strict=False)


def _formats(field: Field, default: tuple[str, ...], anything: tuple[str, ...]) -> tuple[str, ...]:
    """The strptime patterns of a date-like field."""
    return {"default": default, "any": anything}.get(field.format, (field.format,))


def _date(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    stamp = _when(kinds, column, "datetime", pl.Datetime("ms"))
    day = pl.when(stamp == stamp.dt.truncate("1d")).then(stamp.cast(pl.Date))
    text = _text(column, kinds)
    if field.format == "default":
        # strptime takes 2020-1-5 for %Y-%m-%d; ISO 8601 does not.
        text = pl.when(text.str.contains(r"^\d{4}-\d{2}-\d{2}$")).then(text)
    return pl.coalesce(day, _first(text, _parse_date, _formats(field, ("%Y-%m-%d",), _ANY_DATE)))


def _datetime(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    stamp = _when(kinds, column, "datetime", pl.Datetime("ms")).cast(pl.Datetime("us"))
    text = _text(column, kinds)
    iso = tuple(f"%Y-%m-%d{sep}{clock}" for sep in ("T", " ") for clock in _ANY_CLOCK)
    more = tuple(f"{day}{sep}{clock}" for day in _ANY_DATE for sep in ("T", " ") for clock in _ANY_CLOCK)
    day = _first(text, _parse_date, ("%Y-%m-%d",) if field.format == "default" else _ANY_DATE).cast(pl.Datetime("us"))
    parsed = [_first(text, _parse_datetime, _formats(field, iso, more))] + ([day] if field.format in {"default", "any"} else [])
    return pl.coalesce(stamp, *parsed)


def _time(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    clock = _when(kinds, column, "time", pl.Time)
    duration = _when(kinds, column, "duration", pl.Duration("ms"))
    size = duration.dt.total_milliseconds()
    # A time of day typed as elapsed time ([h]:mm) is the same clock reading.
    within = pl.when((size >= 0) & (size < 86_400_000)).then(size * 1_000_000).cast(pl.Time)
    return pl.coalesce(clock, within, _first(_text(column, kinds), _parse_time, _formats(field, _ANY_CLOCK, _ANY_CLOCK)))


def _year(_field: Field, column: int, kinds: list[str]) -> pl.Expr:
    number = _when(kinds, column, "number", pl.Float64)
    whole = pl.when((number == number.floor()) & (number.abs() <= 9999)).then(number)  # noqa: PLR2004 - xsd:gYear
    text = _text(column, kinds)
    parsed = pl.when(text.str.contains(r"^-?\d{4}$")).then(text).cast(pl.Int32, strict=False)
    return pl.coalesce(whole.cast(pl.Int32, strict=False), parsed)


def _yearmonth(_field: Field, column: int, kinds: list[str]) -> pl.Expr:
    stamp = _when(kinds, column, "datetime", pl.Datetime("ms"))
    first = pl.when(stamp == stamp.dt.truncate("1mo")).then(stamp.dt.strftime("%Y-%m"))
    text = _text(column, kinds)
    return pl.coalesce(first, pl.when(text.str.contains(r"^\d{4}-(?:0[1-9]|1[0-2])$")).then(text))


def _duration(_field: Field, column: int, kinds: list[str]) -> pl.Expr:
    elapsed = _when(kinds, column, "duration", pl.Duration("ms")).cast(pl.Duration("us"))
    clock = _when(kinds, column, "time", pl.Time).cast(pl.Int64) // 1000
    return pl.coalesce(elapsed, clock.cast(pl.Duration("us")), _iso_duration(_text(column, kinds)))


def _iso_duration(text: pl.Expr) -> pl.Expr:
    """ISO 8601 durations of weeks, days and time; years and months have no fixed length and are refused."""
    pattern = r"^(-?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,6})?)S)?)?$"
    part_of = [text.str.extract(pattern, n) for n in range(1, 7)]
    units = (604_800.0, 86_400.0, 3_600.0, 60.0, 1.0)
    seconds = pl.sum_horizontal(p.cast(pl.Float64, strict=False).fill_null(0) * u for p, u in zip(part_of[1:], units, strict=True))
    signed = pl.when(part_of[0] == "-").then(-seconds).otherwise(seconds)
    complete = text.str.contains(pattern) & text.str.contains(r"\d") & ~text.str.ends_with("T")
    return pl.when(complete).then((signed * 1_000_000).round().cast(pl.Int64, strict=False)).cast(pl.Duration("us"))


def _json(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    check = {"object": dict, "geojson": dict, "array": list}[field.type]

    def parse(text: str) -> str | None:
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return None
        return text if isinstance(value, check) and "\\u0000" not in text else None

    return _text(column, kinds).map_elements(parse, return_dtype=pl.String)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _list(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    delimiter, item = field.options.get("delimiter", ","), field.options.get("itemType", "string")
    cast: Callable[[str], Any] = {"integer": int, "number": float, "boolean": {"true": True, "false": False}.__getitem__}.get(item, str)

    def parse(text: str) -> str | None:
        try:
            return json.dumps([cast(t) for t in text.split(delimiter)], ensure_ascii=False)
        except (ValueError, KeyError):
            return None

    return raw_text(column, kinds).map_elements(parse, return_dtype=pl.String)


def _geopoint(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """PostgreSQL's spelling of a point, `(lon,lat)`."""

    def parse(text: str) -> str | None:
        try:
            if field.format == "default":
                lon, lat = (float(t) for t in text.split(","))
            else:
                value = json.loads(text)
                lon, lat = (value["lon"], value["lat"]) if field.format == "object" else value
                lon, lat = float(lon), float(lat)
        except (ValueError, TypeError, KeyError):
            return None
        return f"({lon!r},{lat!r})" if abs(lon) <= 180 and abs(lat) <= 90 else None  # noqa: PLR2004 - degrees

    return _text(column, kinds).map_elements(parse, return_dtype=pl.String)


_CONVERTERS: dict[str, Callable[[Field, int, list[str]], pl.Expr]] = {
    "string": _string, "any": _string, "number": _number, "integer": _integer, "boolean": _boolean,
    "date": _date, "datetime": _datetime, "time": _time, "year": _year, "yearmonth": _yearmonth,
    "duration": _duration, "object": _json, "array": _json, "geojson": _json, "list": _list, "geopoint": _geopoint,
}  # fmt: skip


def literal(field: Field, value: Any) -> Any:
    """A constraint's bound or enum member (as written in the contract) as a value of the field's type; None if it has none."""
    text = value if isinstance(value, str) else json.dumps(value)
    kinds = {"number": [float(value)]} if isinstance(value, (int, float)) and not isinstance(value, bool) else {"text": [text]}
    if isinstance(value, bool):
        kinds = {"boolean": [value]}  # type: ignore[dict-item]
    frame = pl.DataFrame({part(0, kind): cells for kind, cells in kinds.items()})
    return frame.select(convert(field, 0, list(kinds)).alias("v")).item()


def to_text(field_type: str, value: pl.Expr) -> pl.Expr:
    """Values of a field type as text for a text column of the target."""
    match field_type:
        case "datetime":
            return iso_datetime(value)
        case "number":
            from .parts import shortest_text

            return shortest_text(value)
        case "boolean":
            return pl.when(value).then(pl.lit("true")).when(~value).then(pl.lit("false"))
        case "duration":
            from .parts import iso_duration

            return iso_duration(value)
        case "time":
            from .parts import iso_time

            return iso_time(value)
        case _:
            return value.cast(pl.String)
