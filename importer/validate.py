"""Owns the judgement of a window against the plan: accepted rows in wire types, and every error of every other row.

Pure and columnar: a frame of parts goes in, frames come out, no I/O. A failed conversion is one error; the other
rules on that cell are then unknown, not failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from .convert import convert
from .fit import Fit, fit, keeps_lexical
from .parts import (
    HIDDEN,
    PROBLEM_PARTS,
    ROW,
    VALUE_PARTS,
    as_text,
    kind_name,
    kinds_by_column,
    part,
    parts_of,
    raw_text,
)
from .pgtypes import wire_of
from .rules import CONSTRAINT_ERROR, ERROR_CELL, TYPE_ERROR, UNCALCULATED, checks, format_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pgtypes import PgType
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


#: The field of an error that is about the row as a whole.
WHOLE_ROW = "*"


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

    def __sub__(self, other: ColumnCount) -> ColumnCount:
        mine, theirs = self.__dict__, other.__dict__
        return ColumnCount(**{name: mine[name] - theirs[name] for name in mine})

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


class _Rule(NamedTuple):
    """A rule over the columns that `_judge` adds to a frame; `broken` is true (not null) where a cell breaks it."""

    field: int
    rule: str
    broken: pl.Expr
    reason: str


def check(frame: pl.DataFrame, plan: LoadPlan, refusals: list[Refusal], superseded: tuple[int, ...] = ()) -> Checked:
    """Judge the rows of a window.

    Args:
        frame: of parts (see `parts`), data rows only.
        plan: of the load.
        refusals: errors found elsewhere, for rows of this window.
        superseded: good rows that another one with the same key stands for.
    """
    judged, rules = _judge(frame, plan)
    errors = _errors(judged, plan, rules, refusals)
    good = ~frame[ROW].is_in(errors[ROW].unique().implode()) if len(errors) else None
    left_out = frame[ROW].is_in(superseded) if superseded else None
    kept = judged if good is None else judged.filter(good)
    kept = kept if left_out is None else kept.filter(~pl.col(ROW).is_in(superseded))
    rejected = frame.clear() if good is None else frame.filter(~good)
    accepted = kept.select(ROW, *[pl.col(f"w{i}").alias(c.field.name) for i, c in enumerate(plan.columns)])
    return Checked(
        accepted=accepted,
        errors=errors,
        rejected=rejected,
        keys=_keys(judged, plan, good),
        counts=_count(frame, kept, rejected, plan, frame.clear() if left_out is None else frame.filter(left_out)),
    )


def _judge(frame: pl.DataFrame, plan: LoadPlan) -> tuple[pl.DataFrame, list[_Rule]]:
    """The rules, and the frame with `m{i}` (missing), `v{i}` (the value) and `w{i}` (on the wire) for field `i`.

    In steps, so that nothing is computed twice: what several expressions use is a column by then.
    """
    rules: list[_Rule] = []
    kinds = kinds_by_column(frame.columns)
    cells = [
        _Cell(i, planned, kinds.get(planned.column.index, []) if planned.column else [], plan)
        for i, planned in enumerate(plan.columns)
    ]
    judged = frame.with_columns(cell.missing.alias(f"m{cell.position}") for cell in cells)
    judged = judged.with_columns(cell.value().alias(f"v{cell.position}") for cell in cells)
    judged = judged.with_columns(cell.formed().alias(f"f{cell.position}") for cell in cells if cell.form is not None)
    fits = [cell.fit(plan.timezone) for cell in cells]
    judged = judged.with_columns(f.value.alias(f"w{i}") for i, f in enumerate(fits))
    for cell, fitted in zip(cells, fits, strict=True):
        rules += cell.rules(fitted.reason)
    return judged, rules


class _Cell:
    """The expressions of one planned column, and the rules for it."""

    def __init__(self, position: int, planned: ColumnPlan, kinds: list[str], plan: LoadPlan) -> None:
        self.position = position
        self._planned = planned
        self._column = planned.column.index if planned.column else -1
        self._kinds = kinds
        problems = [k for k in self._kinds if k in PROBLEM_PARTS]
        excused = [k for k in problems if plan.error_cells == "null" and k != "unreadable"]
        self._problems = [k for k in problems if k not in excused]
        self.missing = self._missing(excused)
        self.form = format_check(planned.field, pl.col(f"v{position}"))

    def _missing(self, excused: list[str]) -> pl.Expr:
        """Empty, or a token that means a missing value, or an error cell that was declared to mean one."""
        if not self._kinds:
            return pl.repeat(value=True, n=pl.len())
        held = [k for k in self._kinds if k not in excused]
        nulls = [pl.col(part(self._column, k)).is_null() for k in held] or [pl.repeat(value=True, n=pl.len())]
        empty = nulls[0] if len(nulls) == 1 else pl.all_horizontal(nulls)
        token = _is_token(self._planned.missing, self._column, self._kinds)
        return empty if token is None else empty | token

    def value(self) -> pl.Expr:
        """The values of the field's type, null where a cell is missing or cannot mean one."""
        value = convert(self._planned.field, self._column, self._kinds)
        return pl.when(~pl.col(f"m{self.position}")).then(value)

    def formed(self) -> pl.Expr:
        """The values without those that break the string's format: they are no values of the field's type."""
        assert self.form is not None
        return pl.when(~self.form.broken).then(pl.col(f"v{self.position}"))

    def _final(self) -> pl.Expr:
        return pl.col(f"v{self.position}" if self.form is None else f"f{self.position}")

    def fit(self, timezone: str) -> Fit:
        """The values in the wire's type."""
        planned, value = self._planned, self._final()
        if keeps_lexical(planned.field.type, planned.pg_type):
            value = pl.when(value.is_not_null()).then(raw_text(self._column, self._kinds))
            fitted = fit("string", value, planned.pg_type, timezone)
        else:
            fitted = fit(planned.field.type, value, planned.pg_type, timezone)
        return Fit(fitted.value.cast(wire_of(planned.pg_type).frame), fitted.reason)

    def rules(self, misfit: str) -> Iterator[_Rule]:
        """All rules of the field; a cell that breaks one of the first breaks none of the later ones."""
        field, i = self._planned.field, self.position
        for kind in self._problems:
            rule, reason = _PROBLEM_RULES[kind]
            yield _Rule(i, rule, pl.col(part(self._column, kind)).is_not_null(), reason)
        if field.required:
            yield _Rule(i, CONSTRAINT_ERROR, pl.col(f"m{i}"), "is required")
        if set(self._kinds) & set(VALUE_PARTS) and field.type not in {"string", "any"}:
            yield _Rule(i, TYPE_ERROR, self._unconverted(), f"is not of type {field.type}{_format_hint(self._planned)}")
        if self.form is not None:
            yield _Rule(i, self.form.rule, self.form.broken, self.form.reason)
        value = self._final()
        for found in checks(field, value):
            yield _Rule(i, found.rule, found.broken, found.reason)
        yield _Rule(i, TYPE_ERROR, value.is_not_null() & pl.col(f"w{i}").is_null(), misfit)

    def _unconverted(self) -> pl.Expr:
        held = pl.any_horizontal([pl.col(part(self._column, k)).is_not_null() for k in self._kinds if k in VALUE_PARTS])
        return held & ~pl.col(f"m{self.position}") & pl.col(f"v{self.position}").is_null()


