"""Waits for calls that may block, so that a signal or the deadline ends the wait and cancels the call.

A signal handler runs only when the interpreter is back from native code, so a statement that runs for a minute would
delay it by a minute. Therefore a thread of its own makes the parent's calls, while the caller waits in a way that a
signal interrupts.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from importer.errors import ConnectionFailed

from .retry import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
#: How long a cancelled statement may take to end; PostgreSQL answers a cancel request in milliseconds.
_GRACE_SECONDS = 0.5
#: Seconds of one wait; see `await_result`.
POLL_SECONDS = 0.1


def await_result(future: Future[Result], seconds: float | None = None) -> Result:
    """Return the result of a future; a signal ends the wait.

    The wait is made of short ones: polars has a handler of its own for Ctrl-C, with which the system restarts what the
    signal interrupts, so that Python would not learn of it before the wait is over.

    Args:
        future: the future.
        seconds: how long to wait; None: no limit.

    Raises:
        TimeoutError: that time passed first; or the call raised it.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        left = POLL_SECONDS if end is None else min(POLL_SECONDS, max(0.0, end - time.monotonic()))
        try:
            return future.result(left)
        except TimeoutError:
            if future.done():
                return future.result()  # it ended between the end of the wait and this line, or raised the error itself
            if end is not None and time.monotonic() >= end:
                raise


class CallThread:
    """A thread that makes calls one after the other, started by the first; a daemon, so that no call blocks the exit.

    Args:
        name: name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def submit(self, call: Callable[[], Result]) -> Future[Result]:
        """Queue a call and return the future of its result."""
        if self._thread.ident is None:
            self._thread.start()
        future: Future[Result] = Future()
        self._calls.put((future, call))
        return future

    def close(self) -> None:
        """Let the thread end after its last call."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            try:
                future.set_result(call())
            except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits
                future.set_exception(exc)


class InterruptibleCaller:
    """Makes the calls of one connection, so that signals and the deadline can end them.

    Args:
        deadline: deadline of the run; None: no deadline.
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self._deadline = deadline or Deadline()
        self._background = CallThread("database")
        self._stuck = False

    def call(self, function: Callable[[], Result], cancel: Callable[[], None]) -> Result:
        """Make a call and return its result.

        Args:
            function: the call, which may block; another thread makes it.
            cancel: ends the call; thread-safe.

        Raises:
            TimedOut: the deadline passed first; the statement was cancelled.
            ConnectionFailed: an earlier call never ended, so this connection cannot be used any more.
        """
        if self._stuck:
            raise ConnectionFailed("the server did not answer a request to cancel")
        future = self.later(function)
        try:
            return await_result(future, self._deadline.left())
        except BaseException as exc:
            if future.done() and future.exception() is exc:
                raise
            self._end(future, cancel)
            if isinstance(exc, TimeoutError):
                raise self._deadline.error() from None
            raise

    def later(self, function: Callable[[], Result]) -> Future[Result]:
        """Queue a call after those queued before; the next `call` waits for it too."""
        return self._background.submit(function)

    def renew(self, deadline: Deadline | None) -> None:
        """Begin to obey another deadline; None: no deadline."""
        self._deadline = deadline or Deadline()

    def expire(self, seconds: float) -> None:
        """Allow `seconds` from now for the remaining calls, whatever the deadline was."""
        self._deadline = Deadline(seconds)

    def close(self, function: Callable[[], None], cancel: Callable[[], None]) -> None:
        """Make the last call and end the thread; a call that never ended delays it, but not the caller.

        Args:
            function: the last call, which closes the connection.
            cancel: ends the call; thread-safe.

        Raises:
            TimedOut: the deadline passed first.
        """
        try:
            if self._stuck:
                # It may end yet, minutes later, in a process that lives on: its locks must not outlive it.
                self.later(function)
            elif threading.current_thread() is threading.main_thread():
                self.call(function, cancel)
            else:
                function()
        finally:
            self._background.close()

    def _end(self, future: Future[Any], cancel: Callable[[], None]) -> None:
        # In another thread: if the network is down, the request to cancel may block as well.
        canceller = CallThread("cancel")
        canceller.submit(cancel)
        canceller.close()
        try:
            future.exception(_GRACE_SECONDS)
        except TimeoutError:
            self._stuck = not future.done()
