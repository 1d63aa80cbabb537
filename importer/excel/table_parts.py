"""Reads what parts beside a sheet say of its cells: Excel tables (list objects) of header and totals rows, pictures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .workbook import read_relations
from .xml_elements import find_elements

if TYPE_CHECKING:
    from .package import Package

_REF = re.compile(r"[A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7}")


class ExcelTable(NamedTuple):
    """An Excel table (ECMA-376 part 1, 18.5.1.2).

    Attributes:
        name: its name in formulas.
        ref: its range, header and totals rows included, as written (`A3:D7`).
        header_rows: number of header rows: 1, or 0 if the header is hidden.
        totals_rows: number of totals rows at its end: 0 or 1.
    """

    name: str
    ref: str
    header_rows: int
    totals_rows: int


def read_tables(package: Package, sheet_part: str) -> tuple[ExcelTable, ...]:
    """Return the Excel tables of a sheet, in the order of its relationships; parts that say no range are left out.

    Raises:
        WorkbookRefused: a part is not well-formed.
    """
    parts = [part for kind, part in read_relations(package, sheet_part).values() if kind == "table" and part in package]
    found = []
    for part in parts:
        for _, _, attributes, _ in find_elements(package, part, {"table"}):
            if _REF.fullmatch(attributes.get("ref", "")):
                name = attributes.get("displayName") or attributes.get("name", "")
                counts = (attributes.get(key, default) for key, default in _COUNTS)
                found.append(ExcelTable(name, attributes["ref"], *(int(n) if n.isdigit() else 0 for n in counts)))
    return tuple(found)


#: Attributes that count rows, and their defaults.
_COUNTS = (("headerRowCount", "1"), ("totalsRowCount", "0"))


#: The part that tells what kinds of rich values the cells have, and the kinds that are pictures.
_RICH_VALUES, _PICTURES = "rdrichvaluestructure.xml", {"_localImage", "_webimage"}


def holds_pictures(package: Package) -> bool:
    """Return whether some cell of the workbook is a picture, placed in the cell or by IMAGE()."""
    parts = [name for name in package.names if name.lower().endswith(_RICH_VALUES)]
    return any(e.attributes.get("t") in _PICTURES for name in parts for e in find_elements(package, name, {"s"}))
