"""Owns the reading of one window through the engine: exact kinds, exact values, true addresses. Runs in a worker.

The only importer of `fastexcel`. A window whose columns hold one kind each costs one load; otherwise the columns are
loaded as text, number and boolean, and the list of cells that could not be coerced tells the kind of the rest.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import fastexcel
import polars as pl

from . import sheetxml, spool
from .archive import StoredZip, add_frame, sheet_blocks, sheet_part
from .errors import ConservationError, InputError, WorkbookRefused
from .parts import HIDDEN, PARTS, ROW, VALUE_PARTS, part
from .profiling import ColumnFacts, profile
from .serials import Epoch
from .windows import column_letters, row_range

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .windows import Window

# The engine tells of every column without values on stderr; that is no news.
logging.getLogger("fastexcel").setLevel(logging.CRITICAL)

_SCHEMA_FALLBACKS = (fastexcel.UnsupportedColumnTypeCombinationError, fastexcel.CalamineCellError)
_STAMP = re.compile(r"value: (\S+), datetime_type: (\w+)")
_QUOTED = re.compile(r'\("(.*)"\)', re.DOTALL)
_ERROR_VALUES = {
    "Div0": "#DIV/0!",
    "NA": "#N/A",
    "Name": "#NAME?",
    "Null": "#NULL!",
    "Num": "#NUM!",
    "Ref": "#REF!",
    "Value": "#VALUE!",
    "GettingData": "#GETTING_DATA",
}
_LARGEST_EXACT = 2.0**53
_MAX_LETTERS = 3
_LAST_COLUMN = 16_383  # XFD, 0-based
Cells = dict[int, dict[str, pl.Series]]


@dataclass(frozen=True)
class ReadTask:
    """What a worker is told: which window, and where to put the frame."""

    window: Window
    width: int | None
    epoch_1904: bool
    window_cells: int
    out: Path
    has_strings: bool
    has_styles: bool


class WindowRead(NamedTuple):
    """What a worker answers.

    Attributes:
        number: of the window.
        path: of the frame (Arrow IPC), see `parts`.
        rows: rows with at least one cell.
        first_row: the first of them (0 when none).
        last_row: the last of them.
        cells: non-empty cells.
        columns: facts by sheet column.
        formulas: cells with a formula.
    """

    number: int
    path: Path
    rows: int
    first_row: int
    last_row: int
    cells: int
    columns: dict[int, ColumnFacts]
    formulas: int


class _Piece(NamedTuple):
    """Rows that the engine reads at once: their XML, first and last row, and whether they are the whole window."""

    rows: bytes
    first_row: int
    last_row: int
    whole: bool


def read_window(task: ReadTask) -> WindowRead:
    """Read one window into an Arrow IPC file.

    Raises:
        InputError: the engine refuses the window.
        ConservationError: the engine and the XML disagree about the cells.
        WorkbookRefused: comments or CDATA in the middle of a sheet.
    """
    with task.window.archive.open("rb") as file:
        file.seek(task.window.offset)
        rows = file.read(task.window.length)
    odd = sheetxml.is_odd(rows)
    if odd and b"<!" in rows:
        raise WorkbookRefused(
            "the sheet's XML holds comments or CDATA far from its start", choice="save it again in Excel"
        )
    frames = [_read_rows(task, piece, odd=odd) for piece in _pieces(task, rows)]
    frame = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    frame = _mark_hidden(frame, sheetxml.hidden_rows(rows, task.window.first_row)) if odd else frame
    spool.write(frame, task.out)
    numbers = frame[ROW]
    facts = profile(frame)
    if max(facts, default=0) > _LAST_COLUMN:
        raise _beyond_last_column()
    cells = sum(column.cells for column in facts.values())
    first, last = (int(numbers[0]), int(numbers[-1])) if len(numbers) else (0, 0)
    return WindowRead(
        task.window.number, task.out, len(numbers), first, last, cells, facts, rows.count(b"<f") if odd else 0
    )


# ---- PIECES: what is too sparse to be read at once is read in parts --------------------------------------------


def _pieces(task: ReadTask, rows: bytes) -> Iterator[_Piece]:
    """The window, or runs of its rows whose bounding box the engine can hold.

    The engine's memory is height x width, however few cells there are.
    """
    window = task.window
    letters = len(column_letters(task.width - 1)) if task.width else 1
    narrow = not sheetxml.is_wider(rows, letters)
    width = task.width if narrow and task.width else 26**letters
    if narrow and (window.last_row - window.first_row + 1) * width <= task.window_cells:
        yield _Piece(rows, window.first_row, window.last_row, whole=True)
        return
    if sheetxml.is_wider(rows, _MAX_LETTERS):
        raise _beyond_last_column()
    runs = list(_runs(rows, window.first_row, task.window_cells))
    yield from runs or [_Piece(b"", window.first_row, window.first_row, whole=False)]


def _beyond_last_column() -> WorkbookRefused:
    return WorkbookRefused(
        "a cell lies beyond column XFD, the last that a sheet can have", choice="save it again in Excel"
    )


def _runs(rows: bytes, following: int, most_cells: int) -> Iterator[_Piece]:
    """Consecutive rows whose bounding box stays under `most_cells`; rows without cells are left out."""
    held: list[bytes] = []
    first = width = 0
    last = following - 1
    for piece in rows.split(b"</row>")[:-1]:
        _, row = row_range(piece, last + 1)
        row_width = sheetxml.width(piece)
        if held and (row - first + 1) * max(width, row_width) > most_cells:
            yield _Piece(b"".join(held), first, last, whole=False)
            held, width = [], 0
        first = first if held else row
        last, width = row, max(width, row_width)
        held.append(sheetxml.numbered_row(piece, row))
    if held:
        yield _Piece(b"".join(held), first, last, whole=False)


# ---- ONE PIECE --------------------------------------------------------------------------------------------------


def _read_rows(task: ReadTask, piece: _Piece, *, odd: bool) -> pl.DataFrame:
    """The frame of some rows, checked against the count of their values in the XML."""
    rows, first_row = piece.rows, piece.first_row
    fixed, expected = sheetxml.repaired(rows) if odd else rows, sheetxml.count_values(rows)
    columns: Cells = {}
    base = first_row
    if expected or odd or b"<v" in rows:  # an empty text may be written <v/>
        shared = piece.whole and fixed is rows
        sheet = _common(task) if shared else _private(task, fixed, first_row - 1 or None)
        base, columns = 1 if sheet.anchor is None else sheet.anchor + 1, _columns(sheet, fixed, Epoch(task.epoch_1904))
    height = max((len(s) for kinds in columns.values() for s in kinds.values()), default=0)
    frame = _correct(_frame(columns, base, height), rows, first_row, odd=odd)
    formulas = sum(frame[name].count() for name in frame.columns if name.endswith(".formula"))
    counted = sum(frame[name].count() for name in frame.columns if name != ROW) - formulas
    if counted != expected and counted != (exactly := sheetxml.count_values_exactly(rows, first_row)):
        raise ConservationError(
            f"rows {first_row}-{piece.last_row} hold {exactly:,} values but {counted:,} were read",
            choice="the same cell may be written twice; open the workbook in Excel and save it again",
        )
    return frame


def _frame(columns: Cells, base: int, height: int) -> pl.DataFrame:
    """The arrays side by side with their row numbers, without blank rows and empty arrays."""
    arrays = {
        part(c, kind): kinds[kind].alias(part(c, kind))
        for c, kinds in sorted(columns.items())
        for kind in PARTS
        if kind in kinds
    }
    arrays = {name: array for name, array in arrays.items() if array.null_count() < len(array)}
    numbers = pl.int_range(base, base + height, dtype=pl.Int64, eager=True).alias(ROW)
    frame = pl.DataFrame([numbers, *arrays.values()])
    if not arrays:
        return frame.clear()
    filled = frame.select(pl.any_horizontal(pl.exclude(ROW).is_not_null())).to_series()
    return frame if filled.all() else frame.filter(filled)  # a filter copies every text


def _correct(frame: pl.DataFrame, rows: bytes, first_row: int, *, odd: bool) -> pl.DataFrame:
    """The frame with what only the XML knows: formulas never calculated, unknown errors, integers too long."""
    changes: dict[str, dict[tuple[int, int], str]] = {}
    if odd:
        changes = {"formula": sheetxml.uncalculated(rows, first_row), "error": sheetxml.unknown_errors(rows, first_row)}
    numbers = [name for name in frame.columns if name.endswith(".number")]
    if any((frame[name].abs() >= _LARGEST_EXACT).any() for name in numbers):
        changes["unreadable"] = sheetxml.long_integers(rows, first_row)
    for kind, found in changes.items():
        frame = _put(frame, kind, found) if found else frame
    for name in numbers:
        if frame[name].is_finite().all():
            continue  # filtering a frame of thousands of columns for each of them takes minutes
        column = int(name.split(".")[0])
        infinite = frame.filter(~pl.col(name).is_finite())
        found = {(row, column): str(value) for row, value in zip(infinite[ROW], infinite[name], strict=True)}
        frame = _put(frame, "unreadable", found)
    return frame


def _put(frame: pl.DataFrame, kind: str, found: dict[tuple[int, int], str]) -> pl.DataFrame:
    """The frame with these cells of that kind, and of no other."""
    for column in sorted({c for _, c in found}):
        mine = {row: text for (row, c), text in found.items() if c == column}
        name = part(column, kind)
        added = pl.DataFrame({ROW: list(mine), "_new": list(mine.values())}, schema={ROW: pl.Int64, "_new": pl.String})
        frame = frame.join(added, on=ROW, how="full", coalesce=True).sort(ROW)
        old = pl.col(name) if name in frame.columns else pl.lit(None, pl.String)
        others = [part(column, k) for k in PARTS if k != kind and part(column, k) in frame.columns]
        frame = frame.with_columns(
            pl.coalesce(pl.col("_new"), old).alias(name),
            *[pl.when(pl.col("_new").is_null()).then(pl.col(other)).alias(other) for other in others],
        ).drop("_new")
    return frame


def _mark_hidden(frame: pl.DataFrame, hidden: list[int]) -> pl.DataFrame:
    if not hidden:
        return frame
    return frame.with_columns(pl.col(ROW).is_in(pl.Series(hidden, dtype=pl.Int64).implode()).alias(HIDDEN))


# ---- THE ENGINE -------------------------------------------------------------------------------------------------


class _Engine:
    """One sheet of an archive, loaded with one or another set of dtypes."""

    def __init__(self, reader: Any, index: int, anchor: int | None) -> None:
        self._reader = reader
        self._index = index
        self.anchor = anchor

    def load(self, **options: Any) -> tuple[dict[int, pl.Series], list[tuple[int, int, str]], dict[int, str]]:
        """Arrays by sheet column, cells that could not be read as (index, column, detail), dtypes by column.

        The anchor's own row is dropped from both.
        """
        skip = 0 if self.anchor is None else None
        sheet = self._reader.load_sheet(self._index, header_row=None, skip_rows=skip, **options)
        batch, errors = sheet.to_arrow_with_errors()
        infos = sheet.selected_columns
        found = [(*e.offset_position, e.detail) for e in errors.errors] if errors else []
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        arrays = {info.absolute_index: frame.to_series(i) for i, info in enumerate(infos)}
        cells = [(row, infos[column].absolute_index, detail) for row, column, detail in found]
        if self.anchor is not None:
            if (0, 0) not in {(row, column) for row, column, _ in cells}:
                raise InputError(
                    f"rows are out of order around row {self.anchor}",
                    choice="open the workbook in Excel and save it again",
                )
            arrays = {c: s.slice(1) for c, s in arrays.items()}
            cells = [(row - 1, column, detail) for row, column, detail in cells if row]
        return arrays, cells, {info.absolute_index: info.dtype for info in infos}


_open_reader: tuple[str, Any] | None = None


def _reader(path: str) -> Any:
    """The engine's reader of an archive; the last one is kept, because opening parses all shared strings."""
    global _open_reader  # noqa: PLW0603 - a cache of one per worker process
    if _open_reader is None or _open_reader[0] != path:
        _open_reader = None
        try:
            _open_reader = (path, fastexcel.read_excel(path))
        except fastexcel.FastExcelError as exc:
            raise InputError(
                f"the engine cannot open the workbook: {_first_line(exc)}", choice="save it again in Excel"
            ) from None
    return _open_reader[1]


