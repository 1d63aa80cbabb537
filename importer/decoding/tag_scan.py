"""Scans a window's XML before it is decoded: finds all tags in one pass and classifies them by name.

Searching for each tag separately would take ten passes over the window. Element meanings: ECMA-376 part 1, 18.3.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from importer.cells.arrow import series_from_arrow
from importer.excel.addresses import MAX_ROWS, column_letters

from .string_views import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .string_views import Bytes, Positions

#: Number of bytes read from the start of a tag, and so the padding needed after the last one.
_LOOKAHEAD = 24
#: What comes after the window's own bytes: tags without a name, then the padding.
_TAGS_BEHIND = 8
_BEHIND = b"<\0\0\0" * _TAGS_BEHIND + b"\0" * _LOOKAHEAD
#: Bytes in which end tags are counted at once: the masks of so many stay in the cache.
_COUNTED_AT_ONCE = 256 << 10
_HIDDEN = b"hidden="
_HIDDEN_WORD, _HIDDEN_MASK = np.uint64(int.from_bytes(_HIDDEN, "little")), np.uint64((1 << 56) - 1)
#: In longer tags of rows, and what stands between these and the next tags, a search in all bytes takes less time.
_LONG_ROW_TAG = 64
_REF_OFFSET = len(b'<c r="')
#: A tag, or what there is of it in as many bytes, as Excel writes it; an end tag may be cut off in its name.
_USUAL_TAG = re.compile(rb"""</(?:\w+>|\w{22})|<\w+(?:>| ?/>| [\w:]+="| [\w:]*\Z|\Z)""")
#: How most tags start, by the number of bytes.
_USUAL_STARTS = {
    size: np.array([int.from_bytes(name.encode(), "little") for name in names.split("|")], np.uint64)
    for size, names in ((3, "<v>|<t>|<f>|<r>"), (4, "</v>|</c>|</t>|</f>|</r>|<is>|<si>|<c r"), (5, "</is>|</si>"),
                        (6, "</row>|<row r"))
}  # fmt: skip
_SPACES = np.isin(np.arange(256), np.frombuffer(b" \t\r\n", np.uint8))
_LETTERS = np.isin(np.arange(256), np.frombuffer(bytes(range(65, 91)) + bytes(range(97, 123)), np.uint8))


class Tags(NamedTuple):
    """All tags of a window.

    Attributes:
        data: bytes of the window, padded with zeros at the end.
        at: offset of each tag in `data`.
        names: first four bytes of each tag, as a little-endian word.

    After the tags of the window come a few that are only a `<`, so that what follows the last ones can be asked for.
    """

    data: Bytes
    at: Positions
    names: NDArray[np.unsignedinteger]

    @property
    def number(self) -> int:
        """The number of tags in the window."""
        return len(self.at) - _TAGS_BEHIND


class Counts(NamedTuple):
    """Counts of the cells that have a value.

    Attributes:
        values: number of cells with a value, by a fast count that can be wrong for unusual spellings (`<v></v>`); where
            it differs from what the engine read, the exact count decides.
        inline: number of those cells whose text is inline (`<is>`).
        tags: tags of the window, or None if they were not scanned or the rows have changed since.
    """

    values: int
    inline: int
    tags: Tags | None = None


class Scan(NamedTuple):
    """The result of a scan.

    Attributes:
        odd: whether the window may hold more than plain values: comments, errors, escapes, formulas, hidden rows, texts
            that the engine would trim, or bytes that are not UTF-8.
        counts: counts of the cells with a value.
        formulas: number of cells with a formula.
        wider: whether a cell's column has more letters than the last column of the declared used range.
        far: whether a cell's address may have more digits than the number of the window's last row, or a row's number
            more than that of the last row of a sheet.
    """

    odd: bool
    counts: Counts
    formulas: int
    wider: bool
    far: bool


def pad(rows: bytes) -> Bytes:
    """Return the bytes of a window as an array, with what is read after its last tag."""
    return np.frombuffer(rows + _BEHIND, np.uint8)


def find_tags(rows: bytes, padded: Bytes | None = None) -> Tags:
    """Return all tags of a window with these rows; `padded` is what `pad` makes of these."""
    data = pad(rows) if padded is None else padded
    tags = np.flatnonzero(data == ord("<"))
    return Tags(data, tags, words(data, 4)[tags])


