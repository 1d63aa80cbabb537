"""Suggests a contract: besides types, which columns are never empty, which identify a row, and where the table was."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells import spool
from importer.cells.facts import ColumnFacts
from importer.cells.frame import kinds_of
from importer.cells.text import raw_text
from importer.excel.addresses import MAX_ROWS, column_letters
from importer.table.cell_range import parse_range, parse_typed_range
from importer.table_options import MOST_LINES

if TYPE_CHECKING:
    from importer.cells.field import Field
    from importer.contract.model import Contract
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource
    from importer.settings import Settings

#: Words in the name of a column that identifies a row. In a small sheet many columns happen to repeat nothing; of those
#: only one with such a name, or the first of the sheet, is taken for unique by intent.
_ID_WORDS = frozenset({
    "id", "ids", "nr", "no", "num", "number", "nummer", "numero", "key", "code", "sku", "uuid", "guid", "ean", "isbn",
    "iban", "vin", "email", "mail", "kennung", "schluessel", "schlüssel", "matricule", "ref", "reference", "referenz",
})  # fmt: skip
#: Field types whose values can identify a row; an amount or a date that repeats nothing does so by chance.
_ID_TYPES = ("integer", "string")
#: Fewest rows from which a column without repeats means something.
_FEWEST_ROWS = 2


def suggest_rules(source: SheetSource, contract: Contract, columns: list[SheetColumn], settings: Settings) -> Contract:
    """Return the contract with the rules that all rows follow, and with where the table is in the workbook.

    Args:
        source: the sheet, whose windows are kept.
        contract: contract with the types of these columns, in their order.
        columns: the columns to load.
        settings: what the user said of the table.
    """
    rows = source.rows - (source.hidden_rows if settings.hidden == "skip" else 0)
    full = {
        c.index
        for f, c in zip(contract.fields, columns, strict=True)
        if rows and _filled(source, c) == rows and f.missing_values is None
    }
    candidates = [
        c
        for n, (f, c) in enumerate(zip(contract.fields, columns, strict=True))
        if c.index in full and f.type in _ID_TYPES and rows >= _FEWEST_ROWS and (n == 0 or _names_id(c))
    ]
    unique = [c for c in candidates if _repeats_nothing(source, c)]
    # A named identifier precedes the first column, which may hold names that are repeated next month.
    key = min(unique, key=lambda c: (not _names_id(c), c.index), default=None)
    others = {c.index for c in unique if c is not key and _names_id(c)}
    fields = tuple(
        _with_rules(f, required=c.index in full and c is not key, unique=c.index in others)
        for f, c in zip(contract.fields, columns, strict=True)
    )
    primary = tuple(f.name for f, c in zip(fields, columns, strict=True) if c is key)
    return replace(contract, fields=fields, primary_key=primary, excel=_excel(source, settings))


def _filled(source: SheetSource, column: SheetColumn) -> int:
    facts = source.facts.get(column.index, ColumnFacts())
    return facts.cells - facts.blank


def _names_id(column: SheetColumn) -> bool:
    return not _ID_WORDS.isdisjoint(re.split(r"[\W_]+", (column.header or "").casefold()))


def _repeats_nothing(source: SheetSource, column: SheetColumn) -> bool:
    seen = []
    for window in source.windows:
        frame = source.data.of(spool.read(window.path))
        kinds = kinds_of(frame.columns, column.index)
        if kinds and len(frame):
            seen.append(frame.select(raw_text(column.index, kinds).hash().alias("hash"))["hash"])
    hashes = pl.concat(seen) if seen else pl.Series(dtype=pl.UInt64)
    return hashes.n_unique() == len(hashes)


def _with_rules(field: Field, *, required: bool, unique: bool) -> Field:
    added = {key: True for key, holds in (("required", required), ("unique", unique)) if holds}
    return replace(field, constraints={**field.constraints, **added}) if added else field


def _excel(source: SheetSource, settings: Settings) -> dict[str, Any]:
    """Return where the table is: what was found, and what the user said."""
    found: dict[str, Any] = {"sheet": source.sheet.name, **_piece(source, settings)}
    first, last = source.header.first_row, source.header.last_row
    # An Excel table, and a range with a name, say where they are next month; their header may be in another row then.
    moves = "excelTable" in found or ("range" in found and parse_typed_range(found["range"]) is None)
    if settings.header_rows is not None or not moves or source.edges.header.doubt:
        found["headerRow"] = last if first == last else f"{first}-{last}"
    if settings.rows is not None:
        found["rows"] = f"{settings.rows[0]}-{settings.rows[1]}"
    elif not last and source.data.after and not moves:
        end = MAX_ROWS if source.workbook.dialect is None else MOST_LINES
        found["rows"] = f"{source.data.after + 1}-{end}"  # titles above a table without a header
    if (dialect := source.workbook.dialect) is not None:
        found |= {"encoding": dialect.encoding, "delimiter": dialect.delimiter.decode()}
    return found | _said(settings)


def _said(settings: Settings) -> dict[str, Any]:
    """Return what the user said of the data rows."""
    found: dict[str, Any] = {}
    if settings.last_row is not None:
        found["lastRow"] = settings.last_row
    if settings.until_blank:
        found["untilBlank"] = True
    if settings.footer is not None:
        found["footer"] = settings.footer
    return found | ({"merged": settings.merged} if settings.merged != "first" else {})


def _piece(source: SheetSource, settings: Settings) -> dict[str, str]:
    """Return the piece of the sheet that was read: the one asked for, or the largest of several tables."""
    piece = source.cut.piece
    if piece is None:
        return {}
    if piece.header_rows is not None:
        area = (piece.top, piece.left, piece.bottom, piece.right)
        name = next((t.name for t in source.cut.tables if parse_range(t.ref) == area), settings.excel_table or "")
        return {"excelTable": name}
    if settings.range is not None:
        return {"range": settings.range}
    below = any(
        other.top > piece.bottom and other.left <= piece.right and other.right >= piece.left
        for other in filter(None, map(parse_range, source.cut.other_tables))
    )
    corner = column_letters(piece.right) + (str(piece.bottom) if below else "")  # there may be more rows next month
    return {"range": f"{column_letters(piece.left)}{piece.top}:{corner}"}