def _common(task: ReadTask) -> _Engine:
    """The engine on the cut of the common archive."""
    return _Engine(_reader(str(task.window.archive)), task.window.slot, task.window.anchor)


def _private(task: ReadTask, rows: bytes, anchor: int | None) -> _Engine:
    """The engine on an archive of its own for changed rows, with the styles and strings of the common one."""
    import zipfile

    path = task.out.with_suffix(".zip")
    with zipfile.ZipFile(task.window.archive) as source, StoredZip(path) as archive:
        archive.add(sheet_part(0), sheet_blocks(rows, anchor))
        for name, present in (("xl/styles.xml", task.has_styles), ("xl/sharedStrings.xml", task.has_strings)):
            if present:
                with source.open(name) as stream:
                    archive.add(name, iter(lambda: stream.read(1 << 20), b""))
        add_frame(archive, sheets=1, epoch_1904=task.epoch_1904, strings=task.has_strings, styles=task.has_styles)
    reader = fastexcel.read_excel(str(path))
    path.unlink()
    return _Engine(reader, 0, anchor)


def _columns(sheet: _Engine, rows: bytes, epoch: Epoch) -> Cells:
    """The arrays of a piece by sheet column and kind."""
    try:
        try:
            columns = _pure(sheet, epoch)
        except _SCHEMA_FALLBACKS:
            columns = None
        return columns if columns is not None else _mixed(sheet, rows, epoch)
    except fastexcel.FastExcelError as exc:
        raise InputError(
            f"the engine cannot read the sheet: {_first_line(exc)}", choice="save it again in Excel"
        ) from None


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def _pure(sheet: _Engine, epoch: Epoch) -> Cells | None:
    """The arrays when every column holds one kind; None when some date needs a closer look.

    `strict` over all rows refuses every mixture that would have to be coerced, except those that it lists as errors.
    """
    arrays, errors, dtypes = sheet.load(schema_sample_rows=None, dtype_coercion="strict")
    columns: Cells = {}
    for c, array in arrays.items():
        kind = {"float": "number", "int": "number", "string": "text", "date": "datetime"}.get(dtypes[c], dtypes[c])
        if kind == "datetime":
            stamps = array.cast(VALUE_PARTS["datetime"])
            if epoch.doubtful(stamps):
                return None
            columns[c] = epoch.split(stamps)
        elif kind in VALUE_PARTS:
            columns[c] = {kind: array.cast(VALUE_PARTS[kind])}
    _scatter(columns, errors, epoch, texts=None)
    return columns


