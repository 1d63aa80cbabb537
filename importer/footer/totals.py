"""Judges rows that may be totals: certain ones have a label and a missing key, or sums that cannot be by chance."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Literal

import numpy as np

from importer.table.grid import BLANK, NUMBER, TEXT

from .judged_rows import LEAST_ROWS, count_digits
from .total_words import BEHIND, ONLY_TOTALS, ONLY_TOTALS_CJK, SIGNS, TOTALS, normalize_label, spellings

if TYPE_CHECKING:
    from .judged_rows import JudgedRows

#: `lone`: its label, what it lacks, and its sum say so, but that sums a single row.
Verdict = Literal["certain", "lone", "likely"]
_ONLY_TOTALS = spellings((*ONLY_TOTALS, *ONLY_TOTALS_CJK))
_AROUND = r"[\W_]*"
#: What makes a sum without a label more than chance: rows above it, numbers among them that are not 0, and digits.
_ROWS, _NUMBERS, _DIGITS = 5, 3, 3
#: So many sums of groups without a label, of so many digits, are no chance.
CERTAIN_SUMS = 3


# Compiled when a row may be a total: few sheets have one, and each process would need milliseconds for them.


@functools.cache
def _only_label() -> re.Pattern[str]:
    return re.compile(rf"(?i){_AROUND}(?:{_ONLY_TOTALS}){_AROUND}")


@functools.cache
def _pure_label() -> re.Pattern[str]:
    words = f"{_ONLY_TOTALS}|{spellings(TOTALS)}|{SIGNS}"
    return re.compile(rf"(?i){_AROUND}(?:{words}){_AROUND}(?:{BEHIND})?{_AROUND}")


def judge_marked(rows: JudgedRows, position: int) -> Verdict | None:
    """Return whether a row with a label or a sum is a total; None if nothing but its label says so."""
    mark = rows.marks[rows.grid.rows[position]]
    kinds = rows.grid.kinds[position]
    at = [i for i, c in enumerate(rows.grid.columns) if c == mark.label]
    beside = np.delete(kinds, at)
    beside = beside[beside != BLANK]
    numbers, plain = int((beside == NUMBER).sum()), bool((beside == NUMBER).all())
    leads = bool(at) and not (kinds[: at[0]] == NUMBER).any()  # an id may stand before a name
    labelled, summed, lacks_key = mark.label >= 0, bool(mark.sums), rows.lacks_key(position)
    if not numbers and (not labelled or len(beside)):
        return None
    label = normalize_label(str(rows.grid.values[position, at[0]])) if at else ""
    pure = leads and _pure_label().fullmatch(label) is not None
    only = pure and _only_label().fullmatch(label) is not None
    equal = rows.sums_rows_above(position, 1 if only else LEAST_ROWS)
    if numbers and any(
        (
            summed and labelled and (pure or lacks_key),
            summed and mark.subtotal and leads and plain,
            summed and plain and lacks_key,
            leads and equal and plain and (pure or lacks_key),
            pure and equal and lacks_key,
            pure and plain and lacks_key and rows.others >= LEAST_ROWS and _says_all(rows, position, label),
        )
    ):
        return "certain"
    if labelled and lacks_key and (pure or (leads and plain)) and numbers and rows.sums_rows_above(position, 1):
        return "lone"
    likely = summed or (labelled and plain and (lacks_key or (numbers and rows.is_at_end(position))))
    return "likely" if likely or (labelled and equal) else None


def _says_all(rows: JudgedRows, position: int, label: str) -> bool:
    """Return whether a pure label makes a total of its row: by its words, or at the end of the table."""
    return _only_label().fullmatch(label) is not None or rows.is_at_end(position)


def judge_unlabelled(rows: JudgedRows, position: int) -> Verdict | None:
    """Return whether the last row is a sum without a label that is known.

    It has numbers only, without the cell that every row begins with; or one text before them, in whatever language.
    """
    kinds, keys = rows.grid.kinds[position], np.flatnonzero(rows.keys)
    others = np.flatnonzero((kinds != BLANK) & (kinds != NUMBER)).tolist()
    if not len(keys) or len(others) > 1 or not rows.sums_rows_above(position):
        return None
    no_chance = _is_no_chance(rows, position)
    if others:
        leads = kinds[others[0]] == TEXT and not (kinds[: others[0]] == NUMBER).any()
        if not leads or not no_chance:
            return None
        return "certain" if rows.lacks_key(position) else "likely"
    if kinds[keys[0]] != BLANK:
        return None
    return "certain" if no_chance else "likely"


def is_bare_sum(rows: JudgedRows, position: int) -> bool:
    """Return whether a row is a sum without a label, also between the data: one may be so by chance."""
    is_bare = rows.complete and rows.form(position) == "bare" and rows.lacks_key(position)
    return is_bare and rows.sums_rows_above(position)


def is_bare_total(rows: JudgedRows, position: int) -> bool:
    """Return whether a sum without a label is hardly one by chance: several numbers, and digits enough."""
    return rows.sums_rows_above(position, digits=_DIGITS)


def _is_no_chance(rows: JudgedRows, position: int) -> bool:
    """Return whether a number of a row sums so many others, and has so many digits, that this is no chance."""
    above = rows.grid.values[:position]
    strong = 0
    for c, number in rows.numbers(position).items():
        others = [v for v, k in zip(above[:, c], rows.grid.kinds[:position, c], strict=True) if k == NUMBER and v]
        largest = max((abs(v) for v in others), default=0.0)
        strong += len(others) >= _NUMBERS and abs(number) > largest and count_digits(number) >= _DIGITS
    return rows.others >= _ROWS and strong > 0
