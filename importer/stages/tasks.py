"""Defines what is sent to the workers and back: small plain tasks and results, and the functions by name.

Only the workers import the heavy libraries that a task needs: a function named here is looked up there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from importer.workers.remote import Remote

if TYPE_CHECKING:
    from pathlib import Path

    from importer.cells.facts import ColumnFacts
    from importer.load.copy import IngestTask
    from importer.plan.model import LoadPlan
    from importer.postgres.checksum_sql import Checksum
    from importer.reading.windows import Window
    from importer.settings import Dsn, Limits
    from importer.validation.conservation import ColumnCount
    from importer.validation.errors_frame import Refusal


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
        strings: file of the shared strings (see `strings`), or None if the workbook has none.
        styles: file of the workbook's styles part, inflated, or None.
        padded: (cell style, number of digits) of the styles that show numbers with leading zeros.
        dsn: server to connect to meanwhile, or None.
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
    """The result of reading a window.

    Attributes:
        number: index of the window, from 0.
        path: file of the frame (Arrow IPC), see `parts`.
        rows: number of rows with at least one cell.
        first_row: sheet row of the first of them (0: none).
        last_row: sheet row of the last of them.
        cells: number of non-empty cells.
        columns: facts by sheet column index.
        formulas: number of cells with a formula.
        hidden: number of hidden rows.
        kept: whether the frame is in the spool; False if it was used at once and not written.
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
    """Check one window against the plan.

    Attributes:
        number: index of the window, from 0.
        frame: file of the frame as it was read (Arrow IPC).
        folder: folder that the results are written to.
        plan: plan of the load.
        header_row: last row of the header; data rows are below it.
        skip_hidden: whether to leave out hidden rows.
        refusals: errors found outside this window's check, such as repeated keys.
        superseded: sheet rows to leave out although they are good.
        dsn: server to connect to meanwhile, or None.
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
    """The result of checking a window.

    Attributes:
        number: index of the window, from 0.
        rows: number of data rows.
        first_row: sheet row of the first data row (0: none).
        last_row: sheet row of the last data row.
        accepted: number of rows in the chunk.
        chunk: Arrow IPC of the accepted rows, with `_row`; None if there are none, or they were written at once.
        errors: Arrow IPC of the errors (see `validate.ERRORS_SCHEMA`); None if there are none.
        rejected: Arrow IPC of the rejected rows as read; None if there are none.
        keys: Arrow IPC of the keys of all rows, or None.
        counts: counts of cells by sheet column index.
        checksums: checksums of the accepted rows by table column.
        rules: `field|rule` -> (number of errors, row of the first, column of the first).
        superseded: sheet rows left out in favour of another row with the same key.
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
    """Read, check and write one window in one go.

    Attributes:
        read: the read task; None: the window was read before.
        rows: first and last sheet row of the window.
        keep: whether to write the frame to the spool, because it may be needed later.
        check: the check task.
        ingest: the write task, except for what is known only after the check; None: leave the chunk in the spool.
    """

    read: ReadTask | None
    rows: tuple[int, int]
    keep: bool
    check: CheckTask
    ingest: IngestTask | None


class WindowLoaded(NamedTuple):
    """The results of loading a window; `read` is None if it was read before, `checked` if it has no rows."""

    read: WindowRead | None
    checked: WindowChecked | None


#: See `read.read_window`.
read_window: Remote[ReadTask, WindowRead] = Remote("importer.reading.read_window", "read_window")
#: See `strings.parse_strings`.
parse_strings: Remote[StringsTask, int] = Remote("importer.decoding.shared_strings", "parse_strings")
#: See `workers.check_window`.
check_window: Remote[CheckTask, WindowChecked] = Remote("importer.stages.worker", "check_window")
#: See `workers.load_window`.
load_window: Remote[LoadTask, WindowLoaded] = Remote("importer.stages.worker", "load_window")
