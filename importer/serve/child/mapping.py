"""Translates a caller's mapping of sheet columns to fields into a contract and a list of columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from importer.cells.field import Field
from importer.contract.model import Contract
from importer.errors import ContractError, SheetError, UsageError
from importer.excel.addresses import column_index
from importer.plan.model import field_columns, find_column
from importer.postgres.types import field_type_for
from importer.reading.header import SheetColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from importer.postgres.catalog import Table
    from importer.serve.models import workbook as models


class MappingOptions(NamedTuple):
    """A mapping as importer options: contract and columns to load; each is None where the default does the same."""

    contract: Contract | None
    columns: list[str] | None


def apply_mapping(
    mapping: Mapping[str, str], inspected: list[models.SheetColumnInfo], suggested: Contract, given: Contract | None,
    table: Table | None,
) -> MappingOptions:  # fmt: skip
    """Return the contract and columns that make the importer follow a mapping.

    A mapping equal to the default adds no contract, so that the same workbook is the same import with and without it.

    Args:
        mapping: column letter -> field name.
        inspected: columns of the sheet, as an inspection returns them.
        suggested: contract that the inspection suggests.
        given: contract of the run, or None.
        table: existing target table, or None.

    Raises:
        SheetError: the sheet has no column of that letter.
        ContractError: the contract or the table has no such field.
        UsageError: two columns are mapped to one field, or no column is mapped.
    """
    sheet = [SheetColumn(column_index(c.letter), c.header, c.name) for c in inspected]
    wanted = _parse_mapping(mapping, sheet)
    fields = _fields(wanted, sheet, suggested, given, table)
    for name in wanted.values():
        if name not in fields:
            raise ContractError(f"the target has no column {name!r}", choice=f"its columns: {', '.join(fields)}")
    chosen = [c for c in sheet if c in wanted]
    columns = None if len(chosen) == len(sheet) else [_column_ref(sheet, c) for c in chosen]
    if _is_default(wanted, chosen, fields, given, table):
        return MappingOptions(None, columns)
    # In the order of the sheet, so that with equal (or blank) headers each field gets its own column.
    mapped = [replace(fields[wanted[c]], name=wanted[c], title=c.header or "") for c in chosen]
    rest = [f for f in given.fields if f.name not in wanted.values()] if given else []
    contract = replace(given or _new_contract(wanted, suggested, table), fields=(*mapped, *rest))
    return MappingOptions(contract, columns or [_column_ref(sheet, c) for c in chosen])


def _parse_mapping(mapping: Mapping[str, str], sheet: list[SheetColumn]) -> dict[SheetColumn, str]:
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
        raise UsageError("the mapping loads no column", place="mapping", choice="map at least one column")
    return wanted


def _fields(
    wanted: Mapping[SheetColumn, str], sheet: list[SheetColumn], suggested: Contract, given: Contract | None,
    table: Table | None,
) -> dict[str, Field]:  # fmt: skip
    """Return the fields that columns can be mapped to, by name."""
    if given is not None:
        return {f.name: f for f in given.fields}
    if table is not None:
        return {c.name: Field(c.name, field_type_for(c.pg_type)) for c in table.columns}
    own = {f.name: f for f in suggested.fields}
    return {name: replace(own.get(c.name, Field("")), name=name) for c, name in wanted.items() if c in sheet}


def _new_contract(wanted: Mapping[SheetColumn, str], suggested: Contract, table: Table | None) -> Contract:
    """Return the rest of a contract that nobody gave: for a new table, column types that hold what cells hold."""
    types = {name: suggested.types[c.name] for c, name in wanted.items() if table is None and c.name in suggested.types}
    return Contract((), types=types, missing_values=suggested.missing_values)


def _is_default(
    wanted: Mapping[SheetColumn, str], chosen: list[SheetColumn], fields: Mapping[str, Field], given: Contract | None,
    table: Table | None,
) -> bool:  # fmt: skip
    """Return whether the columns would find the same fields without a mapping."""
    if given is None and table is None:
        return all(c.name == name for c, name in wanted.items())
    found = field_columns(tuple(fields.values()), chosen)
    return {column: name for name, column in found.items() if column is not None} == dict(wanted)


def _column_ref(sheet: list[SheetColumn], column: SheetColumn) -> str:
    """Return a name, header or letter by which the importer finds the column."""
    for ref in (column.name, column.header or "", column.letter):
        if ref and "," not in ref and find_column(sheet, ref) == column:
            return ref
    raise SheetError(f"column {column.letter} cannot be distinguished from others", choice="give it a unique header")
