"""Owns the claim of a run on its import: the connection, the lock on the import's key, and its rows in the ledger.

The claim is acquired in the background while the workbook is read, so that it costs a run no time, and acquired again
after the connection was lost.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from importer.errors import ImporterError
from importer.ledger.locks import lock_number
from importer.ledger.schema import SCHEMA
from importer.ledger.tables import Run, ensure_ledger, find_runs
from importer.plan.target import find_target
from importer.postgres.embedded import EmbeddedServer
from importer.postgres.session import Session, check_server
from importer.runtime.interruptible import CallThread
from importer.runtime.retry import Retry

from .import_key import contract_sha256, random_key, run_key
from .reload import reload_reason

if TYPE_CHECKING:
    from types import TracebackType

    from importer.contract.model import Contract
    from importer.excel.workbook import Sheet, Workbook
    from importer.load.direct_copy import DirectCopy
    from importer.load.staging import Staging
    from importer.plan.target import Target
    from importer.runtime.progress import Clock
    from importer.settings import Dsn, Settings

#: Seconds between two attempts to take a lock that another run holds. Polled, because a signal must end the wait.
_POLL_SECONDS = 0.1
#: How long the end of a run waits for a connection that is being opened.
_CLOSE_SECONDS = 0.5


@dataclass
class HeldLease:
    """The state of an import that this run holds the lock of.

    Attributes:
        dsn: connection string of the target server.
        session: the session that holds the lock.
        server: version of the server, such as `15.8`.
        workbook: the workbook to import.
        sheet: the sheet to import.
        target: the target table as found after the lock was taken.
        key: key of the import (hex).
        options: the settings that are part of the key.
        contract_sha256: checksum of the given contract, or None.
        run: id of this run; when it continues a dead run, the id of that one.
        dead: the unfinished run that this one continues, or None.
        done: the published run that makes this one unnecessary, or None.
        notes: notes for the run report.
        staging: the staging table of this run; None before it is created.
        begun: shape (checksum of its definition) of a staging table that is filled while the sheet is still being
            read, or None.
        direct: copies chunks into the target itself, or None when they go through staging.
        resumed_rows: number of rows that the dead run had written already.
    """

    dsn: Dsn
    session: Session
    server: str
    workbook: Workbook
    sheet: Sheet
    target: Target
    key: str
    options: dict[str, Any]
    contract_sha256: str | None
    run: str
    dead: Run | None = None
    done: Run | None = None
    notes: list[str] = field(default_factory=list)
    staging: Staging | None = None
    begun: str | None = None
    direct: DirectCopy | None = None
    resumed_rows: int = 0


class AlreadyImported(Exception):
    """Raised to end the reading of a workbook that is imported already; the pipeline catches it.

    Attributes:
        claim: the claim, whose `done` is the published run.
    """

    def __init__(self, claim: HeldLease) -> None:
        super().__init__(claim.key)
        self.claim = claim


class RunLease:
    """Acquires the claim of a run in the background; a context manager that releases it.

    Args:
        settings: settings of the run.
        contract: the given contract, or None.
        clock: clock of the run, with its deadline and the listener that is told about waiting.
        dry_run: whether to leave no trace: a random key, whose lock blocks no other run, and no ledger.
    """

    def __init__(self, settings: Settings, contract: Contract | None, clock: Clock, *, dry_run: bool) -> None:
        self._settings, self._contract, self._clock, self._dry_run = settings, contract, clock, dry_run
        self._run = str(uuid.uuid4())
        self._opened: Future[tuple[Workbook, Sheet]] = Future()
        self._servers = contextlib.ExitStack()
        self._dsn: Dsn | None = None
        self._session: Session | None = None
        self._old_backend = 0
        self._waiting = threading.Event()
        self._closing = threading.Event()
        self._background = CallThread("claim")
        self._claim = self._background.submit(self._acquire)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.set()
        self._opened.cancel()
        self._background.close()
        with contextlib.suppress(BaseException):
            # An embedded server that is starting can only be stopped after it has started.
            self._claim.exception(_CLOSE_SECONDS if self._settings.dsn else 60)
        if self._session is not None:
            self._session.close()
        self._servers.close()

    def opened(self, workbook: Workbook, sheet: Sheet) -> None:
        """Set the workbook and sheet to import, without which the claim cannot be acquired."""
        self._opened.set_result((workbook, sheet))

    def dsn(self) -> Dsn | None:
        """Return the server's connection string, or None as long as it is not known."""
        return self._dsn

    def get(self) -> HeldLease:
        """Wait for the claim and return it.

        Raises:
            ImporterError: the server cannot be reached, the target is refused, or the deadline passed.
        """
        return self._result()

    def reacquire(self) -> None:
        """Start to acquire the claim again, over a new connection; `get` returns it."""
        old, self._session = self._session, None
        if old is not None:
            old.close()
        self._claim = self._background.submit(self._acquire)

    def _result(self) -> HeldLease:
        try:
            return self._claim.result(self._clock.deadline.left())
        except TimeoutError:
            raise self._clock.deadline.error() from None

    def stop_if_imported(self) -> None:
        """Raise AlreadyImported once that is known; while another run loads the same import, wait for its end."""
        if self._claim.done() or self._waiting.is_set():
            claim = self._result()
            if claim.done:
                raise AlreadyImported(claim)

    # ---- IN THE BACKGROUND --------------------------------------------------------------------------------------

    def _acquire(self) -> HeldLease:
        patience = Retry(self._settings.retry_for, self._clock.deadline, self._clock.say)
        while True:
            try:
                return self._try_acquire()
            except ImporterError as exc:
                if self._closing.is_set():
                    raise
                patience.wait_or_raise(exc)

    def _try_acquire(self) -> HeldLease:
        if self._session is not None:
            self._session.close()
        if self._dsn is None:
            self._dsn = self._settings.dsn or self._servers.enter_context(EmbeddedServer().running())
        session = self._session = Session(self._dsn, deadline=self._clock.deadline)
        version = check_server(session)
        workbook, sheet = self._opened.result()
        target = find_target(session, self._settings, self._contract, sheet, workbook.origin)
        contract = contract_sha256(self._contract)
        key, options = run_key(self._settings, workbook, sheet, contract, target)
        key = random_key() if self._dry_run else key
        claim = HeldLease(self._dsn, session, version, workbook, sheet, target, key, options, contract, self._run)
        if self._lock(session, claim.key):
            # The run that held the lock may have created the table.
            claim.target = find_target(session, self._settings, self._contract, sheet, workbook.origin)
        if not self._dry_run:
            self._read_ledger(claim)
        return claim

    def _lock(self, session: Session, key: str) -> bool:
        """Lock the key and create the ledger if needed; return whether another session held the lock before."""
        number, waited = lock_number(key), False
        ask = "select pg_try_advisory_lock($1::bigint) as locked, obj_description(to_regclass($2)), pg_backend_pid()"
        while True:
            locked, ledger, backend = session.query(ask, [number, f"{SCHEMA}.runs"])[0]
            if locked:
                break
            self._report_holder(session, number, told=waited)
            session.rollback()
            waited = True
            self._waiting.set()
            self._clock.deadline.check()
            if self._closing.wait(_POLL_SECONDS):
                raise ImporterError("the run ended while it waited for its lock")
        self._waiting.clear()
        self._old_backend = backend
        if not self._dry_run:
            ensure_ledger(session, ledger)
        return waited

    def _report_holder(self, session: Session, number: int, *, told: bool) -> None:
        """Report who holds the lock; if it is a lost connection of this run, terminate that.

        Args:
            session: session with the target server.
            number: number of the advisory lock.
            told: whether the holder was reported already.
        """
        unsigned = number % 2**64
        found = session.query(
            """
            select l.pid, a.usename::text, a.backend_start::timestamptz(0)::text
            from pg_locks l left join pg_stat_activity a using (pid)
            where l.locktype = 'advisory' and l.granted and l.objsubid = 1
              and l.classid = $1::bigint::oid and l.objid = $2::bigint::oid
              and l.database = (select oid from pg_database where datname = current_database())
            """,
            [unsigned >> 32, unsigned & 0xFFFFFFFF],
        )
        for backend, role, since in found:
            if backend == self._old_backend:
                session.query("select pg_terminate_backend($1::int)", [backend])
            elif not told:
                self._clock.say(
                    f"the same import is under way (role {role}, server process {backend}, since {since}); waiting"
                )

    def _read_ledger(self, claim: HeldLease) -> None:
        published, claim.dead = find_runs(claim.session, claim.key)
        claim.session.commit()
        if claim.dead is not None:
            claim.run = self._run = claim.dead.id
        if published is None:
            return
        if published.id == self._run:
            # This run published it, but the answer to its commit was lost.
            claim.done = published
        elif not self._settings.again:
            gone = reload_reason(claim.session, claim.target, published, self._settings.mode)
            # The lease owns this transaction; a read in it may have failed.
            claim.session.rollback()
            if gone is None:
                claim.done = published
            else:
                claim.notes.append(f"loaded again, although run {published.id} imported it: {gone}")
