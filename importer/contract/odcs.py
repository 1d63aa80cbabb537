"""Translates between a Table Schema descriptor and a contract of the Open Data Contract Standard (ODCS), version 3.

Source of the keys: the standard's JSON schema of v3.0 and v3.1 (bitol-io.github.io/open-data-contract-standard). What
ODCS has no word for (the workbook's sheet, missing values, a field's number format) travels in its `customProperties`,
each named like the key that it is here.
"""

from __future__ import annotations

import re
from typing import Any

from importer.errors import ContractError
from importer.postgres.types import FIELD_TYPES, parse_type

from .known_keys import FIELD_KEYS, within

VERSION = "v3.0.2"
#: Types of ODCS and the field types that they are here; those that are not listed have the same name.
_TO_FIELD = {"timestamp": "datetime"}
#: Field types that ODCS v3.0 has no type for; the exact one is a custom property.
_TO_ODCS = {
    "datetime": "date", "time": "string", "duration": "string", "year": "integer", "yearmonth": "string",
    "list": "array", "geopoint": "string", "geojson": "object", "any": "string",
}  # fmt: skip
_LOGICAL_TYPES = ("string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean")
#: Options of a logical type that are constraints of a field here.
_CONSTRAINT_OPTIONS = (
    "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
)  # fmt: skip
#: Types of PostgreSQL that other databases spell alike; a `physicalType` of these is the type of the column.
_PHYSICAL_TYPES = frozenset({
    "boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "character varying", "character",
    "text", "date", "timestamp", "timestamp with time zone", "time", "interval", "uuid", "json", "jsonb", "citext",
})  # fmt: skip
#: Letters of Java's DateTimeFormatter, which ODCS dates are described with, and the directives of strptime.
_JAVA = {
    "yyyy": "%Y", "uuuu": "%Y", "yy": "%y", "MM": "%m", "M": "%m", "MMM": "%b", "MMMM": "%B", "dd": "%d", "d": "%d",
    "HH": "%H", "H": "%H", "hh": "%I", "mm": "%M", "ss": "%S", "a": "%p", "SSS": "%f", "SSSSSS": "%f", "DDD": "%j",
}  # fmt: skip


def is_odcs(descriptor: Any) -> bool:
    """Return whether a decoded file is a data contract of ODCS."""
    return isinstance(descriptor, dict) and descriptor.get("kind") == "DataContract" and "apiVersion" in descriptor


def from_odcs(descriptor: dict[str, Any]) -> dict[str, Any]:
    """Return the Table Schema descriptor of the one table that a data contract describes.

    Raises:
        ContractError: it is of another major version, or does not describe one table with properties.
    """
    version = descriptor["apiVersion"]
    if not re.fullmatch(r"v3(\.\d+)*", str(version)):
        raise ContractError(f"apiVersion {version!r} of ODCS is not read", place="apiVersion", choice="v3.0.2")
    tables = descriptor.get("schema")
    if not isinstance(tables, list) or len(tables) != 1 or not isinstance(tables[0], dict):
        count = len(tables) if isinstance(tables, list) else 0
        raise ContractError(
            f"the data contract describes {count} tables; a sheet is loaded into one",
            place="schema", choice="one contract for each table",
        )  # fmt: skip
    table = tables[0]
    properties = table.get("properties")
    if not isinstance(properties, list) or not properties:
        raise ContractError("the table of the data contract has no properties", place="schema")
    custom = _custom(table) | _custom(descriptor)
    types = {p["name"]: p["physicalType"] for p in properties if _is_physical(p)}
    postgresql = {"table": table.get("physicalName") or table.get("name"), "types": types}
    postgresql |= custom.get("postgresql", {})
    found = {
        "fields": [_to_field(p, number) for number, p in enumerate(properties)],
        "primaryKey": [p["name"] for p in sorted(filter(_is_key, properties), key=_key_position)],
        "postgresql": {key: value for key, value in postgresql.items() if value},
    }
    return found | {k: v for k, v in custom.items() if k in {"missingValues", "uniqueKeys", "excel", "fieldsMatch"}}


def _is_key(prop: Any) -> bool:
    return isinstance(prop, dict) and prop.get("primaryKey") is True and isinstance(prop.get("name"), str)


def _key_position(prop: dict[str, Any]) -> int:
    position = prop.get("primaryKeyPosition")
    return position if isinstance(position, int) else 0


def _is_physical(prop: Any) -> bool:
    if not isinstance(prop, dict) or not isinstance(prop.get("name"), str):
        return False
    given = prop.get("physicalType")
    parsed = parse_type(given) if isinstance(given, str) else None
    return parsed is not None and parsed.name in _PHYSICAL_TYPES


