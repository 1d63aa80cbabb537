"""Owns waiting for calls that may block: a signal or the deadline ends the wait, and the call with it.

A signal's handler runs when the interpreter is back from native code. A statement that runs for a minute would put it
off for a minute; so the parent's calls are made by a thread of their own, while the caller waits in a way that signals
do end.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ConnectionFailed
from .patience import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
#: How long a cancelled statement may take to end; PostgreSQL answers a cancel request in milliseconds.
_GRACE_SECONDS = 0.5


class Background:
    """A thread that makes calls one after the other; a daemon, so that a call that never ends keeps nobody.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], Result]) -> Future[Result]:
        """The result of a call, some day."""
        future: Future[Result] = Future()
        self._calls.put((future, call))
        return future

    def close(self) -> None:
        """Let the thread end behind its last call."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            try:
                future.set_result(call())
            except BaseException as exc:  # noqa: BLE001 - told to whoever waits
                future.set_exception(exc)


class Guard:
    """Makes the calls of one connection, so that signals and the deadline end them.

    Args:
        deadline: of the run; None: whenever.
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self._deadline = deadline or Deadline()
        self._background: Background | None = None
        self._stuck = False

    def call(self, function: Callable[[], Result], cancel: Callable[[], None]) -> Result:
        """The result of the call.

        Args:
            function: may block; called by another thread.
            cancel: ends it; thread-safe.

        Raises:
            TimedOut: the deadline came first; the statement was cancelled.
            ConnectionFailed: an earlier call never ended, so that nothing can be asked of this connection.
        """
        if self._stuck:
            raise ConnectionFailed("the server did not answer a request to cancel")
        future = self.later(function)
        try:
            return future.result(self._deadline.left())
        except BaseException as exc:
            if future.done() and future.exception() is exc:
                raise
            self._end(future, cancel)
            if isinstance(exc, TimeoutError):
                raise self._deadline.error() from None
            raise

    def later(self, function: Callable[[], Result]) -> Future[Result]:
        """Begin a call behind those that were begun before; whoever makes the next one waits for it as well."""
        self._background = self._background or Background("database")
        return self._background.submit(function)

    def expire(self, seconds: float) -> None:
        """Give what is still to be said that much time, whatever the deadline was."""
        self._deadline = Deadline(seconds)

    def close(self) -> None:
        """End the thread."""
        if self._background is not None:
            self._background.close()

    def _end(self, future: Future[Any], cancel: Callable[[], None]) -> None:
        # By another thread: where the network is gone, to ask for the end may block as well.
        canceller = Background("cancel")
        canceller.submit(cancel)
        canceller.close()
        try:
            future.exception(_GRACE_SECONDS)
        except TimeoutError:
            self._stuck = True
