"""Acquires the lease of a run in the background while the workbook is read, so that it costs the run no time.

It is acquired again, over a new connection, after the first one was lost.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

from importer.errors import ImporterError
from importer.ledger.migrations import ensure_ledger
from importer.ledger.tables import find_runs
from importer.load.privileges import check_privileges
from importer.plan.target import find_target
from importer.postgres.catalog import check_server
from importer.postgres.embedded import EmbeddedServer
from importer.postgres.kept_sessions import ask_once, give_back, take_session
from importer.postgres.pooler import check_pooler
from importer.runtime.interruptible import CallThread, await_result
from importer.runtime.retry import Retry

from .import_key import contract_sha256, random_key, run_key
from .import_lock import ImportLock
from .lease import AlreadyImported, RunLease
from .reload import moved_target_note, reload_reason, require_believable

if TYPE_CHECKING:
    from types import TracebackType

    from importer.contract.model import Contract
    from importer.excel.workbook import Sheet, Workbook
    from importer.postgres.session import Session
    from importer.runtime.progress import Clock
    from importer.settings import Dsn, Settings

#: How long the end of a run waits for a connection that is being opened.
_CLOSE_SECONDS = 0.5
#: Namespace of the ids of runs that several attempts share.
_SEEDED_RUNS = uuid.UUID("5e7e1b0c-3c53-5d0e-9c64-2f6f8d3a7b11")


class LeaseHolder:
    """Acquires the lease of a run in the background, from `__enter__` on; a context manager that releases it.

    For the states that a lease goes through see `RunLease`.

    Args:
        settings: settings of the run.
        contract: the given contract, or None.
        clock: clock of the run: has its deadline, and reports that the run waits.
        dry_run: whether to leave no trace: a random key, whose lock blocks no other run, and no ledger.
    """

    def __init__(self, settings: Settings, contract: Contract | None, clock: Clock, *, dry_run: bool) -> None:
        self._settings, self._contract, self._clock, self._dry_run = settings, contract, clock, dry_run
        #: Id of the run; the one of a dead run since that was found.
        self._run_id = str(uuid.uuid4())
        self._named_by: str | None = None
        #: Id that all attempts at the import have, if it is one of several.
        self._attempt: str | None = None
        self._opened: Future[tuple[Workbook, Sheet]] = Future()
        self._servers = contextlib.ExitStack()
        self._dsn: Dsn | None = None
        self._session: Session | None = None
        self._notes: tuple[str, ...] = ()
        self._closing = threading.Event()
        self._lock = ImportLock(clock, self._closing)
        self._background = CallThread("lease")
        self._lease: Future[RunLease] = Future()
        #: Held while it is decided who closes the session, and while the session is closed or cancelled.
        self._closing_lock = threading.Lock()
        #: Whether the thread acquires the lease, and whether the run ended meanwhile, so that the thread must close it.
        self._acquiring = self._abandoned = False
        #: Whether the run ended without an error, so that its session is in order.
        self._ended_well = False

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.set()
        self._ended_well = kind is None
        self._opened.cancel()
        self._background.close()
        with contextlib.suppress(BaseException):
            # An embedded server that is starting can only be stopped after it has started.
            self._lease.exception(_CLOSE_SECONDS if self._settings.dsn else 60)
        with self._closing_lock:
            self._abandoned = self._acquiring
        if self._abandoned:
            # In another thread: if the network is down, the request to cancel blocks as well.
            canceller = CallThread("cancel")
            canceller.submit(self._cancel)
            canceller.close()
        else:
            self._release()

    def set_source(self, workbook: Workbook, sheet: Sheet) -> None:
        """Set the workbook and sheet to import, without which the lease cannot be acquired."""
        self._opened.set_result((workbook, sheet))

    def dsn(self) -> Dsn | None:
        """Return where others may connect; None before a session was opened, or if no other one sees what it writes."""
        return None if self._session is None or self._session.is_joined else self._dsn

    def get(self) -> RunLease:
        """Wait for the lease and return it.

        Raises:
            ImporterError: the server cannot be reached, the target is refused, or the deadline passed.
        """
        try:
            lease = await_result(self._lease, self._clock.deadline.left())
        except TimeoutError:
            raise self._clock.deadline.error() from None
        # The thread may have made the lease before a note was added.
        late = tuple(note for note in self._notes if note not in lease.notes)
        return replace(lease, notes=(*lease.notes, *late)) if late else lease

    def add_note(self, note: str) -> None:
        """Add a note for the run report to the leases that `get` returns from now on."""
        self._notes = (*self._notes, note)

    def reacquire(self) -> None:
        """Start to acquire the lease again, over a new connection, unless it is being acquired; `get` returns it."""
        if self._lease.done():
            self._close_session()
            self._start()

    def stop_if_imported(self) -> None:
        """Raise AlreadyImported once that is known; while another run loads the same import, wait for its end."""
        if self._lease.done() or self._lock.waiting.is_set():
            lease = self.get()
            if lease.published_run:
                raise AlreadyImported(lease)

    def _start(self) -> None:
        self._acquiring = True
        self._lease = self._background.submit(self._acquire)

    def _release(self) -> None:
        """Close the session, or keep it for another import, which releases the lease; stop the embedded server."""
        self._close_session(keep=self._ended_well and not self._abandoned)
        self._servers.close()

    def _close_session(self, *, keep: bool = False) -> None:
        with self._closing_lock:
            session, self._session = self._session, None
            if session is not None and keep and self._dsn is not None:
                give_back(self._dsn, session)
            elif session is not None:
                session.close()

    def _cancel(self) -> None:
        with self._closing_lock:
            if self._session is not None:
                self._session.cancel()

    # ---- IN THE BACKGROUND --------------------------------------------------------------------------------------

    def _acquire(self) -> RunLease:
        """Acquire the lease; if the run ends first, release it: a process that lives on would hold it for ever."""
        try:
            return self._retry_acquire()
        finally:
            with self._closing_lock:
                self._acquiring = False
            if self._abandoned:
                self._release()

    def _retry_acquire(self) -> RunLease:
        retry = Retry(self._settings.retry_for, self._clock.deadline, self._clock.say)
        while True:
            try:
                return self._try_acquire()
            except ImporterError as exc:
                if self._closing.is_set():
                    raise
                retry.wait_or_raise(exc)

    def _try_acquire(self) -> RunLease:
        dsn, session = self._connect()
        version = ask_once(session, "server", partial(check_server, session))
        workbook, sheet = self._opened.result()
        find = partial(find_target, session, self._settings, self._contract, sheet, workbook.origin)
        target, contract = find(), contract_sha256(self._contract)
        key, options = run_key(self._settings, workbook, sheet, contract, target)
        key = random_key() if self._dry_run else key
        # A run that held the lock may have created the table.
        target = find() if self._lock_import(session, key) else target
        self._name_run(key)
        lease = RunLease(
            dsn,
            session,
            version,
            workbook,
            sheet,
            target,
            key,
            options,
            contract,
            self._run_id,
            self._attempt,
            notes=self._notes,
        )
        lease = lease if self._dry_run else self._read_ledger(lease)
        if lease.published_run is None:
            check_privileges(session, target, self._settings.mode)
        return lease

    def _connect(self) -> tuple[Dsn, Session]:
        """Open a session, after closing the one of the last attempt; start the embedded server if no DSN is given."""
        self._close_session()
        if self._dsn is None:
            self._dsn = self._settings.dsn or self._servers.enter_context(EmbeddedServer().running())
        self._session = take_session(self._dsn, self._clock.deadline)
        if self._closing.is_set():
            raise ImporterError("the run ended while it connected")
        if self._settings.dsn and not self._session.is_joined:
            ask_once(self._session, "pooler", partial(check_pooler, self._session, self._dsn))
        return self._dsn, self._session

    def _lock_import(self, session: Session, key: str) -> bool:
        """Lock the key and create the ledger if needed; return whether another session held the lock before."""
        waited, ledger = self._lock.acquire(session, key)
        if not self._dry_run:
            ensure_ledger(session, ledger)
        return waited

    def _name_run(self, key: str) -> None:
        """Give the run the id that all attempts at the import have, if it is one of several."""
        if self._settings.run_seed is not None and self._named_by != key:
            self._named_by = key
            self._run_id = self._attempt = str(uuid.uuid5(_SEEDED_RUNS, f"{self._settings.run_seed} {key}"))

    def _read_ledger(self, lease: RunLease) -> RunLease:
        """Return the lease with what the ledger says about the same import: a dead run, and whether it is published."""
        own = {self._run_id, self._attempt or self._run_id}
        published, dead = find_runs(lease.session, lease.key, lease.target.quoted, own)
        there = "select to_regclass($1) is not null"
        if published is not None and published.is_one_of(own) and lease.session.value(there, [lease.target.quoted]):
            # This run published it, but the answer to its commit was lost, or its process. Another may have died since.
            lease.session.commit()
            require_believable(published, lease.target)
            self._run_id = published.id
            return replace(lease, published_run=published, run_id=published.id)
        if dead is not None:
            self._run_id = dead.id
            note = moved_target_note(lease.session, lease.target, dead)
            lease = replace(lease, dead_run=dead, run_id=dead.id, notes=(*lease.notes, *([note] if note else [])))
        lease.session.commit()
        if published is None:
            return lease
        if self._settings.again:
            return lease
        reason = reload_reason(lease.session, lease.target, published, self._settings.key_mode)
        # The lease owns this transaction; a read in it may have failed.
        lease.session.rollback()
        if reason is None:
            require_believable(published, lease.target)
            return replace(lease, published_run=published)
        return replace(lease, notes=(*lease.notes, f"loaded again, although run {published.id} imported it: {reason}"))
