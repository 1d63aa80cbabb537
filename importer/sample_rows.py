"""Shows cells of a sheet as they will be loaded: its first and last data rows, and the first value of each column."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from importer.cells import spool
from importer.cells.convert import convert
from importer.cells.frame import ROW, kinds_by_column, kinds_of, part
from importer.cells.text import raw_text, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from importer.cells.field import Field
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource

#: Rows at each end of the table that are shown.
_ROWS = 5

Row = tuple[int, dict[int, str]]


class SampleRows(NamedTuple):
    """Data rows as texts.

    Attributes:
        first: (sheet row, texts by column index) of the first rows.
        last: the same of the last rows that are not among the first.
        values: the first value of each column, by column index, as it will be loaded.
    """

    first: list[Row]
    last: list[Row]
    values: dict[int, str]


def read_samples(source: SheetSource, fields: dict[int, Field], missing: tuple[str, ...]) -> SampleRows:
    """Return rows and values of a sheet.

    Args:
        source: the sheet, whose windows are kept.
        fields: fields that the columns are loaded by, by column index.
        missing: texts that mean a missing value, where a field has none of its own.
    """
    first: list[Row] = []
    for window in source.windows:
        if len(first) == _ROWS:
            break
        frame = source.data.of(spool.read(window.path))
        first += _rows(frame.head(_ROWS - len(first)), source.header.columns)
    last: list[Row] = []
    for window in reversed(source.windows):
        if len(last) == _ROWS or not first:
            break
        frame = source.data.of(spool.read(window.path)).filter(pl.col(ROW) > first[-1][0])
        last = _rows(frame.tail(_ROWS - len(last)), source.header.columns) + last
    return SampleRows(first, last, _first_values(source, fields, missing))


def _rows(frame: pl.DataFrame, columns: Sequence[SheetColumn]) -> list[Row]:
    texts = [raw_text(c.index, kinds_of(frame.columns, c.index)).alias(str(c.index)) for c in columns]
    return [
        (row[ROW], {c.index: text for c in columns if (text := row[str(c.index)]) is not None})
        for row in frame.select(ROW, *texts).iter_rows(named=True)
    ]


def _first_values(source: SheetSource, fields: dict[int, Field], missing: tuple[str, ...]) -> dict[int, str]:
    """Return the first value of each column; a cell that will be rejected is shown as it is."""
    found: dict[int, str] = {}
    wanted = {c.index for c in source.header.columns if c.index in source.facts}
    for window in source.windows:
        if not wanted:
            break
        frame = source.data.of(spool.read(window.path))
        kinds = {} if frame.is_empty() else kinds_by_column(frame.columns)
        for column in sorted(wanted & kinds.keys()):
            value = _first_value(frame, column, kinds[column], fields.get(column), missing)
            if value is not None:
                found[column] = value
        wanted -= found.keys()
    return found


def _first_value(
    frame: pl.DataFrame, column: int, kinds: list[str], field: Field | None, missing: Iterable[str]
) -> str | None:
    absent = field.missing_values if field is not None and field.missing_values is not None else tuple(missing)
    raw = frame.select(raw_text(column, kinds).alias("raw"))["raw"]
    held = raw.is_not_null()
    if "text" in kinds:
        held &= ~frame[part(column, "text")].is_in(list(absent)).fill_null(value=False)
    at = held.arg_max()
    if at is None or not held[at]:
        return None
    text = str(raw[at])
    if field is None or field.type == "string":
        return text
    value = frame[at : at + 1].select(to_text(field.type, convert(field, column, kinds)))
    return text if value.item() is None else str(value.item())
