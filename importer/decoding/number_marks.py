"""Marks the numbers of a frame that the engine read, where the XML says more than a float: digits, digit patterns.

See `cells.frame` for the two arrays; our decoder has its own way (`columns.number_marks`). The cost follows the cells
that have a style with a digit pattern, or a number of 16 and more characters; windows without any cost a search.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells.frame import ROW, digits_name, part, pattern_name
from importer.excel.addresses import column_index
from importer.numbers.exact_digits import LONG_TEXT, exact_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from importer.number_formats.styles import CellFormats

_STYLED = re.compile(rb'<c\b(?=[^>]*\ss="(\d{1,9})")[^>]*\sr="([A-Z]{1,3})(\d{1,7})"')
_LONG = re.compile(
    rb'<c\b(?![^>]*\st="[^n])[^>]*\sr="([A-Z]{1,3})(\d{1,7})"[^>]*>(?:<f\b[^>]*(?:/>|>[^<]*</f>))?<v>([^<]{%d,}|[^<]+[eE]-[0-9]{3,})</v>'
    % LONG_TEXT
)
#: A number of so many characters begins with a digit, a sign or a point; one that is nearly zero has an exponent.
_MAY_BE_LONG = re.compile(rb"<v>[-+.\d](?:[^<]{%d}|[^<eE]*[eE]-[0-9]{3})" % (LONG_TEXT - 1))


def mark_numbers(frame: pl.DataFrame, rows: bytes, formats: CellFormats) -> pl.DataFrame:
    """Return the frame of a window with the arrays of digits and digit patterns that its numbers need.

    Args:
        frame: the frame, see `cells.frame`.
        rows: XML of the window; cells without address get no marks.
        formats: number formats of the cell styles.
    """
    if _MAY_BE_LONG.search(rows):
        for column, cells in _by_column((*place, text.decode("latin-1")) for *place, text in _LONG.findall(rows)):
            frame = _mark(frame, column, digits_name(column), cells, exact_digits)
    if formats.with_patterns:
        styled = ((letters, row, int(style)) for style, letters, row in _STYLED.findall(rows))
        for column, cells in _by_column(cell for cell in styled if cell[2] in formats.with_patterns):
            frame = _mark(frame, column, pattern_name(column), cells, formats.digit_patterns)
    return frame


def _by_column(cells: Iterable[tuple[bytes, bytes, Any]]) -> Iterable[tuple[int, dict[int, Any]]]:
    """Return what is said of each cell, by column and row."""
    found: dict[bytes, dict[int, Any]] = {}
    for letters, row, said in cells:
        found.setdefault(letters, {})[int(row)] = said
    return ((column_index(letters.decode()), said) for letters, said in found.items())


def _mark(
    frame: pl.DataFrame, column: int, name: str, cells: dict[int, Any], find: Callable[[Any, Any], pl.Series]
) -> pl.DataFrame:
    """Return the frame with an array of marks, if any of the cells gets one."""
    if part(column, "number") not in frame.columns:
        return frame
    said = pl.DataFrame({ROW: pl.Series(list(cells), dtype=pl.Int64), "_said": list(cells.values())})
    numbers = frame.select(ROW, pl.col(part(column, "number")).alias("_number")).drop_nulls()
    known = said.join(numbers, on=ROW, how="inner", maintain_order="left")
    marks = known.select(ROW, find(known["_said"], known["_number"]).alias(name)).drop_nulls()
    return frame.join(marks, on=ROW, how="left", maintain_order="left") if len(marks) else frame
