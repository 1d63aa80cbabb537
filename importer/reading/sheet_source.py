"""Owns the source of a run: the sheet that was read, its spooled frames, header and column facts."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells.facts import ColumnFacts, merge_windows
from importer.cells.frame import ROW
from importer.errors import SheetError
from importer.excel.addresses import column_letters
from importer.footer.footer import describe_rows
from importer.table.cell_range import CellRange, clip_merges, parse_typed_range
from importer.table.window_rows import keeping_rows

from .area import area_of, check_area, for_rejects, read_head
from .edges import TableEdges, find_edges
from .header import Header, read_header
from .places import CellAddresses, find_places
from .windows import check_hidden, hidden_columns

if TYPE_CHECKING:
    from importer.decoding.tasks import WindowRead
    from importer.excel.workbook import Sheet, Workbook
    from importer.settings import Settings
    from importer.table.data_rows import DataRows

    from .windows import SheetFacts


@dataclass(frozen=True)
class SheetSource:
    """A sheet that was read.

    Attributes:
        workbook: the file that the sheet belongs to.
        sheet: entry of the sheet in the workbook.
        header: the header, found or given.
        windows: spooled frames, in sheet order.
        facts: facts of the data rows, by sheet column (0-based).
        cut: facts from the sheet part outside its rows.
        edges: where the table is: header, data rows, totals and remarks.
        rows: number of data rows that are not blank.
        hidden_rows: number of data rows that are hidden.
        blank_rows: number of rows without cells between the header and the last data row.
        above_header: number of rows with cells above the header.
        places: the addresses of the sheet's cells, as shown to the user.
    """

    workbook: Workbook
    sheet: Sheet
    header: Header
    windows: tuple[WindowRead, ...]
    facts: dict[int, ColumnFacts]
    cut: SheetFacts
    edges: TableEdges
    rows: int
    hidden_rows: int
    blank_rows: int
    above_header: int
    places: CellAddresses

    @property
    def data(self) -> DataRows:
        """Which of its rows are data."""
        return self.edges.data

    @functools.cached_property
    def left_out(self) -> dict[int, int]:
        """The number of cells in rows that are left out below the header, by sheet column."""
        total: Counter[int] = Counter()
        for part in self.edges.parts:
            total.update(part.left_out)
        return dict(total)

    def address(self, row: int, column: int) -> str:
        """Return the A1-style address of a cell, or that of the whole row if `column` is negative."""
        return self.places.address(row, column)

    def read_cells(self) -> dict[str, Any]:
        """Return how many non-empty cells of the sheet, header included, were decoded by us and read by the engine.

        `judged` is the number of those that it read, too, to compare them. The other reader of texts is named.
        """
        by_engine, cells = sum(window.by_engine for window in self.windows), sum(w.cells for w in self.windows)
        counts = {"decoded": cells - by_engine, "by_engine": by_engine, "judged": sum(w.judged for w in self.windows)}
        return counts if self.workbook.dialect is None else {"engine": "polars", **counts}

    def notes(self) -> list[str]:
        """Return notes for the report about the sheet, such as unusual headers, unread sheets and hidden rows."""
        found = [*self.workbook.notes, *self.cut.notes, *_text_notes(self.windows), *self.header.notes]
        if self.places.rows:
            book = f" of {self.workbook.origin.workbook}" if self.workbook.origin else ""
            found.append(f"the rows are fixed rejects: addresses are those of sheet {self.places.sheet}{book}")
        found += self._other_sheet_notes()
        if self.above_header:
            place = "header row" if 0 < self.header.last_row == self.data.after else "first row of the table"
            rows = _counted(self.above_header, "row")
            found.append(f"not read as data: {rows} above the {place}")
        found += self._piece_notes() + self._footer_notes() + self._merged_notes() + self._hidden_notes()
        found += self._picture_notes()
        formulas = sum(window.formulas for window in self.windows)
        if self.workbook.recalculate_on_load and formulas:
            found.append(
                f"{_counted(formulas, 'formula')}, and the workbook asks to be recalculated when opened: "
                "their results may be out of date"
            )
        return found

    def _other_sheet_notes(self) -> list[str]:
        found = []
        if self.workbook.empty:
            names = ", ".join(self.workbook.empty)
            found.append(f"sheet {self.sheet.name!r} is the first visible one with rows; without rows: {names}")
        others = [s.name + _state(s) for s in self.workbook.sheets if s != self.sheet]
        return [*found, f"sheets not read: {', '.join(others)}"] if others else found

    def _hidden_notes(self) -> list[str]:
        found = []
        if self.hidden_rows:
            found.append(f"hidden or filtered out in the sheet: {_counted(self.hidden_rows, 'data row')}")
        if hidden := hidden_columns(self.cut, self.facts):
            found.append(f"hidden columns: {', '.join(map(column_letters, hidden))}")
        return found

    def _picture_notes(self) -> list[str]:
        """Return where there may be pictures: in an older program such a cell has an error value."""
        places = [
            c.name for c in self.header.columns if c.index in self.facts and self.facts[c.index].kinds.get("error")
        ]
        if not self.cut.pictures or not places:
            return []
        advice = "--columns leaves columns out, --error-cells null loads NULL"
        return [f"pictures in cells have the error value #VALUE! in the file ({', '.join(places)}): {advice}"]

    def table_to_dict(self) -> dict[str, Any]:
        """Return where the table is, as in the JSON report.

        `range` has the header and the data; of `footer`, rows below or between the data that are no data or may be
        none, `left_out` says whether they were left out. `doubt` says why the header is a guess, or is null.
        """
        columns, rows = [c.index for c in self.header.columns], self.edges.header
        bottom = max((part.last_row for part in self.edges.parts), default=0)
        top = rows.first or min((part.first_row for part in self.edges.parts if part.rows), default=0)
        area = CellRange(top, min(columns), max(bottom, rows.last), max(columns)) if columns and top else None
        out = set(self.data.left_out)
        return {
            "range": area.address if area else None,
            "header_rows": [rows.first, rows.last],
            "footer": [
                {"row": each.row, "reason": each.reason, "left_out": each.row in out} for each in self.edges.footer
            ],
            "doubt": rows.doubt,
            "other_tables": list(self.cut.other_tables),
            "excel_tables": [{"name": each.name, "range": each.ref} for each in self.cut.tables],
        }

    def _piece_notes(self) -> list[str]:
        """Return which piece of the sheet was read, and what was not."""
        piece, area, cells = self.cut.piece, area_of(self.cut.piece), self.edges.outside
        if area is not None and self.cut.other_tables:
            others, read = self.cut.other_tables, f"{area.address}, was read; the cells of the others are ignored"
            options = " or ".join(f"--range {other}" for other in others)
            which = f"the one that fits {self.cut.fits}" if self.cut.fits else "the largest"
            return [f"the sheet has {len(others) + 1} tables: only {which}, {read} ({options})"]
        if piece is not None and area is not None:
            what = "Excel table" if piece.header_rows is not None else "range"
            is_range = parse_typed_range(piece.asked.rpartition("!")[2]) == area
            where = piece.asked if is_range else f"{area.address} ({piece.asked})"
            beside = f"; {_counted(cells, 'cell')} below and beside it ignored" if cells else ""
            return [f"only {what} {where} was read{beside}"]
        notes = [f"ignored: {_counted(cells, 'cell')} in rows that are no data"] if cells else []
        return notes + [
            f"{area} may be a table of its own, and was read as a part of this one; --range {area} takes it alone"
            for area in self.cut.doubtful_tables
        ]

    def _merged_notes(self) -> list[str]:
        """Return what the cells of merged ranges in the data hold."""
        count = self.edges.merged
        if not count:
            return []
        ranges = f"{count:,} merged range{'s' if count > 1 else ''} in the data"
        if self.data.merged:
            return [
                f"{ranges}: {_counted(self.edges.filled, 'cell')} filled with the value of the first (--merged fill)"
            ]
        return [f"{ranges}: only the first cell of each has the value; --merged fill repeats it"]

    def _footer_notes(self) -> list[str]:
        """Return which rows below and between the data were left out, and which may be no data, with the option."""
        out = [each for each in self.edges.footer if each.row in self.data.left_out]
        loaded = [each for each in self.edges.footer if each.row not in self.data.left_out]
        notes = []
        if out:
            cells = self.edges.totals
            notes.append(f"left out, {_counted(cells, 'cell')} ignored: {describe_rows(out)}; --footer keep loads them")
        if loaded:
            notes.append(f"loaded, but may be no data: {describe_rows(loaded)}; --footer skip leaves them out")
        return notes


def _state(sheet: Sheet) -> str:
    if sheet.kind == "missing":
        return " (not in the file)"
    return "" if sheet.visibility == "visible" else f" ({sheet.visibility.lower()})"


def _counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: `1 row`, `2 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _text_notes(windows: tuple[WindowRead, ...]) -> list[str]:
    """Return notes on lines of a text file that have more or fewer fields than its table."""
    facts = [window.text for window in windows if window.text]
    found = []
    if short := sum(each.short for each in facts):
        line = next(each.first_short for each in facts if each.short)
        found.append(f"lines with fewer fields than the table has columns: {short:,}, the first is line {line}")
    if long := sum(each.long for each in facts):
        line = next(each.first_long for each in facts if each.long)
        found.append(f"lines with more fields than the table has columns: {long:,}, rejected, the first is line {line}")
    return found


def sort_windows(windows: list[WindowRead], sheet: Sheet) -> tuple[WindowRead, ...]:
    """Return the windows in sheet order.

    Raises:
        SheetError: a window's rows do not come after those of the window before it.
    """
    last = 0
    for window in sorted(windows):
        if window.rows and window.first_row <= last:
            raise SheetError(
                f"the rows of sheet {sheet.name!r} are out of order around row {last}", choice="save it again in Excel"
            )
        last = max(last, window.last_row)
    return tuple(sorted(windows))


def make_source(
    opened: tuple[Workbook, Sheet],
    cut: SheetFacts,
    windows: tuple[WindowRead, ...],
    settings: Settings,
    *,
    complete: bool = True,
) -> SheetSource:
    """Build the source from a sheet's windows: find the table's edges, read the header, merge the column facts.

    Args:
        opened: the workbook, and the sheet in it.
        cut: facts from the sheet part outside its rows.
        windows: the windows that were read, in sheet order.
        settings: settings of the run.
        complete: whether these are all windows.

    Raises:
        SheetError: too many columns, or hidden rows or columns, or totals, that the settings forbid.
    """
    workbook, sheet = opened
    head, area = read_head(windows, cut.piece, settings), area_of(cut.piece)
    settings = for_rejects(settings, head, known=workbook.origin is not None)
    with keeping_rows():
        edges = find_edges(head, windows, cut, settings, complete=complete)
    facts = merge_windows(part.facts for part in edges.parts)
    if area is not None and complete:
        check_area(area, edges.header.first or edges.data.after + 1, windows, cut)
    columns = {c for c, f in facts.items() if f.cells and (area is None or c in area.columns)}
    merges = cut.merges if area is None else clip_merges(cut.merges, area._replace(top=1))
    header = read_header(
        head, edges.header, columns, merges, keep_names=settings.keep_names, most_columns=settings.limits.columns
    )
    count, hidden = sum(part.rows for part in edges.parts), sum(part.hidden for part in edges.parts)
    rows, data = edges.header, edges.data
    above = head.filter(
        pl.col(ROW) >= (area.top if area else 1),
        pl.col(ROW) <= data.after,
        ~pl.col(ROW).is_between(max(rows.first, 1), rows.last),
    )
    last = min(max((w.last_row for w in windows), default=0), data.last)
    check_hidden(settings, cut, hidden, columns, sheet)
    texts = [window.text for window in windows if window.text and window.rows]
    continued = sum(text.continued for text in texts) - (texts[-1].last_continued if texts else 0)
    blank = max(last - data.after - count - len(data.left_out) - continued, 0) if count else 0
    return SheetSource(
        workbook, sheet, header, windows, facts, cut, edges, rows=count, hidden_rows=hidden,
        blank_rows=blank, above_header=len(above), places=find_places(sheet, workbook.origin, header, windows),
    )  # fmt: skip
