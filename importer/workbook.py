"""Owns what a workbook is: identity, format, sheets and their visibility, the date epoch; no cell values.

Formats are told by content, never by the file's name. Parts and relationships follow ECMA-376 part 1 and 2, in
the transitional and the strict namespace.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from .errors import SheetError, WorkbookRefused
from .package import Package

if TYPE_CHECKING:
    from pathlib import Path

    from .settings import Limits

_SAVE_AS = "open it in Excel or LibreOffice and save it as .xlsx"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SPREADSHEET = ("sheet.main+xml", "sheet.macroenabled.main+xml", "template.main+xml", "template.macroenabled.main+xml")


@dataclass(frozen=True)
class Sheet:
    """One entry of the workbook's list of sheets.

    Attributes:
        name: as on the tab.
        kind: `worksheet`, or what it is instead (`chartsheet`, `dialogsheet`, `macrosheet`).
        visibility: `visible`, `hidden` or `veryHidden`.
        part: name of its part in the package.
    """

    name: str
    kind: str
    visibility: str
    part: str


@dataclass(frozen=True)
class Workbook:
    """A workbook that passed the guards.

    Attributes:
        path: where it lies.
        sha256: of the whole file, hex.
        size: bytes.
        sheets: in the order of the tabs.
        epoch_1904: dates count from 1904-01-01 instead of 1899-12-31.
        recalculates: the program that wrote it left formula results to be calculated on opening.
        shared_strings: name of that part, or None.
        styles: name of that part, or None.
    """

    path: Path
    sha256: str
    size: int
    sheets: tuple[Sheet, ...]
    epoch_1904: bool
    recalculates: bool
    shared_strings: str | None
    styles: str | None

    def sheet(self, name: str | None) -> Sheet:
        """The sheet of that name, or the first visible worksheet.

        Raises:
            SheetError: there is none, or it holds no cells by its nature.
        """
        worksheets = [s for s in self.sheets if s.kind == "worksheet"]
        listed = ", ".join(repr(s.name) for s in worksheets) or "none"
        if name is None:
            chosen = next((s for s in worksheets if s.visibility == "visible"), None) or next(iter(worksheets), None)
            if chosen is None:
                raise SheetError("the workbook has no worksheet", place=self.path.name, choice=_SAVE_AS)
            return chosen
        for sheet in self.sheets:
            if sheet.name == name or sheet.name.casefold() == name.casefold():
                if sheet.kind != "worksheet":
                    raise SheetError(f"sheet {name!r} is a {sheet.kind}, it has no cells", choice=f"worksheets: {listed}")
                return sheet
        raise SheetError(f"no sheet {name!r}", place=self.path.name, choice=f"worksheets: {listed}")


def open_workbook(path: Path, limits: Limits) -> Workbook:
    """The workbook's identity and sheets, after all guards that need no cell.

    Raises:
        WorkbookRefused: missing, unreadable, of another format, encrypted, damaged or hostile.
    """
    _check_magic(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with Package(path, limits) as package:
        main = _main_part(package)
        relations = _relations(package, main)
        root = _xml(package, main)
        properties = _child(root, "workbookPr")
        calculation = _child(root, "calcPr")
        return Workbook(
            path=path,
            sha256=digest,
            size=path.stat().st_size,
            sheets=tuple(_sheets(package, root, relations)),
            epoch_1904=_flag(properties, "date1904"),
            recalculates=_flag(calculation, "fullCalcOnLoad"),
            shared_strings=_related(package, relations, "sharedStrings"),
            styles=_related(package, relations, "styles"),
        )


def _check_magic(path: Path) -> None:
    """Refuse, each with its own advice, everything that is not a zip.

    Raises:
        WorkbookRefused: see above; also for a path that is no readable file.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if head.startswith(_OLE_MAGIC):
                raise _refuse_ole(path, head + file.read(8 << 20))
    except FileNotFoundError:
        raise WorkbookRefused(f"no file {str(path)!r}", choice=_neighbours(path)) from None
    except IsADirectoryError:
        raise WorkbookRefused(f"{str(path)!r} is a folder", choice="name one workbook") from None
    except PermissionError:
        raise WorkbookRefused(f"no permission to read {str(path)!r}") from None
    if not head:
        raise WorkbookRefused("the file is empty (0 bytes)", place=str(path), choice="copy or download it again")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        raise WorkbookRefused("the file is HTML or XML with the name of a workbook", place=str(path), choice=_SAVE_AS)
    if b"\0" in head:
        raise WorkbookRefused("the file is no workbook (unknown binary content)", place=str(path), choice=_SAVE_AS)
    raise WorkbookRefused("the file is plain text (CSV?), not a workbook", place=str(path), choice=_SAVE_AS)


