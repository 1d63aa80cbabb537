"""Owns what a workbook is: identity, format, sheets and their visibility, the date epoch; no cell values.

Formats are told by content, never by the file's name. Parts and relationships follow ECMA-376 part 1 and 2, in
the transitional and the strict namespace.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote
from xml.parsers import expat

from .errors import SheetError, WorkbookRefused
from .origin import Origin, read_origin
from .package import SMALL_PART_BYTES, Package

if TYPE_CHECKING:
    from pathlib import Path

    from .settings import Limits

_SAVE_AS = "open it in Excel or LibreOffice and save it as .xlsx"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: So many files of a folder are listed when the named one is not there.
_NEIGHBOURS = 8
#: Elements of interest in a part: 1,048,576 rows of a workbook's list of sheets or parts are an attack.
_MOST_ELEMENTS = 100_000
_OTHER_OFFICE = {
    "wordprocessingml": "Word document",
    "presentationml": "PowerPoint presentation",
    "ms-word": "Word document",
}
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
        origin: what it says of itself when it holds rejects.
    """

    path: Path
    sha256: str
    size: int
    sheets: tuple[Sheet, ...]
    epoch_1904: bool
    recalculates: bool
    shared_strings: str | None
    styles: str | None
    origin: Origin | None = None

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
                    raise SheetError(
                        f"sheet {name!r} is a {sheet.kind}, it has no cells", choice=f"worksheets: {listed}"
                    )
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
        elements = _elements(package, main, {"workbookPr", "calcPr", "sheet"})
        return Workbook(
            path=path,
            sha256=digest,
            size=path.stat().st_size,
            sheets=tuple(_sheets(package, elements, relations)),
            epoch_1904=_flag(elements, "workbookPr", "date1904"),
            recalculates=_flag(elements, "calcPr", "fullCalcOnLoad"),
            shared_strings=_related(package, relations, "sharedStrings"),
            styles=_related(package, relations, "styles"),
            origin=read_origin(package),
        )


def _check_magic(path: Path) -> None:
    """Refuse, each with its own advice, everything that is not a zip.

    Raises:
        WorkbookRefused: see above; also for a path that is no readable file.
    """
    head = _head(path)
    if not head:
        raise WorkbookRefused("the file is empty (0 bytes)", place=str(path), choice="copy or download it again")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or (head.startswith(b"PK") and len(head) < len("PK\3\4")):
        return
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        raise WorkbookRefused("the file is HTML or XML with the name of a workbook", place=str(path), choice=_SAVE_AS)
    if b"\0" in head:
        raise WorkbookRefused("the file is no workbook (unknown binary content)", place=str(path), choice=_SAVE_AS)
    raise WorkbookRefused("the file is plain text (CSV?), not a workbook", place=str(path), choice=_SAVE_AS)


