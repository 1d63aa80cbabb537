"""Marks the rows of a window that may be totals: by a label, or by a formula that sums the column above. In a worker.

Only rows that lack a cell which nearly all others have are searched for labels, so a window costs next to nothing.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from importer.cells.frame import ROW, VALUE_KINDS, kinds_by_column, part
from importer.excel.addresses import column_index
from importer.excel.byte_search import holds_pair

from .row_forms import Form, find_forms, without_chance
from .total_words import (
    ALONE,
    AT_END,
    ONLY_TOTALS,
    ONLY_TOTALS_CJK,
    PLAIN_CHARACTERS,
    SIGNS,
    TOTALS,
    beginnings,
    begins_with,
    normalize_label,
    spellings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A blank in a column means something if no more than a tenth of the rows, or so many, have one.
_FEW_ROWS = 256
#: How these labels begin, maybe after signs, or end, or that they must be normalized first: looking for that takes
#: 150 ns a text, a thirtieth of the time in Python.
_MAY_BE_LABEL = (
    rf"(?is)^\W*(?:{beginnings((*ONLY_TOTALS, *ONLY_TOTALS_CJK, *TOTALS, *ALONE))})|^[\s\x1c-\x1f]*(?-i:{SIGNS})"
    rf"|(?-i:^.{{0,12}}[^{PLAIN_CHARACTERS}]|[^{PLAIN_CHARACTERS}].{{0,12}}$)|(?:{spellings(AT_END)})\W*$"
)
#: Rows at the end of a window that are always searched for labels.
_LAST_ROWS = 8
#: A longer text is a remark.
_LONGEST_LABEL = 60
_SUMMING = (b"SUM(", b"SUBTOTAL(", b"AGGREGATE(")
_SUM_CELL = re.compile(rb'<c r="([A-Z]{1,3})(\d{1,7})"[^>]*><f\b[^>]*>([^<]*\b(?:SUM|SUBTOTAL|AGGREGATE)\([^<]*)</f>')
#: A sum that leaves out others of its kind, which no data have.
_SUBTOTAL = re.compile(rb"\s*SUBTOTAL\((?:10)?9,")
_SPAN = re.compile(rb"\$?([A-Z]{1,3})\$?(\d{1,7}):\$?([A-Z]{1,3})\$?(\d{1,7})")
#: A sum over a column of an Excel table: `SUBTOTAL(109,[amount])`.
_TABLE_SUM = re.compile(rb"SUBTOTAL\(1?09,[^)]*\[")
#: Share of a window's cells of a column that are no texts, where a text stands out: a header above every two rows does.
_TYPED = 0.6
#: Formulas that sum the column above in more than one of so many rows are a running total, which is data.
_RUNNING, _FEW = 3, 8


_WORD_CHARACTER = re.compile(r"\w")


def _is_total_label(text: str) -> bool:
    """Return whether a text is the label of a total."""
    label = normalize_label(text)
    first = _WORD_CHARACTER.search(label)
    letter = first[0].lower() if first and first[0].isascii() and first[0].isalpha() else ""
    return any(pattern.search(label) for pattern in (_labels_ending(), _labels_beginning(letter)))


@functools.cache
def _labels_beginning(letter: str) -> re.Pattern[str]:
    """Return what labels of totals match that are known by how they begin.

    Those of means, counts and carried sums are names, too, and only count alone. Patterns are compiled when a text may
    be one, and only with the words that begin as it does: that of all takes 3 ms, those of most letters 0.2.

    Args:
        letter: the first letter or digit, one of a-z; empty: it is another one.
    """
    forms = (
        (r"^\W*(?:{})\b", (*ONLY_TOTALS, *TOTALS)),
        (r"^\W*(?:{})", ONLY_TOTALS_CJK),
        (r"^\W*(?:{})\W*$", ALONE),
    )
    alike = [(form, [word for word in words if begins_with(word, letter)]) for form, words in forms]
    return re.compile("(?i)" + ("|".join(form.format(spellings(words)) for form, words in alike if words) or r"(?!)"))


@functools.cache
def _labels_ending() -> re.Pattern[str]:
    """Return what labels of totals match that are known by how they end, and signs."""
    # Such a range takes 2 ms to compile where case is ignored, which these characters do not have.
    return re.compile(rf"(?i)(?:\b|(?<=\W)|(?<=(?-i:[\u3040-\u9fff])))(?:{spellings(AT_END)})\W*$|^\s*(?:{SIGNS})\s*$")


class RowMark(NamedTuple):
    """A row that may be a total.

    Attributes:
        row: sheet row, 1-based.
        label: column of a text that says so, 0-based; -1 without one.
        sums: columns whose formula sums cells above in the same column.
        repeats: whether it, and rows below it in the window, may repeat the header.
        form: what its cells look like: `heading`, a single text in the first column; `bare`, nothing but numbers, and
            none in the first column.
        subtotal: whether a formula is SUBTOTAL, which Excel's own command writes below each group.
    """

    row: int
    label: int
    sums: tuple[int, ...] = ()
    repeats: bool = False
    form: Form = ""
    subtotal: bool = False


def find_marks(frame: pl.DataFrame, xml: bytes, formulas: int, *, head: bool = True) -> tuple[RowMark, ...]:
    """Return the rows of a window that may be totals, in the order of the sheet.

    Args:
        frame: the window (see `cells.frame`).
        xml: its rows.
        formulas: number of formulas in them.
        head: whether it is the first window of the sheet.
    """
    columns = kinds_by_column(frame.columns)
    beside = len(columns) > 1 and not frame.is_empty()
    # The last rows, too: in a narrow table, or alone in a window, a total has as many cells as the others.
    sparse = _without_a_key(frame, columns) if beside else frame.clear()
    labels = _find_labels(sparse, columns)
    forms = without_chance(frame, columns, find_forms(sparse, columns, len(frame)))
    sums, subtotals = _find_sums(xml, len(frame)) if formulas else ({}, set())
    texts = _first_text_row(frame, head=head)
    rows = sorted({*labels, *sums, *forms, *([texts] if texts else [])})
    return tuple(
        RowMark(row, labels.get(row, -1), tuple(sums.get(row, ())), row == texts, forms.get(row, ""), row in subtotals)
        for row in rows
    )


def _find_labels(sparse: pl.DataFrame, columns: Mapping[int, Sequence[str]]) -> dict[int, int]:
    """Return the column of the label by row, of rows that may have one."""
    with_texts = [column for column, kinds in columns.items() if "text" in kinds]
    if not with_texts:
        return {}
    # One query for all columns: there may be thousands.
    texts = pl.concat([sparse[part(column, "text")] for column in with_texts])
    places = texts.str.contains(_MAY_BE_LABEL).arg_true()
    rows = sparse[ROW].to_list()
    found: dict[int, int] = {}
    for place, text in zip(places.to_list(), texts.gather(places).to_list(), strict=True):
        if len(text) <= _LONGEST_LABEL and _is_total_label(text):
            order, line = divmod(place, len(rows))
            found.setdefault(rows[line], with_texts[order])
    return found


def _without_a_key(frame: pl.DataFrame, columns: Mapping[int, Sequence[str]]) -> pl.DataFrame:
    """Return the rows that have no cell in a column that nearly every row fills, and the last rows.

    Labels are searched in no other rows: the pattern takes 1 µs a text, and optional cells are missing in most sheets.
    """
    late = pl.int_range(pl.len()).cast(pl.Int64) >= len(frame) - _LAST_ROWS
    missing, arrays = [late], frame.to_dict(as_series=True)
    for column, kinds in columns.items():
        names = [part(column, kind) for kind in kinds]
        held = sum(len(frame) - arrays[name].null_count() for name in names)
        if held < len(frame) <= held + max(_FEW_ROWS, len(frame) // 10) and 2 * held >= len(frame):
            missing.append(pl.all_horizontal([pl.col(name).is_null() for name in names]))
    return frame.filter(pl.any_horizontal(missing))


def _first_text_row(frame: pl.DataFrame, *, head: bool) -> int:
    """Return the first row that has texts only, some where others have none; 0 without one.

    In the head of the sheet, such rows above the first values are the header itself.

    In a sheet whose columns are all texts, a header that is repeated does not stand out.
    """
    columns = kinds_by_column(frame.columns)
    values = [pl.col(part(c, k)).is_null() for c, kinds in columns.items() for k in kinds if k != "text"]
    if not values:
        return 0
    texts_only = pl.all_horizontal(values)
    if head:  # the header itself would count among the texts
        frame = frame.slice(int(frame.select((~texts_only).arg_max()).item() or 0))
    held = {name: len(frame) - frame[name].null_count() for name in frame.columns}
    stands_out: list[pl.Expr] = []
    for column, kinds in columns.items():
        counts = {kind: held[part(column, kind)] for kind in kinds if kind in VALUE_KINDS}
        texts = counts.pop("text", 0)
        if texts and sum(counts.values()) >= _TYPED * (texts + sum(counts.values())):
            stands_out.append(pl.col(part(column, "text")).is_not_null())
    if not stands_out:
        return 0
    found = frame.filter(pl.any_horizontal(stands_out) & texts_only)
    return int(found[ROW][0]) if len(found) else 0


def _find_sums(xml: bytes, rows: int) -> tuple[dict[int, list[int]], set[int]]:
    """Return the columns with a sum of cells above by row, without running totals; and the rows with a SUBTOTAL."""
    if not any(holds_pair(xml, name[-2:]) and name in xml for name in _SUMMING):
        return {}, set()
    by_column: dict[bytes, list[int]] = {}
    subtotals = set[int]()
    for cell in _SUM_CELL.finditer(xml):
        if _sums_above(cell[1], int(cell[2]), cell[3]):
            by_column.setdefault(cell[1], []).append(int(cell[2]))
            if _SUBTOTAL.match(cell[3]):
                subtotals.add(int(cell[2]))
    found: dict[int, list[int]] = {}
    for letters, summed in by_column.items():
        if len(summed) <= max(_FEW, rows // _RUNNING) and (len(summed) == 1 or len(summed) * 2 <= rows):
            for row in summed:
                found.setdefault(row, []).append(column_index(letters.decode()))
    return found, subtotals & found.keys()


def _sums_above(letters: bytes, row: int, formula: bytes) -> bool:
    """Return whether a formula sums two or more cells above it in its own column; a SUBTOTAL may sum one."""
    if _TABLE_SUM.search(formula):
        return True
    spans = [(left, int(top), right, int(bottom)) for left, top, right, bottom in _SPAN.findall(formula)]
    least = 0 if _SUBTOTAL.match(formula) else 1
    return any(left == right == letters and top + least <= bottom < row for left, top, right, bottom in spans)
