"""Owns the tasks that are in flight: at most one a lane, given again where the worker died of something else."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, NamedTuple

from .outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .errors import ImporterError
    from .patience import Deadline
    from .pool import Pool

    Died = Callable[[Any, str], ImporterError]

#: A worker that has not come to life after so many seconds never will; it takes a fraction of one.
_START_SECONDS = 30.0
#: How often a worker that dies before it gets a task is replaced.
_START_ATTEMPTS = 5
_NOTHING: Any = object()


class Ended(NamedTuple):
    """What became of a task, and in which lane."""

    outcome: Outcome
    task: Any
    lane: int


class _Flight(NamedTuple):
    """A task that a worker has: in which lane, and when it must have ended (seconds of the monotonic clock)."""

    lane: int
    task: Any
    end: float


class InFlight:
    """Tasks on their way through the workers of a pool.

    Args:
        pool: whose lanes work.
        function: for every task.
        tasks: taken one by one as workers become free.
        lanes: how many of the pool's are used.
        seconds: that a task may take.
        again: give a task whose worker was killed to a fresh one, once.
    """

    def __init__(
        self,
        pool: Pool,
        function: Callable[[Any], Any],
        tasks: Iterable[Any],
        lanes: int,
        seconds: float,
        *,
        again: bool,
    ) -> None:
        self._pool, self._function, self._seconds, self._again = pool, function, seconds, again
        self._waiting = iter(tasks)
        self._second: list[Any] = []
        self._free = list(range(lanes))
        self._running: dict[Future[Outcome], _Flight] = {}

    @property
    def running(self) -> bool:
        """Whether a worker has a task."""
        return bool(self._running)

    def fill(self) -> None:
        """Give each free worker a task, as long as there are some."""
        while self._free and (task := next(self._waiting, _NOTHING)) is not _NOTHING:
            number = self._free.pop(0)
            flight = _Flight(number, task, time.monotonic() + self._seconds)
            self._running[self._submit(number, task)] = flight

    def collect(self, died: Died, deadline: Deadline) -> list[Ended]:
        """What has ended, at least one task; those that are to be tried again are left out.

        Raises:
            ImporterError: a task took too long.
        """
        ended = []
        for future in self._wait(died, deadline):
            flight = self._running.pop(future)
            self._free.append(flight.lane)
            outcome = self._outcome(future, flight.lane)
            if self._again and outcome.killed and not any(flight.task is other for other in self._second):
                self._second.append(flight.task)
                self._waiting = itertools.chain([flight.task], self._waiting)
            else:
                ended.append(Ended(outcome, flight.task, flight.lane))
        return ended

    def drop(self) -> None:
        """Kill what still runs: after an error it is of no use, and its lanes must be free for the next tasks."""
        for flight in self._running.values():
            self._pool.drop(flight.lane)

    def _submit(self, number: int, task: Any) -> Future[Outcome]:
        for _ in range(_START_ATTEMPTS):
            try:
                return self._pool.lane(number).submit(self._function, task)
            except BrokenProcessPool:
                # Its worker died while it had nothing to do, so nothing was lost.
                self._pool.drop(number)
        failed: Future[Outcome] = Future()
        failed.set_result(Outcome(died="was killed, or ran out of memory, as often as it was started"))
        return failed

    def _wait(self, died: Died, deadline: Deadline) -> Iterable[Future[Outcome]]:
        while True:
            end = min(flight.end for flight in self._running.values())
            left = deadline.left()
            seconds = min(max(end - time.monotonic(), 0), threading.TIMEOUT_MAX if left is None else left)
            done, _ = wait(self._running, timeout=min(seconds, self._start_seconds()), return_when=FIRST_COMPLETED)
            deadline.check()
            if done:
                return done
            if time.monotonic() >= end:
                late = min(self._running.values(), key=lambda flight: flight.end)
                raise died(late.task, f"took longer than {self._seconds:g} s")
            self._replace_stuck()

    def _start_seconds(self) -> float:
        """How long to wait before workers that have not come to life are looked at."""
        lanes = [self._pool.known(flight.lane) for flight in self._running.values()]
        return _START_SECONDS if any(lane is not None and not lane.alive for lane in lanes) else threading.TIMEOUT_MAX

    def _replace_stuck(self) -> None:
        """Give the tasks of workers that never came to life to fresh ones.

        A process that is forked while a thread of a library holds a lock has that lock for ever. No library that is
        loaded here is known for it; polars has a thread of its own from its import on.
        """
        for future, flight in list(self._running.items()):
            lane = self._pool.known(flight.lane)
            if lane is not None and lane.stuck(_START_SECONDS):
                del self._running[future]
                self._pool.drop(flight.lane)
                self._running[self._submit(flight.lane, flight.task)] = flight

    def _outcome(self, future: Future[Outcome], number: int) -> Outcome:
        try:
            return future.result()
        except BrokenProcessPool:
            lane = self._pool.drop(number)
            return Outcome(died=f"was killed, or ran out of memory{lane.ending() if lane else ''}", killed=True)
