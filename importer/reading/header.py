"""Reads the texts of the header rows and derives column names from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import ROW, kinds_by_column
from importer.cells.text import raw_text
from importer.errors import SheetError
from importer.excel.addresses import MAX_CHARACTERS, column_letters, refuse_columns
from importer.table.cell_range import parse_merges
from importer.table.labels import collapse_spaces, column_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importer.table.header_rows import HeaderRows

#: Columns that a rejects workbook adds; they are not data when the fixed workbook is read again.
REJECT_COLUMNS = ("_row", "_errors")
#: What the user is told when the sheet has no header.
_NO_HEADER = (
    "no header row: the rows are all of one shape and of the same kinds, so the columns are named column_a, column_b…; "
    "--header-row N takes row N for the header"
)


@dataclass(frozen=True)
class SheetColumn:
    """A column of the sheet.

    Attributes:
        index: position of the column in the sheet, from 0.
        header: text of the header cell, stripped, or None if the cell is blank.
        name: column name derived from the header; unique in the sheet.
    """

    index: int
    header: str | None
    name: str

    @property
    def letter(self) -> str:
        """The column's letters in the sheet."""
        return column_letters(self.index)


@dataclass(frozen=True)
class Header:
    """The header of a sheet.

    Attributes:
        first_row: first header row, 1-based; 0 if the sheet has no header.
        last_row: last header row; data begins after it.
        columns: all columns that have a header or data, left to right.
        notes: messages for the user about unusual headers.
    """

    first_row: int
    last_row: int
    columns: tuple[SheetColumn, ...]
    notes: tuple[str, ...]


def read_header(
    head: pl.DataFrame,
    rows: HeaderRows,
    data_columns: Iterable[int],
    merges: Iterable[str],
    *,
    keep_names: bool,
    most_columns: int,
) -> Header:
    """Read the header from the given rows of the head.

    Args:
        head: frame of the head window.
        rows: where the header is.
        data_columns: columns (0-based) that hold data below the header.
        merges: merged ranges of the sheet; a text merged over several header cells counts for each of them.
        keep_names: use header texts unchanged as column names.
        most_columns: maximum number of columns.

    Raises:
        SheetError: the header has more than `most_columns` columns, or a text longer than a cell of Excel can hold.
    """
    texts = _header_texts(head, (rows.first, rows.last), merges)
    indices = sorted({*texts, *data_columns})
    refuse_columns(len(indices), most_columns)
    for index, text in texts.items():
        if len(text) > MAX_CHARACTERS:
            raise SheetError(
                f"the header of column {column_letters(index)} has {len(text):,} characters",
                choice=f"a cell of Excel holds {MAX_CHARACTERS:,}; name the header row with --header-row",
            )
    labels = [texts.get(index) for index in indices]
    names, notes = column_names(labels, indices, keep=keep_names)
    notes = notes if rows.last else [] if rows.given else [_NO_HEADER]
    notes += [note for note in (rows.decided, rows.doubt) if note]
    columns = tuple(SheetColumn(i, label, name) for i, label, name in zip(indices, labels, names, strict=True))
    return Header(rows.first, rows.last, columns, tuple(notes))


def _header_texts(head: pl.DataFrame, rows: tuple[int, int], merges: Iterable[str]) -> dict[int, str]:
    """Return the header text of each column; texts from several rows are joined from top to bottom."""
    wanted = head.filter(pl.col(ROW).is_between(*rows))
    spans = [span for span in parse_merges(merges, rows[1]) if span.top >= rows[0]]
    columns = kinds_by_column(head.columns)
    shown = wanted.select(ROW, *[raw_text(c, kinds).alias(str(c)) for c, kinds in columns.items()])
    lines: list[dict[int, str]] = []
    for line in shown.iter_rows(named=True):
        cells = {
            c: collapse_spaces(line[str(c)])
            for c in columns
            if line[str(c)] is not None and collapse_spaces(line[str(c)])
        }
        for span in spans:
            if span.top == line[ROW] and span.left in cells:
                cells |= dict.fromkeys(range(span.left, span.right + 1), cells[span.left])
        lines.append(cells)
    for number in range(len(lines) - 2, -1, -1):
        _extend_groups(lines[number], lines[number + 1 :])
    texts: dict[int, dict[str, None]] = {}
    for cells in lines:
        for c, text in cells.items():
            texts.setdefault(c, {})[text] = None
    return {c: " ".join(each) for c, each in texts.items()}


def _extend_groups(upper: dict[int, str], below: list[dict[int, str]]) -> None:
    """Let a label count for the columns on its right, up to the next one, whose labels below it occur more than once.

    `2023` above `units` and `revenue`, and `2024` above the same, are groups, though nobody merged their cells.
    """
    lower = below[0]
    paths = {c: tuple(labels.get(c) for labels in below) for c in lower}
    repeated = {text for text, count in Counter(lower.values()).items() if count > 1}
    named = {(text, paths.get(c)) for c, text in upper.items()}
    for column in sorted(lower):
        before = column - 1
        if column in upper or before not in upper or before not in lower or lower[column] not in repeated:
            continue
        label = upper[before], paths[column]
        if label not in named:
            upper[column] = upper[before]
            named.add(label)
