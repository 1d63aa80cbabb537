"""Reads short runs of digits from words of eight bytes: numbers of rows, cell styles, indices of shared strings."""

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


_ZEROS = np.uint64(0x3030303030303030)
#: What stands before 0 to 8 digits, so that there are eight.
_LEADING_ZEROS = np.array([int.from_bytes(b"0" * (8 - n), "little") for n in range(9)], "<u8")


def read_whole(held: Words, sizes: Positions) -> tuple[Positions, NDArray[np.bool_]]:
    """Return the numbers that the first bytes of some words spell in digits alone, and where they do.

    Args:
        held: words of eight bytes.
        sizes: number of bytes that spell each number; where it is not 1 to 8, there is none.
    """
    are_sized = (sizes > 0) & (sizes <= 8)  # noqa: PLR2004 - a word
    sizes = np.where(are_sized, sizes, 8)
    digits = ((held << (64 - 8 * sizes).astype(np.uint64)) | _LEADING_ZEROS[sizes]) - _ZEROS
    # No byte is above 9 ("Hacker's Delight", 2-20), then pairs, fours and all eight digits are put together.
    are_digits = ((digits + np.uint64(0x7676767676767676)) | digits) & np.uint64(0x8080808080808080) == 0
    pairs = digits * _TEN + (digits >> np.uint64(8))
    low = (pairs & np.uint64(0xFF000000FF)) * np.uint64(0xF424000000064)
    high = ((pairs >> np.uint64(16)) & np.uint64(0xFF000000FF)) * np.uint64(0x271000000001)
    return ((low + high) >> np.uint64(32)).astype(np.int64), are_sized & are_digits
