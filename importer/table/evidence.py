"""Weighs whether a row is the header of the rows below it: what each of its cells says, from -1 (data) to 1 (header).

A header differs from its column: a text above numbers, a name above dates, years above amounts, a word that does not
occur below. A row of data looks like the rows below it. The weights were set on the labelled sheets of
`tests/table/labelled.py`, and hold on workbooks from elsewhere.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import BLANK, FLAG, MOMENT, NUMBER, PROBLEM, TEXT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .grid import HeadGrid

#: Texts that stand for a value, or for a missing one, and never name a column.
PLACEHOLDERS = frozenset({
    "", "-", "\N{EN DASH}", "\N{EM DASH}", "?", "n/a", "na", "n.a.", "nan", "null", "none", "nil", "k.a.", "tbd", "x",
    "yes", "no", "ja", "nein", "true", "false", "unknown", "unbekannt", "missing", "pending",
})  # fmt: skip
#: Years that a column may be named after, if its cells are no years themselves.
_YEARS = (1900, 2100)
#: Least numbers that count up by one in a row (days of a month) for them to be names; fewer, if they begin with 1 and
#: a text beside them stands above numbers.
_LEAST_COUNT, _LEAST_FROM_ONE = 5, 3
#: Share of a column's cells that makes a kind, or a pattern, that of the column.
DOMINANT = 0.6
#: Weight of a missing title.
_NO_TITLE = -0.25


@dataclass(frozen=True)
class Evidence:
    """What speaks for a row being the header of the rows below.

    Attributes:
        score: mean over the columns, from -1 to 1.
        contrasts: number of columns whose kind or pattern differs from the row's.
        alike: number of columns, not of texts, in which the row has what the rows below have.
    """

    score: float
    contrasts: int
    alike: int


def weigh(row: tuple[NDArray[np.int8], NDArray[Any]], body: HeadGrid) -> Evidence:
    """Return the evidence that a row is the header of a body.

    Args:
        row: kinds and values of the row, by column of the grid.
        body: rows below it that differ from it.
    """
    kinds, values = row
    filled = (body.kinds != BLANK).sum(axis=0)
    used = np.flatnonzero((filled > 0) | (kinds != BLANK)).tolist()
    series = named_series(kinds, values, body)
    scores = [_weigh_cell(kinds[c], values[c], body, c, named=c in series) for c in used]
    alike = sum(score <= -1 and kinds[c] != TEXT for score, c in zip(scores, used, strict=True))
    contrasts = sum(score >= 0.4 for score in scores)  # noqa: PLR2004 - the least weight of a difference
    mean = sum(scores) / max(len(scores), 1)
    return Evidence(mean - (1 if alike and not contrasts else 0), contrasts, alike)


def _weigh_cell(kind: int, value: Any, body: HeadGrid, column: int, *, named: bool) -> float:
    """Return what one cell of the row says."""
    kinds = body.kinds[:, column]
    kinds = kinds[kinds != BLANK]
    if kind == BLANK:
        return _NO_TITLE
    if not len(kinds):
        return 0.1 if kind == TEXT or named else 0.0
    if kind == TEXT:
        share = float((kinds != TEXT).mean())
        if share >= DOMINANT:
            return -0.3 if str(value).casefold() in PLACEHOLDERS else share
        below = [v for v, k in zip(body.values[:, column], body.kinds[:, column], strict=True) if k == TEXT]
        return _weigh_text(str(value), [str(each) for each in below])
    if named:
        return 0.8
    alike = float((kinds == kind).mean())
    if kind in {PROBLEM, FLAG} or alike >= 1 - DOMINANT:
        return -1.0
    return 0.5 if kind == MOMENT else -0.3


def _weigh_text(text: str, below: list[str]) -> float:
    """Return what a text above texts says: whether it occurs among them, or has their pattern."""
    folded = [each.casefold() for each in below]
    if text.casefold() in folded:
        return -0.8
    masks, mask = [pattern_of(each) for each in below], pattern_of(text)
    with_digits = sum("9" in each for each in masks) / len(masks)
    if with_digits >= 0.8 and (len(masks) > 1 or mask in masks):  # noqa: PLR2004 - codes, dates and amounts written as texts
        return 0.6 if "9" not in mask else -0.6 if mask in masks else 0.1
    common = max(set(masks), key=masks.count)
    if len(masks) > 2 and masks.count(common) >= 0.8 * len(masks) and common != "a":  # noqa: PLR2004 - a pattern
        return -0.5 if mask == common else 0.4
    if len(set(folded)) * 2 <= len(folded):
        return 0.3  # values of a short list, and this is none of them
    longest = max(map(len, below))
    return -0.1 if len(text) > max(2 * longest, 30) else 0.1


def has_sums_above(grid: HeadGrid, position: int, body: HeadGrid) -> bool:
    """Return whether the row above a candidate sums the rows below it, as people put totals above a header.

    Nothing but titles is above it: below a header of its own, it is data. It has numbers, none smaller than the largest
    below it, at most one text, and lacks a cell that all rows below have; the candidate names every column of the
    body by a text of its own.

    Args:
        grid: the first rows of the sheet.
        position: position of the candidate.
        body: rows below it that differ from it.
    """
    if (grid.widths[: position - 1] > 1).any():
        return False
    used = (body.kinds != BLANK).mean(axis=0) >= DOMINANT
    labels, kinds = grid.values[position][used].tolist(), grid.kinds[position]
    if (kinds[used] != TEXT).any() or len(set(labels)) < len(labels) or (kinds[~used] != BLANK).any():
        return False
    above, values = grid.kinds[position - 1], grid.values[position - 1]
    numbers = np.flatnonzero(above == NUMBER).tolist()
    texts, filled = int((above == TEXT).sum()), int((above != BLANK).sum())
    lacks = ((body.kinds != BLANK).all(axis=0) & (above == BLANK)).any()
    if not lacks or not numbers or texts > 1 or texts + len(numbers) < filled:
        return False
    return all(_reaches(values[c], body.values[body.kinds[:, c] == NUMBER, c].tolist()) for c in numbers)


def _reaches(total: float, numbers: list[float]) -> bool:
    """Return whether a number is at least as large as each of two or more others."""
    return len(numbers) > 1 and abs(total) >= max(map(abs, numbers))


def pattern_of(text: str) -> str:
    """Return the pattern of a text: `9` for digits, `a` for words; `AB-12` is `a-9`."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text))


