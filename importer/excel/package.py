"""Owns the zip container of a workbook: its directory, the checks on it, and streams of parts with verified CRC.

The engine checks neither CRC nor sizes, so every part passes through here before it reaches the engine. The format is
PKWARE's APPNOTE 6.3; only what Open Packaging allows (stored and deflated parts, no encryption) is accepted.
"""

from __future__ import annotations

import os
import re
import struct
import threading
import zipfile
from typing import TYPE_CHECKING, BinaryIO, Self, cast
from urllib.parse import unquote

from isal import isal_zlib

from importer.errors import WorkbookRefused

from .byte_search import holds_declaration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from importer.settings import Limits

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_READ_BYTES = 256 << 10
#: Maximum size of a block that a stream yields; limits what one read of a hostile part can inflate to at once.
BLOCK_BYTES = 4 << 20
#: Maximum size of parts that are read whole: workbook, relationships, content types. Those written by Excel are far
#: below 1 MiB even with thousands of sheets.
SMALL_PART_BYTES = 64 << 20
#: How the header of an entry begins, and where a directory is if only its zip64 record says that.
_LOCAL, _IN_ZIP64 = b"PK\x03\x04", 0xFFFFFFFF
#: How a zip's end-of-directory record begins, and its size: 22 bytes and a comment of at most 64 KiB.
_END, _LEAST_END_BYTES, _END_BYTES = b"PK\x05\x06", 22, 22 + 0xFFFF
_ENTRY_BYTES = 512  # most of a directory entry, on average: 46 and the name; names of parts are below 100
_ELEMENT = re.compile(rb"<[A-Za-z_]")
_ENCRYPTED, _UTF8 = 0x1, 0x800
_RESAVE = "open it in the program that made it and save it again as .xlsx"


class _Last(threading.local):
    """The directory that this thread read last: for one small sheet, the same workbook is opened five times."""

    key: tuple[object, ...] = ()
    parts: Mapping[str, zipfile.ZipInfo]


_last = _Last()


