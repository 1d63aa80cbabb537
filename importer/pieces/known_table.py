"""Settles which table of a sheet is read, and where its header is, by what its columns are known to be called."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.frame import ROW
from importer.reading.area import area_of, read_head, stated_table
from importer.reading.sheet_source import SheetSource, make_source
from importer.table.cell_range import clip_merges, parse_merges
from importer.table.grid import make_grid
from importer.table.known_labels import KnownLabels, header_by_labels, known_labels

from .several_tables import with_largest_table

if TYPE_CHECKING:
    from importer.reading.windows import SheetFacts
    from importer.settings import Settings


def settle_table(source: SheetSource, settings: Settings) -> SheetSource:
    """Return the sheet with the table to read, if it has several, and the header that known names decide.

    Raises:
        NotSpooled: windows that decide this were not kept.
    """
    for settle in (with_largest_table, _with_named_header):
        source = _made_again(source, settle(source, settings), settings)
    return source


def settle_for_table(source: SheetSource, settings: Settings, columns: tuple[str, ...]) -> SheetSource:
    """Return the sheet with the table, and the header, that have most of the columns of an existing table.

    Args:
        source: the sheet, read before it was known that there is such a table.
        settings: settings of the run, which has no contract.
        columns: names of the columns.

    Raises:
        NotSpooled: windows that decide this were not kept.
    """
    settings = replace(settings, wanted=tuple((name,) for name in columns), wanted_by="the table")
    known = known_labels(settings)
    named, labels = _count_named(source, known), _count_labels(source)
    several = source.cut.other_tables or source.cut.doubtful_tables
    if (named == len(columns) and not several) or (labels and named == labels):
        return source
    cut, other = source.cut, source
    if several:
        piece = None if cut.other_tables else cut.piece
        whole = replace(cut, piece=piece, other_tables=(), doubtful_tables=(), fits="", header=None)
        other = settle_table(_made_again(source, whole, settings), settings)
    else:
        other = _made_again(source, _with_named_header(source, settings), settings)
    # One that has no other columns is no less the table's own.
    return other if (_count_named(other, known), -_count_labels(other)) > (named, -labels) else source


def _made_again(source: SheetSource, cut: SheetFacts, settings: Settings) -> SheetSource:
    """Return the sheet with other facts; the same one if these are its own."""
    return source if cut is source.cut else make_source((source.workbook, source.sheet), cut, source.windows, settings)


def _count_named(source: SheetSource, known: KnownLabels) -> int:
    return len(known.match([c.header for c in source.header.columns]))


def _count_labels(source: SheetSource) -> int:
    return sum(column.header is not None for column in source.header.columns)


def _with_named_header(source: SheetSource, settings: Settings) -> SheetFacts:
    """Return the facts of a sheet; they have the header if its names decide that."""
    cut, book, known = source.cut, source.workbook, known_labels(settings)
    given = settings.header_rows is not None or settings.rows is not None or book.origin is not None
    if given or stated_table(cut) is not None or not known.columns:
        return cut
    if _count_named(source, known) == len(known.columns) and source.edges.header.doubt is None:
        return cut
    area = area_of(cut.piece)
    head = read_head(source.windows, cut.piece, settings)
    head = head if area is None else head.filter(pl.col(ROW).is_between(area.top, area.bottom))
    grid = make_grid(head, textual=any(window.textual for window in source.windows))
    merges = cut.merges if area is None else clip_merges(cut.merges, area)
    found = source.edges.header
    header = header_by_labels(grid, parse_merges(merges, grid.rows[-1] if grid.rows else 0), found, known)
    return cut if header == found else replace(cut, header=header)
