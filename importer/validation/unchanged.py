"""Finds the columns of a window whose cells are all loaded as they are, and gives their values without expressions.

Most columns of most windows are such. An expression costs some 20 µs, whatever the height of a window, and each column
takes a dozen: with 200 columns these were four fifths of a check. What these values are is the same as by
`evaluate.check_cells`; where anything may be otherwise, a column is not one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import MAX_EXACT_INTEGER, MarkedNumberKind, part
from importer.postgres.types import PgType, wire_type_of

from .cast import INTEGER_RANGES

if TYPE_CHECKING:
    from importer.plan.model import ColumnPlan, LoadPlan

    from .text_traits import TextTraits

#: Constraints of which cells are not examined here, or only as far as they are missing.
_HARMLESS = {"required", "unique"}
_TEXT_TYPES = {"text", "character varying"}


def unchanged_values(
    frame: pl.DataFrame, plan: LoadPlan, kinds: dict[int, list[str]], texts: TextTraits
) -> dict[int, pl.Series]:
    """Return the wire values of those columns, by position of the field; null for an empty cell, which is missing.

    Args:
        frame: the window (see `cells.frame`).
        plan: the plan of the load.
        kinds: kinds that each sheet column holds in it.
        texts: traits of its texts.
    """
    arrays = frame.to_dict(as_series=True)
    found = {}
    for i, planned in enumerate(plan.columns):
        held = kinds.get(planned.column.index, []) if planned.column else []
        if planned.column is None or len(held) != 1 or not _may_be_unchanged(planned, held[0]):
            continue
        array = arrays[part(planned.column.index, held[0])]
        if planned.field.required and array.null_count():
            continue
        values = _values(planned, held[0], array, plan, texts)
        if values is not None and values.dtype == wire_type_of(planned.pg_type).frame:
            found[i] = values
    return found


def is_number_token(token: str) -> bool:
    """Return whether a missing-value token may be the text of a number."""
    return token.strip("-").replace(".", "", 1).isdigit()


def _may_be_unchanged(planned: ColumnPlan, kind: str) -> bool:
    """Return whether nothing is said of the column but its types."""
    field, pg_type = planned.field, planned.pg_type
    plain_type = not (pg_type.array or pg_type.args or pg_type.domain or pg_type.labels is not None)
    plain_field = field.format == "default" and _HARMLESS.issuperset(field.constraints)
    return plain_type and plain_field and "categories" not in field.options and not isinstance(kind, MarkedNumberKind)


def _values(planned: ColumnPlan, kind: str, array: pl.Series, plan: LoadPlan, texts: TextTraits) -> pl.Series | None:
    """Return the cells of a column as its values; None if one may be missing, or break a rule, without being empty."""
    match planned.field.type, kind, planned.pg_type.name:
        case (("string" | "any"), "text", name) if name in _TEXT_TYPES:
            whole = plan.encoding.characters is None and not texts.may_hold_nul
            sized = texts.shortest[array.name] > 0 and texts.longest[array.name] <= plan.max_text
            return array if whole and sized and not any(planned.missing) else None
        case ("number" | "integer") as field_type, "number", name:
            if any(map(is_number_token, planned.missing)):
                return None
            if field_type == "number":
                return array if name == "double precision" else None
            return _whole(array, name) if name in INTEGER_RANGES else None
        case ("boolean", "boolean", "boolean") | ("datetime", "datetime", "timestamp"):
            return array
        case "date", "datetime", "date":
            days = array.cast(pl.Date)
            return days if (days.cast(array.dtype) == array).all() else None
    return None


def _whole(array: pl.Series, name: str) -> pl.Series | None:
    """Return numbers as integers of that PostgreSQL type; None if one is not whole, or out of range."""
    bound = min(INTEGER_RANGES[name] - 1, MAX_EXACT_INTEGER)
    whole = array.cast(pl.Int64, strict=False)
    if whole.null_count() > array.null_count() or not (whole.cast(pl.Float64) == array).all():
        return None
    # Not `is_between`, `is_null` and the like, which build and run a query.
    within = bool((whole >= -bound).all() and (whole <= bound).all())
    return whole.cast(wire_type_of(PgType(name)).frame) if within else None
