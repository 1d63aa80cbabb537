"""Owns the Excel engine, and is the only module that imports `fastexcel`: loads sheets of an archive as arrays.

The memory and time that the engine takes are not bounded by the size of the XML, so it runs in workers only. Where no
cell needs it, the library is not imported.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells.arrow import frame_of
from importer.errors import InputError
from importer.workers.own_process import require_worker

from .stored_zip import MAIN, StoredZip, add_workbook_parts, sheet_blocks, sheet_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from .tasks import ReadTask

#: Arrays by sheet column (0-based) and kind.
Cells = dict[int, dict[str, pl.Series]]


@functools.cache
def import_library() -> ModuleType:
    """Import the engine, and return it."""
    import logging

    import fastexcel

    # It logs every column without values to stderr, which is of no interest.
    logging.getLogger("fastexcel").setLevel(logging.CRITICAL)
    return fastexcel


def mixed_kind_errors() -> tuple[type[Exception], ...]:
    """Return the errors that the engine raises for a column of several kinds."""
    fastexcel = import_library()
    return fastexcel.UnsupportedColumnTypeCombinationError, fastexcel.CalamineCellError


class Engine:
    """One sheet of an archive, which can be loaded several times with different dtypes."""

    def __init__(self, reader: Any, index: int, anchor: int | None) -> None:
        self._reader = reader
        self._index = index
        self.anchor = anchor

    def load(self, **options: Any) -> tuple[dict[int, pl.Series], list[tuple[int, int, str]], dict[int, str]]:
        """Load the sheet; return arrays by column, unreadable cells as (index, column, detail), and dtypes by column.

        The anchor row is dropped from arrays and cells.

        Raises:
            InputError: the anchor is not the first row, so the rows are out of order.
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


class _ScratchArchive:
    """An archive of one worker: the workbook's styles, and room for one sheet that is overwritten for each window.

    Args:
        path: file of the archive.
        styles: file with the inflated styles part, or None.
        epoch_1904: whether the workbook counts days from 1904-01-01.
        room: maximum size of a sheet, in bytes.
    """

    def __init__(self, path: Path, styles: Path | None, room: int, *, epoch_1904: bool) -> None:
        self._path = path
        self.serves = path, styles, epoch_1904
        self.room = room
        path.unlink(missing_ok=True)
        with StoredZip(path) as archive:
            if styles is not None:
                archive.add("xl/styles.xml", [styles.read_bytes()])
            add_workbook_parts(archive, sheets=1, epoch_1904=epoch_1904, strings=False, styles=styles is not None)
            self._offset = archive.reserve(sheet_part(0), room)
        self.reader = _opened(path)

    def write(self, blocks: list[bytes]) -> None:
        """Overwrite the previous sheet with another one."""
        with self._path.open("r+b") as file:
            file.seek(self._offset)
            file.writelines(blocks)


class _ThreadState(threading.local):
    """The archive kept for the next window; one per thread, because callers may read in threads of their own."""

    scratch: _ScratchArchive | None = None


_thread_state = _ThreadState()


def open_rows(task: ReadTask, rows: bytes, anchor: int | None) -> Engine:
    """Return an engine for some rows; it is valid until the next call in this thread.

    Args:
        task: the task that the rows belong to.
        rows: `<row>` elements.
        anchor: number of the row before them, or None if they start at row 1.
    """
    blocks = sheet_blocks(rows, anchor)
    size = sum(map(len, blocks))
    path = task.out.with_name(f"scratch-{os.getpid()}-{threading.get_native_id()}.zip")
    scratch = _thread_state.scratch
    if scratch is None or scratch.serves != (path, task.styles, task.epoch_1904) or size > scratch.room:
        scratch = _thread_state.scratch = _ScratchArchive(
            path, task.styles, size + size // 8, epoch_1904=task.epoch_1904
        )
    scratch.write(blocks)
    return Engine(scratch.reader, 0, anchor)


def discard_sheet() -> None:
    """Drop the archive that this thread keeps; otherwise its file stays open."""
    _thread_state.scratch = None


def _opened(path: Path) -> Any:
    require_worker()
    fastexcel = import_library()
    try:
        return fastexcel.read_excel(str(path))
    except fastexcel.FastExcelError as exc:
        raise InputError(
            f"the engine cannot open the workbook: {_first_line(exc)}", choice="save it again in Excel"
        ) from None


#: Maximum number of rows in a sheet given to the engine.
_SHEET_ROWS = 1 << 20


def read_strings(items: list[bytes], beside: Path) -> pl.Series:
    """Parse shared strings with the engine and return their texts.

    Args:
        items: `<si>` elements, each with a text.
        beside: a file next to which a temporary archive may be written.

    Raises:
        InputError: the engine refuses the items or returns another number of texts.
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
        add_workbook_parts(archive, sheets=len(starts), epoch_1904=False, strings=True, styles=False)
    reader = _opened(path)
    with engine_errors():
        texts = pl.concat([Engine(reader, n, None).load(dtypes="string")[0][0] for n in range(len(starts))])
    path.unlink()
    if len(texts) != len(items) or texts[-1] != "end" or texts.null_count():
        raise InputError("the engine miscounts the shared strings", choice="save it again in Excel")
    return texts.head(len(items) - 1)


def read_single_dtype(sheet: Engine, dtype: str) -> dict[int, pl.Series]:
    """Return the arrays of a sheet that holds only texts (`string`) or only numbers (`float`), by sheet column."""
    with engine_errors():
        return sheet.load(dtypes=dtype)[0]


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Turn exceptions of the engine into an `InputError`."""
    try:
        yield
    except import_library().FastExcelError as exc:
        raise InputError(
            f"the engine cannot read the sheet: {_first_line(exc)}", choice="save it again in Excel"
        ) from None
    except BaseException as exc:
        # A panic of the engine is a BaseException whose class cannot be imported.
        if type(exc).__name__ != "PanicException":
            raise
        raise InputError(f"the engine cannot read the sheet: {_first_line(exc)}", choice="save it again") from None


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
