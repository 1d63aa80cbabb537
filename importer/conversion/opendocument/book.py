"""Reads OpenDocument spreadsheets (.ods): a stream of `content.xml`, values from the attributes of its cells.

Source: OpenDocument 1.3, part 3 (19.385 and following: values; 9.1: tables; 19.675, 19.677: repeats).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING
from xml.parsers import expat

from importer.conversion.model import OtherCell, OtherRow, OtherSheet, Surroundings
from importer.errors import LimitExceeded, WorkbookRefused
from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS, column_letters
from importer.excel.package import Package

from .styles import Styles
from .values import FORMATS, MOST_SPACES, CellText, count_of, read_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from importer.settings import Limits

_CONTENT = "content.xml"
#: Most cells that are repeats of others, and characters in them: a table is written cell by cell, a bomb by one that is
#: repeated.
_MOST_REPEATED, _MOST_CHARACTERS = 5_000_000, 200_000_000
#: Most tables, as in LibreOffice, and most elements in each other.
_MOST_TABLES, _MOST_DEPTH = 10_000, 1_000
_RESAVE = "open it in LibreOffice and save it as .xlsx"
_HIDDEN, _CELLS = {"collapse", "filter"}, {"table:table-cell", "table:covered-table-cell"}


class OdsBook:
    """An OpenDocument spreadsheet.

    Attributes:
        sheets: its sheets.
        formats: number formats, see `values`.
        epoch_1904: False: dates are written as texts.
        reader: what reads it.

    Raises:
        WorkbookRefused: it is encrypted, damaged, or holds no spreadsheet.
    """

    epoch_1904 = False
    reader = "importer's own reader of OpenDocument"

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self.formats = list(FORMATS)
        with Package(path, limits) as package:
            manifest = "META-INF/manifest.xml"
            if manifest in package and b"encryption-data" in package.read(manifest):
                raise WorkbookRefused("the workbook is encrypted", place=path.name, choice="save it without a password")
            if _CONTENT not in package:
                raise WorkbookRefused("the file has no content.xml", place=path.name, choice=_RESAVE)
            self._styles = Styles()
            self._styles.read(package)
        listing = _OdsParser(path.name, -1, Surroundings(), self._styles)
        for _ in self._parsed(listing):
            pass
        hidden = self._styles.hidden_tables
        self.sheets = [
            OtherSheet(name, "worksheet", "hidden" if style in hidden else "visible") for name, style in listing.tables
        ]
        if not self.sheets:
            raise WorkbookRefused("the file holds no spreadsheet", place=path.name, choice=_RESAVE)

    def rows(self, index: int, beside: Surroundings) -> Iterator[OtherRow]:
        """Yield the rows of a sheet that have cells, in order; fill in what is beside them.

        Raises:
            LimitExceeded: cells are repeated too often, or lie beyond the last row or column.
            WorkbookRefused: the XML is damaged.
        """
        yield from self._parsed(_OdsParser(self._path.name, index, beside, self._styles))

    def _parsed(self, parser: _OdsParser) -> Iterator[OtherRow]:
        with Package(self._path, self._limits) as package:
            for block in package.stream(_CONTENT):
                parser.feed(block)
                yield from parser.take()
            parser.close()
            yield from parser.take()


class _OdsParser:
    """The parser of one pass over `content.xml`; gives the rows of one table, or only lists the tables.

    Args:
        place: name of the file, for messages.
        wanted: index of the table; -1: none.
        beside: gets hidden columns and merged ranges of that table.
        styles: gets what stands before the tables.
    """

    def __init__(self, place: str, wanted: int, beside: Surroundings, styles: Styles) -> None:
        self.tables: list[tuple[str, str]] = []
        self._styles = styles
        self._place, self._wanted, self._beside = place, wanted, beside
        self._path: list[str] = []
        self._rows: list[OtherRow] = []
        self._row = self._column = self._columns = self._repeated = self._characters = 0
        self._row_repeats, self._row_hidden, self._row_style = 1, False, ""
        self._cells: list[OtherCell] = []
        #: Where each run of columns ends, and their style.
        self._column_ends: list[int] = []
        self._column_styles: list[str] = []
        self._cell: dict[str, str] | None = None
        self._text = CellText()
        self._in_table = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._start, self._end
        self._parser.CharacterDataHandler = self._text.add

    def feed(self, block: bytes) -> None:
        """Parse a block."""
        self._parse(block, final=False)

    def close(self) -> None:
        """Parse the end."""
        self._parse(b"", final=True)

    def take(self) -> list[OtherRow]:
        """Return the rows that became complete since the last call."""
        found, self._rows = self._rows, []
        return found

    def _parse(self, block: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(block, final)
        except expat.ExpatError as exc:
            raise WorkbookRefused(
                f"part {_CONTENT!r} is not well-formed XML ({exc})", place=self._place, choice=_RESAVE
            ) from None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(tag)
        depth = len(self._path)
        if depth > _MOST_DEPTH:
            fact = f"elements of {_CONTENT} are nested more than {_MOST_DEPTH:,} deep"
            raise LimitExceeded(fact, place=self._place, choice=_RESAVE)
        if tag == "table:table" and self._path[-2:-1] == ["office:spreadsheet"]:
            self._add_table(attributes)
            self._in_table = depth if len(self.tables) - 1 == self._wanted else 0
        elif not self._in_table:
            self._styles.start(tag, attributes)
        elif self._cell is not None:
            self._start_in_cell(tag, attributes)
        elif tag == "table:table-column":
            self._start_column(attributes)
        elif tag == "table:table-row":
            self._start_row(attributes)
        elif tag in _CELLS:
            self._cell = attributes
            self._text.clear()

    def _add_table(self, attributes: dict[str, str]) -> None:
        self.tables.append((attributes.get("table:name", ""), attributes.get("table:style-name", "")))
        if len(self.tables) > _MOST_TABLES:
            raise LimitExceeded(
                f"the workbook has more than {_MOST_TABLES:,} sheets", place=self._place, choice=_RESAVE
            )

    def _start_in_cell(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "table:table" and self._path[-2] in _CELLS:
            place = f"{self._place}, row {self._row:,}"
            raise WorkbookRefused("a cell holds a table of its own", place=place, choice="take it out of the cell")
        self._text.start(tag, attributes)

    def _end(self, tag: str) -> None:
        depth = len(self._path)
        self._path.pop()
        if depth == self._in_table:
            self._in_table = 0
        elif not self._in_table:
            return
        elif self._cell is not None:
            if tag in _CELLS and not self._text.depth:
                self._end_cell(self._cell)
                self._cell = None
            else:
                self._text.end(tag)
        elif tag == "table:table-row":
            self._end_row()

    def _start_column(self, attributes: dict[str, str]) -> None:
        count = count_of(attributes, "table:number-columns-repeated")
        if attributes.get("table:visibility") in _HIDDEN and self._columns < MAX_COLUMNS:
            last = min(self._columns + count, MAX_COLUMNS) - 1
            self._beside.hidden_columns.append((self._columns, last))
        if self._columns < MAX_COLUMNS:
            self._column_ends.append(self._columns + count)
            self._column_styles.append(attributes.get("table:default-cell-style-name", ""))
        self._columns += count

    def _start_row(self, attributes: dict[str, str]) -> None:
        self._row += 1
        self._column, self._cells = 0, []
        self._row_repeats = count_of(attributes, "table:number-rows-repeated")
        self._row_hidden = attributes.get("table:visibility") in _HIDDEN
        self._row_style = attributes.get("table:default-cell-style-name", "")

    def _end_cell(self, attributes: dict[str, str]) -> None:
        repeats = count_of(attributes, "table:number-columns-repeated")
        if self._text.spaces > MOST_SPACES:
            raise self._beyond(f"texts have more than {MOST_SPACES:,} spaces that are written as a number")
        style = attributes.get("table:style-name") or self._row_style or self._column_style()
        found = read_value(attributes, self._text.text(), elapsed=self._styles.is_elapsed(style))
        if found is not None:
            if self._column + repeats > MAX_COLUMNS:
                raise self._beyond(f"a cell lies beyond column {column_letters(MAX_COLUMNS - 1)}")
            kind, value, form = found
            self._count_repeats(repeats - 1, (repeats - 1) * len(value))
            self._cells += [OtherCell(self._column + n, kind, value, form) for n in range(repeats)]
        self._add_merge(attributes)
        self._column += repeats

    def _column_style(self) -> str:
        at = bisect_right(self._column_ends, self._column)
        return self._column_styles[at] if at < len(self._column_styles) else ""

    def _add_merge(self, attributes: dict[str, str]) -> None:
        wide = count_of(attributes, "table:number-columns-spanned")
        high = count_of(attributes, "table:number-rows-spanned")
        if wide > 1 or high > 1:
            right, bottom = min(self._column + wide, MAX_COLUMNS) - 1, min(self._row + high - 1, MAX_ROWS)
            start = f"{column_letters(min(self._column, MAX_COLUMNS - 1))}{self._row}"
            self._beside.merges.append(f"{start}:{column_letters(right)}{bottom}")

    def _end_row(self) -> None:
        if self._cells:
            last = self._row + self._row_repeats - 1
            if last > MAX_ROWS:
                raise self._beyond(f"a cell lies beyond row {MAX_ROWS:,}")
            more, characters = self._row_repeats - 1, sum(len(cell.value) for cell in self._cells)
            self._count_repeats(more * len(self._cells), more * characters)
            self._rows += [OtherRow(n, self._row_hidden, self._cells) for n in range(self._row, last + 1)]
        self._row += self._row_repeats - 1

    def _count_repeats(self, cells: int, characters: int) -> None:
        self._repeated += cells
        self._characters += characters
        if self._repeated > _MOST_REPEATED:
            raise self._beyond(f"cells are repeated more than {_MOST_REPEATED:,} times, as no table is written")
        if self._characters > _MOST_CHARACTERS:
            raise self._beyond(f"repeated cells have more than {_MOST_CHARACTERS:,} characters, as in no table")

    def _beyond(self, fact: str) -> LimitExceeded:
        name = self.tables[-1][0]
        return LimitExceeded(fact, place=f"{self._place}, sheet {name!r}, row {self._row:,}", choice=_RESAVE)
