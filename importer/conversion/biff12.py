"""Reads the records of a part of a binary workbook (.xlsb), and the values in them.

Source: [MS-XLSB] 2.1.4 (records), 2.5.122 (RkNumber), 2.5.168 (XLWideString).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from importer.errors import WorkbookRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.excel.package import Package

#: Types of records.
ROW, CELL_RK, CELL_ERROR, CELL_BOOL, CELL_REAL, CELL_TEXT, CELL_SHARED = 0, 2, 3, 4, 5, 6, 7
FORMULA_TEXT, FORMULA_NUMBER, FORMULA_BOOL, FORMULA_ERROR, CELL_RICH = 8, 9, 10, 11, 62
FORMULAS, ARRAY_FORMULA, SHARED_FORMULA = range(8, 12), 426, 427
SHORT_CELLS = range(12, 19)
SHARED_ITEM, FORMAT, CELL_FORMAT, COLUMNS = 19, 44, 47, 60
BEGIN_ROWS, END_ROWS, BOOK_PROPERTIES, SHEET, MERGE = 145, 146, 153, 156, 176
BEGIN_CELL_FORMATS, END_CELL_FORMATS = 617, 618

_U32, _DOUBLE = struct.Struct("<I"), struct.Struct("<d")
#: Most bytes of the size of a record.
_SIZE_BYTES = 4


def read_records(package: Package, part: str) -> Iterator[tuple[int, memoryview]]:
    """Yield type and content of each record of a part.

    Raises:
        WorkbookRefused: the part is damaged: a record is longer than what is left of it.
    """
    data = b""
    for block in package.stream(part):
        data = data + block if data else block
        at = 0
        view = memoryview(data)
        while True:
            head = _head(data, at)
            if head is None or head[1] + head[2] > len(data):
                break
            kind, start, size = head
            yield kind, view[start : start + size]
            at = start + size
        data = data[at:]
    if data:
        raise WorkbookRefused(
            f"part {part!r} is cut short, or a record in it states a wrong length", place=package.path.name,
            choice="copy it again, or open it in Excel and save it as .xlsx",
        )  # fmt: skip


def _head(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return type, start and size of the record at an offset; None if its head is not whole."""
    end = len(data)
    if at >= end:
        return None
    kind = data[at] & 0x7F
    if data[at] & 0x80:
        at += 1
        if at >= end:
            return None
        kind |= (data[at] & 0x7F) << 7
    at += 1
    size = 0
    for n in range(_SIZE_BYTES):
        if at >= end:
            return None
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << (7 * n)
        if byte < 0x80:  # noqa: PLR2004 - its highest bit says that more follow
            break
    return kind, at, size


def wide_string(content: memoryview, at: int) -> tuple[str, int]:
    """Return a text of UTF-16 with its length before it, and the offset after it.

    Raises:
        struct.error: the record is too short.
    """
    (count,) = _U32.unpack_from(content, at)
    end = at + 4 + 2 * count
    if end > len(content):
        raise struct.error("a text is longer than its record")
    return str(content[at + 4 : end], "utf-16-le", "surrogatepass"), end


def rk_number(content: memoryview, at: int) -> float:
    """Return a number of 32 bits: an integer or the high bits of a float, perhaps in hundredths."""
    (rk,) = _U32.unpack_from(content, at)
    if rk & 2:
        whole = rk >> 2
        value = float(whole - (1 << 30) if whole & (1 << 29) else whole)
    else:
        value = _DOUBLE.unpack(struct.pack("<II", 0, rk & 0xFFFFFFFC))[0]
    return value / 100 if rk & 1 else value
