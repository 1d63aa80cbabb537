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


def write_small(path: Path, sheet: bytes, following: dict[int, int] | None = None) -> Path:
    """The same with its stream in sectors of 64 bytes, as small ones are written; `following` changes their chain."""
    write_excel5(path, sheet)
    data = path.read_bytes()
    at = data.find(struct.pack("<HHHH", 0x809, 8, 0x500, _BOOK))
    stream = data[at : at + 4096].rstrip(b"\0") + bytes(3)
    mini = stream.ljust(-(-len(stream) // 64) * 64, b"\0")
    chain = {n: n + 1 for n in range(len(mini) // 64 - 1)} | {len(mini) // 64 - 1: _END} | (following or {})
    sectors = mini.ljust(-(-len(mini) // 512) * 512, b"\0")
    last = 2 + len(sectors) // 512
    table = [0xFFFFFFFD, _END, _END, *range(4, last + 1), _END]
    root = _entry("Root Entry", 5, 3, len(mini), 1) + _entry("Book", 2, 0, len(stream), _FREE)
    sizes = (
        struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
        + bytes(10)
        + struct.pack("<IIIIIIII", 1, 1, 0, 4096, 2, 1, _END, 0)
    )
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + sizes + struct.pack("<I", 0)
    path.write_bytes(
        head.ljust(512, b"\xff")
        + _sector(table)
        + root.ljust(512, b"\0")
        + _sector([chain[n] for n in sorted(chain)])
        + sectors
    )
    return path


_END, _FREE = 0xFFFFFFFE, 0xFFFFFFFF


def _sector(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers).ljust(512, b"\xff")


def _entry(name: str, kind: int, start: int, size: int, child: int) -> bytes:
    text = (name + "\0").encode("utf-16-le")
    links = struct.pack("<HBBIII", len(text), kind, 1, _FREE, _FREE, child)
    return text.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)
