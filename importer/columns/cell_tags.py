"""Finds the cells of a window among its tags, and tells by the names of a cell's tags what it holds.

A cell is a run of tags from its `<c` on. Most are `<c><v></v></c>` or `<c><is><t></t></is></c>`, with a formula before
the value or not. A run of any other form is an odd cell, which is not decoded here. Element meanings: ECMA-376 part 1,
18.3.1.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.decoding.string_views import words
from importer.decoding.tag_scan import word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions
    from importer.decoding.tag_scan import Tags

    Mask = NDArray[np.bool_]
    Words = NDArray[np.unsignedinteger]
    Codes = NDArray[np.uint8]

#: What a cell's tags hold: nothing, a `<v>`, an inline text, a formula without `<v>`, or what is not decoded here.
EMPTY, VALUE, INLINE, FORMULA, ODD = range(5)

_TWO, _THREE = np.uint32(0xFFFF), np.uint32(0xFFFFFF)
_CELL, _SPACED_CELL, _CELL_END = word(b"<c"), word(b"<c "), word(b"</c>")
_ROW, _ROW_END = word(b"<row"), word(b"</ro")
_V, _V_END, _NO_V = word(b"<v>"), word(b"</v>"), word(b"<v/>")
_V_SPACED, _V_TAG = word(b"<v x"), b'<v xml:space="preserve">'
_IS, _IS_END = word(b"<is>"), word(b"</is")
_T, _T_SPACED, _T_END, _T_TAG = word(b"<t>"), word(b"<t x"), word(b"</t>"), b'<t xml:space="preserve">'
_F, _F_END = word(b"<f"), word(b"</f>")
_NO_TAG = word(b"<\0\0\0")
#: Whether a byte may come after the name of a tag.
ENDS_NAME = np.isin(np.arange(256), np.frombuffer(b" \t\r\n/>", np.uint8))


class CellTags(NamedTuple):
    """The cells of a window, in document order.

    Attributes:
        first: index of each cell's `<c` among the tags.
        size: number of tags of each cell.
        form: `EMPTY` to `ODD`.
        has_formula: whether a cell has a formula; None if none has.
        starts: offset of the text of `<v>` or `<t>`, where there is one; ascending.
        ends: offset of its end.
        rows: index of each `<row` among the tags.
    """

    first: Positions
    size: NDArray[np.int32]
    form: Codes
    has_formula: Mask | None
    starts: Positions
    ends: Positions
    rows: Positions


def find_cells(tags: Tags) -> CellTags | None:
    """Return the cells of a window, or None if there is anything but rows and cells in it."""
    data, at, names = tags
    is_cell, three = (names & _TWO) == _CELL, names & _THREE
    first, rows = np.flatnonzero(is_cell), np.flatnonzero(names == _ROW)
    if not len(first) or not _are_named(data, at[rows], 4):
        return None
    if np.count_nonzero(three == _SPACED_CELL) < len(first) and not _are_named(data, at[first], 2):
        return None
    # Of all tags at once, because gathering those of each cell takes five times as long.
    gaps = np.diff(at)
    plain = _are_values(is_cell, three, names, gaps)[first]
    inline = _are_inline(is_cell, three, names, gaps)[first] if (names == _IS).any() else None
    found = _lay_out(at, first, rows, plain, inline)
    usual = plain if inline is None else plain | inline
    if not usual.all():
        found = _Others(tags, found, np.flatnonzero(~usual)).classify()
    # Nothing else is there if these make up all tags.
    known = int(found.size.sum(dtype=np.int64)) + len(rows) + np.count_nonzero(names == _ROW_END)
    return found if known == tags.number else None


def _are_named(data: Bytes, at: Positions, size: int) -> bool:
    """Return whether the names of these tags end after `size` bytes."""
    return bool(ENDS_NAME[data[at + size]].all())


def _are_values(is_cell: Mask, three: Words, names: Words, gaps: Positions) -> Mask:
    """Return which tags begin a `<c><v></v></c>` without white space at its end."""
    found: Mask = is_cell[:-3] & (three[1:-2] == _V) & (names[2:-1] == _V_END) & (names[3:] == _CELL_END)
    found &= gaps[2:] == len(b"</v>")
    return found


def _are_inline(is_cell: Mask, three: Words, names: Words, gaps: Positions) -> Mask:
    """Return which tags begin a `<c><is><t></t></is></c>` without white space between the tags."""
    found: Mask = is_cell[:-5] & (names[1:-4] == _IS) & (three[2:-3] == _T) & (names[3:-2] == _T_END)
    found &= (names[4:-1] == _IS_END) & (names[5:] == _CELL_END)
    found &= (gaps[1:-3] == len(b"<is>")) & (gaps[3:-1] == len(b"</t>")) & (gaps[4:] == len(b"</is>"))
    return found


def _lay_out(at: Positions, first: Positions, rows: Positions, plain: Mask, inline: Mask | None) -> CellTags:
    """Return cells of which some are values or inline texts, and the others are not known yet."""
    form = np.where(plain, np.uint8(VALUE), np.uint8(ODD))
    if inline is None:
        text, size = first + 1, np.full(len(first), 4, np.int32)
    else:
        form[inline] = INLINE
        text, size = first + 1 + inline, np.where(inline, np.int32(6), np.int32(4))
    # Both `<v>` and `<t>` have three bytes.
    return CellTags(first, size, form, None, at[text] + len(b"<v>"), at[text + 1], rows)


class _Others:
    """The cells that are neither `<c><v></v></c>` nor `<c><is><t></t></is></c>`.

    Args:
        tags: tags of the window.
        cells: cells of the window, whose arrays are completed in place.
        which: indices of the others in these.
    """

    def __init__(self, tags: Tags, cells: CellTags, which: Positions) -> None:
        self._data, self._at, self._names = tags.data, tags.at, tags.names
        self._cells, self._which = cells, which
        #: Index of the first tag that is not the formula's.
        self._inner = cells.first[which] + 1
        self._formula = np.zeros(len(which), np.bool_)

    def classify(self) -> CellTags:
        """Return the cells with their forms, sizes and texts completed."""
        self._skip_formulas()
        inner = self._names[self._inner]
        done = self._find_empty(inner) | self._find_values(inner) | self._find_inline(inner)
        self._bound_odd(np.flatnonzero(~done))
        if not self._formula.any():
            return self._cells
        has_formula = np.zeros(len(self._cells.first), np.bool_)
        has_formula[self._which[self._formula]] = True
        return self._cells._replace(has_formula=has_formula)

    def _skip_formulas(self) -> None:
        at, names, inner = self._at, self._names, self._inner
        named = (names[inner] & _TWO) == _F
        mine = np.flatnonzero(named)
        if not len(mine):
            return
        tags = inner[mine]
        closed = names[tags + 1] == _F_END
        following = at[tags + 2] == at[tags + 1] + len(b"</f>")
        alone = ~closed & (self._data[at[tags + 1] - 2] == ord("/")) & (self._data[at[tags + 1] - 1] == ord(">"))
        good = ((closed & following) | alone) & ENDS_NAME[self._data[at[tags] + 2]]
        self._formula[mine] = good
        inner[mine] += np.where(good, np.where(closed, 2, 1), 0)

    def _set(self, mask: Mask, form: int, size: int) -> Positions:
        """Record form and size (without formula) of some of the cells; return their inner tags."""
        which = self._which[mask]
        self._cells.form[which] = form
        self._cells.size[which] = size + self._inner[mask] - self._cells.first[which] - 1
        return self._inner[mask]

    def _find_empty(self, inner: Words) -> Mask:
        closed: Mask = inner == _CELL_END
        short: Mask = ~self._formula & _is_border(inner)
        last = self._at[self._inner] - 1
        sure = (self._data[last] == ord(">")) & (self._data[last - 1] == ord("/"))
        for other in np.flatnonzero(short & ~sure).tolist():
            short[other] = self._is_closed(other)
        self._set(short, EMPTY, 1)
        self._set(closed, EMPTY, 2)
        self._set(closed & self._formula, FORMULA, 2)
        return short | closed

    def _is_closed(self, other: int) -> bool:
        """Return whether a cell of one tag ends within it, with white space behind."""
        start, end = self._at[self._inner[other] - 1], self._at[self._inner[other]]
        return self._data[start:end].tobytes().rstrip().endswith(b"/>")

    def _find_values(self, inner: Words) -> Mask:
        """Values after a formula, empty ones, and those that keep their spaces."""
        at, names = self._at, self._names
        one, two = self._inner + 1, self._inner + 2
        tag = np.where((inner & _THREE) == _V, len(b"<v>"), 0)
        spaced = np.flatnonzero(inner == _V_SPACED)
        tag[spaced] = np.where(_is_tag(self._data, at[self._inner[spaced]], _V_TAG), len(_V_TAG), 0)
        filled: Mask = (tag > 0) & (names[one] == _V_END) & (names[two] == _CELL_END)
        filled &= at[two] == at[one] + len(b"</v>")
        blank: Mask = (inner == _NO_V) & (names[one] == _CELL_END) & (at[one] == at[self._inner] + len(b"<v/>"))
        self._set_texts(filled, self._set(filled, VALUE, 4), tag[filled])
        self._set(blank, VALUE, 3)
        self._cells.starts[self._which[blank]] = self._cells.ends[self._which[blank]] = at[self._inner[blank]]
        return filled | blank

    def _set_texts(self, mask: Mask, tags: Positions, size: Positions | int) -> None:
        which = self._which[mask]
        self._cells.starts[which] = self._at[tags] + size
        self._cells.ends[which] = self._at[tags + 1]

    def _find_inline(self, inner: Words) -> Mask:
        mine = np.flatnonzero((inner == _IS) & ~self._formula)
        found = np.zeros(len(inner), np.bool_)
        if not len(mine):
            return found
        at, names = self._at, self._names
        text = self._inner[mine] + 1
        name = names[text]
        tag = np.where((name & _THREE) == _T, len(b"<t>"), 0)
        spaced = np.flatnonzero(name == _T_SPACED)
        tag[spaced] = np.where(_is_tag(self._data, at[text[spaced]], _T_TAG), len(_T_TAG), 0)
        good = (tag > 0) & (names[text + 1] == _T_END) & (names[text + 2] == _IS_END) & (names[text + 3] == _CELL_END)
        good &= at[text] == at[text - 1] + len(b"<is>")
        good &= at[text + 2] == at[text + 1] + len(b"</t>")
        good &= at[text + 3] == at[text + 2] + len(b"</is>")
        found[mine[good]] = True
        self._set_texts(found, self._set(found, INLINE, 6) + 1, tag[good])
        return found

    def _bound_odd(self, odd: Positions) -> None:
        """Record the sizes of the cells that are none of these: up to the next cell, or the end of their row."""
        if not len(odd):
            return
        which = self._which[odd]
        names = self._names
        borders = np.flatnonzero(_is_border(names))
        after = borders[np.searchsorted(borders, self._cells.first[which], side="right")]
        size = after - self._cells.first[which]
        # One that does not end with its own end tag has others in it: then the tags do not add up.
        self._cells.size[which] = np.where(names[after - 1] == _CELL_END, size, 0)
        self._formula[odd] = False


def _is_border(names: Words) -> Mask:
    """Return whether a cell ends before tags of these names, if it did not before: another cell, or one of rows."""
    found: Mask = ((names & _TWO) == _CELL) | (names == _ROW) | (names == _ROW_END) | (names == _NO_TAG)
    return found


def _is_tag(data: Bytes, at: Positions, tag: bytes) -> Mask:
    """Return whether `tag`, of 24 bytes, stands at each of these offsets."""
    at_eight = words(data, 8)
    found = np.ones(len(at), np.bool_)
    for place in (0, 8, 16):
        found &= at_eight[at + place] == np.uint64(int.from_bytes(tag[place : place + 8], "little"))
    return found
