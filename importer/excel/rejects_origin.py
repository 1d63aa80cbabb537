"""Owns the origin of a rejects workbook: the workbook, sheet and table that its rows came from, and their addresses.

The origin is stored in the document properties, which Excel and LibreOffice keep. If another program dropped them,
`_row` still gives the row, and the file's name the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

import polars as pl

from importer.cells import spool
from importer.cells.frame import ROW, part
from importer.reading.header import REJECT_COLUMNS

from .addresses import column_letters

if TYPE_CHECKING:
    from importer.reading.sheet_source import Source

    from .package import Package

_PART = "docProps/custom.xml"
#: Maximum length of a text property in xlsxwriter.
_LONGEST = 255
_PREFIX = "importer "


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
        said |= {f"columns {n}": letters[n : n + _LONGEST] for n in range(0, len(letters), _LONGEST)}
        return {_PREFIX + name: text[:_LONGEST] for name, text in said.items()}


def read_origin(package: Package) -> Origin | None:
    """Return the origin recorded in a rejects workbook; None for any other workbook."""
    if _PART not in package:
        return None
    found = _properties(package)
    said = {name.removeprefix(_PREFIX): text for name, text in found.items() if name.startswith(_PREFIX)}
    if not {"workbook", "sheet", "schema", "table"} <= set(said):
        return None
    pieces = {int(name.split()[1]): text for name, text in said.items() if re.fullmatch(r"columns [0-9]{1,9}", name)}
    letters = "".join(pieces[n] for n in sorted(pieces))
    return Origin(said["workbook"], said["sheet"], said["schema"], said["table"], tuple(letters.split(",")))


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
        parser.Parse(package.read(_PART), True)
    except expat.ExpatError:
        return {}
    return found


def original_stem(stem: str) -> str:
    """Return the stem of the original workbook for the stem of its rejects file."""
    return re.sub(r"\.rejects(?:-\d+)?$", "", stem) or stem


@dataclass(frozen=True)
class Places:
    """The addresses of rows and cells in the original sheet.

    Attributes:
        sheet: name of the original sheet.
        rows: row of this sheet -> row of the original sheet, both 1-based; rows not listed have the same number.
        letters: column of this sheet (0-based) -> letters in the original sheet; columns not listed have their own.
    """

    sheet: str
    rows: dict[int, int] = field(default_factory=dict)
    letters: dict[int, str] = field(default_factory=dict)

    def row(self, row: int) -> int:
        """Return the row's number in the original sheet."""
        return self.rows.get(row, row)

    def letter(self, column: int) -> str:
        """Return the column's letters in the original sheet."""
        return self.letters.get(column) or column_letters(column)

    def address(self, row: int, column: int) -> str:
        """Return the A1-style address of a cell, or that of the whole row if `column` is negative."""
        name = self.sheet if self.sheet.isidentifier() else "'" + self.sheet.replace("'", "''") + "'"
        row = self.row(row)
        return f"{name}!{self.letter(column)}{row}" if column >= 0 else f"{name}!{row}:{row}"


def places_of(source: Source) -> Places:
    """Return the addresses of a sheet's cells; for a rejects workbook, those in the original sheet."""
    by_header = {c.header: c for c in source.header.columns}
    if not set(REJECT_COLUMNS) <= set(by_header):
        return Places(source.sheet.name)
    number = by_header[REJECT_COLUMNS[0]]
    assert number is not None
    origin, cells = source.workbook.origin, part(number.index, "number")
    others = [c for c in source.header.columns if c.header not in REJECT_COLUMNS]
    letters = origin.letters if origin and len(origin.letters) == len(others) else ()
    rows: dict[int, int] = {}
    for window in source.windows:
        if window.rows and cells in spool.names(window.path):
            told = spool.read(window.path).select(ROW, pl.col(cells).cast(pl.Int64, strict=False)).drop_nulls()
            rows |= {row: original for row, original in told.iter_rows() if original > 0}
    return Places(
        origin.sheet if origin else source.sheet.name,
        rows,
        {c.index: letter for c, letter in zip(others, letters, strict=False)},
    )
