"""Counts the cells of a column: in all, loaded, missing, ignored and rejected, each counted independently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import kinds_by_column, part
from importer.errors import ConservationError

from .tasks import ColumnCount

if TYPE_CHECKING:
    from collections.abc import Container

    from importer.plan.model import LoadPlan
    from importer.reading.sheet_source import SheetSource

    from .tasks import WindowChecked


def count_cells(
    frame: pl.DataFrame,
    kept: pl.DataFrame,
    rejected: pl.DataFrame,
    left_out: pl.DataFrame,
    plan: LoadPlan,
    unchanged: Container[int],
) -> dict[int, ColumnCount]:
    """Return the cell counts of every sheet column (0-based), each number counted independently.

    Args:
        frame: all rows.
        kept: accepted rows, with the columns that `evaluate.check_cells` adds.
        rejected: rows with errors.
        left_out: all other rows; their cells count as ignored, as the user asked.
        plan: the plan of the load.
        unchanged: positions of the fields of which no cell that is not empty is missing.
    """
    planned = {column.column.index: i for i, column in enumerate(plan.columns) if column.column}
    kinds = kinds_by_column(frame.columns)
    cells, refused, unused = (_count_filled(rows, kinds) for rows in (frame, rejected, left_out))
    ours = [(column, i) for column, i in planned.items() if column in kinds]
    arrays = kept.to_dict(as_series=True)
    may_miss = [(column, i) for column, i in ours if i not in unchanged]
    missing = [(_is_filled(column, kinds[column]) & pl.col(f"m{i}")).sum().alias(str(i)) for column, i in may_miss]
    missed = kept.select(pl.len(), *missing).row(0, named=True)
    counts = {}
    for column in kinds:
        every, i = cells[column], planned.get(column)
        if i is None:
            counts[column] = ColumnCount(every, ignored=every)
        else:
            loaded = len(kept) - arrays[f"w{i}"].null_count()
            counts[column] = ColumnCount(every, loaded, missed.get(str(i), 0), unused[column], refused[column])
    return counts


def _count_filled(rows: pl.DataFrame, kinds: dict[int, list[str]]) -> dict[int, int]:
    """Return the number of non-empty cells of every sheet column."""
    if rows.is_empty():
        return dict.fromkeys(kinds, 0)
    arrays = rows.to_dict(as_series=True)
    found = {c: len(rows) - arrays[part(c, held[0])].null_count() for c, held in kinds.items() if len(held) == 1}
    mixed = [_is_filled(c, held).sum().alias(str(c)) for c, held in kinds.items() if c not in found]
    counted = rows.select(pl.len(), *mixed).row(0, named=True) if mixed else {}
    return {c: found[c] if c in found else counted[str(c)] for c in kinds}


def add_left_out(counts: dict[int, ColumnCount], left_out: pl.DataFrame) -> dict[int, ColumnCount]:
    """Return the counts with the cells of rows that are no data, such as totals, as ignored ones."""
    if left_out.is_empty():
        return counts
    cells = _count_filled(left_out, kinds_by_column(left_out.columns))
    more = {c: ColumnCount(count, ignored=count) for c, count in cells.items() if count}
    return counts | {c: counts.get(c, ColumnCount()) + count for c, count in more.items()}


def _is_filled(column: int, kinds: list[str]) -> pl.Expr:
    held = [pl.col(part(column, k)).is_not_null() for k in kinds]
    return held[0] if len(held) == 1 else pl.any_horizontal(held)


def totals(windows: dict[int, WindowChecked]) -> dict[int, ColumnCount]:
    """Return the counts of cells over all windows, by sheet column index."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for window in windows.values():
        for column, count in window.counts.items():
            found.setdefault(column, []).append(tuple(vars(count).values()))
    return {column: ColumnCount(*map(sum, zip(*counts, strict=True))) for column, counts in found.items()}


def check_conservation(source: SheetSource, windows: dict[int, WindowChecked]) -> None:
    """Check that the loaded, missing, ignored and rejected cells of each column add up to the reader's count."""
    found = totals(windows)
    for column in source.facts.keys() | source.left_out.keys():
        facts, count = source.facts.get(column), found.get(column, ColumnCount())
        cells = (facts.cells if facts else 0) + source.left_out.get(column, 0)
        if not count.balanced or count.cells != cells:
            raise ConservationError(
                f"column {source.address(1, column)}: {cells:,} cells were read but {count} were accounted for"
            )