def _refuse_ole(path: Path, content: bytes) -> WorkbookRefused:
    # [MS-OFFCRYPTO]: an encrypted workbook is an OLE container with a stream of this name, in UTF-16.
    if "EncryptedPackage".encode("utf-16-le") in content:
        return WorkbookRefused("the workbook is encrypted", place=str(path), choice="save it without a password")
    return WorkbookRefused("the file is an Excel 97-2003 workbook (.xls) or another OLE document", place=str(path), choice=_SAVE_AS)


def _neighbours(path: Path) -> str | None:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r} either"
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in {".xlsx", ".xlsm"})
    return f"workbooks there: {', '.join(names[:8])}" if names else None


def _main_part(package: Package) -> str:
    """The name of the workbook part, after the content type was checked."""
    place = package.path.name
    if "[Content_Types].xml" not in package:
        if "mimetype" in package and b"opendocument" in package.read("mimetype"):
            raise WorkbookRefused("the file is an OpenDocument spreadsheet (.ods)", place=place, choice=_SAVE_AS)
        if any(name.startswith("Index/") for name in package.names):
            raise WorkbookRefused("the file is an Apple Numbers document", place=place, choice="export it as Excel")
        raise WorkbookRefused("the file is a zip archive, not a workbook", place=place, choice="unpack it and name the workbook in it")
    main = _related(package, _relations(package, ""), "officeDocument")
    if main is None:
        raise WorkbookRefused("the package has no workbook part", place=place, choice=_SAVE_AS)
    kind = _content_type(package, main)
    if kind.endswith("sheet.binary.macroenabled.main"):
        raise WorkbookRefused("the file is a binary workbook (.xlsb)", place=place, choice=_SAVE_AS)
    if kind and not kind.endswith(_SPREADSHEET):
        raise WorkbookRefused(f"the file is another Office document ({kind.rsplit('.', 2)[-2]})", place=place, choice="name a workbook")
    return main


def _content_type(package: Package, part: str) -> str:
    """The declared content type of a part, lower case; empty when none is declared."""
    default = ""
    for element in _xml(package, "[Content_Types].xml"):
        kind = element.get("ContentType", "").lower()
        if element.get("PartName", "").lstrip("/").lower() == part.lower():
            return kind
        if element.get("Extension", "").lower() == part.rsplit(".", 1)[-1].lower() and kind != "application/xml":
            default = kind
    return default


def _relations(package: Package, part: str) -> dict[str, tuple[str, str]]:
    """Relationship id -> (last word of the type, name of the target part) of a part (`""`: of the package)."""
    folder, name = posixpath.split(part)
    rels = posixpath.join(folder, "_rels", f"{name}.rels")
    if rels not in package:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for element in _xml(package, rels):
        if element.get("TargetMode") == "External":
            continue
        target = unquote(element.get("Target", ""))
        absolute = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        found[element.get("Id", "")] = (element.get("Type", "").rsplit("/", 1)[-1], absolute)
    return found


def _related(package: Package, relations: dict[str, tuple[str, str]], kind: str) -> str | None:
    return next((part for name, part in relations.values() if name == kind and part in package), None)


def _sheets(package: Package, root: ET.Element, relations: dict[str, tuple[str, str]]) -> list[Sheet]:
    found = []
    for element in root.iter():
        if _local(element.tag) != "sheet":
            continue
        relation = next((v for k, v in element.attrib.items() if _local(k) == "id" and "}" in k), "")
        kind, part = relations.get(relation, ("", ""))
        if part not in package:
            raise WorkbookRefused(f"sheet {element.get('name')!r} has no part in the file", place=package.path.name, choice=_SAVE_AS)
        kind = {"xlMacrosheet": "macrosheet", "xlIntlMacrosheet": "macrosheet"}.get(kind, kind)
        found.append(Sheet(element.get("name", ""), kind, element.get("state", "visible"), part))
    return found


def _xml(package: Package, name: str) -> ET.Element:
    """The root of a small XML part. `Package` refused any DOCTYPE, so no entity can be declared."""
    content = package.read(name)
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"} and "<!DOCTYPE" in content.decode("utf-16", "replace"):
        raise WorkbookRefused(f"part {name!r} has a document type declaration", place=package.path.name)
    try:
        return ET.fromstring(content)  # noqa: S314 - no DOCTYPE, see above
    except (ET.ParseError, ValueError, LookupError) as exc:
        raise WorkbookRefused(f"part {name!r} is not well-formed XML ({exc})", place=package.path.name, choice=_SAVE_AS) from None


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _child(root: ET.Element, name: str) -> ET.Element | None:
    return next((e for e in root if _local(e.tag) == name), None)


def _flag(element: ET.Element | None, name: str) -> bool:
    return element is not None and re.fullmatch(r"1|true|on", element.get(name, "")) is not None
