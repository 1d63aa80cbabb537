"""Owns the layout of a window in memory: one array per sheet column and kind; a cell is non-null in at most one.

A frame has `_row` (sheet row, 1-based), `_hidden` if any row is hidden, and the columns `c.number`, `c.text`… for the
kinds that occur in sheet column `c` (0-based). A non-empty cell is non-null in exactly one of these. So every cell
keeps its kind in memory, and the number of non-empty cells is the number of non-nulls.

Two arrays say more of the numbers of a column, where any of them needs it: `_digits_c` holds the digits of those that
a float does not hold (see `numbers`), `_pattern_c` the pattern of those that are shown digit by digit, such as
postal codes (likewise).
"""

from __future__ import annotations

import functools
from typing import Self

import polars as pl

ROW = "_row"
HIDDEN = "_hidden"

#: Kinds that hold a value, and the type of their arrays. `datetime` holds dates too (at midnight), `instant`
#: dates and times with an offset, in ISO 8601 as in the cell, because the offset is part of the value.
VALUE_KINDS: dict[str, type[pl.DataType] | pl.DataType] = {
    "number": pl.Float64,
    "text": pl.String,
    "boolean": pl.Boolean,
    "datetime": pl.Datetime("us"),
    "instant": pl.String,
    "time": pl.Time,
    "duration": pl.Duration("us"),
}
#: End of the text of an `instant` at midnight UTC.
UTC_MIDNIGHT = "T00:00:00Z"
#: A formula that was never calculated; what is kept of it is its text.
FORMULA = "formula"
#: Kinds that hold no value: an error value, a formula, the raw text of a value that no type can hold.
PROBLEM_KINDS = ("error", FORMULA, "unreadable")
#: How the unreadable text of a last cell begins that is followed by more, in a text file; then that part of the line.
BEYOND = "more fields than columns: "
#: Above this, neighbouring integers share one 64-bit float, the form of every number in a workbook.
MAX_EXACT_INTEGER = 2**53
PARTS = (*VALUE_KINDS, *PROBLEM_KINDS)


def part(column: int, kind: str) -> str:
    """Return the name of the array for a sheet column (0-based) and a kind."""
    return f"{column}.{kind}"


_DIGITS, _PATTERN = "_digits_", "_pattern_"


def digits_name(column: int) -> str:
    """Return the name of the array with the digits of those numbers of a sheet column that a float does not hold."""
    return f"{_DIGITS}{column}"


def pattern_name(column: int) -> str:
    """Return the name of the array with the digit patterns that show numbers of a sheet column."""
    return f"{_PATTERN}{column}"


class MarkedNumberKind(str):
    """The kind `number` of a column that has `_digits_c` or `_pattern_c`; compares equal to the plain `number`.

    Attributes:
        has_digits: whether the digits of some numbers are held beside them.
        has_patterns: whether some numbers are shown by digit patterns.
    """

    __slots__ = ("has_digits", "has_patterns")
    has_digits: bool
    has_patterns: bool

    def __new__(cls, *, has_digits: bool, has_patterns: bool) -> Self:
        """Return the kind with these marks."""
        kind = super().__new__(cls, "number")
        kind.has_digits, kind.has_patterns = has_digits, has_patterns
        return kind

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, bool]]:
        return (), {"has_digits": self.has_digits, "has_patterns": self.has_patterns}


def kinds_of(frame_columns: list[str], column: int) -> list[str]:
    """Return the kinds that a sheet column has in a frame with these column names."""
    names = set(frame_columns)
    return _mark([kind for kind in PARTS if part(column, kind) in names], column, names)


def kinds_by_column(frame_columns: list[str]) -> dict[int, list[str]]:
    """Return what `kinds_of` returns, for every column (ascending), in one pass over the names; not to be changed."""
    return _kinds_by_column(tuple(frame_columns))


@functools.lru_cache(maxsize=4)  # most windows of a sheet have the same
def _kinds_by_column(frame_columns: tuple[str, ...]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name in frame_columns:
        if not name.startswith("_"):
            column, _, kind = name.partition(".")
            found.setdefault(int(column), []).append(kind)
    marks = {name for name in frame_columns if name.startswith((_DIGITS, _PATTERN))}
    return {column: _mark(sorted(found[column], key=PARTS.index), column, marks) for column in sorted(found)}


def _mark(kinds: list[str], column: int, names: set[str]) -> list[str]:
    has_digits, has_patterns = digits_name(column) in names, pattern_name(column) in names
    if not (has_digits or has_patterns):
        return kinds
    marked = MarkedNumberKind(has_digits=has_digits, has_patterns=has_patterns)
    return [marked if kind == "number" else kind for kind in kinds]


def digits_or_none(column: int, kinds: list[str]) -> pl.Expr | None:
    """Return the digits of the numbers that a float does not hold; None if every number of the column is its float."""
    has_digits = any(isinstance(kind, MarkedNumberKind) and kind.has_digits for kind in kinds)
    return pl.col(digits_name(column)) if has_digits else None


def sheet_columns_of(frame_columns: list[str]) -> list[int]:
    """Return the sheet columns (0-based, ascending) of a frame with these column names."""
    return sorted({int(name.split(".")[0]) for name in frame_columns if not name.startswith("_")})


def kind_name(column: int, kinds: list[str]) -> pl.Expr:
    """Return the kind of every cell of a column; null for an empty cell."""
    if not kinds:
        return pl.lit(None, pl.String)
    return pl.coalesce([pl.when(pl.col(part(column, kind)).is_not_null()).then(pl.lit(kind)) for kind in kinds])


def array_or_nulls(kinds: list[str], column: int, kind: str, otherwise: pl.DataType | type[pl.DataType]) -> pl.Expr:
    """Return the array of one kind of a column, or nulls of type `otherwise` if the column does not have that kind."""
    return pl.col(part(column, kind)) if kind in kinds else pl.lit(None, otherwise)


def texts_or_nulls(column: int, kinds: list[str]) -> pl.Expr:
    """Return the texts of a column, or nulls if it has none."""
    return array_or_nulls(kinds, column, "text", pl.String)
