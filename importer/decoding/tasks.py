"""Defines what travels to the workers that read a sheet, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from importer.number_formats.styles import CellFormats

if TYPE_CHECKING:
    from pathlib import Path

    from importer.cells.facts import ColumnFacts
    from importer.footer.row_marks import RowMark
    from importer.settings import Dsn, Limits
    from importer.text_files import TextDialect


@dataclass(frozen=True)
class Window:
    """A run of consecutive sheet rows whose XML is stored in a file.

    Attributes:
        number: index of the window, from 0; window 0 is the head.
        first_row: sheet row of the first `<row>`, 1-based.
        last_row: sheet row of the last `<row>`, 1-based.
        path: file that holds the XML.
        offset: start of the XML in the file, in bytes.
        length: length of the XML, in bytes.
    """

    number: int
    first_row: int
    last_row: int
    path: Path
    offset: int
    length: int


@dataclass(frozen=True)
class StringsTask:
    """Parse the shared strings in `part` of the workbook into `out`, and connect to `dsn` meanwhile if it is given."""

    workbook: Path
    part: str
    limits: Limits
    out: Path
    dsn: Dsn | None = None


@dataclass(frozen=True)
class ReadTask:
    """Read one window into a frame.

    Attributes:
        window: the window to read.
        width: number of columns that the sheet declares, or None.
        epoch_1904: whether the workbook counts days from 1904.
        window_cells: most cells that the engine may hold at once.
        out: file that the frame is written to.
        strings: file of the shared strings (see `shared_strings`), or None if the workbook has none.
        styles: file of the workbook's styles part, inflated, or None.
        dsn: server to connect to meanwhile, or None.
        missing: texts that mean a missing value, which are no values for the facts of a column.
        formats: number formats of the cell styles.
        engine: what reads the cells, see `Settings.engine`.
        judged: about how many bytes of what was decoded by us the engine reads, too, to compare the cells.
        marks: whether to mark rows that may be totals.
        dialect: how the rows are written if the file is a text; None for a workbook.
    """

    window: Window
    width: int | None
    epoch_1904: bool
    window_cells: int
    out: Path
    strings: Path | None
    styles: Path | None
    dsn: Dsn | None = None
    missing: tuple[str, ...] = ("",)
    formats: CellFormats = field(default_factory=CellFormats)
    engine: str = "builtin"
    judged: int = 0
    marks: bool = True
    dialect: TextDialect | None = None


class TextFacts(NamedTuple):
    """What only a text file can have.

    Attributes:
        short: number of rows with fewer fields than the table has columns.
        first_short: line of the first of them (0: none).
        long: number of rows with more cells than the table has columns, which are rejects.
        first_long: line of the first of them.
        continued: number of lines that continue a row, after line breaks within its fields.
        last_continued: number of those that continue the last row.
        nul: whether the text holds the character NUL.
    """

    short: int = 0
    first_short: int = 0
    long: int = 0
    first_long: int = 0
    continued: int = 0
    last_continued: int = 0
    nul: bool = True


class WindowRead(NamedTuple):
    """The result of reading a window.

    Attributes:
        number: index of the window, from 0.
        path: file of the frame (Arrow IPC), see `cells.frame`.
        rows: number of rows with at least one cell.
        first_row: sheet row of the first of them (0: none).
        last_row: sheet row of the last of them.
        cells: number of non-empty cells.
        columns: facts by sheet column index.
        formulas: number of cells with a formula.
        hidden: number of hidden rows.
        by_engine: number of the cells that the engine read.
        judged: number of the cells that it read as well, to compare them.
        dispute: where the two differ, for people; empty without a difference.
        marks: rows that may be totals.
        blank_rows: number of rows that hold nothing but empty texts.
        gap: last row before the first blank row in the window; 0 if no blank row is between its rows.
        kept: whether the frame is in the spool; False if it was used at once and not written.
        text: what only a text file can have; None for a workbook.
        scales: number of decimals by column that is shown as amounts (see `formats.shown_scales`); only of the head.
        nul: whether a text of a workbook may hold the character NUL.
    """

    number: int
    path: Path
    rows: int
    first_row: int
    last_row: int
    cells: int
    columns: dict[int, ColumnFacts]
    formulas: int
    hidden: int
    by_engine: int = 0
    judged: int = 0
    dispute: str = ""
    marks: tuple[RowMark, ...] = ()
    blank_rows: int = 0
    gap: int = 0
    kept: bool = True
    text: TextFacts | None = None
    scales: dict[int, int] | None = None
    nul: bool = True

    @property
    def textual(self) -> bool:
        """Whether the file holds texts only, whose forms say what they are."""
        return self.text is not None

    @property
    def may_hold_nul(self) -> bool:
        """Whether a text may hold the character NUL; false only if none does."""
        return self.nul if self.text is None else self.text.nul

    @property
    def plain(self) -> bool:
        """Whether no row of it may be something else than data."""
        return not self.marks and not self.blank_rows and not self.gap
