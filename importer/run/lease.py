"""Defines the lease of a run on its import: the lock on the import's key, and what is known once it is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importer.excel.workbook import Sheet, Workbook
    from importer.ledger.tables import LedgerRun
    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.settings import Dsn


@dataclass(frozen=True)
class RunLease:
    """A lease that was acquired. Nothing in it changes; `LeaseHolder` makes each one, `StagingState` has what changes.

        state      entered by                                left for
        acquiring  `LeaseHolder.__enter__`, `reacquire`      held; waiting; failed: `get` raises
        waiting    another session holds the lock            held: it let go; failed: the deadline passed
        held       lock taken, ledger read: a `RunLease`     lost; released
        imported   held, and there is a `published_run`      released; `stop_if_imported` raises AlreadyImported
        lost       the connection of `session` failed        acquiring, if the error may pass; released
        released   `LeaseHolder.__exit__`                    -

    Attributes:
        dsn: connection string of the target server.
        session: the session that holds the lock.
        server_version: version of the server, such as `15.8`.
        workbook: the workbook to import.
        sheet: the sheet to import.
        target: the target table as found after the lock was taken.
        key: key of the import (hex).
        options: the settings that are part of the key.
        contract_sha256: checksum of the given contract, or None.
        run_id: id of this run; when it continues a dead run, the id of that one.
        attempt: id that all attempts at the import have, or None if it is the only one.
        dead_run: the unfinished run that this one continues, or None.
        published_run: the published run that makes this one unnecessary, or None.
        notes: notes for the run report, from what the ledger says.
    """

    dsn: Dsn
    session: Session
    server_version: str
    workbook: Workbook
    sheet: Sheet
    target: Target
    key: str
    options: dict[str, Any]
    contract_sha256: str | None
    run_id: str
    attempt: str | None = None
    dead_run: LedgerRun | None = None
    published_run: LedgerRun | None = None
    notes: tuple[str, ...] = ()


class AlreadyImported(Exception):
    """Raised to end the reading of a workbook that is imported already; the pipeline catches it.

    Attributes:
        lease: the lease, whose `published_run` is the published run.
    """

    def __init__(self, lease: RunLease) -> None:
        super().__init__(lease.key)
        self.lease = lease
