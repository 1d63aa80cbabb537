"""Builds the frame of a window's errors: one row per error, with its cell, rule and reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from importer.cells.frame import ROW, kind_name, kinds_of
from importer.cells.text import raw_text

if TYPE_CHECKING:
    from importer.plan.model import ColumnPlan, LoadPlan

ERRORS_SCHEMA = {
    ROW: pl.Int64, "column": pl.Int32, "field": pl.String, "rule": pl.String,
    "kind": pl.String, "raw": pl.String, "reason": pl.String,
}  # fmt: skip
#: The field of an error that concerns the whole row.
WHOLE_ROW = "*"


class RowError(NamedTuple):
    """An error of a row of this window that was found elsewhere: across windows, or by the database."""

    row: int
    field: str
    rule: str
    reason: str


class Rule(NamedTuple):
    """A rule over the columns that `evaluate.check_cells` adds; `broken` is true (not null) where a cell breaks it."""

    field: int
    rule: str
    broken: pl.Expr
    reason: str


def find_errors(checked: pl.DataFrame, plan: LoadPlan, rules: list[Rule], refusals: list[RowError]) -> pl.DataFrame:
    """Return every error, ordered by row, then by column."""
    found = [pl.DataFrame(schema=ERRORS_SCHEMA)]
    # Most rules are broken nowhere: test all of them in one pass, and collect error rows only for the others.
    hit = (
        checked.select(rule.broken.any().alias(str(n)) for n, rule in enumerate(rules)).row(0)
        if rules and len(checked)
        else ()
    )
    broken = [rule for rule, some in zip(rules, hit, strict=False) if some]
    found += [_error_rows(checked.filter(r.broken), plan.columns[r.field], r.rule, pl.lit(r.reason)) for r in broken]
    found += _row_error_frames(checked, plan, refusals)
    return pl.concat(found).sort(ROW, "column", maintain_order=True) if len(found) > 1 else found[0]


def _row_error_frames(checked: pl.DataFrame, plan: LoadPlan, refusals: list[RowError]) -> list[pl.DataFrame]:
    """Return the errors found elsewhere; there can be as many as rows, so they are joined, not looked up one by one."""
    by_name = {column.field.name: column for column in plan.columns}
    grouped: dict[tuple[str, str], list[RowError]] = {}
    for refusal in refusals:
        grouped.setdefault((refusal.field, refusal.rule), []).append(refusal)
    found = []
    for (name, rule), same in grouped.items():
        reasons = pl.DataFrame(
            {ROW: [r.row for r in same], "_reason": [r.reason for r in same]},
            schema={ROW: pl.Int64, "_reason": pl.String},
        )
        found.append(_error_rows(checked.join(reasons, on=ROW), by_name.get(name), rule, pl.col("_reason")))
    return found


def _error_rows(rows: pl.DataFrame, planned: ColumnPlan | None, rule: str, reason: pl.Expr) -> pl.DataFrame:
    column = planned.column.index if planned and planned.column else -1
    kinds = kinds_of(rows.columns, column)
    name = (planned.field.title or planned.field.name) if planned else "the row"
    return rows.select(
        pl.col(ROW),
        pl.lit(column, pl.Int32).alias("column"),
        pl.lit(planned.field.name if planned else WHOLE_ROW).alias("field"),
        pl.lit(rule).alias("rule"),
        kind_name(column, kinds).alias("kind"),
        raw_text(column, kinds).alias("raw"),
        pl.concat_str(pl.lit(f"{name} "), reason).alias("reason"),
    )


def summarize_by_rule(errors: pl.DataFrame) -> dict[str, tuple[int, int, int]]:
    """Return, by `field|rule`, the number of errors, and the row and sheet column of the first."""
    grouped = errors.group_by("field", "rule", maintain_order=True).agg(
        pl.len(), pl.col(ROW).first(), pl.col("column").first()
    )
    return {f"{field}|{rule}": (count, row, column) for field, rule, count, row, column in grouped.iter_rows()}
