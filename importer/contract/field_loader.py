"""Loads a field of a contract: type, format, constraints and options, all checked before any cell is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from importer.cells.field import Field
from importer.errors import ContractError
from importer.postgres.types import FIELD_TYPES

from .descriptor_checks import is_name, parse_missing_values, require_object, short_repr
from .known_keys import CONSTRAINTS, FIELD_EXCEL_KEYS, FIELD_KEYS, check_keys, nearest, within

if TYPE_CHECKING:
    from collections.abc import Mapping

_LENGTH_TYPES = {"string", "any", "array", "list", "object", "geojson", "yearmonth"}
_ORDERED_TYPES = {"number", "integer", "date", "time", "datetime", "year", "yearmonth", "duration"}
_JSON_TYPES = {"array", "list", "object", "geojson"}
_TEMPORAL_TYPES = ("date", "time", "datetime")
_FORMATS = {
    "string": {"default", "email", "uri", "binary", "uuid"},
    "geopoint": {"default", "array", "object"},
    "geojson": {"default", "topojson"},
}
_ITEM_TYPES = ("string", "integer", "number", "boolean", "date", "time", "datetime")
#: Keys of a field that are not options of its type.
_COMMON_KEYS = {"name", "type", "title", "format", "constraints", "missingValues"}


def parse_field(descriptor: Any, number: int) -> Field:
    """Return the field that an element of `fields` describes; `number` is its position, from 1.

    Raises:
        ContractError: see `loader.load_contract`.
    """
    name = _parse_name(descriptor, number)
    place = f"field {name!r}"
    check_keys(descriptor, FIELD_KEYS, place)
    kind, title, missing = descriptor.get("type", "string"), descriptor.get("title"), descriptor.get("missingValues")
    if not isinstance(kind, str) or kind not in FIELD_TYPES:
        with within("type"):
            raise _unknown_type(kind, place)
    if title is not None and not isinstance(title, str):
        raise ContractError(f"title must be a text, not {short_repr(title)}", place=place)
    with within("format"):
        form = _parse_format(descriptor.get("format", "default"), kind, place)
    with within("constraints"):
        constraints = _parse_constraints(descriptor.get("constraints", {}), kind, place)
    result = Field(
        name=name,
        type=kind,
        title=title,
        format=form,
        constraints=constraints,
        missing_values=None if missing is None else parse_missing_values(missing, place),
        options={k: v for k, v in descriptor.items() if k not in _COMMON_KEYS},
    )
    _check_options(result, place)
    with within("constraints"):
        _check_literals(result)
    return result


def _parse_name(descriptor: Any, number: int) -> str:
    name = descriptor.get("name") if isinstance(descriptor, dict) else None
    if not isinstance(name, str) or not name:
        # YAML takes the words no, yes, on and off for booleans.
        advice = "write it in quotes" if isinstance(name, bool | int) else None
        raise ContractError("a field needs a name, which is a text", place=f"field {number}", choice=advice)
    if not is_name(name):
        raise ContractError(
            f"{short_repr(name)} cannot be the name of a column", place=f"field {name!r}",
            choice="1-63 bytes; the header text goes into 'title'",
        )  # fmt: skip
    return name


def _unknown_type(kind: Any, place: str) -> ContractError:
    near = nearest(kind, tuple(FIELD_TYPES)) if isinstance(kind, str) else None
    advice = f"did you mean {near!r}? types: " if near else ""
    return ContractError(f"unknown type {short_repr(kind)}", place=place, choice=advice + ", ".join(FIELD_TYPES))


def _parse_format(form: Any, kind: str, place: str) -> str:
    allowed = _FORMATS.get(kind, {"default"})
    if kind in _TEMPORAL_TYPES and isinstance(form, str) and form not in {"default", "any"}:
        from importer.cells.temporal import strptime_fault

        fault = strptime_fault(kind, form)
        if fault:
            raise ContractError(
                f"{form!r} is not a format of a {kind}: {fault}",
                place=place,
                choice="default, any, or a pattern such as %d.%m.%Y",
            )
    elif kind in _TEMPORAL_TYPES and form in ("default", "any"):
        return str(form)
    elif not isinstance(form, str) or form not in allowed:
        raise ContractError(
            f"type {kind} has no format {short_repr(form)}", place=place, choice=", ".join(sorted(allowed))
        )
    return form


def _parse_constraints(given: Any, kind: str, place: str) -> dict[str, Any]:
    found = require_object(given, f"{place}, constraints")
    check_keys(found, CONSTRAINTS, place, "constraint")
    for key, value in found.items():
        with within(key):
            _check_constraint(key, value, kind, place)
    return {key: value for key, value in found.items() if key in CONSTRAINTS}


def _check_constraint(key: str, value: Any, kind: str, place: str) -> None:
    if key in {"minLength", "maxLength"} and (kind not in _LENGTH_TYPES or type(value) is not int or value < 0):
        raise ContractError(f"{key} {short_repr(value)} does not fit type {kind}", place=place)
    if "imum" in key and kind not in _ORDERED_TYPES:
        raise ContractError(f"{key} does not fit type {kind}", place=place)
    if key == "enum" and (not isinstance(value, list) or not value):
        raise ContractError("enum must be a non-empty list", place=place)
    if key in {"required", "unique"} and not isinstance(value, bool):
        raise ContractError(f"{key} must be true or false", place=place)
    if key == "jsonSchema" and (not isinstance(value, dict) or kind not in _JSON_TYPES):
        raise ContractError(
            f"jsonSchema must be an object, in a field of type {', '.join(sorted(_JSON_TYPES))}", place=place
        )
    if key == "pattern":
        _check_pattern(value, place)


def _check_pattern(pattern: Any, place: str) -> None:
    from importer.cells.constraints import regex_fault

    fault = regex_fault(pattern) if isinstance(pattern, str) else "it is not a text"
    if fault:
        raise ContractError(f"pattern {short_repr(pattern)} is not a regular expression ({fault})", place=place)


def _check_options(field: Field, place: str) -> None:
    options = field.options
    decimal, group = options.get("decimalChar", "."), options.get("groupChar", "")
    if not isinstance(decimal, str) or len(decimal) != 1 or decimal.isdigit():
        raise ContractError("decimalChar must be one character that is not a digit", place=place)
    if not isinstance(group, str) or len(group) > 1 or group.isdigit() or decimal == group:
        raise ContractError("groupChar must be one character that is neither a digit nor decimalChar", place=place)
    for key in ("trueValues", "falseValues"):
        values = options.get(key, [])
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise ContractError(f"{key} must be a list of texts", place=place)
    both = set(options.get("trueValues", [])) & set(options.get("falseValues", []))
    if both:
        raise ContractError(f"{min(both)!r} is in both trueValues and falseValues", place=place)
    if not isinstance(options.get("bareNumber", True), bool):
        raise ContractError("bareNumber must be true or false", place=place)
    if "excel" in options:
        _check_excel(options["excel"], place)
    if field.type == "list":
        _check_list_options(options, place)
    categories = options.get("categories")
    if categories is not None and (not isinstance(categories, list) or not categories):
        raise ContractError("categories must be a non-empty list", place=place)


def _check_excel(given: Any, place: str) -> None:
    with within("excel"):
        found = require_object(given, f"{place}, excel")
        check_keys(found, FIELD_EXCEL_KEYS, place)
        if found.get("percent", "number") not in ("number", "fraction"):
            raise ContractError("percent must be number (5% is 5) or fraction (5% is 0.05)", place=place)


def _check_list_options(options: Mapping[str, Any], place: str) -> None:
    delimiter = options.get("delimiter", ",")
    if not isinstance(delimiter, str) or not delimiter:
        raise ContractError("delimiter must be a text of at least one character", place=place)
    if options.get("itemType", "string") not in _ITEM_TYPES:
        raise ContractError(
            f"unknown itemType {short_repr(options['itemType'])}", place=place, choice=", ".join(_ITEM_TYPES)
        )


def _check_literals(field: Field) -> None:
    """Raise ContractError for an invalid bound, enum member, category or jsonSchema, by building all checks once."""
    if set(field.constraints) - {"required", "unique"} or "categories" in field.options:
        import polars as pl

        from importer.cells.constraints import checks

        list(checks(field, pl.lit(None, pl.String)))
