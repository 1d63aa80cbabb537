"""Checks a window against the plan: accepted rows in wire types, and every error of the rejected rows.

Pure and columnar: takes a frame (see `cells.frame`), returns frames, does no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import ROW

from .conservation import count_cells
from .errors_frame import RowError, find_errors
from .evaluate import check_cells

if TYPE_CHECKING:
    from importer.plan.model import LoadPlan
    from importer.postgres.types import PgType

    from .tasks import ColumnCount


@dataclass(frozen=True)
class CheckedWindow:
    """The result of checking a window.

    Attributes:
        accepted: rows to load: `_row`, and the values in wire types, named by field.
        errors: one row per error, see `ERRORS_SCHEMA`.
        rejected: rejected rows as they were read.
        keys: `_row`, `_ok` (whether the row is accepted) and the key fields, for all rows; None without keys.
        counts: cell counts by sheet column, from 0.
    """

    accepted: pl.DataFrame
    errors: pl.DataFrame
    rejected: pl.DataFrame
    keys: pl.DataFrame | None
    counts: dict[int, ColumnCount] = field(default_factory=dict)


def check_rows(
    frame: pl.DataFrame,
    plan: LoadPlan,
    refusals: list[RowError],
    superseded: tuple[int, ...] = (),
    *,
    may_hold_nul: bool = True,
) -> CheckedWindow:
    """Check the rows of a window.

    Args:
        frame: the window (see `cells.frame`), data rows only.
        plan: the plan of the load.
        refusals: errors found elsewhere, for rows of this window.
        superseded: sheet rows to leave out because another row with the same key is loaded in their place.
        may_hold_nul: whether a text may hold the character NUL; if that is not known, all are searched.
    """
    checked, rules, unchanged = check_cells(frame, plan, may_hold_nul=may_hold_nul)
    errors = find_errors(checked, plan, rules, refusals)
    good = ~frame[ROW].is_in(errors[ROW].unique().implode()) if len(errors) else None
    left_out = frame[ROW].is_in(superseded) if superseded else None
    kept = checked if good is None else checked.filter(good)
    kept = kept if left_out is None else kept.filter(~pl.col(ROW).is_in(superseded))
    rejected = frame.clear() if good is None else frame.filter(~good)
    arrays = kept.to_dict(as_series=True)
    accepted = pl.DataFrame([arrays[ROW], *(arrays[f"w{i}"].alias(c.field.name) for i, c in enumerate(plan.columns))])
    return CheckedWindow(
        accepted=accepted,
        errors=errors,
        rejected=rejected,
        keys=_keys(checked, plan, good),
        counts=count_cells(
            frame, kept, rejected, frame.clear() if left_out is None else frame.filter(left_out), plan, unchanged
        ),
    )


def _keys(checked: pl.DataFrame, plan: LoadPlan, good: pl.Series | None) -> pl.DataFrame | None:
    wanted = {name for _, key in plan.keys for name in key}
    if not wanted:
        return None
    position = {column.field.name: i for i, column in enumerate(plan.columns)}
    values = [
        _normalize_key(pl.col(f"w{position[name]}"), plan.columns[position[name]].pg_type).alias(name)
        for name in sorted(wanted)
    ]
    accepted = pl.lit(value=True) if good is None else good
    return checked.select(ROW, accepted.alias("_ok"), *values)


def _normalize_key(value: pl.Expr, pg_type: PgType) -> pl.Expr:
    """Map values that a unique index of that type treats as equal to equal values."""
    match pg_type.name:
        case "citext":
            return value.str.to_lowercase()
        case "uuid":
            return value.str.to_lowercase().str.replace_all(r"[{}-]", "")
        case "character":
            return value.str.strip_chars_end(" ")
        case _:
            return value
