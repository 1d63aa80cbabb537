"""Owns the meaning of cells: from the kinds that a column holds to the values of a Table Schema field type.

Each function takes a field and the sheet column's kinds in one window and returns an expression that is null wherever
the cell cannot mean that type. Cells that are missing, or problems, are handled by `validate` before it asks.
Lexical forms are those of Table Schema (Data Package v2); dates given as text follow `format`.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import polars as pl

from .parts import VALUE_PARTS, as_text, iso_datetime, iso_duration, iso_time, part, raw_text, shortest_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from .contract import Field

_MAX_EXACT = 2**53
_TRUE = ["true", "True", "TRUE", "1"]
_FALSE = ["false", "False", "FALSE", "0"]
#: More significant digits than this and two decimal numbers can share one 64-bit float.
_SAFE_DIGITS = 15
#: Below it a float keeps fewer digits than that.
_SMALLEST = 2.2250738585072014e-308
_ANY_DATE = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%Y%m%d")
_CLOCK = ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M")
_YEAR_69 = 2069
_LONGITUDE, _LATITUDE = 180, 90
_DAY_MS = 86_400_000
#: Directives of strptime patterns and what they take. The engine (chrono) is more lenient than that: it reads the year
#: 20 from `%Y`, drops the seventh digit of a second, and makes 23:59:60 the next day.
_DIRECTIVES = {
    "Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{1,2}", "d": r"\d{1,2}", "j": r"\d{1,3}",
    "H": r"\d{1,2}", "I": r"\d{1,2}", "M": r"\d{1,2}", "S": r"[0-5]?\d", "f": r"\d{1,6}", "p": r"[AaPp][Mm]",
    "b": r"\pL+", "B": r"\pL+", "a": r"\pL+", "A": r"\pL+", "%": "%",
}  # fmt: skip


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
    """Number texts with the field's decimal and group characters and surrounding words taken away.

    Groups are of three digits, the inner ones of two or three (India); `1.5` is no number where the dot groups.
    """
    text = text.str.strip_chars()
    if field.options.get("bareNumber") is False:
        text = text.str.replace(r"^[^\d+\-.,]+", "").str.replace(r"[^\d.,]+$", "")
    group, decimal = field.options.get("groupChar", ""), field.options.get("decimalChar", ".")
    if not group and decimal == ".":
        return text
    grouped = rf"\d{{1,3}}(?:{re.escape(group)}\d{{2,3}})*{re.escape(group)}\d{{3}}|" if group else ""
    form = rf"^[+-]?(?:{grouped}\d*)(?:{re.escape(decimal)}\d*)?(?:[eE][+-]?\d+)?$"
    text = pl.when(text.str.contains(form)).then(text)
    text = text.str.replace_all(group, "", literal=True) if group else text
    return text.str.replace_all(decimal, ".", literal=True)


def _number(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    number = _when(kinds, column, "number", pl.Float64)
    if "text" not in kinds:
        return number
    text = _plain_number(field, _text(column, kinds))
    mantissa = text.str.replace(r"[eE].*$", "").str.replace_all(r"\D", "").str.strip_chars_start("0")
    digits = mantissa.str.len_chars()
    lexical = text.str.contains(r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$") & (digits <= _SAFE_DIGITS)
    parsed = pl.when(lexical).then(text).str.strip_prefix("+").cast(pl.Float64, strict=False)
    # 1e400 is infinite and 1e-400 is zero to a float: neither is what the cell says.
    return pl.coalesce(number, pl.when(parsed.is_finite() & ((parsed.abs() >= _SMALLEST) | (digits == 0))).then(parsed))


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


def pattern_fault(kind: str, form: str) -> str | None:
    """Why a strptime pattern cannot be the format of a `date`, `time` or `datetime`; None when it can."""
    found = re.findall(r"%(.?)", form, re.DOTALL)
    for letter in found:
        if letter not in _DIRECTIVES:
            return f"%{letter} is not known here"
    if "f" in found and ".%f" not in form:
        return "%f needs a dot before it"
    given = set(found)
    day = bool(given & {"Y", "y"}) and ("j" in given or ("d" in given and bool(given & {"m", "b", "B"})))
    some_day, some_clock = bool(given & set("YymdjbBaA")), bool(given & set("HIMSfp"))
    clock = "M" in given and ("H" in given or {"I", "p"} <= given) and ("S" in given or "f" not in given)
    if kind == "time":
        return "a time has hours and minutes, and no date" if some_day or not clock else None
    if not day:
        return "it does not determine a day"
    if kind == "date":
        return "a date has no time of day; the type could be datetime" if some_clock else None
    return "its time needs hours and minutes" if some_clock and not clock else None


def _strict(form: str, *, fixed: bool) -> tuple[str, str]:
    """A strptime pattern as the engine spells it, and the regular expression of the texts that it takes.

    Args:
        form: with Python's directives.
        fixed: every number has two digits (the year four), as in ISO 8601.
    """
    tokens = re.findall(r"%.|[^%]+", form, re.DOTALL)
    expression = ""
    for n, token in enumerate(tokens):
        if not token.startswith("%"):
            expression += re.escape(token)
            continue
        # Numbers without anything between them need all their digits, or 2020105 has two readings.
        close = any(t.startswith("%") and t[1] in "YymdjHIMS" for t in tokens[max(n - 1, 0) : n + 2] if t is not token)
        expression += {True: {r"\d{1,2}": r"\d{2}", r"[0-5]?\d": r"[0-5]\d", r"\d{1,3}": r"\d{3}"}, False: {}}[
            fixed or close
        ].get(_DIRECTIVES[token[1]], _DIRECTIVES[token[1]])
    return form.replace(".%f", "%.f"), f"^{expression}$"


def _first(field: Field, texts: pl.Expr, parse: Callable[[pl.Expr, str], pl.Expr], formats: tuple[str, ...]) -> pl.Expr:
    """The texts by the first pattern that takes them."""
    found = []
    for form in formats:
        engine, expression = _strict(form, fixed=field.format == "default")
        value = parse(pl.when(texts.str.contains(expression)).then(texts), engine)
        if "%y" in form:
            # POSIX begins the two-digit years with 1969, the engine with 1970.
            value = pl.when(value.dt.year() == _YEAR_69).then(value.dt.offset_by("-100y")).otherwise(value)
        found.append(value)
    return pl.coalesce(found)


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
    if "text" not in kinds:
        return day
    return pl.coalesce(day, _first(field, _text(column, kinds), _parse_date, _formats(field, ("%Y-%m-%d",), _ANY_DATE)))


def _datetime(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Stamps; texts may lack the time of day. One with a zone is refused: a stamp here has none to keep it in."""
    stamp = _when(kinds, column, "datetime", pl.Datetime("ms")).cast(pl.Datetime("us"))
    if "text" not in kinds:
        return stamp
    text = _text(column, kinds)
    iso = tuple(f"%Y-%m-%d{sep}{clock}" for sep in ("T", " ") for clock in _CLOCK)
    more = tuple(f"{day}{sep}{clock}" for day in _ANY_DATE for sep in ("T", " ") for clock in _CLOCK)
    days = _formats(field, ("%Y-%m-%d",), _ANY_DATE)
    if not set(re.findall(r"%(.)", days[0])) & set("HI"):
        day = _first(field, text, _parse_date, days).cast(pl.Datetime("us"))
        stamp = pl.coalesce(stamp, day)
        iso, more = (iso, more) if field.format in {"default", "any"} else ((), ())
    formats = _formats(field, iso, more) if field.format in {"default", "any"} or iso else ()
    return pl.coalesce(stamp, _first(field, text, _parse_datetime, formats)) if formats else stamp


