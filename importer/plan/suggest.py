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
from importer.excel.addresses import MAX_ROWS
from importer.table_options import MOST_LINES

if TYPE_CHECKING:
    from importer.cells.field import Field
    from importer.contract.model import Contract
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource

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


def suggest_rules(
    source: SheetSource, contract: Contract, columns: list[SheetColumn], *, skip_hidden: bool
) -> Contract:
    """Return the contract with the rules that all rows of the sheet follow, and with the sheet and its header rows.

    Args:
        source: the sheet, whose windows are kept.
        contract: contract with the types of these columns, in their order.
        columns: the columns to load.
        skip_hidden: whether hidden rows are left out.
    """
    rows = source.rows - (source.hidden_rows if skip_hidden else 0)
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
    return replace(contract, fields=fields, primary_key=primary, excel=_excel(source))


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


def _excel(source: SheetSource) -> dict[str, Any]:
    first, last = source.header.first_row, source.header.last_row
    found = {"sheet": source.sheet.name, "headerRow": last if first == last else f"{first}-{last}"}
    if (dialect := source.workbook.dialect) is not None:
        found |= {"encoding": dialect.encoding, "delimiter": dialect.delimiter.decode()}
    # Titles above a table without a header.
    end = MAX_ROWS if dialect is None else MOST_LINES
    return found if last or not source.data.after else found | {"rows": f"{source.data.after + 1}-{end}"}
