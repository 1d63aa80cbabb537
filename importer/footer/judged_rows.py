"""Owns what is known of a table while its rows are judged: keys, kinds of the columns, sums of the cells above."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.table.grid import BLANK, NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from importer.cells.facts import ColumnFacts
    from importer.table.grid import HeadGrid

    from .row_forms import Form
    from .row_marks import RowMark

#: One row of so many may lack a key.
_KEYS_EXCEPT = 50
#: Share of a column's cells that makes a kind that of the column.
_DOMINANT = 0.6
#: Fewest rows above narrow ones that show that these are no rows.
_SHOWN = 5
#: Totals above a row from which on it may sum: groups within groups.
_GROUPS = 16
#: Fewer rows than this above a number make no total of it.
LEAST_ROWS = 2
#: Fewest numbers other than 0 that make a sum which is none by chance.
_TERMS = 2


class RowsAbove(NamedTuple):
    """The rows of the table above one of its rows.

    Attributes:
        rows: how many they are.
        sums: sums of their numbers by sheet column.
        terms: how many of these numbers are not 0, as far as that is known.
    """

    rows: int
    sums: Mapping[int, float]
    terms: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True)
class Columns:
    """What is known of the columns of a table, by sheet column.

    Attributes:
        rows: number of rows, those that may be none included.
        facts: facts of each column in these rows.
        above: what stands above some of the rows.
    """

    rows: int
    facts: Mapping[int, ColumnFacts]
    above: Mapping[int, RowsAbove] = field(default_factory=dict)


class JudgedRows:
    """The rows of a table that may be no data, and what the others are like.

    Attributes:
        grid: these rows, and the last rows of the sheet.
        marks: labels and formulas of totals, by row.
        keys: columns of the grid that every other row fills (one of fifty may not).
        numeric: columns of the grid that mostly hold numbers.
        others: number of the other rows.
        complete: whether the grid reaches to the end of the sheet.
    """

    def __init__(self, grid: HeadGrid, marks: Mapping[int, RowMark], columns: Columns, *, complete: bool) -> None:
        self.grid, self.marks, self.complete, self._columns = grid, marks, complete, columns
        self._out: list[int] = []
        doubtful = self._doubtful()
        filled = (grid.kinds != BLANK)[doubtful].sum(axis=0)
        facts = [columns.facts.get(c) for c in grid.columns]
        held = np.array([0 if f is None else f.cells - f.blank for f in facts]) - filled
        self.others = columns.rows - int(doubtful.sum())
        self.keys = (held >= self.others - self.others // _KEYS_EXCEPT) & (self.others > 0)
        self.numeric = np.array([f is not None and f.kinds.get("number", 0) >= _DOMINANT * f.cells for f in facts])

    def _doubtful(self) -> NDArray[np.bool_]:
        """Return which rows of the grid may be no data: marked ones, remarks at the end, the one before these."""
        doubtful = np.array([row in self.marks for row in self.grid.rows])
        if self.complete:
            below = self.narrow_below()
            doubtful[below:] = True
            for position in range(below - 1, -1, -1):
                if not doubtful[position]:
                    doubtful[position] = True
                    if self.grid.widths[position] > 1:
                        break
        return doubtful

    def narrow_below(self) -> int:
        """Return the position of the first row below the last blank one, if all from there on are narrow; else the end.

        A narrow row has several cells, but in no more than half of the columns, as a line for signatures has.
        """
        rows, end = self.grid.rows, len(self.grid.rows)
        first = next((p for p in range(end - 1, 0, -1) if rows[p] > rows[p - 1] + 1), end)
        widths = self.grid.widths[first:]
        few = _SHOWN <= first < end and (widths * 2 <= len(self.grid.columns)).all() and (widths > 1).any()
        return first if few and self.complete else end

    @property
    def count(self) -> int:
        """The number of rows of the table, those that may be no data included."""
        return self._columns.rows

    def above(self, position: int) -> int:
        """Return how many rows of the table are above one; -1 if that is not known."""
        above = self._columns.above.get(self.grid.rows[position])
        return -1 if above is None else above.rows

    def form(self, position: int) -> Form:
        """Return the form of a row, as its mark says."""
        mark = self.marks.get(self.grid.rows[position])
        return "" if mark is None else mark.form

    def of_form(self, form: Form) -> list[int]:
        """Return the positions of the rows of a form."""
        return [p for p in range(len(self.grid.rows)) if self.form(p) == form]

    def leave_out(self, position: int) -> None:
        """Leave a total out of the sums of the rows below it."""
        self._out.append(position)

    def take_back(self) -> None:
        """Leave none out of the sums, as at the beginning."""
        self._out.clear()

    def lacks_key(self, position: int) -> bool:
        """Return whether a row has no cell in a column that every other row fills."""
        return bool((self.keys & (self.grid.kinds[position] == BLANK)).any())

    def is_at_end(self, position: int) -> bool:
        """Return whether only totals and single cells follow a row."""
        later = range(position + 1, len(self.grid.rows))
        return self.complete and all(self.grid.rows[p] in self.marks or self.grid.widths[p] == 1 for p in later)

    def numbers(self, position: int) -> dict[int, float]:
        """Return the numbers of a row, by position of the column in the grid."""
        filled = np.flatnonzero(self.grid.kinds[position] == NUMBER).tolist()
        return {c: float(self.grid.values[position, c]) for c in filled}

    def sums_rows_above(self, position: int, least: int = LEAST_ROWS, digits: int = 0) -> bool:
        """Return whether every number of a row is the sum of those above it: all of them, or those of its group.

        Args:
            position: of the row in the grid.
            least: fewest rows that make a sum; where a label and what is missing say the same, one will do.
            digits: fewest digits of one of its numbers, which must have two terms then: a term beside zeros, and small
                numbers, are equal by chance.
        """
        numbers, above = self.numbers(position), self._columns.above.get(self.grid.rows[position])
        if above is None or not any(numbers.values()):
            return False
        scale = 1 + max(map(abs, above.sums.values()), default=0)
        return any(
            all(math.isclose(sums.get(c, 0), n, rel_tol=1e-9, abs_tol=1e-12 * scale) for c, n in numbers.items())
            and (not digits or any(count_digits(n) >= digits and terms[c] >= _TERMS for c, n in numbers.items()))
            for sums, terms in self._sums_of_groups(position, above, least)
        )

    def _sums_of_groups(
        self, position: int, above: RowsAbove, least: int
    ) -> Iterator[tuple[dict[int, float], dict[int, int]]]:
        """Yield sums and terms of rows above, from the start and from each of the last totals on, without totals."""
        out = [p for p in self._out if p < position]
        for start in [None, *out[-_GROUPS:]]:
            row = None if start is None else self.grid.rows[start]
            before = _NOTHING if row is None else self._columns.above.get(row, _NOTHING)
            within = [p for p in out if start is None or p >= start]
            if above.rows - before.rows - len(within) >= least:
                totals = [self.numbers(p) for p in within]
                columns = list(enumerate(self.grid.columns))
                yield (
                    {
                        c: above.sums.get(n, 0) - before.sums.get(n, 0) - sum(each.get(c, 0) for each in totals)
                        for c, n in columns
                    },
                    {
                        c: above.terms.get(n, 0) - before.terms.get(n, 0) - sum(bool(each.get(c)) for each in totals)
                        for c, n in columns
                    },
                )


def count_digits(number: float) -> int:
    """Return how many digits a number has, without zeros at its ends."""
    return len(f"{abs(number):.15g}".replace(".", "").strip("0"))


_NOTHING = RowsAbove(0, {})
