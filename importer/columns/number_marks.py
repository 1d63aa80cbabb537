"""Marks the numbers of a window of which its cells say more than a float does: their digits, and how they are shown.

See `cells.frame` for the two arrays. Only cells are looked at that have a style with a digit pattern, or a text that is
long enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.cells.arrow import series_from_numpy
from importer.numbers.exact_digits import exact_digits, find_long

from .arrays import DIGITS, PATTERN, Values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    from importer.decoding.string_views import Positions
    from importer.number_formats.styles import CellFormats


class Numbers(NamedTuple):
    """Cells that hold numbers.

    Attributes:
        cells: index of each among the cells of the window, ascending.
        texts: the numbers as they stand in the cells.
        lengths: their lengths in bytes.
        floats: the floats nearest to them.
        styles: style of each cell.
    """

    cells: Positions
    texts: pl.Series
    lengths: Positions
    floats: NDArray[np.float64]
    styles: NDArray[np.int32]

    def pick(self, which: Positions) -> Numbers:
        """Return some of them."""
        texts = self.texts.gather(series_from_numpy(which.astype(np.uint32)))
        return Numbers(self.cells[which], texts, self.lengths[which], self.floats[which], self.styles[which])


def find_marks(numbers: Numbers, formats: CellFormats) -> Iterator[Values]:
    """Yield the digits of the numbers that a float does not hold, and the digit patterns that show numbers."""
    which = find_long(numbers.texts, numbers.lengths, numbers.floats)
    if len(which):
        long = numbers.pick(which)
        yield from _marks(DIGITS, long.cells, exact_digits(long.texts, series_from_numpy(long.floats)))
    if formats.with_patterns:
        styled = np.flatnonzero(np.isin(numbers.styles, list(formats.with_patterns)))
        shown = formats.digit_patterns(
            series_from_numpy(numbers.styles[styled]), series_from_numpy(numbers.floats[styled])
        )
        yield from _marks(PATTERN, numbers.cells[styled], shown)


def _marks(kind: str, cells: Positions, marks: pl.Series) -> Iterator[Values]:
    marked = marks.is_not_null()
    if marked.any():
        yield Values(kind, cells[marked.to_numpy()], marks.drop_nulls())
