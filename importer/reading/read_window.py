"""Reads one window through the engine, with exact kinds, exact values and true addresses. Runs in a worker.

The engine's result is checked against the XML: the cells are counted there too, and what only the XML shows
(uncalculated formulas, error values unknown to the engine, integers too long for a float) is corrected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from importer.cells import spool
from importer.cells.facts import profile
from importer.cells.frame import HIDDEN, MAX_EXACT_INTEGER, PARTS, ROW, part
from importer.decoding.shared_string_cells import read_cells
from importer.decoding.tag_scan import Counts, Scan, count_values, is_wider, letter_count, scan
from importer.decoding.tasks import ReadTask, WindowRead
from importer.decoding.zero_padding import mark_padded
from importer.errors import ConservationError, WorkbookRefused
from importer.excel import sheet_xml as sheetxml
from importer.excel.addresses import MAX_COLUMNS, MAX_LETTERS

from .row_splitter import row_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.decoding.engine import Cells


class _Piece(NamedTuple):
    """Rows that the engine reads in one call: XML, first and last sheet row, whether they are the whole window."""

    rows: bytes
    first_row: int
    last_row: int
    whole: bool


def read_window(task: ReadTask) -> WindowRead:
    """Read one window into an Arrow IPC file; see `read_frame`."""
    frame, read = read_frame(task)
    spool.write(frame, task.out)
    return read


def read_frame(task: ReadTask) -> tuple[pl.DataFrame, WindowRead]:
    """Read one window into a frame, and return it with the window's row and cell counts and column facts.

    Raises:
        InputError: the engine refuses the window.
        ConservationError: the engine and the XML disagree about the number of cells.
        WorkbookRefused: comments or CDATA in the middle of a sheet, or a cell beyond column XFD.
    """
    with task.window.path.open("rb") as file:
        file.seek(task.window.offset)
        rows = file.read(task.window.length)
    seen = scan(rows, task.width)
    odd = seen.odd
    if odd and b"<!" in rows:
        raise WorkbookRefused(
            "the sheet's XML contains comments or CDATA far from its start", choice="save it again in Excel"
        )
    frames = [
        _read_rows(task, piece, seen.counts if piece.whole else count_values(piece.rows), seen)
        for piece in _pieces(task, rows, wider=seen.wider)
    ]
    frame = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    frame = _mark_hidden(frame, sheetxml.hidden_rows(rows, task.window.first_row)) if odd else frame
    frame = mark_padded(frame, rows, task.padded) if task.padded else frame
    numbers = frame[ROW]
    facts = profile(frame)
    if max(facts, default=0) > MAX_COLUMNS - 1:
        raise _beyond_last_column()
    cells = sum(column.cells for column in facts.values())
    first, last = (int(numbers[0]), int(numbers[-1])) if len(numbers) else (0, 0)
    hidden = int(frame[HIDDEN].sum()) if HIDDEN in frame.columns else 0
    return frame, WindowRead(
        task.window.number, task.out, len(numbers), first, last, cells, facts, seen.formulas, hidden
    )


# ---- PIECES: a window too sparse for one call of the engine is read in parts -----------------------------------


def _pieces(task: ReadTask, rows: bytes, *, wider: bool) -> Iterator[_Piece]:
    """Yield the whole window, or runs of its rows whose bounding box the engine can hold.

    The engine's memory grows with height x width, however few cells there are.
    """
    window = task.window
    width = task.width if task.width and not wider else 26 ** letter_count(task.width)
    if not wider and (window.last_row - window.first_row + 1) * width <= task.window_cells:
        yield _Piece(rows, window.first_row, window.last_row, whole=True)
        return
    if is_wider(rows, MAX_LETTERS):
        raise _beyond_last_column()
    runs = list(_runs(rows, window.first_row, task.window_cells))
    yield from runs or [_Piece(b"", window.first_row, window.first_row, whole=False)]


def _beyond_last_column() -> WorkbookRefused:
    return WorkbookRefused(
        "a cell lies beyond column XFD, the last one a sheet can have", choice="save it again in Excel"
    )


def _runs(rows: bytes, following: int, most_cells: int) -> Iterator[_Piece]:
    """Yield runs of rows whose bounding box has at most `most_cells` cells; rows without cells are left out."""
    held: list[bytes] = []
    first = width = 0
    last = following - 1
    for piece in rows.split(b"</row>")[:-1]:
        _, row = row_range(piece, last + 1)
        row_width = sheetxml.width(piece)
        if held and (row - first + 1) * max(width, row_width) > most_cells:
            yield _Piece(b"".join(held), first, last, whole=False)
            held, width = [], 0
        first = first if held else row
        last, width = row, max(width, row_width)
        held.append(sheetxml.complete_row(piece, row))
    if held:
        yield _Piece(b"".join(held), first, last, whole=False)


# ---- ONE PIECE --------------------------------------------------------------------------------------------------


def _read_rows(task: ReadTask, piece: _Piece, counts: Counts, seen: Scan) -> pl.DataFrame:
    """Return the frame of a piece after comparing its number of values with the fast count from the XML.

    Where the two differ, the exact count decides.
    """
    rows, first_row, expected, odd = piece.rows, piece.first_row, counts.values, seen.odd
    fixed = sheetxml.repair(rows) if odd else rows
    counts = counts if fixed is rows else counts._replace(tags=None)
    columns: Cells = {}
    if expected or odd or b"<v" in rows:  # an empty text may be written <v/>
        columns = read_cells(task, fixed, first_row - 1 or None, counts, formulas=seen.formulas > 0)
    height = max((len(s) for kinds in columns.values() for s in kinds.values()), default=0)
    frame = _correct(_frame(columns, first_row, height), rows, first_row, odd=odd)
    formulas = sum(frame[name].count() for name in frame.columns if name.endswith(".formula"))
    counted = sum(frame[name].count() for name in frame.columns if name != ROW) - formulas
    if counted != expected and counted != (exactly := sheetxml.count_values_exactly(rows, first_row)):
        raise ConservationError(
            f"rows {first_row}-{piece.last_row} hold {exactly:,} values but {counted:,} were read",
            choice="the same cell may be written twice; open the workbook in Excel and save it again",
        )
    return frame


def _frame(columns: Cells, base: int, height: int) -> pl.DataFrame:
    """Return a frame of row numbers and arrays, without blank rows and all-null arrays."""
    arrays = {
        part(c, kind): kinds[kind].alias(part(c, kind))
        for c, kinds in sorted(columns.items())
        for kind in PARTS
        if kind in kinds
    }
    arrays = {name: array for name, array in arrays.items() if array.null_count() < len(array)}
    numbers = pl.int_range(base, base + height, dtype=pl.Int64, eager=True).alias(ROW)
    frame = pl.DataFrame([numbers, *arrays.values()])
    if not arrays:
        return frame.clear()
    filled = frame.select(pl.any_horizontal(pl.exclude(ROW).is_not_null())).to_series()
    return frame if filled.all() else frame.filter(filled)  # a filter copies every text


def _correct(frame: pl.DataFrame, rows: bytes, first_row: int, *, odd: bool) -> pl.DataFrame:
    """Return the frame with corrections from the XML: uncalculated formulas, unknown errors, too long integers.

    Infinite and NaN values become unreadable cells as well.
    """
    changes: dict[str, dict[tuple[int, int], str]] = {}
    if odd:
        changes = {
            "formula": sheetxml.uncalculated_formulas(rows, first_row),
            "error": sheetxml.unknown_errors(rows, first_row),
        }
    long, infinite = _inexact_numbers(frame)
    if long:
        changes["unreadable"] = sheetxml.long_integers(rows, first_row)
    for kind, found in changes.items():
        frame = _put(frame, kind, found) if found else frame
    for name in infinite:
        column = int(name.split(".")[0])
        cells = frame.filter(~pl.col(name).is_finite())
        found = {(row, column): str(value) for row, value in zip(cells[ROW], cells[name], strict=True)}
        frame = _put(frame, "unreadable", found) if found else frame
    return frame


def _inexact_numbers(frame: pl.DataFrame) -> tuple[bool, list[str]]:
    """Return whether any number reaches 2**53, and the names of the arrays that hold inf or nan.

    One query covers all arrays: a frame may have thousands of columns, and each query has a fixed cost.
    """
    names = [name for name in frame.columns if name.endswith(".number")]
    if not names or frame.is_empty():
        return False, []
    numbers = pl.col(names)
    long = (numbers.abs() >= MAX_EXACT_INTEGER).any().name.prefix("long:")
    row = frame.select(long, numbers.is_finite().all()).row(0, named=True)
    return any(row[f"long:{name}"] for name in names), [name for name in names if not row[name]]


def _put(frame: pl.DataFrame, kind: str, found: dict[tuple[int, int], str]) -> pl.DataFrame:
    """Return the frame with the cells in `found` set to `kind`, and to null in all other kinds."""
    for column in sorted({c for _, c in found}):
        mine = {row: text for (row, c), text in found.items() if c == column}
        name = part(column, kind)
        added = pl.DataFrame({ROW: list(mine), "_new": list(mine.values())}, schema={ROW: pl.Int64, "_new": pl.String})
        frame = frame.join(added, on=ROW, how="full", coalesce=True).sort(ROW)
        old = pl.col(name) if name in frame.columns else pl.lit(None, pl.String)
        others = [part(column, k) for k in PARTS if k != kind and part(column, k) in frame.columns]
        frame = frame.with_columns(
            pl.coalesce(pl.col("_new"), old).alias(name),
            *[pl.when(pl.col("_new").is_null()).then(pl.col(other)).alias(other) for other in others],
        ).drop("_new")
    return frame


def _mark_hidden(frame: pl.DataFrame, hidden: list[int]) -> pl.DataFrame:
    if not hidden:
        return frame
    return frame.with_columns(pl.col(ROW).is_in(pl.Series(hidden, dtype=pl.Int64).implode()).alias(HIDDEN))