def named_series(kinds: NDArray[np.int8], values: NDArray[Any], body: HeadGrid) -> set[int]:
    """Return the columns whose cell in the row is one of a series that names columns: years, dates, days."""
    numbers = [c for c in np.flatnonzero(kinds == NUMBER).tolist() if float(values[c]).is_integer()]
    years = [c for c in numbers if _YEARS[0] <= values[c] <= _YEARS[1]]
    found: set[int] = set()
    if years and _is_rising([values[c] for c in years]) and not any(_holds_years(body, c) for c in years):
        found |= set(years)
    counted = [values[c] for c in numbers]
    steps = {b - a for a, b in itertools.pairwise(counted)}
    least = _LEAST_FROM_ONE if counted[:1] == [1.0] and _names_numbers(kinds, body) else _LEAST_COUNT
    if len(counted) >= least and steps == {1.0} and (kinds == TEXT).any() and not _counts(body, numbers):
        found |= set(numbers)
    moments = [c for c in np.flatnonzero(kinds == MOMENT).tolist() if isinstance(values[c], datetime)]
    others = not any((body.kinds[:, c] == MOMENT).any() for c in moments)
    if moments and others and _is_rising([values[c] for c in moments]):
        found |= set(moments)
    return found


def _names_numbers(kinds: NDArray[np.int8], body: HeadGrid) -> bool:
    """Return whether a text of the row stands above nothing but numbers."""
    return any((held == NUMBER).all() for c in np.flatnonzero(kinds == TEXT).tolist() if len(held := _filled(body, c)))


def _filled(body: HeadGrid, column: int) -> NDArray[np.int8]:
    kinds = body.kinds[:, column]
    return np.asarray(kinds[kinds != BLANK])


def _counts(body: HeadGrid, columns: list[Any]) -> bool:
    """Return whether the first row of a body counts up in equal steps, too."""
    first = [body.values[0, c] for c in columns if body.kinds[0, c] == NUMBER] if body.rows else []
    steps = {b - a for a, b in itertools.pairwise(first)}
    return len(steps) == 1 and steps != {0.0}


def _is_rising(values: list[Any]) -> bool:
    """Return whether the values only rise, or only fall; neighbours may be equal, as in a merged range."""
    values = [value for n, value in enumerate(values) if n == 0 or value != values[n - 1]]
    pairs = list(itertools.pairwise(values))
    return all(a < b for a, b in pairs) or all(a > b for a, b in pairs)


def _holds_years(body: HeadGrid, column: int) -> bool:
    """Return whether most numbers of a column are years themselves."""
    below = [v for v, k in zip(body.values[:, column], body.kinds[:, column], strict=True) if k == NUMBER]
    within = sum(_YEARS[0] <= v <= _YEARS[1] for v in below)
    return bool(within * 2 > len(below))
