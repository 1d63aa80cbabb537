"""Owns the contract: a Table Schema descriptor (Data Package v2), loaded, checked, inferred and written out.

What the standard has no word for stands under the key `postgresql`: `schema`, `table`, `types` (column -> PostgreSQL
type), `extraColumns` (filled by the database) and `indexes`. Keys of the standard that do not concern loading
(`description`, `example`, `rdfType`…) are accepted and left alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .errors import ContractError
from .pgtypes import FIELD_TYPES, parse_type

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .headers import SheetColumn
    from .profiling import ColumnFacts

FIELDS_MATCH = ("exact", "equal", "subset", "superset", "partial")
CONSTRAINTS = (
    "required", "unique", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "pattern", "enum", "jsonSchema",
)  # fmt: skip
_LENGTH_TYPES = {"string", "any", "array", "list", "object", "geojson", "yearmonth"}
_ORDERED_TYPES = {"number", "integer", "date", "time", "datetime", "year", "yearmonth", "duration"}
_FORMATS = {
    "string": {"default", "email", "uri", "binary", "uuid"},
    "geopoint": {"default", "array", "object"},
    "geojson": {"default", "topojson"},
}
#: What may fill an extra column. A contract may come from a stranger, so SQL expressions are not taken.
DEFAULTS = ("now()", "current_timestamp", "current_date", "current_user", "gen_random_uuid()", "clock_timestamp()")


@dataclass(frozen=True)
class Field:
    """One column of the contract; `title` is the header text in the workbook."""

    name: str
    type: str = "string"
    title: str | None = None
    format: str = "default"
    constraints: Mapping[str, Any] = field(default_factory=dict)
    missing_values: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def required(self) -> bool:
        """Whether a missing value is an error."""
        return bool(self.constraints.get("required"))


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
    """Fields that refer to another table."""

    fields: tuple[str, ...]
    table: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """What the table is to be."""

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

    def missing_of(self, field: Field) -> tuple[str, ...]:
        """The texts that mean a missing value in that field."""
        return self.missing_values if field.missing_values is None else field.missing_values

    def keys(self) -> list[tuple[str, tuple[str, ...]]]:
        """All keys as (rule, fields): the primary key, unique keys, and fields that are unique by themselves."""
        found = [("primary-key", self.primary_key)] if self.primary_key else []
        found += [("unique-error", key) for key in self.unique_keys]
        found += [("unique-error", (f.name,)) for f in self.fields if f.constraints.get("unique")]
        return list(dict.fromkeys((rule, key) for rule, key in found if rule == "primary-key" or key != self.primary_key))


# ---- LOAD -------------------------------------------------------------------------------------------------------


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
    except ValueError as exc:
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
        raise ContractError("a contract is an object with a non-empty list 'fields'", choice="write one with: importer contract FILE")
    fields = tuple(_parse_field(f, n) for n, f in enumerate(descriptor["fields"], 1))
    names = [f.name for f in fields]
    for name in names:
        if names.count(name) > 1:
            raise ContractError(f"two fields are named {name!r}")
    postgresql = descriptor.get("postgresql") or {}
    match = descriptor.get("fieldsMatch", "equal")
    match = match[0] if isinstance(match, list) and match else match
    if match not in FIELDS_MATCH:
        raise ContractError(f"fieldsMatch cannot be {match!r}", choice=" | ".join(FIELDS_MATCH))
    contract = Contract(
        fields=fields,
        missing_values=_missing(descriptor.get("missingValues", [""]), "missingValues"),
        primary_key=_names(descriptor.get("primaryKey", []), names, "primaryKey"),
        unique_keys=tuple(_names(k, names, "uniqueKeys") for k in descriptor.get("uniqueKeys", [])),
        foreign_keys=tuple(_foreign_key(k, names) for k in descriptor.get("foreignKeys", [])),
        fields_match=match,
        schema=postgresql.get("schema"),
        table=postgresql.get("table"),
        types=_types(postgresql.get("types", {}), names),
        extra_columns=tuple(_extra_column(c, names) for c in postgresql.get("extraColumns", [])),
        indexes=(),
    )
    known = names + [c.name for c in contract.extra_columns]
    return replace(contract, indexes=tuple(_names(i, known, "indexes") for i in postgresql.get("indexes", [])))


_FIELD_KEYS = {"name", "type", "title", "format", "constraints", "missingValues"}


def _parse_field(descriptor: Any, number: int) -> Field:
    name = descriptor.get("name") if isinstance(descriptor, dict) else None
    if not isinstance(name, str) or not name:
        raise ContractError("a field needs a name", place=f"field {number}")
    place = f"field {name!r}"
    kind = descriptor.get("type", "string")
    if kind not in FIELD_TYPES:
        raise ContractError(f"unknown type {kind!r}", place=place, choice=", ".join(FIELD_TYPES))
    form = descriptor.get("format", "default")
    allowed = _FORMATS.get(kind)
    if not isinstance(form, str) or (allowed and form not in allowed):
        raise ContractError(f"type {kind} has no format {form!r}", place=place, choice=", ".join(sorted(allowed or ["default"])))
    missing = descriptor.get("missingValues")
    result = Field(
        name=name,
        type=kind,
        title=descriptor.get("title"),
        format=form,
        constraints=_constraints(descriptor.get("constraints") or {}, kind, place),
        missing_values=None if missing is None else _missing(missing, place),
        options={k: v for k, v in descriptor.items() if k not in _FIELD_KEYS},
    )
    _check_options(result, place)
    return result


def _constraints(given: Any, kind: str, place: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ContractError("constraints are an object", place=place)
    for key, value in given.items():
        if key not in CONSTRAINTS:
            raise ContractError(f"unknown constraint {key!r}", place=place, choice=", ".join(CONSTRAINTS))
        if key in {"minLength", "maxLength"} and (kind not in _LENGTH_TYPES or not isinstance(value, int) or value < 0):
            raise ContractError(f"{key} {value!r} does not fit type {kind}", place=place)
        if "imum" in key and kind not in _ORDERED_TYPES:
            raise ContractError(f"{key} does not fit type {kind}", place=place)
        if key == "enum" and (not isinstance(value, list) or not value):
            raise ContractError("enum is a non-empty list", place=place)
        if key in {"required", "unique"} and not isinstance(value, bool):
            raise ContractError(f"{key} is true or false", place=place)
        if key == "jsonSchema" and not isinstance(value, dict):
            raise ContractError("jsonSchema is an object", place=place)
    if "pattern" in given:
        _check_pattern(given["pattern"], place)
    return given


def _check_pattern(pattern: Any, place: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, TypeError) as exc:
        raise ContractError(f"pattern {pattern!r} is not a regular expression ({exc})", place=place) from None


def _check_options(field: Field, place: str) -> None:
    decimal, group = field.options.get("decimalChar", "."), field.options.get("groupChar", "")
    if not isinstance(decimal, str) or len(decimal) != 1 or not isinstance(group, str) or decimal == group:
        raise ContractError("decimalChar is one character, and another one than groupChar", place=place)
    for key in ("trueValues", "falseValues"):
        values = field.options.get(key, [])
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise ContractError(f"{key} is a list of texts", place=place)
    categories = field.options.get("categories")
    if categories is not None and not isinstance(categories, list):
        raise ContractError("categories is a list", place=place)


def _missing(given: Any, place: str) -> tuple[str, ...]:
    """Tokens from a list of texts, or of objects with a `value` (v2)."""
    values = [v.get("value") if isinstance(v, dict) else v for v in given] if isinstance(given, list) else [None]
    if not all(isinstance(v, str) for v in values):
        raise ContractError("missingValues is a list of texts", place=place)
    return tuple(values)


def _names(given: Any, known: list[str], place: str) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list):
        raise ContractError("a key is a list of field names", place=place)
    for name in names:
        if name not in known:
            raise ContractError(f"{place} names an unknown field {name!r}", choice=f"fields: {', '.join(known)}")
    return tuple(names)


def _foreign_key(given: Any, names: list[str]) -> ForeignKey:
    reference = given.get("reference", {}) if isinstance(given, dict) else {}
    fields = _names(given.get("fields", []), names, "foreignKeys") if isinstance(given, dict) else ()
    references = reference.get("fields", [])
    references = (references,) if isinstance(references, str) else tuple(references)
    table = reference.get("resource")
    if not fields or not table or len(references) != len(fields):
        raise ContractError("a foreign key names fields, and as many fields of a resource (a table)", place="foreignKeys")
    return ForeignKey(fields, str(table), references)


def _types(given: Any, names: list[str]) -> dict[str, str]:
    for name, text in given.items() if isinstance(given, dict) else [("", None)]:
        if name not in names:
            raise ContractError(f"postgresql.types names an unknown field {name!r}", choice=f"fields: {', '.join(names)}")
        if not isinstance(text, str) or parse_type(text) is None:
            raise ContractError(f"{text!r} is not a PostgreSQL type", place=f"field {name!r}")
    return dict(given)


def _extra_column(given: Any, names: list[str]) -> ExtraColumn:
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str) or not name or name in names:
        raise ContractError("an extra column needs a name that no field has", place=f"extraColumns: {name!r}")
    place = f"extra column {name!r}"
    kind = given.get("type", "text")
    if not isinstance(kind, str) or parse_type(kind) is None:
        raise ContractError(f"{kind!r} is not a PostgreSQL type", place=place)
    default = given.get("default")
    if isinstance(default, str) and default.endswith(")") and default not in DEFAULTS:
        raise ContractError(f"default {default!r} is not one that a contract may ask for", place=place, choice=", ".join(DEFAULTS))
    flags = {key: bool(given.get(key)) for key in ("identity", "primaryKey", "notNull")}
    return ExtraColumn(name, kind, flags["identity"], flags["primaryKey"], flags["notNull"], default)


# ---- INFER AND WRITE --------------------------------------------------------------------------------------------


def infer_type(facts: ColumnFacts) -> str:
    """The Table Schema type that holds every value of a column; several kinds make it a string."""
    match sorted(facts.typed):
        case ["number"]:
            return "integer" if facts.integral else "number"
        case ["boolean"]:
            return "boolean"
        case ["date"]:
            return "date"
        case ["date", "datetime"] | ["datetime"]:
            return "datetime"
        case ["time"]:
            return "time"
        case ["duration"]:
            return "duration"
        case _:
            return "string"


def infer_contract(columns: list[SheetColumn], facts: dict[int, ColumnFacts]) -> Contract:
    """The contract that the sheet itself suggests, decided from all its rows."""
    from .profiling import ColumnFacts as Facts

    return Contract(tuple(Field(c.name, infer_type(facts.get(c.index, Facts())), title=c.header) for c in columns))


def dump_contract(contract: Contract) -> dict[str, Any]:
    """The descriptor of a contract; `parse_contract` reads it back equal."""
    descriptor: dict[str, Any] = {"fields": [_dump_field(f) for f in contract.fields], "missingValues": list(contract.missing_values)}
    if contract.primary_key:
        descriptor["primaryKey"] = list(contract.primary_key)
    if contract.unique_keys:
        descriptor["uniqueKeys"] = [list(k) for k in contract.unique_keys]
    if contract.fields_match != "equal":
        descriptor["fieldsMatch"] = contract.fields_match
    postgresql = {"schema": contract.schema, "table": contract.table, "types": dict(contract.types)}
    if any(postgresql.values()):
        descriptor["postgresql"] = {k: v for k, v in postgresql.items() if v}
    return descriptor


def _dump_field(f: Field) -> dict[str, Any]:
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
