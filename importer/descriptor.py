"""Owns the loading of contracts: descriptors in JSON, YAML or TOML, checked key by key, from strangers too."""

from __future__ import annotations

import json
import math
import re
import reprlib
from typing import TYPE_CHECKING, Any

from .contract import DEFAULTS, Contract, ExtraColumn, Field, ForeignKey
from .errors import ContractError
from .pgtypes import FIELD_TYPES, parse_type

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FIELDS_MATCH = ("exact", "equal", "subset", "superset", "partial")
CONSTRAINTS = (
    "required", "unique", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "pattern", "enum", "jsonSchema",
)  # fmt: skip
_LENGTH_TYPES = {"string", "any", "array", "list", "object", "geojson", "yearmonth"}
_ORDERED_TYPES = {"number", "integer", "date", "time", "datetime", "year", "yearmonth", "duration"}
_JSON_TYPES = {"array", "list", "object", "geojson"}
_STAMP_TYPES = ("date", "time", "datetime")
_FORMATS = {
    "string": {"default", "email", "uri", "binary", "uuid"},
    "geopoint": {"default", "array", "object"},
    "geojson": {"default", "topojson"},
}
_ITEM_TYPES = ("string", "integer", "number", "boolean", "date", "time", "datetime")
_POSTGRESQL_KEYS = ("schema", "table", "types", "extraColumns", "indexes")
_EXTRA_KEYS = ("name", "type", "default", "identity", "primaryKey", "notNull")
#: YAML can make values that are short to write and endless to print.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_CALL = re.compile(r"[\w.]+\(.*\)", re.DOTALL)


