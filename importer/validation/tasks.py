"""Defines what travels to the workers that check a window, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from importer.plan.model import LoadPlan
    from importer.settings import Dsn
    from importer.table.data_rows import DataRows
    from importer.verification.checksum_sql import Checksum

    from .errors_frame import RowError


@dataclass(frozen=True)
class CheckTask:
    """Check one window against the plan.

    Attributes:
        number: index of the window, from 0.
        frame: file of the frame as it was read (Arrow IPC).
        folder: folder that the results are written to.
        plan: plan of the load.
        rows: which rows are data.
        refusals: errors found outside this window's check, such as repeated keys.
        superseded: sheet rows to leave out although they are good.
        dsn: server to connect to meanwhile, or None.
        nul: whether a text of the window may hold the character NUL; if that is not known, all are searched.
    """

    number: int
    frame: Path
    folder: Path
    plan: LoadPlan
    rows: DataRows
    refusals: tuple[RowError, ...] = ()
    superseded: tuple[int, ...] = ()
    dsn: Dsn | None = None
    nul: bool = True


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
class ColumnCount:
    """The numbers of a column's non-empty cells by outcome; `cells` must be the sum of the others, or the run fails."""

    cells: int = 0
    loaded: int = 0
    missing: int = 0
    ignored: int = 0
    rejected: int = 0

    def __add__(self, other: ColumnCount) -> ColumnCount:
        mine, theirs = self.__dict__, other.__dict__
        return ColumnCount(**{name: mine[name] + theirs[name] for name in mine})

    def __sub__(self, other: ColumnCount) -> ColumnCount:
        mine, theirs = self.__dict__, other.__dict__
        return ColumnCount(**{name: mine[name] - theirs[name] for name in mine})

    @property
    def balanced(self) -> bool:
        """Whether every cell is accounted for."""
        return self.cells == self.loaded + self.missing + self.ignored + self.rejected
