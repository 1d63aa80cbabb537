"""Finds the cells of a window in which all are `<c><v></v></c>` or `<c><is><t></t></is></c>`, without all of its tags.

A formula may stand before the value. What stands around the texts of such cells is known, so it is compared where it
must be. If these are as many `<` as there are, nothing else is there. That takes half the time of finding and naming
every tag, three quarters where many cells have formulas; most windows are like that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.decoding.string_views import words

from .alike_tags import read_addresses
from .attributes import AttributeReader, Attributes
from .cell_tags import ENDS_NAME, INLINE, VALUE
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
#: What stands between the address of a cell and its text: attributes, and the tags before the text; or its formula.
_HEAD = re.compile(
    rb'((?: [a-z]{1,2}="[^"<>]{0,16}")*>)(?:<v>|<v xml:space="preserve">|(<is>)<t(?: xml:space="preserve")?>|(<f))'
)
_VALUE_TAG, _FORMULA_END, _CLOSED = b"<v>", b"</f>", b"/>"
#: Most bytes of it, which are there behind the last cell with the padding, and most that differ in a window.
_MOST_BYTES, _MOST_HEADS = 64, 64
#: Number of `<` in a cell with a value, and what an inline text has more; number of them in a row, and in a formula.
_VALUE_TAGS, _INLINE_MORE, _ROW_TAGS, _FORMULA_TAGS = 4, 2, 2, 2


class PlainCells(NamedTuple):
    """The cells of a window, and its rows.

    Attributes:
        cells: the cells.
        rows: offset of each `<row`.
        row_ends: offset of the tag that comes after it.
        formulas: number of cells with a formula.
    """

    cells: FoundCells
    rows: Positions
    row_ends: Positions
    formulas: int


def find_plain_cells(data: Bytes, size: int) -> PlainCells | None:
    """Return the cells of a window, or None if there is anything but such cells and their rows in it.

    Args:
        data: bytes of the window, with padding.
        size: number of bytes without that.
    """
    opens, names = data[:size] == ord("<"), data[1 : size + 1]
    wanted = names == ord("c")
    wanted |= names == ord("r")
    wanted &= opens
    found = np.flatnonzero(wanted)
    is_cell = data[found + 1] == ord("c")
    places = np.flatnonzero(~is_cell)
    at, rows = found[is_cell], found[places]
    # The cells of a row stand between it and the next one.
    counts = np.diff(places, append=len(found)) - 1
    numbers = _find_rows(data, rows, counts, size) if len(at) and len(places) and not places[0] else None
    if numbers is None:
        return None
    row_ends = np.append(rows[1:], size) - len(_ROW_END)
    begins, filled = np.cumsum(numbers.cells) - numbers.cells, numbers.cells > 0
    end = np.append(at[1:], size)
    end[(begins + numbers.cells - 1)[filled]] = row_ends[filled]
    texts = _find_texts(data, at, end, numbers, opens)
    if texts is None:
        return None
    cells, formulas = texts
    known = _VALUE_TAGS * len(at) + _INLINE_MORE * int(np.count_nonzero(cells.form == INLINE)) + _ROW_TAGS * len(rows)
    if known + formulas.tags != np.count_nonzero(opens):
        return None
    row_ends[filled] = at[begins[filled]]
    return PlainCells(cells, rows, row_ends, len(formulas.cells))


def _find_rows(data: Bytes, rows: Positions, counts: Positions, size: int) -> RowNumbers | None:
    """Return the rows at these offsets, with so many cells; None if one is not usual, or ends before the next one."""
    ends = np.append(rows[1:], size) - len(_ROW_END)
    if (ends < rows).any() or not (words(data, 8)[ends] & MASKS[len(_ROW_END)] == _word(_ROW_END)).all():
        return None
    return read_usual_row_numbers(data, rows, counts)


def _find_texts(
    data: Bytes, at: Positions, end: Positions, numbers: RowNumbers, opens: Mask
) -> tuple[FoundCells, _Formulas] | None:
    """Return the cells that begin and end at these offsets, and their formulas; None if one is not plain."""
    row_words, row_sizes = np.repeat(numbers.words, numbers.cells), np.repeat(numbers.sizes, numbers.cells)
    columns, behind = read_addresses(data, at, row_words, row_sizes)
    inline = _find_tails(data, at, end)
    heads = None if inline is None or int(columns.min()) < 0 else _Heads.read(data, behind, columns)
    if heads is None or inline is None or (heads.inline[heads.of] != inline).any():
        return None
    cells, tag_ends = heads.examples, behind[heads.examples] + heads.tag_sizes
    read = AttributeReader(data, at[cells], row_words[cells], row_sizes[cells]).read(tag_ends)
    starts, ends = behind + heads.sizes[heads.of], end - np.where(inline, len(_INLINE_TAIL), len(_VALUE_TAIL))
    formulas: _Formulas | None = _NO_FORMULAS
    has_formula = heads.formula[heads.of] if heads.formula.any() else None
    if has_formula is not None:
        formulas = _Formulas.find(data, opens, np.flatnonzero(has_formula), starts, inline)
    if formulas is None:
        return None
    starts[formulas.cells] = formulas.texts
    if not read.good.all() or (starts > ends).any():
        return None
    attributes = Attributes(columns, read.styles[heads.of], read.types[heads.of], read.good[heads.of])
    form = np.where(inline, np.uint8(INLINE), np.uint8(VALUE))
    found = FoundCells(form, has_formula, starts, ends, attributes, numbers, lambda n: (int(at[n]), int(end[n])))
    return found, formulas


class _Formulas(NamedTuple):
    """The formulas of some cells, each with a value behind it.

    Attributes:
        cells: index of each one's cell.
        texts: offset of the text of the value.
        tags: number of `<` in all of them.
    """

    cells: Positions
    texts: Positions
    tags: int

    @classmethod
    def find(cls, data: Bytes, opens: Mask, cells: Positions, names: Positions, inline: Mask) -> _Formulas | None:
        """Return the formulas of cells; None if one does not end just before a `<v>` of the cell.

        Args:
            data: bytes of the window, with padding.
            opens: which of them are a `<`.
            cells: index of each cell that has a formula.
            names: offset behind the `<f` of each cell that has one.
            inline: which of all cells are inline texts, none of these; each of the others has one value.
        """
        values = np.flatnonzero(opens & (data[1 : len(opens) + 1] == ord("v")))
        if len(values) != len(inline) - np.count_nonzero(inline):
            return None
        order = cells - np.cumsum(inline)[cells] if len(values) < len(inline) else cells
        before, value = names[cells], values[order]
        four = words(data, 4)
        closed = four[value - len(_FORMULA_END)] == _word(_FORMULA_END)
        alone = words(data, 2)[value - len(_CLOSED)] == _word(_CLOSED)
        good = (value > before) & (closed | alone) & ENDS_NAME[data[before]]
        good &= four[value] & _THREE_BYTES == _word(_VALUE_TAG)
        tags = _FORMULA_TAGS * len(cells) - int(np.count_nonzero(~closed))
        return cls(cells, value + len(_VALUE_TAG), tags) if good.all() else None


_NO_FORMULAS = _Formulas(np.empty(0, np.int64), np.empty(0, np.int64), 0)
_THREE_BYTES = np.uint32(0xFFFFFF)


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
        formula: whether each one ends with the name of a formula.
    """

    of: Positions
    examples: Positions
    sizes: Positions
    tag_sizes: Positions
    inline: Mask
    formula: Mask

    @classmethod
    def read(cls, data: Bytes, behind: Positions, columns: Positions) -> _Heads | None:
        """Return the heads that begin at these offsets; None if one is not usual, or too many differ.

        The cells of a column mostly have the same, so each is compared with one from the middle of the window first.
        """
        reader, example = _HeadReader(data, behind), np.full(int(columns.max()) + 1, -1)
        for number in (len(columns), len(columns) // 2 + 1):
            example[columns[:number]] = np.arange(number)
        guesses = [0 if cell < 0 else reader.read(cell) for cell in example.tolist()]
        if None in guesses:
            return None
        of = np.array(guesses)[columns]
        left = np.flatnonzero(~reader.are_at(behind, of))
        while len(left):
            head = reader.read(int(left[0]))
            if head is None:
                return None
            same = reader.are_at(behind[left], head)
            of[left[same]] = head
            left = left[~same]
        return cls(of, *map(np.array, zip(*reader.heads.values(), strict=True)))


class _HeadReader:
    """Reads what stands between the addresses of cells and their texts.

    Args:
        data: bytes of the window, with padding.
        behind: offset behind the address of each cell.

    Attributes:
        heads: what `_Heads` says of each one, by its bytes.
    """

    def __init__(self, data: Bytes, behind: Positions) -> None:
        self._data, self._behind, self._eight = data, behind, words(data, 8)
        self.heads: dict[bytes, tuple[int, int, int, bool, bool]] = {}

    def read(self, cell: int) -> int | None:
        """Return the index of the head of a cell; None if it is not usual, or too many differ."""
        at = self._behind[cell]
        head = _HEAD.match(self._data[at : at + _MOST_BYTES].tobytes())
        if head is None or (head[0] not in self.heads and len(self.heads) == _MOST_HEADS):
            return None
        self.heads.setdefault(head[0], (cell, head.end(), head.end(1), head[2] is not None, head[3] is not None))
        return list(self.heads).index(head[0])

    def are_at(self, at: Positions, heads: Positions | int) -> Mask:
        """Return whether heads, by their indices, are at these offsets."""
        texts = list(self.heads)
        if len(texts) == 1:
            heads = 0
        elif isinstance(heads, int):
            texts, heads = [texts[heads]], 0
        same: Mask = np.ones(len(at), np.bool_)
        for place in range(0, max(map(len, texts)), 8):
            held = [text[place : place + 8] for text in texts]
            mask, word = MASKS[[len(each) for each in held]], np.array([_word(each) for each in held])
            same &= self._eight[at + place] & mask[heads] == word[heads]
        return same
