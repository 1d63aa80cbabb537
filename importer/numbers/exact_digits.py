"""Finds the digits of numbers that a 64-bit float does not hold, such as a card number of 19 digits.

Most programs write a number as the text that they make of a float. Then the float is all there is to know, and its
shortest text is the number that people mean: Excel writes 0.29 as `0.28999999999999998`. A text is one of these if
rounding the float to as many digits gives it. Other texts come from a decimal or a long integer, and say more.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: From here on, neighbouring integers share one 64-bit float.
_EXACT_INTEGERS = 2**53
#: A number of fewer characters has at most 15 digits, and is the only such number near its float.
LONG_TEXT = 16
#: The shortest text of a number so near to zero that its float is zero: `1e-400`.
_TINY_TEXT = 6
_INTEGER = re.compile(r"\s*[+-]?[0-9]+(?:\.0*)?\s*")
#: Most digits of a text that `_are_printed_floats` looks at: as many fit into 64 bits.
_MOST_DIGITS = 18


def find_long(texts: pl.Series, lengths: NDArray[np.int64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of the texts that may say more than their floats do; see `exact_digits`.

    Args:
        texts: numbers as they stand in the cells.
        lengths: length of each in bytes.
        numbers: the floats nearest to them.
    """
    found: NDArray[np.int64] = np.flatnonzero(lengths >= LONG_TEXT)
    tiny = np.flatnonzero((numbers == 0) & (lengths >= _TINY_TEXT) & (lengths < LONG_TEXT))
    if len(tiny):
        tiny = tiny[texts.gather(pl.Series(tiny.astype(np.uint32))).str.contains("[eE]-").to_numpy()]
    return np.sort(np.concatenate([found, tiny])) if len(tiny) else found


def exact_digits(texts: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return the numbers that their floats do not hold, as decimals; null for all others.

    Only a number so near to zero that its float is zero has an exponent, such as `1E-400`. Integers from 2**53 on that
    are written with all digits are returned even where a float holds them: only the text says that all these digits
    are meant.

    Args:
        texts: numbers as they stand in the cells.
        numbers: the floats nearest to them; null or not finite where a text is no number.
    """
    found = pl.Series([None], dtype=pl.String).new_from_index(0, len(texts))
    frame = pl.DataFrame({"text": texts, "number": numbers})
    text, number = pl.col("text"), pl.col("number")
    size = text.str.len_bytes()
    is_long = ((size >= LONG_TEXT) & number.is_finite()) | ((size >= _TINY_TEXT) & (number == 0))
    if not frame.select(is_long.any()).item():
        return found
    long = frame.with_row_index().filter(is_long)
    printed = _are_printed_floats(long["text"], long["number"].to_numpy())
    if printed.all():
        return found
    long = long.filter(~pl.Series(printed))
    is_whole = (number.abs() >= _EXACT_INTEGERS) & text.str.contains("^-?[1-9][0-9]*$")
    whole = long.filter(is_whole)
    rest = long.filter(~is_whole).filter(text.str.replace("E", "e", literal=True) != number.cast(pl.String))
    digits = [_digits(*each) for each in rest.select("text", "number").iter_rows()]
    for index, each in ((whole["index"], whole["text"]), (rest["index"], pl.Series(digits, dtype=pl.String))):
        found = found.scatter(index, each) if len(index) else found
    return found


def _digits(text: str, number: float) -> str | None:
    """Return what `exact_digits` returns, for one number."""
    try:
        decimal = Decimal(text.strip())
    except InvalidOperation:
        return None
    if abs(number) < _EXACT_INTEGERS or _INTEGER.fullmatch(text) is None:
        places = len(decimal.as_tuple().digits) - 1
        if decimal in {Decimal(repr(number)), Decimal(f"{number:.{places}e}")}:
            return None
    if number == 0:
        return str(decimal)
    plain = f"{decimal:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


# ---- FLOATS IN PRINT --------------------------------------------------------------------------------------------
#
# Programs that compute write most of their numbers so (Excel one in ten amounts of money), hence for whole columns at
# once: 0.1 µs a number, where decimals take 3 µs.


def _are_printed_floats(texts: pl.Series, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which texts are certainly what rounding their floats gives; false for the others, and for unusual texts.

    With all digits of the text as an integer `w`, and `s` of them after the point, the float times 10**s must be within
    half of `w`.
    """
    array = texts.to_arrow(compat_level=pl.CompatLevel.newest())
    _, views, *buffers = array.buffers()
    view = np.frombuffer(views, np.uint32).reshape(-1, 4)[array.offset : array.offset + len(array)].astype(np.int64)
    certain: NDArray[np.bool_] = np.zeros(len(array), np.bool_)
    for number, buffer in enumerate(buffers):
        data = np.frombuffer(buffer, np.uint8)
        # A short view holds its text itself; a text near the end of the buffer is left out, for the sake of the words.
        mine = np.flatnonzero((view[:, 0] >= LONG_TEXT) & (view[:, 2] == number) & (view[:, 3] + _ROOM <= len(data)))
        if len(mine):
            certain[mine] = _are_prints(data, view[mine, 3], view[mine, 0], numbers[mine])
    return certain


#: Bytes that are read from the start of a text: a sign, 17 digits and a point, zeros, and three words of 8 bytes.
_ROOM = 1 + 18 + 22 + 24
_POWERS = np.array([10.0**n for n in range(23)])
_WHOLE_POWERS = np.array([10**n for n in range(_MOST_DIGITS + 1)], np.int64)
_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)
_ZEROS = np.uint64(0x3030303030303030)