def _time(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    clock = _when(kinds, column, "time", pl.Time)
    duration = _when(kinds, column, "duration", pl.Duration("ms"))
    size = duration.dt.total_milliseconds()
    # A time of day typed as elapsed time ([h]:mm) is the same clock reading.
    within = pl.when((size >= 0) & (size < _DAY_MS)).then(size * 1_000_000).cast(pl.Time)
    if "text" not in kinds:
        return pl.coalesce(clock, within)
    return pl.coalesce(clock, within, _first(field, _text(column, kinds), _parse_time, _formats(field, _CLOCK, _CLOCK)))


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
    seconds = pl.sum_horizontal(
        p.cast(pl.Float64, strict=False).fill_null(0) * u for p, u in zip(part_of[1:], units, strict=True)
    )
    signed = pl.when(part_of[0] == "-").then(-seconds).otherwise(seconds)
    complete = text.str.contains(pattern) & text.str.contains(r"\d") & ~text.str.ends_with("T")
    return pl.when(complete).then((signed * 1_000_000).round().cast(pl.Int64, strict=False)).cast(pl.Duration("us"))


def is_json(text: str, kind: type | tuple[type, ...] = object) -> bool:
    """Whether a text is JSON that `jsonb` can hold, and its value of that Python type."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_refuse_huge)
        # jsonb has no NUL and no half of a surrogate pair.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, kind) and _ESCAPED_NUL.search(text) is None


_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
#: `numeric` has 131,072 digits before the decimal point and 16,383 behind it.
_LARGEST_EXPONENT = 16_000


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _refuse_huge(text: str) -> float:
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) + abs(int(exponent or 0)) > _LARGEST_EXPONENT:
        raise ValueError(text)
    return float(mantissa)  # the value is not used, only that there is one


def _json(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    wanted = {"object": dict, "geojson": dict, "array": list}[field.type]
    return _text(column, kinds).map_elements(lambda t: t if is_json(t, wanted) else None, return_dtype=pl.String)


def _list(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    delimiter, item = field.options.get("delimiter", ","), _ITEMS[field.options.get("itemType", "string")]

    def parse(text: str) -> str | None:
        try:
            return f"[{', '.join(item(t) for t in text.split(delimiter))}]"
        except ValueError:
            return None

    return raw_text(column, kinds).map_elements(parse, return_dtype=pl.String)


def _item(expression: str) -> Callable[[str], str]:
    """Items that are JSON as they are written, when they look like that."""

    def check(text: str) -> str:
        if not re.fullmatch(expression, text, re.ASCII):
            raise ValueError(text)
        return text

    return check


def _stamp_item(parse: Callable[[str], Any]) -> Callable[[str], str]:
    def check(text: str) -> str:
        parse(text)
        return json.dumps(text)

    return check


_ITEMS: dict[str, Callable[[str], str]] = {
    "string": lambda text: json.dumps(text, ensure_ascii=False),
    "integer": _item(r"-?(?:0|[1-9]\d*)"),
    "number": _item(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?"),
    "boolean": _item("true|false"),
    "date": _stamp_item(date.fromisoformat),
    "time": _stamp_item(time.fromisoformat),
    "datetime": _stamp_item(datetime.fromisoformat),
}


def _geopoint(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """PostgreSQL's spelling of a point, `(lon,lat)`."""

    def parse(text: str) -> str | None:
        try:
            if field.format == "default":
                lon, lat = (json.loads(t) for t in text.split(","))
            else:
                value = json.loads(text)
                lon, lat = (value["lon"], value["lat"]) if field.format == "object" else value
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        numbers = all(type(n) in {int, float} for n in (lon, lat))
        return f"({lon!r},{lat!r})" if numbers and abs(lon) <= _LONGITUDE and abs(lat) <= _LATITUDE else None

    return _text(column, kinds).map_elements(parse, return_dtype=pl.String)


_CONVERTERS: dict[str, Callable[[Field, int, list[str]], pl.Expr]] = {
    "string": _string, "any": _string, "number": _number, "integer": _integer, "boolean": _boolean,
    "date": _date, "datetime": _datetime, "time": _time, "year": _year, "yearmonth": _yearmonth,
    "duration": _duration, "object": _json, "array": _json, "geojson": _json, "list": _list, "geopoint": _geopoint,
}  # fmt: skip


def literal(field: Field, value: Any) -> Any:
    """A bound or enum member, as written in the contract, as a value of the field's type; None if it has none.

    YAML and TOML have dates of their own; they are taken in ISO 8601 whatever the field's format.
    """
    if value is None:
        return None
    found = _literal(field, value)
    if found is None and field.type in {"date", "time", "datetime"}:
        return _literal(replace(field, format="default"), value)
    return found


def _literal(field: Field, value: Any) -> Any:
    kind, cell = _cell_of(field, value)
    try:
        frame = pl.DataFrame({part(0, kind): pl.Series([cell], dtype=VALUE_PARTS[kind])})
    except (OverflowError, TypeError):
        return None
    return frame.select(convert(field, 0, [kind]).alias("v")).item()


def _cell_of(field: Field, value: Any) -> tuple[str, Any]:
    """The cell (kind and value) that would mean what a contract's literal says."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, (int, float)) and field.type != "integer":
        return "number", value
    if isinstance(value, (date, time)):
        return "text", value.isoformat()
    return "text", value if isinstance(value, str) else json.dumps(value, default=str)


def to_text(field_type: str, value: pl.Expr) -> pl.Expr:
    """Values of a field type as text for a text column of the target."""
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
    """`iso_duration`, with microseconds where there are any (only texts can have them)."""
    total = value.dt.total_microseconds()
    size = total.abs()
    sign = pl.when(total < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    clock = [c.cast(pl.String).str.zfill(2) for c in ((size // 60_000_000) % 60, (size // 1_000_000) % 60)]
    micro = pl.format(
        "{}{}:{}:{}.{}", sign, size // 3_600_000_000, *clock, (size % 1_000_000).cast(pl.String).str.zfill(6)
    )
    return pl.when(total % 1000 == 0).then(iso_duration(value)).otherwise(micro)
