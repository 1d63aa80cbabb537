"""Has the engine read samples of the windows that were decoded by us, and compares the two cell by cell.

The engine is another program by other people. Where it differs, it is wrong in a few known ways (`FAULTS`); any other
difference means that one of the two is wrong in a way that nobody knows, and the sheet is left to the engine.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from importer.cells.frame import ROW, sheet_columns_of
from importer.decoding.tag_scan import find_tags
from importer.errors import InputError
from importer.excel.addresses import column_letters
from importer.number_formats.date_serials import DateSystem
from importer.workers.own_process import bounded_work

from .read_by_engine import read_rows
from .row_splitter import row_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from importer.decoding.tasks import ReadTask

    #: Kind and value of a cell; None if it is empty.
    Cell = tuple[str, Any] | None

_ROW = re.compile(rb"""<row\b[^>]*\sr="([1-9][0-9]{0,6})"[^>]*>""")
_END = b"</row>"
#: By so much of a window the sample of the next one begins further down: the golden section spreads them evenly.
_STEP = 0.618
_ANY_DAY = date(1970, 1, 1)
_MAX_SHOWN = 40
#: Cells that the engine may hold in this process: 40 bytes each, by estimate, which is far below any limit of memory.
_FEW_CELLS = 1 << 20
_MILLISECOND = timedelta(milliseconds=1)


class Sample(NamedTuple):
    """Some rows of a window: their XML, and the sheet rows in it that are whole."""

    rows: bytes
    first: int
    last: int


class Verdict(NamedTuple):
    """What the engine says of a window.

    Attributes:
        cells: number of cells that were compared.
        dispute: the first difference that is none of its known faults, for people; empty without one.
    """

    cells: int
    dispute: str


def judge_window(task: ReadTask, rows: bytes, decoded: pl.DataFrame) -> Verdict:
    """Compare a sample of a decoded window with what the engine reads.

    Args:
        task: task of the window; says how much of it to compare.
        rows: XML of the window.
        decoded: frame of the window.
    """
    sample = take_sample(rows, task.judged, task.window.number)
    if sample is None:
        return Verdict(0, "")
    row = pl.col(ROW).is_between(sample.first, sample.last)
    ours = decoded.filter(row)
    number, *_ = row_range(sample.rows, 1)
    window = replace(task.window, first_row=number, last_row=max(sample.last, number))
    try:
        with _here_if_bounded(sample, decoded):
            theirs = read_rows(replace(task, window=window), sample.rows, find_tags(sample.rows)).filter(row)
    except InputError as exc:
        return Verdict(0, f"the engine refuses rows {sample.first}-{sample.last} ({exc.fact})")
    cells = sum(ours[name].count() for name in ours.columns if name != ROW)
    return Verdict(cells, _find_dispute(ours, theirs, DateSystem(task.epoch_1904)))


@contextlib.contextmanager
def _here_if_bounded(sample: Sample, decoded: pl.DataFrame) -> Iterator[None]:
    """Let the engine run in any process if the sample has few cells, the empty ones between them included.

    They decide what it takes; a sample that is decoded by us holds nothing else that could.
    """
    width = max(sheet_columns_of(decoded.columns), default=0) + 1
    bounded = (sample.last - sample.first + 3) * width <= _FEW_CELLS
    with bounded_work() if bounded else contextlib.nullcontext():
        yield


def take_sample(rows: bytes, size: int, number: int) -> Sample | None:
    """Return whole rows of about `size` bytes from a window, from another place in each; None if there are none.

    Args:
        rows: XML of the window.
        size: size of the sample, in bytes.
        number: number of the window.
    """
    room = len(rows) - size
    begin = rows.find(b"<row", int(room * (number * _STEP % 1))) if number and room > 0 else 0
    end = rows.rfind(_END, begin, begin + size) + len(_END)
    end = end if end > begin + len(_END) else rows.find(_END, begin) + len(_END)
    tags = [int(tag[1]) for tag in _ROW.finditer(rows, max(begin, 0), end)]
    if begin < 0 or not tags or len(tags) != rows.count(b"<row", begin, end):
        return None  # a row without a number, which only its predecessors tell
    # A row may be written in several elements, of which others are not in the sample.
    first = tags[0] + 1 if _neighbour(rows, begin, before=True) == tags[0] else tags[0]
    last = tags[-1] - 1 if _neighbour(rows, end, before=False) == tags[-1] else tags[-1]
    return Sample(rows[begin:end], first, last)


def _neighbour(rows: bytes, place: int, *, before: bool) -> int | None:
    """Return the number of the row that ends at a place, or of the one after it."""
    start = rows.rfind(b"<row", 0, place) if before else rows.find(b"<row", place)
    tag = _ROW.match(rows, start) if start >= 0 else None
    return int(tag[1]) if tag else None


# ---- COMPARED ---------------------------------------------------------------------------------------------------


def _find_dispute(ours: pl.DataFrame, theirs: pl.DataFrame, epoch: DateSystem) -> str:
    ours, theirs = _without_nulls(ours), _without_nulls(theirs)
    if set(ours.columns) == set(theirs.columns) and ours.equals(theirs.select(ours.columns)):
        return ""
    mine, other = _cells(ours), _cells(theirs)
    for place in sorted({*mine, *other}):
        a, b = mine.get(place), other.get(place)
        if a != b and not any(fault(a, b, epoch) for fault in FAULTS.values()):
            row, column = place
            return f"cell {column_letters(column)}{row} was decoded as {_shown(a)}, and the engine reads {_shown(b)}"
    return ""


def _without_nulls(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(series for series in frame if series.name == ROW or series.null_count() < len(series))


def _cells(frame: pl.DataFrame) -> dict[tuple[int, int], tuple[str, Any]]:
    found = {}
    for name in frame.columns:
        if name != ROW:
            column, _, kind = name.partition(".")
            for row, value in frame.select(ROW, name).drop_nulls().iter_rows():
                found[row, int(column)] = kind, value
    return found


def _shown(cell: Cell) -> str:
    if cell is None:
        return "nothing"
    text = repr(cell[1]) if cell[0] == "text" else str(cell[1])
    return f"{cell[0]} {text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + '…'}"


# ---- KNOWN FAULTS OF THE ENGINE ---------------------------------------------------------------------------------


def _is_format_unknown(ours: Cell, theirs: Cell, epoch: DateSystem) -> bool:
    """Return whether the two differ in whether a number's format is one of dates: calamine does not know them all."""
    if ours is None or theirs is None:
        return False
    for one, other in ((ours, theirs), (theirs, ours)):
        if one[0] == "number" and any(epoch.value(one[1], elapsed=elapsed) == other for elapsed in (False, True)):
            return True
    return False


