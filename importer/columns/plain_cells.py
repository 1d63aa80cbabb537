"""Finds the cells of a window in which all are `<c><v></v></c>` or `<c><is><t></t></is></c>`, without all of its tags.

What stands around the texts of such cells is known, so it is compared where it must be. If these are as many `<` as
there are, nothing else is there. That takes half the time of finding and naming every tag; most windows are like that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.decoding.string_views import words

from .alike_tags import read_addresses
from .attributes import AttributeReader, Attributes
from .cell_tags import INLINE, VALUE
from .digits import MASKS
from .found_cells import FoundCells
from .row_numbers import read_usual_row_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions

    from .row_numbers import RowNumbers

    Mask = NDArray[np.bool_]


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


_VALUE_TAIL, _INLINE_TAIL = b"</v></c>", b"</t></is></c>"
_VALUE_WORD, _INLINE_WORDS = _word(_VALUE_TAIL), (_word(_INLINE_TAIL[-8:]), _word(_INLINE_TAIL[:8]))
_ROW_END = b"</row>"
#: What stands between the address of a cell and its text: attributes, and the tags before the text.
_HEAD = re.compile(
    rb'((?: [a-z]{1,2}="[^"<>]{0,16}")*>)(?:<v>|<v xml:space="preserve">|(<is>)<t(?: xml:space="preserve")?>)'
)
#: Most bytes of it, which are there behind the last cell with the padding, and most that differ in a window.
_MOST_BYTES, _MOST_HEADS = 64, 64
#: Number of `<` in a cell with a value, and what an inline text has more; number of them in a row.
_VALUE_TAGS, _INLINE_MORE, _ROW_TAGS = 4, 2, 2


class PlainCells(NamedTuple):
    """The cells of a window, and its rows.

    Attributes:
        cells: the cells.
        rows: offset of each `<row`.
        row_ends: offset of the tag that comes after it.
    """

    cells: FoundCells
    rows: Positions
    row_ends: Positions


def find_plain_cells(data: Bytes, size: int) -> PlainCells | None:
    """Return the cells of a window, or None if there is anything but such cells and their rows in it.

    Args:
        data: bytes of the window, with padding.
        size: number of bytes without that.
    """
    opens, names = data[:size] == ord("<"), data[1 : size + 1]
    found = np.flatnonzero(opens & ((names == ord("c")) | (names == ord("r"))))
    is_cell = data[found + 1] == ord("c")
    at, rows = found[is_cell], found[~is_cell]
    numbers = _find_rows(data, at, rows, size)
    if numbers is None:
        return None
    row_ends = np.append(rows[1:], size) - len(_ROW_END)
    begins, filled = np.cumsum(numbers.cells) - numbers.cells, numbers.cells > 0
    end = np.append(at[1:], size)
    end[(begins + numbers.cells - 1)[filled]] = row_ends[filled]
    cells = _find_texts(data, at, end, numbers)
    if cells is None:
        return None
    known = _VALUE_TAGS * len(at) + _INLINE_MORE * int(np.count_nonzero(cells.form == INLINE)) + _ROW_TAGS * len(rows)
    if known != np.count_nonzero(opens):
        return None
    row_ends[filled] = at[begins[filled]]
    return PlainCells(cells, rows, row_ends)


def _find_rows(data: Bytes, at: Positions, rows: Positions, size: int) -> RowNumbers | None:
    """Return the rows that begin at these offsets; None if one is not usual, or does not end where the next begins."""
    if not len(at) or not len(rows) or at[0] < rows[0]:
        return None
    ends = np.append(rows[1:], size) - len(_ROW_END)
    if (ends < rows).any() or not (words(data, 8)[ends] & MASKS[len(_ROW_END)] == _word(_ROW_END)).all():
        return None
    return read_usual_row_numbers(data, rows, np.diff(np.searchsorted(at, rows), append=len(at)))


def _find_texts(data: Bytes, at: Positions, end: Positions, numbers: RowNumbers) -> FoundCells | None:
    """Return the cells that begin and end at these offsets; None if one is not plain."""
    row_words, row_sizes = np.repeat(numbers.words, numbers.cells), np.repeat(numbers.sizes, numbers.cells)
    columns, behind = read_addresses(data, at, row_words, row_sizes)
    inline = _find_tails(data, at, end)
    heads = None if inline is None or int(columns.min()) < 0 else _Heads.read(data, behind)
    if heads is None or inline is None:
        return None
    cells, tag_ends = heads.examples, behind[heads.examples] + heads.tag_sizes
    read = AttributeReader(data, at[cells], row_words[cells], row_sizes[cells]).read(tag_ends)
    starts, ends = behind + heads.sizes[heads.of], end - np.where(inline, len(_INLINE_TAIL), len(_VALUE_TAIL))
    if not read.good.all() or (heads.inline[heads.of] != inline).any() or (starts > ends).any():
        return None
    attributes = Attributes(columns, read.styles[heads.of], read.types[heads.of], read.good[heads.of])
    form = np.where(inline, np.uint8(INLINE), np.uint8(VALUE))
    return FoundCells(form, None, starts, ends, attributes, numbers, lambda n: (int(at[n]), int(end[n])))


def _find_tails(data: Bytes, at: Positions, end: Positions) -> Mask | None:
    """Return whether the texts of cells are inline, by the ends of these; None if one ends otherwise."""
    eight = words(data, 8)
    if (end - at < len(_INLINE_TAIL)).any():
        return None
    last = eight[end - 8]
    value = last == _VALUE_WORD
    inline: Mask = ~value
    if not inline.any():
        return inline
    inline = (last == _INLINE_WORDS[0]) & (eight[end - len(_INLINE_TAIL)] == _INLINE_WORDS[1])
    return inline if (value | inline).all() else None


class _Heads(NamedTuple):
    """What stands between the addresses of cells and their texts.

    Attributes:
        of: index of each cell's head among the heads.
        examples: index of a cell with each head.
        sizes: number of bytes of each.
        tag_sizes: number of those that belong to the tag of the cell.
        inline: whether each one is that of an inline text.
    """

    of: Positions
    examples: Positions
    sizes: Positions
    tag_sizes: Positions
    inline: Mask

    @classmethod
    def read(cls, data: Bytes, behind: Positions) -> _Heads | None:
        """Return the heads that begin at these offsets; None if one is not usual, or too many differ."""
        eight, of = words(data, 8), np.zeros(len(behind), np.int64)
        found: list[tuple[int, int, int, bool]] = []
        left, at, held = np.arange(len(behind)), behind, eight[behind]
        while len(left):
            head = _HEAD.match(data[at[0] : at[0] + _MOST_BYTES].tobytes())
            if head is None or len(found) == _MOST_HEADS:
                return None
            size = head.end()
            same = held & MASKS[min(size, 8)] == held[0] & MASKS[min(size, 8)]
            for place in range(8, size, 8):
                mask = MASKS[min(size - place, 8)]
                same &= eight[at + place] & mask == eight[at[0] + place] & mask
            if found:
                of[left[same]] = len(found)
            found.append((int(left[0]), size, head.end(1), head[2] is not None))
            left, at, held = left[~same], at[~same], held[~same]
        examples, sizes, tag_sizes, inline = zip(*found, strict=True)
        return cls(of, np.array(examples), np.array(sizes), np.array(tag_sizes), np.array(inline))
