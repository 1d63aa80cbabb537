"""Reads short runs of digits from words of eight bytes: numbers of rows and cell styles in attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.decoding.string_views import Positions

    Words = NDArray[np.unsignedinteger]

#: Masks of the lowest 0 to 8 bytes of a word.
MASKS = np.array([(1 << (8 * n)) - 1 for n in range(9)], "<u8")
_BYTE, _ZERO, _QUOTE = np.uint64(0xFF), np.uint64(ord("0")), np.uint64(ord('"'))
_TEN = np.uint64(10)


def read_digits(held: Words, most: int) -> tuple[Positions, Positions, NDArray[np.bool_]]:
    """Return the numbers at the start of some words, how many digits each has, and whether a quote ends it.

    Args:
        held: words of eight bytes; each should begin with digits and a double quote.
        most: most digits of a number, at most 7.
    """
    number = (held & _BYTE) - _ZERO  # wraps around for what comes before `0`
    going = number < _TEN
    number = np.where(going, number, 0)
    sizes = going.astype(np.int64)
    for place in range(1, most):
        digit = ((held >> np.uint64(8 * place)) & _BYTE) - _ZERO
        going &= digit < _TEN
        if not going.any():
            break
        number = np.where(going, number * _TEN + digit, number)
        sizes += going
    closed = (held >> (8 * sizes).astype(np.uint64)) & _BYTE == _QUOTE
    return number.astype(np.int64), sizes, closed & (sizes > 0)
