"""Owns the cutting of a sheet into windows: runs of consecutive rows, each a small sheet that the engine reads alone.

The sheet part is inflated once, as a stream, and cut behind `</row>`. Cells are not looked at here. The first window
is small (the head): the header is looked for in it, and its texts do not make the columns of a larger window mixed.
"""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .cutter import Cutter, row_range
from .errors import WorkbookRefused
from .package import Package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from .settings import Limits
    from .workbook import Sheet, Workbook

#: Rows that the header is looked for in. Title blocks above a table are rarely longer than 20 rows.
HEAD_ROWS = 64
#: Most XML of one window. 6 MiB keep the engine's cells of a window in 25 MB, in the cache.
WINDOW_BYTES = 6 << 20
#: A window of long rows is larger, so that it has so many of them: each column of each window costs some calls.
WINDOW_ROWS = 2_500
#: Most XML of such a window.
LONG_ROWS_BYTES = 12 << 20
#: A window smaller than this costs more in calls than it gains in balance between workers.
MIN_WINDOW_BYTES = 1 << 20
#: What a cut may fall short of a full window, because rows are not torn apart.
_ROW_ALLOWANCE = 64 << 10

#: The last row that a sheet can have (Excel's specification).
MAX_ROWS = 1_048_576
#: Windows that are cut before a worker asks for them.
AHEAD = 2


@dataclass(frozen=True)
class Window:
    """A run of sheet rows, whose XML lies in a file.

    Attributes:
        number: 0-based; 0 is the head.
        first_row: sheet row of its first `<row>`, 1-based.
        last_row: sheet row of its last `<row>`.
        path: the file.
        offset: where the XML starts, in bytes.
        length: how long it is, in bytes.
    """

    number: int
    first_row: int
    last_row: int
    path: Path
    offset: int
    length: int


@dataclass(frozen=True)
class SheetFacts:
    """What a sheet's part says around its rows; complete when all windows were cut.

    Attributes:
        hidden_columns: 0-based inclusive ranges of columns that are hidden.
        merges: merged ranges, as written (`A1:B2`).
    """

    hidden_columns: tuple[tuple[int, int], ...]
    merges: tuple[str, ...]


def window_bytes(xml_bytes: int, workers: int, row_bytes: int) -> int:
    """The size of a sheet's windows: equal ones, and as many for each worker, because the last one out counts.

    Args:
        xml_bytes: of the sheet.
        workers: that read it.
        row_bytes: of a row of it.
    """
    most = min(max(WINDOW_BYTES, row_bytes * WINDOW_ROWS), LONG_ROWS_BYTES)
    rounds = -(-xml_bytes // (workers * most)) or 1
    return max(xml_bytes // (rounds * workers) + _ROW_ALLOWANCE, MIN_WINDOW_BYTES)


class Cutting:
    """A sheet on its way into windows; a context manager.

    Windows lie in slots of a file; a slot is written again when its window was read: the inflated sheet never lies on
    the disk as a whole.

    Attributes:
        xml_bytes: size of the sheet, as the zip directory declares it.
        styles: the inflated styles part, or None where the workbook has none.

    Args:
        workbook: the opened workbook.
        sheet: one of its worksheets.
        folder: an existing spool folder.
        limits: what the workbook may cost.
        head_rows: `<row>` elements of the head window; at least the last header row.
        chunk_rows: most rows of a window, or None for windows by size only.
        workers: how many will read; small sheets are cut so that all have work.

    Raises:
        WorkbookRefused: the sheet is damaged, hostile, or not XML of a worksheet; also while cutting.
    """

    def __init__(
        self,
        workbook: Workbook,
        sheet: Sheet,
        folder: Path,
        limits: Limits,
        *,
        head_rows: int,
        chunk_rows: int | None,
        workers: int,
    ) -> None:
        self._workbook = workbook
        self._package = Package(workbook.path, limits)
        try:
            self.xml_bytes = self._package.size(sheet.part)
            self.styles = self._unpacked(workbook.styles, folder / "styles.xml") if workbook.styles else None
            size = functools.partial(window_bytes, self.xml_bytes, max(workers, 1))
            self._cutter = Cutter(self._package, sheet, limits, size, head_rows, chunk_rows)
            # What a slot does not use of its room takes no space: nothing is written there.
            self._slots = _Slots(folder / "windows.xml", size(LONG_ROWS_BYTES))
        except BaseException:
            self._package.__exit__(None, None, None)
            raise

    def _unpacked(self, part: str, path: Path) -> Path:
        with path.open("wb") as file:
            file.writelines(self._package.stream(part))
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._package.__exit__(kind, error, tb)

    def windows(self) -> Iterator[Window]:
        """Each window as soon as its rows lie in the archive."""
        previous = 0
        for number, rows in enumerate(self._cutter.cuts()):
            first, last = row_range(rows, previous + 1)
            if last > MAX_ROWS:
                raise self._cutter.refuse(f"has a row beyond {MAX_ROWS:,}, the last that a sheet can have")
            path, offset = self._slots.put(number, rows)
            yield Window(number, first, last, path, offset, len(rows))
            previous = last
        if self._workbook.path.stat().st_size != self._workbook.size:
            raise WorkbookRefused(
                "the file was changed while it was read", place=str(self._workbook.path), choice="run again"
            )

    def release(self, number: int) -> None:
        """The window of that number was read; its slot may be used again."""
        self._slots.release(number)

    def facts(self) -> SheetFacts:
        """What stands around the rows; to be asked after the last window."""
        return SheetFacts(self._cutter.hidden_columns(), self._cutter.merges())

    def width(self) -> int | None:
        """Columns of the declared used range, or None where none is declared; to be asked after the first window."""
        return self._cutter.width()


class _Slots:
    """A file with room for windows, used again and again.

    Args:
        path: of the file.
        room: bytes of a slot; a longer window gets a place of its own behind them.
    """

    def __init__(self, path: Path, room: int) -> None:
        self._path = path
        self._room = room
        self._end = 0
        self._free: deque[int] = deque()
        self._held: dict[int, int] = {}
        path.touch()

    def put(self, number: int, rows: bytes) -> tuple[Path, int]:
        """Write a window; returns the file, and where it starts there."""
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
        """Let the slot of a window be used again."""
        if number in self._held:
            self._free.append(self._held.pop(number))
