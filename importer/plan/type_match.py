"""Says which field types a column of a PostgreSQL type can take."""

from __future__ import annotations

from importer.postgres.types import UNFIT, UNSUPPORTED_PREFIXES, PgType

#: Field types that a column of each type accepts; types not listed accept text.
_TAKES = {
    "boolean": {"boolean"},
    "smallint": {"integer", "number", "year"},
    "integer": {"integer", "number", "year"},
    "bigint": {"integer", "number", "year"},
    "numeric": {"integer", "number", "year"},
    "real": {"integer", "number", "year"},
    "double precision": {"integer", "number", "year"},
    "date": {"date", "datetime"},
    "timestamp": {"datetime", "date"},
    "timestamp with time zone": {"datetime", "date"},
    "time": {"time"},
    "interval": {"duration", "time"},
}
#: Types of elements that the server reads from text as they are, or refuses; others it would cut, round or shorten.
_EXACT_ELEMENTS = {"text", "character varying", "citext", "smallint", "integer", "bigint", "numeric", "boolean", "uuid"}
#: Field types whose values may be the text of a list.
_TAKES_ARRAY = {"string", "any", "array", "list"}


def misfit(field_type: str, pg_type: PgType) -> str | None:
    """Return why a field of this type cannot fill a column of that type, or None if it can."""
    if pg_type.name in UNFIT or pg_type.name.startswith(UNSUPPORTED_PREFIXES):
        return f"type {pg_type} cannot be filled from a sheet"
    if pg_type.array and (pg_type.args or (pg_type.name not in _EXACT_ELEMENTS and pg_type.labels is None)):
        return f"type {pg_type} cannot be filled from a sheet: the server would change elements that do not fit"
    takes = _TAKES_ARRAY if pg_type.array else _TAKES.get(pg_type.name)
    if takes is not None and field_type not in takes:
        return f"a {field_type} field cannot fill a column of type {pg_type}"
    if takes is None and pg_type.name in {"json", "jsonb"} and field_type == "geopoint":
        return f"a {field_type} field cannot fill a column of type {pg_type}"
    return None
