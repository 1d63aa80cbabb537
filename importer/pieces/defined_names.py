"""Reads the defined names of a workbook, and says which range of which sheet each stands for, or why for none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from importer.excel.workbook import main_part
from importer.excel.xml_elements import find_elements
from importer.table.cell_range import CellRange, parse_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.excel.package import Package
    from importer.excel.workbook import Sheet

#: One area: the sheet's name, quoted where it has other characters than letters and digits, and a range.
_AREA = re.compile(r"(?:'((?:[^']|'')+)'|([^\s'!()\[\]*+,;:&=<>\"#]+))!(\$?[A-Z\d$:]+)")
#: Names that Excel itself gives begin so.
_BUILTIN = "_xlnm."


class DefinedName(NamedTuple):
    """A defined name (ECMA-376 part 1, 18.2.5).

    Attributes:
        name: the name.
        scope: the sheet in which it is known, or None for all of them.
        formula: what it stands for, as written.
        sheet: the sheet of its range; None if it stands for something else than one range of this workbook.
        area: the range.
        problem: why it stands for no range; empty if it does.
        hidden: whether Excel does not list it.
    """

    name: str
    scope: str | None
    formula: str
    sheet: str | None
    area: CellRange | None
    problem: str
    hidden: bool

    @property
    def full_name(self) -> str:
        """The name, with its sheet if it is known in only one."""
        return self.name if self.scope is None else f"{quote_sheet(self.scope)}!{self.name}"


def quote_sheet(name: str) -> str:
    """Return the name of a sheet as it is written in a formula."""
    return name if re.fullmatch(r"[^\W\d]\w*", name) else "'" + name.replace("'", "''") + "'"


def read_defined_names(package: Package, sheets: Sequence[Sheet]) -> list[DefinedName]:
    """Return the defined names of a workbook, in its order.

    Raises:
        WorkbookRefused: the workbook part is damaged.
    """
    found = []
    for _, _, attributes, text in find_elements(package, main_part(package), {"definedName"}):
        scope = attributes.get("localSheetId", "")
        of = sheets[int(scope)].name if scope.isdigit() and int(scope) < len(sheets) else None
        sheet, area, problem = _resolve(text.strip().removeprefix("="), sheets)
        name = attributes.get("name", "")
        hidden = attributes.get("hidden") in {"1", "true"} or name.startswith(_BUILTIN)
        found.append(DefinedName(name, of, text.strip(), sheet, area, problem, hidden))
    return found


def _resolve(formula: str, sheets: Sequence[Sheet]) -> tuple[str | None, CellRange | None, str]:
    """Return the sheet and the range that a name stands for, or why it stands for none."""
    if "#REF!" in formula:
        return None, None, "stands for cells that were deleted (#REF!)"
    areas = re.findall(r"(?:'(?:[^']|'')*'|[^',])+", formula)
    if len(areas) > 1 and all(_AREA.fullmatch(area.strip()) for area in areas):
        return None, None, f"stands for {len(areas)} ranges: {', '.join(area.strip() for area in areas)}"
    match = _AREA.fullmatch(formula)
    book = re.match(r"'?[^'!]*\[[^\]]+\][^!]*!", formula)
    if match is None or book:
        what = "cells of another workbook" if book else "a formula, and not for a range of cells"
        return None, None, f"stands for {what}: {formula[:80]}"
    wanted = (match[1] or match[2]).replace("''", "'")
    sheet = next((s.name for s in sheets if s.name.casefold() == wanted.casefold()), None)
    area = parse_range(match[3])
    if sheet is None or area is None:
        return None, None, f"stands for {formula[:80]}, which is not in this workbook"
    return sheet, area, ""
