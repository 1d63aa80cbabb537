"""Owns the area of a sheet that is read, where somebody named a piece of it, and what the file states of its rows."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from importer.cells import spool
from importer.cells.frame import ROW, part
from importer.errors import SheetError
from importer.excel.addresses import refuse_columns
from importer.table.cell_range import CellRange, parse_range
from importer.table.data_rows import select_columns

from .header import REJECT_COLUMNS
from .windows import HEAD_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.decoding.tasks import WindowRead
    from importer.excel.workbook import Piece
    from importer.settings import Settings

    from .windows import SheetFacts


#: Fewer rows with cells among the first ones do not show where the header is: the others have formats and are blank.
_LEAST_HEAD = 32


def area_of(piece: Piece | None) -> CellRange | None:
    """Return the range of a piece; None for a whole sheet."""
    return None if piece is None else CellRange(piece.top, piece.left, piece.bottom, piece.right)


def stated_table(cut: SheetFacts) -> tuple[CellRange, int, int] | None:
    """Return the range, header rows and totals rows of the Excel table that is read, or of the sheet's only one.

    None if another piece is read, or the sheet has no Excel table, or several.
    """
    if cut.piece is not None:
        area = area_of(cut.piece)
        return (
            None
            if cut.piece.header_rows is None or area is None
            else (area, cut.piece.header_rows, cut.piece.totals_rows)
        )
    area = parse_range(cut.tables[0].ref) if len(cut.tables) == 1 else None
    return (area, cut.tables[0].header_rows, cut.tables[0].totals_rows) if area else None


def head_rows(settings: Settings) -> int:
    """Return the number of rows at the top of a sheet to search for the header; a given header may be further down."""
    return max(HEAD_ROWS, settings.header_rows[1] if settings.header_rows else 0)


def head_windows(settings: Settings) -> int:
    """Return the number of windows that hold the head rows: one, unless the user set smaller windows."""
    rows = head_rows(settings)
    return -(-rows // min(settings.chunk_rows or rows, rows))


def is_head_blank(windows: Sequence[WindowRead], settings: Settings) -> bool:
    """Return whether the head windows hold too few rows with cells to find the header in them."""
    return sum(window.rows for window in windows[: head_windows(settings)]) < _LEAST_HEAD


def refuse_wide_head(first: WindowRead, piece: Piece | None, most: int) -> None:
    """Refuse a sheet with more than so many columns by its first window: it may have millions of cells below it.

    Raises:
        SheetError: it has more.
    """
    if piece is None:
        refuse_columns(sum(facts.cells > 0 for facts in first.columns.values()), most)


def begins_far_down(piece: Piece | None) -> bool:
    """Return whether too few rows of a piece are among the first rows of the sheet to find its header there."""
    return piece is not None and piece.top > HEAD_ROWS // 2


def read_head(windows: Sequence[WindowRead], piece: Piece | None, settings: Settings) -> pl.DataFrame:
    """Return the first rows of a sheet, or of the piece of it that is read, with the header rows that are given."""
    chosen = list(windows[: head_windows(settings)])
    later = windows[len(chosen) :]
    if piece is not None and begins_far_down(piece):
        last = piece.top + HEAD_ROWS - 1
        chosen += [w for w in later if w.rows and w.first_row <= last and w.last_row >= piece.top]
        head = _joined(chosen)
    elif is_head_blank(windows, settings):
        rows = itertools.accumulate(later, lambda sum_, w: sum_ + w.rows, initial=sum(w.rows for w in chosen))
        chosen += [w for w, before in zip(later, rows, strict=False) if before < _LEAST_HEAD]
        head = _joined(chosen).head(HEAD_ROWS)
    else:
        head = _joined(chosen)
    return head if piece is None else select_columns(head, piece.left, piece.right)


def _joined(windows: Sequence[WindowRead]) -> pl.DataFrame:
    return pl.concat([spool.read(window.path) for window in windows], how="diagonal")


def for_rejects(settings: Settings, head: pl.DataFrame, *, known: bool) -> Settings:
    """Return the settings by which a sheet is read; one with rejects is read whole, its first row is the header.

    What a contract says of header and rows is true of the workbook that the rejects came from.

    Args:
        settings: settings of the run.
        head: the first rows of the sheet.
        known: whether the workbook says of itself that it holds rejects; its labels say it, too.
    """
    given = settings.header_rows[0] if settings.header_rows else 1
    row = given if _is_header_of_rejects(head, given) else 1
    if not known and not _is_header_of_rejects(head, row):
        return settings
    return replace(settings, header_rows=(row, row), rows=None, last_row=None, until_blank=False, footer="keep")


def _is_header_of_rejects(head: pl.DataFrame, row: int) -> bool:
    labels = [part(column, "text") for column in range(len(REJECT_COLUMNS))]
    return set(labels) <= set(head.columns) and REJECT_COLUMNS in head.filter(pl.col(ROW) == row).select(labels).rows()


def check_area(area: CellRange, first_row: int, windows: Sequence[WindowRead], cut: SheetFacts) -> None:
    """Check a piece of a sheet, all of which was read.

    Args:
        area: the piece.
        first_row: its first row that is header or data.
        windows: all windows.
        cut: facts from the sheet part outside its rows.

    Raises:
        SheetError: the piece has no cells, or begins in the middle of merged cells, whose value is outside of it.
    """
    if not any(_has_cells(window, area) for window in windows):
        raise SheetError(f"the range {area.address} has no cells", choice=_used_cells(windows))
    for span in filter(None, map(parse_range, cut.merges)):
        inside = span.bottom >= max(area.top, first_row) and span.top <= area.bottom
        inside = inside and span.right >= area.left and span.left <= area.right
        if inside and not (area.top <= span.top and area.left <= span.left):
            raise SheetError(
                f"the range {area.address} cuts the merged cells {span.address}, whose value is outside of it",
                choice="a range with all of them, or without them",
            )


def _has_cells(window: WindowRead, area: CellRange) -> bool:
    """Return whether a window has a cell in an area."""
    if not window.rows or window.first_row > area.bottom or window.last_row < area.top:
        return False
    rows = spool.read(window.path).filter(pl.col(ROW).is_between(area.top, area.bottom))
    cells = select_columns(rows, area.left, area.right)
    return any(cells[name].null_count() < len(cells) for name in cells.columns if not name.startswith("_"))


def _used_cells(windows: Sequence[WindowRead]) -> str:
    """Return what says where the cells of a sheet are."""
    columns = [c for w in windows for c, facts in w.columns.items() if facts.cells]
    rows = [row for w in windows if w.rows for row in (w.first_row, w.last_row)]
    if not columns or not rows:
        return "the sheet has no cells at all"
    return f"the cells of the sheet are in {CellRange(min(rows), min(columns), max(rows), max(columns)).address}"