def _mixed(sheet: _Engine, rows: bytes, epoch: Epoch) -> Cells:
    """The arrays when columns hold several kinds.

    Read as boolean, a cell is non-null for booleans and numbers only, and the error list names kind and value of all
    others. Of the two, booleans are those whose text is `true` or `false`. Columns of texts alone are left out of
    that load: their error list would hold every cell.
    """
    texts, text_errors, _ = sheet.load(dtypes="string")
    pure = sheetxml.text_columns(rows) & set(texts)
    columns: Cells = {c: {"text": texts[c]} for c in pure}
    _scatter(columns, [e for e in text_errors if e[1] in pure], epoch, texts=None)
    rest = [c for c in texts if c not in pure]
    if rest:
        numbers, _, _ = sheet.load(dtypes={c: "string" if c in pure else "float" for c in texts})
        booleans, errors, _ = sheet.load(dtypes={c: "string" if c in pure else "boolean" for c in texts})
        for c in rest:
            coerced, is_boolean = booleans[c].is_not_null(), texts[c].is_in(["true", "false"])
            columns[c] = {
                "boolean": pl.select(pl.when(coerced & is_boolean).then(booleans[c])).to_series(),
                "number": pl.select(pl.when(coerced & ~is_boolean.fill_null(value=False)).then(numbers[c])).to_series(),
            }
        _scatter(columns, [e for e in errors if e[1] in set(rest)], epoch, texts=texts)
    return columns


