"""Owns the layout of a window in memory: one array per sheet column and kind; a cell is non-null in at most one.

A frame has `_row` (sheet row, 1-based), `_hidden` if any row is hidden, `_pad_c` if numbers of sheet column `c`
(0-based) are shown with leading zeros, and the columns `c.number`, `c.text`… for the kinds that occur in `c`.
A non-empty cell is non-null in exactly one of these. So every cell keeps its kind in memory, and the number of
non-empty cells is the number of non-nulls.
"""

from __future__ import annotations

import polars as pl

ROW = "_row"
HIDDEN = "_hidden"

#: Kinds that hold a value, and the type of their arrays. `datetime` holds dates too (at midnight).
VALUE_KINDS: dict[str, type[pl.DataType] | pl.DataType] = {
    "number": pl.Float64,
    "text": pl.String,
    "boolean": pl.Boolean,
    "datetime": pl.Datetime("ms"),
    "time": pl.Time,
    "duration": pl.Duration("ms"),
}
#: Kinds that hold no value: an error value, the text of a formula, the raw text of a value that no type can hold.
PROBLEM_KINDS = ("error", "formula", "unreadable")
#: Above this, neighbouring integers share one 64-bit float, the form of every number in a workbook.
MAX_EXACT_INTEGER = 2**53
PARTS = (*VALUE_KINDS, *PROBLEM_KINDS)


def part(column: int, kind: str) -> str:
    """Return the name of the array for a sheet column (0-based) and a kind."""
    return f"{column}.{kind}"


_PAD = "_pad_"


def pad(column: int) -> str:
    """Return the name of the array with the number of digits that each number of a sheet column is padded to."""
    return f"{_PAD}{column}"


class PaddedNumberKind(str):
    """The kind `number` of a column with zero-padded numbers; compares equal to the plain `number`."""

    __slots__ = ()


def kinds_of(frame_columns: list[str], column: int) -> list[str]:
    """Return the kinds that a sheet column has in a frame with these column names."""
    names = set(frame_columns)
    kinds = [kind for kind in PARTS if part(column, kind) in names]
    return _marked(kinds) if pad(column) in names else kinds


def kinds_by_column(frame_columns: list[str]) -> dict[int, list[str]]:
    """Return what `kinds_of` returns, for every column (ascending), in one pass over the names."""
    found: dict[int, list[str]] = {}
    for name in frame_columns:
        if not name.startswith("_"):
            column, _, kind = name.partition(".")
            found.setdefault(int(column), []).append(kind)
    padded = {name for name in frame_columns if name.startswith(_PAD)}
    kinds = {column: sorted(found[column], key=PARTS.index) for column in sorted(found)}
    return {column: _marked(each) if pad(column) in padded else each for column, each in kinds.items()}


def _marked(kinds: list[str]) -> list[str]:
    return [PaddedNumberKind(kind) if kind == "number" else kind for kind in kinds]


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
