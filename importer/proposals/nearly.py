"""Finds out what nearly all texts of a column are, where a few others, such as a label below it, keep it from that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from importer.cells import spool
from importer.cells.frame import ROW, part

from .dates import find_dates
from .model import Proposal, Question
from .words import find_booleans

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource

#: Most cells that are shown.
_SHOWN = 3
#: What numbers and dates look like: a digit, and no more letters in turn than a name of a month has.
_VALUE = r"^[^\d]{0,12}\d[^\pL]*(?:\pL{1,9}[^\pL]*){0,3}$"
#: Characters of a text that are shown.
_CHARACTERS = 40


def propose_nearly(
    texts: pl.Series, most: int, propose: Callable[[pl.Series], Proposal | Question | None]
) -> tuple[Proposal, pl.Series] | None:
    """Return what all but a few distinct texts are, and these few; None if they have nothing in common.

    Args:
        texts: distinct texts that are not all of one kind.
        most: most distinct texts that may be others.
        propose: returns what distinct texts are.
    """
    for looks in (texts.str.contains(_VALUE), find_dates(texts, most), find_booleans(texts)):
        others = texts.filter(~looks) if looks is not None else texts
        if others.is_empty() or len(others) > min(most, len(texts) - len(others)):
            continue
        found = propose(texts.filter(~texts.is_in(others.to_list())))
        if isinstance(found, Proposal):
            return found, others
    return None


def find_others(source: SheetSource, column: SheetColumn, others: pl.Series) -> tuple[int, str]:
    """Return how many cells have these texts, and the first of them: `A55 "Total", A56 "x"`."""
    shown: list[str] = []
    letter, name, count = source.places.letter(column.index), part(column.index, "text"), 0
    for window in source.windows:
        frame = source.data.of(spool.read(window.path))
        if name in frame.columns:
            cells = frame.select(ROW, name).filter(pl.col(name).is_in(others.to_list()))
            count += len(cells)
            for row, text in cells.head(_SHOWN - len(shown)).iter_rows():
                cut = text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"
                shown.append(f'{letter}{source.places.row(row)} "{cut}"')
    return count, ", ".join(shown) + (", …" if count > len(shown) else "")
