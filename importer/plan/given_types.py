"""Gives columns the types that the user names (`--types`), and all columns the user's texts for a missing value."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.contract.field_loader import parse_field
from importer.contract.known_keys import nearest
from importer.contract.model import dump_field
from importer.errors import UsageError
from importer.postgres.types import FIELD_TYPES, field_type_for, parse_type

from .model import find_column

if TYPE_CHECKING:
    from importer.cells.field import Field
    from importer.contract.model import Contract
    from importer.reading.header import SheetColumn
    from importer.settings import Settings


def with_given(settings: Settings, contract: Contract, found: dict[str, SheetColumn | None]) -> Contract:
    """Return the contract with the types and missing values that the settings name.

    Args:
        settings: settings of the run.
        contract: the contract, given or inferred.
        found: sheet column by field name.

    Raises:
        UsageError: a word names no loaded column, or a type is none.
        ContractError: a constraint of the contract does not fit the type.
    """
    if settings.null:
        fields = tuple(
            f if f.missing_values is None else replace(f, missing_values=_union(f.missing_values, settings.null))
            for f in contract.fields
        )
        contract = replace(contract, fields=fields, missing_values=_union(contract.missing_values, settings.null))
    by_name, types = {f.name: f for f in contract.fields}, dict(contract.types)
    for word, text in settings.types:
        name = _field_name(word, found)
        types.pop(name, None)
        if text not in FIELD_TYPES:
            types[name] = text
        by_name[name] = _retype(by_name[name], _field_type(text))
    return replace(contract, fields=tuple(by_name.values()), types=types)


def _union(texts: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*texts, *more)))


def _field_name(word: str, found: dict[str, SheetColumn | None]) -> str:
    """Return the field that a word of `--types` names: by its name, or by header, name or letter of its column."""
    if word in found:
        return word
    columns = [c for c in found.values() if c]
    column = find_column(columns, word)
    name = next((name for name, each in found.items() if column is not None and each == column), None)
    if name is None:
        near = nearest(word, [*found, *(c.header or "" for c in columns)])
        listed = f"did you mean {near!r}?" if near else f"columns: {', '.join(found)}"
        raise UsageError(f"--types names column {word!r}, which is not loaded", choice=listed)
    return name


def _field_type(text: str) -> str:
    """Return the field type for a field type or a PostgreSQL type; the server knows whether it has that."""
    if text in FIELD_TYPES:
        return text
    parsed = parse_type(text)
    if parsed is None:
        raise UsageError(f"--types names {text!r}, which is not a type", choice=_advice(text))
    return field_type_for(parsed)


def _advice(text: str) -> str:
    near = nearest(text, tuple(FIELD_TYPES))
    return f"{f'did you mean {near!r}? ' if near else ''}{', '.join(FIELD_TYPES)}, or a type of PostgreSQL"


def _retype(field: Field, kind: str) -> Field:
    if kind == field.type:
        return field
    return parse_field(dump_field(replace(field, type=kind, format="default")), 1)
