"""Splits a run of records into fields, whole arrays at a time, and makes columns of them that point into its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.cells.frame import BEYOND, ROW, part
from importer.columns.texts import view_texts
from importer.decoding.string_views import PADDING
from importer.errors import LimitExceeded

from .records import QUOTE, RETURN, count_byte

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.text_files import TextDialect

    Positions = NDArray[np.int64]
    Bytes = NDArray[np.uint8]
    Mask = NDArray[np.bool_]


#: Most fields of a run of records: more than fit in one, unless a record is much longer. Each takes some 60 bytes.
_MOST_FIELDS = 16 << 20


class Fields(NamedTuple):
    """The fields of a run of records, in order.

    Attributes:
        data: its bytes, padded.
        starts: offset of the text of each field, without quotes.
        lengths: length of each text in bytes.
        quoted: whether each field is quoted; None if none is.
        firsts: index of the first field of each record.
        counts: number of fields of each record.
        lines: line of each record, 1-based.
        quotes: offset of each quote.
        inner: number of quotes within each text, two for each of its own; None if there are none.
    """

    data: Bytes
    starts: Positions
    lengths: Positions
    quoted: Mask | None
    firsts: Positions
    counts: Positions
    lines: Positions
    quotes: Positions
    inner: Positions | None

    def even(self, width: int) -> bool:
        """Return whether all records have so many fields."""
        return len(self.starts) == width * len(self.counts) and bool((self.counts == width).all())


class TextRows(NamedTuple):
    """A run of records as a frame.

    Attributes:
        frame: the rows with a cell, see `cells.frame`.
        short: number of these that have fewer fields than the table has columns.
        first_short: line of the first of them (0: none).
        long: number of rows with more cells than the table has columns.
        first_long: line of the first of them.
        continued: number of lines that continue a row, after line breaks within its fields.
        last_continued: number of those that continue the last row.
    """

    frame: pl.DataFrame
    short: int
    first_short: int
    long: int
    first_long: int
    continued: int
    last_continued: int


def split_fields(rows: bytes, dialect: TextDialect, first_line: int) -> Fields:
    """Return the fields of a run of records, as `records` cuts it.

    Raises:
        LimitExceeded: there are too many.
    """
    data = np.frombuffer(rows + bytes(PADDING), np.uint8)
    text, eol, has_quotes = data[: len(rows)], dialect.eol[0], b'"' in rows
    marks, chars = _find_marks(text, dialect, first_line, quotes=has_quotes)
    quotes, quoted, inner = np.empty(0, np.int64), None, None
    ends, kinds = marks, chars
    if has_quotes:
        is_quote = chars == QUOTE
        before = np.cumsum(is_quote, dtype=np.int32)
        outside = np.flatnonzero(~(is_quote | (before & 1).astype(bool)))
        # Taking by positions takes half the time of taking by a mask.
        quotes, ends, kinds = marks[is_quote], marks.take(outside), chars.take(outside)
        inner = np.diff(before.take(outside), prepend=0)
    starts = np.empty_like(ends)
    starts[:1], starts[1:] = 0, ends[:-1] + 1
    last = np.flatnonzero(kinds == eol)
    firsts = np.empty_like(last)
    firsts[:1], firsts[1:] = 0, last[:-1] + 1
    lines = first_line + np.arange(len(firsts))
    if has_quotes and np.count_nonzero(breaks := chars == eol) > len(firsts):  # some texts have line breaks
        lines = first_line + np.searchsorted(marks[breaks], starts[firsts])
    if dialect.eol == b"\n" and b"\r" in rows:
        ended = last[ends[last] > starts[last]]
        ends[ended] -= text[ends[ended] - 1] == RETURN
    if inner is not None:
        quoted = inner > 0
        starts, ends = starts + quoted, ends - quoted
        inner = inner - 2 * quoted if len(quotes) > 2 * np.count_nonzero(quoted) else None
    return Fields(data, starts, ends - starts, quoted, firsts, last - firsts + 1, lines, quotes, inner)


def _find_marks(text: Bytes, dialect: TextDialect, first_line: int, *, quotes: bool) -> tuple[Positions, Bytes]:
    """Return the places of all delimiters, line ends and quotes, in order, and which of them stands there.

    One search for all three takes half the time of one each, and nothing is to be put in order.

    Raises:
        LimitExceeded: there are too many.
    """
    is_mark = text == dialect.delimiter[0]
    is_mark |= text == dialect.eol[0]
    if len(text) > _MOST_FIELDS < np.count_nonzero(is_mark):
        raise LimitExceeded(
            f"a line with many million fields, {_MOST_FIELDS:,} at least", place=f"line {first_line}",
            choice="name a text file whose lines are rows",
        )  # fmt: skip
    if quotes:
        is_mark |= text == QUOTE
    marks = np.flatnonzero(is_mark)
    return marks, text[marks]


def make_rows(
    rows: bytes, dialect: TextDialect, first_line: int, fields: Fields, read: list[pl.Series] | None = None
) -> TextRows:
    """Return a run of records as a frame of texts.

    A field that is empty is an empty cell; one of two quotes is an empty text. What a record has beyond the last column
    makes that cell unreadable, with the rest of the line as its text; empty fields beyond it are nothing.

    Args:
        rows: bytes of the records.
        dialect: how they are written.
        first_line: line of the first one.
        fields: their fields.
        read: the columns, if another reader made them.
    """
    width = dialect.width
    beyond = _rows_beyond(fields, width)
    columns: dict[str, pl.Series] = {}
    for column in range(width):
        texts = _column(fields, column, width) if read is None else read[column]
        if column == width - 1 and len(beyond):
            rest = _rest_of_lines(rows, fields, beyond, width)
            columns[part(column, "unreadable")] = rest
            texts = pl.select(pl.when(pl.lit(rest).is_null()).then(pl.lit(texts))).to_series()
        if texts.null_count() < len(texts):
            columns[part(column, "text")] = texts
    short = (fields.counts < width) & _has_text(fields)
    first_long = int(fields.lines[beyond[0]]) if len(beyond) else 0
    end = first_line + count_byte(rows, dialect.eol)
    return frame_rows(columns, fields.lines, end)._replace(
        short=int(short.sum()), first_short=_first(fields.lines, short), long=len(beyond), first_long=first_long
    )


def frame_rows(columns: dict[str, pl.Series], lines: Positions, end: int) -> TextRows:
    """Return records as a frame, as if each had as many fields as the table has columns.

    Args:
        columns: the texts by name of their array, none of which is all null.
        lines: line of each record, 1-based.
        end: line after the last one.
    """
    frame = pl.DataFrame([pl.Series(ROW, lines, dtype=pl.Int64), *(s.alias(name) for name, s in columns.items())])
    if any(not series.null_count() for series in columns.values()):
        pass  # every row has a cell
    elif columns:
        filled = pl.any_horizontal([pl.col(name).is_not_null() for name in columns])
        frame = frame.filter(filled)
    else:
        frame = frame.clear()
    if not len(lines) or end - int(lines[0]) == len(lines):
        return TextRows(frame, 0, 0, 0, 0, 0, 0)  # a line each
    spans = np.diff(lines, append=end) - 1
    last = int(spans[np.searchsorted(lines, frame[ROW][-1])]) if len(frame) else 0
    return TextRows(frame, 0, 0, 0, 0, int(spans.sum()), last)


def _first(lines: Positions, chosen: Mask) -> int:
    at = np.flatnonzero(chosen)
    return int(lines[at[0]]) if len(at) else 0


def _has_text(fields: Fields) -> Mask:
    """Return which records are no blank lines."""
    return (fields.counts > 1) | (fields.lengths[fields.firsts] > 0)


def _column(fields: Fields, column: int, width: int) -> pl.Series:
    """Return the texts of a column; null where a record has none."""
    held = None if fields.even(width) else fields.counts > column
    # In lines of one width the fields of a column are every so many-th.
    at = slice(column, None, width) if held is None else np.where(held, fields.firsts + column, 0)
    starts, lengths = fields.starts[at], fields.lengths[at]
    texts = view_texts(fields.data, starts, lengths)
    if fields.inner is not None:
        texts = _without_doubled(texts, fields.inner[at] > 0)
    filled = lengths > 0 if fields.quoted is None else (lengths > 0) | fields.quoted[at]
    if held is not None:
        filled &= held
    if filled.all():
        return texts
    return pl.select(pl.when(pl.lit(pl.Series(filled))).then(pl.lit(texts))).to_series()


def _without_doubled(texts: pl.Series, doubled: Mask) -> pl.Series:
    """Return texts with one quote for each two in some of them."""
    at = pl.Series(np.flatnonzero(doubled))
    if not len(at):
        return texts
    single = texts.gather(at).str.replace_all('""', '"', literal=True)
    order = np.arange(len(texts))
    order[doubled] = np.arange(len(texts), len(texts) + len(at))
    return pl.concat([texts, single], rechunk=True).gather(pl.Series(order))


def _rows_beyond(fields: Fields, width: int) -> Positions:
    """Return the records with a text beyond the last column."""
    over = np.flatnonzero(fields.counts > width)
    if not len(over):
        return over
    sums = np.concatenate([[0], np.cumsum(fields.lengths > 0)])
    first, last = fields.firsts[over] + width, fields.firsts[over] + fields.counts[over]
    beyond: Positions = over[sums[last] > sums[first]]
    return beyond


def _rest_of_lines(rows: bytes, fields: Fields, beyond: Positions, width: int) -> pl.Series:
    """Return for each of some records what it has from the last column on, as it is written; null for the others."""
    quoted = fields.quoted
    texts: list[str | None] = [None] * len(fields.counts)
    for record in beyond.tolist():
        first = int(fields.firsts[record]) + width - 1
        last = int(fields.firsts[record] + fields.counts[record]) - 1
        begin = int(fields.starts[first]) - (quoted is not None and bool(quoted[first]))
        end = int(fields.starts[last] + fields.lengths[last]) + (quoted is not None and bool(quoted[last]))
        texts[record] = f"{BEYOND}{rows[begin:end].decode()}"
    return pl.Series(texts, dtype=pl.String)
