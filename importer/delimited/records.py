"""Cuts the text of a file into runs of whole records, in which every quote opens, closes or is doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.errors import CellsDisputed, LimitExceeded, WorkbookRefused

from .bare_quotes import BareQuotes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from importer.text_files import TextDialect

    Positions = NDArray[np.int64]
    Bytes = NDArray[np.uint8]

QUOTE, RETURN = 0x22, 0x0D
#: Bytes whose quotes and line ends are looked for at once.
_PIECE_BYTES = 1 << 20
#: Bytes at the end of a run in which its last record may end.
_TAIL_BYTES = 1 << 16
#: Bytes of a last run that takes a worker long enough for the others to be idle meanwhile.
_LONG_END_BYTES = 2 << 20
_NONE = np.empty(0, np.int64)


def count_byte(data: bytes | memoryview, byte: bytes) -> int:
    """Return how often a byte occurs: `bytes.count` takes five times as long where it is frequent."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == byte[0]))


def are_quotes_valid(data: Bytes, quotes: Positions, dialect: TextDialect, *, inside: bool = False) -> bool:
    """Return whether every quote opens a field, closes one, or is one of two that stand for one.

    Args:
        data: the bytes.
        quotes: places of the quotes.
        dialect: how the text is written.
        inside: whether the first of them closes a field.
    """
    eol = dialect.eol[0]
    borders = np.zeros(256, bool)
    borders[[dialect.delimiter[0], eol, QUOTE]] = True
    opening, closing = quotes[inside::2], quotes[1 - inside :: 2]
    opens = borders[data[opening[opening > 0] - 1]]
    closing = closing[closing + 1 < len(data)]
    after = data[closing + 1]
    closes = borders[after]
    if dialect.eol == b"\n" and not closes.all():
        returns = np.flatnonzero(~closes & (after == RETURN) & (closing + 2 < len(data)))
        closes[returns] = data[closing[returns] + 2] == eol
        closes |= (after == RETURN) & (closing + 2 >= len(data))
    return bool(opens.all() and closes.all())


class Cut(NamedTuple):
    """A run of records.

    Attributes:
        rows: their bytes, in UTF-8; the last one ends with a line end.
        first_line: line of the first one, 1-based.
        lines: number of lines that they take.
        offset: where they stand in the text that was cut, in bytes; None if they are written otherwise there.
    """

    rows: memoryview
    first_line: int
    lines: int
    offset: int | None


class CutSizes(NamedTuple):
    """How large the runs are.

    Attributes:
        size: bytes of a run, about.
        head: records of the first run.
        most: most records of a run, or None.
        record: most bytes of one record.
        tail: records of the last run, if it would be long: they are read alone, after all others. 0: no such run.
    """

    size: int
    head: int
    most: int | None
    record: int
    tail: int = 0


