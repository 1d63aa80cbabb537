"""Owns the rejects file: the rows that were not loaded, as they were in the sheet, with row number and reasons."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from . import spool
from .parts import ROW, part, parts_of, raw_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .headers import SheetColumn
    from .workers import WindowChecked

ROW_COLUMN, ERRORS_COLUMN = "_row", "_errors"
#: Rows of a worksheet, less the header.
_SHEET_ROWS = 1_048_575
_CELL_CHARACTERS = 32_767


class Rejects:
    """All rejected rows of a run, in the order of the sheet."""

    def __init__(self, windows: Iterable[WindowChecked], columns: list[SheetColumn]) -> None:
        paths = [(w.errors, w.rejected) for w in sorted(windows) if w.errors and w.rejected]
        self.columns = columns
        self.errors = pl.concat([spool.read(e) for e, _ in paths]) if paths else pl.DataFrame()
        self._rows = pl.concat([spool.read(r) for _, r in paths], how="diagonal") if paths else pl.DataFrame()

    def __len__(self) -> int:
        return len(self._rows)

    def write(self, path: Path, sheet: str) -> None:
        """Write the rejects as the suffix of `path` says (`.xlsx`, `.csv`, `.parquet`)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".xlsx":
            _Workbook(self, sheet).write(path)
        elif path.suffix.lower() == ".csv":
            self._table().write_csv(path)
        else:
            self._table().write_parquet(path)

    def _reasons(self) -> pl.DataFrame:
        """`_row` and all its reasons, each with the column's letters."""
        letters = {c.index: c.letter for c in self.columns}
        # A field that the sheet has no column for is an error of the row as a whole.
        cell = pl.col("column").replace_strict(letters, default="row ", return_dtype=pl.String)
        shown = pl.concat_str(cell, pl.col(ROW).cast(pl.String), pl.lit(" "), "rule", pl.lit(": "), "reason")
        return self.errors.group_by(ROW, maintain_order=True).agg(shown.str.join("; ").alias(ERRORS_COLUMN))

    def _table(self) -> pl.DataFrame:
        """The rejects as text columns under the header texts, `_row` and `_errors` first."""
        titles = _titles(self.columns)
        cells = [raw_text(c.index, parts_of(self._rows.columns, c.index)).alias(t) for c, t in zip(self.columns, titles, strict=True)]
        return self._rows.join(self._reasons(), on=ROW, how="left", maintain_order="left").select(ROW, ERRORS_COLUMN, *cells)

    def rows(self) -> Iterable[tuple[int, str, dict[int, tuple[str, Any]]]]:
        """Row number, reasons, and the cells by column index as (kind, value)."""
        reasons = dict(self._reasons().iter_rows())
        kinds = {c.index: parts_of(self._rows.columns, c.index) for c in self.columns}
        for row in self._rows.iter_rows(named=True):
            cells = {}
            for index, names in kinds.items():
                for kind in names:
                    if row[part(index, kind)] is not None:
                        cells[index] = (kind, row[part(index, kind)])
            yield row[ROW], reasons[row[ROW]], cells


def _titles(columns: list[SheetColumn]) -> list[str]:
    """Header texts, the column's name where they are blank or repeated."""
    headers = [c.header for c in columns]
    return [c.header if c.header and headers.count(c.header) == 1 and not c.header.startswith("_") else c.name for c in columns]


class _Workbook:
    """The rejects as a workbook that a person mends and gives back.

    Texts are always written as strings, so none can become a formula. An error cell stays one. A formula that was
    never calculated becomes `#N/A` with the formula in a comment: its references would mean other cells here.
    """

    def __init__(self, rejects: Rejects, sheet: str) -> None:
        self._rejects = rejects
        self._sheet = sheet
        bad = rejects.errors.select(ROW, "column").unique()
        self._bad = set(bad.iter_rows())

    def write(self, path: Path) -> None:
        import xlsxwriter

        options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "constant_memory": False}
        with xlsxwriter.Workbook(str(path), {**options, "in_memory": False, "default_date_format": "yyyy-mm-dd"}) as book:
            self._formats = _formats(book)
            sheet, line = None, 0
            for number, (row, reasons, cells) in enumerate(self._rejects.rows()):
                if sheet is None or line > _SHEET_ROWS:
                    sheet, line = self._start(book, number // _SHEET_ROWS), 1
                sheet.write_number(line, 0, row)
                sheet.write_string(line, 1, reasons[:_CELL_CHARACTERS])
                for place, column in enumerate(self._rejects.columns, 2):
                    self._cell(sheet, line, place, cells.get(column.index), (row, column.index) in self._bad)
                line += 1

    def _start(self, book: Any, number: int) -> Any:
        name = self._sheet if not number else f"{self._sheet[:26]} ({number + 1})"
        sheet = book.add_worksheet(name)
        titles = [ROW_COLUMN, ERRORS_COLUMN, *(c.header or "" for c in self._rejects.columns)]
        for place, title in enumerate(titles):
            sheet.write_string(0, place, title[:_CELL_CHARACTERS], self._formats["header"])
        sheet.freeze_panes(1, 2)
        sheet.set_column(1, 1, 48)
        return sheet

    def _cell(self, sheet: Any, line: int, place: int, cell: tuple[str, Any] | None, bad: bool) -> None:
        kind, value = cell or ("empty", None)
        form = self._formats[f"bad {kind}" if bad else kind] if bad or kind in {"datetime", "time", "duration"} else None
        match kind:
            case "empty":
                if bad:
                    sheet.write_blank(line, place, None, form)
            case "number":
                sheet.write_number(line, place, value, form)
            case "boolean":
                sheet.write_boolean(line, place, value, form)
            case "datetime":
                stamp_form = form if value.time() == value.min.time() else self._formats["bad stamp" if bad else "stamp"]
                sheet.write_number(line, place, _serial(value), stamp_form)
            case "time" | "duration":
                sheet.write_datetime(line, place, value, form)
            case "error":
                sheet.write_formula(line, place, f"={value}" if value in _ERROR_LITERALS else "=NA()", form, value)
            case "formula":
                sheet.write_formula(line, place, "=NA()", form, "#N/A")
                sheet.write_comment(line, place, f"never calculated: {value}"[:1000])
            case _:
                self._text(sheet, line, place, str(value), form)

    def _text(self, sheet: Any, line: int, place: int, text: str, form: Any) -> None:
        sheet.write_string(line, place, text[:_CELL_CHARACTERS], form)


def _serial(stamp: datetime) -> float:
    """Excel's serial number of a stamp; xlsxwriter makes a time of day of 1900-01-01."""
    days = (stamp - datetime(1899, 12, 31)) / timedelta(days=1)  # noqa: DTZ001 - a sheet knows no zones
    return days + (stamp >= datetime(1900, 3, 1))  # noqa: DTZ001


_ERROR_LITERALS = {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}


def _formats(book: Any) -> dict[str, Any]:
    """Cell formats by kind, and the same in the colour of a bad cell."""
    shown = {"datetime": "yyyy-mm-dd", "stamp": "yyyy-mm-dd hh:mm:ss.000", "time": "hh:mm:ss.000", "duration": "[h]:mm:ss.000"}
    made = {kind: book.add_format({"num_format": code}) for kind, code in shown.items()}
    made["header"] = book.add_format({"bold": True, "bottom": 1})
    for kind in ("empty", "number", "text", "boolean", "error", "formula", "unreadable", *shown):
        look = {"bg_color": "#FFC7CE", "font_color": "#9C0006"}
        made[f"bad {kind}"] = book.add_format(look | ({"num_format": shown[kind]} if kind in shown else {}))
    return made
