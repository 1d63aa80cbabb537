"""Has polars read a run of records, too, and compares every cell."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import ROW, part
from importer.errors import CellsDisagree
from importer.excel.addresses import column_letters

if TYPE_CHECKING:
    from importer.text_files import TextDialect

_NAME = "_n"


def check_second_reader(rows: bytes, dialect: TextDialect, frame: pl.DataFrame) -> None:
    """Compare the texts of a frame with what polars reads.

    Args:
        rows: bytes of the records.
        dialect: how they are written.
        frame: the rows with a cell, read by us.

    Raises:
        CellsDisagree: a cell differs, or there are other rows.
    """
    theirs = _read(rows, dialect)
    if len(theirs) != len(frame):
        raise CellsDisagree(f"two readers find {len(frame):,} and {len(theirs):,} rows with cells", choice=_CHOICE)
    for column in range(dialect.width):
        name = part(column, "text")
        read = theirs[str(column)]
        ours = frame[name] if name in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)
        differs = ours.ne_missing(read)
        if (unreadable := part(column, "unreadable")) in frame.columns:
            differs &= frame[unreadable].is_null()
        if differs.any():
            at = differs.arg_max() or 0
            raise CellsDisagree(
                f"two readers read {ours[at]!r} and {read[at]!r}",
                place=f"{column_letters(column)}{frame[ROW][at]}", choice=_CHOICE,
            )  # fmt: skip


_CHOICE = "write the file anew, with quotes around texts that hold delimiters, quotes or line ends"


def _read(rows: bytes, dialect: TextDialect) -> pl.DataFrame:
    """Return the rows that have a cell, as polars reads them; the columns are named by their index."""
    read = pl.read_csv(
        io.BytesIO(rows),
        has_header=False,
        separator=dialect.delimiter.decode(),
        quote_char='"' if b'"' in rows else None,
        eol_char=dialect.eol.decode(),
        schema={str(column): pl.String for column in range(dialect.width)},
        truncate_ragged_lines=True,
        missing_columns="insert",
    )
    return read.filter(pl.any_horizontal(pl.all().is_not_null()))
