"""Maps rows and columns of a sheet to the addresses that people know them by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from importer.cells import spool
from importer.cells.frame import ROW, part
from importer.excel.addresses import column_letters

from .header import REJECT_COLUMNS

if TYPE_CHECKING:
    from importer.decoding.tasks import WindowRead
    from importer.excel.rejects_origin import Origin
    from importer.excel.workbook import Sheet

    from .header import Header


@dataclass(frozen=True)
class CellAddresses:
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


def find_places(sheet: Sheet, origin: Origin | None, header: Header, windows: tuple[WindowRead, ...]) -> CellAddresses:
    """Return the addresses of a sheet's cells; for a rejects workbook, those in the original sheet.

    Reads the spooled frames of a rejects workbook, and no others.

    Args:
        sheet: the sheet that was read.
        origin: what its workbook says of itself if it is a rejects workbook, or None.
        header: the header of the sheet.
        windows: the windows read so far.
    """
    by_header = {c.header: c for c in header.columns}
    if not set(REJECT_COLUMNS) <= set(by_header):
        return CellAddresses(sheet.name)
    number = by_header[REJECT_COLUMNS[0]]
    assert number is not None
    cells = part(number.index, "number")
    others = [c for c in header.columns if c.header not in REJECT_COLUMNS]
    letters = origin.letters if origin and len(origin.letters) == len(others) else ()
    rows: dict[int, int] = {}
    for window in windows:
        if window.rows and cells in spool.names(window.path):
            originals = spool.read(window.path).select(ROW, pl.col(cells).cast(pl.Int64, strict=False)).drop_nulls()
            rows |= {row: original for row, original in originals.iter_rows() if original > 0}
    return CellAddresses(
        origin.sheet if origin else sheet.name,
        rows,
        {c.index: letter for c, letter in zip(others, letters, strict=False)},
    )
