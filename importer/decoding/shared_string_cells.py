"""Reads cells with shared strings: gives the engine numbers or marked texts instead, then looks the strings up.

To look the strings up itself, the engine would parse all of them in every process (`shared_strings`). In a column that
holds only shared strings, the engine gets their indexes as numbers, which it reads fastest; in other columns it gets
marked texts, which differ from real numbers.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.errors import WorkbookRefused
from importer.number_formats.date_serials import DateSystem

from .cell_kinds import read_columns
from .engine import Cells, open_rows, read_single_dtype
from .string_views import map_strings, words
from .tag_scan import letter_count
from .value_positions import SHARED_MARKER, find_values

if TYPE_CHECKING:
    from .string_views import Positions
    from .tag_scan import Counts
    from .tasks import ReadTask

#: A shared string cell without an index: an empty cell.
_EMPTY_SHARED_CELL = SHARED_MARKER + b"</v>"
#: A shared string cell with other attributes, spaces or a formula in between.
_SHARED_CELL = re.compile(rb"""(<c\b[^>]*?) t="s"([^>]*>(?:\s*<f\b(?:[^>]*/>|[^>]*>[^<]*</f>))?\s*)<v>""")
#: Character references, without leading zeros.
_HEXADECIMAL = re.compile(rb"&#[xX]0*([0-9A-Fa-f]{2,6});")
_DECIMAL = re.compile(rb"&#0*([0-9]{3,7});")
#: Possible marks: the last characters of Unicode's private use area. No sheet is expected to use all of them.
_MARKS = [chr(code) for code in range(0xF8FF, 0xF800, -1)]


def read_cells(task: ReadTask, rows: bytes, anchor: int | None, counts: Counts, *, formulas: bool = False) -> Cells:
    """Read some rows as arrays by sheet column and kind.

    Args:
        task: the task of the window.
        rows: XML of the rows.
        anchor: number of the row before them, or None if they start at row 1.
        counts: fast counts of the cells with a value.
        formulas: whether some cells have a formula.

    Raises:
        InputError: the engine refuses the rows.
        WorkbookRefused: a cell refers to a shared string that does not exist.
    """
    if counts.inline and counts.inline == counts.values:
        # All cells are texts. With a given dtype the engine need not infer the kind of each column first.
        texts = read_single_dtype(open_rows(task, rows, anchor), "string")
        return {c: {"text": array} for c, array in texts.items()}
    if task.strings is None or b' t="s"' not in rows:
        return read_columns(open_rows(task, rows, anchor), rows, DateSystem(task.epoch_1904))
    strings = map_strings(task.strings).texts
    numbered = _replace_by_indexes(task, rows, counts, formulas=formulas)
    if numbered is None:
        return _read_marked(task, rows, anchor, strings, frozenset())
    if numbered.counts is None:
        # Without the workbook's styles, because a number with a date format would be read as a date.
        numbers = read_single_dtype(open_rows(replace(task, styles=None), numbered.rows, anchor), "float")
        return {c: {"text": _look_up_indexes(strings, array)} for c, array in numbers.items()}
    columns = _read_marked(task, numbered.rows, anchor, strings, frozenset(numbered.counts))
    found = {c: columns[c]["number"].count() for c in numbered.counts if "number" in columns.get(c, {})}
    if found != numbered.counts:  # a style is in an unusual place, or a cell occurs twice
        return _read_marked(task, rows, anchor, strings, frozenset())
    for c in found:
        columns[c]["text"] = _look_up_indexes(strings, columns[c].pop("number"))
    return columns


def _read_marked(task: ReadTask, rows: bytes, anchor: int | None, strings: pl.Series, numbers: frozenset[int]) -> Cells:
    """Read rows whose shared strings are replaced by marked texts; the columns `numbers` hold only numbers."""
    epoch = DateSystem(task.epoch_1904)
    if b' t="s"' not in rows:
        return read_columns(open_rows(task, rows, anchor), rows, epoch, numbers)
    rows = rows.replace(_EMPTY_SHARED_CELL, b">")
    mark = _unused_mark(rows)
    marked = _marked(rows, mark.encode())
    columns = read_columns(open_rows(task, marked, anchor), marked, epoch, numbers)
    texts = {c: kinds["text"] for c, kinds in columns.items() if "text" in kinds}
    for c, found in _look_up_marked(strings, texts, mark).items() if texts else ():
        columns[c]["text"] = found
    return columns


# ---- READ AS NUMBERS --------------------------------------------------------------------------------------------


class _NumberedRows(NamedTuple):
    """Rows with plain numbers in place of shared strings.

    Attributes:
        rows: XML of the rows.
        counts: number of shared strings in each column that holds only shared strings; None if all columns do.
    """

    rows: bytes
    counts: dict[int, int] | None


def _replace_by_indexes(task: ReadTask, rows: bytes, counts: Counts, *, formulas: bool) -> _NumberedRows | None:
    """Return the rows with numbers in columns that hold only shared strings; None if there are no such columns.

    None also if the spelling of the rows does not allow it.
    """
    values = find_values(counts, formulas=formulas)
    if values is None or counts.tags is None:
        return None
    if values.shared.all():
        return _NumberedRows(_erase_types(rows, values.types), None)
    columns = values.columns(counts.tags.data, letter_count(task.width))
    if columns is None:
        return None
    every = np.bincount(columns)
    shared = np.bincount(columns[values.shared], minlength=len(every))
    alone = (shared == every) & (shared > 0)
    if not alone.any():
        return None
    types = values.types[alone[columns[values.shared]]]
    untyped = _erase_types(rows, types, styled=task.styles is not None)
    return _NumberedRows(untyped, {int(c): int(shared[c]) for c in np.flatnonzero(alone)})


_SPACES_WORD = np.uint64(int.from_bytes(b" " * 8, "little"))
#: The word that replaces the first eight bytes of `value_positions.SHARED_MARKER`.
_UNTYPED_WORD = np.uint64(int.from_bytes(b"      ><", "little"))
_STYLE_WORD = np.uint32(int.from_bytes(b' s="', "little"))


def _erase_types(rows: bytes, types: Positions, *, styled: bool = False) -> bytes:
    """Return the rows without the type attributes at `types` and, if `styled`, without the styles of these cells.

    Without its type such a cell is a number, which the engine reads fastest; without its style (` s="12"`, which Excel
    writes before the type) it is not read as a date. Both are overwritten with spaces, which can be done for all cells
    at once.
    """
    data = np.frombuffer(rows, np.uint8).copy()
    at, heads = words(data, 8), words(data, 4)
    for digits in range(1, 6) if styled else ():
        starts = types - (digits + len(b' s=""'))
        starts = starts[heads[starts] == _STYLE_WORD]
        # A few bytes beyond the style may be overwritten: they belong to the type.
        at[starts] = at[starts + 2] = _SPACES_WORD
    at[types] = _UNTYPED_WORD
    return data.tobytes()


def _look_up_indexes(strings: pl.Series, numbers: pl.Series) -> pl.Series:
    """Look up the shared strings with these indexes.

    Raises:
        WorkbookRefused: a number is not an index of the strings.
    """
    places = numbers.cast(pl.UInt32, strict=False)
    last = places.max()
    if places.cast(pl.Float64).ne_missing(numbers).any() or (isinstance(last, int) and last >= len(strings)):
        wrong = numbers.filter(places.cast(pl.Float64).ne_missing(numbers) | (places >= len(strings)))[0]
        raise _no_such_string(wrong, len(strings))
    return strings.gather(places)


# ---- READ AS MARKED TEXTS ---------------------------------------------------------------------------------------


def _unused_mark(rows: bytes) -> str:
    """Return a character that does not occur in the rows, neither literally nor as a reference (`&#xF8FF;`)."""
    referred = {int(code, 16) for code in _HEXADECIMAL.findall(rows)} | {int(code) for code in _DECIMAL.findall(rows)}
    for mark in _MARKS:
        if ord(mark) not in referred and mark.encode() not in rows:
            return mark
    raise WorkbookRefused("the sheet uses all private use characters U+F801 to U+F8FF", choice="remove some")


def _marked(rows: bytes, mark: bytes) -> bytes:
    """Return the rows with shared string cells turned into texts: the mark, then the index."""
    rows = rows.replace(SHARED_MARKER, b' t="str"><v>' + mark)
    return _SHARED_CELL.sub(rb'\1 t="str"\2<v>' + mark, rows) if b' t="s"' in rows else rows


def _look_up_marked(strings: pl.Series, texts: dict[int, pl.Series], mark: str) -> dict[int, pl.Series]:
    """Replace marked texts by the strings they refer to, by sheet column.

    All columns are handled in one query, because there may be hundreds.

    Raises:
        WorkbookRefused: the text after a mark is not an index of the strings.
    """
    frame = pl.DataFrame([array.alias(str(c)) for c, array in texts.items()])
    marked = pl.all().str.starts_with(mark)
    places = frame.select(
        pl.when(marked).then(pl.all().str.strip_prefix(mark)).cast(pl.UInt32, strict=False).name.keep()
    )
    wanted = frame.select(marked.sum()).row(0)
    if wanted != places.select(pl.all().count()).row(0):
        raise WorkbookRefused("a shared string cell has no valid index", choice="open it in Excel and save it again")
    last = max((n for n in places.max().row(0) if n is not None), default=-1)
    if last >= len(strings):
        raise _no_such_string(last, len(strings))
    looked_up = {c: strings.gather(place) for c, place in zip(texts, places, strict=True)}
    mixed = [c for c, array, n in zip(texts, frame, wanted, strict=True) if len(array) - array.null_count() != n]
    both = frame.with_columns(looked_up[c].alias(f"{c}:found") for c in mixed)
    filled = both.select(pl.coalesce(f"{c}:found", str(c)).alias(str(c)) for c in mixed)
    return looked_up | {c: filled[str(c)] for c in mixed}


def _no_such_string(number: float, count: int) -> WorkbookRefused:
    return WorkbookRefused(
        f"a cell refers to index {number:g} of the shared strings, but there are {count:,} (counted from 0)",
        choice="open it in Excel and save it again",
    )
