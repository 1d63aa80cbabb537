"""Defines the error tree: what can go wrong, its exit code, and whether a retry can help.

    ImporterError
    ├── UsageError            2  the command line or the settings contradict themselves
    ├── InputError            3  the workbook or the contract is refused
    │   ├── WorkbookRefused      not a supported workbook, damaged, or hostile
    │   │   └── CellsDisagree    two readers of the file read a cell differently
    │   ├── SheetError           no such sheet, no header, no such column
    │   ├── ContractError        the contract is wrong, or does not fit the sheet
    │   ├── SourceUnseen         a worker on another machine does not see the workbook
    │   ├── SourceRefused        no such file at the address, no permission, or its server cannot be used
    │   ├── ReaderDied           the worker that read some rows crashed, or ran out of memory or time
    │   ├── LimitExceeded        the workbook exceeds a limit that was set on it
    │   └── ConservationError    a cell is not accounted for
    ├── DatabaseError         4  PostgreSQL refused a statement
    │   ├── ConnectionFailed     transient: not reachable, too many connections, connection lost
    │   │   └── LoginRefused     final: no such host, database or role, wrong password
    │   ├── Conflict             transient: deadlock, serialization failure, lock not available, table created meanwhile
    │   │   └── TargetChanged    the table was altered since the load was planned; it is planned again
    │   ├── TargetRefused        the target table and the data do not fit together
    │   └── VerificationFailed   staging does not hold what was read
    ├── NotSpooled            4  transient: rows that were not kept are needed, the sheet is read again; never shown
    ├── CellsDisputed         4  decoder and engine differ, the sheet is read again by the engine; never shown
    ├── MachineError          4  the machine failed: disk full
    │   ├── NotDelivered         a file could not be sent to its address; it is kept here
    │   ├── ReaderKilled         the worker that read some rows was killed by others, twice
    │   └── WriterDied           the worker that wrote some rows was killed; retried once
    ├── SourceUnavailable     4  transient: the server of an address failed, or its answer was cut
    │   └── SourceChanged        the file at the address was changed while it was fetched
    ├── TimedOut              4  not finished within --timeout
    ├── CommitUnknown         4  stopped during the commit, which may have happened (by a signal: its exit code)
    ├── BudgetExceeded        5  more rejects than the budget allows
    └── Interrupted         130  the user stopped the run (143: by SIGTERM)

Every error can be pickled, because it may be raised in one process and shown by another.
"""

from __future__ import annotations

from typing import Any, Protocol

#: SQLSTATE classes of the server and not the data: connection, resources, operator intervention, system, internal.
_SERVER_TROUBLE = ("08", "53", "57", "58", "XX")


