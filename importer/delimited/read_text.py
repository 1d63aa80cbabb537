"""Reads one window of a text file into a frame, as `reading.read_window` does for a sheet. Runs in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from importer.cells.facts import profile
from importer.cells.frame import ROW
from importer.decoding.tasks import ReadTask, TextFacts, WindowRead
from importer.errors import WorkbookRefused
from importer.footer.row_marks import find_marks
from importer.table.data_rows import blank_looking

from .fields import make_rows, split_fields
from .records import are_quotes_valid
from .second_reader import check_second_reader, read_alike
from .utf8 import check_utf8

if TYPE_CHECKING:
    from importer.text_files import TextDialect

    from .fields import Fields

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
    fields = split_fields(rows, dialect, window.first_row)
    if task.engine != "calamine" and not _are_quotes_clear(fields, dialect):
        lines = f"lines {window.first_row}-{window.last_row}"
        return pl.DataFrame(schema={ROW: pl.Int64}), WindowRead(
            window.number, task.out, 0, 0, 0, 0, {}, formulas=0, hidden=0, dispute=f"quotes in {lines} quote nothing",
            text=TextFacts(),
        )  # fmt: skip
    theirs = read_alike(rows, dialect, fields) if window.number % _COMPARED_EVERY else None
    if theirs is None or (fields.counts > dialect.width).any():
        _check_encoding(rows, task, dialect)
    read = make_rows(rows, dialect, window.first_row, fields, theirs)
    frame = read.frame
    if theirs is None and rows:
        check_second_reader(rows, dialect, frame, fields.lines)
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
