"""Owns the judgement of a window against the plan: accepted rows in wire types, and every error of every other row.

Pure and columnar: a frame of parts goes in, frames come out, no I/O. A failed conversion is one error; the other
rules on that cell are then unknown, not failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from .convert import convert
from .fit import fit
from .parts import HIDDEN, PROBLEM_PARTS, ROW, columns_of, kind_name, part, parts_of, raw_text, shortest_text
from .pgtypes import wire_of
from .rules import CONSTRAINT_ERROR, ERROR_CELL, TYPE_ERROR, UNCALCULATED, checks, format_check

if TYPE_CHECKING:
    from .plan import ColumnPlan, LoadPlan

ERRORS_SCHEMA = {
    ROW: pl.Int64, "column": pl.Int32, "field": pl.String, "rule": pl.String,
    "kind": pl.String, "raw": pl.String, "reason": pl.String,
}  # fmt: skip
_PROBLEM_RULES = {
    "error": (ERROR_CELL, "is an error value"),
    "formula": (UNCALCULATED, "is a formula that was never calculated; open the workbook in Excel and save it"),
    "unreadable": (TYPE_ERROR, "holds a value that no reader can keep exactly"),
}


class Refusal(NamedTuple):
    """An error that was found elsewhere (over several windows, by the database) and belongs to a row here."""

    row: int
    field: str
    rule: str
    reason: str


@dataclass(frozen=True)
class ColumnCount:
    """Where the non-empty cells of a column went; the first number is the sum of the others, or the run fails."""

    cells: int = 0
    loaded: int = 0
    missing: int = 0
    ignored: int = 0
    rejected: int = 0

    def __add__(self, other: ColumnCount) -> ColumnCount:
        mine, theirs = self.__dict__, other.__dict__
        return ColumnCount(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def balanced(self) -> bool:
        """Whether every cell is accounted for."""
        return self.cells == self.loaded + self.missing + self.ignored + self.rejected


@dataclass(frozen=True)
class Checked:
    """What came out of a window.

    Attributes:
        accepted: rows to load, in wire types and under the names of the table, with `_row`.
        errors: one row an error, see `ERRORS_SCHEMA`.
        rejected: the rejected rows as they were read.
        keys: `_row`, `_ok` and the key fields of all rows, or None without keys.
        counts: by sheet column.
    """

    accepted: pl.DataFrame
    errors: pl.DataFrame
    rejected: pl.DataFrame
    keys: pl.DataFrame | None
    counts: dict[int, ColumnCount] = field(default_factory=dict)


class _Cell(NamedTuple):
    """The expressions of one planned column."""

    wire: pl.Expr
    missing: pl.Expr
    rules: list[tuple[str, pl.Expr, str]]


def check(frame: pl.DataFrame, plan: LoadPlan, refusals: list[Refusal]) -> Checked:
    """Judge the rows of a window.

    Args:
        frame: of parts (see `parts`), data rows only.
        plan: of the load.
        refusals: errors found elsewhere, for rows of this window.
    """
    cells = [_cell(column, frame.columns, plan) for column in plan.columns]
    judged = frame.select(ROW, *[c.wire.alias(f"w{i}") for i, c in enumerate(cells)], *[c.missing.alias(f"m{i}") for i, c in enumerate(cells)])
    masks = _broken(frame, cells)
    errors = _errors(frame, plan, cells, masks, refusals)
    good = ~frame[ROW].is_in(errors[ROW].unique().implode()) if len(errors) else pl.repeat(value=True, n=len(frame), eager=True)
    accepted = judged.filter(good).select(ROW, *[pl.col(f"w{i}").alias(c.field.name) for i, c in enumerate(plan.columns)])
    return Checked(
        accepted=accepted,
        errors=errors,
        rejected=frame.filter(~good),
        keys=_keys(judged, plan, good),
        counts=_count(frame, judged, plan, good),
    )


def _cell(planned: ColumnPlan, names: list[str], plan: LoadPlan) -> _Cell:
    """What a planned column comes to in a frame with these arrays."""
    column = planned.column.index if planned.column else -1
    kinds = parts_of(names, column)
    empty = pl.all_horizontal([pl.col(part(column, k)).is_null() for k in kinds]) if kinds else pl.repeat(value=True, n=pl.len())
    problems = [k for k in kinds if k in PROBLEM_PARTS]
    missing = empty | _is_missing(planned, column, kinds)
    rules: list[tuple[str, pl.Expr, str]] = []
    if plan.error_cells == "null":
        for k in {"error", "formula"} & set(problems):
            missing |= pl.col(part(column, k)).is_not_null()
        problems = [k for k in problems if k == "unreadable"]
    rules += [(_PROBLEM_RULES[k][0], pl.col(part(column, k)).is_not_null(), _PROBLEM_RULES[k][1]) for k in problems]
    sound = ~missing & pl.all_horizontal([pl.col(part(column, k)).is_null() for k in problems] or [pl.lit(value=True)])
    if planned.field.required:
        rules.append((CONSTRAINT_ERROR, missing, "is required"))
    value = convert(planned.field, column, kinds)
    rules.append((TYPE_ERROR, sound & value.is_null(), f"is not of type {planned.field.type}{_format_hint(planned)}"))
    value = pl.when(sound).then(value)
    form = format_check(planned.field, value)
    if form is not None:
        rules.append((form.rule, form.broken, form.reason))
        value = pl.when(~form.broken).then(value)
    rules += [(c.rule, c.broken, c.reason) for c in checks(planned.field, value)]
    fitted = fit(planned.field.type, value, planned.pg_type, plan.timezone)
    rules.append((TYPE_ERROR, value.is_not_null() & fitted.value.is_null(), fitted.reason))
    return _Cell(fitted.value.cast(wire_of(planned.pg_type).frame), missing, rules)


def _format_hint(planned: ColumnPlan) -> str:
    return "" if planned.field.format == "default" else f" in format {planned.field.format!r}"


def _is_missing(planned: ColumnPlan, column: int, kinds: list[str]) -> pl.Expr:
    """Whether a cell holds one of the tokens that mean a missing value."""
    found = pl.lit(value=False)
    if "text" in kinds and planned.missing:
        found |= pl.col(part(column, "text")).is_in(list(planned.missing)).fill_null(value=False)
    if "number" in kinds and any(token.strip("-").replace(".", "", 1).isdigit() for token in planned.missing):
        found |= shortest_text(pl.col(part(column, "number"))).is_in(list(planned.missing)).fill_null(value=False)
    return found


def _broken(frame: pl.DataFrame, cells: list[_Cell]) -> dict[tuple[int, int], pl.Series]:
    """The masks that are true somewhere, by (field, rule) position."""
    asked = {(i, n): mask for i, cell in enumerate(cells) for n, (_, mask, _) in enumerate(cell.rules)}
    if not asked or frame.is_empty():
        return {}
    masks = frame.select([mask.fill_null(value=False).alias(f"{i}|{n}") for (i, n), mask in asked.items()])
    hit = masks.select(pl.all().any()).row(0)
    return {key: masks.to_series(position) for position, (key, some) in enumerate(zip(asked, hit, strict=True)) if some}


def _errors(
    frame: pl.DataFrame, plan: LoadPlan, cells: list[_Cell], masks: dict[tuple[int, int], pl.Series], refusals: list[Refusal]
) -> pl.DataFrame:
    """Every error, in the order of rows, then of columns."""
    found = [pl.DataFrame(schema=ERRORS_SCHEMA)]
    for (i, n), mask in masks.items():
        rule, _, reason = cells[i].rules[n]
        found.append(_error_rows(frame.filter(mask), plan.columns[i], rule, reason))
    by_name = {column.field.name: column for column in plan.columns}
    for refusal in refusals:
        found.append(_error_rows(frame.filter(pl.col(ROW) == refusal.row), by_name[refusal.field], refusal.rule, refusal.reason))
    return pl.concat(found).sort(ROW, "column", maintain_order=True)


def _error_rows(rows: pl.DataFrame, planned: ColumnPlan, rule: str, reason: str) -> pl.DataFrame:
    column = planned.column.index if planned.column else -1
    kinds = parts_of(rows.columns, column)
    name = planned.field.title or planned.field.name
    return rows.select(
        pl.col(ROW),
        pl.lit(column, pl.Int32).alias("column"),
        pl.lit(planned.field.name).alias("field"),
        pl.lit(rule).alias("rule"),
        kind_name(column, kinds).alias("kind"),
        raw_text(column, kinds).alias("raw"),
        pl.lit(f"{name} {reason}").alias("reason"),
    )


def _keys(judged: pl.DataFrame, plan: LoadPlan, good: pl.Series) -> pl.DataFrame | None:
    wanted = {name for _, key in plan.keys for name in key}
    if not wanted:
        return None
    position = {column.field.name: i for i, column in enumerate(plan.columns)}
    values = []
    for name in sorted(wanted):
        value = pl.col(f"w{position[name]}")
        # The unique index of a citext column compares without case.
        folded = plan.columns[position[name]].pg_type.name == "citext"
        values.append((value.str.to_lowercase() if folded else value).alias(name))
    return judged.select(ROW, good.alias("_ok"), *values)


def _count(frame: pl.DataFrame, judged: pl.DataFrame, plan: LoadPlan, good: pl.Series) -> dict[int, ColumnCount]:
    """Where the cells of every sheet column went, each number counted on its own."""
    planned = {column.column.index: i for i, column in enumerate(plan.columns) if column.column}
    asked: list[pl.Expr] = []
    for column in (columns := columns_of(frame.columns)):
        filled = pl.any_horizontal([pl.col(part(column, k)).is_not_null() for k in parts_of(frame.columns, column)])
        asked += [filled.sum().alias(f"{column}:cells"), (filled & ~good).sum().alias(f"{column}:rejected")]
        if column in planned:
            asked.append((filled & good & judged[f"m{planned[column]}"]).sum().alias(f"{column}:missing"))
    row = frame.select(asked).row(0, named=True) if asked else {}
    loaded = judged.filter(good).select(pl.exclude(ROW).count()).row(0, named=True)
    counts = {}
    for column in columns:
        cells, rejected = row[f"{column}:cells"], row[f"{column}:rejected"]
        if column in planned:
            counts[column] = ColumnCount(cells, loaded[f"w{planned[column]}"], row[f"{column}:missing"], 0, rejected)
        else:
            counts[column] = ColumnCount(cells, ignored=cells)
    return counts


def data_rows(frame: pl.DataFrame, header_row: int, *, skip_hidden: bool) -> pl.DataFrame:
    """The rows of a window that are data: behind the header, and not hidden where those are to be skipped."""
    if frame.is_empty():
        return frame
    frame = frame.filter(pl.col(ROW) > header_row) if int(frame[ROW][0]) <= header_row else frame
    if skip_hidden and HIDDEN in frame.columns:
        frame = frame.filter(~pl.col(HIDDEN).fill_null(value=False))
    return frame
