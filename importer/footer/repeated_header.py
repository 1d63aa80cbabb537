"""Finds rows between the data that repeat the header, as the pages of a printed list do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import ROW, kinds_by_column, part

from .footer import FooterRow

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Fewest labels that make a header of a row of texts.
_LEAST = 2


def read_labels(head: pl.DataFrame, first: int, last: int) -> list[dict[int, str]]:
    """Return the texts of header rows by sheet column; rows with fewer than two are left out."""
    columns = [c for c, kinds in kinds_by_column(head.columns).items() if "text" in kinds]
    rows = head.filter(pl.col(ROW).is_between(first, last)).select(
        pl.col(part(c, "text")).alias(str(c)) for c in columns
    )
    found = [{int(c): text for c, text in row.items() if text} for row in rows.iter_rows(named=True)]
    return [labels for labels in found if len(labels) >= _LEAST]


def find_repeated(frame: pl.DataFrame, headers: Iterable[dict[int, str]]) -> list[FooterRow]:
    """Return the data rows of a window that have the cells of a header row, and no others."""
    columns = kinds_by_column(frame.columns)
    found: list[FooterRow] = []
    for labels in headers:
        if any("text" not in columns.get(column, ()) for column in labels):
            continue
        same = [pl.col(part(column, "text")) == label for column, label in labels.items()]
        others = [
            pl.col(part(c, k)).is_null()
            for c, kinds in columns.items()
            for k in kinds
            if c not in labels or k != "text"
        ]
        rows = frame.filter(pl.all_horizontal(same + others))[ROW].to_list()
        found += [FooterRow(row, "repeated header", certain=True) for row in rows]
    return found
