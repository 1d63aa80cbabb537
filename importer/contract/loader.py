"""Loads contracts from descriptors in JSON, YAML or TOML; trusts none of them, and checks them key by key."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from importer.errors import ContractError
from importer.postgres.types import parse_type

from .descriptor_checks import (
    is_name,
    parse_field_names,
    parse_missing_values,
    require_list,
    require_object,
    require_unique,
    shown,
)
from .field_loader import parse_field
from .model import ALLOWED_DEFAULTS, Contract, ExtraColumn, ForeignKey

if TYPE_CHECKING:
    from pathlib import Path

FIELDS_MATCH = ("exact", "equal", "subset", "superset", "partial")
_POSTGRESQL_KEYS = ("schema", "table", "types", "extraColumns", "indexes")
_EXTRA_KEYS = ("name", "type", "default", "identity", "primaryKey", "notNull")
_CALL = re.compile(r"[\w.]+\(.*\)", re.DOTALL)


def load_contract(path: Path) -> Contract:
    """Load the contract in a `.json`, `.yaml`, `.yml` or `.toml` file.

    Raises:
        ContractError: the file is unreadable or not a contract; the message names the field and the key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ContractError(f"no contract file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ContractError(f"cannot read the contract {str(path)!r} ({exc})") from None
    try:
        descriptor = _decode(text, path.suffix.lower())
    except (ValueError, RecursionError) as exc:
        raise ContractError("the contract is not well-formed", place=f"{path}: {_one_line(exc)}") from None
    try:
        return parse_contract(descriptor)
    except ContractError as exc:
        exc.place = f"{path}" + (f", {exc.place}" if exc.place else "")
        raise


def _decode(text: str, suffix: str) -> Any:
    if suffix in {".yaml", ".yml"}:
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise ValueError(str(exc)) from None
    if suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    return json.loads(text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def parse_contract(descriptor: Any) -> Contract:
    """Return the contract that a decoded descriptor describes.

    Raises:
        ContractError: see `load_contract`.
    """
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("fields"), list) or not descriptor["fields"]:
        raise ContractError(
            "a contract is an object with a non-empty list 'fields'", choice="write one with: importer contract FILE"
        )
    fields = tuple(parse_field(f, n) for n, f in enumerate(descriptor["fields"], 1))
    names = [f.name for f in fields]
    require_unique(names, "field")
    postgresql = require_object(descriptor.get("postgresql", {}), "postgresql", _POSTGRESQL_KEYS)
    extra = tuple(
        _parse_extra_column(c, names) for c in require_list(postgresql.get("extraColumns", []), "extraColumns")
    )
    require_unique([c.name for c in extra], "extra column")
    match = descriptor.get("fieldsMatch", "equal")
    match = match[0] if isinstance(match, list) and match else match
    if match not in FIELDS_MATCH:
        raise ContractError(f"fieldsMatch cannot be {match!r}", choice=" | ".join(FIELDS_MATCH))
    known = names + [c.name for c in extra]
    return Contract(
        fields=fields,
        missing_values=parse_missing_values(descriptor.get("missingValues", [""]), "missingValues"),
        primary_key=parse_field_names(descriptor["primaryKey"], names, "primaryKey")
        if descriptor.get("primaryKey")
        else (),
        unique_keys=tuple(
            parse_field_names(k, names, "uniqueKeys")
            for k in require_list(descriptor.get("uniqueKeys", []), "uniqueKeys")
        ),
        foreign_keys=tuple(
            _parse_foreign_key(k, names) for k in require_list(descriptor.get("foreignKeys", []), "foreignKeys")
        ),
        fields_match=match,
        schema=_parse_name(postgresql.get("schema"), "postgresql.schema"),
        table=_parse_name(postgresql.get("table"), "postgresql.table"),
        types=_types(postgresql.get("types", {}), names),
        extra_columns=extra,
        indexes=tuple(
            parse_field_names(i, known, "indexes") for i in require_list(postgresql.get("indexes", []), "indexes")
        ),
    )


def _parse_name(given: Any, place: str) -> str | None:
    if given is not None and not is_name(given):
        raise ContractError(f"{shown(given)} cannot be a name", place=place, choice="a text of 1-63 bytes")
    return given  # type: ignore[no-any-return]


def _parse_foreign_key(given: Any, names: list[str]) -> ForeignKey:
    place = "foreignKeys"
    reference = require_object(require_object(given, place).get("reference", {}), f"{place}, reference")
    fields = parse_field_names(given.get("fields"), names, place)
    there = reference.get("fields")
    references = [there] if isinstance(there, str) else require_list(there, f"{place}, reference, fields")
    if len(references) != len(fields) or not all(is_name(r) for r in references):
        raise ContractError("a foreign key must reference as many fields as it has", place=place)
    # Without a resource, or with an empty one, the key references its own table.
    table = reference.get("resource", "")
    if not isinstance(table, str) or "\0" in table:
        raise ContractError(f"resource must be the name of a table, not {shown(table)}", place=place)
    return ForeignKey(fields, table, tuple(references))


def _types(given: Any, names: list[str]) -> dict[str, str]:
    for name, text in require_object(given, "postgresql.types").items():
        if name not in names:
            raise ContractError(
                f"postgresql.types names an unknown field {name!r}",
                place="postgresql.types",
                choice=f"fields: {', '.join(names)}",
            )
        if not isinstance(text, str) or parse_type(text) is None:
            raise ContractError(f"{shown(text)} is not a PostgreSQL type", place=f"postgresql.types, field {name!r}")
    return dict(given)


def _parse_extra_column(given: Any, names: list[str]) -> ExtraColumn:
    name = given.get("name") if isinstance(given, dict) else None
    if not is_name(name) or name in names:
        raise ContractError("an extra column needs a name that no field has", place=f"extraColumns: {shown(name)}")
    place = f"extra column {name!r}"
    require_object(given, place, _EXTRA_KEYS)
    kind, default = given.get("type", "text"), given.get("default")
    pg_type = parse_type(kind) if isinstance(kind, str) else None
    if pg_type is None:
        raise ContractError(f"{shown(kind)} is not a PostgreSQL type", place=place)
    for key in ("identity", "primaryKey", "notNull"):
        if not isinstance(given.get(key, False), bool):
            raise ContractError(f"{key} must be true or false", place=place)
    if given.get("identity") and (pg_type.name not in {"smallint", "integer", "bigint"} or default is not None):
        raise ContractError("an identity column must be a smallint, integer or bigint, without a default", place=place)
    return ExtraColumn(
        str(name),
        kind,
        given.get("identity", False),
        given.get("primaryKey", False),
        given.get("notNull", False),
        _parse_default(default, place),
    )


def _parse_default(given: Any, place: str) -> str | int | float | bool | None:
    """Return a default: a constant or one of `ALLOWED_DEFAULTS`; any other text could be injected SQL."""
    if isinstance(given, float) and not math.isfinite(given):
        given = [given]
    if given is not None and not isinstance(given, (str, int, float)):
        raise ContractError(f"default {shown(given)} is not a text, a number, true or false", place=place)
    if isinstance(given, str):
        if given.lower() in ALLOWED_DEFAULTS:
            return given.lower()
        if _CALL.fullmatch(given) or "\0" in given:
            raise ContractError(
                f"default {shown(given)} is not allowed in a contract",
                place=place,
                choice=", ".join(ALLOWED_DEFAULTS),
            )
    return given