def scan(rows: bytes, width: int | None, last_row: int = MAX_ROWS, found: Tags | None = None) -> Scan:
    """Scan the rows of a window.

    Args:
        rows: XML of the rows.
        last_row: number of the last row.
        width: number of columns in the sheet's declared used range, or None if none is declared.
        found: tags of the rows, if they were found before.
    """
    data, tags, names = found or find_tags(rows)
    second = (names >> 8) & 0xFF
    formulas = int(np.count_nonzero(second == ord("f")))
    odd = (
        formulas > 0
        or bool((second == ord("!")).any())
        or bool((names == word(b"<v>#")).any())
        or b"hidden=" in rows
        or _has_escape(rows, data)
        or not is_utf8(rows)
        or _has_trimmed_text(rows, data, tags, names)
    )
    inline = int(np.count_nonzero(names == word(b"</is")))
    values = int(np.count_nonzero(names == word(b"</v>"))) + inline
    counts = Counts(values, inline, Tags(data, tags, names))
    cells = tags[names == word(b"<c r")]
    if len(cells) != np.count_nonzero((names & 0xFFFF) == word(b"<c")):
        cells = None  # `r` is not the first attribute of every cell, as in Excel's own files
    letters, digits = letter_count(width), len(str(last_row))
    wider = is_wider(rows, letters) if cells is None else bool(_LETTERS[data[cells + _REF_OFFSET + letters]].any())
    far = (cells is None or _is_longer(data, cells, letters + digits)) and _has_more_digits(rows, digits)
    far = far or _has_long_row_number(rows, data, tags[names == word(b"<row")])
    return Scan(odd, counts, formulas, wider, far)


def has_marks(tags: Tags) -> bool:
    """Return whether there are comments, CDATA or processing instructions."""
    second = (tags.names[: tags.number] >> 8) & 0xFF
    return bool(((second == ord("!")) | (second == ord("?"))).any())


def is_spelled_oddly(tags: Tags) -> bool:
    """Return whether tags are spelled as Excel spells none: with prefixes, white space at their ends, or line breaks.

    Other readers of these tags would miss them, and the cells that they are of.
    """
    held = words(tags.data, 8)[tags.at[: tags.number]]
    usual = np.zeros(len(held), np.bool_)
    for size, starts in _USUAL_STARTS.items():
        usual |= np.isin(held & np.uint64((1 << 8 * size) - 1), starts)
    which = np.flatnonzero(~usual)
    shown = {tags.data[at : at + _LOOKAHEAD].tobytes() for at in tags.at[which].tolist()}
    return any(_USUAL_TAG.match(tag) is None for tag in shown)


def count_values(rows: bytes) -> Counts:
    """Return the fast count of cells with a value, without tags."""
    inline = rows.count(b"</is>")
    return Counts(rows.count(b"</v>") + inline, inline)


def count_end_tags(data: Bytes) -> int:
    """Return the number of `</v>` and `</is>` in a window, counted byte by byte, without its tags."""
    count = 0
    for start in range(0, len(data), _COUNTED_AT_ONCE):
        block = data[start : start + _COUNTED_AT_ONCE + len(b"</is>") - 1]
        ends = block[:-4] == ord("<")
        ends &= block[1:-3] == ord("/")
        values = block[2:-2] == ord("v")
        values &= block[3:-1] == ord(">")
        inline = block[2:-2] == ord("i")
        inline &= block[3:-1] == ord("s")
        inline &= block[4:] == ord(">")
        values |= inline
        values &= ends
        count += int(np.count_nonzero(values))
    return count


def has_hidden_row(rows: bytes, tags: Tags) -> bool:
    """Return whether one of the tags of rows has the attribute `hidden`."""
    which = np.flatnonzero(tags.names == word(b"<row"))
    return is_any_hidden(rows, tags.data, tags.at[which], tags.at[which + 1])


def is_any_hidden(rows: bytes, data: Bytes, starts: Positions, ends: Positions) -> bool:
    """Return whether one of the tags of rows, from `starts` up to the next tags, has the attribute `hidden`."""
    size = int((ends - starts).max(initial=0)) - len(_HIDDEN)
    if size > _LONG_ROW_TAG:
        return _HIDDEN in rows
    eight = words(data, 8)
    places = range(len(b"<row"), size)
    return any(bool((eight[starts + place] & _HIDDEN_MASK == _HIDDEN_WORD).any()) for place in places)


