"""Writes the rejects file: the rows that were not loaded, as they were in the sheet, with row number and reasons."""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from importer.cells import spool
from importer.cells.frame import FORMULA, ROW, MarkedNumberKind, digits_name, kinds_of, part, pattern_name
from importer.cells.text import as_text, raw_text, with_fraction
from importer.errors import MachineError
from importer.excel.addresses import MAX_CHARACTERS, MAX_ROWS
from importer.reading.header import REJECT_COLUMNS
from importer.reading.places import CellAddresses
from importer.runtime.output_file import identify, output_file
from importer.runtime.zip_output import ZipOutput

from .cells import ERRORS_COLUMN, ROW_COLUMN, CellWriter, WrittenNumber, sheet_name, unique_titles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from importer.reading.header import SheetColumn
    from importer.urls import Url
    from importer.validation.tasks import WindowChecked

#: The most rows of a worksheet below its header.
_DATA_ROWS = MAX_ROWS - 1
#: Characters of a value that a reason quotes.
_MOST_CHARACTERS = 40
#: What `Rejects.write_to` raises where the file cannot be written.
WRITE_ERRORS = (OSError, pl.exceptions.PolarsError)


class Rejects:
    """All rejected rows of a run, in sheet order.

    Args:
        errors: the errors of all windows; see `validation.errors_frame`.
        rows: the rejected rows as they were read; see `cells.frame`.
        columns: columns of the sheet, left to right.
        places: addresses of the cells in the original sheet.
        about: document properties of the workbook (see `rejects_origin`).
    """

    def __init__(
        self,
        errors: pl.DataFrame,
        rows: pl.DataFrame,
        columns: list[SheetColumn],
        places: CellAddresses | None = None,
        about: dict[str, str] | None = None,
    ) -> None:
        self.errors, self.frame = errors, rows
        self.places, self.about = places or CellAddresses(""), about or {}
        # Leave out the two columns that an earlier rejects file added; they are written again for this sheet's rows.
        again = set(REJECT_COLUMNS) <= {c.header for c in columns}
        self.columns = [c for c in columns if not (again and c.header in REJECT_COLUMNS)]

    @classmethod
    def of_windows(
        cls,
        windows: Iterable[WindowChecked],
        columns: list[SheetColumn],
        places: CellAddresses | None = None,
        about: dict[str, str] | None = None,
    ) -> Self:
        """Return the rejects of checked windows."""
        paths = [(w.errors, w.rejected) for w in sorted(windows) if w.errors and w.rejected]
        errors = pl.concat([spool.read(e) for e, _ in paths]) if paths else pl.DataFrame()
        rows = pl.concat([spool.read(r) for _, r in paths], how="diagonal") if paths else pl.DataFrame()
        return cls(errors, rows, columns, places, about)

    def __len__(self) -> int:
        return len(self.frame)

    def write(self, path: Path, sheet: str) -> Path:
        """Write a rejects file, which replaces the file of that name; return its path, see `OutputFile.place`.

        Raises:
            MachineError: the file cannot be written.
        """
        try:
            with output_file(path, identify(path)) as made:
                self.write_to(made.file, path.suffix.lower(), sheet)
                made.finish()
                return made.place()
        except WRITE_ERRORS as exc:
            raise unwritable("the rejects cannot be written", path, exc) from None

    def write_to(self, file: BinaryIO, suffix: str, sheet: str, temp: Path | None = None) -> None:
        """Write the rejects in the format of a suffix: `.xlsx`, `.csv` or `.parquet`.

        Args:
            file: where to write them.
            suffix: the format.
            sheet: name of the sheet in a workbook.
            temp: folder for the parts of a workbook, until they are one file; None: the system's.

        Raises:
            OSError: the file cannot be written.
            PolarsError: likewise.
        """
        if suffix == ".xlsx":
            with rejects_book(file, temp) as book:
                book.set_properties(self.about)
                book.add(self, sheet)
        elif suffix == ".csv":
            self.to_frame().write_csv(file)
        else:
            self.to_frame().write_parquet(file)

    def _reasons(self) -> pl.DataFrame:
        """Return one row per rejected row: `_row`, and all its reasons, each with the address of the cell."""
        letters = {c.index: self.places.letter(c.index) for c in self.columns}
        # An error in a field that has no column in the sheet concerns the row as a whole.
        cell = pl.col("column").replace_strict(letters, default="row ", return_dtype=pl.String)
        shown = pl.concat_str(
            cell, self._row_number_expr().cast(pl.String), pl.lit(" "), "rule", pl.lit(": "), "reason", _quoted_value()
        )
        return self.errors.group_by(ROW, maintain_order=True).agg(shown.str.join("; ").alias(ERRORS_COLUMN))

    def to_frame(self) -> pl.DataFrame:
        """Return the rejects as text columns under the header texts, after `_row` and `_errors`."""
        titles = unique_titles(self.columns)
        cells = [
            raw_text(c.index, kinds_of(self.frame.columns, c.index)).alias(t)
            for c, t in zip(self.columns, titles, strict=True)
        ]
        return self.frame.join(self._reasons(), on=ROW, how="left", maintain_order="left").select(
            self._row_number_expr(), ERRORS_COLUMN, *cells
        )

    def _row_number_expr(self) -> pl.Expr:
        rows = self.places.rows
        return pl.col(ROW).replace(list(rows), list(rows.values())) if rows else pl.col(ROW)

    def row_number(self, row: int) -> int:
        """Return the row number in the original workbook."""
        return self.places.row(row)

    @property
    def sheet(self) -> str:
        """The name of the original sheet; empty if it is not known."""
        return self.places.sheet

    def address(self, row: int, column: int) -> str:
        """Return the address of a cell in the original workbook; that of the row if the column is not in the sheet."""
        return self.places.address(row, column if any(c.index == column for c in self.columns) else -1)

    def first_errors(self, count: int) -> pl.DataFrame:
        """Return the first errors in sheet order: `_row`, `column`, `rule`, `reason`."""
        # The rows give the order: the errors of rows that the database refused come last in their window.
        first = self.frame.select(ROW).head(count).join(self.errors, on=ROW, maintain_order="left_right")
        return first.select(ROW, "column", "rule", "reason").head(count)

    def first_texts(self, count: int, columns: set[int]) -> dict[int, dict[int, str | None]]:
        """Return the values of these columns in the first rows as texts, by row and column index."""
        indexes = [c.index for c in self.columns if c.index in columns]
        cells = [_value_text(i, kinds_of(self.frame.columns, i)).alias(str(i)) for i in indexes]
        rows = self.frame.head(count).select(ROW, *cells).iter_rows()
        return {row: dict(zip(indexes, texts, strict=True)) for row, *texts in rows}

    def rows(self) -> Iterable[tuple[int, str, dict[int, tuple[str, Any]]]]:
        """Yield for each row its number, its reasons, and its cells as (kind, value) by column index."""
        reasons = dict(self._reasons().iter_rows())
        kinds = {c.index: kinds_of(self.frame.columns, c.index) for c in self.columns}
        for row in self.frame.iter_rows(named=True):
            cells = {}
            for index, names in kinds.items():
                for kind in names:
                    if row[part(index, kind)] is not None:
                        cells[index] = (kind, row[part(index, kind)])
                if cells.get(index, ("", None))[0] == "number":
                    digits, pattern = row.get(digits_name(index)), row.get(pattern_name(index))
                    cells[index] = ("number", WrittenNumber(cells[index][1], digits, pattern))
            yield row[ROW], reasons[row[ROW]], cells