def _format_hint(planned: ColumnPlan) -> str:
    return "" if planned.field.format == "default" else f" in format {planned.field.format!r}"


def _is_token(tokens: tuple[str, ...], column: int, kinds: list[str]) -> pl.Expr | None:
    """Whether a cell holds one of the tokens that mean a missing value; None when none can."""
    found = []
    if "text" in kinds and tokens:
        found.append(_is_one_of(pl.col(part(column, "text")), tokens))
    if "number" in kinds and any(token.strip("-").replace(".", "", 1).isdigit() for token in tokens):
        number = kinds[kinds.index("number")]  # it tells whether numbers are padded
        found.append(_is_one_of(as_text(column, number), tokens))
    return pl.any_horizontal(found) if found else None


def _is_one_of(text: pl.Expr, tokens: tuple[str, ...]) -> pl.Expr:
    # Most contracts have one token, the empty text; a comparison is a tenth of a set look-up.
    found = text == tokens[0] if len(tokens) == 1 else text.is_in(list(tokens))
    return found.fill_null(value=False)


def _errors(judged: pl.DataFrame, plan: LoadPlan, rules: list[_Rule], refusals: list[Refusal]) -> pl.DataFrame:
    """Every error, in the order of rows, then of columns."""
    found = [pl.DataFrame(schema=ERRORS_SCHEMA)]
    # Most rules are broken nowhere: ask that first, for all of them at once, and look closer only at the others.
    hit = (
        judged.select(rule.broken.any().alias(str(n)) for n, rule in enumerate(rules)).row(0)
        if rules and len(judged)
        else ()
    )
    broken = [rule for rule, some in zip(rules, hit, strict=False) if some]
    found += [_error_rows(judged.filter(r.broken), plan.columns[r.field], r.rule, pl.lit(r.reason)) for r in broken]
    found += _refused(judged, plan, refusals)
    return pl.concat(found).sort(ROW, "column", maintain_order=True) if len(found) > 1 else found[0]


