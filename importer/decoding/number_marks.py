"""Marks the numbers of a frame that the engine read, where the XML says more than a float: digits, digit patterns.

See `cells.frame` for the two arrays; our decoder has its own way (`columns.number_marks`). The cost follows the cells
that have a style with a digit pattern, or a number of 16 and more characters; windows without any cost a search.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells.frame import ROW, digits_name, part, pattern_name
from importer.excel.addresses import column_index, column_letters
from importer.excel.cell_elements import parse_cells
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


#: A cell without an address, which is behind the one before it.
_WITHOUT_ADDRESS = re.compile(rb"<c(?:>|\s(?![^>]*\br\s*=)[^>]*>)")


def mark_numbers(frame: pl.DataFrame, rows: bytes, formats: CellFormats, first_row: int) -> pl.DataFrame:
    """Return the frame of a window with the arrays of digits and digit patterns that its numbers need.

    Args:
        frame: the frame, see `cells.frame`.
        rows: XML of the window.
        formats: number formats of the cell styles.
        first_row: sheet row of a first `<row>` without number.
    """
    long = _MAY_BE_LONG.search(rows) is not None
    if not long and not formats.with_patterns:
        return frame
    parsed = _numbers(rows, first_row) if _WITHOUT_ADDRESS.search(rows) else None
    if long:
        texts = (
            _LONG.findall(rows)
            if parsed is None
            else [each[:3] for each in parsed if _MAY_BE_LONG.match(b"<v>" + each[2])]
        )
        for column, cells in _by_column((c, row, text.decode("latin-1")) for c, row, text in texts):
            frame = _mark(frame, column, digits_name(column), cells, exact_digits)
    if formats.with_patterns:
        styled = _STYLED.findall(rows) if parsed is None else [(style, c, row) for c, row, _, style in parsed if style]
        chosen = ((c, row, int(style)) for style, c, row in styled)
        for column, cells in _by_column(cell for cell in chosen if cell[2] in formats.with_patterns):
            frame = _mark(frame, column, pattern_name(column), cells, formats.digit_patterns)
    return frame


def _numbers(rows: bytes, first_row: int) -> list[tuple[bytes, int, bytes, bytes]]:
    """Return letters, row, text and style of each number of a window, also of cells without an address."""
    return [
        (column_letters(cell.column).encode(), cell.row, cell.content, cell.style)
        for cell in parse_cells(rows, first_row)
        if cell.kind == "number"
    ]


def _by_column(cells: Iterable[tuple[bytes, bytes | int, Any]]) -> Iterable[tuple[int, dict[int, Any]]]:
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
