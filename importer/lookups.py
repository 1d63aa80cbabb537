"""Owns cells that hold the number of a shared string: shown to the engine as something else, and looked up behind it.

The engine would parse all shared strings in every process to look them up itself (see `strings`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from .engine import Cells, read_as, read_columns, sheet_of
from .errors import WorkbookRefused
from .serials import Epoch
from .strings import lookup
from .views import words

if TYPE_CHECKING:
    from .scan import Counts
    from .tasks import ReadTask

#: What opens such a cell's value as Excel and nearly everybody else writes it. No text holds it, for its `<`.
_SHARED = b' t="s"><v>'
#: One that means no string: an empty cell.
_EMPTY = _SHARED + b"</v>"
_SHARED_WORD = np.uint64(int.from_bytes(_SHARED[:8], "little"))
#: The same with other attributes, or space, between.
_SHARED_ANYHOW = re.compile(rb"""(<c\b[^>]*?) t="s"([^>]*>)\s*<v>""")
#: References to characters, without the zeros that may lead.
_HEXADECIMAL = re.compile(rb"&#[xX]0*([0-9A-Fa-f]{2,6});")
_DECIMAL = re.compile(rb"&#0*([0-9]{3,7});")
#: The last characters of Unicode's private use area: a text with all of them is not expected.
_MARKS = [chr(code) for code in range(0xF8FF, 0xF800, -1)]


def read_cells(task: ReadTask, rows: bytes, anchor: int | None, counts: Counts) -> Cells:
    """The arrays of some rows by sheet column and kind.

    Args:
        task: of the window.
        rows: their XML.
        anchor: the row before them, or None when they start at row 1.
        counts: how many cells have a value, by a fast count.

    Raises:
        InputError: the engine refuses the rows.
        WorkbookRefused: a cell means a shared string that there is not.
    """
    if counts.inline and counts.inline == counts.values:
        # All are texts. Asked for, the engine need not look for the kind of each column first.
        texts = read_as(sheet_of(task, rows, anchor), "string")
        return {c: {"text": array} for c, array in texts.items()}
    if task.strings is None or b' t="s"' not in rows:
        return read_columns(sheet_of(task, rows, anchor), rows, Epoch(task.epoch_1904))
    strings = lookup(task.strings)
    if _EMPTY in rows:
        rows, counts = rows.replace(_EMPTY, b">"), counts._replace(at=None)
    untyped = _untyped(rows, counts)
    if untyped is not None:
        numbers = read_as(sheet_of(task, untyped, anchor), "float")
        return {c: {"text": _of_numbers(strings, array)} for c, array in numbers.items()}
    mark = _unused_mark(rows)
    marked = _marked(rows, mark.encode())
    columns = read_columns(sheet_of(task, marked, anchor), marked, Epoch(task.epoch_1904))
    texts = {c: kinds["text"] for c, kinds in columns.items() if "text" in kinds}
    for c, found in _of_marked(strings, texts, mark).items():
        columns[c]["text"] = found
    return columns


def _untyped(rows: bytes, counts: Counts) -> bytes | None:
    """The rows without the types of their cells, where all are such; None for others.

    Without its type such a cell is a number, which the engine reads fastest. It is written over with spaces, because
    that is done for all at once.
    """
    if counts.at is None or len(counts.at) != counts.values or not counts.values:
        return None
    data = np.frombuffer(rows, np.uint8).copy()
    starts = counts.at - (len(_SHARED) - len(b"<v>"))
    if not (starts >= 0).all() or not (words(data, 8)[starts] == _SHARED_WORD).all():
        return None
    for place in range(len(b' t="s"')):
        data[starts + place] = ord(" ")
    return data.tobytes()


def _unused_mark(rows: bytes) -> str:
    """A character that no text of the rows holds, neither as itself nor as a reference (`&#xF8FF;`)."""
    referred = {int(code, 16) for code in _HEXADECIMAL.findall(rows)} | {int(code) for code in _DECIMAL.findall(rows)}
    for mark in _MARKS:
        if ord(mark) not in referred and mark.encode() not in rows:
            return mark
    raise WorkbookRefused("the sheet uses all characters that are left for private use", choice="remove some")


def _marked(rows: bytes, mark: bytes) -> bytes:
    """The rows, such cells turned into texts that are the number behind a mark."""
    rows = rows.replace(_SHARED, b' t="str"><v>' + mark)
    return _SHARED_ANYHOW.sub(rb'\1 t="str"\2<v>' + mark, rows) if b' t="s"' in rows else rows


def _of_marked(strings: pl.Series, texts: dict[int, pl.Series], mark: str) -> dict[int, pl.Series]:
    """Texts with those behind a mark looked up, by sheet column; all columns at once, because there may be hundreds."""
    frame = pl.DataFrame([array.alias(str(c)) for c, array in texts.items()])
    marked = pl.all().str.starts_with(mark)
    places = frame.select(
        pl.when(marked).then(pl.all().str.strip_prefix(mark)).cast(pl.UInt32, strict=False).name.keep()
    )
    wanted = frame.select(marked.sum()).row(0)
    if wanted != places.select(pl.all().count()).row(0):
        raise WorkbookRefused("a cell of a shared string has no number", choice="open it in Excel and save it again")
    last = max((n for n in places.max().row(0) if n is not None), default=-1)
    if last >= len(strings):
        raise _no_such_string(last, len(strings))
    found = {}
    for c, array, place, count in zip(texts, frame, places, wanted, strict=True):
        looked_up = strings.gather(place)
        others = len(array) - array.null_count() != count
        found[c] = pl.select(pl.coalesce(looked_up, array)).to_series() if others else looked_up
    return found


def _of_numbers(strings: pl.Series, numbers: pl.Series) -> pl.Series:
    """The shared strings of those numbers."""
    places = numbers.cast(pl.UInt32, strict=False)
    last = places.max()
    if places.cast(pl.Float64).ne_missing(numbers).any() or (isinstance(last, int) and last >= len(strings)):
        wrong = numbers.filter(places.cast(pl.Float64).ne_missing(numbers) | (places >= len(strings)))[0]
        raise _no_such_string(wrong, len(strings))
    return strings.gather(places)


def _no_such_string(number: float, count: int) -> WorkbookRefused:
    return WorkbookRefused(
        f"a cell means number {number:g} of the shared strings, which are {count:,}, counted from 0",
        choice="open it in Excel and save it again",
    )