def _scatter(
    columns: Cells, errors: list[tuple[int, int, str]], epoch: Epoch, texts: dict[int, pl.Series] | None
) -> None:
    """Put the cells of the engine's error list into arrays of their kinds.

    Args:
        columns: receives the arrays.
        errors: (index, column, detail); the detail is Rust's debug form of the cell.
        epoch: of the workbook's dates.
        texts: exact texts by column, or None where only blanks and NA words can occur (their debug form is exact).
    """
    found: dict[tuple[int, str], dict[int, Any]] = {}
    for index, column, detail in errors:
        kind, value = _parse(detail, epoch)
        if kind == "text" and texts is not None:
            value = texts[column][index]
        found.setdefault((column, kind), {})[index] = value
    for (column, kind), cells in found.items():
        kinds = columns.setdefault(column, {})
        height = max(len(s) for s in kinds.values()) if kinds else len(texts[column]) if texts else max(cells) + 1
        values = kinds[kind].to_list() if kind in kinds else [None] * height
        for index, value in cells.items():
            values[index] = value
        kinds[kind] = pl.Series(values, dtype=VALUE_PARTS.get(kind, pl.String))


def _parse(detail: str, epoch: Epoch) -> tuple[str, Any]:
    """Kind and value of a cell from `Expected float but got 'DateTime(ExcelDateTime { value: 1.5, …`."""
    shown = detail.partition("got '")[2].removesuffix("'")
    name, _, rest = shown.partition("(")
    if name == "Error":
        code = rest.rstrip("')")
        return "error", _ERROR_VALUES.get(code, f"#{code.upper()}")
    if name == "DateTime" and (match := _STAMP.search(rest)):
        return epoch.value(float(match[1]), elapsed=match[2] == "TimeDelta")
    quoted = _QUOTED.search(shown)
    text = quoted[1] if quoted else rest.rstrip("')")
    if name == "String":
        return "text", text
    return epoch.iso(text) if name == "DateTimeIso" else ("unreadable", text)
