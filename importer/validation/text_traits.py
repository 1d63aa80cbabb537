"""Looks at all texts of a window at once, so that rules that none of them can break are not checked text by text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

#: Most bytes of texts that are joined: those of usual windows. One may refer to a long shared string in every cell.
_MOST_JOINED = 32 << 20
#: More bytes than a text has.
_NO_LENGTH = (1 << 32) - 1


class TextTraits(NamedTuple):
    """Traits of the texts of a window.

    Attributes:
        longest: bytes of the longest text by array; 0 if it has none.
        shortest: bytes of the shortest text by array; 2^32-1 if it has none.
        may_hold_nul: whether a text may hold the character NUL; false only if none does.
    """

    longest: dict[str, int]
    shortest: dict[str, int]
    may_hold_nul: bool


def find_text_traits(frame: pl.DataFrame, *, may_hold_nul: bool = True) -> TextTraits:
    """Return the traits of all texts of a window's frame (see `cells.frame`); it may be known that none holds NUL."""
    arrays = {name: array for name, array in frame.to_dict().items() if array.dtype == pl.String}
    if not arrays:
        return TextTraits({}, {}, may_hold_nul=False)
    every = pl.concat(arrays.values())
    # The views of texts hold their lengths, so this touches no text. One query: there may be hundreds of arrays.
    lengths = every.str.len_bytes()
    longest, shortest = (
        lengths.fill_null(empty).to_numpy().reshape(len(arrays), len(frame)) for empty in (0, _NO_LENGTH)
    )
    nul = may_hold_nul and _may_hold_nul(every, int(longest.sum(dtype=np.int64)))
    return TextTraits(
        dict(zip(arrays, longest.max(axis=1, initial=0).tolist(), strict=True)),
        dict(zip(arrays, shortest.min(axis=1, initial=_NO_LENGTH).tolist(), strict=True)),
        nul,
    )


def _may_hold_nul(texts: pl.Series, total: int) -> bool:
    """Return whether one of some texts, which have so many bytes in all, may hold NUL."""
    # A search in one text takes a third of the time of a search in each, most of it to join them.
    joined = texts.str.join("") if total <= _MOST_JOINED else pl.Series(["\0"])
    return bool(joined.str.contains("\0", literal=True).item())
