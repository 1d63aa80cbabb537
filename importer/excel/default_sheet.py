"""Chooses the sheet to read if nobody named one: the first visible one with rows."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from importer.errors import SheetError

from .package import Package

if TYPE_CHECKING:
    from importer.settings import Limits

    from .workbook import Sheet, Workbook

#: What only cells with a content have: a value, a text or a formula.
_CONTENT = re.compile(rb"<(?:\w+:)?(?:v|is|f)(?:\s[^>]*)?>")
#: Bytes of one block that the next one is searched with: a tag may be cut.
_OVERLAP = 256


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
    empty: list[str] = []
    with Package(workbook.container, limits) as package:
        for sheet in visible or worksheets:
            if has_content(package, sheet.part):
                return replace(workbook, empty=tuple(empty)), sheet
            empty.append(sheet.name)
    kind = "visible sheet" if visible else "sheet"
    raise SheetError(
        f"no {kind} has rows: {', '.join(map(repr, empty))}",
        place=workbook.path.name,
        choice="name another one with --sheet, or open the workbook and fill it",
    )


def has_content(package: Package, part: str) -> bool:
    """Return whether a sheet has a cell with a content; its part is read up to the first one.

    A part without rows element is no sheet; it counts as one with content, so that its reader says what is wrong.
    """
    before, is_sheet = b"", False
    for block in package.stream(part):
        data = before + block
        # In UTF-16 every other byte is zero; such a sheet is taken to have rows.
        if b"\0" in data[:64] or _CONTENT.search(data):
            return True
        is_sheet = is_sheet or b"sheetData" in data
        before = data[-_OVERLAP:]
    return not is_sheet
