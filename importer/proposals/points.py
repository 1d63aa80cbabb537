"""Says what a point before three digits is in the texts of a column: decimal, between groups of digits, or unclear.

`1.234` is a number as Table Schema and PostgreSQL write it, and one thousand and more in many countries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import polars as pl

#: A number that may be one thousand times as large.
POINTED = r"^\s*[+-]?[1-9][0-9]{0,2}\.[0-9]{3}\s*$"
#: A decimal comma, or points between several groups.
_COMMA = r"^[^0-9]*[0-9][0-9.]*,[0-9]{1,2}[^0-9]*$|[0-9]\.[0-9]{3},[0-9]|[0-9]\.[0-9]{3}\.[0-9]{3}"
#: A decimal point: before another number of digits than three, behind a zero, or behind groups by comma.
_POINT = r"[0-9]\.(?:[0-9]{1,2}(?:[^0-9.]|$)|[0-9]{4})|^[^0-9]*0?\.[0-9]|,[0-9]{3}\."


class Points(NamedTuple):
    """What is unclear about the points in some texts.

    Attributes:
        texts: the texts that may be thousands.
        comma: a text with a decimal comma, which says that they are; None if nothing does.
    """

    texts: pl.Series
    comma: str | None


def find_unclear_points(texts: pl.Series) -> Points | None:
    """Return which of some distinct texts may be thousands; None if there are none, or others have a decimal point."""
    pointed = texts.filter(texts.str.contains(POINTED))
    if pointed.is_empty():
        return None
    commas = texts.filter(texts.str.contains(_COMMA))
    if len(commas):
        return Points(pointed, str(commas[0]))
    return None if texts.str.contains(_POINT).any() else Points(pointed, None)
