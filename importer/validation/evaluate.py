"""Evaluates cells: the value of each as its field's type and as its wire type, and the rules that it breaks.

A failed conversion is one error; the other rules are then unknown for that cell, not broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from importer.cells.constraints import (
    CONSTRAINT_ERROR,
    ERROR_CELL,
    EXTRA_CELL,
    TYPE_ERROR,
    UNCALCULATED,
    checks,
    format_check,
)  # fmt: skip
from importer.cells.convert import convert
from importer.cells.frame import BEYOND, PROBLEM_KINDS, VALUE_KINDS, digits_or_none, kinds_by_column, part
from importer.cells.temporal import instants
from importer.cells.text import as_text, raw_text
from importer.postgres.types import wire_type_of

from .cast import Cast, fit, keeps_cell_text, with_instants
from .encoding_rules import encoding_rules
from .errors_frame import Rule
from .text_traits import find_text_traits
from .unchanged import is_number_token, unchanged_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.plan.model import ColumnPlan, LoadPlan

    from .text_traits import TextTraits

_PROBLEM_RULES = {
    "error": (ERROR_CELL, "is an error value"),
    "formula": (UNCALCULATED, "is a formula that was never calculated; open the workbook in Excel and save it"),
    "unreadable": (TYPE_ERROR, "holds a value that cannot be stored exactly"),
}


class CheckedCells(NamedTuple):
    """The cells of a window, evaluated.

    Attributes:
        frame: its frame, with `w{i}` (wire value) for field `i`, and `m{i}` (missing) unless it is unchanged.
        rules: the rules over these columns.
        unchanged: positions of the fields whose cells are their wire values as they are; of these, only those are
            missing that are empty.
    """

    frame: pl.DataFrame
    rules: list[Rule]
    unchanged: frozenset[int]


def check_cells(frame: pl.DataFrame, plan: LoadPlan, *, may_hold_nul: bool = True) -> CheckedCells:
    """Evaluate the cells of a window.

    Works in steps, so that nothing is computed twice: what several expressions use is already a column, such as the
    value of the field's type, `v{i}`. Columns whose cells are all loaded as they are take no expressions.

    Args:
        frame: the rows.
        plan: the plan of the load.
        may_hold_nul: whether a text may hold the character NUL.
    """
    rules: list[Rule] = []
    kinds = kinds_by_column(frame.columns)
    texts = find_text_traits(frame, may_hold_nul=may_hold_nul)
    unchanged = unchanged_values(frame, plan, kinds, texts)
    checked = frame.hstack([values.alias(f"w{i}") for i, values in unchanged.items()])
    cells = [
        _ColumnExpressions(i, planned, kinds.get(planned.column.index, []) if planned.column else [], plan)
        for i, planned in enumerate(plan.columns)
        if i not in unchanged
    ]
    if not cells:
        return CheckedCells(checked, rules, frozenset(unchanged))
    checked = checked.with_columns(cell.missing.alias(f"m{cell.position}") for cell in cells)
    checked = checked.with_columns(cell.value().alias(f"v{cell.position}") for cell in cells)
    checked = checked.with_columns(
        cell.formatted_value().alias(f"f{cell.position}") for cell in cells if cell.form is not None
    )
    fits = [cell.fit(plan.timezone, texts) for cell in cells]
    checked = checked.with_columns(f.value.alias(f"w{c.position}") for c, f in zip(cells, fits, strict=True))
    for cell, fitted in zip(cells, fits, strict=True):
        rules += cell.rules(fitted.reason, texts.longest)
    return CheckedCells(checked, rules, frozenset(unchanged))


class _ColumnExpressions:
    """The expressions of one planned column, and the rules for it."""

    def __init__(self, position: int, planned: ColumnPlan, kinds: list[str], plan: LoadPlan) -> None:
        self.position = position
        self._planned = planned
        self._column = planned.column.index if planned.column else -1
        self._kinds = kinds
        self._encoding = plan.encoding
        problems = [k for k in self._kinds if k in PROBLEM_KINDS]
        excused = [k for k in problems if plan.error_cells == "null" and k != "unreadable"]
        self._problems = [k for k in problems if k not in excused]
        texts = planned.field.type in {"string", "any"}  # maxLength of a list counts its items
        self._max_text = max(plan.max_text, planned.field.constraints.get("maxLength", 0) if texts else 0)
        self.missing = self._missing(excused)
        self.form = format_check(planned.field, pl.col(f"v{position}"))

    def _missing(self, excused: list[str]) -> pl.Expr:
        """Return whether a cell is empty, holds a missing-value token, or is an error cell that counts as missing."""
        if not self._kinds:
            return pl.repeat(value=True, n=pl.len())
        held = [k for k in self._kinds if k not in excused]
        nulls = [pl.col(part(self._column, k)).is_null() for k in held] or [pl.repeat(value=True, n=pl.len())]
        empty = nulls[0] if len(nulls) == 1 else pl.all_horizontal(nulls)
        token = _is_missing_token(self._planned.missing, self._column, self._kinds)
        return empty if token is None else empty | token

    def value(self) -> pl.Expr:
        """Return the values of the field's type; null for a cell that is missing or has no such value."""
        value = convert(self._planned.field, self._column, self._kinds)
        if (named := self._instant_texts()) is not None:
            value = pl.coalesce(value, instants(named).dt.replace_time_zone(None))
        return pl.when(~pl.col(f"m{self.position}")).then(value)

    def formatted_value(self) -> pl.Expr:
        """Return the values without those that break the string's format, which are not values of the field's type."""
        assert self.form is not None
        return pl.when(~self.form.broken).then(pl.col(f"v{self.position}"))

    def _instant_texts(self) -> pl.Expr | None:
        """Return dates with an offset, as text, where a `timestamptz` column holds what they name; else None."""
        field, pg_type = self._planned.field, self._planned.pg_type
        if field.type != "datetime" or pg_type.name != "timestamp with time zone" or pg_type.array:
            return None
        kinds = ["instant"] if field.format not in {"default", "any"} else ["instant", "text"]
        texts = [pl.col(part(self._column, kind)) for kind in kinds if kind in self._kinds]
        return pl.coalesce(texts) if texts else None

    def _final(self) -> pl.Expr:
        return pl.col(f"v{self.position}" if self.form is None else f"f{self.position}")

    def fit(self, timezone: str, texts: TextTraits) -> Cast:
        """Return the values in the wire type."""
        planned, value = self._planned, self._final()
        nul = texts.may_hold_nul
        if keeps_cell_text(planned.field.type, planned.pg_type):
            value = pl.when(value.is_not_null()).then(raw_text(self._column, self._kinds))
            fitted = fit("string", value, planned.pg_type, timezone, nul=nul)
        else:
            fitted = fit(planned.field.type, value, planned.pg_type, timezone, self._digits(), nul=nul)
            if (named := self._instant_texts()) is not None:
                fitted = with_instants(fitted, pl.when(value.is_not_null()).then(named), planned.pg_type)
        return Cast(fitted.value.cast(wire_type_of(planned.pg_type).frame), fitted.reason)

    def _digits(self) -> pl.Expr | None:
        """Return the digits of values of type number that a float does not hold; None if there are none."""
        digits = digits_or_none(self._column, self._kinds) if self._planned.field.type == "number" else None
        return digits if digits is None else pl.when(self._final().is_not_null()).then(digits)

    def rules(self, misfit: str, longest: dict[str, int]) -> Iterator[Rule]:
        """Yield all rules of the field; a cell that breaks one of the first ones breaks none of the later ones.

        Args:
            misfit: reason for a value that does not fit the wire type.
            longest: bytes of the longest text in each array of texts.
        """
        field, i = self._planned.field, self.position
        text = part(self._column, "text")
        if longest.get(text, 0) > self._max_text:  # as many bytes as characters, or more
            length = pl.col(text).str.len_chars()
            yield Rule(i, CONSTRAINT_ERROR, length > self._max_text, f"is longer than {self._max_text:,} characters")
        for kind in self._problems:
            yield from self._problem_rules(kind)
        if field.required:
            yield Rule(i, CONSTRAINT_ERROR, pl.col(f"m{i}"), "is required")
        if set(self._kinds) & set(VALUE_KINDS) and field.type not in {"string", "any"}:
            yield Rule(i, TYPE_ERROR, self._conversion_failed(), f"is not of type {field.type}{self._format_hint()}")
        if self.form is not None:
            yield Rule(i, self.form.rule, self.form.broken, self.form.reason)
        value = self._final()
        for found in checks(field, value, self._digits()):
            yield Rule(i, found.rule, found.broken, found.reason)
        yield Rule(i, TYPE_ERROR, value.is_not_null() & pl.col(f"w{i}").is_null(), misfit)
        yield from encoding_rules(i, self._planned.pg_type, self._encoding)

    def _problem_rules(self, kind: str) -> Iterator[Rule]:
        """Yield the rules that cells of a kind break which is no value."""
        texts = pl.col(part(self._column, kind))
        broken = texts.is_not_null()
        if kind == "unreadable":
            beyond = texts.str.starts_with(BEYOND).fill_null(value=False)
            yield Rule(self.position, EXTRA_CELL, beyond, "is followed by more fields than the table has columns")
            broken &= ~beyond
        rule, reason = _PROBLEM_RULES[kind]
        yield Rule(self.position, rule, broken, reason)

    def _format_hint(self) -> str:
        if "instant" in self._kinds and self._instant_texts() is None:
            return " without an offset"
        return "" if self._planned.field.format == "default" else f" in format {self._planned.field.format!r}"

    def _conversion_failed(self) -> pl.Expr:
        held = pl.any_horizontal([pl.col(part(self._column, k)).is_not_null() for k in self._kinds if k in VALUE_KINDS])
        return held & ~pl.col(f"m{self.position}") & pl.col(f"v{self.position}").is_null()


def _is_missing_token(tokens: tuple[str, ...], column: int, kinds: list[str]) -> pl.Expr | None:
    """Return whether a cell holds one of the missing-value tokens; None if no cell can."""
    found = []
    if "text" in kinds and tokens:
        found.append(_is_one_of(pl.col(part(column, "text")), tokens))
    if "number" in kinds and any(map(is_number_token, tokens)):
        number = kinds[kinds.index("number")]  # a `MarkedNumberKind` if it has marks
        found.append(_is_one_of(as_text(column, number), tokens))
    return pl.any_horizontal(found) if found else None


def _is_one_of(text: pl.Expr, tokens: tuple[str, ...]) -> pl.Expr:
    # Most contracts have one token, the empty text; a comparison takes a tenth of the time of a set lookup.
    found = text == tokens[0] if len(tokens) == 1 else text.is_in(list(tokens))
    return found.fill_null(value=False)
