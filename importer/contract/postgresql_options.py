"""Reads the key `postgresql` of a contract: what the standard has no word for (table, types, columns, indexes)."""

from __future__ import annotations

import math
import re
from typing import Any

from importer.errors import ContractError
from importer.postgres.types import parse_type

from .descriptor_checks import is_name, parse_field_names, require_list, require_object, require_unique, short_repr
from .known_keys import EXTRA_COLUMN_KEYS, POSTGRESQL_KEYS
from .model import ALLOWED_DEFAULTS, ExtraColumn

_CALL = re.compile(r"[\w.]+\(.*\)", re.DOTALL)


def parse_postgresql(given: Any, names: list[str]) -> dict[str, Any]:
    """Return the settings of the table, by the names that `model.Contract` has for them.

    Args:
        given: the value of the key.
        names: names of the fields.

    Raises:
        ContractError: see `loader.load_contract`.
    """
    found = require_object(given, "postgresql", POSTGRESQL_KEYS)
    listed = require_list(found.get("extraColumns", []), "extraColumns")
    extra = tuple(_parse_extra_column(column, names) for column in listed)
    require_unique([column.name for column in extra], "extra column")
    known = names + [column.name for column in extra]
    return {
        "schema": _parse_name(found.get("schema"), "postgresql.schema"),
        "table": _parse_name(found.get("table"), "postgresql.table"),
        "types": _types(found.get("types", {}), names),
        "extra_columns": extra,
        "indexes": tuple(
            parse_field_names(index, known, "indexes") for index in require_list(found.get("indexes", []), "indexes")
        ),
    }


def _parse_name(given: Any, place: str) -> str | None:
    if given is not None and not is_name(given):
        raise ContractError(f"{short_repr(given)} cannot be a name", place=place, choice="a text of 1-63 bytes")
    return given  # type: ignore[no-any-return]


def _types(given: Any, names: list[str]) -> dict[str, str]:
    for name, text in require_object(given, "postgresql.types").items():
        if name not in names:
            raise ContractError(
                f"postgresql.types names an unknown field {name!r}",
                place="postgresql.types",
                choice=f"fields: {', '.join(names)}",
            )
        if not isinstance(text, str) or parse_type(text) is None:
            raise ContractError(
                f"{short_repr(text)} is not a PostgreSQL type", place=f"postgresql.types, field {name!r}"
            )
    return dict(given)


def _parse_extra_column(given: Any, names: list[str]) -> ExtraColumn:
    name = given.get("name") if isinstance(given, dict) else None
    if not is_name(name) or name in names:
        raise ContractError("an extra column needs a name that no field has", place=f"extraColumns: {short_repr(name)}")
    place = f"extra column {name!r}"
    require_object(given, place, EXTRA_COLUMN_KEYS)
    kind, default = given.get("type", "text"), given.get("default")
    pg_type = parse_type(kind) if isinstance(kind, str) else None
    if pg_type is None:
        raise ContractError(f"{short_repr(kind)} is not a PostgreSQL type", place=place)
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
        raise ContractError(f"default {short_repr(given)} is not a text, a number, true or false", place=place)
    if isinstance(given, str):
        if given.lower() in ALLOWED_DEFAULTS:
            return given.lower()
        if _CALL.fullmatch(given) or "\0" in given:
            raise ContractError(
                f"default {short_repr(given)} is not allowed in a contract",
                place=place,
                choice=", ".join(ALLOWED_DEFAULTS),
            )
    return given
