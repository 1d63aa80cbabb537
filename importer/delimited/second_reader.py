"""Has polars read a run of records, too, and compares every cell: its text, or where it begins and how long it is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from importer.cells.frame import ROW, part
from importer.errors import CellsDisagree
from importer.excel.addresses import column_letters

if TYPE_CHECKING:
    from importer.text_files import TextDialect

    from .fields import Fields, Positions


def check_second_reader(rows: bytes, dialect: TextDialect, frame: pl.DataFrame, lines: Positions) -> None:
    """Compare the texts of a frame with what polars reads.

    Args:
        rows: bytes of the records.
        dialect: how they are written.
        frame: the rows with a cell, read by us.
        lines: line of each record.

    Raises:
        CellsDisagree: a cell differs, or there are other rows.
    """
    try:
        theirs = _read_all(rows, dialect)
    except pl.exceptions.PolarsError as exc:
        raise CellsDisagree(f"the second reader (polars) cannot read the lines: {exc}", choice=_CHOICE) from None
    if len(theirs) != len(lines):
        raise CellsDisagree(f"two readers find {len(lines):,} and {len(theirs):,} rows", choice=_CHOICE)
    numbers, ours = pl.Series(ROW, lines, dtype=pl.Int64), frame
    if len(frame) != len(lines):  # some have no cell
        ours = pl.DataFrame([numbers]).join(frame, on=ROW, how="left", maintain_order="left")
    arrays = ours.to_dict()  # asking a frame for the names of its columns takes longer the more it has
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


def read_alike(rows: bytes, dialect: TextDialect, fields: Fields) -> list[pl.Series] | None:
    """Return the columns as polars reads them, if each field has the length that we find; None if any has another.

    That takes half of the time of making the texts ourselves.

    Args:
        rows: bytes of the records.
        dialect: how they are written.
        fields: the fields that we find.
    """
    try:
        theirs = _read_all(rows, dialect)
    except pl.exceptions.PolarsError:
        return None
    if len(theirs) != len(fields.counts):
        return None
    columns = theirs.get_columns()
    lengths = theirs.select(pl.all().str.len_bytes().fill_null(0)).get_columns()
    even = fields.even(dialect.width)
    for column, texts in enumerate(columns):
        held = True if even else fields.counts > column
        # In lines of one width the fields of a column are every so many-th: slices, which nothing is copied for.
        at = slice(column, None, dialect.width) if even else np.where(held, fields.firsts + column, 0)
        ours, read = fields.lengths[at], lengths[column].to_numpy()
        ours = ours if even else np.where(held, ours, 0)
        others = np.flatnonzero(ours != read)
        if len(others) and not np.array_equal(_unquoted_lengths(fields, at, others), read[others]):
            return None
        filled = (ours > 0) if fields.quoted is None else (ours > 0) | (fields.quoted[at] & held)
        if int(np.count_nonzero(filled)) != texts.count():
            return None
    return columns


def _unquoted_lengths(fields: Fields, at: Positions | slice, others: Positions) -> Positions:
    """Return the lengths of some fields of a column, those of `others`, with one quote for each two."""
    lengths = fields.lengths[at][others]
    return lengths if fields.inner is None else lengths - fields.inner[at][others] // 2


_CHOICE = "write the file again, with quotes around texts that hold delimiters, quotes or line ends"


def _read_all(rows: bytes, dialect: TextDialect) -> pl.DataFrame:
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
