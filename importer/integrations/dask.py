"""Runs imports on a Dask cluster: an executor of `concurrent.futures` whose tasks are those of a Dask client.

The client's own executor never ends a future whose result was on its way when the scheduler died, and answers a task
that equals an earlier one from memory.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from distributed import Client

from importer.errors import ConnectionFailed

from .time_limits import CONNECT_SECONDS, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = TypeVar("Answer")
#: Seconds that a scheduler may be away: its client tries so long to reach it again.
_AWAY_SECONDS = 30.0
#: Seconds that workers have to answer a question; what they do meanwhile goes on in threads.
_ANSWER_SECONDS = 5.0


class DaskExecutor(Executor):
    """Runs tasks on the workers of a Dask client.

    A future is cancelled when its task is lost, such as by a restart of the scheduler.

    Args:
        client: the client.
        options: options of `client.submit`, such as `workers` or `resources`.
    """

    def __init__(self, client: Any, **options: Any) -> None:
        self._client = client
        self._options = {**options, "pure": False}

    @classmethod
    def in_place_of(cls, executor: Any) -> Executor:
        """Return an executor that does what `client.get_executor(…)` does, which keeps both in private attributes."""
        client = getattr(executor, "_client", None)
        return executor if client is None else cls(client, **getattr(executor, "_kwargs", {}))

    def submit(self, function: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Hand out a task, and return its future; cancelling that cancels a task that does not run yet."""
        remote = self._client.submit(partial(function, **kwargs), *args, **self._options)
        future: Future[Answer] = Future()
        future.add_done_callback(partial(self._ended, remote))
        remote.add_done_callback(partial(_settle, future))
        return future

    def _ended(self, remote: Any, future: Future[Any]) -> None:
        if future.cancelled():
            self._client.loop.add_callback(partial(self._client.cancel, [remote], asynchronous=True))

    def stop(self, stop_batch: Callable[[str], list[int]], batch: str) -> set[int]:
        """Stop the imports of a command; see `clusters.Cluster`."""
        return {number for numbers in self.ask_workers(partial(stop_batch, batch)).values() for number in numbers}

    def ask_workers(self, function: Callable[[], Answer]) -> dict[str, Answer]:
        """Call a function in every worker; see `clusters.Cluster`."""
        answers: dict[str, Answer] = {}
        # Without the workers' answers, a command ends by its own limits of time.
        with contextlib.suppress(Exception):
            answers = within(_ANSWER_SECONDS, lambda: self._client.run(function, on_error="ignore"))
        return answers


def _settle(future: Future[Any], remote: Any) -> None:
    """Pass the outcome of Dask's future on, in the thread that Dask calls us in."""
    if remote.status == "error":
        if future.set_running_or_notify_cancel():
            future.set_exception(remote.exception())
        return
    try:
        result = remote.result(timeout=_AWAY_SECONDS)
    except (CancelledError, OSError, TimeoutError):
        future.cancel()
        future.set_running_or_notify_cancel()
        return
    if future.set_running_or_notify_cancel():
        future.set_result(result)


@contextlib.contextmanager
def connect(place: str) -> Iterator[Executor]:
    """Connect to a scheduler, and yield an executor whose tasks run on its workers.

    Args:
        place: `HOST:PORT`.

    Raises:
        ConnectionFailed: it does not answer as a scheduler does.
    """
    address = f"tcp://{place}"
    try:
        # A client's limit counts for each of its attempts; what is no scheduler may never answer.
        client = within(2 * CONNECT_SECONDS, lambda: Client(address, timeout=CONNECT_SECONDS, set_as_default=False))
    except Exception as exc:  # noqa: BLE001 - whatever a client raises that meets something else
        fact = f"no Dask scheduler answers ({str(exc).strip() or type(exc).__name__})"
        raise ConnectionFailed(fact, place=f"dask://{place}", choice="check the address") from None
    client._timeout = _AWAY_SECONDS  # noqa: SLF001 - how long it tries to reach a scheduler again
    with client:
        yield DaskExecutor(client)
