"""Reads addresses of cells where these are their first attributes, and groups the tags that are alike behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from importer.decoding.string_views import words

from .digits import MASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions

    Words = NDArray[np.unsignedinteger]

_START = b'<c r="'
_START_WORD, _START_MASK = np.uint64(int.from_bytes(_START, "little")), MASKS[len(_START)]
_LETTER_A, _ALPHABET, _BYTE = np.uint64(ord("A")), np.uint64(26), np.uint64(0xFF)
_SECOND, _THIRD = np.uint64(48), np.uint64(56)
#: Most groups, and most bytes of a tag behind the address; a workbook rarely has more than twenty styles in a window.
_MOST_GROUPS, _MOST_BYTES = 32, 24


def read_addresses(
    data: Bytes, starts: Positions, row_words: Words, row_sizes: Positions
) -> tuple[Positions, Positions]:
    """Return the sheet columns of cells up to column ZZ, and the offsets behind their addresses.

    The column is -1 where the address is not the first attribute, not in the cell's row, or has more letters.

    Args:
        data: bytes of the window.
        starts: offset of each cell's `<c`.
        row_words: what ends the address of each, see `RowNumbers`.
        row_sizes: number of bytes of that.
    """
    # 16 bytes take as long to gather as 8.
    held = np.ndarray((len(data) - 15,), "V16", data.data, strides=(1,))[starts].view("<u8").reshape(-1, 2)
    low, high = held[:, 0], held[:, 1]
    first, second = ((low >> _SECOND) & _BYTE) - _LETTER_A, low >> _THIRD  # wrap around for what comes before `A`
    known = (low & _START_MASK == _START_WORD) & (first < _ALPHABET)
    one = second < _LETTER_A
    columns, letters = first.astype(np.int64), np.ones(1, np.int64)
    same = (high & MASKS[row_sizes - 1] == row_words >> np.uint64(8)) & (second == row_words & _BYTE)
    if not one.all():
        second -= _LETTER_A
        same = np.where(one, same, (high & MASKS[row_sizes] == row_words) & (second < _ALPHABET))
        columns = np.where(one, columns, (columns + 1) * 26 + second.astype(np.int64))
        letters = np.where(one, 1, 2)
    columns[~(known & same)] = -1
    return columns, starts + len(_START) + letters + row_sizes


def group_alike(
    data: Bytes, behind: Positions, ends: Positions, cells: Positions
) -> tuple[NDArray[np.int8], Positions]:
    """Return the group of each cell, and one cell of each group; those of a group end with the same bytes.

    The group is -1 for cells that are in none.

    Args:
        data: bytes of the window.
        behind: offset in each cell's tag from which on the bytes are compared.
        ends: offset of the tag that comes next.
        cells: indices of the cells to be grouped.
    """
    groups, examples = np.full(len(behind), -1, np.int8), list[int]()
    eight, sizes = words(data, 8), ends - behind
    held, left = eight[behind], cells[sizes[cells] <= _MOST_BYTES]
    while len(left) and len(examples) < _MOST_GROUPS:
        example = int(left[0])
        size, at = int(sizes[example]), behind[example]
        mask = MASKS[min(size, 8)]
        same = (sizes[left] == size) & (held[left] & mask == held[example] & mask)
        for place in range(8, size, 8):
            mask = MASKS[min(size - place, 8)]
            same &= eight[behind[left] + place] & mask == eight[at + place] & mask
        groups[left[same]] = len(examples)
        examples.append(example)
        left = left[~same]
    return groups, np.array(examples, np.int64)
