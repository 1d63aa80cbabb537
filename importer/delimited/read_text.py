"""Reads one window of a text file into a frame, as `reading.read_window` does for a sheet. Runs in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.cells.facts import profile
from importer.cells.frame import ROW
from importer.decoding.tasks import ReadTask, TextFacts, WindowRead
from importer.footer.row_marks import find_marks
from importer.table.data_rows import blank_looking

from .fields import make_rows, split_fields
from .second_reader import check_second_reader, read_alike

if TYPE_CHECKING:
    import polars as pl

    from importer.text_files import TextDialect

#: In every so many-th window the texts themselves are compared, in the others where each begins and ends.
_COMPARED_EVERY = 8


def read_text_frame(task: ReadTask, dialect: TextDialect) -> tuple[pl.DataFrame, WindowRead]:
    """Read one window into a frame, and return it with the window's row and cell counts and column facts.

    Raises:
        CellsDisagree: a second reader reads a cell otherwise.
    """
    window = task.window
    with window.path.open("rb") as file:
        file.seek(window.offset)
        rows = file.read(window.length)
    fields = split_fields(rows, dialect, window.first_row)
    theirs = read_alike(rows, dialect, fields) if window.number % _COMPARED_EVERY else None
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