def _is_rounded_otherwise(ours: Cell, theirs: Cell, _epoch: DateSystem) -> bool:
    """Return whether two dates differ by a millisecond: half of one is rounded to even by us, away from 0 by it."""
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return False
    one, other = ours[1], theirs[1]
    if ours[0] == "time":
        one, other = (datetime.combine(_ANY_DAY, each) for each in (one, other))
    return ours[0] in {"datetime", "time", "duration"} and abs(one - other) <= _MILLISECOND


def _is_no_number(ours: Cell, theirs: Cell, _epoch: DateSystem) -> bool:
    """Return whether it took for a text what is no number, though its cell is of that type, or has spaces around."""
    if ours is None or theirs is None or theirs[0] != "text":
        return False
    if ours[0] == "number":
        return _is_float(theirs[1], ours[1])
    return ours[0] == "unreadable" and str(ours[1]).strip() == str(theirs[1]).strip()


def _is_float(text: str, number: float) -> bool:
    try:
        return text != text.strip() and float(text) == number
    except ValueError:
        return False


def _is_unreadable(ours: Cell, theirs: Cell, _epoch: DateSystem) -> bool:
    """Return whether both have no value, if in other words (`inf` as a date is a serial to it)."""
    return ours is not None and theirs is not None and ours[0] == theirs[0] == "unreadable"


def _is_no_boolean(ours: Cell, theirs: Cell, _epoch: DateSystem) -> bool:
    """Return whether it took for true what is no boolean."""
    return ours is not None and ours[0] == "unreadable" and theirs == ("boolean", True)


#: In what the engine is known to be wrong, by name; each says whether a difference is of that kind.
FAULTS: dict[str, Callable[[Cell, Cell, DateSystem], bool]] = {
    "a format of dates that it does not know": _is_format_unknown,
    "half a millisecond": _is_rounded_otherwise,
    "other words for no value": _is_unreadable,
    "a cell of type number that holds none": _is_no_number,
    "a cell of type boolean that holds none": _is_no_boolean,
}
