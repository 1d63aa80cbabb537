"""Whole numbers as digit patterns show them."""

from __future__ import annotations

import re

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from importer.numbers.digit_patterns import show, show_by_patterns

CASES = [
    ("2494", "00000", "02494"), ("-42", "00000", "-00042"), ("123456", "00000", "123456"), ("0", "000", "000"), ("7", "\\A\\-0000", "A-0007"),
    ("12345678", "000\\-00\\-0000", "012-34-5678"), ("1234567890", "000\\-00\\-0000", "1234-56-7890"),
    ("5551234", "#\\-0000", "555-1234"), ("1234", "#\\-####", "-1234"), ("2065551234", "\\(#\\)\\ ###\\-####", "(206) 555-1234"),
    ("0", "#\\-####", None), ("5", "#\\ \\k\\g", "5 kg"), ("-5", "0\\h", "-5h"), ("5", "\\00", "05"), ("12", "\\\\0", "\\12"), ("3", "\\年0", "年3"),
    ("42.5", "00000", None), ("1e+20", "00000", None), ("7", None, None), (None, "000", None), ("12345678901234567890", "0\\-0", "1234567890123456789-0"),
]  # fmt: skip


def test_cases() -> None:
    frame = pl.DataFrame(CASES, schema={"digits": pl.String, "pattern": pl.String, "shown": pl.String}, orient="row")
    found = frame.select(show_by_patterns(pl.col("digits"), pl.col("pattern"))).to_series()
    assert found.to_list() == frame["shown"].to_list()
    plain = frame.filter(pl.col("pattern").str.contains("^0+$"))
    assert (
        plain.select(show_by_patterns(pl.col("digits"), pl.col("pattern"))).to_series().to_list()
        == plain["shown"].to_list()
    )


@given(st.integers(1, 10**18), st.lists(st.sampled_from(["0", "#", "\\-", "\\A", "\\ "]), min_size=1, max_size=12))
def test_no_digit_is_lost(number: int, pieces: list[str]) -> None:
    pattern = "".join(pieces)
    if {"0", "#"} & set(pieces):
        shown = show(str(number), pattern)
        assert shown is not None
        assert int(re.sub(r"\D", "", shown)) == number
