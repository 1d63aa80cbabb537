"""Converts cells of any kind to values of a Table Schema field type.

Each converter takes a field and the kinds that a sheet column holds in one window, and returns an expression that is
null for every cell that has no value of that type. Missing cells and cells without a value are handled by `validate`.
Lexical forms are those of Table Schema (Data Package v2); dates given as text follow `format`.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, time
from typing import TYPE_CHECKING, Any

import polars as pl

from .frame import MAX_EXACT_INTEGER, VALUE_KINDS, array_or_nulls, digits_or_none, part, texts_or_nulls
from .structured import to_geopoint, to_json, to_list
from .temporal import to_date, to_datetime, to_duration, to_time, to_yearmonth
from .text import as_text, raw_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from .field import Field

_TRUE = ["true", "True", "TRUE", "1"]
_FALSE = ["false", "False", "FALSE", "0"]
#: With more significant digits than this, two decimal numbers can share one 64-bit float.
_SAFE_DIGITS = 15
#: Smallest normal 64-bit float; below it a float keeps fewer than `_SAFE_DIGITS` digits.
_SMALLEST_NORMAL = 2.2250738585072014e-308


def convert(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    """Return the cells of a sheet column as values of the field's type; null for a cell without such a value.

    Args:
        field: the contract's field for this column.
        column: sheet column, from 0.
        kinds: the kinds that the column holds in this window.
    """
    values = [kind for kind in kinds if kind in VALUE_KINDS]
    return _CONVERTERS[field.type](field, column, values)


def _string(_field: Field, column: int, kinds: list[str]) -> pl.Expr:
    return raw_text(column, kinds)


#: What stands beside a number in parentheses, which is negative there: a currency, by its sign or code.
_CURRENCY = r"(?:\p{Sc}|[A-Za-z]{3})?\s*"
_IN_PARENTHESES = rf"^{_CURRENCY}\(\s*{_CURRENCY}(\d[\d\s.,'\x{{2019}}]*)\s*{_CURRENCY}\)\s*{_CURRENCY}$"
#: A minus behind the number; behind a decimal character it stands for no fraction (`5,-`).
_MINUS_BEHIND = rf"^([^\d+\-]*)(\d(?:[^\-]*\d)?)\s*(?:-\s*{_CURRENCY}|{_CURRENCY}-)$"
_NO_FRACTION = r"([.,])\s?[-\x{2013}\x{2014}]+$"
#: Any other dash beside the digits may be a minus.
_DASH = r"^\D*[\x{2013}\x{2014}]\D*\d|\d\s*[\x{2013}\x{2014}]"
#: Words around a number; a point behind a letter is that of an abbreviation (`Rs.5`, `5 kr.`).
_WORDS_BEFORE, _WORDS_BEHIND = r"^[^\d+\-.,]*\pL\.\s*|^[^\d+\-.,]+", r"[^\d.,\-]*\pL\.$|[^\d.,\-]+$"
#: Nobody sees which space stands between groups.
_SPACES = (" ", "\N{NO-BREAK SPACE}", "\N{THIN SPACE}", "\N{NARROW NO-BREAK SPACE}")


def _normalize_number_text(field: Field, text: pl.Expr) -> pl.Expr:
    """Return number texts with a dot as decimal point, and without group characters and surrounding words.

    A group has three digits, an inner group two or three (India); if the dot is the group character, `1.5` is not a
    number.
    """
    text = text.str.strip_chars().str.replace("\N{MINUS SIGN}", "-", literal=True)
    if field.options.get("bareNumber") is False:
        text = _without_words(field, text)
    group, decimal = field.options.get("groupChar", ""), field.options.get("decimalChar", ".")
    if group in _SPACES:
        text = text.str.replace_all(f"[{''.join(_SPACES)}]", group)
    if not group and decimal == ".":
        unclear = (field.options.get("excel") or {}).get("points") == "unclear"
        return pl.when(~text.str.contains(r"^[+-]?[1-9]\d{0,2}\.\d{3}$")).then(text) if unclear else text
    grouped = rf"\d{{1,3}}(?:{re.escape(group)}\d{{2,3}})*{re.escape(group)}\d{{3}}|" if group else ""
    form = rf"^[+-]?(?:{grouped}\d*)(?:{re.escape(decimal)}\d*)?(?:[eE][+-]?\d+)?$"
    text = pl.when(text.str.contains(form)).then(text)
    text = text.str.replace_all(group, "", literal=True) if group else text
    return text.str.replace_all(decimal, ".", literal=True)


def _without_words(field: Field, text: pl.Expr) -> pl.Expr:
    """Return number texts without the words around them; a minus behind, and parentheses, make a number negative.

    The standard removes what stands around a number. Of `5.359,57-` and `(12.50)` it would make other numbers.
    """
    text = text.str.replace(_IN_PARENTHESES, "-${1}").str.replace(_MINUS_BEHIND, "-${1}${2}")
    text = pl.when(~text.str.contains(r"^[^\d]*\([^)]*\d[^)]*\)[^\d]*$")).then(text)
    text = text.str.replace(r"^-\s*(?:\p{Sc}|[A-Za-z]{3})\s*(\d)", "-${1}").str.replace(_NO_FRACTION, "${1}")
    text = pl.when(~text.str.contains(_DASH)).then(text)
    if (field.options.get("excel") or {}).get("percent") == "fraction":
        text = text.str.replace(r"\s*%\s*$", "e-2")
        return text.str.replace(_WORDS_BEFORE, "")
    return text.str.replace(_WORDS_BEFORE, "").str.replace(_WORDS_BEHIND, "")


def _number(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    number = array_or_nulls(kinds, column, "number", pl.Float64)
    if "text" not in kinds:
        return number
    text = _normalize_number_text(field, texts_or_nulls(column, kinds))
    mantissa = text.str.replace(r"[eE].*$", "").str.replace_all(r"\D", "").str.strip_chars_start("0")
    digits = mantissa.str.len_chars()
    lexical = text.str.contains(r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$") & (digits <= _SAFE_DIGITS)
    parsed = pl.when(lexical).then(text).str.strip_prefix("+").cast(pl.Float64, strict=False)
    # As a float, 1e400 is infinite and 1e-400 is zero: neither is the value of the cell.
    return pl.coalesce(
        number, pl.when(parsed.is_finite() & ((parsed.abs() >= _SMALLEST_NORMAL) | (digits == 0))).then(parsed)
    )


def _integer(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    number = array_or_nulls(kinds, column, "number", pl.Float64)
    whole = (
        pl.when((number == number.floor()) & (number.abs() <= MAX_EXACT_INTEGER))
        .then(number)
        .cast(pl.Int64, strict=False)
    )
    text = _normalize_number_text(field, texts_or_nulls(column, kinds))
    parsed = pl.when(text.str.contains(r"^[+-]?\d+$")).then(text).str.strip_prefix("+").cast(pl.Int64, strict=False)
    digits = digits_or_none(column, kinds)
    if digits is not None:  # 38 digits, for columns of type numeric
        whole = pl.when(digits.is_null()).then(whole).otherwise(digits.cast(pl.Int128, strict=False))
    return pl.coalesce(whole, parsed)


def _boolean(field: Field, column: int, kinds: list[str]) -> pl.Expr:
    shown = pl.coalesce([as_text(column, k) for k in kinds if k in {"text", "number"}] or [pl.lit(None, pl.String)])
    true, false = field.options.get("trueValues", _TRUE), field.options.get("falseValues", _FALSE)
    parsed = pl.when(shown.is_in(true)).then(pl.lit(value=True)).when(shown.is_in(false)).then(pl.lit(value=False))
    return pl.coalesce(array_or_nulls(kinds, column, "boolean", pl.Boolean), parsed)


def _year(_field: Field, column: int, kinds: list[str]) -> pl.Expr:
    number = array_or_nulls(kinds, column, "number", pl.Float64)
    whole = pl.when((number == number.floor()) & (number.abs() <= 9999)).then(number)  # noqa: PLR2004 - xsd:gYear
    text = texts_or_nulls(column, kinds)
    parsed = pl.when(text.str.contains(r"^-?\d{4}$")).then(text).cast(pl.Int32, strict=False)
    return pl.coalesce(whole.cast(pl.Int32, strict=False), parsed)


_CONVERTERS: dict[str, Callable[[Field, int, list[str]], pl.Expr]] = {
    "string": _string, "any": _string, "number": _number, "integer": _integer, "boolean": _boolean,
    "date": to_date, "datetime": to_datetime, "time": to_time, "year": _year, "yearmonth": to_yearmonth,
    "duration": to_duration, "object": to_json, "array": to_json, "geojson": to_json, "list": to_list,
    "geopoint": to_geopoint,
}  # fmt: skip


def convert_literal(field: Field, value: Any) -> Any:
    """Return a bound or enum member of the contract as a value of the field's type; None if it has no such value.

    Native dates of YAML and TOML are parsed as ISO 8601, whatever the field's format.
    """
    if value is None:
        return None
    found = _literal_value(field, value)
    if found is None and field.type in {"date", "time", "datetime"}:
        return _literal_value(replace(field, format="default"), value)
    return found


def _literal_value(field: Field, value: Any) -> Any:
    kind, cell = _literal_cell(field, value)
    try:
        frame = pl.DataFrame({part(0, kind): pl.Series([cell], dtype=VALUE_KINDS[kind])})
    except (OverflowError, TypeError):
        return None
    return frame.select(convert(field, 0, [kind]).alias("v")).item()


def _literal_cell(field: Field, value: Any) -> tuple[str, Any]:
    """Return the kind and the value of a cell that holds the same as a literal of the contract."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, (int, float)) and field.type != "integer":
        return "number", value
    if isinstance(value, (date, time)):
        return "text", value.isoformat()
    return "text", value if isinstance(value, str) else json.dumps(value, default=str)