def load_contract(path: Path) -> Contract:
    """The contract in a `.json`, `.yaml`, `.yml` or `.toml` file.

    Raises:
        ContractError: unreadable, or not a contract; the message names the field and the key.
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
    """The contract that a decoded descriptor says.

    Raises:
        ContractError: see `load_contract`.
    """
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("fields"), list) or not descriptor["fields"]:
        raise ContractError(
            "a contract is an object with a non-empty list 'fields'", choice="write one with: importer contract FILE"
        )
    fields = tuple(_parse_field(f, n) for n, f in enumerate(descriptor["fields"], 1))
    names = [f.name for f in fields]
    _refuse_repeated(names, "field")
    postgresql = _object(descriptor.get("postgresql", {}), "postgresql", _POSTGRESQL_KEYS)
    extra = tuple(_extra_column(c, names) for c in _list(postgresql.get("extraColumns", []), "extraColumns"))
    _refuse_repeated([c.name for c in extra], "extra column")
    match = descriptor.get("fieldsMatch", "equal")
    match = match[0] if isinstance(match, list) and match else match
    if match not in FIELDS_MATCH:
        raise ContractError(f"fieldsMatch cannot be {match!r}", choice=" | ".join(FIELDS_MATCH))
    known = names + [c.name for c in extra]
    return Contract(
        fields=fields,
        missing_values=_missing(descriptor.get("missingValues", [""]), "missingValues"),
        primary_key=_names(descriptor["primaryKey"], names, "primaryKey") if descriptor.get("primaryKey") else (),
        unique_keys=tuple(
            _names(k, names, "uniqueKeys") for k in _list(descriptor.get("uniqueKeys", []), "uniqueKeys")
        ),
        foreign_keys=tuple(_foreign_key(k, names) for k in _list(descriptor.get("foreignKeys", []), "foreignKeys")),
        fields_match=match,
        schema=_table_name(postgresql.get("schema"), "postgresql.schema"),
        table=_table_name(postgresql.get("table"), "postgresql.table"),
        types=_types(postgresql.get("types", {}), names),
        extra_columns=extra,
        indexes=tuple(_names(i, known, "indexes") for i in _list(postgresql.get("indexes", []), "indexes")),
    )


def _list(given: Any, place: str) -> list[Any]:
    if not isinstance(given, list):
        raise ContractError(f"{place} is a list, not {_shown(given)}", place=place)
    return given


def _object(given: Any, place: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ContractError(f"{place} is an object, not {_shown(given)}", place=place)
    for key in given:
        if keys is not None and key not in keys:
            raise ContractError(f"unknown key {key!r}", place=place, choice=", ".join(keys))
    return given


def _shown(given: Any) -> str:
    """A value of the wrong kind, short enough for a message."""
    return _SHORT.repr(given)


def _refuse_repeated(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ContractError(f"two {what}s are named {name!r}", place=f"{what} {name!r}")


def _is_name(name: Any) -> bool:
    """Whether PostgreSQL can have a table or column of that name."""
    return (
        isinstance(name, str)
        and bool(name)
        and "\0" not in name
        and len(name.encode("utf-8", "replace")) <= _NAME_BYTES
    )


def _table_name(given: Any, place: str) -> str | None:
    if given is not None and not _is_name(given):
        raise ContractError(f"{_shown(given)} cannot be a name", place=place, choice="a text of 1-63 bytes")
    return given  # type: ignore[no-any-return]


_NAME_BYTES = 63
_FIELD_KEYS = {"name", "type", "title", "format", "constraints", "missingValues"}


def _parse_field(descriptor: Any, number: int) -> Field:
    name = descriptor.get("name") if isinstance(descriptor, dict) else None
    if not isinstance(name, str) or not name:
        raise ContractError("a field needs a name", place=f"field {number}")
    place = f"field {name!r}"
    if not _is_name(name):
        raise ContractError(
            f"{_shown(name)} cannot be the name of a column",
            place=place,
            choice="1-63 bytes; the header text goes into 'title'",
        )
    kind, title, missing = descriptor.get("type", "string"), descriptor.get("title"), descriptor.get("missingValues")
    if not isinstance(kind, str) or kind not in FIELD_TYPES:
        raise ContractError(f"unknown type {_shown(kind)}", place=place, choice=", ".join(FIELD_TYPES))
    if title is not None and not isinstance(title, str):
        raise ContractError(f"title is a text, not {_shown(title)}", place=place)
    result = Field(
        name=name,
        type=kind,
        title=title,
        format=_format(descriptor.get("format", "default"), kind, place),
        constraints=_constraints(descriptor.get("constraints", {}), kind, place),
        missing_values=None if missing is None else _missing(missing, place),
        options={k: v for k, v in descriptor.items() if k not in _FIELD_KEYS},
    )
    _check_options(result, place)
    _check_members(result)
    return result


def _format(form: Any, kind: str, place: str) -> str:
    allowed = _FORMATS.get(kind, {"default"})
    if kind in _STAMP_TYPES and isinstance(form, str) and form not in {"default", "any"}:
        from .stamps import pattern_fault

        fault = pattern_fault(kind, form)
        if fault:
            raise ContractError(
                f"{form!r} is no format of a {kind}: {fault}",
                place=place,
                choice="default, any, or a pattern such as %d.%m.%Y",
            )
    elif kind in _STAMP_TYPES and form in ("default", "any"):
        return str(form)
    elif not isinstance(form, str) or form not in allowed:
        raise ContractError(f"type {kind} has no format {_shown(form)}", place=place, choice=", ".join(sorted(allowed)))
    return form


def _constraints(given: Any, kind: str, place: str) -> dict[str, Any]:
    for key, value in _object(given, f"{place}, constraints").items():
        if key not in CONSTRAINTS:
            raise ContractError(f"unknown constraint {key!r}", place=place, choice=", ".join(CONSTRAINTS))
        if key in {"minLength", "maxLength"} and (kind not in _LENGTH_TYPES or type(value) is not int or value < 0):
            raise ContractError(f"{key} {_shown(value)} does not fit type {kind}", place=place)
        if "imum" in key and kind not in _ORDERED_TYPES:
            raise ContractError(f"{key} does not fit type {kind}", place=place)
        if key == "enum" and (not isinstance(value, list) or not value):
            raise ContractError("enum is a non-empty list", place=place)
        if key in {"required", "unique"} and not isinstance(value, bool):
            raise ContractError(f"{key} is true or false", place=place)
        if key == "jsonSchema" and (not isinstance(value, dict) or kind not in _JSON_TYPES):
            raise ContractError(
                f"jsonSchema is an object, for a field of type {', '.join(sorted(_JSON_TYPES))}", place=place
            )
        if key == "pattern":
            _check_pattern(value, place)
    return dict(given)


def _check_pattern(pattern: Any, place: str) -> None:
    from .rules import pattern_fault

    fault = pattern_fault(pattern) if isinstance(pattern, str) else "it is not a text"
    if fault:
        raise ContractError(f"pattern {_shown(pattern)} is not a regular expression ({fault})", place=place)


def _check_options(field: Field, place: str) -> None:
    options = field.options
    decimal, group = options.get("decimalChar", "."), options.get("groupChar", "")
    if not isinstance(decimal, str) or len(decimal) != 1 or decimal.isdigit():
        raise ContractError("decimalChar is one character", place=place)
    if not isinstance(group, str) or len(group) > 1 or group.isdigit() or decimal == group:
        raise ContractError("groupChar is one character, and another one than decimalChar", place=place)
    for key in ("trueValues", "falseValues"):
        values = options.get(key, [])
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise ContractError(f"{key} is a list of texts", place=place)
    both = set(options.get("trueValues", [])) & set(options.get("falseValues", []))
    if both:
        raise ContractError(f"{min(both)!r} is both in trueValues and in falseValues", place=place)
    if not isinstance(options.get("bareNumber", True), bool):
        raise ContractError("bareNumber is true or false", place=place)
    if field.type == "list":
        _check_list_options(options, place)
    categories = options.get("categories")
    if categories is not None and (not isinstance(categories, list) or not categories):
        raise ContractError("categories is a non-empty list", place=place)


def _check_list_options(options: Mapping[str, Any], place: str) -> None:
    delimiter = options.get("delimiter", ",")
    if not isinstance(delimiter, str) or not delimiter:
        raise ContractError("delimiter is a text of at least one character", place=place)
    if options.get("itemType", "string") not in _ITEM_TYPES:
        raise ContractError(
            f"unknown itemType {_shown(options['itemType'])}", place=place, choice=", ".join(_ITEM_TYPES)
        )


def _check_members(field: Field) -> None:
    """Have bounds, enum members, categories and jsonSchema read once, before any cell meets them."""
    if set(field.constraints) - {"required", "unique"} or "categories" in field.options:
        import polars as pl

        from .rules import checks

        list(checks(field, pl.lit(None, pl.String)))


def _missing(given: Any, place: str) -> tuple[str, ...]:
    """Tokens from a list of texts, or of objects with a `value` (v2)."""
    values = [v.get("value") if isinstance(v, dict) else v for v in given] if isinstance(given, list) else [None]
    texts = tuple(v for v in values if isinstance(v, str))
    if len(texts) < len(values):
        raise ContractError("missingValues is a list of texts", place=place)
    return texts


def _names(given: Any, known: list[str], place: str) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise ContractError(f"a key is a non-empty list of field names, not {_shown(given)}", place=place)
    for name in names:
        if name not in known:
            raise ContractError(
                f"{place} names an unknown field {_shown(name)}", place=place, choice=f"fields: {', '.join(known)}"
            )
    if len(set(names)) < len(names):
        raise ContractError(f"{place} names a field twice: {', '.join(names)}", place=place)
    return tuple(names)


def _foreign_key(given: Any, names: list[str]) -> ForeignKey:
    place = "foreignKeys"
    reference = _object(_object(given, place).get("reference", {}), f"{place}, reference")
    fields = _names(given.get("fields"), names, place)
    there = reference.get("fields")
    references = [there] if isinstance(there, str) else _list(there, f"{place}, reference, fields")
    if len(references) != len(fields) or not all(_is_name(r) for r in references):
        raise ContractError("a foreign key names as many fields of the table that it refers to", place=place)
    # Without a resource, or with the empty one, the key refers to its own table.
    table = reference.get("resource", "")
    if not isinstance(table, str) or "\0" in table:
        raise ContractError(f"resource is the name of a table, not {_shown(table)}", place=place)
    return ForeignKey(fields, table, tuple(references))


def _types(given: Any, names: list[str]) -> dict[str, str]:
    for name, text in _object(given, "postgresql.types").items():
        if name not in names:
            raise ContractError(
                f"postgresql.types names an unknown field {name!r}",
                place="postgresql.types",
                choice=f"fields: {', '.join(names)}",
            )
        if not isinstance(text, str) or parse_type(text) is None:
            raise ContractError(f"{_shown(text)} is not a PostgreSQL type", place=f"postgresql.types, field {name!r}")
    return dict(given)


def _extra_column(given: Any, names: list[str]) -> ExtraColumn:
    name = given.get("name") if isinstance(given, dict) else None
    if not _is_name(name) or name in names:
        raise ContractError("an extra column needs a name that no field has", place=f"extraColumns: {_shown(name)}")
    place = f"extra column {name!r}"
    _object(given, place, _EXTRA_KEYS)
    kind, default = given.get("type", "text"), given.get("default")
    pg_type = parse_type(kind) if isinstance(kind, str) else None
    if pg_type is None:
        raise ContractError(f"{_shown(kind)} is not a PostgreSQL type", place=place)
    for key in ("identity", "primaryKey", "notNull"):
        if not isinstance(given.get(key, False), bool):
            raise ContractError(f"{key} is true or false", place=place)
    if given.get("identity") and (pg_type.name not in {"smallint", "integer", "bigint"} or default is not None):
        raise ContractError("an identity column is a smallint, integer or bigint, without a default", place=place)
    return ExtraColumn(
        str(name),
        kind,
        given.get("identity", False),
        given.get("primaryKey", False),
        given.get("notNull", False),
        _default(default, place),
    )


def _default(given: Any, place: str) -> str | int | float | bool | None:
    """A constant, or one of the calls in `DEFAULTS`; everything else could be somebody's SQL."""
    if isinstance(given, float) and not math.isfinite(given):
        given = [given]
    if given is not None and not isinstance(given, (str, int, float)):
        raise ContractError(f"default {_shown(given)} is neither a text nor a number, true or false", place=place)
    if isinstance(given, str):
        if given.lower() in DEFAULTS:
            return given.lower()
        if _CALL.fullmatch(given) or "\0" in given:
            raise ContractError(
                f"default {_shown(given)} is not one that a contract may ask for",
                place=place,
                choice=", ".join(DEFAULTS),
            )
    return given
