"""Owns where the rows of a mended rejects workbook came from: what such a workbook says of itself, and the addresses.

It says so in its document properties, which Excel and LibreOffice keep. Where another program dropped them, `_row`
still tells the row, and the name of the file the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

import polars as pl

from . import spool
from .addresses import column_letters
from .headers import REJECT_COLUMNS
from .parts import ROW, part

if TYPE_CHECKING:
    from .package import Package
    from .source import Source

_PART = "docProps/custom.xml"
#: xlsxwriter takes no longer text as a property.
_LONGEST = 255
_PREFIX = "importer "


@dataclass(frozen=True)
class Origin:
    """What a rejects workbook says of itself.

    Attributes:
        workbook: name of the workbook whose rows were rejected.
        sheet: of that.
        schema: of the table that the good rows went to.
        table: that.
        letters: of the columns behind `_row` and `_errors`, as they were in the sheet.
    """

    workbook: str
    sheet: str
    schema: str
    table: str
    letters: tuple[str, ...]

    def properties(self) -> dict[str, str]:
        """The document properties that say it."""
        said = {"workbook": self.workbook, "sheet": self.sheet, "schema": self.schema, "table": self.table}
        letters = ",".join(self.letters)
        said |= {f"columns {n}": letters[n : n + _LONGEST] for n in range(0, len(letters), _LONGEST)}
        return {_PREFIX + name: text[:_LONGEST] for name, text in said.items()}


def read_origin(package: Package) -> Origin | None:
    """What a workbook says of itself when it is a rejects workbook; None for others."""
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
    """The custom document properties; none where they cannot be read, as they are no data."""
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
    """The name of a workbook (without suffix) that a rejects file of that name belongs to."""
    return re.sub(r"\.rejects(?:-\d+)?$", "", stem) or stem


@dataclass(frozen=True)
class Places:
    """The addresses that people know rows and cells by.

    Attributes:
        sheet: its name.
        rows: row of the sheet -> row of the original, where that is another one.
        letters: column (0-based) -> letters in the original.
    """

    sheet: str
    rows: dict[int, int] = field(default_factory=dict)
    letters: dict[int, str] = field(default_factory=dict)

    def row(self, row: int) -> int:
        """The row's number."""
        return self.rows.get(row, row)

    def letter(self, column: int) -> str:
        """The column's letters."""
        return self.letters.get(column) or column_letters(column)

    def address(self, row: int, column: int) -> str:
        """The address of a cell as people write it; of a whole row when the sheet has no such column."""
        name = self.sheet if self.sheet.isidentifier() else "'" + self.sheet.replace("'", "''") + "'"
        row = self.row(row)
        return f"{name}!{self.letter(column)}{row}" if column >= 0 else f"{name}!{row}:{row}"


def places_of(source: Source) -> Places:
    """The addresses of a sheet's cells; those of the original where it holds the rejects of one."""
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
