"""Derives from the tags of a window where its values are, in which columns, and which are shared strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.excel.addresses import MAX_LETTERS

from .string_views import words
from .tag_scan import word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .string_views import Bytes, Positions
    from .tag_scan import Counts, Tags

    Mask = NDArray[np.bool_]

#: The bytes between a cell's address (or style) and the index of a shared string, as Excel and nearly all programs
#: write them. They cannot occur in a text because of the `<`.
SHARED_MARKER = b' t="s"><v>'
#: Number of bytes from the start of `SHARED_MARKER` to its `<v>` tag.
_VALUE_OFFSET = SHARED_MARKER.index(b"<")
_SHARED_WORD = np.uint64(int.from_bytes(SHARED_MARKER[:8], "little"))
_NAME_MASK = np.uint32(0xFFFFFF)
_TWO_BYTES = np.uint32(0xFFFF)
_REF_OFFSET = len(b'<c r="')
_ALPHABET_SIZE = 26


class ValuePositions(NamedTuple):
    """The values of a window, in document order.

    Attributes:
        cells: offset of the `<c>` tag of each value.
        types: offset of ` t="s"` of each shared string.
        shared: mask of the values that are shared strings.
    """

    cells: Positions
    types: Positions
    shared: Mask

    def columns(self, data: Bytes, letters: int) -> Positions | None:
        """Return the sheet column (0-based) of each value, or None if some addresses are not in capital letters.

        Args:
            data: bytes of the window.
            letters: maximum number of letters in a column.
        """
        return _columns(data, self.cells, letters)


def all_columns(tags: Tags) -> Positions | None:
    """Return the sheet column (0-based) of each cell, or None if some have no address, or not as first attribute.

    One beyond the last that a sheet can have may be given as another such one.
    """
    cells = tags.at[tags.names == word(b"<c r")]
    if len(cells) != np.count_nonzero((tags.names & _TWO_BYTES) == word(b"<c")):
        return None
    return _columns(tags.data, cells, MAX_LETTERS + 1)


def _columns(data: Bytes, cells: Positions, letters: int) -> Positions | None:
    """Return the column of each of the cells, or None if some addresses are not in capital letters."""
    held = words(data, 4)[cells + _REF_OFFSET]
    columns = (held & 0xFF).astype(np.int64) - ord("A")
    valid = (columns >= 0) & (columns < _ALPHABET_SIZE)
    for place in range(1, letters):
        letter = ((held >> (8 * place)) & 0xFF).astype(np.int64) - ord("A")
        more = letter >= 0  # digits and quotes come before the letters
        if not more.any():
            break
        valid &= letter < _ALPHABET_SIZE
        columns = np.where(more, (columns + 1) * _ALPHABET_SIZE + letter, columns)
    return columns if valid.all() else None


def find_values(counts: Counts, *, formulas: bool) -> ValuePositions | None:
    """Return the values of a window, or None if their spelling is left to the engine.

    Args:
        counts: counts and tags from the scan of the window.
        formulas: whether some cells have a formula, which comes before the value.
    """
    tags = counts.tags
    if tags is None:
        return None
    values = np.flatnonzero(((tags.names & _NAME_MASK) == word(b"<v>")) | (tags.names == word(b"<is>")))
    if not len(values) or len(values) != counts.values or (tags.names == word(b"<v/>")).any():
        return None
    owners = values - 1
    if formulas:
        owners[tags.names[owners] == word(b"</f>")] -= 1
        owners[((tags.names[owners] >> 8) & 0xFF) == ord("f")] -= 1
    if (tags.names[owners] != word(b"<c r")).any():
        return None
    types = tags.at[values] - _VALUE_OFFSET
    shared = words(tags.data, 8)[types] == _SHARED_WORD
    return ValuePositions(tags.at[owners], types if shared.all() else types[shared], shared)