class Findings(Protocol):
    """What was found out about a sheet before the run failed: a `report.model.Report`."""

    @property
    def total_records(self) -> int:
        """The number of data rows."""

    @property
    def error_count(self) -> int:
        """The number of rejected rows."""

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as the dict that `--json` prints."""


class ImporterError(Exception):
    """The root of all errors: a fact, the place where it holds, and what the user can do.

    Attributes:
        fact: what is wrong, lower case, no full stop.
        place: where (a file, a sheet, a cell, a server), or None.
        choice: what to type or change next, or None.
        transient: whether an immediate retry can help.
        resumable: whether the same command can later continue from what was written so far.
    """

    exit_code = 4
    transient = False
    resumable = False

    def __init__(self, fact: str, *, place: str | None = None, choice: str | None = None) -> None:
        super().__init__(fact)
        self.fact = fact
        self.place = place
        self.choice = choice

    def __reduce__(self) -> tuple[object, tuple[type[ImporterError], dict[str, object]]]:
        return _rebuild, (type(self), dict(self.__dict__))

    def __str__(self) -> str:
        lines = [self.fact]
        if self.place:
            lines.append(f"  where: {self.place}")
        if self.choice:
            lines.append(f"  try:   {self.choice}")
        return "\n".join(lines)


def _rebuild(cls: type[ImporterError], fields: dict[str, object]) -> ImporterError:
    """Recreate an error from its fields; pickle calls this in the receiving process."""
    error = cls.__new__(cls, str(fields["fact"]))
    error.__dict__.update(fields)
    error.args = (fields["fact"],)
    return error


class UsageError(ImporterError):
    """The command line or the settings contradict themselves."""

    exit_code = 2


class InputError(ImporterError):
    """The workbook or the contract is refused."""

    exit_code = 3


class WorkbookRefused(InputError):
    """The file is not a supported workbook, is damaged, or is hostile."""


class CellsDisagree(WorkbookRefused):
    """Two readers of the file read a cell differently, and nobody knows which of them is right."""


class SheetError(InputError):
    """There is no such sheet, no header, or no such column."""


class LimitExceeded(InputError):
    """The workbook exceeds a limit that was set on it."""


class ContractError(InputError):
    """The contract is wrong, or does not fit the sheet.

    Attributes:
        path: keys and list positions (from 0) that lead to what is wrong in the descriptor; empty if it is elsewhere.
    """

    path: tuple[object, ...] = ()


class SourceUnseen(InputError):
    """A worker, perhaps on another machine, does not see a file that the import reads."""


class SourceRefused(InputError):
    """The address has no such file, it may not be read or written, or its server cannot be used."""


class ReaderDied(InputError):
    """The worker that read some rows crashed, or ran out of memory or time."""


class ConservationError(InputError):
    """A cell of the sheet is not accounted for; nothing is published."""


class DatabaseError(ImporterError):
    """PostgreSQL refused a statement.

    Attributes:
        sqlstate: the five-character code, or None if the driver gave none.
        constraint: the name of the violated constraint, or None.
    """

    exit_code = 4

    def __init__(
        self, fact: str, *, place: str | None = None, choice: str | None = None,
        sqlstate: str | None = None, constraint: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(fact, place=place, choice=choice)
        self.sqlstate = sqlstate
        self.constraint = constraint
        if sqlstate is not None and sqlstate.startswith(_SERVER_TROUBLE):
            self.resumable = True


class ConnectionFailed(DatabaseError):
    """The server cannot be reached, or the connection was lost."""

    transient = True
    resumable = True


class LoginRefused(ConnectionFailed):
    """The login failed for good: no such host, database or role, or a wrong password."""

    transient = False


class Conflict(DatabaseError):
    """Another session interfered: deadlock, serialization failure, lock not available."""

    transient = True
    resumable = True


class TargetChanged(Conflict):
    """The table was altered, dropped or replaced since the load was planned; the pipeline plans again, a few times."""

    #: Staging is of the old plan.
    resumable = False


class TargetRefused(DatabaseError):
    """The target table and the data do not fit together; nothing was written."""


class VerificationFailed(DatabaseError):
    """Staging does not hold what was read; nothing is published."""


class NotSpooled(ImporterError):
    """Rows that were not kept after use are needed again; the pipeline rereads the sheet."""

    transient = True
    resumable = True


class CellsDisputed(ImporterError):
    """A cell was decoded otherwise than the engine reads it; the sheet is read again by the engine alone."""


class MachineError(ImporterError):
    """The machine failed: the disk is full, or no process can be started."""

    resumable = True


class ReaderKilled(MachineError):
    """The worker that read some rows was killed by others, twice: by users, or by a system that is short of memory."""


class WriterDied(MachineError):
    """The worker that wrote some rows was killed, or ran out of memory or time."""


class SourceUnavailable(ImporterError):
    """The server of an address cannot be reached, failed, or cut its answer."""

    transient = True


class SourceChanged(SourceUnavailable):
    """The file at an address was changed while it was fetched; what was read is of two versions, and is not used."""


class NotDelivered(MachineError):
    """A file could not be sent to its address; `kept` is its path here."""

    kept: str = ""


class TimedOut(ImporterError):
    """The run was not finished within `--timeout`."""

    resumable = True


class CommitUnknown(ImporterError):
    """The run was stopped during the commit of publishing, so the rows may have been published.

    Users see what stopped the run: its message, its exit code, and this error's choice.

    Attributes:
        stopped_by: the KeyboardInterrupt of a signal, or the error of the deadline; None if that is not known.
    """

    resumable = True

    def __init__(
        self, fact: str, *, place: str | None = None, choice: str | None = None,
        stopped_by: KeyboardInterrupt | TimedOut | None = None,
    ) -> None:  # fmt: skip
        super().__init__(fact, place=place, choice=choice)
        self.stopped_by = stopped_by

    def as_timeout(self) -> TimedOut | None:
        """Return the error of the deadline that stopped the run, with this error's choice; None if a signal did."""
        if not isinstance(self.stopped_by, TimedOut):
            return None
        self.stopped_by.choice = self.choice
        return self.stopped_by


class BudgetExceeded(ImporterError):
    """More rows were rejected than the budget allows; nothing is published.

    Attributes:
        report: the run's findings (`report.Report`), or None.
    """

    exit_code = 5
    report: Findings | None = None


class Interrupted(ImporterError):
    """The user stopped the run; nothing is published."""

    exit_code = 130
    resumable = True
