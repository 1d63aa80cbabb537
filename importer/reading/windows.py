"""Splits a sheet into windows: runs of consecutive rows, each decoded as a small sheet of its own.

The sheet part is inflated once, as a stream, and cut after `</row>`; cells are not examined here. The first window (the
head) is small: the header is searched in it, and its texts do not make the columns of a larger window mixed.
"""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from importer.decoding.tasks import Window
from importer.errors import SheetError, WorkbookRefused
from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS, column_letters
from importer.excel.normalize_xml import normalize_styles
from importer.excel.package import Package
from importer.excel.table_parts import ExcelTable, holds_pictures, read_tables
from importer.workers.allocator import keep_freed_memory
from importer.workers.own_process import is_own_program

from .row_splitter import RowSplitter, row_range

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path
    from types import TracebackType

    from importer.cells.facts import ColumnFacts
    from importer.excel.workbook import Piece, Sheet, Workbook
    from importer.settings import Limits, Settings
    from importer.table.header_rows import HeaderRows

#: Number of rows at the top that are searched for the header. Title blocks above a table rarely exceed 20 rows, and
#: those of measuring devices reach 64.
HEAD_ROWS = 128
#: Maximum XML size of a window. With 6 MiB the engine's cells of a window take 25 MB and stay in the cache.
WINDOW_BYTES = 6 << 20
#: Windows of long rows may be larger, to hold this many rows: every column of every window costs a few calls.
WINDOW_ROWS = 2_500
#: Maximum XML size of a window of long rows.
LONG_ROWS_BYTES = 12 << 20
#: Minimum size of a window: a smaller one costs more in calls than it gains in balance between workers.
MIN_WINDOW_BYTES = 1 << 20
#: Number of bytes by which a window may fall short of its full size, because rows are never split.
_ROW_ALLOWANCE = 64 << 10

#: The engine judges samples of sheets with at least so much XML. To load it takes longer than to read smaller ones.
_JUDGED_FROM_BYTES = 4 << 20
#: It judges the head, and of the windows after it the first and every so many-th.
_JUDGED_EVERY = 8
#: Of a hundred bytes one is judged: the engine takes up to five times as long for it as our decoder.
_JUDGED_SHARE, _JUDGED_HEAD = 100, 64 << 10
#: Cutting so much XML would fault in more memory anew than our program keeps for it.
LARGE_BYTES = 32 << 20
#: Number of windows that are cut before a worker asks for them.
WINDOWS_AHEAD = 2


@dataclass(frozen=True)
class SheetFacts:
    """Facts from the sheet part outside its rows; complete once all windows have been cut.

    Attributes:
        hidden_columns: ranges of hidden columns, 0-based and inclusive.
        merges: merged ranges, as written (`A1:B2`).
        tables: Excel tables of the sheet.
        notes: what the report says about how the rows were written.
        piece: the piece of the sheet that is read; None for all of it.
        other_tables: ranges of the sheet's tables that are not read, where it has several.
        doubtful_tables: ranges that were read as a part of the table, and may be tables of their own.
        fits: what the table was chosen for, such as the contract whose columns it has; empty if it is the largest.
        header: the header rows, where what the columns are called decides that; None: they are found in the cells.
        pictures: whether the workbook has pictures in cells.
    """

    hidden_columns: tuple[tuple[int, int], ...]
    merges: tuple[str, ...]
    tables: tuple[ExcelTable, ...] = ()
    notes: tuple[str, ...] = ()
    piece: Piece | None = None
    other_tables: tuple[str, ...] = ()
    doubtful_tables: tuple[str, ...] = ()
    fits: str = ""
    header: HeaderRows | None = None
    pictures: bool = False


def hidden_columns(cut: SheetFacts, columns: Container[int]) -> list[int]:
    """Return those of the columns (0-based) that are hidden, in the order of the sheet."""
    return [c for low, high in cut.hidden_columns for c in range(low, min(high + 1, MAX_COLUMNS)) if c in columns]


def check_hidden(settings: Settings, cut: SheetFacts, rows: int, columns: set[int], sheet: Sheet) -> None:
    """Raise SheetError if rows or columns are hidden and the settings forbid that."""
    hidden = hidden_columns(cut, columns)
    if settings.hidden == "error" and (rows or hidden):
        letters = ", ".join(map(column_letters, hidden)) or "none"
        raise SheetError(
            f"sheet {sheet.name!r} has {rows:,} hidden rows and hidden columns {letters}",
            choice="--hidden include or skip",
        )


class DataPart(NamedTuple):
    """The data rows of a window.

    Attributes:
        facts: facts by sheet column.
        rows: number of rows, hidden ones included.
        hidden: number of hidden rows among them.
        left_out: number of cells in rows that are left out below the header, by sheet column.
        first_row: sheet row of the first of the rows (0: none).
        last_row: sheet row of the last of them.
    """

    facts: dict[int, ColumnFacts]
    rows: int
    hidden: int
    left_out: dict[int, int]
    first_row: int
    last_row: int


