"""Computes the facts that decide the type of a column: which kinds it holds, counted over all rows."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import polars as pl

from .frame import (
    MAX_EXACT_INTEGER,
    ROW,
    UTC_MIDNIGHT,
    VALUE_KINDS,
    MarkedNumberKind,
    digits_or_none,
    kinds_by_column,
    part,
    pattern_name,
)
from .text_forms import TEXT, find_form, may_have_form, widest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Texts = TypeVar("Texts", pl.Expr, pl.Series)
Value: TypeAlias = float | str | bool | datetime | time | timedelta
#: Cells of each kind that are kept as examples, and how many rows are looked at before a whole array is searched.
_EXAMPLES, _FIRST_ROWS = 3, 8
#: Characters of a text that are kept; one more than are ever shown, so that a cut one is known as such.
_CHARACTERS = 41


#: A digit pattern that says that numbers are identifiers. One of twelve zeros or more does not: General shows numbers
#: of that length as `1.2E+11`, and such a format may just show their digits.
_PADDING = "^0{2,11}$|[^0].*00|00.*[^0]"


@dataclass(frozen=True)
class ColumnFacts:
    """What one sheet column holds, in one window or in all of them.

    Attributes:
        kinds: number of non-empty cells per kind; `date` counts the datetimes at midnight.
        blank: number of texts that mean a missing value (those of length zero at least), also in `kinds["text"]`.
        integral: whether every number is whole, and within ±2^53 or written with all digits of a 64-bit integer.
        examples: the first cells of each kind of value as (sheet row, value), without texts that mean a missing value;
            under `datetime` dates, too.
        total: sum of the numbers.
        beyond_floats: whether a float does not hold all digits of some number.
        form: in a file of texts, the form that all of its texts have (see `text_forms`).
        utc_days: number of instants at midnight UTC, which is how programs write dates that have no time of day.
        padded: number of the numbers whose format fills them up with zeros, as it does for identifiers.
    """

    kinds: dict[str, int] = field(default_factory=dict)
    blank: int = 0
    integral: bool = True
    examples: dict[str, tuple[tuple[int, Value], ...]] = field(default_factory=dict)
    total: float = 0.0
    beyond_floats: bool = False
    form: str = TEXT
    utc_days: int = 0
    padded: int = 0

    @property
    def holds_identifiers(self) -> bool:
        """Whether all values are whole numbers that are filled up with zeros, such as postal codes."""
        return self.typed == {"number"} and self.integral and self.padded == self.kinds["number"]

    @property
    def holds_days(self) -> bool:
        """Whether all values are instants at midnight UTC."""
        return self.typed == {"instant"} and self.utc_days == self.kinds["instant"]

    @property
    def cells(self) -> int:
        """The number of non-empty cells."""
        return sum(self.kinds.values())

    @property
    def value_counts(self) -> dict[str, int]:
        """The number of values per kind, without texts that mean a missing value; dates count as `datetime` if any is.

        A column whose kinds mix has more than one.
        """
        found = {kind: n for kind, n in self.kinds.items() if n and kind in (*VALUE_KINDS, "date")}
        found["text"] = found.get("text", 0) - self.blank
        if found.get("datetime"):
            found["datetime"] += found.pop("date", 0)
        return {kind: n for kind, n in found.items() if n > 0}

    @property
    def typed(self) -> frozenset[str]:
        """The kinds that decide the type: those of its values."""
        return frozenset(self.value_counts)


def profile(frame: pl.DataFrame, missing: tuple[str, ...] = ("",), *, textual: bool = False) -> dict[int, ColumnFacts]:
    """Return the facts of every sheet column (0-based) of a window's frame.

    Args:
        frame: the window, see `frame`.
        missing: texts that mean a missing value.
        textual: whether the file holds texts only, whose forms say what they are.
    """
    columns = kinds_by_column(frame.columns)
    if not columns:
        return {}
    row = frame.select(_all_questions(tuple(frame.columns), missing)).row(0, named=True)
    examples = _Examples(frame, missing)
    facts = {column: _facts(examples, column, kinds, row) for column, kinds in columns.items()}
    if textual:
        arrays = frame.to_dict()
        forms = {c: _text_form(arrays.get(part(c, "text")), each, missing) for c, each in facts.items()}
        facts = {column: replace(each, form=forms[column]) for column, each in facts.items()}
    return facts


def count_kinds(frame: pl.DataFrame) -> dict[int, ColumnFacts]:
    """Return how many cells of which kind every sheet column (0-based) has, and no other facts: no cell is read."""
    arrays = frame.to_dict()
    return {
        column: ColumnFacts({str(k): n for k in kinds if (n := arrays[part(column, k)].count())})
        for column, kinds in kinds_by_column(frame.columns).items()
    }


def _text_form(texts: pl.Series | None, facts: ColumnFacts, missing: tuple[str, ...]) -> str:
    """Return the form of the texts of a column; in most columns the first one shows that they have none."""
    first = facts.examples.get("text")
    if texts is None or (first and not may_have_form(str(first[0][1]))):
        return TEXT
    return find_form(texts.filter(~_is_missing(texts, missing)))


@functools.lru_cache(maxsize=4)
def _all_questions(names: tuple[str, ...], missing: tuple[str, ...]) -> list[pl.Expr]:
    """Return the questions about all columns of a frame; windows mostly have the same, which take long to build."""
    columns = kinds_by_column(list(names))
    return [each for column, kinds in columns.items() for each in _questions(column, kinds, missing)]


def _questions(column: int, kinds: list[str], missing: tuple[str, ...]) -> Iterator[pl.Expr]:
    """Yield the aggregates that `_facts` needs of a column, under the names of its arrays or `column:what`."""
    for kind in kinds:
        yield pl.col(part(column, kind)).count().alias(part(column, kind))
    if "datetime" in kinds:
        stamp = pl.col(part(column, "datetime"))
        yield (stamp == stamp.dt.truncate("1d")).sum().alias(f"{column}:dates")
    if "instant" in kinds:
        yield pl.col(part(column, "instant")).str.ends_with(UTC_MIDNIGHT).sum().alias(f"{column}:days")
    if "text" in kinds:
        yield _is_missing(pl.col(part(column, "text")), missing).sum().alias(f"{column}:blank")
    if "number" in kinds:
        yield from _number_questions(column, kinds)


def _number_questions(column: int, kinds: list[str]) -> Iterator[pl.Expr]:
    number = pl.col(part(column, "number"))
    whole = (number == number.floor()) & (number.abs() <= MAX_EXACT_INTEGER)
    digits = digits_or_none(column, kinds)
    if digits is not None:
        fits = digits.cast(pl.Int64, strict=False).is_not_null()
        whole = pl.when(digits.is_null()).then(whole).otherwise(fits)
        yield (digits.count() > 0).alias(f"{column}:beyond")
    if any(isinstance(kind, MarkedNumberKind) and kind.has_patterns for kind in kinds):
        padded = pl.col(pattern_name(column)).str.contains(_PADDING)
        yield (number.is_not_null() & padded).sum().alias(f"{column}:padded")
    yield whole.all().alias(f"{column}:integral")
    yield number.sum().alias(f"{column}:total")


def _is_missing(text: Texts, missing: tuple[str, ...]) -> Texts:
    # A comparison takes a tenth of the time of a set lookup.
    return text == missing[0] if len(missing) == 1 else text.is_in(list(missing))


def _facts(examples: _Examples, column: int, present: list[str], row: dict[str, int]) -> ColumnFacts:
    kinds = {str(kind): n for kind in present if (n := row[part(column, kind)])}  # without a number's marks
    dates, blank = row.get(f"{column}:dates", 0), row.get(f"{column}:blank", 0)
    held = {kind: n - (blank if kind == "text" else 0) for kind, n in kinds.items() if kind in VALUE_KINDS}
    found = {kind: examples.first(part(column, kind), n) for kind, n in held.items() if n}
    if dates:
        kinds["date"] = dates
        kinds["datetime"] -= dates
        if not kinds["datetime"]:
            del kinds["datetime"]
    integral, total = bool(row.get(f"{column}:integral", True)), row.get(f"{column}:total", 0.0)
    beyond, days = bool(row.get(f"{column}:beyond", False)), row.get(f"{column}:days", 0)
    padded = row.get(f"{column}:padded", 0)
    return ColumnFacts(kinds, blank, integral, found, total, beyond, utc_days=days, padded=padded)


class _Examples:
    """The first values of a frame's arrays, which most have in their first rows."""

    def __init__(self, frame: pl.DataFrame, missing: tuple[str, ...]) -> None:
        self._frame, self._missing = frame, missing
        self._head = frame.head(_FIRST_ROWS).to_dict(as_series=False)

    def first(self, name: str, count: int) -> tuple[tuple[int, Value], ...]:
        """Return the first values of an array that has `count` of them, as (sheet row, value)."""
        wanted = min(count, _EXAMPLES)
        found = self._values(self._head[ROW], self._head[name])
        if len(found) < wanted:
            cells = self._frame[name]
            held = cells.is_not_null()
            if cells.dtype == pl.String:
                held &= ~cells.is_in(list(self._missing)).fill_null(value=True)
            at = held.arg_true().head(wanted)
            found = self._values(self._frame[ROW].gather(at).to_list(), cells.gather(at).to_list())
        return tuple(found[:wanted])

    def _values(self, rows: list[int], cells: list[Value | None]) -> list[tuple[int, Value]]:
        return [
            (row, cell[:_CHARACTERS] if isinstance(cell, str) else cell)
            for row, cell in zip(rows, cells, strict=True)
            if cell is not None and cell not in self._missing
        ]


