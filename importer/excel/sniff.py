"""Identifies a file by its first bytes, or a zip by its last ones; refuses what is no zip, with advice by format."""

from __future__ import annotations

import os
import stat
import zipfile
from typing import TYPE_CHECKING

from importer.errors import WorkbookRefused

if TYPE_CHECKING:
    from pathlib import Path

#: Advice for most other formats.
SAVE_AS = "open it in Excel or LibreOffice and save it as .xlsx"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: Maximum number of workbooks listed when the named file does not exist.
_MAX_LISTED = 8


def check_magic(path: Path) -> None:
    """Refuse every file that is not a zip, with advice for its format.

    Raises:
        WorkbookRefused: the file is not a zip, or not a readable file.
    """
    _check_name(path)
    head = _head(path)
    if not head:
        raise WorkbookRefused("the file is empty (0 bytes)", place=str(path), choice="copy or download it again")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or (head.startswith(b"PK") and len(head) < len("PK\3\4")):
        return
    if zipfile.is_zipfile(path):
        return  # with bytes before it, such as a web page sends first; its directory tells where the parts are
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        raise WorkbookRefused("the file is HTML or XML with the name of a workbook", place=str(path), choice=SAVE_AS)
    if b"\0" in head:
        raise WorkbookRefused("the file is not a workbook (unknown binary content)", place=str(path), choice=SAVE_AS)
    raise WorkbookRefused("the file is plain text (CSV?), not a workbook", place=str(path), choice=SAVE_AS)


def _check_name(path: Path) -> None:
    """Refuse a name that the ledger and the report cannot hold, and that of a lock file."""
    try:
        os.path.realpath(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise WorkbookRefused(
            f"the file's path is not UTF-8 text: '{shown}'", choice="rename the file, or the folder that it is in"
        ) from None
    except ValueError:
        raise WorkbookRefused(f"no file can be named {str(path)!r}") from None
    if path.name.startswith("~$"):
        raise WorkbookRefused(
            f"{path.name!r} is the lock file that Excel keeps while a workbook is open", choice="name the workbook"
        )


def _head(path: Path) -> bytes:
    """Return the first 4 KiB of the file.

    Raises:
        WorkbookRefused: the file is not readable, or is an OLE document (whose kind shows only further inside).
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
                raise _ole_refusal(path, head + file.read(8 << 20))
    except FileNotFoundError:
        raise WorkbookRefused(f"no file {str(path)!r}", choice=_suggest_workbooks(path)) from None
    except PermissionError:
        raise WorkbookRefused(f"no permission to read {str(path)!r}") from None
    except OSError as exc:
        raise WorkbookRefused(f"cannot read {str(path)!r} ({exc.strerror or exc})") from None
    return head


def _ole_refusal(path: Path, content: bytes) -> WorkbookRefused:
    # An encrypted workbook is an OLE container with a stream of this name, in UTF-16 ([MS-OFFCRYPTO]).
    if "EncryptedPackage".encode("utf-16-le") in content:
        return WorkbookRefused("the workbook is encrypted", place=str(path), choice="save it without a password")
    return WorkbookRefused(
        "the file is an Excel 97-2003 workbook (.xls) or another OLE document", place=str(path), choice=SAVE_AS
    )


def _suggest_workbooks(path: Path) -> str | None:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r} either"
    return _workbooks_in(folder)


def _workbooks_in(folder: Path) -> str | None:
    try:
        names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in {".xlsx", ".xlsm"})
    except OSError:
        return None
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"workbooks there: {', '.join(names[:_MAX_LISTED])}{more}" if names else None
