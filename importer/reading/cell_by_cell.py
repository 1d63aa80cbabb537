"""Reads rows cell by cell: those too sparse for the engine, whose memory is height x width, or too oddly spelled.

Each cell is given to the engine in a row of its own, in one of a few columns by type, and the values are put where they
belong. So the cost follows the cells, wherever they are, and one bad cell is one reject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.cells.frame import PARTS, ROW, VALUE_KINDS, part
from importer.decoding.shared_string_cells import read_cells
from importer.decoding.tag_scan import scan
from importer.errors import WorkbookRefused
from importer.excel.cell_elements import CellElement, parse_cells
from importer.excel.normalize_xml import decode_wide_escapes, preserve_spaces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from importer.decoding.tasks import ReadTask

    Integers = NDArray[np.int64]

#: Column in which the engine gets the cells of a kind, and their XML around the content.
_FORMS: dict[str, tuple[bytes, bytes, bytes]] = {
    "number": (b"A", b"><v>", b"</v></c></row>"),
    "shared": (b"B", b' t="s"><v>', b"</v></c></row>"),
    "text": (b"C", b' t="str"><v>', b"</v></c></row>"),
    "inline": (b"C", b' t="inlineStr"><is>', b"</is></c></row>"),
    "boolean": (b"D", b' t="b"><v>', b"</v></c></row>"),
    "date": (b"E", b' t="d"><v>', b"</v></c></row>"),
}
#: As dates and durations, numbers beyond this make the engine panic. It gets 1 instead, in this column (F), and tells
#: whether that is a number.
_HUGE, _PROBES = 1e10, 5
#: A text as it stands in `<v>`, within `<is>`.
_KEPT = b'<t xml:space="preserve">%b</t>'
#: Rows before the first cell in the sheet that the engine gets: the anchor.
_ANCHOR = 1
#: Most values and nulls of a window's frame. They take 8 or 16 bytes each, and a check makes three times as many.
MAX_FRAME_CELLS = 64_000_000


class _Values(NamedTuple):
    """Some cells of one kind: positions in the list of all cells, and values."""

    kind: str
    cells: Integers
    values: pl.Series


def read_cell_by_cell(task: ReadTask, rows: bytes, first_row: int) -> pl.DataFrame:
    """Return the frame of some rows, whose XML is as it was cut.

    Raises:
        InputError: the engine refuses a value.
        WorkbookRefused: an address is none, or has two cells; or the cells are scattered over too many columns.
    """
    cells = list(parse_cells(rows, first_row))
    found = [*_by_engine(task, cells), *_without_engine(cells)]
    numbers, lines = np.unique(np.array([cell.row for cell in cells], np.int64), return_inverse=True)
    columns = np.array([cell.column for cell in cells], np.int64)
    _check_size(numbers, sum(len(np.unique(columns[each.cells])) for each in found), len(cells))
    arrays: dict[str, pl.Series] = {}
    for each in found:
        placed = _spread(each.values, lines[each.cells], columns[each.cells], len(numbers))
        for column, array in placed.items():
            name = part(column, each.kind)
            old = arrays.get(name)
            arrays[name] = (array if old is None else old.zip_with(old.is_not_null(), array)).alias(name)
    order = {kind: n for n, kind in enumerate(PARTS)}
    names = sorted(arrays, key=lambda name: (int(name.split(".")[0]), order[name.split(".")[1]]))
    return pl.DataFrame([pl.Series(ROW, numbers, pl.Int64), *(arrays[name] for name in names)])


def _check_size(numbers: Integers, arrays: int, cells: int) -> None:
    if len(numbers) * arrays > MAX_FRAME_CELLS:
        raise WorkbookRefused(
            f"rows {numbers[0]}-{numbers[-1]} hold {cells:,} cells scattered over {arrays:,} columns",
            choice=f"--chunk-rows {max(MAX_FRAME_CELLS // arrays, 1)}, or fewer",
        )


def _by_engine(task: ReadTask, cells: list[CellElement]) -> Iterable[_Values]:
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
                found = _Values(kind, mine, array.filter(filled))
                yield found if column != _PROBES else _probed(cells, found)
    yield from _without_value(cells, [n for n in np.flatnonzero(~taken).tolist() if cells[n].kind in _FORMS])


def _probed(cells: list[CellElement], found: _Values) -> _Values:
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


def _without_value(cells: list[CellElement], lost: list[int]) -> Iterable[_Values]:
    """Yield the cells for which the engine gave nothing: texts of no characters, and values that it cannot hold."""
    for kind, mine in (
        ("text", [n for n in lost if cells[n].kind in {"text", "inline", "shared"}]),
        ("unreadable", [n for n in lost if cells[n].kind not in {"text", "inline", "shared"}]),
    ):
        if mine:
            texts = ["" if kind == "text" else cells[n].content.decode("utf-8", "replace") for n in mine]
            yield _Values(kind, np.array(mine, np.int64), pl.Series(texts, dtype=pl.String))


def _without_engine(cells: list[CellElement]) -> Iterable[_Values]:
    """Yield empty texts, and the cells that have no value."""
    for kind, name in (("blank", "text"), ("error", "error"), ("formula", "formula"), ("unreadable", "unreadable")):
        mine = [n for n, cell in enumerate(cells) if cell.kind == kind]
        if mine:
            texts = [cells[n].content.decode() for n in mine]
            yield _Values(name, np.array(mine, np.int64), pl.Series(texts, dtype=VALUE_KINDS.get(name, pl.String)))


def _spread(values: pl.Series, lines: Integers, columns: Integers, height: int) -> dict[int, pl.Series]:
    """Return arrays of `height` by column, with each value in its line."""
    order = np.argsort(columns, kind="stable")
    found, starts = np.unique(columns[order], return_index=True)
    padded = values.extend_constant(None, 1)
    arrays = {}
    for column, mine in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        places = np.full(height, len(values), np.uint32)
        places[lines[mine]] = mine
        arrays[column] = padded.gather(pl.Series(places))
    return arrays
