"""Reads the attributes of a window's `<c>` tags: address, style and type, in any order, for all cells at a time.

Usually they are `r="A1"`, then `s="1"`, then `t="s"`, with single spaces before them and double quotes. Few different
texts come after the address, so one cell of each is read for all (`alike_tags`). Of the other cells, each step reads
the next attribute of all that have one more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.decoding.string_views import words

from .alike_tags import group_alike, read_addresses
from .digits import MASKS, read_digits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions

    from .row_numbers import RowNumbers

    Mask = NDArray[np.bool_]
    Words = NDArray[np.unsignedinteger]

#: Types of a cell (18.18.11), the first one where there is no attribute `t`.
NUMBER, SHARED, RESULT, INLINE, BOOLEAN, ERROR, ISO_DATE = range(7)
#: What stands in `t`, with its closing quote.
_TYPES = {
    b's"': SHARED, b'str"': RESULT, b"inlineSt": INLINE, b'n"': NUMBER, b'b"': BOOLEAN, b'e"': ERROR, b'd"': ISO_DATE,
}  # fmt: skip
_INLINE_REST = b'r"'
#: Most attributes of a cell: six are defined, and the loop ends with the last one that there is.
_MOST = 6
#: Most digits of a style: a workbook has at most 65,490.
_STYLE_DIGITS = 5
_NAME_SIZE = 4
_ADDRESS, _STYLE, _TYPE = (np.uint32(int.from_bytes(text, "little")) for text in (b' r="', b' s="', b' t="'))
#: Of metadata and phonetics: of no interest.
_IGNORED = [np.uint64(int.from_bytes(text, "little")) for text in (b' cm="', b' vm="', b' ph="')]
_IGNORED_SIZE = 5
_ALPHABET = 26


class Attributes(NamedTuple):
    """The attributes of cells.

    Attributes:
        columns: sheet column (0-based); -1 without an address.
        styles: index of the cell's format; 0 without one.
        types: `NUMBER` to `ISO_DATE`.
        good: whether a tag was read to its end, and its address is in the row that it stands in.
    """

    columns: Positions
    styles: NDArray[np.int32]
    types: NDArray[np.uint8]
    good: Mask


def read_attributes(data: Bytes, starts: Positions, ends: Positions, rows: RowNumbers) -> Attributes:
    """Return the attributes of cells.

    Args:
        data: bytes of the window.
        starts: offset of each cell's `<c`.
        ends: offset of the tag that comes next.
        rows: the rows that the cells are in.
    """
    row_words, row_sizes = np.repeat(rows.words, rows.cells), np.repeat(rows.sizes, rows.cells)
    columns, behind = read_addresses(data, starts, row_words, row_sizes)
    alike, examples = group_alike(data, behind, ends, np.flatnonzero(columns >= 0))
    if not len(examples):
        return AttributeReader(data, starts, row_words, row_sizes).read(ends)
    read = AttributeReader(data, starts[examples], row_words[examples], row_sizes[examples]).read(ends[examples])
    found = Attributes(columns, read.styles[alike], read.types[alike], read.good[alike])
    left = np.flatnonzero(alike < 0)  # what the lines above gave these is none of theirs
    if len(left):
        rest = AttributeReader(data, starts[left], row_words[left], row_sizes[left]).read(ends[left])
        found.columns[left], found.styles[left] = rest.columns, rest.styles
        found.types[left], found.good[left] = rest.types, rest.good
    return found


class AttributeReader:
    """Reads the attributes of some cells in any order.

    Args:
        data: bytes of the window.
        starts: offset of each cell's `<c`.
        row_words: what ends the address of each, see `RowNumbers`.
        row_sizes: number of bytes of that.
    """

    def __init__(self, data: Bytes, starts: Positions, row_words: Words, row_sizes: Positions) -> None:
        self._data, self._four, self._eight = data, words(data, 4), words(data, 8)
        #: Offset behind what was read of each tag.
        self._at = starts + len(b"<c")
        self._row_words, self._row_sizes = row_words, row_sizes
        self._columns = np.full(len(starts), -1, np.int64)
        self._styles = np.zeros(len(starts), np.int32)
        self._types = np.zeros(len(starts), np.uint8)
        self._bad = np.zeros(len(starts), np.bool_)

    def read(self, ends: Positions) -> Attributes:
        """Read all attributes of the cells, whose tags are followed by others at these offsets."""
        left: Positions | slice = slice(None)
        for _ in range(_MOST):
            left = self._read_next(left)
            if not len(left):
                break
        last = self._at
        good = (self._data[last] == ord(">")) & (last + 1 == ends) & ~self._bad
        short = np.flatnonzero(~good & (last + 2 == ends) & ~self._bad)  # `<c r="A1"/>`
        good[short] = (self._data[last[short]] == ord("/")) & (self._data[last[short] + 1] == ord(">"))
        return Attributes(self._columns, self._styles, self._types, good)

    def _read_next(self, left: Positions | slice) -> Positions:
        """Read the next attribute of some cells, and return the indices of those that have one more."""
        at = self._at[left].copy()  # with a slice it is a view
        names = self._four[at]
        for name, read in ((_ADDRESS, self._read_address), (_STYLE, self._read_style), (_TYPE, self._read_type)):
            found = names == name
            if found.all():
                read(left, at + _NAME_SIZE)
            elif found.any():
                which = np.flatnonzero(found)
                read(which if isinstance(left, slice) else left[which], at[which] + _NAME_SIZE)
        self._skip_ignored(left, at)
        more = (self._data[self._at[left]] == ord(" ")) & (self._at[left] != at)
        which = np.flatnonzero(more)
        return which if isinstance(left, slice) else left[which]

    def _skip_ignored(self, left: Positions | slice, at: Positions) -> None:
        stuck = np.flatnonzero(self._at[left] == at)
        if not len(stuck):
            return
        name = self._eight[at[stuck]] & MASKS[_IGNORED_SIZE]
        known = stuck[np.isin(name, _IGNORED)]
        _, sizes, closed = read_digits(self._eight[at[known] + _IGNORED_SIZE], 7)
        known, sizes = known[closed], sizes[closed]
        self._at[known if isinstance(left, slice) else left[known]] += _IGNORED_SIZE + sizes + 1

    def _read_address(self, which: Positions | slice, at: Positions) -> None:
        held = self._eight[at]
        first = (held & 0xFF).astype(np.int64) - ord("A")
        bad = (first < 0) | (first >= _ALPHABET)
        columns, letters = first, np.int64(1)
        for place in (1, 2):
            letter = ((held >> np.uint64(8 * place)) & np.uint64(0xFF)).astype(np.int64) - ord("A")
            more = (letter >= 0) & (letters == place)  # digits and quotes come before the letters
            if not more.any():
                break
            bad |= more & (letter >= _ALPHABET)
            columns = np.where(more, (columns + 1) * _ALPHABET + letter, columns)
            letters = letters + more
        sizes = self._row_sizes[which]
        ends = self._eight[at + letters] & MASKS[sizes]
        bad |= ends != self._row_words[which]
        self._columns[which] = columns
        self._bad[which] |= bad
        self._at[which] = at + letters + sizes

    def _read_style(self, which: Positions | slice, at: Positions) -> None:
        styles, sizes, closed = read_digits(self._eight[at], _STYLE_DIGITS)
        self._styles[which] = styles
        self._bad[which] |= ~closed
        self._at[which] = at + sizes + 1

    def _read_type(self, which: Positions | slice, at: Positions) -> None:
        held = self._eight[at]
        types, sizes = np.zeros(len(at), np.uint8), np.zeros(len(at), np.int64)
        for text, code in _TYPES.items():
            found = held & MASKS[len(text)] == np.uint64(int.from_bytes(text, "little"))
            if found.any():
                types[found], sizes[found] = code, len(text)
            if found.all():
                break
        long = np.flatnonzero(types == INLINE)
        rest = self._eight[at[long] + 8] & MASKS[len(_INLINE_REST)]
        whole = rest == np.uint64(int.from_bytes(_INLINE_REST, "little"))
        sizes[long] = np.where(whole, 8 + len(_INLINE_REST), 0)
        self._types[which] = types
        self._bad[which] |= sizes == 0
        self._at[which] = at + sizes
