"""Looks at all texts of a window at once, so that rules that none of them can break are not checked text by text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def find_text_traits(frame: pl.DataFrame, *, may_hold_nul: bool = True) -> TextTraits:
    """Return the traits of all texts of a window's frame (see `cells.frame`); it may be known that none holds NUL."""
    arrays = {name: array for name, array in frame.to_dict().items() if array.dtype == pl.String}
    if not arrays:
        return TextTraits({}, may_hold_nul=False)
    # The views of texts hold their lengths, so this touches no text.
    length = pl.col(*arrays).str.len_bytes()
    longest = frame.select(length.max()).row(0)
    nul = may_hold_nul and _may_hold_nul(arrays.values(), sum(frame.select(length.sum()).row(0)))
    return TextTraits({name: most or 0 for name, most in zip(arrays, longest, strict=True)}, nul)


def _may_hold_nul(arrays: Iterable[pl.Series], total: int) -> bool:
    """Return whether one of some texts, which have so many bytes in all, may hold NUL."""
    # A search in one text takes a third of the time of a search in each, most of it to join them.
    joined = pl.concat(arrays).str.join("") if total <= _MOST_JOINED else pl.Series(["\0"])
    return bool(joined.str.contains("\0", literal=True).item())
