"""Looks at all texts of a window at once, so that rules that none of them can break are not checked text by text."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

#: Most bytes of texts that are joined: those of usual windows. One may refer to a long shared string in every cell.
_MOST_JOINED = 32 << 20


class TextTraits(NamedTuple):
    """Traits of the texts of a window.

    Attributes:
        longest: bytes of the longest text by array.
        may_hold_nul: whether a text may hold the character NUL; false only if none does.
    """

    longest: dict[str, int]
    may_hold_nul: bool


def find_text_traits(frame: pl.DataFrame) -> TextTraits:
    """Return the traits of all texts of a window's frame (see `cells.frame`)."""
    arrays = {name: array for name, array in frame.to_dict().items() if array.dtype == pl.String}
    if not arrays:
        return TextTraits({}, may_hold_nul=False)
    # The views of texts hold their lengths, so this touches no text.
    length = pl.col(*arrays).str.len_bytes()
    longest = frame.select(length.max()).row(0)
    total = sum(frame.select(length.sum()).row(0))
    # A search in one text takes a third of the time of a search in each, most of it to join them.
    joined = pl.concat(arrays.values()).str.join("") if total <= _MOST_JOINED else pl.Series(["\0"])
    nul = bool(joined.str.contains("\0", literal=True).item())
    return TextTraits({name: most or 0 for name, most in zip(arrays, longest, strict=True)}, nul)