def _are_prints(
    data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64], numbers: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return what `_are_printed_floats` returns, for texts in one buffer."""
    sign = data[starts] == ord("-")
    starts, sizes, numbers = starts + sign, sizes - sign, np.abs(numbers)
    exponents, marks = _exponents(data, starts + sizes)
    # Where the point is, the float tells: behind the digits before it, or behind the first one if there is an exponent.
    before = np.where(marks > 0, 1, np.searchsorted(_POWERS[1:_MOST_DIGITS], numbers, side="right") + 1)
    places = sizes - marks - before - 1
    scales = places - exponents
    # A number below 1 may have zeros after the point, which need no room in an integer.
    is_small = (numbers < 1) & (marks == 0)
    zeros = np.where(is_small, np.clip(places - _MOST_DIGITS, 0, len(_POWERS) - 1), 0)
    fits = is_small & (places - zeros <= _MOST_DIGITS) & (numbers * _POWERS[zeros] < 1)
    fits |= before + places <= _MOST_DIGITS
    usual = (data[starts + before] == ord(".")) & (places > 0) & fits
    usual &= (scales >= 0) & (scales < len(_POWERS)) & ((numbers < _EXACT_INTEGERS) | (marks > 0))
    is_integer = (places == -1) & (marks == 0) & (numbers < _EXACT_INTEGERS)
    places, zeros, numbers = np.where(usual, places, 1), np.where(usual, zeros, 0), np.where(usual, numbers, 1.0)
    wholes = np.where(marks > 0, data[starts] - ord("0"), numbers).astype(np.int64)
    places = places - zeros
    fractions, are_digits = _fractions(data, starts + before + 1 + zeros, places)
    close = _are_close(numbers, np.where(usual, scales, 0), wholes * _WHOLE_POWERS[places] + fractions)
    certain: NDArray[np.bool_] = (usual & are_digits & close) | is_integer
    return certain


def _exponents(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the exponents of texts (`E-2`, `E+19`), and the lengths of these marks; both zero where there is none."""
    last, second, third, fourth = (data[ends - n].astype(np.int64) for n in (1, 2, 3, 4))
    short = ((third | 0x20) == ord("e")) & ((second == ord("-")) | (second == ord("+")))
    long = ((fourth | 0x20) == ord("e")) & ((third == ord("-")) | (third == ord("+")))
    size = (last - ord("0")) + np.where(long, 10 * (second - ord("0")), 0)
    minus = np.where(long, third, second) == ord("-")
    marks = np.where(short, 3, np.where(long, 4, 0))
    return np.where(marks > 0, np.where(minus, -size, size), 0), marks


def _fractions(
    data: NDArray[np.uint8], starts: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the digits from `starts` on as integers, and whether they are digits; at most 18 of them."""
    words = np.ndarray((len(data) - 7,), "<u8", data.data, strides=(1,))
    parts, are_digits = [], np.ones(len(starts), np.bool_)
    for n in range(3):
        mask = _MASKS[np.clip(places - 8 * n, 0, 8)]
        word = ((words[starts + 8 * n] & mask) | (_ZEROS & ~mask)) - _ZEROS
        are_digits &= ((word + np.uint64(0x7676767676767676)) | word) & np.uint64(0x8080808080808080) == 0
        pairs = word * np.uint64(10) + (word >> np.uint64(8))
        low = (pairs & np.uint64(0xFF000000FF)) * np.uint64(0xF424000000064)
        high = ((pairs >> np.uint64(16)) & np.uint64(0xFF000000FF)) * np.uint64(0x271000000001)
        parts.append(((low + high) >> np.uint64(32)).astype(np.int64))
    digits = parts[0] * 10**10 + parts[1] * 100 + parts[2] // 10**6
    return digits // _WHOLE_POWERS[_MOST_DIGITS - places], are_digits


#: Dekker's constant, which splits a float into halves of 26 bits.
_SPLITTER = 2.0**27 + 1


def _are_close(numbers: NDArray[np.float64], scales: NDArray[np.int64], wholes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each number times 10**scale is less than half away from an integer.

    The product is computed together with its rounding error (Dekker 1971); floats hold the powers of ten exactly.
    """
    powers = _POWERS[scales]
    (a, b), (c, d) = _halves(numbers), _halves(powers)
    product = numbers * powers
    error = ((a * c - product) + a * d + b * c) + b * d
    floor = np.floor(np.minimum(product, 2.0**62))
    gap = (wholes - floor.astype(np.int64)).astype(np.float64) - (product - floor) - error
    # Halves are left to decimals, and so are numbers beyond 64 bits.
    close: NDArray[np.bool_] = (np.abs(gap) < 0.499) & (product < 2.0**62)  # noqa: PLR2004
    return close


def _halves(numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    high = numbers * _SPLITTER
    high = high - (high - numbers)
    return high, numbers - high
