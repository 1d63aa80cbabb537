"""Cuts the text of a file into runs of whole records, in which every quote opens, closes or is doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from importer.errors import LimitExceeded

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
_NONE = np.empty(0, np.int64)


def count_byte(data: bytes, byte: bytes) -> int:
    """Return how often a byte occurs: `bytes.count` takes five times as long where it is frequent."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == byte[0]))


class Cut(NamedTuple):
    """A run of records.

    Attributes:
        rows: their bytes, in UTF-8; the last one ends with a line end.
        first_line: line of the first one, 1-based.
        lines: number of lines that they take.
    """

    rows: bytes
    first_line: int
    lines: int


class CutSizes(NamedTuple):
    """How large the runs are.

    Attributes:
        size: bytes of a run, about.
        head: records of the first run.
        most: most records of a run, or None.
        record: most bytes of one record.
    """

    size: int
    head: int
    most: int | None
    record: int


class RecordCutter:
    """One pass over a text.

    Args:
        blocks: the text in UTF-8, in blocks.
        dialect: how it is written.
        sizes: how large the runs are.
        place: name of the file, for messages.

    Attributes:
        bare: what was rewritten of quotes that quote nothing.
    """

    def __init__(self, blocks: Iterator[bytes], dialect: TextDialect, sizes: CutSizes, place: str) -> None:
        self._blocks, self._sizes, self._place = blocks, sizes, place
        self._delimiter, self._eol = dialect.delimiter, dialect.eol
        self.bare = BareQuotes(dialect.delimiter, dialect.eol, place)
        self._line = dialect.first_line
        self._data, self._complete = b"", False

    def cuts(self) -> Iterator[Cut]:
        """Yield the runs.

        Raises:
            LimitExceeded: a record is too long.
            WorkbookRefused: a quoted text is never closed, or followed by more text.
        """
        records = min(self._sizes.head, self._sizes.most or self._sizes.head)
        while self._data or not self._complete:
            self._fill(self._sizes.size)
            ends = self._record_ends()
            while not len(ends) and not self._complete:
                self._check_length()
                self._fill(min(2 * len(self._data), self._sizes.record + 1))
                ends = self._record_ends()
            start = 0
            while len(ends):
                last = int(ends[min(records, len(ends)) - 1]) + 1
                ends = ends[records:]
                yield self._cut(self._data[start:last])
                start, records = last, self._sizes.most or self._sizes.size
            self._data = self._data[start:]

    def _cut(self, rows: bytes) -> Cut:
        first, lines = self._line, count_byte(rows, self._eol)
        self._line += lines
        return Cut(rows, first, lines)

    def _fill(self, size: int) -> None:
        """Read on until the data has that size."""
        parts, held = [self._data], len(self._data)
        while held < size and not self._complete:
            block = next(self._blocks, b"")
            self._complete = not block
            parts.append(block)
            held += len(block)
        self._data = b"".join(parts)
        if self._complete and self._data and not self._data.endswith(self._eol):
            self._data += self._eol

    def _check_length(self) -> None:
        if len(self._data) > self._sizes.record:
            raise self._too_long(0)

    def _too_long(self, lines: int) -> LimitExceeded:
        return LimitExceeded(
            f"a line of more than {self._sizes.record:,} bytes: no line end, or a quote that is never closed",
            place=f"{self._place}, line {self._line + lines}",
            choice="name a text file whose lines are rows",
        )

    def _record_ends(self) -> Positions:
        """Return the position of the line end after each whole record of the data."""
        ends = self._find_ends(len(self._data), check=True)
        if ends is None:
            rows, used = self.bare.rewrite(self._data, self._line, complete=self._complete)
            self._data = rows + self._data[used:]
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
                if check and not self._all_valid(data, quotes + start, inside=inside):
                    return None
                ends = ends[(np.searchsorted(quotes, ends) & 1) == inside]
                inside ^= bool(len(quotes) & 1)
            elif inside:
                continue
            found.append(ends + start)
        return None if check and inside and self._complete else np.concatenate(found or [_NONE])

    def _all_valid(self, data: Bytes, quotes: Positions, *, inside: bool) -> bool:
        """Return whether every quote opens a field, closes one, or is one of two that stand for one.

        Args:
            data: the bytes.
            quotes: places of the quotes.
            inside: whether the first of them closes a field.
        """
        borders = np.zeros(256, bool)
        borders[[self._delimiter[0], self._eol[0], QUOTE]] = True
        opening, closing = quotes[inside::2], quotes[1 - inside :: 2]
        opens = borders[data[opening[opening > 0] - 1]]
        closing = closing[closing + 1 < len(data)]
        after = data[closing + 1]
        closes = borders[after]
        if self._eol == b"\n" and not closes.all():
            returns = np.flatnonzero(~closes & (after == RETURN) & (closing + 2 < len(data)))
            closes[returns] = data[closing[returns] + 2] == self._eol[0]
            closes |= (after == RETURN) & (closing + 2 >= len(data))
        return bool(opens.all() and closes.all())
