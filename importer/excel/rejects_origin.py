"""Owns the origin of a rejects workbook: the workbook, sheet and table that its rows came from, and their addresses.

The origin is stored in the document properties, which Excel and LibreOffice keep. If another program dropped them,
`_row` still gives the row, and the file's name the table. A workbook with the rejects of many imports has an origin for
each sheet: properties with a number before their names, of which `name` is that of the sheet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from importer.errors import WorkbookRefused
from importer.urls import as_url, file_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .package import Package

_PROPERTIES_PART = "docProps/custom.xml"
#: Maximum length of a text property in xlsxwriter.
_MAX_PROPERTY_CHARS = 255
_PREFIX = "importer "
_NUMBERED = re.compile(r"([0-9]{1,9}) (.+)")
#: Bytes at the end of a file that hold the list of its parts: of some 8,000 sheets.
_DIRECTORY_BYTES = 1 << 20


@dataclass(frozen=True)
class Origin:
    """The origin that a rejects workbook records about itself.

    Attributes:
        workbook: name of the workbook whose rows were rejected.
        sheet: name of the sheet in that workbook.
        schema: schema of the table that the good rows were loaded into.
        table: name of that table.
        letters: letters that the columns after `_row` and `_errors` had in the original sheet.
    """

    workbook: str
    sheet: str
    schema: str
    table: str
    letters: tuple[str, ...]

    def properties(self) -> dict[str, str]:
        """Return the origin as document properties."""
        said = {"workbook": self.workbook, "sheet": self.sheet, "schema": self.schema, "table": self.table}
        letters = ",".join(self.letters)
        said |= {
            f"columns {n}": letters[n : n + _MAX_PROPERTY_CHARS] for n in range(0, len(letters), _MAX_PROPERTY_CHARS)
        }
        return {_PREFIX + name: text[:_MAX_PROPERTY_CHARS] for name, text in said.items()}


#: The origins of sheets, by the names of these.
SheetOrigins = tuple[tuple[str, Origin], ...]


def numbered_properties(sheets: Sequence[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """Return the origins of sheets as document properties of one workbook.

    Args:
        sheets: names of the sheets, and the properties that their rejects would have in a workbook of their own.
    """
    return {
        f"{_PREFIX}{number} {name.removeprefix(_PREFIX)}": text
        for number, (sheet, properties) in enumerate(sheets, 1)
        for name, text in {"name": sheet, **properties}.items()
    }


def read_origins(package: Package) -> tuple[Origin | None, SheetOrigins]:
    """Return the origin recorded in a rejects workbook, and those of its sheets; None and () for any other workbook."""
    if _PROPERTIES_PART not in package:
        return None, ()
    found = _properties(package)
    said = {name.removeprefix(_PREFIX): text for name, text in found.items() if name.startswith(_PREFIX)}
    by_number: dict[int, dict[str, str]] = {}
    for name, text in said.items():
        if match := _NUMBERED.fullmatch(name):
            by_number.setdefault(int(match[1]), {})[match[2]] = text
    origins = ((sheet.get("name"), _origin(sheet)) for _, sheet in sorted(by_number.items()))
    return _origin(said), tuple((name, origin) for name, origin in origins if name is not None and origin is not None)


def _origin(said: Mapping[str, str]) -> Origin | None:
    if not {"workbook", "sheet", "schema", "table"} <= set(said):
        return None
    pieces = {int(name.split()[1]): text for name, text in said.items() if re.fullmatch(r"columns [0-9]{1,9}", name)}
    letters = "".join(pieces[n] for n in sorted(pieces))
    return Origin(said["workbook"], said["sheet"], said["schema"], said["table"], tuple(letters.split(",")))


def has_sheet_origins(path: Path) -> bool:
    """Return whether a file is a workbook with the rejects of many imports; cheap, because hardly any is."""
    return bool(_origins_of(path)[1])


def origin_workbooks(path: Path) -> set[str]:
    """Return the names of the workbooks whose rejects a file holds; cheap, because hardly any does."""
    own, sheets = _origins_of(path)
    return {origin.workbook for origin in (own, *(each for _, each in sheets)) if origin is not None}


def _origins_of(path: Path) -> tuple[Origin | None, SheetOrigins]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _DIRECTORY_BYTES))
            if _PROPERTIES_PART.encode() not in file.read():
                return None, ()
        from importer.settings import Limits

        from .package import Package

        with Package(path, Limits()) as package:
            return read_origins(package)
    except (OSError, WorkbookRefused):  # its import says so
        return None, ()


def _properties(package: Package) -> dict[str, str]:
    """Return the custom document properties; empty if they cannot be parsed, because they are not data."""
    found: dict[str, str] = {}
    name = ""

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal name
        if tag.rsplit(":", 1)[-1] == "property":
            name = attributes.get("name", "")

    def text(data: str) -> None:
        if name:
            found[name] = found.get(name, "") + data

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    try:
        parser.Parse(package.read(_PROPERTIES_PART), True)
    except (expat.ExpatError, ValueError, LookupError):
        return {}
    return found


def original_stem(stem: str) -> str:
    """Return the stem of the original workbook for the stem of its rejects file."""
    return re.sub(r"\.rejects(?:-\d+)?$", "", stem) or stem


def rejects_in_folder(options: dict[str, Any], workbook: str | Path) -> dict[str, Any]:
    """Return options of an import, with the file that is meant if `rejects` names a folder.

    It does by a slash at its end, or because there is such a folder. The file is named after the workbook.
    """
    given = options.get("rejects")
    url = as_url(given)
    if given is None or not (url.is_folder if url else str(given).endswith("/") or Path(given).is_dir()):
        return options
    name = f"{original_stem(Path(file_name(workbook)).stem)}.rejects.xlsx"
    place = url.joined(name).text if url else str(Path(given) / name)
    return {**options, "rejects": None, "default_rejects": place}
