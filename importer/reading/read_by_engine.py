"""Reads the rows of a window by the engine, with exact kinds and exact values; where it cannot, cell by cell.

The engine's result is checked against the XML: the cells are counted there too, and what only the XML shows
(uncalculated formulas, error values unknown to the engine) is corrected.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import PARTS, ROW, part
from importer.decoding.shared_string_cells import read_cells
from importer.decoding.tag_scan import Scan, Tags, letter_count, scan, word
from importer.decoding.value_positions import all_columns
from importer.errors import InputError
from importer.excel import sheet_xml as sheetxml
from importer.excel.addresses import MAX_COLUMNS
from importer.excel.cell_elements import parse_cells
from importer.workers.own_process import require_worker

from .cell_by_cell import read_cell_by_cell

if TYPE_CHECKING:
    from importer.decoding.engine import Cells
    from importer.decoding.tasks import ReadTask

#: A window of more cells than this, empty ones between others included, and of more than so many for each cell that it
#: holds, is read cell by cell. That takes 5 µs a cell, the engine 20 ns for each empty one.
_FEW_CELLS, _SPARSE = 1 << 16, 32
#: Booleans spelled as words, which the engine takes for true, all of them; and the tags that may begin one.
_BOOLEAN_WORD = re.compile(rb't="b"[^>]*>(?:<f\b[^>]*>(?:[^<]*</f>)?)?<v>[tfTF]')
#: What is no number, which the engine takes for a duration of zero in a cell with such a format.
_NAN, _NAN_VALUE = b"nan</v>", re.compile(rb"<v>[+-]?nan</v>", re.IGNORECASE)
#: A cell whose date is a text, of which the engine drops digits and the offset.
_ISO_DATE = re.compile(rb"""\st\s*=\s*(?:"\s*d\s*"|'\s*d\s*')""")
_WORD_TAGS = [word(b"<v>" + letter) for letter in (b"t", b"f", b"T", b"F")]


def read_rows(task: ReadTask, rows: bytes, tags: Tags) -> pl.DataFrame:
    """Return the frame of the rows: read by the engine, or cell by cell where it cannot read them all."""
    require_worker()
    seen = scan(rows, task.width, task.window.last_row, tags)
    frame = None
    if _is_for_engine(task, rows, seen):
        # Refused, or counted otherwise: one cell may be bad, or several elements stand for one cell.
        with contextlib.suppress(InputError):
            frame = _read_by_engine(task, rows, seen)
    return read_cell_by_cell(task, rows, task.window.first_row) if frame is None else frame


def _is_for_engine(task: ReadTask, rows: bytes, seen: Scan) -> bool:
    """Return whether the engine can read these rows at once.

    Its memory grows with height x width, however few cells there are, and it misreads some spellings quietly.
    """
    tags = seen.counts.tags
    assert tags is not None  # rows that were scanned as they are
    if seen.far or (any((tags.names == each).any() for each in _WORD_TAGS) and _BOOLEAN_WORD.search(rows)):
        return False
    if _ISO_DATE.search(rows) or (_NAN in rows.lower() and _NAN_VALUE.search(rows)):
        return False
    window = task.window
    height = window.last_row - window.first_row + 1
    width = task.width if task.width and not seen.wider else 26 ** letter_count(task.width)
    if not seen.wider and _is_dense(task, height * width, seen.counts.values):
        return True
    columns = all_columns(tags)
    if columns is None:
        return not seen.wider and height * width <= task.window_cells
    last = int(columns.max(initial=0))
    return last < MAX_COLUMNS and _is_dense(task, height * (last + 1), len(columns))


def _is_dense(task: ReadTask, size: int, cells: int) -> bool:
    return size <= min(max(_FEW_CELLS, _SPARSE * cells), task.window_cells)


# ---- BY THE ENGINE ----------------------------------------------------------------------------------------------


def _read_by_engine(task: ReadTask, rows: bytes, seen: Scan) -> pl.DataFrame | None:
    """Return the frame, or None if the engine read another number of values than there are in the XML.

    Where the fast count of these differs, the exact count decides.
    """
    first_row, expected = task.window.first_row, seen.counts.values
    fixed = sheetxml.repair(rows) if seen.odd else rows
    counts = seen.counts if fixed is rows else seen.counts._replace(tags=None)
    columns: Cells = {}
    if expected or seen.odd or b"<v" in rows:  # an empty text may be written <v/>
        columns = read_cells(task, fixed, first_row - 1 or None, counts, formulas=seen.formulas > 0)
    height = max((len(s) for kinds in columns.values() for s in kinds.values()), default=0)
    frame = _correct(_frame(columns, first_row, height), rows, first_row, odd=seen.odd)
    formulas = sum(frame[name].count() for name in frame.columns if name.endswith(".formula"))
    counted = sum(frame[name].count() for name in frame.columns if name != ROW) - formulas
    exact = counted == expected or counted == sheetxml.count_values_exactly(rows, first_row)
    return frame if exact else None


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
    """Return the frame with corrections from the XML: uncalculated formulas, unknown errors.

    Infinite and NaN values become unreadable cells as well.
    """
    changes: dict[str, dict[tuple[int, int], str]] = {}
    if odd:
        changes = {
            "formula": sheetxml.uncalculated_formulas(rows, first_row),
            "error": sheetxml.unknown_errors(rows, first_row),
        }
    infinite = _infinite_numbers(frame)
    for kind, found in changes.items():
        frame = _put(frame, kind, found) if found else frame
    # The engine has no more of such a cell than "inf", which is not what stands there.
    texts = {(c.row, c.column): c.content.decode() for c in parse_cells(rows, first_row)} if infinite else {}
    for name in infinite:
        column = int(name.split(".")[0])
        cells = frame.filter(~pl.col(name).is_finite())
        found = {(row, column): texts[row, column] for row in cells[ROW]}
        frame = _put(frame, "unreadable", found) if found else frame
    return frame


def _infinite_numbers(frame: pl.DataFrame) -> list[str]:
    """Return the names of the arrays that hold inf or nan.

    One query covers all arrays: a frame may have thousands of columns, and each query has a fixed cost.
    """
    names = [name for name in frame.columns if name.endswith(".number")]
    if not names or frame.is_empty():
        return []
    finite = frame.select(pl.col(names).is_finite().all()).row(0, named=True)
    return [name for name in names if not finite[name]]


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
