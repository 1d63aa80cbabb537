"""Computes the facts that decide the type of a column: which kinds it holds, counted over all rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from .frame import MAX_EXACT_INTEGER, kinds_by_column, part

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class ColumnFacts:
    """What one sheet column holds, in one window or in all of them.

    Attributes:
        kinds: number of non-empty cells per kind; `date` counts the datetimes at midnight.
        blank: number of texts of length zero, also counted in `kinds["text"]`.
        integral: whether every number is whole and within ±2^53.
    """

    kinds: dict[str, int] = field(default_factory=dict)
    blank: int = 0
    integral: bool = True

    @property
    def cells(self) -> int:
        """The number of non-empty cells."""
        return sum(self.kinds.values())

    @property
    def typed(self) -> frozenset[str]:
        """The kinds that decide the type: those that hold values, without `text` if all texts are empty."""
        found = {k for k, n in self.kinds.items() if n and k not in {"error", "formula", "unreadable"}}
        if self.kinds.get("text", 0) == self.blank:
            found.discard("text")
        return frozenset(found)

    def merged(self, other: ColumnFacts) -> ColumnFacts:
        """Return the facts of the cells of both."""
        kinds = {k: self.kinds.get(k, 0) + other.kinds.get(k, 0) for k in {**self.kinds, **other.kinds}}
        return ColumnFacts(kinds, self.blank + other.blank, self.integral and other.integral)


def profile(frame: pl.DataFrame) -> dict[int, ColumnFacts]:
    """Return the facts of every sheet column (0-based) of a window's frame."""
    columns = kinds_by_column(frame.columns)
    if not columns:
        return {}
    asked: list[pl.Expr] = []
    for column, kinds in columns.items():
        asked += [pl.col(part(column, kind)).count().alias(part(column, kind)) for kind in kinds]
        if "datetime" in kinds:
            stamp = pl.col(part(column, "datetime"))
            asked.append((stamp == stamp.dt.truncate("1d")).sum().alias(f"{column}:dates"))
        if "text" in kinds:
            asked.append((pl.col(part(column, "text")) == "").sum().alias(f"{column}:blank"))
        if "number" in kinds:
            number = pl.col(part(column, "number"))
            whole = (number == number.floor()) & (number.abs() <= MAX_EXACT_INTEGER)
            asked.append(whole.all().alias(f"{column}:integral"))
    row = frame.select(asked).row(0, named=True)
    return {column: _facts(column, kinds, row) for column, kinds in columns.items()}


def _facts(column: int, present: list[str], row: dict[str, int]) -> ColumnFacts:
    kinds = {kind: n for kind in present if (n := row[part(column, kind)])}
    dates = row.get(f"{column}:dates", 0)
    if dates:
        kinds["date"] = dates
        kinds["datetime"] -= dates
        if not kinds["datetime"]:
            del kinds["datetime"]
    return ColumnFacts(kinds, row.get(f"{column}:blank", 0), bool(row.get(f"{column}:integral", True)))


def merge_windows(windows: Iterable[dict[int, ColumnFacts]]) -> dict[int, ColumnFacts]:
    """Return the facts of every sheet column (0-based) over several windows."""
    total: dict[int, ColumnFacts] = {}
    for facts in windows:
        for column, mine in facts.items():
            total[column] = total.get(column, ColumnFacts()).merged(mine)
    return total