def _refused(judged: pl.DataFrame, plan: LoadPlan, refusals: list[Refusal]) -> list[pl.DataFrame]:
    """The errors that were found elsewhere; there may be as many as rows, so they are joined and not looked up."""
    by_name = {column.field.name: column for column in plan.columns}
    grouped: dict[tuple[str, str], list[Refusal]] = {}
    for refusal in refusals:
        grouped.setdefault((refusal.field, refusal.rule), []).append(refusal)
    found = []
    for (name, rule), mine in grouped.items():
        told = pl.DataFrame(
            {ROW: [r.row for r in mine], "_told": [r.reason for r in mine]}, schema={ROW: pl.Int64, "_told": pl.String}
        )
        found.append(_error_rows(judged.join(told, on=ROW), by_name.get(name), rule, pl.col("_told")))
    return found


def _error_rows(rows: pl.DataFrame, planned: ColumnPlan | None, rule: str, reason: pl.Expr) -> pl.DataFrame:
    column = planned.column.index if planned and planned.column else -1
    kinds = parts_of(rows.columns, column)
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


def _keys(judged: pl.DataFrame, plan: LoadPlan, good: pl.Series | None) -> pl.DataFrame | None:
    wanted = {name for _, key in plan.keys for name in key}
    if not wanted:
        return None
    position = {column.field.name: i for i, column in enumerate(plan.columns)}
    values = [
        _as_index_sees(pl.col(f"w{position[name]}"), plan.columns[position[name]].pg_type).alias(name)
        for name in sorted(wanted)
    ]
    accepted = pl.lit(value=True) if good is None else good
    return judged.select(ROW, accepted.alias("_ok"), *values)


def _as_index_sees(value: pl.Expr, pg_type: PgType) -> pl.Expr:
    """Values that a unique index of that type holds for equal, made equal."""
    match pg_type.name:
        case "citext":
            return value.str.to_lowercase()
        case "uuid":
            return value.str.to_lowercase().str.replace_all(r"[{}-]", "")
        case "character":
            return value.str.strip_chars_end(" ")
        case _:
            return value


def _count(
    frame: pl.DataFrame, kept: pl.DataFrame, rejected: pl.DataFrame, plan: LoadPlan, left_out: pl.DataFrame
) -> dict[int, ColumnCount]:
    """Where the cells of every sheet column went, each number counted on its own.

    Args:
        frame: all rows.
        kept: the accepted ones, judged.
        rejected: those with errors.
        plan: of the load.
        left_out: the others; their cells are ignored, as the user asked.
    """
    planned = {column.column.index: i for i, column in enumerate(plan.columns) if column.column}
    filled = {column: _filled(column, kinds) for column, kinds in kinds_by_column(frame.columns).items()}
    held = [mask.sum().alias(str(column)) for column, mask in filled.items()]
    none = dict.fromkeys(map(str, filled), 0)
    cells, refused, unused = (
        none if rows.is_empty() else rows.select(pl.len(), *held).row(0, named=True)
        for rows in (frame, rejected, left_out)
    )
    ours = [(column, i) for column, i in planned.items() if column in filled]
    missing = [(filled[column] & pl.col(f"m{i}")).sum().alias(f"m{i}") for column, i in ours]
    found = kept.select(pl.len(), *missing, *[pl.col(f"w{i}").count() for _, i in ours]).row(0, named=True)
    counts = {}
    for column in filled:
        every, i = cells[str(column)], planned.get(column)
        if i is None:
            counts[column] = ColumnCount(every, ignored=every)
        else:
            counts[column] = ColumnCount(
                every, found[f"w{i}"], found[f"m{i}"], unused[str(column)], refused[str(column)]
            )
    return counts


def _filled(column: int, kinds: list[str]) -> pl.Expr:
    held = [pl.col(part(column, k)).is_not_null() for k in kinds]
    return held[0] if len(held) == 1 else pl.any_horizontal(held)


def data_rows(frame: pl.DataFrame, header_row: int, *, skip_hidden: bool) -> pl.DataFrame:
    """The rows of a window that are data: behind the header, and not hidden where those are to be skipped."""
    if frame.is_empty():
        return frame
    frame = frame.filter(pl.col(ROW) > header_row) if int(frame[ROW][0]) <= header_row else frame
    if skip_hidden and HIDDEN in frame.columns:
        frame = frame.filter(~pl.col(HIDDEN).fill_null(value=False))
    return frame


def broken_rules(errors: pl.DataFrame) -> dict[str, tuple[int, int, int]]:
    """For every `field|rule`: how many errors, and the address of the first."""
    grouped = errors.group_by("field", "rule", maintain_order=True).agg(
        pl.len(), pl.col(ROW).first(), pl.col("column").first()
    )
    return {f"{field}|{rule}": (count, row, column) for field, rule, count, row, column in grouped.iter_rows()}
