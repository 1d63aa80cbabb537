"""Writes the uncompressed workbook that the engine reads: our own package around the original styles and some rows.

The engine finds sheets through `xl/workbook.xml`. Writing that part ourselves has four advantages: every window of a
sheet is a sheet of its own and can be read while later windows are still being cut; other sheets (macro sheets that
the engine refuses) are left out; the date epoch is set by us (the `x15:workbookPr` element of Excel 2013 makes calamine
lose it, calamine issue 706); and nothing is inflated twice.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, BinaryIO, Self

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_ZIP64_VERSION = 45
_DOS_DATE = 0x21  # 1980-01-01, the earliest date that zip can express
_MAX32 = 0xFFFFFFFF

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE_NAMESPACE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE_NAMESPACE = "http://schemas.openxmlformats.org/package/2006"
_XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
SHEET_OPEN = f'{_XML_DECLARATION}<worksheet xmlns="{MAIN}" xmlns:r="{_OFFICE_NAMESPACE}"><sheetData>'.encode()
SHEET_CLOSE = b"</sheetData></worksheet>"


class StoredZip:
    """A writer for a zip of stored (uncompressed) parts, in zip64 format; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("wb")
        self._entries: list[tuple[bytes, int, int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self._write_directory()
        finally:
            self._file.close()

    def add(self, name: str, blocks: Iterable[bytes]) -> tuple[int, int]:
        """Write one part and return the offset and length of its bytes in the file."""
        start, crc, size = self._file.tell(), 0, 0
        self._file.write(self._local(name.encode(), 0, 0))
        offset = self._file.tell()
        for block in blocks:
            crc = isal_zlib.crc32(block, crc)
            size += len(block)
            self._file.write(block)
        self._file.seek(start)
        self._file.write(self._local(name.encode(), crc, size))
        self._file.seek(offset + size)
        self._entries.append((name.encode(), crc, size, start))
        return offset, size

    def reserve(self, name: str, size: int) -> int:
        """Reserve room for a part of `size` bytes to be written later, and return the offset of its bytes.

        The engine checks no CRC and reads nothing after the end of the rows, so the part may be written after the
        archive was opened, may be overwritten, and need not fill its room.
        """
        start = self._file.tell()
        self._file.write(self._local(name.encode(), 0, size))
        offset = self._file.tell()
        self._file.seek(size, io.SEEK_CUR)
        self._entries.append((name.encode(), 0, size, start))
        return offset

    def _local(self, name: bytes, crc: int, size: int) -> bytes:
        # With a fixed-size zip64 field the header's length is known before the part's size is.
        extra = struct.pack("<2H2Q", 1, 16, size, size)
        return (
            _LOCAL.pack(b"PK\3\4", _ZIP64_VERSION, 0, 0, 0, _DOS_DATE, crc, _MAX32, _MAX32, len(name), len(extra))
            + name
            + extra
        )

    def _write_directory(self) -> None:
        start = self._file.tell()
        for name, crc, size, offset in self._entries:
            extra = struct.pack("<2H3Q", 1, 24, size, size, offset)
            sizes = (crc, _MAX32, _MAX32, len(name), len(extra), 0, 0, 0, 0, _MAX32)
            self._file.write(
                _CENTRAL.pack(b"PK\1\2", _ZIP64_VERSION, _ZIP64_VERSION, 0, 0, 0, _DOS_DATE, *sizes) + name + extra
            )
        end, count = self._file.tell(), len(self._entries)
        self._file.write(
            _END64.pack(b"PK\6\6", 44, _ZIP64_VERSION, _ZIP64_VERSION, 0, 0, count, count, end - start, start)
        )
        self._file.write(_LOCATOR64.pack(b"PK\6\7", 0, end, 1))
        self._file.write(_END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, _MAX32, _MAX32, 0))


def sheet_part(number: int) -> str:
    """Return the part name of sheet `number`, counted from 0."""
    return f"xl/worksheets/cut{number}.xml"


def sheet_blocks(rows: bytes, anchor: int | None) -> list[bytes]:
    """Return a worksheet part around the raw XML of some rows, in blocks.

    The anchor row pins the engine's used range, so that positions become absolute. Its only cell is an error in
    column A, because an error is the one kind of cell that does not affect the dtype the engine chooses for a column.

    Args:
        rows: `<row>` elements in the main namespace without prefix.
        anchor: number of the row before them, or None if they start at row 1.
    """
    pin = f'<row r="{anchor}"><c r="A{anchor}" t="e"><v>#N/A</v></c></row>'.encode() if anchor else b""
    return [SHEET_OPEN, pin, rows, SHEET_CLOSE]


def add_workbook_parts(archive: StoredZip, *, sheets: int, epoch_1904: bool, strings: bool, styles: bool) -> None:
    """Write the parts that make the sheets a workbook: content types, relationships and the workbook part.

    Args:
        archive: the zip to write to.
        sheets: number of sheets.
        epoch_1904: whether dates count from 1904-01-01.
        strings: whether the archive has a shared strings part.
        styles: whether the archive has a styles part.
    """
    listed = "".join(f'<sheet name="cut{n}" sheetId="{n + 1}" r:id="rId{n + 1}"/>' for n in range(sheets))
    epoch = ' date1904="1"' if epoch_1904 else ""
    parts = {
        "[Content_Types].xml": f'{_XML_DECLARATION}<Types xmlns="{_PACKAGE_NAMESPACE}/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": _relationships([("rId1", "officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'{_XML_DECLARATION}<workbook xmlns="{MAIN}" xmlns:r="{_OFFICE_NAMESPACE}">'
        f"<workbookPr{epoch}/>"
        f"<sheets>{listed}</sheets></workbook>",
    }
    relations = [(f"rId{n + 1}", "worksheet", sheet_part(n).removeprefix("xl/")) for n in range(sheets)]
    relations += [("rIdStrings", "sharedStrings", "sharedStrings.xml")] if strings else []
    relations += [("rIdStyles", "styles", "styles.xml")] if styles else []
    parts["xl/_rels/workbook.xml.rels"] = _relationships(relations)
    for name, text in parts.items():
        archive.add(name, [text.encode()])


def _relationships(relations: list[tuple[str, str, str]]) -> str:
    listed = "".join(
        f'<Relationship Id="{i}" Type="{_OFFICE_NAMESPACE}/{kind}" Target="{target}"/>' for i, kind, target in relations
    )
    return f'{_XML_DECLARATION}<Relationships xmlns="{_PACKAGE_NAMESPACE}/relationships">{listed}</Relationships>'
