"""Finds the edges of the table in a sheet that was read: header, first and last data row, rows that are no data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from importer.cells import spool
from importer.cells.facts import count_kinds, merge_windows, profile
from importer.cells.frame import HIDDEN, ROW
from importer.errors import SheetError
from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS
from importer.footer.column_numbers import find_column_numbers
from importer.footer.footer import TAIL_ROWS, FooterRow, describe_rows, find_footer
from importer.footer.judged_rows import Columns, RowsAbove
from importer.footer.repeated_header import find_repeated, read_labels
from importer.footer.sums_above import SumsAbove, find_amounts
from importer.table.cell_range import CellRange, clip_merges, parse_merges
from importer.table.data_rows import NO_LAST_ROW, DataRows
from importer.table.grid import make_grid
from importer.table.header_rows import HeaderRows, find_header, given_header
from importer.table.merged_cells import MergedValue, merged_values
from importer.table.window_rows import rows_of

from .area import area_of, stated_table
from .windows import DataPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from importer.decoding.tasks import WindowRead
    from importer.footer.row_marks import RowMark
    from importer.settings import Settings

    from .windows import SheetFacts


class TableEdges(NamedTuple):
    """Where the table is.

    Attributes:
        header: the header rows.
        data: the data rows.
        footer: rows that are no data or may be none, left out or not.
        parts: the data rows of each window.
        outside: number of cells below or beside the rows and columns that somebody asked for, and of empty texts in
            rows that hold nothing else.
        totals: number of cells in totals and remarks that are left out.
        merged: number of merged ranges in the data.
        filled: number of their cells that got the value of the first.
    """

    header: HeaderRows
    data: DataRows
    footer: tuple[FooterRow, ...]
    parts: tuple[DataPart, ...]
    outside: int = 0
    totals: int = 0
    merged: int = 0
    filled: int = 0


def find_edges(
    head: pl.DataFrame, windows: Sequence[WindowRead], cut: SheetFacts, settings: Settings, *, complete: bool
) -> TableEdges:
    """Return the edges of the table.

    Args:
        head: frame of the head windows.
        windows: all windows that were read.
        cut: facts from the sheet part outside its rows: merged ranges, Excel tables.
        settings: say where the header is and which rows are data, if somebody decided that.
        complete: whether all windows were read; otherwise the end of the table is not known.

    Raises:
        SheetError: there are totals or remarks, and the settings forbid them.
    """
    header = _header_rows(head, cut, settings, textual=any(window.textual for window in windows))
    data = _given_rows(header, windows, cut, settings)
    parts = [_data_part(window, data, settings.missing) for window in windows]
    outside = _count_outside(parts, data)
    footer: list[FooterRow] = []
    if settings.footer != "keep":
        footer = _with_stated(_find_footer(windows, data, parts, complete=complete), windows, cut, data)
        footer = _with_repeated(footer, windows, data, read_labels(head, header.first, header.last))
        footer = _with_column_numbers(footer, windows, data.within(data.of(head)), header)
    if settings.footer == "error" and footer and complete:
        raise SheetError(
            f"rows below or between the data are no data: {describe_rows(footer)}",
            choice="--footer skip leaves them out, --footer keep loads them",
        )
    if out := tuple(each.row for each in footer if each.certain or settings.footer == "skip"):
        data = replace(data, left_out=out)
        parts = [
            part if data.take_all(window.first_row, window.last_row) else _data_part(window, data, settings.missing)
            for window, part in zip(windows, parts, strict=True)
        ]
    totals = _count_outside(parts, data) - outside
    spans = _merged_data(cut, data, parts)
    if not spans or settings.merged == "first":
        return TableEdges(header, data, tuple(footer), tuple(parts), outside, totals, len(spans))
    cells = _count_cells(parts)
    data = replace(data, merged=_read_merged(windows, data, spans))
    parts = [_data_part(window, data, settings.missing) for window in windows]
    return TableEdges(
        header, data, tuple(footer), tuple(parts), outside, totals, len(spans), _count_cells(parts) - cells
    )


def _merged_data(cut: SheetFacts, data: DataRows, parts: Sequence[DataPart]) -> list[CellRange]:
    """Return the merged ranges that begin in the data, by row."""
    last = min(max((part.last_row for part in parts), default=0), data.last)
    left, right = data.columns or (0, MAX_COLUMNS)
    out = set(data.left_out)
    spans = parse_merges(cut.merges, last)
    return sorted(s for s in spans if s.top > data.after and left <= s.left <= right and s.top not in out)


def _read_merged(windows: Sequence[WindowRead], data: DataRows, spans: list[CellRange]) -> tuple[MergedValue, ...]:
    """Return the merged ranges with their values, within the columns of the table."""
    right = data.columns[1] if data.columns else MAX_COLUMNS
    found: list[MergedValue] = []
    for window in windows:
        inside = [s._replace(right=min(s.right, right)) for s in spans if window.first_row <= s.top <= window.last_row]
        found += merged_values(spool.read(window.path), inside) if inside and window.rows else []
    return tuple(found)


def _count_cells(parts: Sequence[DataPart]) -> int:
    return sum(facts.cells for part in parts for facts in part.facts.values())


def _count_outside(parts: Sequence[DataPart], data: DataRows) -> int:
    """Return the number of cells that are in no data row, or beside the columns of the table."""
    left, right = data.columns or (0, MAX_COLUMNS)
    beside = sum(f.cells for part in parts for c, f in part.facts.items() if not left <= c <= right)
    return beside + sum(sum(part.left_out.values()) for part in parts)


def _header_rows(head: pl.DataFrame, cut: SheetFacts, settings: Settings, *, textual: bool) -> HeaderRows:
    """Return the header rows: those that the settings give, else those that are found in the head."""
    if settings.header_rows is not None:
        return given_header(*settings.header_rows)
    if cut.header is not None:
        return cut.header
    area = area_of(cut.piece)
    grid = make_grid(
        head if area is None else head.filter(pl.col(ROW).is_between(area.top, area.bottom)), textual=textual
    )
    stated = stated_table(cut)
    if stated is not None and settings.rows is None and grid.rows and stated[0].top <= grid.rows[-1]:
        top, count = stated[0].top, stated[1]
        return given_header(top, top) if count else HeaderRows(0, 0, top - 1, given=True)
    merges = cut.merges if area is None else clip_merges(cut.merges, area)
    found = find_header(grid, parse_merges(merges, grid.rows[-1] if grid.rows else 0))
    if settings.rows is not None and not found.last < settings.rows[0]:
        above = [row for row in grid.rows if row < settings.rows[0]]
        return given_header(*(above[-1:] * 2 or (0, 0)))
    return found


def _given_rows(header: HeaderRows, windows: Sequence[WindowRead], cut: SheetFacts, settings: Settings) -> DataRows:
    """Return the data rows as far as the settings say."""
    first, last = settings.rows or (0, NO_LAST_ROW)
    area = area_of(cut.piece)
    data = DataRows(max(header.after, first - 1), min(last, settings.last_row or NO_LAST_ROW))
    if area is not None:
        after, last = (
            max(data.after, area.top - 1),
            data.last if area.bottom == MAX_ROWS else min(data.last, area.bottom),
        )
        data = replace(data, after=after, last=last, columns=(area.left, area.right))
    if settings.until_blank:
        data = replace(data, last=min(data.last, _last_before_blank(windows, data)))
    return replace(data, skip_hidden=settings.hidden == "skip")


def _last_before_blank(windows: Sequence[WindowRead], data: DataRows) -> int:
    """Return the last data row before the first blank row."""
    last = 0
    for window in windows:
        if window.text is not None and window.text.continued:
            raise SheetError(
                "fields of the file hold line breaks, so that its blank lines do not show in the rows' numbers",
                choice="--last-row N in place of --until-blank",
            )
        for number in rows_of(window.path, data)[ROW].to_list() if window.rows else ():
            if last and number > last + 1:
                return last
            last = number
    return last or NO_LAST_ROW


def _data_part(window: WindowRead, data: DataRows, missing: tuple[str, ...]) -> DataPart:
    """Return what a window has of the data; only windows with other rows, too, are read and profiled again."""
    skips = data.skip_hidden and window.hidden
    if not window.rows or (data.take_all(window.first_row, window.last_row) and not window.blank_rows and not skips):
        return DataPart(window.columns, window.rows, window.hidden, {}, window.first_row, window.last_row)
    kept, rows = rows_of(window.path, data), rows_of(window.path, data.including_hidden())
    out = data.left_out_below(spool.read(window.path), kept)
    hidden = int(rows[HIDDEN].sum()) if HIDDEN in rows.columns else 0
    cells = {column: facts.cells for column, facts in count_kinds(out).items()}
    first, last = (int(rows[ROW][0]), int(rows[ROW][-1])) if len(rows) else (0, 0)
    facts = profile(data.within(kept), missing, textual=window.textual)
    if data.columns is not None:  # beside the table cells are only counted
        facts = count_kinds(kept) | facts
    return DataPart(facts, len(rows), hidden, {c: n for c, n in cells.items() if n}, first, last)


def _find_footer(
    windows: Sequence[WindowRead], data: DataRows, parts: Sequence[DataPart], *, complete: bool
) -> list[FooterRow]:
    """Return the rows that are no data or may be none: marked ones, and those at the end."""
    marks = [mark for window in windows for mark in _marks_within(window.marks, data)]
    wanted, tail = {mark.row for mark in marks}, TAIL_ROWS if complete else 0
    frames: list[pl.DataFrame] = []
    for window in reversed(windows):
        marked = any(window.first_row <= mark.row <= window.last_row for mark in window.marks)
        if window.kept and window.rows and (tail > 0 or marked):
            frame = data.within(rows_of(window.path, data))
            first = int(frame[ROW][-min(tail, len(frame))]) if tail > 0 and len(frame) else NO_LAST_ROW
            frames.append(frame.filter((pl.col(ROW) >= first) | pl.col(ROW).is_in(list(wanted))))
            tail -= len(frame)
    if not any(len(frame) for frame in frames):
        return []
    textual = any(window.textual for window in windows)
    grid = make_grid(pl.concat(frames[::-1], how="diagonal"), textual=textual).with_amounts()
    rows = sum(_shown_rows(part, data) for part in parts)
    asked = wanted | set(grid.rows[-TAIL_ROWS:] if complete else ())
    amounts = find_amounts(grid, wanted) if textual else []
    above = _rows_above(windows, data, parts, asked, amounts)
    return find_footer(
        grid, marks, Columns(rows, merge_windows(part.facts for part in parts), above), complete=complete
    )


def _with_column_numbers(
    footer: list[FooterRow], windows: Sequence[WindowRead], first_rows: pl.DataFrame, header: HeaderRows
) -> list[FooterRow]:
    textual = any(window.textual for window in windows)
    numbers = find_column_numbers(first_rows, header.last, textual=textual)
    return [*(each for each in numbers if all(each.row != other.row for other in footer)), *footer]


def _marks_within(marks: Iterable[RowMark], data: DataRows) -> Iterator[RowMark]:
    """Yield the marks of data rows, without labels and sums beside the table."""
    left, right = data.columns or (0, MAX_COLUMNS)
    for mark in marks:
        label = mark.label if left <= mark.label <= right else -1
        sums = tuple(c for c in mark.sums if left <= c <= right)
        if data.after < mark.row <= data.last and (label >= 0 or sums or mark.form):
            yield mark._replace(label=label, sums=sums, repeats=False)


def _rows_above(
    windows: Sequence[WindowRead], data: DataRows, parts: Sequence[DataPart], rows: set[int], amounts: list[int]
) -> dict[int, RowsAbove]:
    """Return how many data rows are above some of them, and their sums; `amounts` are columns of numbers as texts."""
    sums = SumsAbove(amounts)
    for window, part in zip(windows, parts, strict=True):
        wanted = sorted(row for row in rows if window.first_row <= row <= window.last_row)
        read = (wanted or amounts) and window.kept and window.rows
        sums.add(rows_of(window.path, data) if read else None, part.facts, _shown_rows(part, data), wanted)
    return sums.found


def _shown_rows(part: DataPart, data: DataRows) -> int:
    return part.rows - (part.hidden if data.skip_hidden else 0)


def _with_repeated(
    footer: list[FooterRow], windows: Sequence[WindowRead], data: DataRows, headers: list[dict[int, str]]
) -> list[FooterRow]:
    """Return the footer with the rows that repeat the header."""
    marked = (w for w in windows if w.kept and any(mark.repeats for mark in w.marks))
    found = (each for w in marked for each in find_repeated(data.within(rows_of(w.path, data)), headers))
    return sorted([*footer, *found], key=lambda each: each.row)


def _with_stated(
    footer: list[FooterRow], windows: Sequence[WindowRead], cut: SheetFacts, data: DataRows
) -> list[FooterRow]:
    """Return the footer with what the Excel table states: its totals row, and that remarks are below it.

    A row right below it may be one that somebody added without the table taking it in; below other rows, one of these.
    """
    stated = stated_table(cut)
    if stated is None or not data.after < stated[0].bottom <= data.last:
        return footer
    bottom = stated[0].bottom
    known, remarks = {each.row for each in footer}, {each.row for each in footer if each.reason == "remarks"}
    below = [w for w in windows if w.rows and w.last_row > bottom] if remarks else []
    if not any(not w.kept or any(r > bottom and r not in known for r in rows_of(w.path, data)[ROW]) for w in below):
        footer = [each._replace(certain=each.certain or bottom + 1 < each.row in remarks) for each in footer]
    if not stated[2]:
        return footer
    others = [each for each in footer if each.row != bottom]
    return sorted([*others, FooterRow(bottom, "totals", certain=True)], key=lambda each: each.row)
