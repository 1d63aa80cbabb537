"""Decides which rows below a table, and between its groups, are no data: totals and remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from .headings import find_headings
from .judged_rows import JudgedRows
from .remarks import find_remarks
from .totals import CERTAIN_SUMS, is_bare_sum, is_bare_total, judge_marked, judge_unlabelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.table.grid import HeadGrid

    from .judged_rows import Columns
    from .row_marks import RowMark

#: Rows at the end of a sheet that are looked at for totals and remarks.
TAIL_ROWS = 64
#: Most runs of rows that a note lists.
_MAX_RUNS = 8
Reason = Literal["totals", "remarks", "repeated header", "column numbers", "headings of groups"]


class FooterRow(NamedTuple):
    """A row that is no data, or may be none.

    Attributes:
        row: sheet row, 1-based.
        reason: what it is.
        certain: whether it is left out unless somebody says otherwise.
    """

    row: int
    reason: Reason
    certain: bool


def find_footer(grid: HeadGrid, marks: Sequence[RowMark], columns: Columns, *, complete: bool) -> list[FooterRow]:
    """Return the rows that are no data, or may be none, in the order of the sheet.

    Args:
        grid: the marked rows, and the last rows of the sheet.
        marks: rows with a label or a formula of a total.
        columns: what is known of the columns.
        complete: whether the end of the sheet is known; otherwise only marked rows are judged.
    """
    if not grid.rows:
        return []
    rows = JudgedRows(grid, {mark.row: mark for mark in marks}, columns, complete=complete)
    headings, found = find_headings(rows) if complete else [], _find_totals(rows)
    # Where some that look like sums are none, or like headings, all are data like the others.
    out = {"heading"} if not headings else set[str]()
    out |= {"bare"} if any(grid.rows[p] not in found for p in rows.of_form("bare")) else set()
    left = {mark.row: mark for mark in marks if mark.form not in out or mark.label >= 0 or mark.sums}
    if len(left) < len(rows.marks):
        rows = JudgedRows(grid, left, columns, complete=complete)
        found = _find_totals(rows)
    if complete:
        for position, certain in find_remarks(rows, {row: each.certain for row, each in found.items()}):
            found[grid.rows[position]] = FooterRow(grid.rows[position], "remarks", certain)
        for position in headings:
            found.setdefault(grid.rows[position], FooterRow(grid.rows[position], "headings of groups", certain=False))
        open_rows = [
            p for p, row in enumerate(grid.rows) if row not in found or (rows.form(p) and not found[row].certain)
        ]
        last = open_rows[-1] if open_rows else 0
        verdict = judge_unlabelled(rows, last) if last > 0 else None
        if verdict is not None:
            found[grid.rows[last]] = FooterRow(grid.rows[last], "totals", verdict == "certain")
    return [each for _, each in sorted(found.items())]


def _find_totals(rows: JudgedRows, *, lone: bool = True) -> dict[int, FooterRow]:
    """Return the marked rows that are totals, or may be some, by sheet row.

    Args:
        rows: the rows of the table.
        lone: whether sums of single rows are certain, too, where others sum several.
    """
    found: dict[int, FooterRow] = {}
    sums: list[int] = []
    alone: list[int] = []
    for position, row in enumerate(rows.grid.rows):
        verdict = judge_marked(rows, position) if row in rows.marks else None
        if verdict == "lone" and lone:
            alone.append(position)
        if verdict is None and is_bare_sum(rows, position):
            sums.append(position)
        if verdict is not None or position in sums:
            found[row] = FooterRow(row, "totals", verdict == "certain" or position in alone)
            if found[row].certain or position in sums:
                rows.leave_out(position)
    certain = [p for p, row in enumerate(rows.grid.rows) if row in found and found[row].certain and p not in alone]
    if alone and not any(rows.sums_rows_above(p) for p in certain):
        rows.take_back()  # a row may be equal to that above it, whatever its name: without other sums it is none
        return _find_totals(rows, lone=False)
    if sum(is_bare_total(rows, p) for p in sums) >= CERTAIN_SUMS:
        found |= {rows.grid.rows[p]: FooterRow(rows.grid.rows[p], "totals", certain=True) for p in sums}
    return found


def describe_rows(footer: Sequence[FooterRow]) -> str:
    """Return rows and what they are, for people: `rows 207-209: totals, row 212: remarks`."""
    runs: list[list[FooterRow]] = []
    for each in footer:
        follows = runs and each.row == runs[-1][-1].row + 1 and each.reason == runs[-1][-1].reason
        runs[-1].append(each) if follows else runs.append([each])
    shown = [
        (f"row {run[0].row}" if len(run) == 1 else f"rows {run[0].row}-{run[-1].row}") + f": {run[0].reason}"
        for run in runs[:_MAX_RUNS]
    ]
    return ", ".join(shown) + (f", … ({len(footer)} rows)" if len(runs) > _MAX_RUNS else "")
