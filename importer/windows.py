"""Owns the cutting of a sheet into windows: runs of consecutive rows, each a small sheet that the engine reads alone.

The sheet part is inflated once, as a stream, and cut behind `</row>`. Cells are not looked at here. The first window
is small (the head): the header is looked for in it, and its texts do not make the columns of a larger window mixed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .archive import SHEET_OVERHEAD, StoredZip, add_frame, sheet_blocks, sheet_part
from .dialect import plain_rows, plain_strings, wide_escapes
from .errors import WorkbookRefused
from .package import Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from .settings import Limits
    from .workbook import Sheet, Workbook

#: Rows that the header is looked for in. Title blocks above a table are rarely longer than 20 rows.
HEAD_ROWS = 64
#: XML of one window. 16 MiB keeps the engine's cells of a window in 60 MB; larger windows were not faster (FACTS 4).
WINDOW_BYTES = 16 << 20
#: A window smaller than this costs more in calls than it gains in balance between workers.
MIN_WINDOW_BYTES = 2 << 20

_ROW_TAG = re.compile(rb"<row\b([^>]*)>")
_ROW_NUMBER = re.compile(rb"""\br=["'](\d{1,7})["']""")
#: The last row that a sheet can have (Excel's specification).
MAX_ROWS = 1_048_576
#: What a cut may fall short of a full window, because rows are not torn apart.
_ROW_ALLOWANCE = 64 << 10


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
    """

    number: int
    first_row: int
    last_row: int
    anchor: int | None
    archive: Path
    slot: int
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


class Cutting:
    """A sheet on its way into windows; a context manager.

    The archive is made before the first cut, with a slot for each that is to come, so that workers open it (and parse
    its shared strings) while the sheet is still being inflated here.

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
        size = min(max(self.xml_bytes // max(2 * workers, 1), MIN_WINDOW_BYTES), WINDOW_BYTES)
        try:
            self._cutter = _Cutter(self._package, sheet, limits, size, head_rows, chunk_rows)
            self._archives = 0
            # Cuts end at row borders, so a window is a little less than full; two more for the head and the rest.
            self._open_archive(self.xml_bytes // max(size - _ROW_ALLOWANCE, 1) + 2, size + SHEET_OVERHEAD)
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
            # More rows or longer ones than the directory promised: another archive, with twice the slots.
            self._open_archive(2 * self._slots, max(self._slot_bytes, size))
        slot, offset = self._free.pop(0)
        with self._archive.open("r+b") as file:
            file.seek(offset)
            file.writelines(blocks)
        return Window(
            number, first, last, anchor, self._archive, slot, offset + len(blocks[0]) + len(blocks[1]), len(rows)
        )

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
                    "xl/sharedStrings.xml", _keep_texts(plain_strings(package, book.shared_strings))
                )
            add_frame(
                archive,
                sheets=slots,
                epoch_1904=book.epoch_1904,
                strings=book.shared_strings is not None,
                styles=book.styles is not None,
            )
            self._free = [(slot, archive.reserve(sheet_part(slot), slot_bytes)) for slot in range(slots)]


def row_range(rows: bytes, following: int) -> tuple[int, int]:
    """First and last sheet row of a cut; `following` is what a first row without a number counts as.

    A row without `r` is the one after its predecessor (ECMA-376 part 1, 18.3.1.73).
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


def _keep_texts(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The shared strings with leading and trailing spaces protected, and escapes decoded that the engine leaves.

    calamine trims a `<t>` that does not say `xml:space="preserve"`; some writers forget to say it. The attribute is
    added only to blocks that need it: it costs 21 bytes a string.
    """
    carry = b""
    for block in blocks:
        held = carry + block
        cut = held.rfind(b"<si>")
        if cut <= 0:
            carry = held
            continue
        yield wide_escapes(keep_spaces(held[:cut]))
        carry = held[cut:]
    yield wide_escapes(keep_spaces(carry))


def keep_spaces(xml: bytes) -> bytes:
    """`xml` with every plain `<t>` marked to keep its spaces, if one of them starts or ends with white space."""
    return xml.replace(b"<t>", b'<t xml:space="preserve">') if trims(xml) else xml


def trims(xml: bytes) -> bool:
    """Whether the engine would trim a text of `xml`: one with white space at an end, in a `<t>` without attributes."""
    if b"<t> " in xml or _trailing(xml, b" </t>"):
        return True
    # A space may also be written as a character reference.
    if b"&#" in xml and (b"<t>&#" in xml or _trailing(xml, b";</t>")):
        return True
    # Line breaks and tabs are rare enough that most blocks end here.
    if not any(c in xml for c in (b"\n", b"\t", b"\r")):
        return False
    return any(b"<t>" + c in xml or _trailing(xml, c + b"</t>") for c in (b"\n", b"\t", b"\r") if c in xml)


def _trailing(xml: bytes, end: bytes) -> bool:
    """Whether a plain `<t>` ends like that."""
    position = xml.find(end)
    while position >= 0:
        start = xml.rfind(b"<t", 0, position)
        if xml[start : start + 3] == b"<t>":
            return True
        position = xml.find(end, position + 1)
    return False


class _Cutter:
    """The state of one pass over a sheet part: what lies before, in and behind `<sheetData>`."""

    #: What precedes the rows: views, formats, column widths. Excel writes a few KiB.
    HEAD_BYTES = 64 << 20
    #: What follows the rows: merges, validations, links; only merges are used.
    TAIL_BYTES = 64 << 20

    def __init__(
        self, package: Package, sheet: Sheet, limits: Limits, window_bytes: int, head_rows: int, chunk_rows: int | None
    ) -> None:
        self._blocks = plain_rows(package, sheet.part)
        self._sheet = sheet
        self._limits = limits
        self._window_bytes = window_bytes
        self._head_rows = min(head_rows, chunk_rows or head_rows)
        self._chunk_rows = chunk_rows
        self._before = b""
        self._behind = bytearray()
        self._buffer = bytearray()
        self._done = False

    def cuts(self) -> Iterator[bytes]:
        """The raw XML of each window's rows; at least one cut, which may be empty."""
        self._skip_to_rows()
        yield from self._head()
        while True:
            while len(self._buffer) < self._window_bytes and self._fill():
                pass
            if not self._buffer:
                break
            yield from self._split(self._take())
        for block in self._blocks:
            if len(self._behind) < self.TAIL_BYTES:
                self._behind += block

    def _skip_to_rows(self) -> None:
        head = bytearray()
        for block in self._blocks:
            head += block
            match = re.search(rb"<sheetData\s*(/?)>", head)
            if match:
                self._before = bytes(head[: match.start()])
                self._buffer = head[match.end() :]
                self._done = bool(match[1])
                self._behind = self._buffer if self._done else bytearray()
                self._buffer = bytearray() if self._done else self._buffer
                self._find_end(0)
                return
            if len(head) > self.HEAD_BYTES:
                break
        raise self.refuse("has no rows element (sheetData)")

    def _fill(self) -> bool:
        """Append one block of rows; False at the end of the rows."""
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
        end = -1 if self._done else self._buffer.find(b"</sheetData", start)
        if end >= 0:
            self._behind = self._buffer[end:]
            del self._buffer[end:]
            self._done = True

    def _head(self) -> Iterator[bytes]:
        position = count = searched = 0
        while count < self._head_rows:
            end = self._buffer.find(b"</row>", max(position, searched))
            if end < 0:
                searched = len(self._buffer) - len(b"</row")
                if searched - position > self._limits.row_bytes:
                    raise self._endless_row()
                if not self._fill():
                    break
                continue
            position, count = end + 6, count + 1
        cut = bytes(self._buffer[:position])
        del self._buffer[:position]
        yield cut

    def _take(self) -> bytes:
        """The longest run of whole rows in the buffer that is no longer than a window (or one row)."""
        if self._done and len(self._buffer) <= self._window_bytes:
            cut = len(self._buffer)
        else:
            cut = self._buffer.rfind(b"</row>", 0, self._window_bytes) + 6
            while cut < 6:  # noqa: PLR2004 - not found: one row is larger than a window
                cut = self._buffer.find(b"</row>") + 6
                if cut < 6 and (len(self._buffer) > self._limits.row_bytes or not self._fill()):  # noqa: PLR2004
                    raise self._endless_row()
        rows = bytes(self._buffer[:cut])
        del self._buffer[:cut]
        return rows

    def _endless_row(self) -> WorkbookRefused:
        return self.refuse(f"has a row of more than {self._limits.row_bytes:,} bytes, or one without end")

    def _split(self, rows: bytes) -> Iterator[bytes]:
        """The cut, or cuts of at most `chunk_rows` rows each."""
        if self._chunk_rows is None or rows.count(b"</row>") <= self._chunk_rows:
            yield rows
            return
        pieces = rows.split(b"</row>")
        for start in range(0, len(pieces), self._chunk_rows):
            part = b"</row>".join(pieces[start : start + self._chunk_rows])
            last = start + self._chunk_rows >= len(pieces)
            if part.strip() or not last:
                yield part if last else part + b"</row>"

    def hidden_columns(self) -> tuple[tuple[int, int], ...]:
        found = []
        for tag in re.findall(rb"<col\b[^>]*>", self._before):
            bounds = re.search(rb'\bmin="(\d+)"', tag), re.search(rb'\bmax="(\d+)"', tag)
            if re.search(rb'\bhidden="(?:1|true)"', tag) and bounds[0] and bounds[1]:
                found.append((int(bounds[0][1]) - 1, int(bounds[1][1]) - 1))
        return tuple(found)

    def merges(self) -> tuple[str, ...]:
        return tuple(
            ref.decode("ascii", "replace")
            for ref in re.findall(rb'<mergeCell\b[^>]*\bref="([^"]{2,32})"', bytes(self._behind))
        )

    def width(self) -> int | None:
        match = re.search(rb'<dimension\b[^>]*\bref="(?:[A-Z]+\d+:)?([A-Z]{1,3})\d+"', self._before)
        return column_index(match[1].decode()) + 1 if match else None

    def refuse(self, fact: str) -> WorkbookRefused:
        """The error for a sheet of which that fact holds."""
        return WorkbookRefused(f"sheet {self._sheet.name!r} {fact}", choice="open it in Excel and save it again")


def column_index(letters: str) -> int:
    """0-based index of a column: `A` is 0, `XFD` is 16383."""
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - 64
    return index - 1


def column_letters(index: int) -> str:
    """The letters of a 0-based column index."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
