"""Finds remarks below a table: single texts after a blank row or totals that are no rows of it, or may be none.

A line below a blank row may have several cells: who signs it, when it was made. It may be a row with gaps as well, and
is never certain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from importer.table.grid import BLANK, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .judged_rows import JudgedRows

#: How remarks begin, in a way that names do not: signs of footnotes, a word and a colon, phrases of reports.
_REMARK = re.compile(
    r"(?i)\*|[†‡§¹²³⁴©※]|\(?\d{1,2}\)|--+|==+|__+|[注備]|[^\W\d_][\w. -]{0,30}:(?:\s|$)|"
    r"\(?\d[\d.,' ]* (?:records?|rows?|items?|entries|results?|zeilen|einträge|datensätze|lignes|enregistrements|"
    r"filas|registros|righe|rijen|wierszy|rader)\b(?! \w)|"
    r"(?:page|seite|página|pagina|as of|as at|stand(?: vom)?|version) \d|copyright\b|disclaimer\b|confidential\b|"
    r"end of (?:report|list|table|data|file)\b|ende (?:der|des)\b|last updated?\b|"
    r"(?:generated|created|printed|exported|prepared|issued|updated) (?:by|on|at|from|for|with)\b|"
    r"(?:erstellt|gedruckt|exportiert|erzeugt|ausgegeben) (?:am|von|mit|durch|aus)\b|"
    r"(?:généré|imprimé|créé) (?:le|par)\b|"
    r"(?:all|alle) (?:amounts|prices|figures|values|numbers|preise|beträge|angaben|werte|zahlen)\b"
)
#: Least words of a sentence where no other text of the column has more than one, and rows that show that.
_WORDS, _SHOWN = 3, 3
#: A text is a remark where it is so long, and so many times as long as any other text of its column.
_LONG, _TIMES = 30, 1.5


def find_remarks(rows: JudgedRows, totals: Mapping[int, bool]) -> list[tuple[int, bool]]:
    """Return the positions of remarks at the end, and whether each is certain.

    Args:
        rows: the rows of the table.
        totals: sheet rows that are totals or may be some, and whether each is certain; those at the end may follow.
    """
    numbers = rows.grid.rows
    last = len(numbers) - 1
    while last >= 0 and numbers[last] in totals:
        last -= 1
    first = last
    while first > 0 and (_is_alone(rows, first) or numbers[first] in totals):
        first -= 1
    below = [p for p in range(first + 1, last + 1) if numbers[p] not in totals]
    doubtful: list[tuple[int, bool]] = []
    for n, position in enumerate(below):
        after_totals = numbers[position - 1] in totals
        if after_totals or numbers[position] > numbers[position - 1] + 1:
            beside = len(rows.grid.columns) > 2 and rows.lacks_key(position)  # noqa: PLR2004 - else it may be a row
            alone = all(rows.grid.widths[p] == 1 for p in below[n:])  # several cells may be a row with gaps
            certain = beside and alone and (totals.get(numbers[position - 1], False) or _is_certain(rows, position))
            return [*doubtful, *((p, certain) for p in below[n:])]
        if doubtful or _begins_as_remark(rows, position):
            doubtful.append((position, False))
    return doubtful


def _begins_as_remark(rows: JudgedRows, position: int) -> bool:
    column = int(np.flatnonzero(rows.grid.kinds[position] != BLANK)[0])
    return _REMARK.match(str(rows.grid.values[position, column])) is not None


def _is_alone(rows: JudgedRows, position: int) -> bool:
    """Return whether a row is a single text, and lacks what the others have, or begins as remarks do.

    Below a blank row, one with several cells may be a remark, too, if it lacks such a cell and begins so.
    """
    kinds = rows.grid.kinds[position]
    filled = np.flatnonzero(kinds != BLANK)
    if len(filled) > 1:
        return position >= rows.narrow_below() and rows.lacks_key(position) and _begins_as_remark(rows, position)
    if len(filled) != 1 or kinds[filled[0]] != TEXT or len(rows.grid.columns) < 2:  # noqa: PLR2004
        return False
    missing = int((rows.keys & (kinds == BLANK)).sum())
    numeric = bool(rows.numeric[filled[0]] or rows.numeric[rows.keys].any())
    remark = _REMARK.match(str(rows.grid.values[position, filled[0]])) is not None
    return missing >= 2 or (missing == 1 and numeric) or remark  # noqa: PLR2004


def _is_certain(rows: JudgedRows, position: int) -> bool:
    """Return whether the first remark after a blank row differs from the texts of its column in more than its place."""
    column = int(np.flatnonzero(rows.grid.kinds[position] != BLANK)[0])
    text = str(rows.grid.values[position, column])
    if _begins_as_remark(rows, position) or rows.numeric[column]:
        return True
    above = rows.grid.kinds[:position, column]
    others = [str(v) for v, k in zip(rows.grid.values[:position, column], above, strict=True) if k == TEXT]
    if (above != BLANK).sum() < _SHOWN:
        return False
    if len(text) >= _LONG and len(text) > _TIMES * max(map(len, others), default=0):
        return True
    return len(text.split()) >= _WORDS and all(len(other.split()) <= 1 for other in others)