def merge_windows(windows: Iterable[dict[int, ColumnFacts]]) -> dict[int, ColumnFacts]:
    """Return the facts of every sheet column (0-based) over several windows."""
    by_column: dict[int, list[ColumnFacts]] = {}
    for facts in windows:
        for column, mine in facts.items():
            by_column.setdefault(column, []).append(mine)
    return {column: merge_facts(parts) for column, parts in by_column.items()}


def merge_facts(parts: list[ColumnFacts]) -> ColumnFacts:
    """Return the facts of the cells of all parts, in one go: there may be thousands of columns, and many windows."""
    kinds: dict[str, int] = {}
    examples: dict[str, list[tuple[int, Value]]] = {}
    total = 0.0
    for each in parts:
        for kind, n in each.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + n
        for kind, found in each.examples.items():
            examples.setdefault(kind, []).extend(found)
        total += each.total
    return ColumnFacts(
        kinds,
        blank=sum(each.blank for each in parts),
        integral=all(each.integral for each in parts),
        examples={kind: tuple(sorted(found)[:_EXAMPLES]) for kind, found in examples.items()},
        total=total,
        beyond_floats=any(each.beyond_floats for each in parts),
        form=widest(dict.fromkeys(each.form for each in parts if each.kinds.get("text"))),
        utc_days=sum(each.utc_days for each in parts),
        padded=sum(each.padded for each in parts),
    )