def _quoted_value() -> pl.Expr:
    """Return the value of each error's cell, in quotes, cut if it is long; empty where the cell has none to show."""
    raw = pl.col("raw")
    whole = raw.str.len_chars() <= _MOST_CHARACTERS
    shown = pl.when(whole).then(raw).otherwise(raw.str.slice(0, _MOST_CHARACTERS - 1) + "…")
    has_value = raw.is_not_null() & (raw != "") & (pl.col("column") >= 0) & (pl.col("kind") != FORMULA)
    return pl.when(has_value).then(pl.concat_str(pl.lit(' ("'), shown, pl.lit('")'))).otherwise(pl.lit(""))


def unwritable(fact: str, path: Path | Url, exc: OSError | pl.exceptions.PolarsError) -> MachineError:
    """Return the error for a rejects file that cannot be written."""
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return MachineError(fact, place=f"{path}: {reason}", choice="name another file with --rejects")


def _value_text(column: int, kinds: list[str]) -> pl.Expr:
    """Return the values of a column as text, datetimes with a blank; null for empty cells, errors and formulas."""
    texts = [as_text(column, _unformatted(kind)) for kind in kinds if kind not in {"datetime", "error", "formula"}]
    if "datetime" in kinds:
        stamp = pl.col(part(column, "datetime"))
        texts.append(with_fraction(stamp, stamp.dt.microsecond(), "%Y-%m-%d %H:%M:%S"))
    return pl.coalesce(texts) if texts else pl.lit(None, pl.String)


