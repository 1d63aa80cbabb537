"""Owns the cutting of a sheet into windows: runs of consecutive rows, each a small sheet that the engine reads alone.

The sheet part is inflated once, as a stream, and cut behind `</row>`. Cells are not looked at here. The first window
is small (the head): the header is looked for in it, and its texts do not make the columns of a larger window mixed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .archive import SHEET_OVERHEAD, StoredZip, add_frame, sheet_blocks, sheet_part
from .cutter import Cutter, row_range
from .dialect import plain_strings
from .errors import WorkbookRefused
from .package import Package
from .texts import keep_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from .settings import Limits
    from .sheetxml import Scan
    from .workbook import Sheet, Workbook

#: Rows that the header is looked for in. Title blocks above a table are rarely longer than 20 rows.
HEAD_ROWS = 64
#: With more shared strings than this, one worker reads: each further one parses them all and holds them.
ONE_READER_STRINGS = 48 << 20
#: Most XML of one window. 8 MiB keeps the engine's cells of a window in 30 MB, in the cache.
WINDOW_BYTES = 8 << 20
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
    """A run of sheet rows, as a cut in an archive.

    Attributes:
        number: 0-based; 0 is the head.
        first_row: sheet row of its first `<row>`, 1-based.
        last_row: sheet row of its last `<row>`.
        anchor: the row that pins the engine's positions, or None when the window starts at row 1.
        archive: the stored workbook that holds the cut.
        slot: which of the archive's sheets it is.
        offset: where the raw XML of its rows starts in the archive, in bytes.
        length: how long that XML is, in bytes.
        scan: what was seen in it, where the reader is not to look for itself.
    """

    number: int
    first_row: int
    last_row: int
    anchor: int | None
    archive: Path
    slot: int
    offset: int
    length: int
    scan: Scan | None = None


@dataclass(frozen=True)
class SheetFacts:
    """What a sheet's part says around its rows; complete when all windows were cut.

    Attributes:
        hidden_columns: 0-based inclusive ranges of columns that are hidden.
        merges: merged ranges, as written (`A1:B2`).
    """

    hidden_columns: tuple[tuple[int, int], ...]
    merges: tuple[str, ...]


def window_bytes(xml_bytes: int, workers: int) -> int:
    """The size of a sheet's windows: equal ones, and as many for each worker, because the last one out counts."""
    rounds = -(-xml_bytes // (workers * WINDOW_BYTES)) or 1
    return max(xml_bytes // (rounds * workers) + _ROW_ALLOWANCE, MIN_WINDOW_BYTES)


class Cutting:
    """A sheet on its way into windows; a context manager.

    The archive is made before the first cut, with slots for windows, so that workers open it (and parse its shared
    strings) while the sheet is still being inflated here. A slot is written again when its window was read: the
    inflated sheet never lies on the disk as a whole.

    Attributes:
        strings_bytes: size of the shared strings, inflated.
        xml_bytes: size of the sheet, as the zip directory declares it.

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
        self._folder = folder
        self._package = Package(workbook.path, limits)
        self.strings_bytes = 0
        self.xml_bytes = self._package.size(sheet.part)
        size = window_bytes(self.xml_bytes, max(workers, 1))
        try:
            self._cutter = Cutter(self._package, sheet, limits, size, head_rows, chunk_rows)
            self._archives = 0
            self._held: dict[int, tuple[Path, int]] = {}
            self._open_archive(max(workers, 1) + AHEAD + 1, size + SHEET_OVERHEAD)
        except BaseException:
            self._package.__exit__(None, None, None)
            raise

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
            yield self._put(number, first, last, rows)
            previous = last
        if self._workbook.path.stat().st_size != self._workbook.size:
            raise WorkbookRefused(
                "the file was changed while it was read", place=str(self._workbook.path), choice="run again"
            )

    @property
    def one_reader(self) -> bool:
        """Whether the shared strings are so many that a second reader would cost more memory than it brings."""
        return self.strings_bytes > ONE_READER_STRINGS

    def release(self, number: int) -> None:
        """The window of that number was read; its slot may be used again."""
        archive, slot = self._held.pop(number)
        if archive == self._archive:
            self._free.append(slot)

    def facts(self) -> SheetFacts:
        """What stands around the rows; to be asked after the last window."""
        return SheetFacts(self._cutter.hidden_columns(), self._cutter.merges())

    def width(self) -> int | None:
        """Columns of the declared used range, or None where none is declared; to be asked after the first window."""
        return self._cutter.width()

    def _put(self, number: int, first: int, last: int, rows: bytes) -> Window:
        anchor = first - 1 or None
        blocks = sheet_blocks(rows, anchor)
        size = sum(map(len, blocks))
        if not self._free or size > self._slot_bytes:
            # A longer row than expected, or more windows held than there are workers: another archive.
            self._open_archive(self._slots, max(self._slot_bytes, size))
        slot = self._free.popleft()
        self._held[number] = self._archive, slot
        offset = self._offsets[slot]
        with self._archive.open("r+b") as file:
            file.seek(offset)
            file.writelines(blocks)
        return Window(
            number, first, last, anchor, self._archive, slot, offset + len(blocks[0]) + len(blocks[1]), len(rows),
            scan=self._scan(rows),
        )  # fmt: skip

    def _scan(self, rows: bytes) -> Scan | None:
        """Help a lone reader, which is what everybody waits for: this process has a core to itself meanwhile."""
        if not self.one_reader:
            return None
        from .sheetxml import scan

        return scan(rows, self.width())

    def _open_archive(self, slots: int, slot_bytes: int) -> None:
        """A new archive with free slots, around the workbook's styles and shared strings."""
        book, package = self._workbook, self._package
        self._slots, self._slot_bytes = slots, slot_bytes
        self._archive = self._folder / f"windows-{self._archives}.zip"
        self._archives += 1
        with StoredZip(self._archive) as archive:
            if book.styles:
                archive.add("xl/styles.xml", package.stream(book.styles))
            if book.shared_strings:
                _, self.strings_bytes = archive.add(
                    "xl/sharedStrings.xml", keep_texts(plain_strings(package, book.shared_strings))
                )
            add_frame(
                archive,
                sheets=slots,
                epoch_1904=book.epoch_1904,
                strings=book.shared_strings is not None,
                styles=book.styles is not None,
            )
            self._offsets = [archive.reserve(sheet_part(slot), slot_bytes) for slot in range(slots)]
        self._free = deque(range(slots))
