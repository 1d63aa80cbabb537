"""Counts the cells of a column: in all, loaded, missing, ignored and rejected, each counted independently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import kinds_by_column, part
from importer.errors import ConservationError

from .tasks import ColumnCount

if TYPE_CHECKING:
    from importer.plan.model import LoadPlan
    from importer.reading.sheet_source import SheetSource

    from .tasks import WindowChecked


def count_cells(
    frame: pl.DataFrame, kept: pl.DataFrame, rejected: pl.DataFrame, plan: LoadPlan, left_out: pl.DataFrame
) -> dict[int, ColumnCount]:
    """Return the cell counts of every sheet column (0-based), each number counted independently.

    Args:
        frame: all rows.
        kept: accepted rows, with the columns that `evaluate.check_cells` adds.
        rejected: rows with errors.
        plan: the plan of the load.
        left_out: all other rows; their cells count as ignored, as the user asked.
    """
    planned = {column.column.index: i for i, column in enumerate(plan.columns) if column.column}
    filled = {column: _is_filled(column, kinds) for column, kinds in kinds_by_column(frame.columns).items()}
    held = [mask.sum().alias(str(column)) for column, mask in filled.items()]
    none = dict.fromkeys(map(str, filled), 0)
    cells, refused, unused = (
        none if rows.is_empty() else rows.select(pl.len(), *held).row(0, named=True)
        for rows in (frame, rejected, left_out)
    )
    ours = [(column, i) for column, i in planned.items() if column in filled]
    missing = [(filled[column] & pl.col(f"m{i}")).sum().alias(f"m{i}") for column, i in ours]
    found = kept.select(pl.len(), *missing, *[pl.col(f"w{i}").count() for _, i in ours]).row(0, named=True)
    counts = {}
    for column in filled:
        every, i = cells[str(column)], planned.get(column)
        if i is None:
            counts[column] = ColumnCount(every, ignored=every)
        else:
            counts[column] = ColumnCount(
                every, found[f"w{i}"], found[f"m{i}"], unused[str(column)], refused[str(column)]
            )
    return counts


def add_left_out(counts: dict[int, ColumnCount], left_out: pl.DataFrame) -> dict[int, ColumnCount]:
    """Return the counts with the cells of rows that are no data, such as totals, as ignored ones."""
    if left_out.is_empty():
        return counts
    filled = {column: _is_filled(column, kinds) for column, kinds in kinds_by_column(left_out.columns).items()}
    cells = left_out.select(pl.len(), *[mask.sum().alias(str(c)) for c, mask in filled.items()]).row(0, named=True)
    more = {c: ColumnCount(cells[str(c)], ignored=cells[str(c)]) for c in filled if cells[str(c)]}
    return counts | {c: counts.get(c, ColumnCount()) + count for c, count in more.items()}


def _is_filled(column: int, kinds: list[str]) -> pl.Expr:
    held = [pl.col(part(column, k)).is_not_null() for k in kinds]
    return held[0] if len(held) == 1 else pl.any_horizontal(held)


def totals(windows: dict[int, WindowChecked]) -> dict[int, ColumnCount]:
    """Return the counts of cells over all windows, by sheet column index."""
    found: dict[int, ColumnCount] = {}
    for window in windows.values():
        for column, count in window.counts.items():
            found[column] = found.get(column, ColumnCount()) + count
    return found


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
