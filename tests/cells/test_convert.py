"""What cells mean as values of each Table Schema type, from native cells and from texts."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.judging import outcome

from importer.cells.text import shortest_text
from importer.postgres.types import PgType, parse_type
from importer.validation.cast import fit

TYPE = ["type-error"]
NOON = datetime(2020, 5, 1, 12)
DAY = datetime(2020, 5, 1)

CASES: list[tuple[str, dict[str, Any], list[tuple[Any, Any]]]] = [
    ("string", {"type": "string"}, [("007", "007"), (" a ", " a "), (7, "7"), (0.1, "0.1"), (1e-10, "1e-10"), (True,
        "true"), (DAY, "2020-05-01"), (NOON, "2020-05-01T12:00:00"), (time(1, 2, 3), "01:02:03"),
        (timedelta(hours=26), "26:00:00"), (None, None)]),
    ("any", {"type": "any"}, [("x", "x"), (1.5, "1.5"), (False, "false")]),
    ("email", {"format": "email"}, [("a@b.co", "a@b.co"), ("a@b", TYPE), ("a b@c.d", TYPE), ("a@b.c@d.e", TYPE), (5,
        TYPE)]),
    ("uri", {"format": "uri"}, [("https://x.y/z?q=1", "https://x.y/z?q=1"), ("mailto:a@b.c", "mailto:a@b.c"),
        ("x.y/z", TYPE), ("http://a b", TYPE)]),
    ("uuid", {"format": "uuid"}, [("A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("a0eebc999c0b4ef8bb6d6bb9bd380a11", TYPE), ("x", TYPE)]),
    ("binary", {"format": "binary"}, [("aGk=", "aGk="), ("aGk", TYPE), ("$$$$", TYPE)]),
    ("number", {"type": "number"}, [(1.5, 1.5), (-0.5, -0.5), (2**53, float(2**53)), ("1.5", 1.5), (" +2e3 ", 2000.0),
        (".5", 0.5), ("1,5", TYPE), ("1.5.2", TYPE), ("NaN", TYPE), ("1e400", TYPE), ("1e-400", TYPE), ("0e5", 0.0),
        ("0.1234567890123456", TYPE), ("0x10", TYPE), ("1_000", TYPE), (True, TYPE), (DAY, TYPE), ("", None)]),
    ("number, German", {"type": "number", "decimalChar": ",", "groupChar": "."}, [("1.234.567,5", 1234567.5),
        ("1234,5", 1234.5), ("-1.234", -1234.0), ("1.5", TYPE), ("1.2345", TYPE), ("1,5.0", TYPE), ("1,5,0", TYPE),
        (1.5, 1.5)]),
    ("number, decimal comma", {"type": "number", "decimalChar": ","}, [("1,5", 1.5), ("1.5", TYPE)]),
    ("number, Indian groups", {"type": "number", "groupChar": ","}, [("12,34,567.5", 1234567.5), ("1,2", TYPE),
        (",123", TYPE)]),
    ("number, with words", {"type": "number", "bareNumber": False, "groupChar": ","}, [("€ 1,234.5", 1234.5), ("95%",
        95.0), ("EUR -5", -5.0), ("- 5", TYPE), ("none", TYPE)]),
    ("number, signs behind and around", {"type": "number", "bareNumber": False, "groupChar": ".", "decimalChar": ","},
        [("5.359,57-", -5359.57), ("5 -", -5.0), ("5- €", -5.0), ("5 €-", -5.0), ("5 EUR -", -5.0), ("(12,50)", -12.5),
        ("(3 €)", -3.0), ("Rs.5", 5.0), ("5 kr.", 5.0),
        ("\N{EN DASH}5", TYPE), ("\N{EM DASH} 5 €", TYPE), ("5\N{EN DASH}", TYPE), ("5 \N{EN DASH} €", TYPE), ("$(3)", -3.0), ("-€5", -5.0), ("€-5", -5.0), ("\N{MINUS SIGN}5", -5.0), ("5,-", 5.0),
        ("5,\N{EN DASH} €", 5.0), ("-5-", TYPE), ("(-5)", TYPE), ("3-5 kg", TYPE), ("5 -3", TYPE), ("(1) 2", TYPE)]),
    ("number, percent as fraction", {"type": "number", "bareNumber": False, "excel": {"percent": "fraction"}},
        [("57.3%", 0.573), ("1.1 %", 0.011), ("-5%", -0.05), (0.25, 0.25), ("5%-", TYPE), ("(5%)", TYPE)]),
    ("integer", {"type": "integer"}, [(5, 5), (-0.0, 0), (5.5, TYPE), (2**53, 2**53), (2.0**54, TYPE), ("007", 7),
        ("+5", 5), ("5.0", TYPE), ("9223372036854775807", 2**63 - 1), ("9223372036854775808", TYPE), (True, TYPE),
        (timedelta(hours=1), TYPE), ("١٢", TYPE)]),
    ("integer, groups", {"type": "integer", "groupChar": " "}, [("1 234 567", 1234567), ("12 34", TYPE),
        ("1\N{NO-BREAK SPACE}234\N{THIN SPACE}567", 1234567), ("12\N{NARROW NO-BREAK SPACE}34", TYPE)]),
    ("boolean", {"type": "boolean"}, [(True, True), (False, False), ("true", True), ("TRUE", True), ("1", True), (1,
        True), (0, False), ("False", False), ("yes", TYPE), (2, TYPE), (DAY, TYPE)]),
    ("boolean, own words", {"type": "boolean", "trueValues": ["ja"], "falseValues": ["nein", "0"]}, [("ja", True),
        ("nein", False), (0, False), ("true", TYPE), (1, TYPE), (True, True)]),
    ("date", {"type": "date"}, [(DAY, date(2020, 5, 1)), (NOON, TYPE), ("2020-05-01", date(2020, 5, 1)), ("2020-5-1",
        TYPE), ("2020-02-30", TYPE), ("01.05.2020", TYPE), (43952, TYPE), (time(1), TYPE)]),
    ("date, any", {"type": "date", "format": "any"}, [("2020-5-1", date(2020, 5, 1)), ("1.5.2020", date(2020, 5, 1)),
        ("2020/05/01", date(2020, 5, 1)), ("20200501", date(2020, 5, 1)), ("2020105", TYPE), ("1.5.20", TYPE)]),
    ("date, pattern", {"type": "date", "format": "%d/%m/%y"}, [("01/05/20", date(2020, 5, 1)), ("1/5/20",
        date(2020, 5, 1)), ("1/5/2020", TYPE), ("01/05/20 ", TYPE), (DAY, date(2020, 5, 1))]),
    ("date, month name", {"type": "date", "format": "%d %b %Y"}, [("01 May 2020", date(2020, 5, 1)), ("01 Mai 2020",
        TYPE)]),
    ("time", {"type": "time"}, [(time(1, 2, 3), time(1, 2, 3)), (timedelta(hours=3), time(3)), (timedelta(hours=25),
        TYPE), ("10:00", time(10)), ("10:00:01.5", time(10, 0, 1, 500000)), ("23:59:60", TYPE), ("24:00", TYPE),
        ("9:00", TYPE), ("10:00:00.1234567", TYPE), (0.5, TYPE)]),
    ("time, pattern", {"type": "time", "format": "%I:%M %p"}, [("9:05 pm", time(21, 5)), ("13:05 pm", TYPE)]),
    ("datetime", {"type": "datetime"}, [(NOON, NOON), (DAY, DAY), ("2020-05-01T12:00:00", NOON), ("2020-05-01 12:00",
        NOON), ("2020-05-01", DAY), ("2020-05-01T12:00:00.123456", NOON.replace(microsecond=123456)),
        ("2020-05-01T12:00:00.1234567", TYPE), ("2020-05-01T23:59:60", TYPE), ("2020-05-01T12:00:00Z", TYPE),
        ("2020-05-01T12:00:00+02:00", TYPE), (1, TYPE)]),
    ("datetime, any", {"type": "datetime", "format": "any"}, [("1.5.2020 9:30", DAY.replace(hour=9, minute=30)),
        ("1.5.2020", DAY)]),
    ("datetime, pattern", {"type": "datetime", "format": "%d.%m.%Y %H:%M:%S.%f"}, [("01.05.2020 12:00:00.5",
        NOON.replace(microsecond=500000)), ("01.05.2020 12:00:00", TYPE)]),
    ("datetime, pattern of a day", {"type": "datetime", "format": "%d.%m.%Y"}, [("01.05.2020", DAY), ("2020-05-01",
        TYPE)]),
    ("year", {"type": "year"}, [(2020, 2020), ("2020", 2020), ("0099", 99), ("99", TYPE), (2020.5, TYPE), (10000,
        TYPE), (DAY, TYPE)]),
    ("yearmonth", {"type": "yearmonth"}, [(DAY, "2020-05"), (datetime(2020, 5, 2), TYPE), ("2020-05", "2020-05"),
        ("2020-13", TYPE), (2020, TYPE)]),
    ("duration", {"type": "duration"}, [(timedelta(hours=26), timedelta(hours=26)), (time(1), timedelta(hours=1)),
        ("P1DT2H", timedelta(days=1, hours=2)), ("-PT1.5S", timedelta(seconds=-1.5)), ("PT0.000001S",
        timedelta(microseconds=1)),
        ("P100000000DT0.123457S", timedelta(days=100_000_000, microseconds=123_457)), ("P106751992D", TYPE),
        ("-P106751991DT4H0M54.775807S", -timedelta(days=106_751_991, hours=4, seconds=54, microseconds=775_807)),
        ("P106751991DT4H0M54.775808S", TYPE), ("P99999999999999999999D", TYPE), ("P\u0661D", TYPE), ("P2W", timedelta(weeks=2)), ("P1Y", TYPE), ("P1M", TYPE), ("PT", TYPE), ("P",
        TYPE), ("1:00", TYPE), (1, TYPE)]),
    ("object", {"type": "object"}, [('{"a": 1}', '{"a": 1}'), ("[1]", TYPE), ('{"a": NaN}', TYPE),
        ('{"a": "\\u0000"}', TYPE), ('{"a": "\\\\u0000"}', '{"a": "\\\\u0000"}'), ('{"a": "\\ud800"}', TYPE),
        ('{"a": 1e999999}', TYPE), (5, TYPE), ("{", TYPE)]),
    ("array", {"type": "array"}, [("[1, 2]", "[1, 2]"), ("{}", TYPE), ("[" * 5000, TYPE)]),
    ("geojson", {"type": "geojson"}, [('{"type": "Point", "coordinates": [1, 2]}',
        '{"type": "Point", "coordinates": [1, 2]}'), ("[1]", TYPE)]),
    ("list", {"type": "list"}, [("a,b", '["a", "b"]'), ("", None), (5, '["5"]'), ('é,"', '["é", "\\""]')]),
    ("list of integers", {"type": "list", "itemType": "integer", "delimiter": ";"}, [("1;-2", "[1, -2]"), ("1,2",
        TYPE), ("1;x", TYPE), ("01", TYPE), (" 1", TYPE)]),
    ("list of numbers", {"type": "list", "itemType": "number"}, [("1.50,2e3", "[1.50, 2e3]"), ("nan", TYPE), ("1_0",
        TYPE)]),
    ("list of booleans", {"type": "list", "itemType": "boolean"}, [("true,false", "[true, false]"), ("yes", TYPE)]),
    ("list of dates", {"type": "list", "itemType": "date"}, [("2020-05-01", '["2020-05-01"]'), ("1.5.2020", TYPE)]),
    ("geopoint", {"type": "geopoint"}, [("90.5, -45", "(90.5,-45)"), ("90.5", TYPE), ("190,0", TYPE), ("nan,0", TYPE),
        ("1_0,0", TYPE)]),
    ("geopoint, array", {"type": "geopoint", "format": "array"}, [("[90.5, 45]", "(90.5,45)"), ("[true, 1]", TYPE),
        ("[1]", TYPE)]),
    ("geopoint, object", {"type": "geopoint", "format": "object"}, [('{"lon": 1, "lat": 2}', "(1,2)"), ('{"lon": 1}',
        TYPE)]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "cells"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cells_become_values(field: dict[str, Any], cells: list[tuple[Any, Any]]) -> None:
    assert outcome([cell for cell, _ in cells], field) == [expected for _, expected in cells]


@pytest.mark.parametrize(("field", "cells"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cells_alone_become_the_same_values(field: dict[str, Any], cells: list[tuple[Any, Any]]) -> None:
    """A cell means the same whatever other kinds its column holds."""
    for cell, expected in cells:
        assert outcome([cell], field) == [expected], cell


TEXTS: list[tuple[str, Any, str]] = [
    ("number", 1.5, "1.5"), ("integer", 5, "5"), ("boolean", True, "true"), ("date", DAY, "2020-05-01"), ("datetime",
        NOON, "2020-05-01T12:00:00"),
    ("datetime", "2020-05-01T12:00:00.000001", "2020-05-01T12:00:00.000001"), ("time", "10:00:00.000001",
        "10:00:00.000001"),
    ("time", time(1, 2, 3, 4000), "01:02:03.004"), ("duration", "-PT36H0.000001S", "-36:00:00.000001"), ("duration",
        timedelta(hours=36), "36:00:00"),
    ("year", "0099", "0099"), ("year", 2020, "2020"), ("yearmonth", DAY, "2020-05"), ("list", "a,b", "a,b"),
        ("geopoint", "1, 2", "1, 2"), ("object", '{"a":1}', '{"a":1}'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "cell", "text"), TEXTS)
def test_values_in_a_text_column(kind: str, cell: Any, text: str) -> None:
    assert outcome([cell], {"type": kind}, "text") == [text]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shortest_text_reads_back_equal(number: float) -> None:
    text = pl.select(shortest_text(pl.lit(number))).item()
    assert float(text) == number
    assert ("." in text or "e" in text) == (number != math.floor(number) or abs(number) >= 2**53)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**11), max_value=10**11))
def test_number_texts_become_the_nearest_float(number: Decimal) -> None:
    assert outcome([f"{number:f}"], {"type": "number"}) == [float(number)]


@given(
    st.datetimes(datetime(1900, 3, 1), datetime(9999, 12, 31)),
    st.sampled_from(["%Y-%m-%dT%H:%M:%S.%f", "%d.%m.%Y %H:%M:%S.%f", "%y%m%d %I:%M:%S.%f %p", "%j/%Y %H:%M:%S.%f"]),
)
def test_datetime_patterns_agree_with_python(stamp: datetime, form: str) -> None:
    text = stamp.strftime(form)
    assert outcome([text], {"type": "datetime", "format": form}) == [datetime.strptime(text, form)]


@given(st.timedeltas(timedelta(days=-9999), timedelta(days=9999)))
def test_duration_texts(length: timedelta) -> None:
    seconds, micro = divmod(abs(length) // timedelta(microseconds=1), 10**6)
    text = f"{'-' if length < timedelta(0) else ''}PT{seconds}.{micro:06}S"
    assert outcome([text], {"type": "duration"}) == [length]


def _numeric(number: float, precision: int, scale: int) -> str | None:
    return pl.select(fit("number", pl.lit(number), PgType("numeric", (precision, scale)), "UTC").value).item()


@given(
    st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.decimals(-(10**6), 10**6, places=3).map(float)),
    st.integers(1, 40),
    st.integers(-5, 40),
)
def test_numeric_keeps_the_value_but_for_noise(number: float, precision: int, scale: int) -> None:
    """What goes into `numeric(p,s)` is within 15 digits of the cell, has at most `s` decimals and `p` digits."""
    written, exact = _numeric(number, precision, scale), Decimal(repr(number))
    step = Fraction(10) ** -scale
    nearest = round(Fraction(exact) / step) * step
    if written is None:
        too_big = abs(nearest) >= Fraction(10) ** (precision - scale)
        assert too_big or abs(Fraction(exact) - nearest) > abs(Fraction(exact)) / 10**15
    else:
        value = Fraction(written)
        assert abs(value - Fraction(exact)) <= abs(Fraction(exact)) / 10**15
        assert (value / step).denominator == 1
        assert abs(value) < Fraction(10) ** (precision - scale)


@pytest.mark.parametrize(
    ("number", "precision", "scale", "written"),
    [
        (0.1 + 0.2, 5, 2, "0.30"), (0.125, 5, 2, None), (0.12, 5, 2, "0.12"), (999.995, 5, 2, None), (999.99, 5, 2,
        "999.99"), (1000.0, 5, 2, None),
        (-0.0, 5, 2, "0"), (1e22, 30, 0, "10000000000000000000000"), (1e-7, 10, 7, "0.0000001"), (1e300, 1000, 2,
        f"{10**300}.00"),
        (1200.0, 3, -2, "1200"), (1250.0, 3, -2, None), (0.05, 2, 2, "0.05"), (1.0, 2, 2, None), (1.5, 1000, 400,
        "1.5" + "0" * 399),
    ],
)  # fmt: skip
def test_numeric_bounds(number: float, precision: int, scale: int, written: str | None) -> None:
    found = _numeric(number, precision, scale)
    assert (found is None) == (written is None)
    assert (
        found is None
        or Decimal(found) == Decimal(str(written))
        or abs(Decimal(found) - Decimal(str(written))) <= Decimal(number) * Decimal("1e-15")
    )


@given(
    st.one_of(
        st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False).map(lambda x: round(x, 1))
    ),
    st.sampled_from(["smallint", "integer", "bigint"]),
)
def test_integer_columns_hold_the_number_or_nothing(number: float, name: str) -> None:
    found = outcome([number], {"type": "number"}, name)[0]
    bits = {"smallint": 15, "integer": 31, "bigint": 63}[name]
    as_cell = float(number)
    if found == TYPE:
        assert as_cell != math.floor(as_cell) or not -(2**bits) <= as_cell < 2**bits or abs(as_cell) > 2**53
    else:
        assert found == as_cell
        assert -(2**bits) <= found < 2**bits


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_real_columns_round_fractions_only(number: float) -> None:
    found = outcome([number], {"type": "number"}, "real")[0]
    single = pl.Series([number]).cast(pl.Float32).cast(pl.Float64)[0]
    if found == TYPE:
        assert single != number
        assert number == math.floor(number) or math.isinf(single) or single == 0
    else:
        assert found == single
        assert number != math.floor(number) or found == number


ZONED = [
    (datetime(2021, 3, 28, 2, 30), TYPE),  # skipped by the clocks
    (datetime(2021, 10, 31, 2, 30), datetime(2021, 10, 31, 0, 30, tzinfo=UTC)),  # twice: the earlier one
    (datetime(2021, 7, 1), datetime(2021, 6, 30, 22, tzinfo=UTC)),
]


def test_timestamptz_is_taken_in_the_zone() -> None:
    found = outcome([stamp for stamp, _ in ZONED], {"type": "datetime"}, "timestamptz", timezone="Europe/Zurich")
    assert found == [expected for _, expected in ZONED]


@pytest.mark.parametrize(
    ("pg_type", "cells", "expected"),
    [
        ("timestamp(0)", [NOON, NOON.replace(microsecond=500000)], [NOON, TYPE]),
        ("timestamp(1)", [NOON.replace(microsecond=500000)], [NOON.replace(microsecond=500000)]),
        ("varchar(3)", ["abc", "abcd", "é" * 3, "a\0"], ["abc", TYPE, "é" * 3, TYPE]),
        ("char(3)", ["a", "abcd"], ["a", TYPE]),
        ("uuid", ["a0eebc999c0b4ef8bb6d6bb9bd380a11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
        "{a0eebc999c0b4ef8bb6d6bb9bd380a11"], ["a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", TYPE]),
        ("jsonb", ["1", '"x"', "x", "NaN"], ["1", '"x"', TYPE, TYPE]),
        ("bit(3)", ["101", "10", "1010", "102"], ["101", TYPE, TYPE, TYPE]),
        ("bit varying(3)", ["10", "1010"], ["10", TYPE]),
        ("name", ["a" * 63, "a" * 64], ["a" * 63, TYPE]),
    ],
)  # fmt: skip
def test_stamps_and_texts_fit_their_columns(pg_type: str, cells: list[Any], expected: list[Any]) -> None:
    kind = "datetime" if pg_type.startswith("timestamp") else "string"
    assert outcome(cells, {"type": kind}, pg_type) == expected


def test_enum_labels() -> None:
    assert outcome(["a", "c"], {}, PgType("mood", labels=("a", "b"))) == ["a", TYPE]


NAMES = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "date",
    "time",
    "timestamp",
    "timestamp with time zone",
    "time with time zone",
    "interval",
    "text",
    "character varying",
    "character",
    "uuid",
    "jsonb",
    '"My Type"',
    "s.t",
]


@given(st.sampled_from(NAMES), st.sampled_from([(), (5,), (12, 2), (3, -2)]), st.booleans())
def test_type_reads_back_from_its_spelling(name: str, args: tuple[int, ...], array: bool) -> None:
    args = (1,) if name == "character" and not args else args
    assert parse_type(str(PgType(name, args, array))) == PgType(name, args, array)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VARCHAR(20)", PgType("character varying", (20,))), ("int", PgType("integer")), ("timestamptz(3)",
        PgType("timestamp with time zone", (3,))),
        ("timestamp (3) without time zone", PgType("timestamp", (3,))), ("float(24)", PgType("real")), ("float(25)",
        PgType("double precision")),
        ("float8", PgType("double precision")), ("numeric( 12 , 2 )", PgType("numeric", (12, 2))), ("char",
        PgType("character", (1,))), ("text[]", PgType("text", array=True)),
        ("text; drop table x", None), ("text) --", None), ("", None), ("int'", None),
    ],
)  # fmt: skip
def test_type_spellings(text: str, expected: PgType | None) -> None:
    assert parse_type(text) == expected
