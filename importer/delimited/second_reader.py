"""Compares every cell of a run of records with what polars reads: its text, or where it begins and how long it is.

Of most runs, polars' lengths alone say where each field has to end. If a delimiter or a line end stands at each of
these places, and none elsewhere outside quotes, there is no other way to read the bytes, and the fields need not be
searched: that takes a third of the time.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.cells.frame import ROW, part
from importer.errors import CellsDisagree
from importer.excel.addresses import column_letters

from .records import QUOTE, RETURN, count_byte

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.text_files import TextDialect

    from .fields import Bytes, Fields, Positions

_CHOICE = "write the file again, with quotes around texts that hold delimiters, quotes or line ends"
_NONE = np.empty(0, np.int64)
#: Bytes that are looked at at once, so that what is found in them stays in the cache.
_PIECE_BYTES = 1 << 18


def read_again(rows: bytes, dialect: TextDialect) -> pl.DataFrame:
    """Return a run of records as polars reads it, all as texts.

    Raises:
        CellsDisagree: polars cannot read it.
    """
    try:
        return pl.read_csv(
            io.BytesIO(rows),
            has_header=False,
            separator=dialect.delimiter.decode(),
            quote_char='"' if b'"' in rows else None,
            eol_char=dialect.eol.decode(),
            schema={str(column): pl.String for column in range(dialect.width)},
            truncate_ragged_lines=True,
            missing_columns="insert",
            extra_columns="ignore",
        )
    except pl.exceptions.PolarsError as exc:
        raise CellsDisagree(f"the second reader (polars) cannot read the lines: {exc}", choice=_CHOICE) from None


def check_second_reader(theirs: pl.DataFrame, frame: pl.DataFrame, lines: Positions) -> None:
    """Compare the texts of a frame with what polars reads.

    Args:
        theirs: the texts that polars reads.
        frame: the rows with a cell, read by us.
        lines: line of each record.

    Raises:
        CellsDisagree: a cell differs, or there are other rows.
    """
    if len(theirs) != len(lines):
        raise CellsDisagree(f"two readers find {len(lines):,} and {len(theirs):,} rows", choice=_CHOICE)
    numbers, ours = pl.Series(ROW, lines, dtype=pl.Int64), frame
    if len(frame) != len(lines):  # some have no cell
        ours = pl.DataFrame([numbers]).join(frame, on=ROW, how="left", maintain_order="left")
    arrays = ours.to_dict()  # asking a frame for the names of its columns takes longer the more it has
    if _are_equal(arrays, theirs):
        return
    for column, read in enumerate(theirs.get_columns()):
        texts = arrays.get(part(column, "text"))
        differs = read.is_not_null() if texts is None else texts.ne_missing(read)
        if (unreadable := arrays.get(part(column, "unreadable"))) is not None:
            differs &= unreadable.is_null()
        if differs.any():
            at = differs.arg_max() or 0
            raise CellsDisagree(
                f"two readers read {None if texts is None else texts[at]!r} and {read[at]!r}",
                place=f"{column_letters(column)}{numbers[at]}", choice=_CHOICE,
            )  # fmt: skip


def _are_equal(arrays: dict[str, pl.Series], theirs: pl.DataFrame) -> bool:
    """Return whether all texts are equal: one question for all columns takes a tenth of the time of one for each."""
    read = {part(column, "text"): texts for column, texts in enumerate(theirs.get_columns())}
    both = [name for name in read if name in arrays]
    if sum(texts.null_count() < len(texts) for name, texts in read.items() if name not in arrays):
        return False
    return pl.DataFrame([arrays[name] for name in both]).equals(pl.DataFrame([read[name].alias(name) for name in both]))


def is_alike(theirs: pl.DataFrame, fields: Fields) -> bool:
    """Return whether each field has the length that we find.

    Args:
        theirs: the texts that polars reads.
        fields: the fields that we find.
    """
    if len(theirs) != len(fields.counts):
        return False
    lengths = _lengths(theirs)
    for column, texts in enumerate(theirs.get_columns()):
        held = fields.counts > column
        at = np.where(held, fields.firsts + column, 0)
        ours, read = np.where(held, fields.lengths[at], 0), lengths[:, column]
        others = np.flatnonzero(ours != read)
        if len(others) and not np.array_equal(_unquoted_lengths(fields, at[others]), read[others]):
            return False
        filled = (ours > 0) if fields.quoted is None else (ours > 0) | (fields.quoted[at] & held)
        if int(np.count_nonzero(filled)) != texts.count():
            return False
    return True


def _unquoted_lengths(fields: Fields, at: Positions) -> Positions:
    """Return the lengths of some fields, with one quote for each two."""
    return fields.lengths[at] if fields.inner is None else fields.lengths[at] - fields.inner[at] // 2


def find_lines(rows: bytes, dialect: TextDialect, theirs: pl.DataFrame, between: tuple[int, int]) -> Positions | None:
    """Return the line of each record, if what polars reads is what is written, without looking at each field.

    Nothing is returned, either, if records have another number of fields than the table has columns.

    Args:
        rows: bytes of the records.
        dialect: how they are written.
        theirs: the texts that polars reads.
        between: their first and their last line, 1-based.
    """
    text = np.frombuffer(rows, np.uint8)
    quoted = _find_quoted(text) if b'"' in rows else _Quoted(_NONE, _NONE, _NONE)
    returns = count_byte(rows, b"\r") if dialect.eol == b"\n" and b"\r" in rows else 0
    if quoted is None or not rows.endswith(dialect.eol) or returns not in {0, len(theirs)}:
        return None
    marks, lengths = _Ranks(text, dialect.delimiter, dialect.eol), _lengths(theirs)
    before = marks.before(quoted.first)
    inside = marks.before(quoted.last) - before
    if marks.total - int(inside.sum()) != lengths.size:
        return None
    owners = before - np.cumsum(inside) + inside  # the field of each quoted text: as many are before it
    steps = lengths + 1
    steps[:, -1] += returns > 0
    steps.reshape(-1)[owners] += quoted.extra
    ends = np.cumsum(steps)
    ends -= 1
    if not _is_written(text, dialect, ends.reshape(lengths.shape), returns=returns > 0):
        return None
    starts, width = np.concatenate([[0], ends[:-1] + 1]), lengths.shape[1]
    closing = ends[owners] - 1 - ((owners % width == width - 1) if returns else 0)
    if not (np.array_equal(starts[owners], quoted.first) and np.array_equal(closing, quoted.last)):
        return None
    empty = owners[quoted.last - quoted.first == 1] % width  # a quoted one is a text, other empty fields are none
    filled = [np.count_nonzero(lengths[:, column]) for column in range(width)] + np.bincount(empty, minlength=width)
    if not np.array_equal(filled, [texts.count() for texts in theirs.get_columns()]):
        return None
    if between[1] - between[0] < len(theirs):
        return np.arange(between[0], between[1] + 1)
    return between[0] + _Ranks(text, dialect.eol).before(starts[::width])  # some texts have line breaks


def _lengths(texts: pl.DataFrame) -> Positions:
    """Return the lengths of texts in bytes, a row for each record; 0 for null."""
    found = texts.select(pl.all().str.len_bytes().fill_null(0)).to_numpy()
    return found.astype(np.int64, order="C")


def _is_written(text: Bytes, dialect: TextDialect, ends: Positions, *, returns: bool) -> bool:
    """Return whether delimiters and line ends stand where fields end, and `returns`: carriage returns before these."""
    if ends[-1, -1] != len(text) - 1:
        return False
    found = text.take(ends)
    written = (found[:, :-1] == dialect.delimiter[0]).all() and (found[:, -1] == dialect.eol[0]).all()
    return bool(written and (not returns or (text[ends[:, -1] - 1] == RETURN).all()))


class _Quoted(NamedTuple):
    """The quoted texts, in order.

    Attributes:
        first: place of the quote before each.
        last: place of the quote after each.
        extra: bytes by which each is longer than the text that it stands for.
    """

    first: Positions
    last: Positions
    extra: Positions


def _find_quoted(text: Bytes) -> _Quoted | None:
    """Return the quoted texts if every quote belongs to one; None if one is not closed."""
    quotes = np.flatnonzero(text == QUOTE)
    if len(quotes) % 2:
        return None
    opening, closing = quotes[::2], quotes[1::2]
    last = np.flatnonzero(np.append(closing[:-1] + 1 != opening[1:], True))  # no others follow: two stand for one
    first = np.concatenate([[0], last[:-1] + 1])
    return _Quoted(opening[first], closing[last], last - first + 2)


class _Ranks:
    """Counts the marks before any place of a text, by bits: 64 of them at once.

    Args:
        text: the bytes.
        marks: the bytes that are marks.
    """

    def __init__(self, text: Bytes, *marks: bytes) -> None:
        bits = np.zeros(len(text) // 64 * 8 + 8, np.uint8)
        for start in range(0, len(text), _PIECE_BYTES):
            piece = text[start : start + _PIECE_BYTES]
            marked = piece == marks[0][0]
            for mark in marks[1:]:
                marked |= piece == mark[0]
            found = np.packbits(marked, bitorder="little")
            bits[start // 8 : start // 8 + len(found)] = found
        self._words: NDArray[np.uint64] = bits.view("<u8")
        counts = np.bitwise_count(self._words)
        self._before = np.cumsum(counts, dtype=np.int64) - counts
        self.total = int(self._before[-1]) + int(counts[-1])

    def before(self, places: Positions) -> Positions:
        """Return how many marks stand before each of these places."""
        word = places >> 6
        below = (np.uint64(1) << (places & 63).astype(np.uint64)) - np.uint64(1)
        found: Positions = self._before[word] + np.bitwise_count(self._words[word] & below)
        return found
