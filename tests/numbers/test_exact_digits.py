"""Digits that a float does not hold are found, and texts that are only prints of a float are not taken for them."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer.numbers.exact_digits import exact_digits

CASES = {
    # long integers: as they are written, also where a float holds them
    "12345678901234567890": "12345678901234567890", "9007199254740993": "9007199254740993", "-9007199254740993.0": "-9007199254740993",
    "9007199254740994": "9007199254740994", "12345678901234567000": "12345678901234567000", "+4111111111111111111": "4111111111111111111",
    " 12345678901234567890 ": "12345678901234567890", "0012345678901234567890": "12345678901234567890",
    # decimals with more digits than a float
    "0.1234567890123456789": "0.1234567890123456789", "123456789012345.678": "123456789012345.678", "9007199254740993.5": "9007199254740993.5",
    "0.66666666666666666": "0.66666666666666666", "1.23456789012345678901E+3": "1234.56789012345678901", "-0.1234567890123456780": None,
    "100000000000000000000.5": "100000000000000000000.5", "0.00000000000000000000000012345678901234567": "0.00000000000000000000000012345678901234567",
    "00000000000.000000000000000000001E-400": "1E-421", "1e-400": "1E-400", "-1.5E-330": "-1.5E-330", "0E-400": None, "0.000": None,
    # floats as Excel (17 digits), C (%.25f), .NET and Java print them
    "0.28999999999999998": None, "1.1000000000000001": None, "4.4999999999999998E-2": None, "8.949999999999999": None, "0.30000000000000004": None,
    "0.1000000000000000055511151": None, "0.1000000000000000055511151231257827021181583404541015625": None, "1.2345678901234567E19": None,
    "4.9406564584124654E-324": None, "1.7976931348623157E+308": None, "12345678.900000000372529029846191": None,
    # numbers with few digits
    "1234567890.12345": None, "000000000000000001": None, "0.000000000000000001": None, "1.000000000000000000": None, "-0.0000000000000000": None,
    "123456789012345.0": None, "900719925474099.1": None,
    # no numbers
    "1234567890123456x": None, "nannannannannannan": None, "Infinity_and_so_on": None,
}  # fmt: skip


def found(texts: list[str]) -> list[str | None]:
    series = pl.Series(texts, dtype=pl.String)
    return exact_digits(series, series.str.strip_chars().str.strip_prefix("+").cast(pl.Float64, strict=False)).to_list()


def test_cases() -> None:
    assert dict(zip(CASES, found(list(CASES)), strict=True)) == CASES | {
        "-0.1234567890123456780": found(["-0.123456789012345678"])[0]
    }


def test_nothing_to_find() -> None:
    assert exact_digits(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.Float64)).to_list() == []
    assert found(["1", "2.5", "x"]) == [None, None, None]
    assert exact_digits(pl.Series([None, "1" * 20], dtype=pl.String), pl.Series([None, 1e19])).to_list() == [
        None,
        "1" * 20,
    ]


DIGITS = st.text("0123456789", min_size=1, max_size=25)
EXPONENTS = st.one_of(st.just(""), st.integers(-30, 30).map("E{:+d}".format))
DECIMALS = st.builds("{}{}.{}{}".format, st.sampled_from(["", "-"]), DIGITS, DIGITS, EXPONENTS)
FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 10**7).map(lambda cents: cents / 100),
    st.builds(lambda n, scale: n / 10**scale, st.integers(-(10**9), 10**9), st.integers(0, 12)),
)


@given(st.lists(st.one_of(DECIMALS, DIGITS), min_size=20, max_size=60))
def test_decimals_keep_every_digit(texts: list[str]) -> None:
    """What is found is the decimal itself; where nothing is, the shortest text of the float is, or it was printed."""
    for text, digits in zip(texts, found(texts), strict=True):
        number, decimal = float(text), Decimal(text)
        if digits is not None:
            assert Decimal(digits) == decimal
            assert "." not in digits or digits[-1] not in "0."
        elif decimal != Decimal(repr(number)):
            assert decimal == Decimal(f"{number:.{len(decimal.as_tuple().digits) - 1}e}")


@given(st.lists(st.tuples(FLOATS, st.integers(15, 40)), min_size=20, max_size=60))
def test_printed_floats_have_no_other_digits(printed: list[tuple[float, int]]) -> None:
    """However many digits are printed, in every usual form."""
    texts = [
        form for number, n in printed for form in (repr(number), f"{number:.{n}e}", f"{number:.{n}G}", f"{number:.17g}")
    ]
    for text, digits in zip(texts, found(texts), strict=True):
        whole = abs(float(text)) >= 2**53 and not set(text) & set("eE")
        if not whole and float(text) in {number for number, _ in printed}:
            assert digits is None, text


@pytest.mark.parametrize("scale", range(26))
def test_every_scale(scale: int) -> None:
    texts = [f"{n * 10.0**-scale:.17g}" for n in range(1, 2000, 7)]
    assert found(texts) == [None] * len(texts)
    digits = [str(Decimal(12345678901234567890123 + n).scaleb(-scale)) for n in range(50)]
    assert [Decimal(text or 0) for text in found(digits)] == [Decimal(text) for text in digits]
