"""Owns what travels to the workers and back: small plain shapes, and the tasks by name.

The heavy libraries that a task needs are imported in the workers alone: a function that is named here is found there.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from .checksums import Checksum
    from .counting import ColumnCount
    from .findings import Refusal
    from .ingest import IngestTask
    from .plan import LoadPlan
    from .profiling import ColumnFacts
    from .settings import Dsn, Limits
    from .windows import Window

Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Remote(Generic[Task, Answer]):
    """A function of this package by its name; where it is called, its module is imported.

    Attributes:
        module: of the package.
        name: of the function.
    """

    module: str
    name: str

    def __call__(self, task: Task) -> Answer:
        """Do the task here."""
        function = getattr(importlib.import_module(f".{self.module}", __package__), self.name)
        answer: Answer = function(task)
        return answer


@dataclass(frozen=True)
class StringsTask:
    """Which part of which workbook holds the shared strings, where they go (`out`), and where to connect meanwhile."""

    workbook: Path
    part: str
    limits: Limits
    out: Path
    dsn: Dsn | None = None


@dataclass(frozen=True)
class ReadTask:
    """What a worker is told: which window, and where to put the frame (`out`).

    Attributes:
        window: to read.
        width: columns that the sheet declares, or None.
        epoch_1904: how the workbook counts days.
        window_cells: most cells that the engine may hold at once.
        out: where the frame goes.
        strings: the shared strings (see `strings`), or None where the workbook has none.
        styles: its styles part, inflated, or None.
        padded: cell styles that put zeros before numbers, and to how many digits.
        dsn: where to connect meanwhile, or None.
    """

    window: Window
    width: int | None
    epoch_1904: bool
    window_cells: int
    out: Path
    strings: Path | None
    styles: Path | None
    padded: tuple[tuple[int, int], ...] = ()
    dsn: Dsn | None = None


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
        hidden: rows that are hidden.
        kept: the frame is there; not where it was used at once.
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
    kept: bool = True


@dataclass(frozen=True)
class CheckTask:
    """Which window to judge, by which plan, and where the results go.

    Attributes:
        number: of the window.
        frame: as it was read (Arrow IPC).
        folder: where the results go.
        plan: of the load.
        header_row: the last one; data lies below.
        skip_hidden: hidden rows are no data.
        refusals: errors found elsewhere.
        superseded: good rows to leave out.
        dsn: where to connect meanwhile, or None.
    """

    number: int
    frame: Path
    folder: Path
    plan: LoadPlan
    header_row: int
    skip_hidden: bool
    refusals: tuple[Refusal, ...] = ()
    superseded: tuple[int, ...] = ()
    dsn: Dsn | None = None


class WindowChecked(NamedTuple):
    """What became of a window.

    Attributes:
        number: of the window.
        rows: data rows.
        first_row: sheet row of the first data row (0: none).
        last_row: of the last.
        accepted: rows in the chunk.
        chunk: Arrow IPC of the accepted rows, with `_row`; None when there are none, or they were written at once.
        errors: Arrow IPC of the errors (see `validate.ERRORS_SCHEMA`); None when there are none.
        rejected: Arrow IPC of the rejected rows as read; None when there are none.
        keys: Arrow IPC of the keys of all rows, or None.
        counts: by sheet column.
        checksums: of the accepted rows, by table column.
        rules: (field|rule) -> (errors, row and column of the first).
        superseded: rows left out for another one with the same key.
    """

    number: int
    rows: int
    first_row: int
    last_row: int
    accepted: int
    chunk: Path | None
    errors: Path | None
    rejected: Path | None
    keys: Path | None
    counts: dict[int, ColumnCount]
    checksums: dict[str, Checksum]
    rules: dict[str, tuple[int, int, int]]
    superseded: tuple[int, ...] = ()


@dataclass(frozen=True)
class LoadTask:
    """A window to be read, judged and written in one go.

    Attributes:
        read: how to read it; None: it was read before.
        rows: the first and the last.
        keep: the frame is wanted later.
        check: how to judge it.
        ingest: how to write it, but for what is known only then; None: keep the chunk in the spool.
    """

    read: ReadTask | None
    rows: tuple[int, int]
    keep: bool
    check: CheckTask
    ingest: IngestTask | None


class WindowLoaded(NamedTuple):
    """What became of it; `read` is None where it was read before, `checked` where it has no rows."""

    read: WindowRead | None
    checked: WindowChecked | None


#: See `read.read_window`.
read_window: Remote[ReadTask, WindowRead] = Remote("read", "read_window")
#: See `strings.parse_strings`.
parse_strings: Remote[StringsTask, int] = Remote("strings", "parse_strings")
#: See `workers.check_window`.
check_window: Remote[CheckTask, WindowChecked] = Remote("workers", "check_window")
#: See `workers.load_window`.
load_window: Remote[LoadTask, WindowLoaded] = Remote("workers", "load_window")
