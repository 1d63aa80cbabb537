"""Owns the look at a window's XML before the engine reads it: all tags are found at once, and told by their names.

Searching for each mark alone would pass over the window ten times. Element meanings: ECMA-376 part 1, 18.3.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from .addresses import column_letters
from .views import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .views import Bytes, Positions

#: How far a tag is looked into, and so how many bytes must follow the last one.
_AHEAD = 16
_REF = len(b'<c r="')
_SPACES = np.isin(np.arange(256), np.frombuffer(b" \t\r\n", np.uint8))
_LETTERS = np.isin(np.arange(256), np.frombuffer(bytes(range(65, 91)) + bytes(range(97, 123)), np.uint8))


class Tags(NamedTuple):
    """All tags of a window.

    Attributes:
        data: its bytes, with zeros behind.
        at: where each tag begins.
        names: the first four bytes of each, as a little-endian word.
    """

    data: Bytes
    at: Positions
    names: NDArray[np.unsignedinteger]


class Counts(NamedTuple):
    """How many cells have a value.

    Attributes:
        values: cells with a value, by a count that can be wrong where they are written oddly (`<v></v>`); the exact
            count is the judge where this one differs from what the engine read.
        inline: those of them that hold their text themselves.
        tags: of all, or None where they were not looked at, or the rows were changed since.
    """

    values: int
    inline: int
    tags: Tags | None = None


class Scan(NamedTuple):
    """What the look tells.

    Attributes:
        odd: the window may hold anything but plain values: comments, errors, escapes, formulas, hidden rows, texts
            that the engine would trim, or bytes that are no UTF-8.
        counts: of the cells with a value.
        formulas: cells with a formula.
        wider: some cell lies in a column of more letters than the declared used range has.
    """

    odd: bool
    counts: Counts
    formulas: int
    wider: bool


def scan(rows: bytes, width: int | None) -> Scan:
    """Look at the rows of a window of a sheet that declares so many columns (None: nothing)."""
    data = np.frombuffer(rows + b"\0" * _AHEAD, np.uint8)
    tags = np.flatnonzero(data == ord("<"))
    names = words(data, 4)[tags]
    second = (names >> 8) & 0xFF
    formulas = int(np.count_nonzero(second == ord("f")))
    odd = (
        formulas > 0
        or bool((second == ord("!")).any())
        or bool((names == word(b"<v>#")).any())
        or b"hidden=" in rows
        or _has_escape(rows, data)
        or not _is_utf8(rows)
        or _trims(rows, data, tags, names)
    )
    inline = int(np.count_nonzero(names == word(b"</is")))
    values = int(np.count_nonzero(names == word(b"</v>"))) + inline
    counts = Counts(values, inline, Tags(data, tags, names))
    return Scan(odd, counts, formulas, _is_wider(rows, data, tags, names, letters_of(width)))


def count_values(rows: bytes) -> Counts:
    """How many cells have a value."""
    inline = rows.count(b"</is>")
    return Counts(rows.count(b"</v>") + inline, inline)


def letters_of(width: int | None) -> int:
    """How many letters the last of so many columns has."""
    return len(column_letters(width - 1)) if width else 1


def is_wider(rows: bytes, letters: int) -> bool:
    """Whether some cell lies in a column of more than that many letters (1: beyond Z, 2: beyond ZZ)."""
    # No anchor before `r=`: a literal prefix keeps this search at memory speed.
    return re.search(rb'r="[A-Za-z]{%d}' % (letters + 1), rows) is not None


def word(name: bytes) -> int:
    """The name of a tag as it stands in `Tags.names`; `<v>` has three bytes only, the fourth is what follows."""
    return int.from_bytes(name, "little")


def _is_wider(rows: bytes, data: Bytes, tags: Positions, names: NDArray[np.unsignedinteger], letters: int) -> bool:
    """What `is_wider` says; quick where every cell tells its place first, as in Excel's own files."""
    cells = tags[names == word(b"<c r")]
    if len(cells) != np.count_nonzero((names & 0xFFFFFF) == word(b"<c ")):
        return is_wider(rows, letters)
    return bool(_LETTERS[data[cells + _REF + letters]].any())


def _has_escape(rows: bytes, data: Bytes) -> bool:
    """Whether `_x` occurs, with which Excel escapes characters."""
    return b"_" in rows and bool((data[np.flatnonzero(data == ord("_")) + 1] == ord("x")).any())


def _is_utf8(rows: bytes) -> bool:
    return rows.isascii() or not pl.Series([rows], dtype=pl.Binary).cast(pl.String, strict=False).null_count()


def _trims(rows: bytes, data: Bytes, tags: Positions, names: NDArray[np.unsignedinteger]) -> bool:
    """Whether the engine would trim a text: one with white space at an end, in a `<t>` without attributes."""
    ends = np.flatnonzero(names == word(b"</t>"))
    if not len(ends):
        return False
    # A text holds no tag, so the one before its end is its start.
    ends = ends[(names[ends - 1] & 0xFFFFFF) == word(b"<t>")]
    first, last = data[tags[ends - 1] + len(b"<t>")], data[tags[ends] - 1]
    if (_SPACES[first] | _SPACES[last]).any():
        return True
    # White space may be written as a reference, too.
    return bool(((first == ord("&")) | (last == ord(";"))).any()) and b"&#" in rows
