"""Says what must become of a cell in an existing column, type by type, by the rules of Python's decimal and datetime.

This is written from the README and from Table Schema, and shares nothing with the program but names of types.
"""

from __future__ import annotations

import json
import math
import re
import struct
import uuid
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.randomsheets import Cell

#: A cell whose row must be rejected, with the cell's address among the reasons.
REJECT = object()
#: Whole numbers below this are written with all their digits by every program, so that these digits are meant.
_EXACT = 10**16
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1)
_RANGES = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_TRUE, _FALSE = {"true", "True", "TRUE", "1"}, {"false", "False", "FALSE", "0"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_DURATION = re.compile(
    r"(-?)P(?=.)(?:([0-9]+)W)?(?:([0-9]+)D)?(?:T(?=.)(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+(?:\.[0-9]{1,6})?)S)?)?"
)
#: A decimal number beyond these digits is not always the one that a float holds.
_FLOAT_DIGITS = 15


@dataclass(frozen=True)
class ColumnType:
    """A type of a column in a random table.

    Attributes:
        sql: as CREATE TABLE spells it; `{own}` is a schema that is on no search path.
        shown: SQL for the value of `{x}`, in a form that every server and session writes alike.
        expect: the value that a cell which is not missing must have, as `shown` and `read` give it, or `REJECT`.
        read: makes what `shown` gave comparable.
        named: whether the address of a rejected cell is known; the server, too, refuses values, and names no column.
    """

    sql: str
    shown: str
    expect: Callable[[Cell], Any]
    read: Callable[[Any], Any] = lambda value: value
    named: bool = True


def expected(cell: Cell | None, column: ColumnType) -> Any:
    """What a cell becomes in a column: None where it is empty, `REJECT`, or its value."""
    if cell is None or (cell.kind == "text" and not cell.value):
        return None
    if cell.kind in {"error", "formula", "unreadable"} or (cell.kind == "text" and "\0" in cell.value):
        return REJECT
    return column.expect(cell)


# ---- NUMBERS ----------------------------------------------------------------------------------------------------


def _number(cell: Cell) -> Any:
    """The number that a cell means, as a float; `REJECT` if none does."""
    if cell.kind == "number":
        return float(cell.value)
    text = cell.value.strip() if cell.kind == "text" else ""
    if not _NUMBER.fullmatch(text):
        return REJECT
    digits = re.sub(r"\D", "", re.split("[eE]", text)[0]).lstrip("0")
    value = float(text)
    lost = not math.isfinite(value) or (digits and abs(value) < 2.2250738585072014e-308)
    return REJECT if len(digits) > _FLOAT_DIGITS or lost else value


def integer(name: str) -> ColumnType:
    """`smallint`, `integer`, `bigint`."""

    def expect(cell: Cell) -> Any:
        if cell.kind == "number":
            whole = cell.value == math.floor(cell.value) and abs(cell.value) < _EXACT
            value = int(cell.value) if whole else None
        else:
            text = cell.value.strip() if cell.kind == "text" else ""
            value = int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else None
        in_range = value is not None and -_RANGES[name] <= value < _RANGES[name]
        return value if in_range else REJECT

    return ColumnType(name, "{x}", expect)


def numeric(precision: int | None = None, scale: int = 0) -> ColumnType:
    """`numeric`, with or without a precision: digits beyond the 15 that Excel shows may be rounded away."""

    def expect(cell: Cell) -> Any:
        number = _number(cell)
        if number is REJECT:
            return REJECT
        exact = Decimal(repr(number))
        if precision is None:
            return exact
        with localcontext(prec=1000):
            rounded = exact.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN)
            is_noise = abs(rounded - exact) <= abs(exact).scaleb(-_FLOAT_DIGITS)
        return rounded if is_noise and abs(rounded) < Decimal(10) ** (precision - scale) else REJECT

    args = "" if precision is None else f"({precision},{scale})"
    return ColumnType(f"numeric{args}", "{x}::text", expect, Decimal)


