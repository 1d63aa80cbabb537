"""Finds the piece of a workbook that is read: its sheet, and the range, defined name or Excel table asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from importer.contract.known_keys import nearest
from importer.errors import SheetError
from importer.excel.default_sheet import find_sheet
from importer.excel.package import Package
from importer.excel.table_parts import read_tables
from importer.excel.workbook import Piece
from importer.table.cell_range import parse_range, parse_typed_range

from .defined_names import DefinedName, quote_sheet, read_defined_names

if TYPE_CHECKING:
    from importer.excel.rejects_origin import Origin
    from importer.excel.table_parts import ExcelTable
    from importer.excel.workbook import Sheet, Workbook
    from importer.settings import Limits, Settings


class NamedPieces(NamedTuple):
    """What of a workbook has a name: its Excel tables, each with its sheet, and its defined names."""

    tables: tuple[tuple[str, ExcelTable], ...]
    names: tuple[DefinedName, ...]


def list_pieces(workbook: Workbook, limits: Limits) -> NamedPieces:
    """Return the named pieces of a workbook, in the order of its sheets and of its names.

    Raises:
        WorkbookRefused: a part that lists them is damaged.
    """
    if workbook.dialect is not None:
        return NamedPieces((), ())
    with Package(workbook.container, limits) as package:
        tables = [
            (sheet.name, table)
            for sheet in workbook.sheets
            if sheet.kind == "worksheet"
            for table in read_tables(package, sheet.part)
        ]
        return NamedPieces(tuple(tables), tuple(read_defined_names(package, workbook.sheets)))


def find_piece(workbook: Workbook, settings: Settings) -> tuple[Workbook, Sheet]:
    """Return the workbook, which knows the piece to read, and the sheet that it is in.

    A rejects workbook is read as a whole: it has the rows of such a piece. Of one with the rejects of many imports the
    workbook knows the origin of the sheet.

    Raises:
        SheetError: there is no such sheet, range or name, or no sheet has rows.
    """
    asked = settings.range or settings.excel_table
    if workbook.sheet_origins:
        found, chosen = find_sheet(workbook, settings.sheet, settings.limits)
        return replace(found, origin=_origin_of(workbook, chosen)), chosen
    if asked is None or workbook.origin is not None:
        return find_sheet(workbook, settings.sheet, settings.limits)
    if settings.excel_table is not None:
        return _excel_table(workbook, settings, settings.excel_table)
    sheet, text = _split_sheet(asked)
    area = parse_typed_range(text)
    if area is None:
        return _named_range(workbook, settings, sheet, text)
    _check_sheet(settings, sheet, asked)
    found, chosen = find_sheet(workbook, sheet or settings.sheet, settings.limits)
    return replace(found, piece=Piece(asked, *area)), chosen


def _origin_of(workbook: Workbook, sheet: Sheet) -> Origin:
    """Return where the rows of a sheet are from, in a workbook with the rejects of many imports."""
    origins = dict(workbook.sheet_origins)
    if sheet.name not in origins:
        raise SheetError(
            f"sheet {sheet.name!r} is none of those that this workbook says hold rejects to load",
            place=workbook.path.name,
            choice=f"--sheet with one of {', '.join(map(repr, origins))}",
        )
    return origins[sheet.name]


def _split_sheet(asked: str) -> tuple[str | None, str]:
    """Return the sheet of `Sheet1!A4:H205` or `'My sheet'!Prices`, or None, and the rest."""
    sheet, mark, rest = asked.rpartition("!")
    if not mark:
        return None, asked.strip()
    sheet = sheet.strip()
    quoted = len(sheet) > 1 and sheet[0] == sheet[-1] == "'"
    return (sheet[1:-1].replace("''", "'") if quoted else sheet), rest.strip()


def _check_sheet(settings: Settings, sheet: str | None, asked: str) -> None:
    """Raise SheetError if the sheet that a piece is in is not the one of `--sheet`."""
    if sheet is not None and settings.sheet is not None and sheet.casefold() != settings.sheet.casefold():
        raise SheetError(f"{asked} is on sheet {sheet!r}, not on {settings.sheet!r}", choice="leave out --sheet")


def _excel_table(workbook: Workbook, settings: Settings, asked: str) -> tuple[Workbook, Sheet]:
    tables = list_pieces(workbook, settings.limits).tables
    found = next(((s, table) for s, table in tables if table.name.casefold() == asked.casefold()), None)
    if found is None:
        listed = ", ".join(f"{table.name} ({quote_sheet(s)}!{table.ref})" for s, table in tables)
        raise SheetError(
            f"no Excel table {asked!r} in the workbook",
            place=workbook.path.name,
            choice=_advise(asked, [table.name for _, table in tables], f"its tables: {listed or 'none'}"),
        )
    sheet, table = found
    _check_sheet(settings, sheet, f"Excel table {table.name}")
    area = parse_range(table.ref)
    if area is None:
        raise SheetError(f"Excel table {table.name} has no range that a sheet can have: {table.ref}")
    piece = Piece(asked, *area, header_rows=table.header_rows, totals_rows=table.totals_rows)
    return replace(workbook, piece=piece), workbook.sheet(sheet)


def _named_range(workbook: Workbook, settings: Settings, sheet: str | None, name: str) -> tuple[Workbook, Sheet]:
    pieces = list_pieces(workbook, settings.limits)
    same = [each for each in pieces.names if each.name.casefold() == name.casefold()]
    found = _in_scope(same, sheet or settings.sheet) if sheet or settings.sheet else None
    common = [each for each in same if each.scope is None]
    if found is None and (sheet is None or common):
        found = common[0] if common else same[0] if len(same) == 1 else None
    if found is None and len(same) > 1:
        choices = ", ".join(each.full_name for each in same)
        raise SheetError(f"the name {name!r} is that of several ranges", choice=f"say which: {choices}")
    if found is None:
        raise SheetError(
            f"{settings.range!r} is neither a range of cells nor a defined name of the workbook",
            place=workbook.path.name,
            choice=_advise_name(name, pieces),
        )
    if found.area is None or found.sheet is None:
        raise SheetError(f"the name {found.full_name} {found.problem}", choice="name a range of cells: --range A4:H205")
    _check_sheet(settings, found.sheet, f"the range of {found.full_name}")
    return replace(workbook, piece=Piece(str(settings.range), *found.area)), workbook.sheet(found.sheet)


def _in_scope(names: list[DefinedName], sheet: str | None) -> DefinedName | None:
    """Return the name that is known in only one sheet."""
    return next((n for n in names if n.scope is not None and sheet and n.scope.casefold() == sheet.casefold()), None)


def _advise_name(name: str, pieces: NamedPieces) -> str:
    """Return what may be meant by a name that is not defined: an Excel table, a name like it, or a range."""
    table = next((t.name for _, t in pieces.tables if t.name.casefold() == name.casefold()), None)
    if table is not None:
        return f"it is an Excel table: --excel-table {table}"
    shown = [each.full_name for each in pieces.names if not each.hidden and each.area is not None]
    listed = f"its names: {', '.join(shown)}" if shown else "it has no names; a range is written A4:H205"
    return _advise(name, shown, listed)


def _advise(asked: str, names: list[str], listed: str) -> str:
    near = nearest(asked, names)
    return f"did you mean {near!r}? {listed}" if near else listed
