"""Owns the contract: the content of a Table Schema descriptor (Data Package v2), also inferred or written out.

Settings beyond the standard are under the key `postgresql`: `schema`, `table`, `types` (column -> PostgreSQL type),
`extraColumns` (filled by the database) and `indexes`; under the key `excel`: what to read of the workbook. Keys of the
standard that do not affect loading (`description`, `example`, `rdfType`…) are accepted and ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from importer.cells.field import Field


#: Function calls allowed as the default of an extra column. A contract can be untrusted, so other SQL is refused.
ALLOWED_DEFAULTS = (
    "now()",
    "current_timestamp",
    "current_date",
    "current_user",
    "gen_random_uuid()",
    "clock_timestamp()",
)


@dataclass(frozen=True)
class ExtraColumn:
    """A column of the table that the database fills."""

    name: str
    type: str
    identity: bool = False
    primary_key: bool = False
    not_null: bool = False
    default: str | int | float | bool | None = None


@dataclass(frozen=True)
class ForeignKey:
    """Fields that reference fields of a table; an empty `table` means their own."""

    fields: tuple[str, ...]
    table: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """The fields, keys and rules that a load must follow, and the settings of the table."""

    fields: tuple[Field, ...]
    missing_values: tuple[str, ...] = ("",)
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    fields_match: str = "equal"
    schema: str | None = None
    table: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    extra_columns: tuple[ExtraColumn, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    #: What is read of the workbook, as in the descriptor (`sheet`, `headerRow`…); see `excel_options`.
    excel: Mapping[str, Any] = field(default_factory=dict)

    def missing_values_of(self, field: Field) -> tuple[str, ...]:
        """Return the texts that mean a missing value in that field."""
        return self.missing_values if field.missing_values is None else field.missing_values

    @property
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """The labels that the column of each field may have in a sheet."""
        return tuple((f.name,) if f.title is None else (f.title, f.name) for f in self.fields)

    def all_keys(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return all keys as (rule, field names): the primary key, unique keys, and fields with `unique`."""
        found = [("primary-key", self.primary_key)] if self.primary_key else []
        found += [("unique-error", key) for key in self.unique_keys]
        found += [("unique-error", (f.name,)) for f in self.fields if f.constraints.get("unique")]
        return list(
            dict.fromkeys((rule, key) for rule, key in found if rule == "primary-key" or key != self.primary_key)
        )


def dump_contract(contract: Contract) -> dict[str, Any]:
    """Return the descriptor of a contract, from which `loader.parse_contract` makes an equal contract."""
    descriptor: dict[str, Any] = {
        "fields": [dump_field(f) for f in contract.fields],
        "missingValues": list(contract.missing_values),
    }
    if contract.primary_key:
        descriptor["primaryKey"] = list(contract.primary_key)
    if contract.unique_keys:
        descriptor["uniqueKeys"] = [list(k) for k in contract.unique_keys]
    if contract.foreign_keys:
        descriptor["foreignKeys"] = [
            {"fields": list(k.fields), "reference": {"resource": k.table, "fields": list(k.references)}}
            for k in contract.foreign_keys
        ]
    if contract.fields_match != "equal":
        descriptor["fieldsMatch"] = contract.fields_match
    postgresql = {
        "schema": contract.schema,
        "table": contract.table,
        "types": dict(contract.types),
        "extraColumns": [_dump_extra(c) for c in contract.extra_columns],
        "indexes": [list(i) for i in contract.indexes],
    }
    if any(postgresql.values()):
        descriptor["postgresql"] = {k: v for k, v in postgresql.items() if v}
    if contract.excel:
        descriptor["excel"] = dict(contract.excel)
    return descriptor


def _dump_extra(column: ExtraColumn) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": column.name, "type": column.type}
    flags = {"identity": column.identity, "primaryKey": column.primary_key, "notNull": column.not_null}
    shown |= {key: True for key, is_set in flags.items() if is_set}
    return shown if column.default is None else shown | {"default": column.default}


def dump_field(f: Field) -> dict[str, Any]:
    """Return the descriptor of a field."""
    shown: dict[str, Any] = {"name": f.name}
    if f.title is not None:
        shown["title"] = f.title
    shown["type"] = f.type
    if f.format != "default":
        shown["format"] = f.format
    if f.constraints:
        shown["constraints"] = dict(f.constraints)
    if f.missing_values is not None:
        shown["missingValues"] = list(f.missing_values)
    return shown | dict(f.options)
