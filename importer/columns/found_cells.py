"""The cells that were found in a window, with their places in its XML; found by their tags where they may have any."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .attributes import Attributes, read_attributes
from .cell_tags import CellTags, find_cells
from .row_numbers import RowNumbers, read_row_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from importer.decoding.string_views import Positions
    from importer.decoding.tag_scan import Tags


class FoundCells(NamedTuple):
    """The cells of a window, in document order.

    Attributes:
        form: what their tags hold, see `cell_tags`.
        has_formula: whether a cell has a formula; None if none has.
        starts: offset of the text of each.
        ends: offset of its end.
        attributes: attributes of the cells.
        numbers: rows of the window.
        bounds: returns at which offset a cell begins and which one comes after it, by the cell's index.
    """

    form: NDArray[np.uint8]
    has_formula: NDArray[np.bool_] | None
    starts: Positions
    ends: Positions
    attributes: Attributes
    numbers: RowNumbers
    bounds: Callable[[int], tuple[int, int]]


def find_by_tags(tags: Tags, first_row: int) -> FoundCells | None:
    """Return the cells of a window; None if it has none, more than rows and cells, or a row without a valid number.

    Args:
        tags: tags of the window.
        first_row: number of a first row that has none.
    """
    cells = find_cells(tags)
    numbers = None if cells is None else read_row_numbers(tags, cells, first_row)
    if cells is None or numbers is None:
        return None
    attributes = read_attributes(tags.data, tags.at[cells.first], tags.at[cells.first + 1], numbers)
    return FoundCells(
        cells.form, cells.has_formula, cells.starts, cells.ends, attributes, numbers, _bounds_of(tags, cells)
    )


def _bounds_of(tags: Tags, cells: CellTags) -> Callable[[int], tuple[int, int]]:
    def bounds(index: int) -> tuple[int, int]:
        first = cells.first[index]
        return int(tags.at[first]), int(tags.at[first + cells.size[index]])

    return bounds
