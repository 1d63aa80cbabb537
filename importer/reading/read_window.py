"""Reads one window, with exact kinds, exact values and true addresses. Runs in a worker.

Its cells are decoded in columns (`columns.decode`); the engine reads those that are written too oddly for that, and the
whole window where that is asked for or most of them are (`read_by_engine`). Either way the values are counted in the
XML, too. What only some windows need is imported when it is needed: the workers have it all (`stages.preload`).
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.cells import spool
from importer.cells.facts import profile
from importer.cells.frame import HIDDEN, ROW
from importer.columns.decode import Conventions, DecodedWindow, decode_cells, decode_window
from importer.columns.plain_cells import find_plain_cells
from importer.decoding.string_views import map_strings
from importer.decoding.tag_scan import (
    Tags,
    count_end_tags,
    find_tags,
    has_hidden_row,
    has_marks,
    is_any_hidden,
    is_spelled_oddly,
    is_utf8,
    pad,
    word,
)
from importer.decoding.tasks import ReadTask, Window, WindowRead
from importer.errors import WorkbookRefused
from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS
from importer.excel.normalize_xml import rewrite_rows
from importer.footer.row_marks import find_marks
from importer.number_formats.date_serials import DateSystem
from importer.number_formats.shown_scales import find_scales
from importer.table.data_rows import blank_looking
from importer.workers.own_process import require_worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from importer.columns.arrays import Values
    from importer.decoding.string_views import Bytes
    from importer.excel.cell_elements import CellElement

    from .judge import Verdict


def read_window(task: ReadTask) -> WindowRead:
    """Read one window into an Arrow IPC file; see `read_frame`."""
    frame, read = read_frame(task)
    spool.write(frame, task.out)
    return read


def read_frame(task: ReadTask) -> tuple[pl.DataFrame, WindowRead]:
    """Read one window into a frame, and return it with the window's row and cell counts and column facts.

    Raises:
        InputError: the engine refuses a value.
        WorkbookRefused: oddly spelled rows that are not well-formed, a cell with an address that no sheet has, or one
            that is written twice.
    """
    if task.dialect is not None:
        from importer.delimited.read_text import read_text_frame

        return read_text_frame(task, task.dialect)
    window = task.window
    rows = _read_xml(window)
    data = pad(rows)
    xml = _read_plain(task, rows, data) or _read_any(task, rows, find_tags(rows, data))
    rows, decoded, frame = xml.rows, xml.decoded, xml.frame
    judged = _judge(task, rows, frame) if decoded is not None and task.judged else (0, "")
    if xml.hides_rows:
        from importer.excel.sheet_xml import hidden_rows

        frame = _mark_hidden(frame, hidden_rows(rows, window.first_row))
    numbers = frame[ROW]
    facts = profile(frame, task.missing)
    _check_bounds(numbers, facts)
    cells = sum(column.cells for column in facts.values())
    first, last = (int(numbers[0]), int(numbers[-1])) if len(numbers) else (0, 0)
    hidden = int(frame[HIDDEN].sum()) if HIDDEN in frame.columns else 0
    by_engine = cells if decoded is None else decoded.odd
    blank = blank_looking(frame)
    return frame, WindowRead(
        window.number, task.out, len(numbers), first, last, cells, facts, xml.formulas, hidden, by_engine, *judged,
        find_marks(frame, rows, xml.formulas, head=not window.number) if task.marks else (),
        0 if blank is None else int(blank.sum()), _first_gap(numbers),
        scales=None if window.number else find_scales(rows, task.formats), nul=decoded is None or decoded.nul,
    )  # fmt: skip


def _judge(task: ReadTask, rows: bytes, frame: pl.DataFrame) -> Verdict:
    from .judge import judge_window

    return judge_window(task, rows, frame)


class _WindowXml(NamedTuple):
    """A window that was read.

    Attributes:
        rows: its XML, without comments and CDATA.
        decoded: what was decoded by us; None if the engine read it.
        frame: its cells.
        hides_rows: whether a row may be hidden.
        formulas: number of cells with a formula.
    """

    rows: bytes
    decoded: DecodedWindow | None
    frame: pl.DataFrame
    hides_rows: bool
    formulas: int


_ROW_END = b"</row>"
#: How much of a window is looked at before all of it.
_SAMPLE_BYTES = 32 << 10


def _read_plain(task: ReadTask, rows: bytes, data: Bytes) -> _WindowXml | None:
    """Return a window in which all cells are written as nearly all are; None if others are in it."""
    # Where some are written otherwise, a few of them are among the first rows.
    first = rows.rfind(_ROW_END, 0, _SAMPLE_BYTES) + len(_ROW_END)
    if task.engine == "calamine" or find_plain_cells(data, first) is None or not is_utf8(rows):
        return None
    plain = find_plain_cells(data, len(rows))
    if plain is None:
        return None
    decoded = decode_cells(rows, data, plain.cells, _conventions(task), partial(_read_apart, task))
    if decoded is None or not _is_complete(decoded, rows, data, task.window.first_row):
        return None
    hides_rows = is_any_hidden(rows, data, plain.rows, plain.row_ends)
    return _WindowXml(rows, decoded, decoded.frame, hides_rows, plain.formulas)


def _read_any(task: ReadTask, rows: bytes, tags: Tags) -> _WindowXml:
    """Return a window, however it is written."""
    window = task.window
    if has_marks(tags):
        rows, tags = _rewritten(rows, window)
    decoded = _decode(task, rows, tags)
    if (decoded is None or decoded.unusual) and is_spelled_oddly(tags):
        rows, tags = _rewritten(rows, window)
        decoded = _decode(task, rows, tags)
    frame = decoded.frame if decoded is not None else _read_by_engine(task, rows, tags)
    formulas = int(np.count_nonzero((tags.names & _TWO_BYTES) == word(b"<f")))
    return _WindowXml(rows, decoded, frame, has_hidden_row(rows, tags), formulas)


def _read_xml(window: Window) -> bytes:
    with window.path.open("rb") as file:
        file.seek(window.offset)
        return file.read(window.length)


def _rewritten(rows: bytes, window: Window) -> tuple[bytes, Tags]:
    """Return the XML of a window in Excel's spelling, and its tags."""
    require_worker()
    written = rewrite_rows(rows)
    if written is None:
        raise WorkbookRefused(
            f"rows {window.first_row}-{window.last_row} are not well-formed XML", choice="save it again in Excel"
        )
    return written, find_tags(written)


