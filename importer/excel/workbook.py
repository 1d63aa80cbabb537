"""Owns the facts of a workbook outside its cells: hash, format, sheets and their visibility, date epoch.

The format is detected from the content, never from the file's name. Parts and relationships follow ECMA-376 part 1
and 2, in the transitional and the strict namespace.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from importer.errors import SheetError, WorkbookRefused

from .package import Package
from .rejects_origin import Origin, SheetOrigins, read_origins
from .sniff import SAVE_AS, check_magic
from .xml_elements import Element, find_elements, local_name, refuse_needed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from importer.settings import Limits
    from importer.text_files import TextDialect

_OTHER_OFFICE = {
    "wordprocessingml": "Word document",
    "presentationml": "PowerPoint presentation",
    "ms-word": "Word document",
}
_SPREADSHEET = ("sheet.main+xml", "sheet.macroenabled.main+xml", "template.main+xml", "template.macroenabled.main+xml")

#: The types of spreadsheets of other formats.
_OPEN_DOCUMENT, _BINARY = b"application/vnd.oasis.opendocument.spreadsheet", "sheet.binary.macroenabled.main"

#: Kind of a sheet that is listed but not in the file, such as a module of Excel 95; others can be read.
_WITHOUT_PART = "missing"


@dataclass(frozen=True)
class Sheet:
    """One entry of the workbook's list of sheets.

    Attributes:
        name: name of the sheet, as on its tab.
        kind: `worksheet`, `chartsheet`, `dialogsheet`, `macrosheet`, or `missing`.
        visibility: `visible`, `hidden` or `veryHidden`.
        part: name of the sheet's part in the package.
    """

    name: str
    kind: str
    visibility: str
    part: str


class Piece(NamedTuple):
    """The piece of a sheet that somebody asked for: a range of cells, rows 1-based, columns 0-based, all inclusive.

    Attributes:
        asked: the range or the name, as it was given.
        top: first row.
        left: first column.
        bottom: last row.
        right: last column.
        header_rows: number of header rows that an Excel table states; None if it is none.
        totals_rows: number of totals rows that it states.
    """

    asked: str
    top: int
    left: int
    bottom: int
    right: int
    header_rows: int | None = None
    totals_rows: int = 0


@dataclass(frozen=True)
class Workbook:
    """A workbook that passed all checks that need no cells.

    Attributes:
        path: location of the file.
        sha256: SHA-256 of the whole file, in hex.
        size: size of the file in bytes.
        sheets: all sheets, in the order of the tabs.
        epoch_1904: whether dates count from 1904-01-01 instead of 1899-12-31.
        recalculate_on_load: whether the workbook asks for its formulas to be recalculated on opening.
        shared_strings: name of the shared strings part, or None.
        styles: name of the styles part, or None.
        origin: origin of the rows if this is a rejects workbook, else None.
        sheet_origins: those of sheets that hold the rejects of an import each; empty unless this is such a workbook.
        empty: names of the sheets that were passed over because they have no rows.
        piece: the piece of the sheet that is read; None for all of it.
        package: the package that holds the cells, if that is not the file itself but was made from it.
        dialect: how the file is written if it is a text; None for a workbook.
        notes: how the file was read, for the report.
        address: the address that the file is a copy of, as it is shown; None if it is no copy.
    """

    path: Path
    sha256: str
    size: int
    sheets: tuple[Sheet, ...]
    epoch_1904: bool
    recalculate_on_load: bool
    shared_strings: str | None
    styles: str | None
    origin: Origin | None = None
    sheet_origins: SheetOrigins = ()
    empty: tuple[str, ...] = ()
    piece: Piece | None = None
    package: Path | None = None
    dialect: TextDialect | None = None
    notes: tuple[str, ...] = ()
    address: str | None = None

    @property
    def location(self) -> str:
        """Where the workbook is, for people: its path, or the address that it was fetched from."""
        return self.address or str(self.path)

    @property
    def recorded_name(self) -> str:
        """The name in ledger and lineage: that of the file, or the address that it was fetched from."""
        return self.address or self.path.name

    @property
    def container(self) -> Path:
        """The package that holds the cells."""
        return self.package or self.path

    def sheet(self, name: str | None) -> Sheet:
        """Return the sheet of that name; without a name the first visible worksheet, else the first worksheet.

        Raises:
            SheetError: there is no such sheet, or it is not a worksheet and so has no cells.
        """
        worksheets = [s for s in self.sheets if s.kind == "worksheet"]
        listed = ", ".join(repr(s.name) for s in worksheets) or "none"
        if name is None:
            chosen = next((s for s in worksheets if s.visibility == "visible"), None) or next(iter(worksheets), None)
            if chosen is None:
                self._refuse_missing(self.sheets)
                raise SheetError("the workbook has no worksheet", place=self.path.name, choice=SAVE_AS)
            # A later sheet, or a hidden one, must not be read in place of the first one that users see. One without a
            # relationship never had cells, such as a module of Excel 95.
            before = self.sheets[: self.sheets.index(chosen)] if chosen.visibility == "visible" else self.sheets
            self._refuse_missing(s for s in before if s.visibility == "visible" and s.part)
            return chosen
        for sheet in self.sheets:
            if sheet.name == name or sheet.name.casefold() == name.casefold():
                if sheet.kind != "worksheet":
                    self._refuse_missing([sheet])
                    fact = f"sheet {name!r} is a {sheet.kind}, it has no cells"
                    raise SheetError(fact, choice=f"worksheets: {listed}")
                return sheet
        raise SheetError(f"no sheet {name!r}", place=self.path.name, choice=f"worksheets: {listed}")

    def _refuse_missing(self, sheets: Iterable[Sheet]) -> None:
        """Raise WorkbookRefused if one of these sheets has no part in the file."""
        for sheet in sheets:
            if sheet.kind == _WITHOUT_PART:
                fact = f"sheet {sheet.name!r} has no part in the file"
                raise WorkbookRefused(fact, place=self.path.name, choice=SAVE_AS)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_format(path: Path, limits: Limits) -> Literal["ods", "xlsb"] | None:
    """Return what a zip holds if it is a workbook of another format; else None.

    Raises:
        WorkbookRefused: the zip is damaged or hostile.
    """
    with Package(path, limits) as package:
        if "[Content_Types].xml" not in package:
            is_ods = "mimetype" in package and package.read("mimetype").strip().startswith(_OPEN_DOCUMENT)
            return "ods" if is_ods else None
        main = find_related(package, read_relations(package, ""), "officeDocument")
        return "xlsb" if main is not None and _content_type(package, main).endswith(_BINARY) else None


def open_workbook(path: Path, limits: Limits) -> Workbook:
    """Open a workbook: run all checks that need no cells, hash the file, list its sheets.

    Raises:
        WorkbookRefused: the file is missing, unreadable, of another format, encrypted, damaged or hostile.
    """
    if check_magic(path) != "zip":
        raise WorkbookRefused("the file has no list of sheets, as .xlsx has", place=str(path), choice=SAVE_AS)
    digest = hash_file(path)
    with Package(path, limits) as package:
        main = main_part(package)
        relations = read_relations(package, main)
        elements = find_elements(package, main, {"workbookPr", "calcPr", "sheet"})
        origin, sheet_origins = read_origins(package)
        return Workbook(
            path=path,
            sha256=digest,
            size=path.stat().st_size,
            sheets=tuple(_sheets(package, elements, relations)),
            epoch_1904=_has_flag(elements, "workbookPr", "date1904"),
            recalculate_on_load=_has_flag(elements, "calcPr", "fullCalcOnLoad"),
            shared_strings=find_related(package, relations, "sharedStrings"),
            styles=find_related(package, relations, "styles"),
            origin=origin,
            sheet_origins=sheet_origins,
        )


def main_part(package: Package) -> str:
    """Return the name of the workbook part, after checking its content type."""
    place = package.path.name
    if "[Content_Types].xml" not in package:
        if "mimetype" in package and b"opendocument" in package.read("mimetype"):
            raise WorkbookRefused("the file is an OpenDocument document", place=place, choice=SAVE_AS)
        if any(name.startswith("Index/") for name in package.names):
            raise WorkbookRefused("the file is an Apple Numbers document", place=place, choice="export it as Excel")
        choice = "unpack it and name the workbook in it"
        raise WorkbookRefused("the file is a zip archive, not a workbook", place=place, choice=choice)
    main = find_related(package, read_relations(package, ""), "officeDocument")
    if main is None:
        raise WorkbookRefused("the package has no workbook part", place=place, choice=SAVE_AS)
    kind = _content_type(package, main)
    if kind.endswith(_BINARY):
        raise WorkbookRefused("the file is a binary workbook (.xlsb)", place=place, choice=SAVE_AS)
    if kind and not kind.endswith(_SPREADSHEET):
        what = next((name for word, name in _OTHER_OFFICE.items() if word in kind), f"document of type {kind}")
        raise WorkbookRefused(f"the file is a {what}, not a workbook", place=place, choice="name a workbook")
    return main


def _content_type(package: Package, part: str) -> str:
    """Return the declared content type of a part in lower case; empty if none is declared."""
    default = ""
    for element in find_elements(package, "[Content_Types].xml", {"Override", "Default"}):
        kind = element.attributes.get("ContentType", "").lower()
        if element.attributes.get("PartName", "").lstrip("/").lower() == part.lower():
            return kind
        extension = element.attributes.get("Extension", "").lower()
        if extension == part.rsplit(".", 1)[-1].lower() and kind != "application/xml":
            default = kind
    return default


def read_relations(package: Package, part: str) -> dict[str, tuple[str, str]]:
    """Return the relationships of a part (`""`: of the package) by id, as (last word of the type, target part)."""
    folder, name = posixpath.split(part)
    rels = posixpath.join(folder, "_rels", f"{name}.rels")
    if rels not in package:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for _, _, attributes, _ in find_elements(package, rels, {"Relationship"}):
        if attributes.get("TargetMode") == "External":
            continue
        target = posixpath.join("/", folder, attributes.get("Target", "").replace("\\", "/"))
        absolute = posixpath.normpath(target).lstrip("/")
        relation = (attributes.get("Type", "").rsplit("/", 1)[-1], absolute)
        if found.setdefault(attributes.get("Id", ""), relation) != relation:
            fact = f"two relationships in part {rels!r} have the id {attributes.get('Id', '')!r}"
            raise WorkbookRefused(fact, place=package.path.name, choice=SAVE_AS)
    return found


def find_related(package: Package, relations: dict[str, tuple[str, str]], kind: str) -> str | None:
    """Return the part of that kind; None if none is there. One that is named, not there, and needed is refused."""
    named = [part for name, part in relations.values() if name == kind]
    found = next((part for part in named if part in package), None)
    if named and found is None:
        refuse_needed(package, kind, [part for name, part in relations.values() if name == "worksheet"], named[0])
    return found


def _sheets(package: Package, elements: list[Element], relations: dict[str, tuple[str, str]]) -> list[Sheet]:
    found = []
    for _, _, attributes, _ in (e for e in elements if e.name == "sheet"):
        name = attributes.get("name", "")
        relation = next((v for k, v in attributes.items() if local_name(k) == "id" and "}" in k), "")
        kind, part = relations.get(relation, ("", ""))
        if part not in package:
            kind = _WITHOUT_PART
        kind = {"xlMacrosheet": "macrosheet", "xlIntlMacrosheet": "macrosheet"}.get(kind, kind)
        found.append(Sheet(name, kind, attributes.get("state", "visible"), part))
    return found


def _has_flag(elements: list[Element], name: str, attribute: str) -> bool:
    """Return whether a flag is set on a child of the root; Excel 2013 writes another `workbookPr` deeper down."""
    element = next((e for e in elements if e.name == name and e.depth == 1), None)
    return element is not None and re.fullmatch(r"1|true|on", element.attributes.get(attribute, "")) is not None
