"""Owns the Excel engine: the only importer of `fastexcel`, and of what it says of cells that it could not coerce.

A window whose columns hold one kind each costs one load; otherwise the columns are loaded as text, number and boolean,
and the list of cells that could not be coerced tells the kind of the rest.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import fastexcel
import polars as pl

from . import sheetxml
from .archive import MAIN, StoredZip, add_frame, sheet_blocks, sheet_part
from .capsule import frame_of
from .errors import InputError
from .parts import VALUE_PARTS

if TYPE_CHECKING:
    from pathlib import Path

    from .serials import Epoch
    from .tasks import ReadTask

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
#: Arrays by sheet column and kind.
Cells = dict[int, dict[str, pl.Series]]


class Engine:
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
        frame = frame_of(batch)
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


class _Scratch:
    """This worker's archive: the workbook's styles, and room for one sheet that is written again and again.

    Args:
        path: of the archive.
        styles: the inflated part, or None.
        epoch_1904: how the workbook counts days.
        room: bytes of the longest sheet.
    """

    def __init__(self, path: Path, styles: Path | None, room: int, *, epoch_1904: bool) -> None:
        self._path = path
        self.serves = path, styles, epoch_1904
        self.room = room
        path.unlink(missing_ok=True)
        with StoredZip(path) as archive:
            if styles is not None:
                archive.add("xl/styles.xml", [styles.read_bytes()])
            add_frame(archive, sheets=1, epoch_1904=epoch_1904, strings=False, styles=styles is not None)
            self._offset = archive.reserve(sheet_part(0), room)
        self.reader = _opened(path)

    def write(self, blocks: list[bytes]) -> None:
        """Put another sheet in the place of the last one."""
        with self._path.open("r+b") as file:
            file.seek(self._offset)
            file.writelines(blocks)


class _Kept(threading.local):
    """The archive that is kept for the next window: one a thread, because callers may read in threads of theirs."""

    scratch: _Scratch | None = None


_kept = _Kept()


def sheet_of(task: ReadTask, rows: bytes, anchor: int | None) -> Engine:
    """The engine on some rows; until the next call in this thread."""
    blocks = sheet_blocks(rows, anchor)
    size = sum(map(len, blocks))
    path = task.out.with_name(f"scratch-{os.getpid()}-{threading.get_native_id()}.zip")
    scratch = _kept.scratch
    if scratch is None or scratch.serves != (path, task.styles, task.epoch_1904) or size > scratch.room:
        scratch = _kept.scratch = _Scratch(path, task.styles, size + size // 8, epoch_1904=task.epoch_1904)
    scratch.write(blocks)
    return Engine(scratch.reader, 0, anchor)


def forget_sheet() -> None:
    """Let go of the archive that this thread keeps; its file stays open otherwise."""
    _kept.scratch = None


def _opened(path: Path) -> Any:
    try:
        return fastexcel.read_excel(str(path))
    except fastexcel.FastExcelError as exc:
        raise InputError(
            f"the engine cannot open the workbook: {_first_line(exc)}", choice="save it again in Excel"
        ) from None


#: Most rows of a sheet that the engine is given.
_SHEET_ROWS = 1 << 20


def read_strings(items: list[bytes], beside: Path) -> pl.Series:
    """The texts that the engine makes of some shared strings.

    Args:
        items: `<si>` elements, each with a text.
        beside: a file in whose folder there is room.

    Raises:
        InputError: the engine refuses them.
    """
    path = beside.with_suffix(".zip")
    items = [*items, b"<si><t>end</t></si>"]
    starts = range(0, len(items), _SHEET_ROWS)
    with StoredZip(path) as archive:
        archive.add("xl/sharedStrings.xml", [b'<sst xmlns="%s">' % MAIN.encode(), *items, b"</sst>"])
        for number, start in enumerate(starts):
            cells = range(start, min(start + _SHEET_ROWS, len(items)))
            rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>{i}</v></c></row>' for n, i in enumerate(cells, 1))
            archive.add(sheet_part(number), sheet_blocks(rows.encode(), None))
        add_frame(archive, sheets=len(starts), epoch_1904=False, strings=True, styles=False)
    reader = _opened(path)
    try:
        texts = pl.concat([Engine(reader, n, None).load(dtypes="string")[0][0] for n in range(len(starts))])
    except fastexcel.FastExcelError as exc:
        raise _unreadable(exc) from None
    path.unlink()
    if len(texts) != len(items) or texts[-1] != "end" or texts.null_count():
        raise InputError("the engine cannot tell the shared strings apart", choice="save it again in Excel")
    return texts.head(len(items) - 1)


def read_columns(sheet: Engine, rows: bytes, epoch: Epoch, numbers: frozenset[int] = frozenset()) -> Cells:
    """The arrays of a piece by sheet column and kind; `numbers` are columns of which that is the kind of all cells."""
    try:
        try:
            columns = _pure(sheet, epoch, numbers)
        except _SCHEMA_FALLBACKS:
            columns = None
        return columns if columns is not None else _mixed(sheet, rows, epoch, numbers)
    except fastexcel.FastExcelError as exc:
        raise _unreadable(exc) from None


def read_as(sheet: Engine, dtype: str) -> dict[int, pl.Series]:
    """The cells of a piece that holds nothing but texts (`string`) or numbers (`float`), by sheet column."""
    try:
        return sheet.load(dtypes=dtype)[0]
    except fastexcel.FastExcelError as exc:
        raise _unreadable(exc) from None


def _unreadable(exc: fastexcel.FastExcelError) -> InputError:
    return InputError(f"the engine cannot read the sheet: {_first_line(exc)}", choice="save it again in Excel")


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def _pure(sheet: Engine, epoch: Epoch, numbers: frozenset[int]) -> Cells | None:
    """The arrays when every column holds one kind; None when some date needs a closer look.

    `strict` over all rows refuses every mixture that would have to be coerced, except those that it lists as errors.
    """
    told = dict.fromkeys(sorted(numbers), "float") or None
    arrays, errors, dtypes = sheet.load(schema_sample_rows=None, dtype_coercion="strict", dtypes=told)
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


def _mixed(sheet: Engine, rows: bytes, epoch: Epoch, known: frozenset[int]) -> Cells:
    """The arrays when columns hold several kinds.

    Read as boolean, a cell is non-null for booleans and numbers only, and the error list names kind and value of all
    others. Of the two, booleans are those whose text is `true` or `false`. Columns of texts alone are left out of
    that load: their error list would hold every cell.
    """
    texts, text_errors, _ = sheet.load(dtypes="string")
    pure = (sheetxml.text_columns(rows) - known) & set(texts)
    columns: Cells = {c: {"text": texts[c]} for c in pure}
    _scatter(columns, [e for e in text_errors if e[1] in pure], epoch, texts=None)
    rest = [c for c in texts if c not in pure | known]
    if rest or known:
        numbers, _, _ = sheet.load(dtypes={c: "string" if c in pure else "float" for c in texts})
        columns |= {c: {"number": numbers[c]} for c in known & set(texts)}
    if rest:
        booleans, errors, _ = sheet.load(dtypes={c: "boolean" if c in rest else "string" for c in texts})
        columns |= _told_apart(rest, booleans, numbers, texts)
        _scatter(columns, [e for e in errors if e[1] in set(rest)], epoch, texts=texts)
    return columns


def _told_apart(
    which: list[int], booleans: dict[int, pl.Series], numbers: dict[int, pl.Series], texts: dict[int, pl.Series]
) -> Cells:
    """The booleans and numbers of those columns; all are told apart at once, because there may be thousands."""
    given = {"b": booleans, "n": numbers, "t": texts}
    frame = pl.DataFrame([arrays[c].alias(f"{kind}{c}") for kind, arrays in given.items() for c in which])
    asked = []
    for c in which:
        coerced = pl.col(f"b{c}").is_not_null()
        is_boolean = pl.col(f"t{c}").is_in(["true", "false"]).fill_null(value=False)
        asked += [
            pl.when(coerced & is_boolean).then(pl.col(f"b{c}")).alias(f"b{c}"),
            pl.when(coerced & ~is_boolean).then(pl.col(f"n{c}")).alias(f"n{c}"),
        ]
    found = frame.select(asked)
    return {c: {"boolean": found[f"b{c}"], "number": found[f"n{c}"]} for c in which}


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
