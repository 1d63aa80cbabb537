"""Splits a text file into windows, as `windows` does for a sheet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from importer.decoding.tasks import Window
from importer.footer.footer import TAIL_ROWS
from importer.workers.allocator import keep_freed_memory
from importer.workers.own_process import is_own_program

from .windows import LARGE_BYTES, SheetFacts, Slots, WindowSizes, check_unchanged, window_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from importer.excel.workbook import Workbook
    from importer.settings import Limits
    from importer.text_files import TextDialect

#: A byte of a text file is as much work as so many bytes of a sheet's XML, which has tags around every value.
_XML_PER_BYTE = 4
#: Most bytes of a record. Until its end is found all of it is in memory, with the places of its line breaks.
_RECORD_BYTES = 64 << 20


class TextSplitter:
    """One pass that cuts a text file into windows; a context manager, used like a `windows.WindowSplitter`.

    A window is read where it stands in the file; one that is written otherwise there (in another encoding, with quotes
    that quote nothing) is stored as UTF-8 in a slot of another file.

    Attributes:
        xml_bytes: size of a sheet that would be as much work, in bytes of XML.
        strings_bytes: 0, there are no shared strings.
        styles: None, there are no styles.

    Args:
        workbook: the opened file.
        dialect: how it is written.
        folder: an existing spool folder.
        limits: resource limits for the file.
        sizes: what decides how large the windows are.
        quick: whether all quotes are taken for quotes, see `delimited.records`; the workers say if one is none.
    """

    strings_bytes = 0
    styles: Path | None = None

    def __init__(
        self,
        workbook: Workbook,
        dialect: TextDialect,
        folder: Path,
        limits: Limits,
        sizes: WindowSizes,
        *,
        quick: bool = False,
    ) -> None:
        # Imported for text files alone: a small workbook's run lasts less than a second.
        from importer.delimited.records import CutSizes, RecordCutter
        from importer.delimited.transcode import stream_utf8

        self.xml_bytes = workbook.size * _XML_PER_BYTE
        self._workbook, self._width = workbook, dialect.width
        size = window_bytes(workbook.size, max(sizes.workers, 1), 0)
        self._blocks = stream_utf8(workbook.path, dialect.encoding, dialect.skip, checked=dialect.checked)
        cuts = CutSizes(size, sizes.head_rows, sizes.chunk_rows, min(limits.row_bytes, _RECORD_BYTES), TAIL_ROWS)
        self._cutter = RecordCutter(self._blocks, dialect, cuts, workbook.path.name, quick=quick)
        self._slots = Slots(folder / "windows.txt", 2 * size)
        #: The file, if a window can be read there, and where its text begins.
        self._in_place = workbook.path.absolute() if dialect.encoding in {"utf-8", "ascii"} else None
        self._skip = dialect.skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(ValueError):  # it is being read by a thread that nobody waits for
            self._blocks.close()

    def windows(self) -> Iterator[Window]:
        """Yield each window as soon as its rows are in the file."""
        if self._workbook.size >= LARGE_BYTES and is_own_program():
            keep_freed_memory()  # each block needs as much as the one before it
        number = 0
        for number, cut in enumerate(self._cutter.cuts(), 1):
            if self._in_place is None or cut.offset is None:
                path, offset = self._slots.put(number - 1, cut.rows)
            else:
                path, offset = self._in_place, self._skip + cut.offset
            yield Window(number - 1, cut.first_line, cut.first_line + cut.lines - 1, path, offset, len(cut.rows))
        if not number:
            path, offset = self._slots.put(0, b"")
            yield Window(0, 1, 1, path, offset, 0)
        check_unchanged(self._workbook)

    def release(self, number: int) -> None:
        """Mark the window with this number as read, so that its slot can be reused."""
        self._slots.release(number)

    def facts(self) -> SheetFacts:
        """Return the facts outside the rows; call it after the last window was read, which may be in the file."""
        check_unchanged(self._workbook)
        bare, piece = self._cutter.bare, self._workbook.piece
        if not bare.count:
            return SheetFacts((), (), piece=piece)
        note = f"fields with quotes that quote nothing: {bare.count:,}, read as they are, the first in line {bare.line}"
        return SheetFacts((), (), notes=(note,), piece=piece)

    def width(self) -> int | None:
        """Return the number of columns."""
        return self._width
