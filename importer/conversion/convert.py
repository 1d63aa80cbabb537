"""Converts one sheet of a workbook of another format, in a worker: two readers, one plain package."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

from importer.errors import WorkbookRefused
from importer.excel.addresses import refuse_columns
from importer.workers.own_process import require_worker

from .agreement import SecondReader
from .model import Converted, ConvertTask, OtherRow, Surroundings
from .open_book import open_book
from .write_package import PackageWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .model import OtherBook


#: Rows that show how wide a sheet is.
_FIRST_ROWS = 128


def convert_sheet(task: ConvertTask) -> Converted:
    """Write the sheet that a run reads, and the list of all sheets, as a plain package.

    Raises:
        CellsDisagree: the readers differ in a cell.
        InputError: the workbook is refused.
    """
    require_worker()
    book = open_book(task.path, task.form, task.limits)
    beside = Surroundings()
    chosen, rows = _choose(book, task.sheet, beside)
    if chosen < 0:
        PackageWriter(task.out, book, -1).write((), beside)
        return Converted(book.reader, 0, 0)
    name = book.sheets[chosen].name
    if sum(sheet.name == name for sheet in book.sheets) > 1:  # the second reader knows sheets by their names
        raise WorkbookRefused(f"several sheets have the name {name!r}", place=task.path.name, choice="rename them")
    with SecondReader(task.path, name, epoch_1904=book.epoch_1904) as second:
        PackageWriter(task.out, book, chosen).write(second.check(_not_too_wide(rows, task.most_columns)), beside)
        return Converted(book.reader, second.compared, second.ignored)


def _not_too_wide(rows: Iterator[OtherRow], most: int) -> Iterator[OtherRow]:
    """Yield the rows; refuse a sheet by its first ones if these have cells in more than so many columns.

    Raises:
        SheetError: they have.
    """
    columns = set[int]()
    for number, row in enumerate(rows):
        if number < _FIRST_ROWS:
            columns.update(cell.column for cell in row.cells)
            refuse_columns(len(columns), most)
        yield row


def _choose(book: OtherBook, name: str | None, beside: Surroundings) -> tuple[int, Iterator[OtherRow]]:
    """Return the index of the sheet of that name, else of the first visible one with rows, and its rows; -1: none."""
    sheets = [(n, sheet) for n, sheet in enumerate(book.sheets) if sheet.kind == "worksheet"]
    if name is not None:
        same = [n for n, s in sheets if s.name == name] or [
            n for n, s in sheets if s.name.casefold() == name.casefold()
        ]
        return (same[0], book.rows(same[0], beside)) if same else (-1, iter(()))
    visible = [(n, sheet) for n, sheet in sheets if sheet.visibility == "visible"]
    for number, _ in visible or sheets:
        beside.hidden_columns.clear()
        beside.merges.clear()
        rows = book.rows(number, beside)
        first = next(rows, None)
        if first is not None:
            return number, itertools.chain([first], rows)
        with contextlib.suppress(AttributeError):
            rows.close()  # type: ignore[attr-defined]
    return -1, iter(())