def window_bytes(xml_bytes: int, workers: int, row_bytes: int) -> int:
    """Return the window size in bytes that gives every worker the same number of windows of equal size.

    The reading takes as long as its slowest worker, hence the even split.

    Args:
        xml_bytes: inflated size of the sheet.
        workers: number of workers that read it.
        row_bytes: average size of a row.
    """
    most = min(max(WINDOW_BYTES, row_bytes * WINDOW_ROWS), LONG_ROWS_BYTES)
    rounds = -(-xml_bytes // (workers * most)) or 1
    return max(xml_bytes // (rounds * workers) + _ROW_ALLOWANCE, MIN_WINDOW_BYTES)


def judged_bytes(xml_bytes: int, number: int) -> int:
    """Return how many bytes of a window the engine reads as well, to judge our decoder; 0 for most windows.

    Args:
        xml_bytes: inflated size of the sheet.
        number: number of the window.
    """
    if xml_bytes < _JUDGED_FROM_BYTES or (number and number % _JUDGED_EVERY != 1):
        return 0
    windows = -(-xml_bytes // (WINDOW_BYTES * _JUDGED_EVERY))
    return xml_bytes // _JUDGED_SHARE // windows if number else _JUDGED_HEAD


class WindowSizes(NamedTuple):
    """What decides how large the windows of a sheet are.

    Attributes:
        head_rows: number of `<row>` elements in the head window; at least the number of the last header row.
        chunk_rows: maximum number of rows in a window, or None to limit windows by size only.
        workers: number of workers that will read; small sheets are cut so that all of them have work.
    """

    head_rows: int
    chunk_rows: int | None
    workers: int


class WindowSplitter:
    """One pass that cuts a sheet into windows; a context manager.

    Windows are stored in slots of a file. A slot is reused once its window has been read, so the inflated sheet is
    never on disk as a whole.

    Attributes:
        xml_bytes: inflated size of the sheet, as declared in the zip directory; more is refused.
        strings_bytes: the same of the shared strings; 0 if the workbook has none.
        styles: file with the inflated styles part, or None if the workbook has none.

    Args:
        workbook: the opened workbook.
        sheet: one of its worksheets.
        folder: an existing spool folder.
        limits: resource limits for the workbook.
        sizes: what decides how large the windows are.

    Raises:
        WorkbookRefused: the sheet is damaged, hostile, or not worksheet XML; also raised while cutting.
    """

    def __init__(self, workbook: Workbook, sheet: Sheet, folder: Path, limits: Limits, sizes: WindowSizes) -> None:
        self._workbook = workbook
        self._package = Package(workbook.container, limits)
        try:
            self.xml_bytes = self._package.size(sheet.part)
            self.strings_bytes = self._package.size(workbook.shared_strings) if workbook.shared_strings else 0
            self.styles = self._extract(workbook.styles, folder / "styles.xml") if workbook.styles else None
            self._tables = read_tables(self._package, sheet.part)
            self._pictures = holds_pictures(self._package)
            size = functools.partial(window_bytes, self.xml_bytes, max(sizes.workers, 1))
            self._splitter = RowSplitter(self._package, sheet, limits, size, sizes.head_rows, sizes.chunk_rows)
            # The unused rest of a slot takes no disk space: the file is sparse there.
            self._slots = Slots(folder / "windows.xml", size(LONG_ROWS_BYTES))
        except BaseException:
            self._package.__exit__(None, None, None)
            raise

    def _extract(self, part: str, path: Path) -> Path:
        with path.open("wb") as file:
            file.writelines(normalize_styles(self._package, part))
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._package.__exit__(kind, error, tb)

    def windows(self) -> Iterator[Window]:
        """Yield each window as soon as its rows are in the file."""
        if self.xml_bytes >= LARGE_BYTES and is_own_program():
            keep_freed_memory()  # each block of XML needs as much as the one before it
        previous = 0
        cuts = (rows for n, rows in enumerate(self._splitter.cuts()) if n == 0 or rows.strip())
        for number, rows in enumerate(cuts):
            first, last = row_range(rows, previous + 1)
            if last > MAX_ROWS:
                raise self._splitter.refuse(f"has a row beyond {MAX_ROWS:,}, the last that a sheet can have")
            path, offset = self._slots.put(number, rows)
            yield Window(number, first, last, path, offset, len(rows))
            previous = last
        check_unchanged(self._workbook)

    def release(self, number: int) -> None:
        """Mark the window with this number as read, so that its slot can be reused."""
        self._slots.release(number)

    def facts(self) -> SheetFacts:
        """Return the facts outside the rows; call it after the last window."""
        return SheetFacts(
            self._splitter.hidden_columns(), self._splitter.merges(), self._tables, piece=self._workbook.piece,
            pictures=self._pictures,
        )  # fmt: skip

    def width(self) -> int | None:
        """Return the number of columns in the declared used range, or None; call it after the first window."""
        return self._splitter.width()


def check_unchanged(workbook: Workbook) -> None:
    """Raise WorkbookRefused if the file has another size than when it was opened, or was written to since."""
    found = workbook.path.stat()
    modified = workbook.dialect.modified if workbook.dialect is not None else None
    if found.st_size != workbook.size or modified not in {None, found.st_mtime_ns}:
        raise WorkbookRefused("the file was changed while it was read", place=str(workbook.path), choice="run again")


class Slots:
    """A file divided into reusable slots for windows.

    Args:
        path: the file, created if missing.
        room: size of a slot in bytes; a longer window gets its own place at the end of the file.
    """

    def __init__(self, path: Path, room: int) -> None:
        self._path = path
        self._room = room
        self._end = 0
        self._free: deque[int] = deque()
        self._held: dict[int, int] = {}
        path.touch()

    def put(self, number: int, rows: bytes | memoryview) -> tuple[Path, int]:
        """Write a window and return the file and the window's offset in it."""
        fits = len(rows) <= self._room
        if fits and self._free:
            offset = self._free.popleft()
        else:
            offset = self._end
            self._end += self._room if fits else len(rows)
        if fits:
            self._held[number] = offset
        with self._path.open("r+b") as file:
            file.seek(offset)
            file.write(rows)
        return self._path, offset

    def release(self, number: int) -> None:
        """Make the slot of a window available again."""
        if number in self._held:
            self._free.append(self._held.pop(number))
