"""Resolves the target of a load against the contract: the table, whether it exists, and each column's exact type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from importer.cells.field import Field
from importer.contract.model import Contract
from importer.errors import ContractError, TargetRefused
from importer.excel.rejects_origin import Origin, original_stem
from importer.postgres.catalog import Table, TableColumn, find_table, parse_table_name
from importer.postgres.encoding import check_names
from importer.postgres.sql import quote
from importer.postgres.type_catalog import find_type
from importer.postgres.types import FIELD_TYPES, PgType, field_type_for
from importer.table.labels import shorten, to_identifier
from importer.urls import file_name

from .model import ColumnPlan, field_columns
from .type_match import misfit

if TYPE_CHECKING:
    from importer.excel.workbook import Sheet
    from importer.postgres.session import Session
    from importer.reading.header import SheetColumn
    from importer.settings import Settings


@dataclass(frozen=True)
class Target:
    """The target of a load: an existing table, or the name of a new one (`table` is None)."""

    schema: str
    name: str
    table: Table | None

    @property
    def quoted(self) -> str:
        """The quoted, schema-qualified name."""
        return quote(self.schema, self.name)


def find_target(
    session: Session, settings: Settings, contract: Contract | None, sheet: Sheet, origin: Origin | None = None
) -> Target:
    """Return the target named by `--table`, else a rejects workbook, else the contract, else the workbook's name.

    Raises:
        TargetRefused: the name belongs to something that is not a table.
    """
    schema, name = contract.schema if contract else None, contract.table if contract else None
    if origin:
        schema, name = origin.schema, origin.table
    if settings.table:
        schema, name = parse_table_name(settings.table)
    if not name:
        name = table_name_of(settings.workbook)
        # A sheet that the contract names is the one of every such workbook, and no part of the table's name.
        asked = settings.sheet is not None and not (contract and contract.excel.get("sheet") == settings.sheet)
        name = shorten(f"{name}_{to_identifier(sheet.name)}", "") if asked else name
    check_names(session, [name for name in (schema, name) if name], "--table with another name")
    schema, table = find_table(session, schema, name)
    return Target(schema, name, table)


def table_name_of(workbook: str | Path) -> str:
    """Return the name of the table that a workbook goes to if nothing else names one."""
    return to_identifier(original_stem(Path(file_name(workbook)).stem)) or "workbook"


def check_mode(settings: Settings, target: Target) -> None:
    """Refuse a mode that the target does not allow.

    Raises:
        TargetRefused: the table exists and the mode is `create`, or `replace` would change other tables.
    """
    schema, name, table = target.schema, target.name, target.table
    if table and settings.mode == "create":
        raise TargetRefused(
            f"table {quote(schema, name)} already exists", choice="--mode append or replace, or another --table"
        )
    if table and table.cascading_tables and settings.mode == "replace":
        raise TargetRefused(
            f"replacing the rows of {quote(schema, name)} would delete or change rows of "
            f"{', '.join(table.cascading_tables)}",
            choice="--mode append, or drop ON DELETE from those foreign keys",
        )


def contract_from_table(table: Table, columns: list[SheetColumn]) -> Contract:
    """Return the contract of an existing table: a field for each column that the sheet has, or that needs values."""
    described = {c.name: _field_from_column(c) for c in table.columns}
    present = field_columns(tuple(described.values()), columns)
    fields = [described[c.name] for c in table.columns if present[c.name] or _needs_values(c)]
    if not fields:
        raise ContractError(
            f"missing-label: the sheet has no column of table {quote(table.schema, table.name)}",
            choice=f"its columns: {', '.join(c.name for c in table.columns)}",
        )
    return Contract(tuple(fields))


def fields_of_columns(table: Table, taken: set[str], columns: list[SheetColumn]) -> dict[int, Field]:
    """Return fields for those columns of the sheet that the table has by a name that is not taken, by their index."""
    described = tuple(_field_from_column(c) for c in table.columns if c.name not in taken)
    by_name = {field.name: field for field in described}
    return {c.index: by_name[name] for name, c in field_columns(described, columns).items() if c is not None}


def field_of_column(table: Table, name: str) -> Field | None:
    """Return the field of a column of the table, or None if it has no such column."""
    column = table.column(name)
    return None if column is None else _field_from_column(column)


def _field_from_column(column: TableColumn) -> Field:
    required = {"required": True} if column.not_null else {}
    return Field(column.name, field_type_for(column.pg_type), constraints=required)


def _needs_values(column: TableColumn) -> bool:
    return column.not_null and not column.has_default and not column.filled_by_database


def with_table_rules(contract: Contract, table: Table) -> Contract:
    """Return the contract with the table's own rules: NOT NULL, and unique keys whose columns are all loaded."""
    names = {f.name for f in contract.fields}
    keys = [key for _, key in table.keys if set(key) <= names]
    primary = contract.primary_key or next((key for is_primary, key in table.keys if is_primary and key in keys), ())
    own = {key for _, key in contract.all_keys()}
    not_null = {c.name for c in table.columns if c.not_null}
    return replace(
        contract,
        fields=_require_fields(contract.fields, not_null),
        primary_key=primary,
        unique_keys=contract.unique_keys + tuple(k for k in keys if k != primary and k not in own),
    )


