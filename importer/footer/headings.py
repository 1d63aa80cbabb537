"""Finds the headings of groups between the rows of a table: single texts above the rows that they are about.

They are loaded with a note: what a form says is never certain.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from importer.table.grid import BLANK

if TYPE_CHECKING:
    from .judged_rows import JudgedRows

#: Fewest headings that are no chance, and fewest rows from one to the next: itself, and one of its group.
_LEAST, _ROWS = 2, 2


def find_headings(rows: JudgedRows) -> list[int]:
    """Return the positions of the headings of groups: the table begins with one, and rows follow on each of them."""
    found = [p for p in rows.of_form("heading") if 0 <= rows.above(p) < rows.count - 1]
    above = [rows.above(p) for p in found]
    if len(found) < _LEAST or above[0] or any(b - a < _ROWS for a, b in itertools.pairwise(above)):
        return []
    return found if all(_lacks_all(rows, p) for p in found) else []


def _lacks_all(rows: JudgedRows, position: int) -> bool:
    """Return whether a row lacks all that every other row has beside the text, among it a number."""
    lacking = rows.keys & (rows.grid.kinds[position] == BLANK)
    return bool((lacking & rows.numeric).any() and lacking.sum() >= rows.keys.sum() - 1)