class Package:
    """An open zip whose directory passed all checks; a context manager.

    Raises:
        WorkbookRefused: not a readable zip, too many parts, or two parts with the same name.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        self._file: BinaryIO = path.open("rb")
        try:
            file = os.fstat(self._file.fileno())
            key = (path, limits.part_count, file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns)
            if key != _last.key:
                _last.parts, _last.key = self._directory(), key
            self._parts = _last.parts
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def _directory(self) -> dict[str, zipfile.ZipInfo]:
        self._check_directory_size()
        try:
            infos = self._entries()
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError) as exc:
            place, choice = f"{self.path.name} ({exc})", "copy or download it again"
            raise WorkbookRefused("the zip container is damaged or cut short", place=place, choice=choice) from None
        if len(infos) > self._limits.part_count:
            fact = f"the workbook has {len(infos):,} parts, more than {self._limits.part_count:,}"
            raise WorkbookRefused(fact, place=self.path.name)
        parts: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            if parts.setdefault(_key(info.filename), info) is not info:
                raise WorkbookRefused(f"two parts are named {info.filename!r}", place=self.path.name, choice=_RESAVE)
            self._content_start(info)
        return parts

    def _entries(self) -> list[zipfile.ZipInfo]:
        """Return the entries of the directory; some mail and web programs add bytes before the zip, or behind it.

        In a file that begins as a zip, another one may be a part, such as a workbook in a workbook. Where the rest is
        cut off, its directory is not that of the file.
        """
        end = self._end_of_directory()
        size = self._file.seek(0, 2)
        cut = end >= 0 and size - end > _END_BYTES
        archive = zipfile.ZipFile(
            cast("BinaryIO", _Beginning(self._file, end + _LEAST_END_BYTES)) if cut else self._file
        )
        self._file.seek(max(end, 0))
        begins = int.from_bytes(self._file.read(_LEAST_END_BYTES)[16:20], "little")
        self._file.seek(0)
        whole = self._file.read(len(_LOCAL)) != _LOCAL or begins in {archive.start_dir, _IN_ZIP64}
        if not whole:
            raise zipfile.BadZipFile("its directory is that of a part")
        return archive.infolist()

    def _end_of_directory(self) -> int:
        """Return where the end-of-directory record is; -1 if there is none."""
        size = self._file.seek(0, 2)
        position, follows = size, b""
        while position > 0:
            start = max(position - _READ_BYTES, 0)
            self._file.seek(start)
            block = self._file.read(position - start) + follows
            if (end := block.rfind(_END)) >= 0:
                return start + end
            position, follows = start, block[: len(_END) - 1]
        return -1

    def _check_directory_size(self) -> None:
        """Refuse a directory that would fill the memory before its entries can be counted."""
        end = self._end_of_directory()
        self._file.seek(max(end, 0))
        record = self._file.read(_LEAST_END_BYTES)
        # The 4 bytes at offset 12 are the directory's size; zip64 writes 0xFFFFFFFF there, which is refused.
        directory = int.from_bytes(record[12:16], "little") if end >= 0 else 0
        if directory > self._limits.part_count * _ENTRY_BYTES:
            most = f"{self._limits.part_count:,}"
            raise WorkbookRefused(
                f"the workbook has too many parts, or their names are too long (at most {most} parts)",
                place=self.path.name,
            )

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._parts

    @property
    def names(self) -> list[str]:
        """Names of all parts, as written in the directory."""
        return [info.filename for info in self._parts.values()]

    def size(self, name: str) -> int:
        """Return the inflated size declared in the directory, in bytes; it may be false, `stream` verifies it."""
        return self._parts[_key(name)].file_size

    def read(self, name: str) -> bytes:
        """Return the bytes of one small part.

        Raises:
            KeyError: there is no such part.
            WorkbookRefused: the part is damaged or too large.
        """
        if self.size(name) > SMALL_PART_BYTES:
            raise self._refusal(name, f"is {self.size(name):,} bytes, far more than such a part needs")
        return b"".join(self.stream(name))

    def stream(self, name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Yield the inflated bytes of a part in blocks, checking CRC, declared size and ratio.

        Args:
            name: name of the part.
            block_bytes: maximum size of a block; stored parts come in blocks as they are read.

        Raises:
            WorkbookRefused: the part is damaged, larger than declared, over the limits, or has a document type
                declaration.
        """
        info = self._parts[_key(name)]
        if info.file_size > self._limits.part_bytes:
            fact = f"would be {info.file_size:,} bytes inflated, over the limit of {self._limits.part_bytes:,}"
            raise self._refusal(name, fact)
        total, crc, tail, doctype, prolog = 0, 0, b"", b"", True
        for block in self._inflate(name, info, block_bytes):
            total += len(block)
            if total > info.file_size:
                raise self._refusal(name, f"declares {info.file_size:,} bytes but holds more")
            self._check_ratio(name, info, total)
            crc = isal_zlib.crc32(block, crc)
            if prolog:
                # No spreadsheet program writes a DOCTYPE; entity bombs and external entities need one.
                doctype = doctype or _encoded_doctype(block)
                marked = holds_declaration(block)
                searched = block if marked or doctype[:2] != b"<!" else b""
                if doctype in searched or doctype in tail + block[: len(doctype)]:
                    fact = "has a document type declaration, which no workbook needs and attacks use"
                    raise self._refusal(name, fact)
                # It must come before the first element (XML 1.0, production 22). A comment may contain what looks like
                # an element; elements in a wide encoding are not recognised, and such a part is searched to its end.
                prolog = marked or _ELEMENT.search(block) is None
                tail = block[-len(doctype) :]
            yield block
        if total != info.file_size or crc != info.CRC:
            raise self._refusal(name, "fails its checksum: the file was altered or damaged after it was saved")

    def _inflate(self, name: str, info: zipfile.ZipInfo, block_bytes: int) -> Iterator[bytes]:
        """Yield the inflated blocks of a part; only the deflate format is checked."""
        if info.flag_bits & _ENCRYPTED:
            raise self._refusal(name, "is encrypted", "remove the password and save it again")
        if info.compress_type == zipfile.ZIP_STORED:
            yield from self._stored_blocks(info)
            return
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise self._refusal(name, f"uses zip compression method {info.compress_type}")
        inflater = isal_zlib.decompressobj(wbits=-15)
        try:
            for raw in self._stored_blocks(info):
                data = raw
                while data:
                    block = inflater.decompress(data, block_bytes)
                    data = inflater.unconsumed_tail
                    if block:
                        yield block
            while block := inflater.decompress(b"", block_bytes):
                yield block
        except isal_zlib.error as exc:  # type: ignore[misc]  # its stub calls the class an instance
            raise self._refusal(name, f"cannot be inflated ({exc})") from None
        if not inflater.eof:
            raise self._refusal(name, "is cut short")

    def _stored_blocks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the bytes of a part as stored in the file, in blocks."""
        start = self._content_start(info)
        position, end = start, start + info.compress_size
        while position < end:
            # Seek every time: another part may have been read between two blocks of this one.
            self._file.seek(position)
            raw = self._file.read(min(end - position, _READ_BYTES))
            if not raw:
                raise self._refusal(info.filename, "is cut short")
            position += len(raw)
            yield raw

    def _content_start(self, info: zipfile.ZipInfo) -> int:
        """Return where the bytes of a part begin; refuse one with another name there, which other readers would see."""
        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(_LOCAL):
            raise self._refusal(info.filename, "is not where the zip directory says")
        *_, length, extra_length = _LOCAL_HEADER.unpack(header)
        name = self._file.read(length).decode("utf-8" if info.flag_bits & _UTF8 else "cp437", "replace")
        if _key(name) != _key(info.orig_filename):
            raise self._refusal(info.filename, f"has another name in the file than in its directory: {name!r}")
        return info.header_offset + _LOCAL_HEADER.size + int(length + extra_length)

    def _check_ratio(self, name: str, info: zipfile.ZipInfo, total: int) -> None:
        if total > self._limits.ratio_grace_bytes and total > self._limits.inflate_ratio * max(info.compress_size, 1):
            raise self._refusal(
                name, f"inflates to more than {self._limits.inflate_ratio} times its size", "it looks like a zip bomb"
            )

    def _refusal(self, name: str, fact: str, choice: str = _RESAVE) -> WorkbookRefused:
        return WorkbookRefused(f"part {name!r} {fact}", place=self.path.name, choice=choice)


class _Beginning:
    """The first bytes of a file, as if it had no others."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + (0, self._file.tell(), self._size)[whence])

    def tell(self) -> int:
        return self._file.tell()

    def read(self, count: int = -1) -> bytes:
        left = max(self._size - self._file.tell(), 0)
        return self._file.read(left if count < 0 else min(count, left))

    def seekable(self) -> bool:
        return True


def _key(name: str) -> str:
    """Return a part's name as it is compared: no case, no `%20`, and no backslashes, which older .NET writes."""
    return unquote(name).replace("\\", "/").removeprefix("./").lstrip("/").lower()


def _encoded_doctype(start: bytes) -> bytes:
    """Return `<!DOCTYPE` in the encoding of a part that begins with `start` (XML 1.0, appendix F)."""
    little = start[:2] == b"\xff\xfe" or start[1:2] == b"\0"
    big = start[:2] == b"\xfe\xff" or start[:1] == b"\0"
    return "<!DOCTYPE".encode("utf-16-le" if little else "utf-16-be" if big else "ascii")
