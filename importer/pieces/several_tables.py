"""Finds whether a sheet holds several tables, apart by blank rows or columns, each with a header of its own.

What is left of a sheet is not read, so tables are told apart only on strong evidence: a blank row, or a blank column,
inside one table is none. What may be a table of its own is read as a part of the first one, and said.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.cells import spool
from importer.cells.frame import ROW
from importer.errors import NotSpooled
from importer.excel.addresses import MAX_ROWS
from importer.excel.workbook import Piece
from importer.table.cell_range import CellRange, parse_merges, parse_range
from importer.table.data_rows import select_columns
from importer.table.evidence import pattern_of
from importer.table.grid import BLANK, TEXT, HeadGrid, make_grid
from importer.table.header_rows import find_header

from .row_blocks import find_blocks, last_row_of
from .sheet_tables import SheetTables, take_fitting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.decoding.tasks import WindowRead
    from importer.reading.sheet_source import SheetSource
    from importer.reading.windows import SheetFacts
    from importer.settings import Settings

#: Rows of a block that its header is searched in, and so many that show it.
_HEAD_ROWS, _FEW_ROWS = 32, 8
#: Share of a column's cells that makes a kind that of the column, and of the columns that a header names.
_DOMINANT, _FULL = 0.6, 0.8
#: Share of a sheet's cells that its Excel tables hold if they are all of its tables.
_MOST = 0.8
#: Fewest rows below the header of a table beside another one that is told by its length.
_LEAST_ROWS, _SHORTER = 3, 0.8


class _Start(NamedTuple):
    """The start of what may be a table: its range, its labels by column, how many columns these contrast with."""

    area: CellRange
    labels: tuple[tuple[int, str], ...]
    contrasts: int
    titled: bool

    @property
    def texts(self) -> list[str]:
        """The labels."""
        return [text for _, text in self.labels]


def with_largest_table(source: SheetSource, settings: Settings) -> SheetFacts:
    """Return the facts of the sheet; if it has several tables, these say that the largest is the piece to read.

    Raises:
        NotSpooled: windows that decide this were not kept.
    """
    found, cut = find_tables(source, settings), source.cut
    found, fits = take_fitting(found, settings.wanted, lambda top, bottom: _rows_from(source, top, bottom))
    doubtful = tuple(area.address for area in found.doubtful)
    if found.largest is None:
        return replace(cut, doubtful_tables=doubtful) if doubtful else cut
    others = tuple(area.address for area in found.areas if area != found.largest)
    stated = next((t for t in cut.tables if t.ref == found.largest.address), None)
    rows = (None, 0) if stated is None else (stated.header_rows, stated.totals_rows)
    piece = Piece(found.largest.address, *found.largest, *rows)
    return replace(
        cut, piece=piece, other_tables=others, doubtful_tables=doubtful, fits=settings.wanted_by if fits else ""
    )


def find_tables(source: SheetSource, settings: Settings) -> SheetTables:
    """Return the tables of a sheet that was read as one, if nobody said where the table is.

    Raises:
        NotSpooled: windows that decide this were not kept.
    """
    given = settings.header_rows or settings.rows or settings.last_row or settings.until_blank
    book = source.workbook
    if given or source.cut.piece or book.origin or book.dialect or not source.header.columns:
        return SheetTables()
    stated = _stated_tables(source)
    if len(source.cut.tables) > 1:
        return stated
    below = _tables_below(source)
    return below if below.areas or below.doubtful else _tables_beside(source)


def _stated_tables(source: SheetSource) -> SheetTables:
    """Return the Excel tables of the sheet, if they hold nearly all of its cells."""
    areas = [area for table in source.cut.tables if (area := parse_range(table.ref))]
    held = sum(_count_cells(source, area) for area in areas)
    return _largest_of(source, areas) if held >= _MOST * sum(w.cells for w in source.windows) else SheetTables()


def _count_cells(source: SheetSource, area: CellRange) -> int:
    found = 0
    for number in _windows_within(source, area.top, area.bottom):
        window = source.windows[number]
        if _is_within(window, area):
            found += window.cells
            continue
        rows = _read(source, number).filter(pl.col(ROW).is_between(area.top, area.bottom))
        cells = select_columns(rows, area.left, area.right)
        found += sum(len(cells) - cells[name].null_count() for name in cells.columns if not name.startswith("_"))
    return found


def _is_within(window: WindowRead, area: CellRange) -> bool:
    rows = area.top <= window.first_row and window.last_row <= area.bottom
    return rows and all(area.left <= column <= area.right for column in window.columns)


def _read(source: SheetSource, number: int) -> pl.DataFrame:
    window = source.windows[number]
    if not window.kept:
        raise NotSpooled("the rows around blank ones decide how many tables there are")
    return spool.read(window.path)


def _rows_from(source: SheetSource, first: int, last: int) -> pl.DataFrame:
    """Return rows of the sheet, from one to another; the first ones where a later window was not kept."""
    numbers = _windows_within(source, first, last)
    some = list(itertools.takewhile(lambda number: source.windows[number].kept, numbers))
    if some and len(some) < len(numbers) and source.windows[some[-1]].last_row - first >= _FEW_ROWS:
        numbers = some
    frames = [_read(source, number) for number in numbers]
    return pl.concat(frames, how="diagonal").filter(pl.col(ROW).is_between(first, last))


def _tables_below(source: SheetSource) -> SheetTables:
    """Return the tables that stand below each other."""
    blocks = find_blocks(source.windows, lambda n: _read(source, n))
    starts: list[_Start] = []
    doubtful: list[_Start] = []
    main = _main_table(source)
    for first, last in blocks:
        if first <= max(source.data.after, source.edges.header.last):
            continue  # the first table, and what is above it
        start = _find_start(source, (first, last))
        if start is None or main is None:
            continue
        moved = (start.area.left, start.area.right) != (main.area.left, main.area.right)
        sure = start.contrasts > 1 or start.titled or moved or start.texts == main.texts
        (starts if sure else doubtful).append(start)
    if main is None or not starts:
        return SheetTables(doubtful=tuple(start.area for start in doubtful))
    return _divide(source, [main, *starts], blocks, doubtful)


def _divide(
    source: SheetSource, starts: list[_Start], blocks: list[tuple[int, int]], doubtful: list[_Start]
) -> SheetTables:
    """Return the tables that begin there: each reaches to the next one."""
    areas = []
    for number, start in enumerate(starts):
        below = starts[number + 1].area.top if number + 1 < len(starts) else MAX_ROWS
        bottom = max(last for _, last in blocks if last < below)
        columns = _columns_within(source, start.area.top, bottom)
        areas.append(CellRange(start.area.top, min(columns), bottom, max(columns)))
    return _largest_of(source, areas, doubtful)


def _largest_of(source: SheetSource, areas: Sequence[CellRange], doubtful: Sequence[_Start] = ()) -> SheetTables:
    cells = [_count_cells(source, area) for area in areas]
    return SheetTables(tuple(areas), areas[int(np.argmax(cells))], tuple(start.area for start in doubtful))


def _columns_within(source: SheetSource, first: int, last: int) -> set[int]:
    """Return the sheet columns (0-based) with a cell in some rows."""
    found = set()
    for number in _windows_within(source, first, last):
        rows = _read(source, number).filter(pl.col(ROW).is_between(first, last))
        names = (name for name in rows.columns if not name.startswith("_") and rows[name].null_count() < len(rows))
        found |= {int(name.split(".")[0]) for name in names}
    return found


def _windows_within(source: SheetSource, first: int, last: int) -> list[int]:
    return [n for n, w in enumerate(source.windows) if w.rows and w.first_row <= last and w.last_row >= first]


def _main_table(source: SheetSource) -> _Start | None:
    """Return the start of the table that was found first; None if it has no header."""
    header = source.edges.header
    if not header.last:
        return None
    columns = [c.index for c in source.header.columns]
    labels = tuple((c.index, c.header or "") for c in source.header.columns)
    return _Start(CellRange(header.first, min(columns), header.last, max(columns)), labels, 0, titled=False)


def _find_start(source: SheetSource, rows: tuple[int, int]) -> _Start | None:
    """Return the start of a table in a block of rows; None if it has no header of its own that is beyond doubt."""
    head = _rows_from(source, rows[0], min(rows[1], rows[0] + _HEAD_ROWS))
    start = _start_in(make_grid(head), source.cut.merges, rows[1])
    return None if start is None or _are_data(source, start) else start


def _are_data(source: SheetSource, start: _Start) -> bool:
    """Return whether a label looks like the texts above it, such as codes of one pattern."""
    for column, label in start.labels:
        facts = source.facts.get(column)
        above = {pattern_of(str(text)) for _, text in facts.examples.get("text", ())} if facts else set()
        if len(above) == 1 and "9" in (pattern := above.pop()) and pattern == pattern_of(label):
            return True
    return False


def _start_in(grid: HeadGrid, merges: Sequence[str], last: int) -> _Start | None:
    if len(grid.rows) < 2 or len(grid.columns) < 2:  # noqa: PLR2004 - a header and a row, of two columns
        return None
    header = find_header(grid, parse_merges(merges, grid.rows[-1]))
    if not header.last or header.doubt is not None:
        return None
    at = grid.rows.index(header.last)
    kinds, body = grid.kinds[at], grid.kinds[at + 1 :]
    used = (grid.kinds[at:] != BLANK).any(axis=0)
    titles = grid.kinds[: grid.rows.index(header.first)]
    named = (kinds == TEXT) & used
    if not len(body) or (kinds[kinds != BLANK] != TEXT).any() or named.sum() < max(2, _FULL * used.sum()):
        return None
    if len(titles) and ((titles != BLANK).sum(axis=1) > 1).any():
        return None
    filled = (body != BLANK).sum(axis=0)
    typed = ((body != BLANK) & (body != TEXT)).sum(axis=0) >= _DOMINANT * np.maximum(filled, 1)
    contrasts = int((named & typed).sum())
    columns = [c for c, use in zip(grid.columns, used, strict=True) if use]
    labels = tuple((c, str(v)) for c, v, k in zip(grid.columns, grid.values[at], kinds, strict=True) if k == TEXT)
    area = CellRange(grid.rows[0], min(columns), last, max(columns))
    return _Start(area, labels, contrasts, titled=bool(len(titles))) if contrasts else None


def _tables_beside(source: SheetSource) -> SheetTables:
    """Return the tables that stand beside each other."""
    header, groups = source.edges.header, _column_groups(source)
    if len(groups) < 2 or not header.last:  # noqa: PLR2004
        return SheetTables()
    end = max(w.last_row for w in source.windows)
    head = _rows_from(source, header.first, header.first + _HEAD_ROWS)
    starts: list[_Start] = []
    pieces: list[CellRange] = []
    for group in groups:
        grid = make_grid(select_columns(head, group[0], group[-1]))
        last = last_row_of(source.windows, lambda n: _read(source, n), (group[0], group[-1]), end)
        start = _start_in(grid, source.cut.merges, last)
        pieces.append(CellRange(header.first, group[0], last, group[-1]))
        starts += [start] if start is not None else []
    if len(starts) < len(groups):
        return SheetTables(doubtful=_shorter(pieces))  # parts of the table, or notes
    areas = [start.area for start in starts]
    if not all(_is_apart(source, starts[0], other) for other in starts[1:]):
        return SheetTables(doubtful=tuple(areas[1:]), candidates=tuple(areas))
    return _largest_of(source, areas)


def _shorter(pieces: Sequence[CellRange]) -> tuple[CellRange, ...]:
    """Return the pieces beside the first that end far above it, as a legend does, or right below their labels."""
    rows = pieces[0].bottom - pieces[0].top
    most = _SHORTER * rows if rows >= _LEAST_ROWS else -1
    return tuple(piece for piece in pieces[1:] if piece.bottom - piece.top <= most)


def _is_apart(source: SheetSource, first: _Start, other: _Start) -> bool:
    """Return whether two tables beside each other are not one, by their place, labels, or ends.

    The shorter one then fills its first column to its end: an optional part of a table rarely does.
    """
    if first.area.top != other.area.top or first.texts == other.texts:
        return True
    short, long = sorted((first.area, other.area), key=lambda area: area.bottom)
    rows, most = short.bottom - short.top, long.bottom - long.top
    keys = _count_cells(source, short._replace(top=short.top + 1, right=short.left))
    return rows >= _LEAST_ROWS and rows <= _SHORTER * most and keys == rows


def _column_groups(source: SheetSource) -> list[list[int]]:
    """Return the columns that stand together, without a blank column between them."""
    groups: list[list[int]] = []
    for column in source.header.columns:
        follows = groups and column.index == groups[-1][-1] + 1
        groups[-1].append(column.index) if follows else groups.append([column.index])
    return groups