def letter_count(width: int | None) -> int:
    """Return how many letters the last of `width` columns has; 1 if the width is unknown."""
    return len(column_letters(width - 1)) if width else 1


def is_wider(rows: bytes, letters: int) -> bool:
    """Return whether any cell's column has more than `letters` letters (1: beyond Z, 2: beyond ZZ)."""
    # No anchor before `r=`: a literal prefix keeps this search at memory speed.
    return re.search(rb'r="[A-Za-z]{%d}' % (letters + 1), rows) is not None


def word(name: bytes) -> int:
    """Return the start of a tag as a word comparable to `Tags.names`; for three bytes (`<v>`), mask off the fourth."""
    return int.from_bytes(name, "little")


_ROW_WORD = np.uint64(int.from_bytes(b'<row r="', "little"))
_QUOTES, _ONES, _HIGH_BITS = (np.uint64(byte * 0x0101010101010101) for byte in (ord('"'), 0x01, 0x80))


def _is_longer(data: Bytes, cells: Positions, most: int) -> bool:
    """Return whether an address may have more than `most` characters: no quote is among as many and one more.

    Eight bytes are examined; in a window with shorter addresses than that allows, the answer may be wrongly True.
    """
    ends = words(data, 8)[cells + (_REF_OFFSET + max(most + 1 - 8, 0))]
    ends ^= _QUOTES
    # The lowest zero byte of a word sets its high bit here ("Hacker's Delight", 6-1).
    return not (((ends - _ONES) & ~ends & _HIGH_BITS) != 0).all()


def _has_long_row_number(rows: bytes, data: Bytes, row_tags: Positions) -> bool:
    """Return whether the number of a row has more than seven digits; the engine takes it modulo 2^32."""
    plain = bool((words(data, 8)[row_tags] == _ROW_WORD).all())
    if plain and not _is_longer(data, row_tags + (len(b'<row r="') - _REF_OFFSET), 7):
        return False
    return re.search(rb"""<row\b[^>]*\br\s*=\s*["'][^"']{8}""", rows) is not None


def _has_more_digits(rows: bytes, digits: int) -> bool:
    """Return whether the row number in an address has more than so many digits, or more than a sheet has rows."""
    # Of numbers with seven digits, those from 1,050,000 on: a little more than a sheet has.
    many = rb"\d{%d}" % (digits + 1) if digits < len(str(MAX_ROWS)) else rb"(?:\d{8}|(?:1[1-9]|10[5-9]|[2-9]\d)\d{5})"
    return re.search(rb'r="[A-Za-z]{1,4}' + many, rows) is not None


def _has_escape(rows: bytes, data: Bytes) -> bool:
    """Return whether `_x` occurs, which starts Excel's escapes of characters."""
    return b"_" in rows and bool((data[np.flatnonzero(data == ord("_")) + 1] == ord("x")).any())


def is_utf8(rows: bytes) -> bool:
    """Return whether the rows are valid UTF-8."""
    bounds = pa.py_buffer(np.array([0, len(rows)], np.int64))
    held = series_from_arrow(pa.Array.from_buffers(pa.large_binary(), 1, [None, bounds, pa.py_buffer(rows)]))
    try:
        held.cast(pl.String)
    except pl.exceptions.PolarsError:
        return False
    return True


def _has_trimmed_text(rows: bytes, data: Bytes, tags: Positions, names: NDArray[np.unsignedinteger]) -> bool:
    """Return whether the engine would trim a text: white space at an end, in a `<t>` without attributes."""
    ends = np.flatnonzero(names == word(b"</t>"))
    if not len(ends):
        return False
    # A text contains no tags, so the tag before its end tag is its start tag.
    ends = ends[(names[ends - 1] & 0xFFFFFF) == word(b"<t>")]
    first, last = data[tags[ends - 1] + len(b"<t>")], data[tags[ends] - 1]
    if (_SPACES[first] | _SPACES[last]).any():
        return True
    # White space may also be written as a character reference.
    return bool(((first == ord("&")) | (last == ord(";"))).any()) and b"&#" in rows
