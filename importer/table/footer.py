"""Decides which rows below a table, and between its groups, are no data: totals, remarks, rows that look blank."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from .grid import BLANK, NUMBER, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from importer.cells.facts import ColumnFacts

    from .grid import HeadGrid
    from .row_marks import RowMark

#: Rows at the end of a sheet that are looked at for totals and remarks.
TAIL_ROWS = 64
#: Share of the rows that a column fills if a blank in it means something.
_FULL = 0.8
#: Fewer rows than this above a number make no total of it.
_LEAST_ROWS = 2
_DOMINANT = 0.6
Reason = Literal["totals", "remarks"]


@dataclass(frozen=True)
class FooterRow:
    """A row that is no data, or may be none.

    Attributes:
        row: sheet row, 1-based.
        reason: what it is.
        certain: whether it is left out unless somebody says otherwise.
    """

    row: int
    reason: Reason
    certain: bool


@dataclass(frozen=True)
class Columns:
    """What is known of the columns of a table, by sheet column.

    Attributes:
        rows: number of rows, those that may be none included.
        facts: facts of each column in these rows.
    """

    rows: int
    facts: Mapping[int, ColumnFacts]

    def is_full(self, column: int, doubtful: int) -> bool:
        """Return whether nearly every row fills the column, but for so many rows that may be none."""
        facts = self.facts.get(column)
        return facts is not None and facts.cells - facts.blank >= _FULL * max(self.rows - doubtful, 1)

    def is_numeric(self, column: int) -> bool:
        """Return whether most cells of the column are numbers."""
        facts = self.facts.get(column)
        return facts is not None and facts.kinds.get("number", 0) >= _DOMINANT * max(facts.cells, 1)


def find_footer(grid: HeadGrid, marks: Sequence[RowMark], columns: Columns, *, complete: bool) -> list[FooterRow]:
    """Return the rows that are no data, or may be none, in the order of the sheet.

    Args:
        grid: the marked rows, and the last rows of the sheet.
        marks: rows with a label or a formula of a total.
        columns: what is known of the columns.
        complete: whether the end of the sheet is known; otherwise only marked rows are judged.
    """
    return _Footer(grid, marks, columns).find(complete=complete)


@dataclass
class _Footer:
    """The search in one sheet: rows that were found so far."""

    grid: HeadGrid
    marks: Sequence[RowMark]
    columns: Columns
    found: dict[int, FooterRow] = field(default_factory=dict)

    def find(self, *, complete: bool) -> list[FooterRow]:
        marks = {mark.row: mark for mark in self.marks}
        narrow = self.grid.widths[::-1] == 1
        single = int(np.logical_and.accumulate(narrow).sum()) if complete else 0
        self.full = np.array([self.columns.is_full(c, len(marks) + single + 1) for c in self.grid.columns], bool)
        self.numeric = np.array([self.columns.is_numeric(c) for c in self.grid.columns], bool)
        for position, row in enumerate(self.grid.rows):
            if row in marks:
                self._judge_total(position, marks[row])
        if complete and self.grid.rows:
            self._judge_last_rows()
        return [each for _, each in sorted(self.found.items())]

    def _judge_total(self, position: int, mark: RowMark) -> None:
        """Judge a row with a label or a sum: certain if nothing but numbers stands beside it, and a key is missing."""
        kinds = self.grid.kinds[position]
        others = np.array([c != mark.label for c in self.grid.columns])
        beside = kinds[others & (kinds != BLANK)]
        texts, numbers = int((beside == TEXT).sum()), int((beside == NUMBER).sum())
        if not numbers and (mark.label < 0 or len(beside)):
            return
        without_key = bool((self.full & (kinds == BLANK)).any())
        labelled, summed = mark.label >= 0, bool(mark.sums)
        plain = texts == 0 and (without_key if labelled or summed else False)
        certain = numbers > 0 and (plain or (labelled and (summed or self._equals_sums(position))))
        only_numbers = bool(numbers and (beside == NUMBER).all())
        alone = texts == 0 and (numbers > 0 or without_key)
        if certain or summed or (labelled and alone and (without_key or (only_numbers and self._is_last(position)))):
            self._put(position, "totals", certain=certain)

    def _judge_last_rows(self) -> None:
        """Judge the rows at the end that have no mark: sums without a label, remarks after a blank row."""
        last = len(self.grid.rows) - 1
        while last >= 0 and self.grid.rows[last] in self.found:
            last -= 1
        remarks = self._remarks(last)
        for position in remarks:
            self._put(position, "remarks", certain=len(self.grid.columns) > 2)  # noqa: PLR2004 - two cells may be a row
        last -= len(remarks)
        while last >= 0 and self.grid.rows[last] in self.found:
            last -= 1
        kinds = self.grid.kinds[last]
        unlabelled = bool((kinds[kinds != BLANK] == NUMBER).all() and (self.full & (kinds == BLANK)).any())
        if last > 0 and unlabelled and self._equals_sums(last):
            self._put(last, "totals", certain=True)

    def _remarks(self, last: int) -> range:
        """Return the positions of the remarks that end at one: single texts after a blank row or after totals."""
        first = last
        while first > 0 and self._is_remark(first):
            first -= 1
        rows = self.grid.rows
        for position in range(first + 1, last + 1):
            if rows[position] > rows[position - 1] + 1 or rows[position - 1] in self.found:
                return range(position, last + 1)
        return range(0)

    def _is_remark(self, position: int) -> bool:
        kinds = self.grid.kinds[position]
        filled = np.flatnonzero(kinds != BLANK)
        if len(filled) != 1 or kinds[filled[0]] != TEXT or len(self.grid.columns) < 2:  # noqa: PLR2004
            return False
        blank = int((self.full & (kinds == BLANK)).sum())
        return blank >= 2 or (blank == 1 and bool(self.numeric[filled[0]] or self.numeric[self.full].any()))  # noqa: PLR2004

    def _is_last(self, position: int) -> bool:
        return position == len(self.grid.rows) - 1

    def _equals_sums(self, position: int) -> bool:
        """Return whether every number of a row is the sum of the numbers in its column, without rows left out."""
        rows_above = self.columns.rows - len(self.found) - 1
        filled = np.flatnonzero(self.grid.kinds[position] == NUMBER)
        values = [self.grid.values[position, c] for c in filled]
        if rows_above < _LEAST_ROWS or not any(values):
            return False
        return all(self._is_sum(int(c), value) for c, value in zip(filled, values, strict=True))

    def _is_sum(self, column: int, value: float) -> bool:
        facts = self.columns.facts.get(self.grid.columns[column])
        if facts is None:
            return False
        out = [p for p, row in enumerate(self.grid.rows) if row in self.found and self.found[row].certain]
        others = sum(self.grid.values[p, column] for p in out if self.grid.kinds[p, column] == NUMBER)
        return math.isclose(facts.total - value - others, value, rel_tol=1e-9, abs_tol=1e-9)

    def _put(self, position: int, reason: Reason, *, certain: bool) -> None:
        row = self.grid.rows[position]
        self.found[row] = FooterRow(row, reason, certain)