def _custom(holder: dict[str, Any]) -> dict[str, Any]:
    listed = holder.get("customProperties")
    pairs = [p for p in listed if isinstance(p, dict)] if isinstance(listed, list) else []
    return {p["property"]: p.get("value") for p in pairs if isinstance(p.get("property"), str)}


def _to_field(prop: Any, number: int) -> dict[str, Any]:
    if not isinstance(prop, dict):
        raise ContractError("a property must be an object", place=f"property {number + 1}")
    place, custom = f"property {prop.get('name')!r}", _custom(prop)
    logical = prop.get("logicalType", "string")
    with within("fields", number):
        if logical not in _LOGICAL_TYPES:
            raise ContractError(f"unknown logicalType {logical!r}", place=place, choice=", ".join(_LOGICAL_TYPES))
        options = prop.get("logicalTypeOptions") or {}
        if not isinstance(options, dict):
            raise ContractError("logicalTypeOptions must be an object", place=place)
        kind = custom.get("type") or _TO_FIELD.get(logical, logical)
        field: dict[str, Any] = {"name": prop.get("name"), "title": prop.get("businessName"), "type": kind}
        form = custom.get("format") or _to_format(options.get("format"), str(kind), place)
    constraints = {key: True for key in ("required", "unique") if prop.get(key) is True}
    constraints |= {key: options[key] for key in _CONSTRAINT_OPTIONS if key in options}
    constraints |= {"enum": custom["enum"]} if "enum" in custom else {}
    field |= {"format": form, "constraints": constraints}
    further = {k: v for k, v in custom.items() if k in FIELD_KEYS and k not in {*field, "enum"}}
    return {key: value for key, value in (field | further).items() if value is not None}


def _to_format(given: Any, kind: str, place: str) -> str | None:
    if given is None or kind not in {"date", "time", "datetime"}:
        return given if given in {"email", "uri", "uuid"} else None
    tokens = re.findall(r"'([^']*)'|([A-Za-z])(\2*)|(.)", str(given), re.DOTALL)
    form = ""
    for quoted, letter, more, other in tokens:
        if letter and letter + more not in _JAVA:
            raise ContractError(f"format {given!r} has {letter + more!r}, which is not read", place=place)
        form += _JAVA[letter + more] if letter else quoted or other.replace("%", "%%")
    return None if form in {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%H:%M:%S"} else form


def to_odcs(descriptor: dict[str, Any], table: str) -> dict[str, Any]:
    """Return the data contract for a Table Schema descriptor.

    Args:
        descriptor: the descriptor, as `model.dump_contract` writes it.
        table: name of the table, if the descriptor names none.
    """
    postgresql = descriptor.get("postgresql", {})
    name, key = postgresql.get("table", table), descriptor.get("primaryKey", [])
    types = postgresql.get("types", {})
    custom: dict[str, Any] = {
        k: descriptor[k] for k in ("missingValues", "uniqueKeys", "fieldsMatch", "excel") if k in descriptor
    }
    rest = {k: v for k, v in postgresql.items() if k not in {"table", "types"}}
    custom |= {"postgresql": rest} if rest else {}
    properties = [_to_property(f, types.get(f["name"]), key) for f in descriptor["fields"]]
    described = {"name": name, "physicalName": name, "logicalType": "object", "physicalType": "table"}
    return {
        "apiVersion": VERSION, "kind": "DataContract", "id": f"urn:importer:{name}", "name": name,
        "version": "1.0.0", "status": "draft",
        "schema": [described | {"properties": properties} | _custom_properties(custom)],
    }  # fmt: skip


def _to_property(field: dict[str, Any], physical: str | None, key: list[str]) -> dict[str, Any]:
    kind, constraints = field["type"], field.get("constraints", {})
    logical = _TO_ODCS.get(kind, kind)
    prop: dict[str, Any] = {"name": field["name"]}
    if field.get("title") is not None:
        prop["businessName"] = field["title"]
    prop |= {"logicalType": logical, "physicalType": physical or FIELD_TYPES[kind]}
    options = {k: constraints[k] for k in _CONSTRAINT_OPTIONS if k in constraints}
    if options:
        prop["logicalTypeOptions"] = options
    prop |= {k: True for k in ("required", "unique") if constraints.get(k)}
    if field["name"] in key:
        prop |= {"required": True, "primaryKey": True, "primaryKeyPosition": key.index(field["name"]) + 1}
    custom = {"type": kind} if logical != kind else {}
    custom |= {"enum": constraints["enum"]} if "enum" in constraints else {}
    custom |= {k: v for k, v in field.items() if k not in {"name", "title", "type", "constraints"}}
    return prop | _custom_properties(custom)


def _custom_properties(values: dict[str, Any]) -> dict[str, Any]:
    return {"customProperties": [{"property": k, "value": v} for k, v in values.items()]} if values else {}
