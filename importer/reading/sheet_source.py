"""Owns the source of a run: the sheet that was read, its spooled frames, header and column facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from importer.cells import spool
from importer.cells.facts import ColumnFacts, merge_windows, profile
from importer.cells.frame import HIDDEN, ROW, data_rows, sheet_columns_of
from importer.errors import SheetError
from importer.excel.addresses import MAX_COLUMNS, column_letters

from .header import Header, find_header, read_header
from .places import CellAddresses, find_places
from .windows import HEAD_ROWS, SheetFacts

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from importer.decoding.tasks import WindowRead
    from importer.excel.workbook import Sheet, Workbook
    from importer.settings import Settings


@dataclass(frozen=True)
class SheetSource:
    """A sheet that was read.

    Attributes:
        workbook: the file that the sheet belongs to.
        sheet: entry of the sheet in the workbook.
        header: the header, found or given.
        windows: spooled frames, in sheet order.
        facts: facts of the data rows, by sheet column (0-based).
        cut: facts from the sheet part outside its rows.
        rows: number of data rows that are not blank.
        hidden_rows: number of data rows that are hidden.
        blank_rows: number of rows without cells between the header and the last data row.
        above_header: number of rows with cells above the header.
        places: the addresses of the sheet's cells, as shown to the user.
    """

    workbook: Workbook
    sheet: Sheet
    header: Header
    windows: tuple[WindowRead, ...]
    facts: dict[int, ColumnFacts]
    cut: SheetFacts
    rows: int
    hidden_rows: int
    blank_rows: int
    above_header: int
    places: CellAddresses

    def address(self, row: int, column: int) -> str:
        """Return the A1-style address of a cell, or that of the whole row if `column` is negative."""
        return self.places.address(row, column)

    def read_cells(self) -> dict[str, int]:
        """Return how many non-empty cells of the sheet, header included, were decoded by us and read by the engine.

        `judged` is the number of those that it read, too, to compare them.
        """
        by_engine = sum(window.by_engine for window in self.windows)
        decoded, judged = sum(window.cells for window in self.windows) - by_engine, sum(w.judged for w in self.windows)
        return {"decoded": decoded, "by_engine": by_engine, "judged": judged}

    def notes(self) -> list[str]:
        """Return notes for the report about the sheet, such as unusual headers, unread sheets and hidden rows."""
        found = list(self.header.notes)
        if self.places.rows:
            book = f" of {self.workbook.origin.workbook}" if self.workbook.origin else ""
            found.append(f"the rows are fixed rejects: addresses are those of sheet {self.places.sheet}{book}")
        others = [
            s.name + ("" if s.visibility == "visible" else f" ({s.visibility.lower()})")
            for s in self.workbook.sheets
            if s != self.sheet
        ]
        if others:
            found.append(f"sheets not read: {', '.join(others)}")
        if self.above_header:
            found.append(f"{self.above_header} rows above the header row were not read as data")
        if self.hidden_rows:
            found.append(f"{self.hidden_rows:,} of the data rows are hidden or filtered out in the sheet")
        if hidden := hidden_columns(self.cut, self.facts):
            found.append(f"hidden columns: {', '.join(map(column_letters, hidden))}")
        formulas = sum(window.formulas for window in self.windows)
        if self.workbook.recalculate_on_load and formulas:
            found.append(
                f"{formulas:,} cells are formulas, and the workbook asks to be recalculated when opened: "
                "their results may be out of date"
            )
        return found


def sort_windows(windows: list[WindowRead], sheet: Sheet) -> tuple[WindowRead, ...]:
    """Return the windows in sheet order.

    Raises:
        SheetError: a window's rows do not come after those of the window before it.
    """
    last = 0
    for window in sorted(windows):
        if window.rows and window.first_row <= last:
            raise SheetError(
                f"the rows of sheet {sheet.name!r} are out of order around row {last}", choice="save it again in Excel"
            )
        last = max(last, window.last_row)
    return tuple(sorted(windows))


def head_rows(settings: Settings) -> int:
    """Return the number of rows at the top of a sheet to search for the header; a given header may be further down."""
    return max(HEAD_ROWS, settings.header_rows[1] if settings.header_rows else 0)


def head_windows(settings: Settings) -> int:
    """Return the number of windows that hold the head rows: one, unless the user set smaller windows."""
    rows = head_rows(settings)
    return -(-rows // min(settings.chunk_rows or rows, rows))


def make_source(
    workbook: Workbook, sheet: Sheet, cut: SheetFacts, windows: tuple[WindowRead, ...], settings: Settings
) -> SheetSource:
    """Build the source from a sheet's windows: find the header, merge the column facts, count the rows.

    Raises:
        SheetError: too many columns, or hidden rows or columns that the settings forbid.
    """
    heads = head_windows(settings)
    head = pl.concat([spool.read(w.path) for w in windows[:heads]], how="diagonal")
    rows = settings.header_rows if settings.header_rows is not None else find_header(head, cut.merges)
    skip = settings.hidden == "skip"
    facts = merge_windows(_facts(windows, rows[1], settings, skip_hidden=skip))
    columns = {c for c, f in facts.items() if f.cells}
    header = read_header(
        head, rows, columns, cut.merges, keep_names=settings.keep_names, most_columns=settings.limits.columns
    )
    head_data = data_rows(head, rows[1], skip_hidden=False)
    above = head.filter(pl.col(ROW) < max(rows[0], 1)) if sheet_columns_of(head.columns) else head.clear()
    data = sum(w.rows for w in windows[heads:]) + len(head_data)
    last = max((w.last_row for w in windows), default=0)
    hidden = sum(_hidden(w, rows[1]) for w in windows if w.hidden)
    _check_hidden(settings, cut, hidden, columns, sheet)
    return SheetSource(
        workbook, sheet, header, windows, facts, cut,
        rows=data, hidden_rows=hidden, blank_rows=max(last - rows[1] - data, 0) if data else 0, above_header=len(above),
        places=find_places(sheet, workbook.origin, header, windows),
    )  # fmt: skip


def _facts(
    windows: tuple[WindowRead, ...], header_row: int, settings: Settings, *, skip_hidden: bool
) -> Iterable[dict[int, ColumnFacts]]:
    """Yield the facts of every window's data rows; only windows with other rows are profiled again."""
    for window in windows:
        if window.rows and (window.first_row <= header_row or (skip_hidden and window.hidden)):
            yield profile(data_rows(spool.read(window.path), header_row, skip_hidden=skip_hidden), settings.missing)
        else:
            yield window.columns


def _hidden(window: WindowRead, header_row: int) -> int:
    """Return the number of hidden data rows in a window that has hidden rows."""
    if window.first_row > header_row:
        return window.hidden
    frame = spool.read(window.path)
    return int(frame.filter((pl.col(ROW) > header_row) & pl.col(HIDDEN).fill_null(value=False)).height)


def _check_hidden(settings: Settings, cut: SheetFacts, rows: int, columns: set[int], sheet: Sheet) -> None:
    hidden = hidden_columns(cut, columns)
    if settings.hidden == "error" and (rows or hidden):
        letters = ", ".join(map(column_letters, hidden)) or "none"
        raise SheetError(
            f"sheet {sheet.name!r} has {rows:,} hidden rows and hidden columns {letters}",
            choice="--hidden include or skip",
        )


def hidden_columns(cut: SheetFacts, columns: Container[int]) -> list[int]:
    """Return those of the columns (0-based) that are hidden, in the order of the sheet."""
    return [c for low, high in cut.hidden_columns for c in range(low, min(high + 1, MAX_COLUMNS)) if c in columns]
