"""Takes the steps of a run and of another session in a given order, at statements that the run's session waits at.

The run connects over a wire that holds each of these statements back until the other session took its step, or waits
for a lock. So no order depends on how fast either of them is.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.wire import Wire

from importer import pipeline
from importer.errors import ImporterError
from importer.postgres.session import Session
from importer.runtime.interruptible import CallThread
from importer.runtime.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from importer.settings import Dsn, Settings

#: Nothing that a step waits for takes longer.
_SECONDS = 240
_POLL_SECONDS = 0.005
#: The sessions that wait for a lock, by the port of their clients.
_WAITING = """
select distinct a.client_port from pg_locks l join pg_stat_activity a using (pid)
where not l.granted and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
"""


#: The points that a run's session waits at -> how the statement that follows begins.
_STOPS = {
    "plan": ("select to_regprocedure('crc32c",),
    "stage": ('CREATE TABLE "importer"."stage', "CREATE UNLOGGED TABLE"),
    "lock": ("LOCK TABLE",),
    "compare": ("with recursive \nbase as",),
    "copy": ("COPY",),
    "verify": ("SELECT ARRAY[",),
    "fill": ('SELECT "importer"."fill', "WITH gone AS"),
    "move": ('ALTER TABLE "importer"."stage',),
    "rename": ('ALTER TABLE "public"."stage',),
    "ledger": ("DELETE FROM importer.rejects k USING",),
    "after": ("select c.relname::text from pg_class c\n",),
}


def _stop_name(sql: str, last: str | None) -> str | None:
    """The name of the point right before a statement, if it is one; that of a commit depends on the last one."""
    if sql == "COMMIT":
        return "commit" if last == "ledger" else None
    return next((name for name, begins in _STOPS.items() if sql.startswith(begins)), None)


class SteppingWire(Wire):
    """A wire that holds certain statements of the session that publishes back.

    Args:
        port: of the server, on 127.0.0.1.
        on_stop: called with the name of the point that the run came to; the server gets the statement when that returns,
            and the connection ends when it raises ConnectionError.
    """

    def __init__(self, port: int, on_stop: Callable[[str], None]) -> None:
        super().__init__(port)
        self._on_stop = on_stop
        self._lease: set[int] = set()
        self._last: str | None = None

    def server_ports(self) -> set[int]:
        """The ports of the connections to the server."""
        found = set()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                found.add(int(connection.server.getsockname()[1]))
        return found

    def _pass_on(self, connection: Any, message: bytes, sink: Any) -> bool:
        if sink is connection.server and connection.started and message[:1] in b"QP":
            # A parsed statement has a name before its text, which the driver leaves empty.
            sql = message[5:].strip(b"\0 \n").decode("utf-8", "replace")
            if "pg_try_advisory_lock" in sql:
                self._lease.add(connection.port)
            if connection.port in self._lease and (name := _stop_name(sql, self._last)) is not None:
                self._last = name
                self._on_stop(name)
        return super()._pass_on(connection, message, sink)


class Waiting(NoProgress):
    """Progress that remembers whether the run waits for another run of the same import, which is not seen as a lock."""

    def __init__(self) -> None:
        self.seen = threading.Event()

    def say(self, text: str) -> None:
        if "the same import is under way" in text:
            self.seen.set()


@dataclass(frozen=True)
class Actor:
    """What the other session does: `begin` up to the point where its work is open, `end` commits it or rolls it back.

    Attributes:
        begin: the first step.
        end: the second step, whether or not the first one failed.
        waits: whether it waits for something that is not a lock of the server.
    """

    begin: Callable[[], None]
    end: Callable[[], None]
    waits: Callable[[], bool] = lambda: False

    def act(self) -> str | None:
        """Take both steps; return why one failed."""
        error = None
        for step in (self.begin, self.end):
            try:
                step()
            except ImporterError as exc:
                error = error or reason(exc)
        return error


def reason(exc: ImporterError) -> str:
    """SQLSTATE of an error, or else its class."""
    return getattr(exc, "sqlstate", None) or type(exc).__name__


def sql_actor(dsn: Dsn, statements: Sequence[str], *, alone: bool, commit: bool) -> Actor:
    """A session that runs these statements in one transaction.

    Args:
        dsn: of the server.
        statements: what it does.
        alone: whether they are transactions of their own.
        commit: whether it commits; else it rolls back.
    """
    session = Session(dsn, autocommit=alone)
    failed = threading.Event()

    def begin() -> None:
        try:
            for statement in statements:
                session.run(statement)
        except ImporterError:
            failed.set()
            raise

    def end() -> None:
        try:
            if not alone and commit and not failed.is_set():
                session.commit()
        finally:
            session.close()

    return Actor(begin, end)


class Refused(ImporterError):
    """Ends an import that is to be rolled back."""


def import_actor(settings: Settings, *, commit: bool) -> Actor:
    """Another run; it begins up to the point where its rows are in the table, not yet committed.

    Args:
        settings: of the run.
        commit: whether it goes on; else it fails at that point.
    """
    ready, go, thread = threading.Event(), threading.Event(), CallThread("other run")
    progress = Waiting()
    futures: list[Future[Any]] = []

    def before_publish() -> None:
        ready.set()
        assert go.wait(_SECONDS), "the other run was not told to go on"
        if not commit:
            raise Refused("rolled back")

    def begin() -> None:
        hooks = pipeline.Hooks(before_publish)
        futures.append(thread.submit(lambda: pipeline.run(settings, progress, hooks=hooks)))
        thread.close()
        while not ready.wait(_POLL_SECONDS):
            if futures[0].done():
                futures[0].result()
                return

    def end() -> None:
        go.set()
        futures[0].result(_SECONDS)

    return Actor(begin, end, lambda: progress.seen.is_set() and not ready.is_set() and not futures[0].done())


class Interleaving:
    """One order of the steps of a run and another session.

    Args:
        dsn: of the server, to look at its locks.
        actor: the other session.
        begin_at: index of the stop before which it begins.
        end_at: index of the stop before which it ends, not before `begin_at`.

    Attributes:
        blocked: whether the other session waited for the run when it began.
        waited: whether the run waited for the other session, so that this had to end earlier than wanted.
        reached: the highest stop that the run came to.
        error: why the other session failed, by SQLSTATE or else class; None if it did not.
    """

    def __init__(self, dsn: Dsn, actor: Actor, begin_at: int, end_at: int) -> None:
        self._observer = Session(dsn, autocommit=True)
        self._actor, self._begin_at, self._end_at = actor, begin_at, end_at
        self._thread = CallThread("other session")
        self._begun: Future[None] | None = None
        self._ended: Future[None] | None = None
        self._lock = threading.Lock()
        self._run_over = threading.Event()
        self._watcher: threading.Thread | None = None
        self._failed: BaseException | None = None
        self.progress = Waiting()
        self.ports: Callable[[], set[int]] = set
        self.blocked = self.waited = False
        self.reached = -1
        self.error: str | None = None

    @contextlib.contextmanager
    def taking_part(self) -> Iterator[None]:
        """The run is in the block; after it the other session takes the steps that are left."""
        try:
            yield
        finally:
            try:
                self._finish()
            finally:
                self._thread.close()
                self._observer.close()

    def stop(self, number: int) -> None:
        """The run came to that stop, and waits there for the other session."""
        try:
            self._stop(number)
        except BaseException as exc:
            self._failed = self._failed or exc
            raise ConnectionError from exc

    def _stop(self, number: int) -> None:
        with self._lock:
            self.reached = max(self.reached, number)
            if self._begun is None and number == self._begin_at:
                self._begun = self._step(self._actor.begin)
                self.blocked = not self._begun.done()
            if self._begun is None or self._ended is not None:
                return
            if number == self._end_at and self._begun.done():
                self._ended = self._step(self._actor.end)
            elif self._watcher is None:
                # Also where it was blocked: it may go on any moment, and the run may wait for it before its next stop.
                self._watcher = threading.Thread(target=self._watch)
                self._watcher.start()

    def _step(self, call: Callable[[], None]) -> Future[None]:
        """Let the other session take a step; return when it is done, or waits for the run."""
        future = self._thread.submit(call)
        end = time.monotonic() + _SECONDS
        while not future.done() and not self._waits(of_run=False) and not self._actor.waits():
            assert time.monotonic() < end, "the other session neither ends its step nor waits"
            time.sleep(_POLL_SECONDS)
        return future

    def _waits(self, *, of_run: bool) -> bool:
        ours = self.ports()
        return any((port in ours) == of_run for (port,) in self._observer.query(_WAITING))

    def _watch(self) -> None:
        """End the other session's work once the run waits for it."""
        while not self._run_over.wait(_POLL_SECONDS):
            with self._lock:
                if self._ended is not None:
                    return
                if self._begun is None or not self._begun.done():
                    continue
                if self.progress.seen.is_set() or self._waits(of_run=True):
                    self.waited = True
                    self._ended = self._step(self._actor.end)
                    return

    def _finish(self) -> None:
        self._run_over.set()
        if self._watcher is not None:
            self._watcher.join()
        if self._failed is not None:
            raise self._failed
        self._begun = self._begun or self._thread.submit(self._actor.begin)
        self._ended = self._ended or self._thread.submit(self._actor.end)
        for future in (self._begun, self._ended):
            try:
                future.result(_SECONDS)
            except ImporterError as exc:
                self.error = self.error or reason(exc)
