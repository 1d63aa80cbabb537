"""Converts texts that hold more than one value: JSON, lists, geographic points."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import polars as pl

from .frame import texts_or_nulls
from .text import raw_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from .field import Field

_LONGITUDE, _LATITUDE = 180, 90
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
#: `numeric` has up to 131,072 digits before the decimal point and 16,383 after it.
_LARGEST_EXPONENT = 16_000


def is_json(text: str, kind: type | tuple[type, ...] = object) -> bool:
    """Return whether a text is JSON that `jsonb` can hold, and its value is an instance of `kind`."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_refuse_huge_number)
        # jsonb cannot hold NUL or a lone surrogate.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, kind) and _ESCAPED_NUL.search(text) is None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are extensions of Python, not JSON


def _refuse_huge_number(text: str) -> float:
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) + abs(int(exponent or 0)) > _LARGEST_EXPONENT:
        raise ValueError(text)
    return float(mantissa)  # the value is not used


def to_json(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the texts of a column that are JSON of the field's type; null for the others."""
    wanted = {"object": dict, "geojson": dict, "array": list}[field.type]
    return texts_or_nulls(column, kinds).map_elements(
        lambda t: t if is_json(t, wanted) else None, return_dtype=pl.String
    )


def to_list(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the texts of a column as JSON arrays of their items; null if an item is not of the field's `itemType`."""
    delimiter, item = field.options.get("delimiter", ","), _ITEM_PARSERS[field.options.get("itemType", "string")]

    def parse(text: str) -> str | None:
        try:
            return f"[{', '.join(item(t) for t in text.split(delimiter))}]"
        except ValueError:
            return None

    return raw_text(column, kinds).map_elements(parse, return_dtype=pl.String)


def _json_item_parser(expression: str) -> Callable[[str], str]:
    """Return a parser of items that are valid JSON as written if they match a regular expression."""

    def check(text: str) -> str:
        if not re.fullmatch(expression, text, re.ASCII):
            raise ValueError(text)
        return text

    return check


def _temporal_item_parser(parse: Callable[[str], Any]) -> Callable[[str], str]:
    def check(text: str) -> str:
        parse(text)
        return json.dumps(text)

    return check


_ITEM_PARSERS: dict[str, Callable[[str], str]] = {
    "string": lambda text: json.dumps(text, ensure_ascii=False),
    "integer": _json_item_parser(r"-?(?:0|[1-9]\d*)"),
    "number": _json_item_parser(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?"),
    "boolean": _json_item_parser("true|false"),
    "date": _temporal_item_parser(date.fromisoformat),
    "time": _temporal_item_parser(time.fromisoformat),
    "datetime": _temporal_item_parser(datetime.fromisoformat),
}


def to_geopoint(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the points of a column in PostgreSQL's syntax, `(lon,lat)`, in degrees."""

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

    return texts_or_nulls(column, kinds).map_elements(parse, return_dtype=pl.String)
