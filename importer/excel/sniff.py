"""Identifies a file by its first bytes, or a zip by its last ones; refuses what holds no table, with advice."""

from __future__ import annotations

import codecs
import os
import re
import stat
import unicodedata
import zipfile
from typing import TYPE_CHECKING, BinaryIO, Literal

from importer.errors import WorkbookRefused
from importer.text_files import WORKBOOK_SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

#: Advice for most other formats.
SAVE_AS = "open it in Excel or LibreOffice and save it as .xlsx"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: Sizes of the sectors of an OLE document, as powers of two.
_SECTOR_SHIFTS = (9, 12)
#: What a file can be that holds tables, as far as its first bytes say.
Format = Literal["zip", "text", "xls"]
#: Other formats that are taken for workbooks, by their first bytes.
_OTHER_FORMATS = {
    b"%PDF": "a PDF", b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"GIF8": "a picture",
    b"\x1f\x8b": "compressed by gzip", b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive", b"Rar!": "a RAR archive",
    b"PAR1": "a Parquet file", b"ARROW1": "an Arrow file", b"SQLite format 3": "an SQLite database",
    b"{\\rtf": "an RTF document", b"\x09\x00\x04\x00": "a workbook of Excel 2",
    b"\x09\x02\x06\x00": "a workbook of Excel 3", b"\x09\x04\x06\x00": "a workbook of Excel 4",
    b"\x09\x08\x08\x00\x00\x05": "an Excel 5 stream without its container",
    b"\x09\x08\x10\x00\x00\x06": "an Excel 97 stream without its container",
    b"\x00\x00\x02\x00\x20\x51": "a Quattro Pro file", b"\x00\x00\x02\x00": "a Lotus 1-2-3 file",
    b"\x00\x00\x1a\x00": "a Lotus 1-2-3 file", b"\xff\x00\x02\x00": "a Works file",
    b"ID;P": "a SYLK file", b"TABLE\r\n0,1": "a DIF file", b"TABLE\n0,1": "a DIF file",
}  # fmt: skip
_OTHER_ADVICE = "unpack it, or open it in the program that made it and save its table as .xlsx or .csv"
#: Texts that are no tables of fields, by their beginning.
_MARKUP = {
    re.compile(rb"(?is)\A<.*urn:schemas-microsoft-com:office:spreadsheet"): "an XML Spreadsheet 2003",
    re.compile(rb"(?is)\A<.*<office:document[\s>]"): "a flat OpenDocument file (.fods)",
    re.compile(
        rb"(?i)\A<(?:!doctype html|html|head|meta|body|table|style|div|script|center|font|title|h[1-6]|p|br)\b"
    ): "an HTML page",
    re.compile(rb"(?i)\A<(?:\?xml|!--|[a-z][\w.-]*(?::[\w.-]+)?[\s>])"): "an XML document",
    re.compile(rb"(?i)\AMIME-Version:"): "a web archive (MIME)",
    re.compile(rb"\A(?:\{\s*\"|\[\s*[{\[])"): "a JSON document",
}
_WIDE_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_WIDE_ZEROS = 0.35
#: Control characters that no text has; a few NUL, or one in so many bytes, are taken for a fault of the text.
_BINARY, _FEW_NULS, _MOST_NULS = re.compile(rb"[\x01-\x06\x0e-\x19\x1c\x1d]"), 2, 100
#: The head of a dBase table: version, date, then the number of records, and sizes that no text has.
_DBASE = re.compile(rb"[\x03\x30\x31\x83\x8b\xf5].[\x01-\x0c][\x01-\x1f].{4}.{2}.{2}\0\0", re.DOTALL)
#: What programs keep beside a workbook, by how its name begins.
_BESIDE_WORKBOOKS = {
    "~$": "the lock file that Excel keeps while a workbook is open",
    ".~lock.": "the lock file that LibreOffice keeps while a workbook is open",
    "._": "what macOS keeps beside a file on a foreign disk, not the file",
}
_LINE_END = re.compile(r"[^\n\r][\n\r]")
#: Categories of characters that no text has: controls, those that are private or do not exist.
_NO_TEXT = {"Cc", "Cn", "Co", "Cs"}
#: Maximum number of workbooks listed when the named file does not exist.
_MAX_LISTED = 8


def check_magic(path: Path) -> Format:
    """Return what a file is by its first bytes, whatever its name; refuse what holds no table, with advice.

    Raises:
        WorkbookRefused: the file is neither a zip nor a text, or not a readable file.
    """
    _check_name(path)
    head = _head(path)
    if not head:
        raise WorkbookRefused("the file is empty (0 bytes)", place=str(path), choice="copy or download it again")
    if head.startswith(_OLE_MAGIC):
        return "xls"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or (head.startswith(b"PK") and len(head) < len("PK\3\4")):
        return "zip"
    if zipfile.is_zipfile(path):
        return "zip"  # with bytes before it, such as a web page sends first; its directory tells where the parts are
    for magic, what in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise WorkbookRefused(f"the file is {what}, not a workbook", place=str(path), choice=_OTHER_ADVICE)
    text = _text_head(head)
    for mark, what in _MARKUP.items():
        if mark.search(text):
            raise WorkbookRefused(f"the file is {what}", place=str(path), choice=SAVE_AS)
    _check_text(path, head, text)
    return "text"


