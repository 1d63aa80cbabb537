"""Reads one window of a text file into a frame, as `reading.read_window` does for a sheet. Runs in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from importer.cells.facts import profile
from importer.cells.frame import ROW, part
from importer.decoding.tasks import ReadTask, TextFacts, WindowRead
from importer.errors import CellsDisagree, WorkbookRefused
from importer.footer.row_marks import find_marks
from importer.table.data_rows import blank_looking

from .fields import frame_rows, make_rows, split_fields
from .records import are_quotes_valid
from .second_reader import check_second_reader, find_lines, is_alike, read_again
from .utf8 import check_utf8

if TYPE_CHECKING:
    from importer.text_files import TextDialect

    from .fields import Fields, TextRows

#: In every so many-th window the texts themselves are compared, in the others where each begins and ends.
_COMPARED_EVERY = 8


def read_text_frame(task: ReadTask, dialect: TextDialect) -> tuple[pl.DataFrame, WindowRead]:
    """Read one window into a frame, and return it with the window's row and cell counts and column facts.

    If quotes quote nothing where the cutter took all of them for quotes, there are no rows, only a dispute.

    Raises:
        CellsDisagree: a second reader reads a cell otherwise.
        WorkbookRefused: the bytes are not UTF-8, so the file was changed while it was read.
    """
    window = task.window
    with window.path.open("rb") as file:
        file.seek(window.offset)
        rows = file.read(window.length)
    theirs = _read_again(rows, dialect)
    read = _read_plain(rows, task, dialect, theirs) or _read_any(rows, task, dialect, theirs)
    if read is None:
        lines = f"lines {window.first_row}-{window.last_row}"
        return pl.DataFrame(schema={ROW: pl.Int64}), WindowRead(
            window.number, task.out, 0, 0, 0, 0, {}, formulas=0, hidden=0, dispute=f"quotes in {lines} quote nothing",
            text=TextFacts(),
        )  # fmt: skip
    frame = read.frame
    numbers = frame[ROW]
    facts = profile(frame, task.missing, textual=True)
    cells = sum(column.cells for column in facts.values())
    first, last = (int(numbers[0]), int(numbers[-1])) if len(numbers) else (0, 0)
    blank = blank_looking(frame)
    text = TextFacts(*read[1:], nul=b"\0" in rows)
    return frame, WindowRead(
        window.number, task.out, len(numbers), first, last, cells, facts, formulas=0, hidden=0, judged=cells,
        marks=find_marks(frame, b"", 0) if task.marks else (), blank_rows=0 if blank is None else int(blank.sum()),
        text=text,
    )  # fmt: skip


def _read_again(rows: bytes, dialect: TextDialect) -> pl.DataFrame | None:
    """Return the window as polars reads it; None if it has no rows, or if polars cannot."""
    try:
        return read_again(rows, dialect) if rows else None
    except CellsDisagree:
        return None


def _read_plain(rows: bytes, task: ReadTask, dialect: TextDialect, theirs: pl.DataFrame | None) -> TextRows | None:
    """Return a window as polars reads it, if there is no other way to read it; None if that takes a closer look."""
    if theirs is None or not task.window.number % _COMPARED_EVERY:
        return None
    window = task.window
    lines = find_lines(rows, dialect, theirs, (window.first_row, window.last_row))
    if lines is None:
        return None
    named = ((part(column, "text"), texts) for column, texts in enumerate(theirs.get_columns()))
    columns = {name: texts for name, texts in named if texts.null_count() < len(texts)}
    return frame_rows(columns, lines, window.last_row + 1)


def _read_any(rows: bytes, task: ReadTask, dialect: TextDialect, theirs: pl.DataFrame | None) -> TextRows | None:
    """Return a window, however it is written; None if its quotes quote nothing where all were taken for quotes."""
    window = task.window
    fields = split_fields(rows, dialect, window.first_row)
    if task.engine != "calamine" and not _are_quotes_clear(fields, dialect):
        return None
    read = theirs if theirs is not None and window.number % _COMPARED_EVERY else None
    if read is not None and not is_alike(read, fields):
        read = None
    if read is None or (fields.counts > dialect.width).any():
        _check_encoding(rows, task, dialect)
    made = make_rows(rows, dialect, window.first_row, fields, None if read is None else read.get_columns())
    if read is None and rows:
        check_second_reader(read_again(rows, dialect) if theirs is None else theirs, made.frame, fields.lines)
    return made


def _are_quotes_clear(fields: Fields, dialect: TextDialect) -> bool:
    """Return whether every quote opens a text, closes it, or is one of two, so that the records are what they seem."""
    quotes = fields.quotes
    return not len(quotes) or (not len(quotes) % 2 and are_quotes_valid(fields.data, quotes, dialect))


def _check_encoding(rows: bytes, task: ReadTask, dialect: TextDialect) -> None:
    """Raise WorkbookRefused if some bytes are not UTF-8: texts of others must not be made of them."""
    try:
        check_utf8(rows, final=True)
    except UnicodeDecodeError as exc:
        line = task.window.first_row + rows[: exc.start].count(dialect.eol)
        raise WorkbookRefused("the text is not UTF-8", place=f"line {line}", choice="run again") from None
