"""Writes a contract as dbt's description of a source: the loaded table, its columns, and tests of their rules.

Source of the keys: dbt's reference of source properties, from version 1.8 (`data_tests`).
"""

from __future__ import annotations

from typing import Any

from importer.postgres.types import FIELD_TYPES


def to_dbt(descriptor: dict[str, Any], table: str) -> dict[str, Any]:
    """Return the content of a `sources.yml` for a Table Schema descriptor.

    Args:
        descriptor: the descriptor, as `model.dump_contract` writes it.
        table: name of the table, if the descriptor names none.
    """
    postgresql = descriptor.get("postgresql", {})
    key, types = descriptor.get("primaryKey", []), postgresql.get("types", {})
    described: dict[str, Any] = {"name": postgresql.get("table", table)}
    composite = [k for k in [key, *descriptor.get("uniqueKeys", [])] if len(k) > 1]
    if composite:
        # dbt's own tests know no key of several columns.
        described["meta"] = {"unique_keys": composite}
    described["columns"] = [_column(f, types.get(f["name"]), key) for f in descriptor["fields"]]
    described["columns"] += [
        {"name": c["name"], "data_type": c.get("type", "text")} for c in postgresql.get("extraColumns", [])
    ]
    schema = postgresql.get("schema", "public")
    return {"version": 2, "sources": [{"name": schema, "schema": schema, "tables": [described]}]}


def _column(field: dict[str, Any], pg_type: str | None, key: list[str]) -> dict[str, Any]:
    constraints, alone = field.get("constraints", {}), key == [field["name"]]
    column: dict[str, Any] = {"name": field["name"]}
    if field.get("title") is not None:
        column["description"] = field["title"]
    column["data_type"] = pg_type or FIELD_TYPES[field["type"]]
    tests: list[Any] = ["not_null"] if constraints.get("required") or field["name"] in key else []
    tests += ["unique"] if constraints.get("unique") or alone else []
    if "enum" in constraints:
        quoted = field["type"] not in {"integer", "number", "year", "boolean"}
        tests.append({"accepted_values": {"values": constraints["enum"], "quote": quoted}})
    return column | ({"data_tests": tests} if tests else {})