def _check_text(path: Path, head: bytes, text: bytes) -> None:
    """Refuse what is no text.

    Args:
        path: the file.
        head: its first bytes.
        text: the same as UTF-8, if they are known to be UTF-16 or UTF-32.
    """
    nuls = text.count(b"\0")
    if (not nuls and not _BINARY.search(text)) or find_utf16(head):
        return
    if _DBASE.match(head):
        raise WorkbookRefused("the file is a dBase table, not a workbook", place=str(path), choice=_OTHER_ADVICE)
    if _BINARY.search(text):
        raise WorkbookRefused("the file is not a workbook (unknown binary content)", place=str(path), choice=SAVE_AS)
    if nuls > _FEW_NULS + len(text) // _MOST_NULS:
        line = 1 + text[: text.index(0)].count(b"\n")
        raise WorkbookRefused(
            f"the text has {nuls:,} zero bytes in its first {len(text):,}", place=f"{path}, line {line}",
            choice="save it as UTF-8, or as .xlsx, in the program that made it",
        )  # fmt: skip


def find_utf16(head: bytes) -> str:
    """Return in which order of bytes the first ones are a text of UTF-16 with lines; empty if they are not, or in both.

    Read in the wrong order, the signs of every text are characters that do not exist.
    """
    found = []
    for name in ("utf-16-le", "utf-16-be"):
        try:
            text = head[: len(head) // 2 * 2].decode(name)
        except UnicodeDecodeError as exc:
            text = "" if exc.start < len(head) // 2 * 2 - 2 else head[: exc.start].decode(name)
        if _LINE_END.search(text) and not any(
            unicodedata.category(char) in _NO_TEXT for char in set(text) - {*"\t\r\n"}
        ):
            found.append(name)
    return found[0] if len(found) == 1 else ""


def _text_head(head: bytes) -> bytes:
    """Return the first bytes as UTF-8 if they are UTF-16 or UTF-32, and without white space before the text."""
    for bom, name in _WIDE_BOMS.items():
        if head.startswith(bom):
            head = head.decode(name, "ignore").encode()
            break
    else:
        if head[1::2].count(0) > _WIDE_ZEROS * len(head) and not head[::2].count(0):
            head = head.decode("utf-16-le", "ignore").encode()
        elif head[::2].count(0) > _WIDE_ZEROS * len(head) and not head[1::2].count(0):
            head = head.decode("utf-16-be", "ignore").encode()
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")


def _check_name(path: Path) -> None:
    """Refuse a name that the ledger and the report cannot hold, and that of what lies beside a workbook."""
    try:
        os.path.realpath(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise WorkbookRefused(
            f"the file's path is not UTF-8 text: '{shown}'", choice="rename the file, or the folder that it is in"
        ) from None
    except ValueError:
        raise WorkbookRefused(f"no file can be named {str(path)!r}") from None
    for mark, what in _BESIDE_WORKBOOKS.items():
        if path.name.startswith(mark):
            raise WorkbookRefused(f"{path.name!r} is {what}", choice="name the workbook")


def _head(path: Path) -> bytes:
    """Return the first 4 KiB of the file.

    Raises:
        WorkbookRefused: the file is not readable, or is an OLE document without a workbook.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise WorkbookRefused(f"{str(path)!r} is a folder", choice=_workbooks_in(path) or "name one workbook")
        if not stat.S_ISREG(mode):
            # A pipe can be read only once, and a workbook is read from its end.
            raise WorkbookRefused(f"{str(path)!r} is a pipe or a device", choice="save it to a file first")
        with path.open("rb") as file:
            head = file.read(4096)
            if head.startswith(_OLE_MAGIC):
                _check_ole(path, head + file.read(8 << 20) + _ole_directory(file, head))
    except FileNotFoundError:
        raise WorkbookRefused(f"no file {str(path)!r}", choice=_suggest_workbooks(path)) from None
    except PermissionError:
        raise WorkbookRefused(f"no permission to read {str(path)!r}") from None
    except OSError as exc:
        raise WorkbookRefused(f"cannot read {str(path)!r} ({exc.strerror or exc})") from None
    return head


def _ole_directory(file: BinaryIO, head: bytes) -> bytes:
    """Return the first sectors of the directory of an OLE document, which may lie at its end ([MS-CFB] 2.2)."""
    shift, sector = int.from_bytes(head[30:32], "little"), int.from_bytes(head[48:52], "little")
    if shift not in _SECTOR_SHIFTS:
        return b""
    file.seek((sector + 1) << shift)
    return file.read(64 << 10)


def _check_ole(path: Path, content: bytes) -> None:
    """Refuse an OLE document that is encrypted, or holds no workbook, by the names of its streams."""
    # An encrypted workbook is an OLE container with a stream of this name, in UTF-16 ([MS-OFFCRYPTO]).
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise WorkbookRefused("the workbook is encrypted", place=str(path), choice="save it without a password")
    if not any(name.encode("utf-16-le") in content for name in ("Workbook", "Book")):
        if "Root Entry".encode("utf-16-le") not in content:
            raise WorkbookRefused(
                "the file is cut short or damaged: an OLE document without its directory", place=str(path),
                choice="copy or download it again",
            )  # fmt: skip
        raise WorkbookRefused(
            "the file is a Word document, a presentation, or another OLE document", place=str(path),
            choice="name a workbook",
        )  # fmt: skip


def _suggest_workbooks(path: Path) -> str | None:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r} either"
    return _workbooks_in(folder)


def _workbooks_in(folder: Path) -> str | None:
    try:
        names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in WORKBOOK_SUFFIXES)
    except OSError:
        return None
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"workbooks there: {', '.join(names[:_MAX_LISTED])}{more}" if names else None
