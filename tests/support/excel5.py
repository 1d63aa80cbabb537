"""Writes workbooks of Excel 5 record by record, in containers of xlwt's: what no library writes, or only a hostile one."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from xlwt.CompoundDoc import XlsDoc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: The result of a formula that is a text, which follows it in a record of its own.
TEXT_RESULT = b"\0" + bytes(5) + b"\xff\xff"
_BOOK, _SHEET, _CHART = 5, 0x10, 0x20


def record(kind: int, content: bytes = b"") -> bytes:
    """A record."""
    return struct.pack("<HH", kind, len(content)) + content


def label(row: int, column: int, text: bytes) -> bytes:
    """A text."""
    return record(0x204, struct.pack("<HHHH", row, column, 15, len(text)) + text)


def rich(row: int, column: int, text: bytes) -> bytes:
    """A text with a run of another font."""
    return record(0xD6, struct.pack("<HHHH", row, column, 15, len(text)) + text + b"\x01\x01\x00")


def number(row: int, column: int, value: float) -> bytes:
    """A number of 64 bits."""
    return record(0x203, struct.pack("<HHHd", row, column, 15, value))


def integer(row: int, column: int, *values: int) -> bytes:
    """Integers of 30 bits in one record, which may be in hundredths."""
    if len(values) == 1:
        return record(0x27E, struct.pack("<HHHI", row, column, 15, values[0]))
    cells = b"".join(struct.pack("<HI", 15, value) for value in values)
    return record(0xBD, struct.pack("<HH", row, column) + cells + struct.pack("<H", column + len(values) - 1))


def formula(row: int, column: int, result: bytes, tokens: bytes) -> bytes:
    """A formula with its result."""
    return record(6, struct.pack("<HHH8sHI", row, column, 15, result, 0, 0) + struct.pack("<H", len(tokens)) + tokens)


def dimensions(rows: int, columns: int) -> bytes:
    """How far the sheet is said to reach."""
    return record(0x200, struct.pack("<HHHHH", 0, rows, 0, columns, 0))


def row_facts(row: int, first: int, last: int, *, hidden: bool = False) -> bytes:
    """How far a row is said to reach, and whether it is hidden."""
    return record(0x208, struct.pack("<HHHHHHHH", row, first, last, 255, 0, 0, 0x120 if hidden else 0x100, 15))


def chart(records: bytes) -> bytes:
    """A chart, whose cached numbers are written as cells."""
    return _stream(_CHART, records)


def worksheet(records: bytes) -> bytes:
    """A sheet."""
    return _stream(_SHEET, records)


def _stream(kind: int, records: bytes) -> bytes:
    return record(0x809, struct.pack("<HHHH", 0x500, kind, 0x96C, 0x7C9)) + records + record(10)


def write_excel5(
    path: Path, sheet: bytes, codepage: int | None = 1252, others: Sequence[tuple[bytes, int, int, bytes]] = ()
) -> Path:
    """A workbook with sheet `Data` of these records; others: name, type, visibility (0, 1, 2) and stream."""
    font = record(0x31, struct.pack("<HHHHHBBBBB", 200, 0, 0x7FFF, 400, 0, 0, 0, 0, 0, 5) + b"Arial")
    styles = record(0xE0, struct.pack("<HHHHHHHH", 0, 0, 0xFFF5, 0x20, 0x20C0, 0, 0, 0)) * 15
    cell = record(0xE0, struct.pack("<HHHHHHHH", 0, 0, 1, 0x20, 0x20C0, 0, 0, 0))
    head = record(0x809, struct.pack("<HHHH", 0x500, _BOOK, 0x96C, 0x7C9))
    head += record(0x42, struct.pack("<H", codepage)) if codepage is not None else b""
    head += font * 4 + styles + cell
    sheets = [(b"Data", 0, 0, worksheet(sheet)), *others]
    at = len(head) + sum(11 + len(name) for name, *_ in sheets) + 4
    book = head
    for name, kind, visibility, stream in sheets:
        book += record(0x85, struct.pack("<IBBB", at, visibility, kind, len(name)) + name)
        at += len(stream)
    book += record(10) + b"".join(stream for *_, stream in sheets)
    with path.open("wb") as file:
        XlsDoc().save(file, book.ljust(4096, b"\0"))
    name = "Workbook\0".encode("utf-16-le")
    data = path.read_bytes().replace(name, "Book\0".encode("utf-16-le").ljust(len(name), b"\0"))
    at = data.find("Book\0".encode("utf-16-le"))
    path.write_bytes(data[: at + 64] + struct.pack("<H", 10) + data[at + 66 :])
    return path
