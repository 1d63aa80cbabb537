"""Reads the texts of the header rows and derives column names from them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import ROW, kinds_by_column
from importer.cells.text import raw_text
from importer.errors import SheetError
from importer.excel.addresses import MAX_CHARACTERS, column_letters
from importer.postgres.types import NAME_BYTES
from importer.table.cell_range import parse_merges

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importer.table.header_rows import HeaderRows

#: System columns of every table; PostgreSQL refuses them as column names.
_SYSTEM_COLUMNS = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
#: Columns that a rejects workbook adds; they are not data when the fixed workbook is read again.
REJECT_COLUMNS = ("_row", "_errors")
#: Characters that join letters, and change how these look.
_JOINERS = "\u200c\u200d"
_NO_JOINERS = dict.fromkeys(map(ord, _JOINERS))
#: Other characters that show nothing and are no white space: format characters (category Cf), and the rest of
#: Unicode's `Default_Ignorable_Code_Point`, such as variation selectors and Hangul fillers.
_INVISIBLE = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
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
    if len(indices) > most_columns:
        raise SheetError(
            f"the header has {len(indices):,} columns, a table can have {most_columns:,}",
            choice="choose some with --columns",
        )
    for index, text in texts.items():
        if len(text) > MAX_CHARACTERS:
            raise SheetError(
                f"the header of column {column_letters(index)} has {len(text):,} characters",
                choice=f"a cell of Excel holds {MAX_CHARACTERS:,}; name the header row with --header-row",
            )
    labels = [texts.get(index) for index in indices]
    names, notes = column_names(labels, indices, keep=keep_names)
    notes = notes if rows.last else [] if rows.given else [_NO_HEADER]
    notes += [rows.doubt] if rows.doubt else []
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


def collapse_spaces(text: str) -> str:
    """Return `text` as people see it: without invisible characters and outer white space, inner one a single space.

    Joiners within a word stay: Persian and Indic scripts, and emoji, are written with them.
    """
    return " ".join(_INVISIBLE.sub("", text).split()).strip(_JOINERS + " ")


def comparable_text(text: str) -> str:
    """Return what two header texts that look alike have in common, whatever their case and normal form."""
    return unicodedata.normalize("NFC", collapse_spaces(text).translate(_NO_JOINERS)).casefold()


def column_names(labels: list[str | None], indices: list[int], *, keep: bool) -> tuple[list[str], list[str]]:
    """Return unique column names for header texts, and notes about names that differ in more than spelling."""
    names: list[str] = []
    notes: list[str] = []
    taken: set[str] = set()
    for label, index in zip(labels, indices, strict=True):
        letters = column_letters(index)
        wanted = _avoid_system_name((label or "").replace("\0", "") if keep else _snake_case(label or ""))
        if not wanted:
            wanted = f"column_{letters.lower()}"
            notes.append(f"blank-label: column {letters} has no usable header, named {wanted!r}")
        name = unique_name(wanted, taken)
        if name != shorten(wanted, ""):
            notes.append(f"duplicate-label: column {letters} ({label!r}) is named {name!r}")
        elif name != wanted:
            notes.append(f"long-label: the header of column {letters} has more than {NAME_BYTES} bytes, named {name!r}")
        taken.add(name)
        names.append(name)
    return names, notes


def to_identifier(label: str) -> str:
    """Return a header text as a snake_case name (letters and digits of any script, at most 63 bytes); may be empty."""
    return shorten(_avoid_system_name(_snake_case(label)), "")


def _snake_case(label: str) -> str:
    """Return a text's letters, digits and marks in lower case, with `_` between words and before a leading digit.

    What nobody sees (a soft hyphen, say) is no part of the name, and does not part words.
    """
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", label).translate(_NO_JOINERS)).lower()
    # The vowels of Indic scripts are marks, which `\w` does not match.
    words = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in text)
    name = "_".join(words.split())
    return f"_{name}" if name[:1].isdigit() else name


def _avoid_system_name(name: str) -> str:
    """Return `name`, prefixed with `_` if PostgreSQL refuses it as a column name."""
    return f"_{name}" if name in _SYSTEM_COLUMNS else name


def unique_name(wanted: str, taken: set[str]) -> str:
    """Return the first of `wanted`, `wanted_2`, `wanted_3`… that is not taken; at most 63 bytes."""
    name, number = shorten(wanted, ""), 2
    while name in taken:
        name, number = shorten(wanted, f"_{number}"), number + 1
    return name


def shorten(name: str, suffix: str) -> str:
    """Return `name + suffix` in at most 63 bytes, with `name` cut between characters."""
    return name.encode()[: NAME_BYTES - len(suffix.encode())].decode("utf-8", "ignore") + suffix
