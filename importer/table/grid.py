"""Owns the first rows of a sheet as a grid of kinds and values, which header detection looks at."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from importer.cells.frame import PROBLEM_KINDS, ROW, kinds_by_column, part

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

#: Codes of what a cell holds, in `HeadGrid.kinds`.
BLANK, TEXT, NUMBER, MOMENT, FLAG, PROBLEM = range(6)
_CODES = {
    "text": TEXT,
    "number": NUMBER,
    "boolean": FLAG,
    "datetime": MOMENT,
    "time": MOMENT,
    "duration": MOMENT,
    "instant": MOMENT,
}
_CODES |= dict.fromkeys(PROBLEM_KINDS, PROBLEM)
#: Most columns that are looked at: what 512 columns say, more would not say better, and each costs 50 µs.
_MAX_COLUMNS = 512
#: Share of a column's texts that are amounts, where all that look like one are.
_MOST_AMOUNTS = 0.6
#: Numbers and dates as texts, in whatever country.
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
_NUMBER = re.compile(
    r"[+-]?[0-9]{1,3}(?:[., '\u00a0\u202f]?[0-9]{3})*(?:[.,][0-9]{1,15})?|[+-]?[0-9]{1,18}(?:[.,][0-9]+)?"
)
#: A number as a text that is an amount and no identifier: with decimals or groups, beside a sign or a currency.
_AMOUNT = re.compile(
    r"(?:[^\W\d_]{1,3}\.?|[^\w\s.,])?\s?[(+\u2212-]?\s?"
    r"(?:[0-9]{1,3}(?:[.,' \u00a0\u2009\u202f\u2019][0-9]{3})+(?:[.,][0-9]{1,4})?"
    r"|[0-9]{1,12}[.,][0-9]{1,4})\s?[)\u2212-]?\s?(?:[^\W\d_]{1,3}\.?|[^\w\s.,])?"
)
_MOMENT = re.compile(r"[0-9]{1,4}[-./][0-9]{1,2}[-./][0-9]{1,4}(?:[T ][0-9:.]{4,15}(?:Z|[+-][0-9:]{2,6})?)?")


@dataclass(frozen=True)
class HeadGrid:
    """The non-blank rows at the top of a sheet.

    Attributes:
        rows: sheet rows, 1-based, ascending.
        columns: sheet columns with a cell in one of the rows, 0-based, ascending.
        kinds: code of what each cell holds, of shape (rows, columns).
        values: value of each cell, of the same shape; texts without outer white space, None where blank.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    kinds: NDArray[np.int8]
    values: NDArray[Any]

    @property
    def widths(self) -> NDArray[np.int64]:
        """The number of cells of each row that are not blank."""
        return np.asarray((self.kinds != BLANK).sum(axis=1))

    def only(self, rows: NDArray[np.bool_]) -> HeadGrid:
        """Return the grid of the rows where the mask is true."""
        kept = tuple(row for row, keep in zip(self.rows, rows, strict=True) if keep)
        return HeadGrid(kept, self.columns, self.kinds[rows], self.values[rows])

    def with_amounts(self) -> HeadGrid:
        """Return the grid with texts as numbers in columns of which most texts are amounts; their values are nan."""
        kinds, values = self.kinds.copy(), self.values.copy()
        for column in range(len(self.columns)):
            texts = np.flatnonzero(kinds[:, column] == TEXT)
            amounts = [row for row in texts.tolist() if _AMOUNT.fullmatch(values[row, column])]
            if amounts and len(amounts) >= _MOST_AMOUNTS * len(texts):
                kinds[amounts, column], values[amounts, column] = NUMBER, math.nan
        return HeadGrid(self.rows, self.columns, kinds, values)


def _read(text: str) -> tuple[int, Any]:
    """Return what a text of a file of texts is written as, and its value; this decides about header rows only."""
    if _NUMBER.fullmatch(text):
        return NUMBER, float(text) if _PLAIN.fullmatch(text) else math.nan
    if _MOMENT.fullmatch(text):
        return MOMENT, text
    return (FLAG, text.lower() == "true") if text.lower() in {"true", "false"} else (TEXT, text)


def make_grid(head: pl.DataFrame, *, textual: bool = False) -> HeadGrid:
    """Return the grid of a frame (see `cells.frame`), without blank rows; texts of white space alone are blank.

    In a file of texts (`textual`), a text counts as what it is written as.
    """
    columns = dict(list(kinds_by_column(head.columns).items())[:_MAX_COLUMNS])
    shape = (len(head), len(columns))
    kinds, values = np.zeros(shape, np.int8), np.full(shape, None, object)
    for position, (column, present) in enumerate(columns.items()):
        for kind in present:
            cells = head[part(column, kind)].to_list()
            for row, value in enumerate(cells):
                stripped = value.strip() if kind == "text" and value is not None else value
                if stripped is not None and stripped != "":
                    code, stripped = _read(stripped) if textual and kind == "text" else (_CODES[kind], stripped)
                    kinds[row, position], values[row, position] = code, stripped
    filled = (kinds != BLANK).any(axis=1)
    used = (kinds != BLANK).any(axis=0)
    rows = tuple(int(row) for row in head[ROW].to_numpy()[filled]) if len(head) else ()
    names = tuple(column for column, keep in zip(columns, used, strict=True) if keep)
    return HeadGrid(rows, names, kinds[filled][:, used], values[filled][:, used])
