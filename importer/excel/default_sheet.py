"""Chooses the sheet to read if nobody named one: the first visible one with rows; a cover of one cell has none."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from importer.errors import SheetError

from .package import Package

if TYPE_CHECKING:
    from importer.settings import Limits

    from .workbook import Sheet, Workbook

#: What only cells with a content have: a value, a text or a formula; the formula's result is the content's second mark.
_CONTENT = re.compile(rb"<(?:\w+:)?(?:v|is|f)(?:\s[^>]*)?>")
_FORMULA = re.compile(rb"<(?:\w+:)?f(?:\s[^>]*)?>")
#: A header and a cell below it: with fewer cells a sheet has no rows.
_LEAST_CELLS = 2
#: Longest text between two tags that is held while cells are counted.
_LONGEST_TEXT = 1 << 18
#: Size of the blocks in which a sheet is looked through: the first one nearly always has the cells.
_BLOCK_BYTES = 64 << 10


def find_sheet(workbook: Workbook, name: str | None, limits: Limits) -> tuple[Workbook, Sheet]:
    """Return the sheet of that name, else the first visible one with rows, else the first worksheet with rows.

    Returns:
        The workbook, which knows the sheets that were passed over because they have no rows, and the sheet.

    Raises:
        SheetError: there is no such sheet, or none has rows.
    """
    first = workbook.sheet(name)
    if name is not None or workbook.dialect is not None:
        return workbook, first
    worksheets = [s for s in workbook.sheets if s.kind == "worksheet"]
    visible = [s for s in worksheets if s.visibility == "visible"]
    passed: list[str] = []
    cover: Sheet | None = None
    with Package(workbook.container, limits) as package:
        for sheet in visible or worksheets:
            cells = count_cells(package, sheet.part)
            if cells >= _LEAST_CELLS:
                return replace(workbook, empty=tuple(passed)), sheet
            cover = cover or (sheet if cells else None)
            passed.append(sheet.name)
    if cover is not None:
        before = passed[: passed.index(cover.name)]
        return replace(workbook, empty=tuple(before)), cover
    kind = "visible sheet" if visible else "sheet"
    raise SheetError(
        f"no {kind} has rows: {', '.join(map(repr, passed))}",
        place=workbook.path.name,
        choice="name another one with --sheet, or open the workbook and fill it",
    )


def count_cells(package: Package, part: str) -> int:
    """Return how many cells with a content a sheet has: none, one, or two for more; its part is read no further.

    A part without rows element is no sheet; it counts as one with rows, so that its reader says what is wrong.
    """
    before, marks, formulas, is_sheet = b"", 0, 0, False
    for block in package.stream(part, _BLOCK_BYTES):
        data = before + block
        # In UTF-16 every other byte is zero; such a sheet is taken to have rows.
        if b"\0" in data[:64]:
            return _LEAST_CELLS
        is_sheet = is_sheet or b"sheetData" in data
        end = data.rfind(b"<")
        counted, before = (data[:end], data[end:]) if end >= 0 else (b"", data)
        marks, formulas = marks + len(_CONTENT.findall(counted)), formulas + len(_FORMULA.findall(counted))
        if max(marks - formulas, formulas) >= _LEAST_CELLS or len(before) > _LONGEST_TEXT:
            return _LEAST_CELLS
    return max(marks - formulas, formulas) if is_sheet else _LEAST_CELLS
