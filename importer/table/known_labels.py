"""Finds the header by what its columns are known to be called: by a contract, an existing table, or the options."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import BLANK, NUMBER, TEXT
from .header_depth import extend_header
from .header_rows import HeaderRows, spread_merged
from .labels import column_names, comparable_text, to_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.settings import Settings

    from .cell_range import CellRange
    from .grid import HeadGrid

#: Columns of a grid that are compared: the first ones say what the others would.
_MOST_COLUMNS = 64
#: A word for columns by their letters, as `--columns A-K` has it.
_LETTERS = re.compile(r"[A-Z]{1,3}(\s*[-:\N{EN DASH}]\s*[A-Z]{1,3})?")


@dataclass(frozen=True)
class KnownLabels:
    """What the columns are called.

    Attributes:
        columns: of each column the labels that it may have.
        source: who says so, for people.
    """

    columns: tuple[tuple[str, ...], ...]
    source: str

    def match(self, labels: Sequence[str | None]) -> frozenset[int]:
        """Return the positions of the known columns that a row of labels names; each label names one column."""
        names, _ = column_names(list(labels), list(range(len(labels))), keep=False)
        found: set[int] = set()
        for label, name in zip(labels, names, strict=True):
            if label is None:
                continue
            text, whole = comparable_text(label), to_identifier(label)
            fits = (n for n, (texts, own) in enumerate(self._forms) if text in texts or name in own or whole in own)
            found |= {next((n for n in fits if n not in found), -1)} - {-1}
        return frozenset(found)

    def tell(self, found: frozenset[int], cells: int, width: int) -> bool:
        """Return whether a row that names some known columns is their header.

        It names two or more, unless the table is one column wide: at least half of its cells, or all that are known.
        """
        return len(found) >= min(2, width) and (2 * len(found) >= cells or len(found) == len(self.columns))

    @cached_property
    def _forms(self) -> list[tuple[set[str], set[str]]]:
        """Of each column its labels as people see them, and as identifiers."""
        return [
            ({comparable_text(label) for label in labels}, {to_identifier(label) for label in labels} - {""})
            for labels in self.columns
        ]


def known_labels(settings: Settings) -> KnownLabels:
    """Return what the columns are called by the contract or table that the settings know of, or else the options."""
    if settings.wanted:
        return KnownLabels(settings.wanted, settings.wanted_by)
    words = (*(settings.columns or ()), *settings.key, *(name for name, _ in settings.types))
    named = dict.fromkeys(word for word in words if not _LETTERS.fullmatch(word.strip()))
    return KnownLabels(tuple((word,) for word in named), "the options")


def header_by_labels(grid: HeadGrid, merges: Sequence[CellRange], found: HeaderRows, known: KnownLabels) -> HeaderRows:
    """Return the header that was found, or the row that names the known columns, if it names more of them.

    Args:
        grid: the first rows of the sheet.
        merges: merged ranges that begin in these rows.
        found: the header rows by the kinds of the cells.
        known: what the columns are called.
    """
    if not known.columns or not grid.rows:
        return found
    shown = spread_merged(grid, merges)
    here = _match_rows(shown, [n for n, row in enumerate(grid.rows) if found.first <= row <= found.last], known)
    if len(here) == len(known.columns):
        return replace(found, doubt=None) if known.tell(here, len(here), int(grid.widths.max())) else found
    position = _named_row(grid, shown, known)
    if position is None:
        return found
    low, high = extend_header(grid, shown, position, merges)
    named = _match_rows(shown, [position], known)
    if len(here) >= len(named):
        return replace(found, doubt=None)
    if len(_match_rows(shown, list(range(low, high + 1)), known)) < len(named):
        low = high = position
    row = grid.rows[position]
    decided = f"header row {row}: its cells are the names of columns of {known.source}"
    return HeaderRows(grid.rows[low], grid.rows[high], grid.rows[high], decided=decided)


def _named_row(grid: HeadGrid, shown: HeadGrid, known: KnownLabels) -> int | None:
    """Return the position of the row whose cells are the known names, if no other row names half as many others."""
    rows = [_match_rows(shown, [position], known) for position in range(len(grid.rows))]
    best = max(rows, key=len)
    position = rows.index(best)
    if not best or not known.tell(best, int(grid.widths[position]), int(grid.widths.max())):
        return None
    return None if any(row != best and 2 * len(row) > len(best) for row in rows) else position


def _match_rows(shown: HeadGrid, positions: Sequence[int], known: KnownLabels) -> frozenset[int]:
    """Return the known columns that some rows of a grid name together; the texts of a column are joined."""
    labels: list[str | None] = []
    for column in range(min(len(shown.columns), _MOST_COLUMNS)):
        kinds = shown.kinds[positions, column]
        if np.isin(kinds, (BLANK, TEXT, NUMBER)).all():
            texts = [_text(v) for v, k in zip(shown.values[positions, column], kinds, strict=True) if k != BLANK]
            labels.append(" ".join(dict.fromkeys(texts)) or None)
    return known.match(labels)


def _text(value: Any) -> str:
    """Return a label as text: a year that names a column is `2024`."""
    return f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < 10**6 else str(value)