def _single(cell: Cell) -> Any:
    number = _number(cell)
    if number is REJECT:
        return REJECT
    try:
        (single,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return REJECT
    is_changed_whole = number == math.floor(number) and single != number
    return REJECT if is_changed_whole or (single == 0 != number) else single


def _boolean(cell: Cell) -> Any:
    if cell.kind == "boolean":
        return cell.value
    if cell.kind == "number":
        return bool(cell.value) if cell.value in {0, 1} else REJECT
    text = cell.value if cell.kind == "text" else ""
    return True if text in _TRUE else False if text in _FALSE else REJECT


# ---- DATES AND TIMES --------------------------------------------------------------------------------------------


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _stamp(cell: Cell) -> datetime | None:
    """The date and time that a cell means."""
    if cell.kind == "datetime":
        return cell.value
    if cell.kind == "text" and re.fullmatch(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_CLOCK})?", cell.value):
        try:
            return datetime.fromisoformat(_whole_fraction(cell.value))
        except ValueError:
            return None
    return None


def _whole_fraction(text: str) -> str:
    """An ISO text with six digits in its fraction, as older Pythons want it."""
    return re.sub(r"\.([0-9]+)$", lambda m: f".{m[1]:0<6}", text)


def stamp(name: str, digits: int = 6) -> ColumnType:
    """`timestamp` and `timestamptz`, in UTC."""

    def expect(cell: Cell) -> Any:
        value = _stamp(cell)
        if value is None or value.microsecond % 10 ** (6 - digits):
            return REJECT
        return _microseconds(value - _EPOCH)

    return ColumnType(name, "(extract(epoch from {x}) * 1000000)::bigint", expect)


def _date(cell: Cell) -> Any:
    value = _stamp(cell)
    is_day = value is not None and (value.time() == time() if cell.kind == "datetime" else len(cell.value) == 10)
    return value.date() if value is not None and is_day else REJECT


def clock(name: str, digits: int = 6) -> ColumnType:
    """`time`: also of durations below a day, which Excel shows alike."""

    def expect(cell: Cell) -> Any:
        value = _clock(cell)
        return REJECT if value is None or value.microsecond % 10 ** (6 - digits) else value

    return ColumnType(name, "{x}", expect)


def _clock(cell: Cell) -> time | None:
    if cell.kind == "time":
        return cell.value
    if cell.kind == "duration" and timedelta() <= cell.value < _DAY:
        return (datetime.min + cell.value).time()
    if cell.kind == "text" and re.fullmatch(_CLOCK, cell.value):
        try:
            return time.fromisoformat(_whole_fraction(cell.value))
        except ValueError:
            return None
    return None


def interval(digits: int = 6) -> ColumnType:
    """`interval`, in microseconds."""

    def expect(cell: Cell) -> Any:
        value = _length(cell)
        return REJECT if value is None or abs(value) >= 2**63 or value % 10 ** (6 - digits) else value

    name = "interval" if digits == 6 else f"interval({digits})"
    return ColumnType(name, "trunc(extract(epoch from {x}) * 1000000)::text", expect, int)


def _length(cell: Cell) -> int | None:
    if cell.kind == "duration":
        return _microseconds(cell.value)
    if cell.kind == "time":
        return _microseconds(datetime.combine(datetime.min, cell.value) - datetime.min)
    found = _DURATION.fullmatch(cell.value) if cell.kind == "text" else None
    if found is None:
        return None
    seconds = sum(
        Decimal(count or 0) * unit for count, unit in zip(found.groups()[1:], (604800, 86400, 3600, 60, 1), strict=True)
    )
    return int(seconds * 1_000_000) * (-1 if found[1] else 1)


# ---- TEXTS ------------------------------------------------------------------------------------------------------


def number_text(number: float) -> str:
    """The shortest digits that read back as this float; a power of ten where there would be many zeros (as polars)."""
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)
    if 0 < point <= 16:
        shown = f"{text[:point]:0<{point}}.{text[point:] or 0}"
    elif -5 < point <= 0:
        shown = f"0.{'0' * -point}{text}"
    else:
        shown = f"{text[0]}{'.' + text[1:] if text[1:] else ''}e{point - 1:+}"
    return f"{'-' * sign}{shown}"