class RecordCutter:
    """One pass over a text.

    Args:
        blocks: the text in UTF-8, in blocks.
        dialect: how it is written.
        sizes: how large the runs are.
        place: name of the file, for messages.
        quick: whether runs after the first are cut at a line end that an even number of quotes precedes. Whoever reads
            them has to look whether every quote in them has a meaning.

    Attributes:
        bare: what was rewritten of quotes that quote nothing.
    """

    def __init__(
        self, blocks: Iterator[bytes], dialect: TextDialect, sizes: CutSizes, place: str, *, quick: bool = False
    ) -> None:
        self._blocks, self._sizes, self._place = blocks, sizes, place
        self._dialect, self._eol = dialect, dialect.eol
        self.bare = BareQuotes(dialect.delimiter, dialect.eol, place)
        self._line = dialect.first_line
        self._data, self._complete = b"", False
        #: The block after the data, if it was read already.
        self._next: bytes | None = None
        #: Where the data begins in the text; how many of its bytes were rewritten, and how many those had before.
        self._offset, self._rewritten, self._replaced = 0, 0, 0
        #: Whether the last line end of the data is not in the text.
        self._ended = False
        #: Whether runs may be cut like that, whether the next one may, and whether one was.
        self._quick, self._may_trust, self._trusted = quick, False, False

    def cuts(self) -> Iterator[Cut]:
        """Yield the runs.

        Raises:
            CellsDisputed: one of the next two, after runs that were cut quickly: they may have been cut wrongly.
            LimitExceeded: a record is too long.
            WorkbookRefused: a quoted text is never closed, or followed by more text.
        """
        try:
            yield from self._cuts()
        except (LimitExceeded, WorkbookRefused) as exc:
            if self._trusted:
                raise CellsDisputed(exc.fact, choice="the whole file was read again, quote by quote") from None
            raise

    def _cuts(self) -> Iterator[Cut]:
        records = min(self._sizes.head, self._sizes.most or self._sizes.head)
        while self._data or not self._complete:
            self._fill(self._sizes.size)
            ends = self._quick_end()
            if not len(ends):
                ends = self._record_ends()
            while not len(ends) and not self._complete:
                self._check_length()
                self._fill(min(2 * len(self._data), self._sizes.record + 1))
                ends = self._record_ends()
            start = 0
            for stop in self._stops(len(ends), records) if len(ends) else ():
                last = int(ends[stop - 1]) + 1
                yield self._cut(start, last)
                start, records = last, self._sizes.most or self._sizes.size
            self._offset += start - self._rewritten + self._replaced
            self._data, self._rewritten, self._replaced = self._data[start:], 0, 0
            self._may_trust = self._quick and self._sizes.most is None and not self.bare.count

    def _stops(self, count: int, first: int) -> list[int]:
        """Return the number of records before the end of each run; the first has so many at most."""
        most, tail = self._sizes.most, count - self._sizes.tail
        stops = [*range(min(first, count), count, most or count), count]
        is_long = self._complete and most is None and len(self._data) > _LONG_END_BYTES
        if self._sizes.tail and is_long and tail > (stops[-2] if len(stops) > 1 else 0):
            stops.insert(-1, tail)
        return stops

    def _cut(self, start: int, end: int) -> Cut:
        rows = memoryview(self._data)[start:end]
        first, lines = self._line, count_byte(rows, self._eol)
        self._line += lines
        is_same = not self._rewritten and not (self._ended and end == len(self._data))
        return Cut(rows, first, lines, self._offset + start if is_same else None)

    def _fill(self, size: int) -> None:
        """Read on until the data has that size."""
        parts, held = [self._data], len(self._data)
        while held < size and not self._complete:
            block = next(self._blocks, b"") if self._next is None else self._next
            self._next = next(self._blocks, b"") if block else b""
            self._complete = not self._next
            parts.append(block)
            held += len(block)
        self._data = b"".join(parts)
        if self._complete and self._data and not self._data.endswith(self._eol):
            self._data += self._eol
            self._ended = True

    def _check_length(self) -> None:
        if len(self._data) > self._sizes.record:
            raise self._too_long(0)

    def _too_long(self, lines: int) -> LimitExceeded:
        return LimitExceeded(
            f"a line of more than {self._sizes.record:,} bytes: no line end, or a quote that is never closed",
            place=f"{self._place}, line {self._line + lines}",
            choice="name a text file whose lines are rows",
        )

    def _quick_end(self) -> Positions:
        """Return the last line end that is in no quoted text if all quotes quote; nothing if that is not clear."""
        data, eol = self._data, self._eol
        if not self._may_trust or (self._complete and self._sizes.tail) or len(data) > self._sizes.record:
            return _NONE
        quotes, end = count_byte(data, b'"'), data.rfind(eol)
        while end >= 0 and len(data) - end < _TAIL_BYTES and (quotes - data.count(b'"', end)) % 2:
            end = data.rfind(eol, 0, end)
        is_clear = end >= 0 and len(data) - end < _TAIL_BYTES and not (self._complete and end + 1 < len(data))
        self._trusted |= is_clear
        return np.array([end]) if is_clear else _NONE

    def _record_ends(self) -> Positions:
        """Return the position of the line end after each whole record of the data."""
        ends = self._find_ends(len(self._data), check=True)
        if ends is None:
            rows, used = self.bare.rewrite(self._data, self._line, complete=self._complete)
            self._data, self._rewritten, self._replaced = rows + self._data[used:], len(rows), used
            ends = self._find_ends(len(rows), check=False)
        if ends is None or not len(ends):
            return _NONE
        lengths = np.diff(ends, prepend=-1)
        if int(lengths.max()) > self._sizes.record:
            before = self._data[: int(ends[lengths.argmax()] - lengths.max()) + 1]
            raise self._too_long(before.count(self._eol))
        return ends

    def _find_ends(self, size: int, *, check: bool) -> Positions | None:
        """Return the line ends outside quotes in so many bytes; None if `check` and a quote has no meaning.

        In pieces: a position takes eight bytes, and every byte of a record may be a quote or a line end.
        """
        data, has_quotes, inside = np.frombuffer(self._data, np.uint8), b'"' in self._data, False
        found: list[Positions] = []
        for start in range(0, size, _PIECE_BYTES):
            piece = data[start : min(start + _PIECE_BYTES, size)]
            ends = np.flatnonzero(piece == self._eol[0])
            quotes = np.flatnonzero(piece == QUOTE) if has_quotes else _NONE
            if len(quotes):
                if check and not are_quotes_valid(data, quotes + start, self._dialect, inside=inside):
                    return None
                ends = ends[(np.searchsorted(quotes, ends) & 1) == inside]
                inside ^= bool(len(quotes) & 1)
            elif inside:
                continue
            found.append(ends + start)
        return None if check and inside and self._complete else np.concatenate(found or [_NONE])
