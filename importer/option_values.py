"""Parses what users write as the value of an option: a budget, header rows, types by column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


class AgreedColumn(NamedTuple):
    """A column of a new table that several sheets go to, or that they add to one.

    Attributes:
        name: name of the column.
        title: header text of the first sheet that has it; None without one.
        type: field type of Table Schema that holds the values of all sheets.
        pg_type: PostgreSQL type, where it is not the one of the field type.
    """

    name: str
    title: str | None
    type: str
    pg_type: str | None = None


@dataclass(frozen=True)
class RejectBudget:
    """The most rejected rows that a run may have: a count, or a percentage of the data rows."""

    amount: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> RejectBudget:
        """Parse a budget such as `10` or `0.5%`.

        Raises:
            UsageError: the text is neither a whole number nor a percentage.
        """
        match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)\s*%", text.strip())
        if not match or (match[2] and float(match[2]) > 100):  # noqa: PLR2004 - a percentage
            raise UsageError(f"--max-rejects takes a number of rows or a percentage, not {text!r}", choice="10 or 0.5%")
        return cls(float(match[1] or match[2]), percent=match[2] is not None)

    def allows(self, rejected: int, rows: int) -> bool:
        """Return whether `rejected` of `rows` data rows are within the budget."""
        return rejected <= (rows * self.amount / 100 if self.percent else self.amount)

    def __str__(self) -> str:
        return f"{self.amount:g}{'%' if self.percent else ''}"


def parse_header_rows(text: str) -> tuple[int, int]:
    """Parse the header's first and last row from `3` or `2-4` (1-based; `0`: the sheet has no header).

    Raises:
        UsageError: the text is neither a row nor a range of rows.
    """
    match = re.fullmatch(r"\s*(\d{1,7})(?:\s*[-:]\s*(\d{1,7}))?\s*", text)
    if not match:
        raise UsageError(f"--header-row takes a row or a range of rows, not {text!r}", choice="3 or 2-4; 0 for none")
    first = int(match[1])
    return first, int(match[2] or first)


def parse_types(given: str | Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return pairs of column and type from `amount=number,price=numeric(12,2)`, or from a mapping or pairs.

    Raises:
        UsageError: a part names no column or no type, or a column occurs twice.
    """
    if isinstance(given, str):
        # A comma within parentheses belongs to a type.
        parts = [part for part in re.split(r",(?![^()]*\))", given) if part.strip()]
        pairs = [(name.strip(), kind.strip()) for name, _, kind in (part.rpartition("=") for part in parts)]
    else:
        pairs = list(given.items()) if isinstance(given, Mapping) else [(name, kind) for name, kind in given]
    names = [name for name, _ in pairs]
    for name, kind in pairs:
        if not name or not kind:
            raise UsageError(f"--types takes columns and types, not {given!r}", choice="amount=number,day=date")
        if names.count(name) > 1:
            raise UsageError(f"--types names column {name!r} twice", choice="one type for each column")
    return tuple(pairs)


def as_texts(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return texts as a tuple; a single one, which would be many characters, is one."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def check_timezone(name: str) -> None:
    """Check that a time zone is known.

    Raises:
        UsageError: it is not.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(f"no time zone {name!r} on this machine", choice="a name such as Europe/Zurich") from None
