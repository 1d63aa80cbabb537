"""Owns what the tags of a window tell of its values: where they are, in which columns, which mean shared strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .scan import word
from .views import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .scan import Counts
    from .views import Bytes, Positions

    Mask = NDArray[np.bool_]

#: What stands between the place of a cell and the number of a shared string, as Excel and nearly everybody writes it.
#: No text holds it, for its `<`.
SHARED = b' t="s"><v>'
#: From there to the tag of the value.
_TO_VALUE = SHARED.index(b"<")
_SHARED_WORD = np.uint64(int.from_bytes(SHARED[:8], "little"))
_NAME = np.uint32(0xFFFFFF)
_REF = len(b'<c r="')
_LETTERS = 26


class Values(NamedTuple):
    """The values of a window, in the order in which they are written.

    Attributes:
        cells: where the `<c>` of each begins.
        types: where ` t="s"` begins, of those that are written so.
        shared: which those are.
    """

    cells: Positions
    types: Positions
    shared: Mask

    def columns(self, data: Bytes, letters: int) -> Positions | None:
        """The sheet columns (0-based) of the values, of at most so many letters; None where they are not all told."""
        held = words(data, 4)[self.cells + _REF]
        columns = (held & 0xFF).astype(np.int64) - ord("A")
        told = (columns >= 0) & (columns < _LETTERS)
        for place in range(1, letters):
            letter = ((held >> (8 * place)) & 0xFF).astype(np.int64) - ord("A")
            more = letter >= 0  # digits and quotes come before the letters
            if not more.any():
                break
            told &= letter < _LETTERS
            columns = np.where(more, (columns + 1) * _LETTERS + letter, columns)
        return columns if told.all() else None


def find_values(counts: Counts, *, formulas: bool) -> Values | None:
    """The values of a window; None where they are written in a way that is left to the engine.

    Args:
        counts: what the look at the window told.
        formulas: some cells have one, which stands before the value.
    """
    tags = counts.tags
    if tags is None:
        return None
    values = np.flatnonzero(((tags.names & _NAME) == word(b"<v>")) | (tags.names == word(b"<is>")))
    if not len(values) or len(values) != counts.values:
        return None
    owners = values - 1
    if formulas:
        owners[tags.names[owners] == word(b"</f>")] -= 1
        owners[((tags.names[owners] >> 8) & 0xFF) == ord("f")] -= 1
    if (tags.names[owners] != word(b"<c r")).any():
        return None
    types = tags.at[values] - _TO_VALUE
    shared = words(tags.data, 8)[types] == _SHARED_WORD
    return Values(tags.at[owners], types if shared.all() else types[shared], shared)