def _unformatted(kind: str) -> str:
    """Return the kind without digit patterns: what is typed into such a cell is the number."""
    return (
        MarkedNumberKind(has_digits=kind.has_digits, has_patterns=False) if isinstance(kind, MarkedNumberKind) else kind
    )


@contextlib.contextmanager
def rejects_book(file: BinaryIO, temp: Path | None = None) -> Iterator[RejectsBook]:
    """Provide a workbook to add rejects to, which is written to a file when the block ends.

    Args:
        file: where to write it.
        temp: folder for its parts, until they are one file; None: the system's.

    Raises:
        OSError: the file cannot be written.
    """
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import XlsxWriterException

    options = {
        "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "in_memory": False,
    }  # fmt: skip
    try:
        # The writer leaves its temporary files where they are if it fails.
        with (
            tempfile.TemporaryDirectory(prefix="rejects-", dir=temp, ignore_cleanup_errors=True) as parts,
            Workbook(ZipOutput(file), options | {"tmpdir": parts}) as book,
        ):
            yield RejectsBook(book)
    except XlsxWriterException as exc:
        raise OSError(None, str(exc)) from None


class RejectsBook:
    """A workbook of rejects that is being written, whose cells a person fixes to load it again.

    Args:
        book: workbook of xlsxwriter.
    """

    def __init__(self, book: Any) -> None:
        self._book, self._cells = book, CellWriter(book)

    def set_properties(self, properties: dict[str, str]) -> None:
        """Set document properties; see `rejects_origin`."""
        for name, text in properties.items():
            self._book.set_custom_property(name, text, "text")

    def add(self, rejects: Rejects, title: str) -> list[str]:
        """Write rejects as a sheet, or as several if they are more than it holds; return the names of these."""
        bad = set(rejects.errors.select(ROW, "column").unique().iter_rows())
        names: list[str] = []
        sheet, line = None, 0
        for row, reasons, cells in rejects.rows():
            if sheet is None or line > _DATA_ROWS:
                names.append(sheet_name(title, len(names)))
                sheet, line = self._start(names[-1], rejects), 1
            sheet.write_number(line, 0, rejects.row_number(row))
            sheet.write_string(line, 1, reasons[:MAX_CHARACTERS])
            for place, column in enumerate(rejects.columns, 2):
                self._cells.write(sheet, line, place, cells.get(column.index), bad=(row, column.index) in bad)
            line += 1
        return names

    def _start(self, name: str, rejects: Rejects) -> Any:
        sheet = self._book.add_worksheet(name)
        titles = [ROW_COLUMN, ERRORS_COLUMN, *(c.header or "" for c in rejects.columns)]
        for place, title in enumerate(titles):
            sheet.write_string(0, place, title[:MAX_CHARACTERS], self._cells.header_format)
        sheet.freeze_panes(1, 2)
        sheet.set_column(1, 1, 48)
        return sheet
