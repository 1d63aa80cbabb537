"""Owns the mapping of sheet columns to fields that a caller chose: the contract and the columns that say the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..addresses import column_index
from ..contract import Contract, Field
from ..errors import ContractError, SheetError, UsageError
from ..headers import SheetColumn
from ..pgtypes import field_type_for
from ..plan import column_by_word, field_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..catalog import Table


class Mapped(NamedTuple):
    """What a mapping means: the contract and the columns to load, None where no word is needed."""

    contract: Contract | None
    columns: list[str] | None


def apply_mapping(
    mapping: Mapping[str, str], inspected: list[dict[str, Any]], suggested: Contract, given: Contract | None,
    table: Table | None,
) -> Mapped:  # fmt: skip
    """The contract and columns by which the importer does what the mapping says.

    A mapping that says what would happen anyway is none: so the same workbook is the same import with and without it.

    Args:
        mapping: column letters -> field.
        inspected: columns of the sheet, as an inspection tells them.
        suggested: contract of the sheet.
        given: contract, or None.
        table: that exists, or None.

    Raises:
        SheetError: a letter that the sheet does not have.
        ContractError: a field that the contract or the table does not have.
        UsageError: two columns for one field.
    """
    sheet = [SheetColumn(column_index(c["letter"]), c["header"], c["name"]) for c in inspected]
    wanted = _wanted(mapping, sheet)
    fields = _fields(wanted, sheet, suggested, given, table)
    for name in wanted.values():
        if name not in fields:
            raise ContractError(f"no column {name!r} to fill", choice=f"its columns: {', '.join(fields)}")
    chosen = [c for c in sheet if c in wanted]
    columns = None if len(chosen) == len(sheet) else [_word(sheet, c) for c in chosen]
    if _says_nothing(wanted, chosen, fields, given, table):
        return Mapped(None, columns)
    # In the order of the sheet, so that of equal headers (or none) each field gets its own.
    mapped = [replace(fields[wanted[c]], name=wanted[c], title=c.header or "") for c in chosen]
    rest = [f for f in given.fields if f.name not in wanted.values()] if given else []
    contract = replace(given or Contract(()), fields=(*mapped, *rest))
    return Mapped(contract, columns or [_word(sheet, c) for c in chosen])


def _wanted(mapping: Mapping[str, str], sheet: list[SheetColumn]) -> dict[SheetColumn, str]:
    by_letter = {c.letter: c for c in sheet}
    wanted: dict[SheetColumn, str] = {}
    for letter, name in mapping.items():
        column = by_letter.get(letter)
        if column is None:
            raise SheetError(f"the sheet has no column {letter!r}", choice=f"columns: {', '.join(by_letter)}")
        if name in wanted.values():
            raise UsageError(f"two columns are mapped to {name!r}", place="mapping", choice="leave one of them out")
        wanted[column] = name
    if not wanted:
        raise UsageError("the mapping loads no column", place="mapping", choice="map at least one")
    return wanted


def _fields(
    wanted: Mapping[SheetColumn, str], sheet: list[SheetColumn], suggested: Contract, given: Contract | None,
    table: Table | None,
) -> dict[str, Field]:  # fmt: skip
    """The fields that columns can be mapped to, by name."""
    if given is not None:
        return {f.name: f for f in given.fields}
    if table is not None:
        return {c.name: _described(c.name, *field_type_for(c.pg_type)) for c in table.columns}
    types = {f.name: f.type for f in suggested.fields}
    return {name: Field(name, types.get(c.name, "string")) for c, name in wanted.items() if c in sheet}


def _described(name: str, kind: str, form: str) -> Field:
    return Field(name, kind, format=form)


def _says_nothing(
    wanted: Mapping[SheetColumn, str], chosen: list[SheetColumn], fields: Mapping[str, Field], given: Contract | None,
    table: Table | None,
) -> bool:  # fmt: skip
    """Whether the columns would find their fields without a mapping."""
    if given is None and table is None:
        return all(c.name == name for c, name in wanted.items())
    found = field_columns(tuple(fields.values()), chosen)
    return {column: name for name, column in found.items() if column is not None} == dict(wanted)


def _word(sheet: list[SheetColumn], column: SheetColumn) -> str:
    """A word by which the importer finds the column."""
    for word in (column.name, column.header or "", column.letter):
        if word and "," not in word and column_by_word(sheet, word) == column:
            return word
    raise SheetError(f"column {column.letter} cannot be told from others", choice="give it a header of its own")
