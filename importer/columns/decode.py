"""Decodes a window: its tags become cells, these get places and values, and the values become the window's frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.excel.addresses import MAX_COLUMNS
from importer.workers.own_process import require_worker

from .arrays import PATTERN, Values, make_frame, make_grid
from .attributes import BOOLEAN, ERROR, INLINE, ISO_DATE, NUMBER, RESULT, SHARED
from .cell_tags import EMPTY, FORMULA, ODD, VALUE
from .cell_tags import INLINE as INLINE_FORM
from .found_cells import find_by_tags
from .number_marks import Numbers, find_marks
from .texts import ENCODED, decode_text, find_encodings
from .values import (
    Decoded,
    Texts,
    decode_booleans,
    decode_iso_dates,
    decode_numbers,
    decode_shared,
    decode_texts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions, StringViewReader
    from importer.decoding.tag_scan import Tags
    from importer.excel.cell_elements import CellElement
    from importer.number_formats.date_serials import DateSystem
    from importer.number_formats.styles import CellFormats

    from .found_cells import FoundCells

    Codes = NDArray[np.uint8]
    #: Reads odd cells; the indices of the values are those of the list.
    OddReader = Callable[[list[CellElement]], Iterable[Values]]

#: What a cell holds: one of the types of `attributes`, or one of these. Texts of all types are `RESULT`.
_FORMULA, _ODD, _EMPTY = 16, 17, 18
#: Where more odd cells than these are more than half of a window, it is not decoded here.
_MANY_ODD = 1000
#: Most digits of a style that are looked at; a workbook has at most 65,490 styles.
_STYLE_DIGITS = 9


@dataclass(frozen=True)
class Conventions:
    """What the cells of a workbook mean.

    Attributes:
        epoch: its date system.
        formats: number formats of its cell styles.
        strings: returns its shared strings, or None if it has none.
    """

    epoch: DateSystem
    formats: CellFormats
    strings: Callable[[], StringViewReader | None]


class DecodedWindow(NamedTuple):
    """A decoded window.

    Attributes:
        frame: its frame (see `cells.frame`).
        blank: number of its cells that are empty results, `<v></v>`.
        odd: number of its cells that were not decoded here.
        surplus: number of values in the XML beyond one in each of the odd cells.
        unusual: whether the tags of a cell have another form than those that are decoded here.
        nul: whether a text may hold the character NUL.
    """

    frame: pl.DataFrame
    blank: int
    odd: int
    surplus: int
    unusual: bool
    nul: bool


def decode_window(
    rows: bytes, tags: Tags, first_row: int, conventions: Conventions, read_odd: OddReader
) -> DecodedWindow | None:
    """Decode the cells of a window.

    Args:
        rows: XML of the rows; valid UTF-8.
        tags: tags of the rows.
        first_row: number of a first row that has none.
        conventions: what the cells mean.
        read_odd: reads the cells that are not decoded here.

    Returns:
        The cells, or None if the window has no cells, more than rows and cells, cells out of order, or many odd ones.

    Raises:
        WorkbookRefused: a cell has an address that no sheet has, or the cells are scattered over too many columns.
    """
    cells = find_by_tags(tags, first_row)
    return None if cells is None else decode_cells(rows, tags.data, cells, conventions, read_odd)


def decode_cells(
    rows: bytes, data: Bytes, cells: FoundCells, conventions: Conventions, read_odd: OddReader
) -> DecodedWindow | None:
    """Decode the cells that were found in a window; see `decode_window`.

    Args:
        rows: XML of the rows; valid UTF-8.
        data: the same, with padding.
        cells: cells of the window.
        conventions: what the cells mean.
        read_odd: reads the cells that are not decoded here.
    """
    window = _Window(rows, data, cells)
    return window.decode(conventions, read_odd) if window.find_places() else None


class _Window:
    """The cells of a window while they are decoded.

    Args:
        rows: XML of the rows.
        data: the same, with padding.
        cells: cells of the window.
    """

    def __init__(self, rows: bytes, data: Bytes, cells: FoundCells) -> None:
        self._rows, self._data, self._cells = rows, data, cells
        self._attributes, numbers = cells.attributes, cells.numbers
        self._lengths = cells.ends - cells.starts
        self._blank = self._surplus = 0
        self._unusual = self._nul = False
        self._codes = self._find_codes()
        self._row, self._row_cells = np.repeat(numbers.numbers, numbers.cells), numbers.cells
        self._columns = cells.attributes.columns
        #: Odd cells by index.
        self._elements: dict[int, CellElement] = {}

    def _find_codes(self) -> Codes:
        """Return what each cell holds."""
        form, types, good = self._cells.form, self._attributes.types, self._attributes.good
        codes = types.copy()
        codes[(types == INLINE) | (form == INLINE_FORM)] = RESULT
        blank = np.flatnonzero((form == VALUE) & (self._lengths == 0))
        if len(blank):
            results = types[blank] == RESULT
            self._blank = int(np.count_nonzero(results & good[blank]))
            codes[blank[~results]] = _EMPTY
            if self._cells.has_formula is not None:
                codes[blank[~results & self._cells.has_formula[blank]]] = _FORMULA
        codes[form == FORMULA] = _FORMULA
        codes[form == EMPTY] = _EMPTY
        # Where cells follow their predecessors, the places of empty ones matter.
        following = bool((good & (self._attributes.columns < 0)).any())
        codes[(form == ODD) | (~good & ((codes != _EMPTY) | following))] = _ODD
        return codes

    # ---- PLACES ----

    def find_places(self) -> bool:
        """Find out where the cells are; return False if they are out of order, or many of them odd."""
        odd = np.flatnonzero(self._codes == _ODD)
        self._unusual = len(odd) > 0
        if len(odd) > _MANY_ODD and 2 * len(odd) > len(self._codes):
            return False
        if len(odd):
            require_worker()
        for index in odd.tolist():
            self._place_odd(index)
        self._follow()
        self._index = np.flatnonzero(self._codes != _EMPTY)
        places = self._row[self._index] * MAX_COLUMNS + self._columns[self._index]
        return bool((np.diff(places) > 0).all())

    def _parse(self, index: int, column: int) -> CellElement:
        """Parse an odd cell; without an address it is in `column`."""
        from importer.excel.cell_elements import parse_cell  # most windows have no odd cells

        start, end = self._cells.bounds(index)
        xml = self._rows[start:end]
        element = self._elements[index] = parse_cell(xml, int(self._row[index]), column)
        self._surplus += max(xml.count(b"</v>") + xml.count(b"</is>") - 1, 0) if element.kind == "unreadable" else 0
        return element

    def _place_odd(self, index: int) -> None:
        element = self._parse(index, -1)
        self._row[index], self._columns[index] = element.row, element.column
        self._codes[index] = _EMPTY if element.kind == "empty" else _ODD
        self._blank += element.kind == "blank"

    def _follow(self) -> None:
        """Place the cells without an address: each after the one before it, the first of a row in column A."""
        missing = self._columns < 0
        if not missing.any():
            return
        positions = np.arange(len(missing))
        known = np.where(missing, 0, positions)
        begins = (np.cumsum(self._row_cells) - self._row_cells)[self._row_cells > 0]
        known[begins] = begins
        before = np.maximum.accumulate(known)
        base = np.where(missing, 0, self._columns)[before]
        self._columns = np.where(missing, base + positions - before, self._columns)
        for index in np.flatnonzero(missing & (self._codes == _ODD)).tolist():
            element = self._elements[index]
            self._elements[index] = element._replace(column=int(self._columns[index]))

    # ---- VALUES ----

    def decode(self, conventions: Conventions, read_odd: OddReader) -> DecodedWindow:
        """Return the decoded window; the places of its cells are known."""
        index = self._index
        grid = make_grid(self._row[index], self._columns[index])
        self._codes = self._codes[index]
        found, odd = [], [np.flatnonzero(self._codes == _ODD)]
        for decoded in self._decode_kinds(conventions):
            found += decoded.values
            odd.append(decoded.left)
        left = np.sort(np.concatenate(odd))
        if len(left):
            require_worker()
            found += self._read_odd(left, read_odd, conventions.formats)
        # As it is, by an escape, in a format or in what the engine read.
        escaped = "_encodings" in self.__dict__ and self._encodings is not None and (self._encodings == ENCODED).any()
        nul = self._nul or b"\0" in self._rows or bool(escaped) or len(left) > 0
        nul |= any(values.kind == PATTERN for values in found)
        return DecodedWindow(make_frame(grid, found), self._blank, len(left), self._surplus, self._unusual, nul)

    def _decode_kinds(self, conventions: Conventions) -> Iterator[Decoded]:
        for code in np.flatnonzero(np.bincount(self._codes, minlength=_EMPTY)).tolist():
            cells = np.flatnonzero(self._codes == code)
            index = self._index[cells]
            if code == _FORMULA:
                yield self._formulas(cells)
            elif code != _ODD:
                texts = Texts(self._data, cells, self._cells.starts[index], self._lengths[index])
                yield self._decode_type(code, texts, index, conventions)

    def _decode_type(self, code: int, texts: Texts, index: Positions, conventions: Conventions) -> Decoded:
        """Decode cells of one type."""
        if code == NUMBER:
            return decode_numbers(texts, self._attributes.styles[index], conventions.formats, conventions.epoch)
        if code == SHARED:
            strings = conventions.strings()
            self._nul |= strings is not None and strings.may_hold_nul
            return decode_shared(texts, None if strings is None else strings.texts)
        if code == BOOLEAN:
            return decode_booleans(texts)
        if code == ISO_DATE:
            return decode_iso_dates(texts)
        encodings = None if self._encodings is None else self._encodings[index]
        return decode_texts("error" if code == ERROR else "text", texts, encodings)

    @cached_property
    def _encodings(self) -> Codes | None:
        return find_encodings(self._rows, self._data, self._cells.starts, self._cells.ends)

    def _formulas(self, cells: Positions) -> Decoded:
        """Return the formulas that have no result, as text."""
        texts: list[str | None] = []
        for index in self._index[cells].tolist():
            start, end = self._cells.bounds(index)
            tag, _, text = self._rows[start + 1 : end].split(b"<")[1].partition(b">")
            shown = decode_text(b"" if tag.endswith(b"/") else text)
            texts.append(None if shown is None else f"={shown}")
        found = pl.Series(texts, dtype=pl.String)
        good = found.is_not_null().to_numpy()
        return Decoded([Values("formula", cells[good], found.drop_nulls())], cells[~good])

    def _read_odd(self, left: Positions, read_odd: OddReader, formats: CellFormats) -> Iterator[Values]:
        index = self._index[left].tolist()
        for each in index:
            if each not in self._elements:  # it looked like a plain one, so its place is known
                self._parse(each, int(self._columns[each]))
        elements = [self._elements[each] for each in index]
        for found in read_odd(elements):
            yield found._replace(cells=left[found.cells])
            if found.kind == "number":
                yield from find_marks(_as_numbers(found, elements, left), formats)


def _as_numbers(found: Values, elements: list[CellElement], cells: Positions) -> Numbers:
    """Return numbers that were read from odd cells, with the cells' texts and styles."""
    mine = [elements[n] for n in found.cells.tolist()]
    texts = pl.Series([cell.content.decode() for cell in mine], dtype=pl.String)
    styles = np.array([int(cell.style) if 0 < len(cell.style) <= _STYLE_DIGITS else 0 for cell in mine], np.int32)
    lengths = np.array([len(cell.content) for cell in mine], np.int64)
    return Numbers(cells[found.cells], texts, lengths, found.values.to_numpy(), styles)