def with_required_keys(contract: Contract, key: tuple[str, ...] = ()) -> Contract:
    """Return the contract with every field of the primary key, and of `key`, required."""
    return replace(contract, fields=_require_fields(contract.fields, {*contract.primary_key, *key}))


def _require_fields(fields: tuple[Field, ...], names: set[str]) -> tuple[Field, ...]:
    return tuple(replace(f, constraints={**f.constraints, "required": True}) if f.name in names else f for f in fields)


def plan_columns(
    contract: Contract,
    target: Target,
    found: dict[str, SheetColumn | None],
    types: dict[str, PgType],
    added: tuple[str, ...] = (),
) -> tuple[ColumnPlan, ...]:
    """Return the plan of each field: its sheet column, and the exact type of its table column.

    Args:
        contract: the contract to use.
        target: the target of the load.
        found: sheet column by field name.
        types: types that the contract sets for new columns, by field name (see `resolve_types`).
        added: names of the fields whose columns are added to the existing table.

    Raises:
        TargetRefused: a table column is missing, filled by the database, or of a type that the field cannot fill.
    """
    planned = []
    for field in contract.fields:
        pg_type = _new_type(field, types) if field.name in added else _column_type(field, target, types)
        reason = misfit(field.type, pg_type)
        if reason:
            raise TargetRefused(
                f"column {field.name!r}: {reason}", choice="leave it out with --columns, or change the contract"
            )
        planned.append(ColumnPlan(field, found[field.name], pg_type, contract.missing_values_of(field)))
    if target.table:
        _check_required_columns(target.table, {f.name for f in contract.fields})
    return tuple(planned)


def _new_type(field: Field, types: dict[str, PgType]) -> PgType:
    return types.get(field.name) or PgType(FIELD_TYPES[field.type])


def _column_type(field: Field, target: Target, types: dict[str, PgType]) -> PgType:
    if target.table is None:
        return _new_type(field, types)
    column = target.table.column(field.name)
    listed = ", ".join(c.name for c in target.table.columns)
    if column is None:
        raise TargetRefused(f"table {target.quoted} has no column {field.name!r}", choice=f"its columns: {listed}")
    if column.filled_by_database:
        how = {"identity": "GENERATED ALWAYS AS IDENTITY", "generated": "GENERATED ALWAYS"}[column.filled_by_database]
        raise TargetRefused(
            f"column {field.name!r} of {target.quoted} is {how} and accepts no values",
            choice="leave it out with --columns",
        )
    return column.pg_type


def _check_required_columns(table: Table, names: set[str]) -> None:
    needed = [c.name for c in table.columns if _needs_values(c) and c.name not in names]
    if needed:
        raise TargetRefused(
            f"{quote(table.schema, table.name)} needs values for {', '.join(needed)}, which the sheet does not load",
            choice="add the columns to the sheet, or give them defaults",
        )


def resolve_types(session: Session, contract: Contract) -> tuple[Contract, dict[str, PgType]]:
    """Return the contract and the types that it sets, by field name, as the server resolves them.

    The types of its extra columns are spelled for SQL with the schema in which they were found.

    Raises:
        TargetRefused: the server does not have one of the types.
    """
    extra = tuple(replace(c, type=find_type(session, c.type).sql) for c in contract.extra_columns)
    return replace(contract, extra_columns=extra), {
        name: find_type(session, text) for name, text in contract.types.items()
    }
