"""Proposes by which pattern dates and times in texts are written; the order of day and month is decided once."""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.temporal import instants

from .model import Proposal, Question

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Patterns of days by order, the most likely first; those without an order have names of months or begin with the year.
_DAYS: tuple[tuple[str | None, str], ...] = (
    *((None, form) for form in ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d")),
    # Nobody writes the month first where points stand between.
    *(
        (order, form.replace("-", separator))
        for separator in (".", "/", "-", " ")
        for order, form in (
            ("dmy", "%d-%m-%Y"), ("mdy", "%m-%d-%Y"), ("dmy", "%d-%m-%y"), ("mdy", "%m-%d-%y"), ("ymd", "%y-%m-%d"),
        )
        if (order, separator) != ("mdy", ".")
    ),
    *(
        (None, form)
        for form in (
            "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %b %y", "%d. %b %Y", "%d %B %Y", "%d. %B %Y", "%b %d, %Y",
            "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%a, %d %b %Y", "%A, %B %d, %Y",
            "%Y年%m月%d日", "%Y년 %m월 %d일", "%Y년%m월%d일",
        )
    ),
)  # fmt: skip
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%H.%M")
_TIMES = ("%I:%M %p", "%I:%M:%S %p", "%I:%M%p")
_BETWEEN = (" ", "T", ", ", "  ")
#: Patterns whose texts the default format of their type takes, if all numbers have all their digits (ISO 8601).
_STANDARD = {"%Y-%m-%d": "date", **{f"%Y-%m-%d{t}{clock}": "datetime" for t in " T" for clock in _CLOCKS[:3]}}
#: Longest text that may be a date with a time.
_LONGEST = 40
#: What all dates and times begin with, and hold.
_DATE = re.compile(r"\s*\w.*?\d\D+\d|\s*\d\D+\d", re.DOTALL)
#: Texts whose patterns are tried on the others.
_TRIED = 3
#: Minutes or seconds of one digit, which no clock shows: `1:2` is a ratio.
_ODD_MINUTES = r":\d(?:\D|$)"
#: Directives that stand for letters.
_NAMES = "bBaAp"
#: What a directive of a pattern stands for in a text, to see at a glance which patterns come into question.
_LOOKS = {"Y": r"\d{4}", "y": r"\d{2}", "f": r"\d{1,6}", **dict.fromkeys("bBaA", r"[^\W\d]+"), "p": "[AaPp][Mm]"}


def may_be_date(text: str) -> bool:
    """Return whether a single text may be a date or a time; a column of dates has no others."""
    return len(text) <= _LONGEST and _DATE.match(text) is not None


def propose_date(texts: pl.Series, order: str | None) -> Proposal | Question | None:
    """Return what dates, datetimes or times distinct texts are; None if they are none, or not all by one pattern.

    Args:
        texts: the texts, without those that mean a missing value.
        order: `dmy`, `mdy` or `ymd` if the order of day, month and year is known, else None.
    """
    if texts.str.contains(_ODD_MINUTES).any():
        return None
    if not texts.str.contains(r"\d\D+\d").all() or int(texts.str.len_chars().max() or 0) > _LONGEST:  # type: ignore[arg-type]
        return None
    if not pl.select(instants(pl.lit(texts))).to_series().has_nulls():
        return Proposal("datetime", "dates with a time and an offset", pg_type="timestamptz")
    first = str(texts[0])
    fitting = [(its, p) for its, p in _proposals(first) if p.fits(texts) and order in {None, its or order}]
    if len({its for its, _ in fitting if its}) > 1:
        return _ask(texts, {its: proposal for its, proposal in reversed(fitting) if its})
    return fitting[0][1] if fitting else None


def find_dates(texts: pl.Series, most: int) -> pl.Series | None:
    """Return which distinct texts are dates by one pattern, where all but a few are; None if they are not.

    Nor if one of the few is a date by another pattern: then the order of day and month is not the same everywhere.

    Args:
        texts: the texts.
        most: most texts that may be others.
    """
    for text in texts.head(_TRIED).to_list():
        for _, proposal in _proposals(text):
            fits = proposal.converted(texts).is_not_null()
            others = texts.filter(~fits).to_list()
            if fits.any() and len(others) <= most:
                return None if any(map(_is_date, others)) else fits
    return None


def _is_date(text: str) -> bool:
    return any(proposal.fits(pl.Series([text])) for _, proposal in _proposals(text))


def _ask(texts: pl.Series, by_order: dict[str, Proposal]) -> Question:
    """Return the question which order it is; also if day and month are equal everywhere: next month they are not."""
    (first, one), (second, other) = sorted(by_order.items())[:2]
    values, others = one.converted(texts), other.converted(texts)
    at = int((values != others).arg_max() or 0)
    meant = f"may be {values[at]} or {others[at]}" if values[at] != others[at] else "has day and month alike"
    return Question(f'"{texts[at]}" {meant}, and no other cell decides', f"--date-order {first} or {second}")


def _proposals(text: str) -> Iterator[tuple[str | None, Proposal]]:
    """Yield the order and the proposal of each pattern that a text looks like."""
    for order, form in _patterns(_outline(text)):
        if not _looks_like(text, form):
            continue
        kind = "time" if form in _CLOCKS else "datetime" if any(clock in form for clock in _CLOCKS) else "date"
        noun = {"time": "times of day", "datetime": "dates with a time", "date": "dates"}[kind]
        if form in _STANDARD or form in _CLOCKS[:3]:
            yield order, Proposal(kind, f"{noun} written as {form}")
        yield order, Proposal(kind, f"{noun} written as {form}", form)


def _patterns(outline: str) -> Iterator[tuple[str | None, str]]:
    """Yield the order and the pattern of what texts with that outline may be."""
    days = [(order, day) for order, day in _DAYS if outline.startswith(_form_outline(day))]
    yield from days
    for (order, day), between, clock in itertools.product(days, _BETWEEN, _CLOCKS):
        yield order, f"{day}{between}{clock}"
    for clock in _CLOCKS[:-1]:  # 10.30 alone is a number
        yield None, clock


def _outline(text: str) -> str:
    """Return a text with one letter for each run of letters, and one digit for each of digits."""
    return re.sub(r"[^\W\d]+", "a", re.sub(r"\d+", "0", text))


@functools.cache
def _form_outline(form: str) -> str:
    """Return the outline of all texts that a pattern stands for: there are too many to compile each."""
    return _outline(re.sub("%(.)", lambda directive: "a" if directive[1] in _NAMES else "0", form))


@functools.cache
def _looks(form: str) -> re.Pattern[str]:
    parts = re.findall(r"%.|[^%]+", form)
    return re.compile("".join(_LOOKS.get(p[1], r"\d{1,2}") if p[0] == "%" else re.escape(p) for p in parts))


def _looks_like(text: str, form: str) -> bool:
    return _outline(text) == _form_outline(form) and _looks(form).fullmatch(text) is not None