def _first_gap(numbers: pl.Series) -> int:
    """Return the last row before the first blank row; 0 if no row is missing between the rows."""
    if not len(numbers) or int(numbers[-1]) - int(numbers[0]) + 1 == len(numbers):
        return 0
    return int(numbers[int((numbers.diff() > 1).arg_max() or 0) - 1])


_TWO_BYTES = 0xFFFF
_ADDRESS = re.compile(rb'<c r="([A-Z]{1,3}[0-9]{1,7})"')


def _decode(task: ReadTask, rows: bytes, tags: Tags) -> DecodedWindow | None:
    """Return the decoded window; None if it is for the engine."""
    if not is_utf8(rows):
        raise WorkbookRefused(f"{_first_damage(rows)} is not UTF-8", choice="save it again in Excel")
    if task.engine == "calamine":
        return None
    first_row = task.window.first_row
    decoded = decode_window(rows, tags, first_row, _conventions(task), partial(_read_apart, task))
    return decoded if decoded is not None and _is_complete(decoded, rows, tags.data, first_row) else None


def _first_damage(rows: bytes) -> str:
    """Return where the first bytes are that are no text."""
    try:
        rows.decode()
    except UnicodeDecodeError as exc:
        addresses = _ADDRESS.findall(rows, 0, exc.start)
        return f"the text in cell {addresses[-1].decode()}" if addresses else "a text"
    return "a text"


def _read_by_engine(task: ReadTask, rows: bytes, tags: Tags) -> pl.DataFrame:
    from importer.decoding.number_marks import mark_numbers

    from .read_by_engine import read_rows

    return mark_numbers(read_rows(task, rows, tags), rows, task.formats, task.window.first_row)


def _read_apart(task: ReadTask, cells: list[CellElement]) -> Iterator[Values]:
    from .cell_by_cell import read_apart

    return read_apart(task, cells)


def _conventions(task: ReadTask) -> Conventions:
    return Conventions(
        DateSystem(task.epoch_1904),
        task.formats,
        lambda: None if task.strings is None else map_strings(task.strings),
    )


def _is_complete(decoded: DecodedWindow, rows: bytes, data: Bytes, first_row: int) -> bool:
    """Return whether a decoded window has as many values as there are in the XML, counted without its tags."""
    frame = decoded.frame
    values = sum(frame[name].count() for name in frame.columns if name[0] != "_" and not name.endswith(".formula"))
    ends = count_end_tags(data) - decoded.surplus
    if values == ends and not decoded.blank:
        return True
    # An end tag may also be that of an empty `<v></v>`, which is a value only as the result of a formula.
    filled = ends - rows.count(b"<v></v>")
    if values - decoded.blank == filled:
        return True
    require_worker()
    from importer.excel.sheet_xml import count_values_exactly

    return values == count_values_exactly(rows, first_row)


def _check_bounds(numbers: pl.Series, columns: Iterable[int]) -> None:
    """Raise WorkbookRefused if a cell lies beyond the last column or row."""
    if max(columns, default=0) >= MAX_COLUMNS:
        raise WorkbookRefused(
            "a cell lies beyond column XFD, the last one a sheet can have", choice="save it again in Excel"
        )
    if len(numbers) and int(numbers[-1]) > MAX_ROWS:
        raise WorkbookRefused(
            f"a cell lies beyond row {MAX_ROWS:,}, the last one a sheet can have", choice="save it again in Excel"
        )


def _mark_hidden(frame: pl.DataFrame, hidden: list[int]) -> pl.DataFrame:
    if not hidden:
        return frame
    return frame.with_columns(pl.col(ROW).is_in(pl.Series(hidden, dtype=pl.Int64).implode()).alias(HIDDEN))