def _head(path: Path) -> bytes:
    """The first bytes of the file.

    Raises:
        WorkbookRefused: no readable file, or an OLE document (whose kind lies deeper in it).
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise WorkbookRefused(f"{str(path)!r} is a folder", choice=_workbooks_in(path) or "name one workbook")
        if not stat.S_ISREG(mode):
            # A pipe can be read once only, and a workbook is read from its end.
            raise WorkbookRefused(f"{str(path)!r} is a pipe or a device", choice="save it to a file first")
        with path.open("rb") as file:
            head = file.read(4096)
            if head.startswith(_OLE_MAGIC):
                raise _refuse_ole(path, head + file.read(8 << 20))
    except FileNotFoundError:
        raise WorkbookRefused(f"no file {str(path)!r}", choice=_neighbours(path)) from None
    except PermissionError:
        raise WorkbookRefused(f"no permission to read {str(path)!r}") from None
    except OSError as exc:
        raise WorkbookRefused(f"cannot read {str(path)!r} ({exc.strerror or exc})") from None
    return head


def _refuse_ole(path: Path, content: bytes) -> WorkbookRefused:
    # [MS-OFFCRYPTO]: an encrypted workbook is an OLE container with a stream of this name, in UTF-16.
    if "EncryptedPackage".encode("utf-16-le") in content:
        return WorkbookRefused("the workbook is encrypted", place=str(path), choice="save it without a password")
    return WorkbookRefused(
        "the file is an Excel 97-2003 workbook (.xls) or another OLE document", place=str(path), choice=_SAVE_AS
    )


def _neighbours(path: Path) -> str | None:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r} either"
    return _workbooks_in(folder)


def _workbooks_in(folder: Path) -> str | None:
    try:
        names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in {".xlsx", ".xlsm"})
    except OSError:
        return None
    more = f" and {len(names) - _NEIGHBOURS} more" if len(names) > _NEIGHBOURS else ""
    return f"workbooks there: {', '.join(names[:_NEIGHBOURS])}{more}" if names else None


def _main_part(package: Package) -> str:
    """The name of the workbook part, after the content type was checked."""
    place = package.path.name
    if "[Content_Types].xml" not in package:
        if "mimetype" in package and b"opendocument" in package.read("mimetype"):
            raise WorkbookRefused("the file is an OpenDocument spreadsheet (.ods)", place=place, choice=_SAVE_AS)
        if any(name.startswith("Index/") for name in package.names):
            raise WorkbookRefused("the file is an Apple Numbers document", place=place, choice="export it as Excel")
        raise WorkbookRefused(
            "the file is a zip archive, not a workbook", place=place, choice="unpack it and name the workbook in it"
        )
    main = _related(package, _relations(package, ""), "officeDocument")
    if main is None:
        raise WorkbookRefused("the package has no workbook part", place=place, choice=_SAVE_AS)
    kind = _content_type(package, main)
    if kind.endswith("sheet.binary.macroenabled.main"):
        raise WorkbookRefused("the file is a binary workbook (.xlsb)", place=place, choice=_SAVE_AS)
    if kind and not kind.endswith(_SPREADSHEET):
        what = next((name for word, name in _OTHER_OFFICE.items() if word in kind), f"document of type {kind}")
        raise WorkbookRefused(f"the file is no workbook but a {what}", place=place, choice="name a workbook")
    return main


def _content_type(package: Package, part: str) -> str:
    """The declared content type of a part, lower case; empty when none is declared."""
    default = ""
    for element in _elements(package, "[Content_Types].xml", {"Override", "Default"}):
        kind = element.attributes.get("ContentType", "").lower()
        if element.attributes.get("PartName", "").lstrip("/").lower() == part.lower():
            return kind
        extension = element.attributes.get("Extension", "").lower()
        if extension == part.rsplit(".", 1)[-1].lower() and kind != "application/xml":
            default = kind
    return default


def _relations(package: Package, part: str) -> dict[str, tuple[str, str]]:
    """Relationship id -> (last word of the type, name of the target part) of a part (`""`: of the package)."""
    folder, name = posixpath.split(part)
    rels = posixpath.join(folder, "_rels", f"{name}.rels")
    if rels not in package:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for _, _, attributes in _elements(package, rels, {"Relationship"}):
        if attributes.get("TargetMode") == "External":
            continue
        target = unquote(attributes.get("Target", ""))
        absolute = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        found[attributes.get("Id", "")] = (attributes.get("Type", "").rsplit("/", 1)[-1], absolute)
    return found


def _related(package: Package, relations: dict[str, tuple[str, str]], kind: str) -> str | None:
    return next((part for name, part in relations.values() if name == kind and part in package), None)


def _sheets(package: Package, elements: list[_Element], relations: dict[str, tuple[str, str]]) -> list[Sheet]:
    found = []
    for _, _, attributes in (e for e in elements if e.name == "sheet"):
        name = attributes.get("name", "")
        relation = next((v for k, v in attributes.items() if _local(k) == "id" and "}" in k), "")
        kind, part = relations.get(relation, ("", ""))
        if part not in package:
            raise WorkbookRefused(f"sheet {name!r} has no part in the file", place=package.path.name, choice=_SAVE_AS)
        kind = {"xlMacrosheet": "macrosheet", "xlIntlMacrosheet": "macrosheet"}.get(kind, kind)
        found.append(Sheet(name, kind, attributes.get("state", "visible"), part))
    return found


class _Element(NamedTuple):
    """An element of a small XML part: local name, depth (0: the root), attributes (`namespace}name`)."""

    name: str
    depth: int
    attributes: dict[str, str]


def _elements(package: Package, part: str, wanted: set[str]) -> list[_Element]:
    """The elements with one of these local names, in order; the rest of the part is not kept.

    Raises:
        WorkbookRefused: not well-formed, or with a document type declaration, in whatever encoding.
    """
    found: list[_Element] = []
    depth = -1

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if (name := _local(tag)) in wanted:
            found.append(_Element(name, depth, attributes))
            if len(found) > _MOST_ELEMENTS:
                raise WorkbookRefused(
                    f"part {part!r} lists more than {_MOST_ELEMENTS:,} things", place=package.path.name
                )

    def end(_tag: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: object) -> None:
        raise WorkbookRefused(
            f"part {part!r} has a document type declaration, which no workbook needs and attacks use",
            place=package.path.name,
        )

    if package.size(part) > SMALL_PART_BYTES:
        raise WorkbookRefused(
            f"part {part!r} is {package.size(part):,} bytes, far more than such a part needs", place=package.path.name
        )
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    try:
        for block in package.stream(part):
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as exc:
        raise WorkbookRefused(
            f"part {part!r} is not well-formed XML ({exc})", place=package.path.name, choice=_SAVE_AS
        ) from None
    return found


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _flag(elements: list[_Element], name: str, attribute: str) -> bool:
    """Whether a direct child of the root says so; Excel 2013 writes another `workbookPr` deeper in the part."""
    element = next((e for e in elements if e.name == name and e.depth == 1), None)
    return element is not None and re.fullmatch(r"1|true|on", element.attributes.get(attribute, "")) is not None
