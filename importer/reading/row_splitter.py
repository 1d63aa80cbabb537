"""Splits a sheet part at row borders into cuts of bounded size, and keeps the XML before and after the rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from importer.errors import WorkbookRefused
from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS, column_index
from importer.excel.byte_search import holds_declaration, holds_pair
from importer.excel.normalize_xml import normalize_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from importer.excel.package import Package
    from importer.excel.workbook import Sheet
    from importer.settings import Limits

_ROW_TAG = re.compile(rb"<row\b([^>]*)>")
_ROW_NUMBER = re.compile(rb"""\br=["']0*(\d{1,7})["']""")
_ROW_END = re.compile(rb"</row>|<row\b[^>]*/>")
#: A head of more XML than this ends at the next row without cells.
_MAX_HEAD_BYTES = 4 << 20
_ROWS_END = b"</sheetData"
_LETTERS = re.compile(rb'r="([A-Z]{1,3})\d')
#: Least XML of a row with a cell: `<row r="1"><c r="A1"><v>1</v></c></row>`.
_LEAST_ROW_BYTES = 38
#: Most values and nulls of a window: as many rows, times the columns of the sheet's declared range or of its head.
WINDOW_VALUES = 16_000_000
#: Windows of sheets with many columns have no fewer rows than this for that reason.
_LEAST_ROWS = 2_500


def row_range(rows: bytes, following: int) -> tuple[int, int]:
    """Return the first and last sheet row of a cut; a first row without a number counts as row `following`.

    A row without `r` comes right after its predecessor (ECMA-376 part 1, 18.3.1.73).
    """
    start = _ROW_TAG.search(rows)
    if start is None:
        return following, following
    number = _ROW_NUMBER.search(start[1])
    first = int(number[1]) if number else following
    end = _ROW_TAG.match(rows, rows.rfind(b"<row"))
    number = _ROW_NUMBER.search(end[1]) if end else None
    if number:
        return first, max(int(number[1]), first)
    last = first - 1
    for tag in _ROW_TAG.finditer(rows):
        number = _ROW_NUMBER.search(tag[1])
        last = int(number[1]) if number else last + 1
    return first, last


def _end_of_row(rows: bytes, following: bytes) -> int:
    """Return up to which offset the rows that follow on some others have the number of the last of these."""
    last = _ROW_TAG.match(rows, rows.rfind(b"<row"))
    number = _ROW_NUMBER.search(last[1]) if last else None
    if number is None:
        return 0
    for before, tag in enumerate(_ROW_TAG.finditer(following)):
        other = _ROW_NUMBER.search(tag[1])
        if other is None or other[1] != number[1]:
            # What stands between two rows may be a comment with what looks like a row.
            return following.rfind(b">", 0, tag.start()) + 1 if before else 0
    return len(following) if _ROW_TAG.search(following) else 0


class RowSplitter:
    """The state of one pass over a sheet part: the XML before, in and after `<sheetData>`."""

    #: Maximum XML before the rows: views, formats, column widths. Excel writes a few KiB.
    MAX_HEAD_BYTES = 64 << 20
    #: Maximum XML kept from after the rows: merges, validations, links; only merges are used.
    MAX_TAIL_BYTES = 64 << 20

    def __init__(
        self,
        package: Package,
        sheet: Sheet,
        limits: Limits,
        window_bytes: Callable[[int], int],
        head_rows: int,
        chunk_rows: int | None,
    ) -> None:
        self._blocks = normalize_rows(package, sheet.part)
        self._sheet = sheet
        self._limits = limits
        self._size = window_bytes
        self._window_bytes = window_bytes(0)
        self._head_rows = min(head_rows, chunk_rows or head_rows)
        self._chunk_rows = chunk_rows
        #: Most rows of a window behind the head: a sparse one may have few cells in each of many columns.
        self._most_rows: int | None = None
        self._before = b""
        self._after = bytearray()
        self._buffer = bytearray()
        self._done = False

    def cuts(self) -> Iterator[bytes]:
        """Yield the raw XML of each window's rows; at least one cut, which may be empty.

        A row that is written in several `<row>` elements (one for each cell, say) is not cut.
        """
        cuts = self._cuts()
        rows = next(cuts)
        for cut in cuts:
            end = _end_of_row(rows, cut)
            if end == len(cut) > 0:
                rows += cut
                if len(rows) > self._limits.row_bytes:
                    raise self._endless_row()
                continue
            yield rows + cut[:end] if end else rows
            rows = cut[end:] if end else cut
        yield rows

    def _cuts(self) -> Iterator[bytes]:
        """Yield cuts that end after `</row>`."""
        self._skip_to_rows()
        yield from self._head()
        while True:
            while len(self._buffer) < self._window_bytes and self._fill():
                pass
            if not self._buffer:
                break
            yield from self._split(self._take())
        for block in self._blocks:
            if len(self._after) < self.MAX_TAIL_BYTES:
                self._after += block

    def _skip_to_rows(self) -> None:
        head = bytearray()
        for block in self._blocks:
            head += block
            match = re.search(rb"<sheetData\s*(/?)>", head)
            if match:
                self._before = bytes(head[: match.start()])
                self._buffer = head[match.end() :]
                self._done = bool(match[1])
                self._after = self._buffer if self._done else bytearray()
                self._buffer = bytearray() if self._done else self._buffer
                self._find_end(0)
                return
            if len(head) > self.MAX_HEAD_BYTES:
                break
        raise self.refuse("has no rows element (sheetData)")

    def _fill(self) -> bool:
        """Append one block of rows to the buffer; return False at the end of the rows."""
        if self._done:
            return False
        block = next(self._blocks, None)
        if block is None:
            raise self.refuse("ends in the middle of its rows")
        start = max(len(self._buffer) - 16, 0)
        self._buffer += block
        self._find_end(start)
        return True

    def _find_end(self, start: int) -> None:
        # Two letters of it that are rarely together: to search for these takes a quarter of the time.
        end = self._buffer.find(_ROWS_END, start) if not self._done and holds_pair(self._buffer, b"tD", start) else -1
        if end >= 0:
            self._after = self._buffer[end:]
            del self._buffer[end:]
            self._done = True

    def _head(self) -> Iterator[bytes]:
        position = count = searched = 0
        while count < self._head_rows:
            end = _ROW_END.search(self._buffer, max(position, searched))
            if end is None:
                searched = self._buffer.rfind(b"<", position)  # a tag of which only the start is here
                if len(self._buffer) - position > self._limits.row_bytes:
                    raise self._endless_row()
                if not self._fill():
                    break
                continue
            # Rows without cells, written in one tag, are not counted: there may be thousands above a table.
            cells = end[0].startswith(b"</")
            position, count = end.end(), count + cells
            if not cells and position > _MAX_HEAD_BYTES:
                break
        cut = bytes(self._buffer[:position])
        del self._buffer[:position]
        self._window_bytes = self._size(position // max(count, 1))
        letters = {column_index(found.decode()) + 1 for found in set(_LETTERS.findall(cut))}
        self._most_rows = max(WINDOW_VALUES // max(letters | {self.width() or 1}), _LEAST_ROWS)
        yield cut

    def _take(self) -> bytes:
        """Remove and return the longest run of whole rows in the buffer that fits a window (at least one row)."""
        if self._done and len(self._buffer) <= self._window_bytes:
            cut = len(self._buffer)
        else:
            cut = self._last_row_end()
            while cut < 6:  # noqa: PLR2004 - not found: one row is larger than a window
                cut = self._buffer.find(b"</row>") + 6
                if cut < 6 and (len(self._buffer) > self._limits.row_bytes or not self._fill()):  # noqa: PLR2004
                    raise self._endless_row()
        if self._has_marks(cut):
            cut = self._outside_marks(cut)
        with memoryview(self._buffer) as view:
            rows = bytes(view[:cut])
        del self._buffer[:cut]
        return rows

    def _has_marks(self, cut: int) -> bool:
        """Return whether there may be a comment or CDATA before a cut."""
        return holds_declaration(self._buffer, cut)

    def _outside_marks(self, cut: int) -> int:
        """Return the first end of a row from a cut on that is in no comment or CDATA."""
        start = self._buffer.find(b"<!")
        while 0 <= start < cut:
            comment = self._buffer.startswith(b"<!--", start)
            end = self._behind(b"-->" if comment else b"]]>", start + len(b"<!--"))
            cut = cut if end <= cut else self._behind(b"</row>", end)
            start = self._buffer.find(b"<!", end)
        return cut

    def _behind(self, mark: bytes, start: int) -> int:
        """Return the offset behind the first `mark` from `start` on; the end of the rows if there is none."""
        searched = start
        while (found := self._buffer.find(mark, searched)) < 0:
            searched = max(len(self._buffer) - len(mark), start)
            if len(self._buffer) - start > self._limits.row_bytes:
                raise self._endless_row()
            if not self._fill():
                return len(self._buffer)
        return found + len(mark)

    def _last_row_end(self) -> int:
        """Return the end of the last whole row that fits a window; less than 6 if the first one does not."""
        end = self._buffer.rfind(b"</row>", 0, self._window_bytes) + 6
        if end >= 6:  # noqa: PLR2004 - found
            return end
        # Rows without cells may be single tags: all that comes before the last tag of a row is whole.
        start = self._buffer.rfind(b"<row", 0, self._window_bytes)
        return start if start > 0 and self._buffer[:start].strip() else 0

    def _endless_row(self) -> WorkbookRefused:
        return self.refuse(f"has a row of more than {self._limits.row_bytes:,} bytes, or one without end")

    def _split(self, rows: bytes) -> Iterator[bytes]:
        """Yield the cut as it is, or split into cuts of at most so many rows each."""
        most = min(self._chunk_rows or MAX_ROWS, self._most_rows or MAX_ROWS)
        if (len(rows) <= most * _LEAST_ROW_BYTES and self._chunk_rows is None) or rows.count(b"</row>") <= most:
            yield rows
            return
        pieces = rows.split(b"</row>")
        for start in range(0, len(pieces), most):
            part = b"</row>".join(pieces[start : start + most])
            last = start + most >= len(pieces)
            if part.strip() or not last:
                yield part if last else part + b"</row>"

    def hidden_columns(self) -> tuple[tuple[int, int], ...]:
        """Return the ranges of hidden columns, 0-based and inclusive, in order and without overlap."""
        hidden = bytearray(MAX_COLUMNS)
        for tag in set(re.findall(rb"<col\b[^>]*>", self._before)):
            low, high = re.search(rb'\bmin="(\d{1,5})"', tag), re.search(rb'\bmax="(\d{1,5})"', tag)
            if low and high and re.search(rb'\bhidden="(?:1|true)"', tag):
                first, last = max(int(low[1]), 1), min(int(high[1]), MAX_COLUMNS)
                hidden[first - 1 : last] = b"\x01" * max(last - first + 1, 0)
        return tuple((found.start(), found.end() - 1) for found in re.finditer(rb"\x01+", hidden))

    def merges(self) -> tuple[str, ...]:
        """Return the merged ranges as written; known once all rows have been cut."""
        return tuple(
            ref.decode("ascii", "replace")
            for ref in re.findall(rb'<mergeCell\b[^>]*\bref="([^"]{2,32})"', bytes(self._after))
        )

    def width(self) -> int | None:
        """Return the number of columns in the declared used range, or None; known once the first row has been cut."""
        match = re.search(rb'<dimension\b[^>]*\bref="(?:[A-Z]+\d+:)?([A-Z]{1,3})\d+"', self._before)
        return column_index(match[1].decode()) + 1 if match else None

    def refuse(self, fact: str) -> WorkbookRefused:
        """Return the error that refuses the sheet because of `fact`."""
        return WorkbookRefused(f"sheet {self._sheet.name!r} {fact}", choice="open it in Excel and save it again")