def _as_text(cell: Cell) -> Any:
    """What a column of texts holds of a cell."""
    match cell.kind:
        case "number" if cell.value == math.floor(cell.value) and abs(cell.value) < _EXACT:
            return str(int(cell.value))
        case "number":
            return number_text(cell.value)
        case "boolean":
            return "true" if cell.value else "false"
        case "datetime" if cell.value.time() == time():
            return cell.value.date().isoformat()
        case "datetime" | "time":
            return cell.value.isoformat(timespec="milliseconds" if cell.value.microsecond else "auto")
        case "duration":
            size = abs(cell.value) // timedelta(milliseconds=1)
            minutes, rest = divmod(size, 60_000)
            fraction = f".{rest % 1000:03}" if rest % 1000 else ""
            sign = "-" if cell.value < timedelta() else ""
            return f"{sign}{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}{fraction}"
    return cell.value


def text(name: str, most: int | None = None, *, unit: Callable[[str], Any] = str, padded: bool = False) -> ColumnType:
    """A type of texts, with at most that many characters (or bytes, by `unit`)."""

    def expect(cell: Cell) -> Any:
        value = _as_text(cell)
        if most is not None and len(unit(value)) > most:
            return REJECT
        return value.ljust(most) if most is not None and padded else value

    return ColumnType(name, "{x}" if name != "name" else "{x}::text", expect)


def matching(sql: str, accepts: Callable[[str], Any], *, named: bool = True) -> ColumnType:
    """A type of which only some texts are values; `accepts` gives the value, or None."""

    def expect(cell: Cell) -> Any:
        found = accepts(_as_text(cell))
        return REJECT if found is None else found

    return ColumnType(sql, "{x}::text", expect, named=named)


def bits(sql: str, fewest: int, most: int | None) -> ColumnType:
    """`bit` and `bit varying`."""
    form = re.compile(rf"[01]{{{fewest},{most if most is not None else ''}}}")
    return matching(sql, lambda t: t if form.fullmatch(t) else None)


def _uuid(given: str) -> str | None:
    form = r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
    return str(uuid.UUID(given)) if re.fullmatch(rf"{form}|\{{{form}\}}", given) else None


def _json(given: str) -> Any:
    """The value of a JSON text, with numbers as decimals, in a tuple; None if the text is no JSON."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        return (json.loads(given, parse_constant=refuse, parse_float=Decimal, parse_int=Decimal),)
    except ValueError:
        return None


def _positive(cell: Cell) -> Any:
    value = integer("integer").expect(cell)
    return value if value is REJECT or value > 0 else REJECT


TYPES = {
    kind.sql: kind
    for kind in (
        integer("smallint"),
        integer("integer"),
        integer("bigint"),
        numeric(),
        numeric(6, 2),
        numeric(20, 10),
        numeric(5, 5),
        ColumnType("real", "{x}::float8", _single),
        ColumnType("double precision", "{x}", _number),
        ColumnType("boolean", "{x}", _boolean),
        ColumnType("date", "{x}", _date),
        stamp("timestamp"),
        stamp("timestamp(0)", 0),
        stamp("timestamptz"),
        stamp("timestamptz(2)", 2),
        clock("time"),
        clock("time(1)", 1),
        interval(),
        interval(0),
        text("text"),
        text("varchar"),
        text("varchar(4)", 4),
        text("char(5)", 5, padded=True),
        text("name", 63, unit=str.encode),
        matching("uuid", _uuid),
        ColumnType("json", "{x}::text", matching("json", _json).expect, _json),
        ColumnType("jsonb", "{x}::text", matching("jsonb", _json).expect, _json),
        bits("bit(3)", 3, 3),
        bits("bit varying(4)", 0, 4),
        bits("bit varying", 0, None),
        matching("{own}.mood", lambda t: t if t in {"sad", "ok", "7", "true"} else None),
        ColumnType("{own}.positive", "{x}", _positive, named=False),
        text("{own}.short", 3),
        matching("inet", lambda t: f"{t}/32" if re.fullmatch(r"10\.0\.0\.[0-9]", t) else None, named=False),
    )
}
#: What the types of a schema of its own are.
OWN_TYPES = (
    "CREATE TYPE {own}.mood AS ENUM ('sad', 'ok', '7', 'true')",
    "CREATE DOMAIN {own}.positive AS integer CHECK (value > 0)",
    "CREATE DOMAIN {own}.short AS varchar(3)",
)
