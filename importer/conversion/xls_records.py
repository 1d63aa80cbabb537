"""Walks the records of an .xls sheet: those of formulas, and how many cells there are, counted apart from any reader.

Source: [MS-XLS] 2.1.4 (records), 2.3.2 (their types), 2.4.175 (MulRk).
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

EOF, BOF, FORMULA, SHARED, ARRAY, MANY_RK = 0x0A, 0x809, 0x06, 0x4BC, 0x221, 0xBD
_WANTED = frozenset({FORMULA, SHARED, ARRAY})
#: Records of cells that are not empty: formula, many numbers, rich text, shared text, number, text, boolean, number.
_CELLS = frozenset({FORMULA, MANY_RK, 0xD6, 0xFD, 0x203, 0x204, 0x205, 0x27E})
_HEAD, _PLACE = struct.Struct("<HH"), struct.Struct("<HH")
#: Bytes of a record of many numbers beside them, and of each.
_MANY_BESIDE, _MANY_EACH = 6, 6


class SheetRecords(NamedTuple):
    """The records of a sheet, without those of its charts.

    Attributes:
        formulas: type, offset and size of those that concern formulas.
        cells: number of cells that are not empty.
    """

    formulas: list[tuple[int, int, int]]
    cells: int


def walk_sheet(stream: bytes, start: int) -> SheetRecords:
    """Return the records of a sheet that begins at an offset of the workbook's stream."""
    formulas, cells = [], 0
    for kind, at, size in _records(stream, start):
        cells += 1 if kind != MANY_RK else (size - _MANY_BESIDE) // _MANY_EACH
        if kind in _WANTED:
            formulas.append((kind, at, size))
            cells -= kind != FORMULA
    return SheetRecords(formulas, cells)


def find_repeated(stream: bytes, start: int) -> tuple[int, int] | None:
    """Return row and column, 0-based, of the first cell of a sheet that is written more than once; None: none is."""
    places = Counter[tuple[int, int]]()
    for kind, at, size in _records(stream, start):
        if kind in _CELLS:
            row, column = _PLACE.unpack_from(stream, at)
            many = (size - _MANY_BESIDE) // _MANY_EACH if kind == MANY_RK else 1
            places.update((row, column + n) for n in range(many))
    return next((place for place, count in sorted(places.items()) if count > 1), None)


def _records(stream: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield type, offset and size of the records of a sheet that concern cells or formulas."""
    at, depth, end, wanted = start, 0, len(stream), _WANTED | _CELLS
    while at + 4 <= end:
        kind, size = _HEAD.unpack_from(stream, at)
        at += 4
        if kind == BOF:
            depth += 1
        elif kind == EOF:
            depth -= 1
            if depth <= 0:
                return
        elif kind in wanted and depth == 1 and at + size <= end:
            yield kind, at, size
        at += size
