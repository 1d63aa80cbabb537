"""Reads rows cell by cell: those too sparse for the engine, whose memory is height x width, or too oddly spelled.

Each cell is given to the engine in a row of its own, in one of a few columns by type, and the values are put where they
belong. So the cost follows the cells, wherever they are, and one bad cell is one reject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from importer.cells.frame import VALUE_KINDS
from importer.columns.arrays import Values, make_frame, make_grid
from importer.columns.values import read_iso_dates
from importer.decoding.shared_string_cells import read_cells
from importer.decoding.string_views import map_strings
from importer.decoding.tag_scan import scan
from importer.excel.cell_elements import CellElement, parse_cells
from importer.excel.normalize_xml import decode_wide_escapes, preserve_spaces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.decoding.tasks import ReadTask

#: Column in which the engine gets the cells of a kind, and their XML around the content.
_FORMS: dict[str, tuple[bytes, bytes, bytes]] = {
    "number": (b"A", b"><v>", b"</v></c></row>"),
    "shared": (b"B", b' t="s"><v>', b"</v></c></row>"),
    "text": (b"C", b' t="str"><v>', b"</v></c></row>"),
    "inline": (b"C", b' t="inlineStr"><is>', b"</is></c></row>"),
    "boolean": (b"D", b' t="b"><v>', b"</v></c></row>"),
}
#: As dates and durations, numbers beyond this make the engine panic. It gets 1 instead, in this column (F), and tells
#: whether that is a number.
_HUGE, _PROBES = 1e10, 5
#: A text as it stands in `<v>`, within `<is>`.
_KEPT = b'<t xml:space="preserve">%b</t>'
#: Rows before the first cell in the sheet that the engine gets: the anchor.
_ANCHOR = 1


def read_cell_by_cell(task: ReadTask, rows: bytes, first_row: int) -> pl.DataFrame:
    """Return the frame of some rows, whose XML is as it was cut.

    Raises:
        InputError: the engine refuses a value.
        WorkbookRefused: an address is none, or has two cells; or the cells are scattered over too many columns.
    """
    cells = sorted(parse_cells(rows, first_row), key=lambda cell: (cell.row, cell.column))
    places = (np.array([getattr(cell, name) for cell in cells], np.int64) for name in ("row", "column"))
    return make_frame(make_grid(*places), read_apart(task, cells))


def read_apart(task: ReadTask, cells: list[CellElement]) -> Iterator[Values]:
    """Yield the values of some cells, each read by itself, in any order of kinds.

    Raises:
        InputError: the engine refuses a value.
    """
    cells = _without_strings(task, cells) if any(cell.kind == "shared" for cell in cells) else cells
    yield from _by_engine(task, cells)
    yield from _without_engine(cells)


def _without_strings(task: ReadTask, cells: list[CellElement]) -> list[CellElement]:
    """Return the cells, with those unreadable that refer to a shared string which does not exist."""
    count = 0 if task.strings is None else len(map_strings(task.strings).texts)
    bad = b"shared string %b, of %d (counted from 0)"
    return [
        cell._replace(kind="unreadable", content=bad % (cell.content, count))
        if cell.kind == "shared" and int(cell.content) >= count
        else cell
        for cell in cells
    ]


def _by_engine(task: ReadTask, cells: list[CellElement]) -> Iterator[Values]:
    """Yield the values of all cells that the engine reads."""
    lines = [
        _row(line, cell, *_FORMS[cell.kind]) for line, cell in enumerate(cells, _ANCHOR + 1) if cell.kind in _FORMS
    ]
    if not lines:
        return
    rows = decode_wide_escapes(preserve_spaces(b"".join(lines)))
    taken = np.zeros(len(cells), np.bool_)
    for column, kinds in read_cells(task, rows, _ANCHOR, scan(rows, None).counts).items():
        for kind, array in kinds.items():
            filled = array.is_not_null()
            mine = filled.arg_true().to_numpy().astype(np.int64)
            taken[mine] = True
            if len(mine):
                found = Values(kind, mine, array.filter(filled))
                yield found if column != _PROBES else _probed(cells, found)
    yield from _without_value(cells, [n for n in np.flatnonzero(~taken).tolist() if cells[n].kind in _FORMS])


def _probed(cells: list[CellElement], found: Values) -> Values:
    """Return the huge numbers for which the engine was given 1: as they are, or unreadable if they are to be dates."""
    texts = pl.Series([cells[n].content.decode() for n in found.cells.tolist()])
    if found.kind == "number":
        return found._replace(values=texts.cast(pl.Float64))
    return found._replace(kind="unreadable", values=texts)


def _row(line: int, cell: CellElement, letter: bytes, before: bytes, behind: bytes) -> bytes:
    if cell.kind == "text" and b"_x" in cell.content:  # escapes, which the engine decodes in `<t>` only
        return _row(line, cell._replace(kind="inline", content=_KEPT % cell.content), *_FORMS["inline"])
    if cell.kind == "number" and cell.style and abs(float(cell.content)) > _HUGE:
        return b'<row r="%d"><c r="F%d" s="%b"><v>1</v></c></row>' % (line, line, cell.style)
    style = b' s="%b"' % cell.style if cell.style and cell.kind == "number" else b""
    return b'<row r="%d"><c r="%b%d"%b%b%b%b' % (line, letter, line, style, before, cell.content, behind)


def _without_value(cells: list[CellElement], lost: list[int]) -> Iterator[Values]:
    """Yield the cells for which the engine gave nothing: texts of no characters, and values that it cannot hold."""
    for kind, mine in (
        ("text", [n for n in lost if cells[n].kind in {"text", "inline", "shared"}]),
        ("unreadable", [n for n in lost if cells[n].kind not in {"text", "inline", "shared"}]),
    ):
        if mine:
            texts = ["" if kind == "text" else cells[n].content.decode("utf-8", "replace") for n in mine]
            yield Values(kind, np.array(mine, np.int64), pl.Series(texts, dtype=pl.String))


def _without_engine(cells: list[CellElement]) -> Iterator[Values]:
    """Yield empty texts, dates that are texts, and the cells that have no value."""
    dates = [n for n, cell in enumerate(cells) if cell.kind == "date"]
    if dates:
        yield from read_iso_dates(np.array(dates, np.int64), [cells[n].content.decode() for n in dates])
    for kind, name in (("blank", "text"), ("error", "error"), ("formula", "formula"), ("unreadable", "unreadable")):
        mine = [n for n, cell in enumerate(cells) if cell.kind == kind]
        if mine:
            texts = [cells[n].content.decode() for n in mine]
            yield Values(name, np.array(mine, np.int64), pl.Series(texts, dtype=VALUE_KINDS.get(name, pl.String)))
