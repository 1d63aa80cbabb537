"""Owns the tasks in flight, at most one per worker; repeats a task whose worker was killed from outside."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from importer.runtime.interruptible import POLL_SECONDS

from .task_result import Death, TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from importer.errors import ImporterError
    from importer.runtime.retry import Deadline

    from .worker_process import WorkerProcess

    Died = Callable[[Any, Death], ImporterError]

#: Seconds after which a worker that has not responded is taken for stuck; a start takes a fraction of one.
_START_SECONDS = 30.0
#: How many times to try to start a worker that dies before it gets its task.
_START_ATTEMPTS = 5
_NOTHING: Any = object()


class WorkerProcesses(Protocol):
    """The processes of a pool's workers, by the worker's number: see `pool.Pool`."""

    def worker(self, number: int) -> WorkerProcess:
        """Return the worker's process; start it if there is none."""

    def known(self, number: int) -> WorkerProcess | None:
        """Return the worker's process, or None if there is none."""

    def drop(self, number: int) -> WorkerProcess | None:
        """Kill the worker's process and return it."""


class FinishedTask(NamedTuple):
    """A finished task, its outcome and the number of its worker."""

    outcome: TaskResult
    task: Any
    worker: int


class _RunningTask(NamedTuple):
    """A running task: the number of its worker, and when it must have ended (seconds on the monotonic clock)."""

    worker: int
    task: Any
    end: float


class TasksInFlight:
    """The tasks that the workers of a pool are running, and those that wait.

    Args:
        pool: pool whose workers run the tasks.
        function: function to run on every task.
        tasks: drawn one by one as workers become free.
        workers: number of the pool's workers to use.
        seconds: wall time limit of a task.
        again: repeat a task once, on a fresh worker, if its worker was killed by others.
    """

    def __init__(
        self,
        pool: WorkerProcesses,
        function: Callable[[Any], Any],
        tasks: Iterable[Any],
        workers: int,
        seconds: float,
        *,
        again: bool,
    ) -> None:
        self._pool, self._function, self._seconds, self._again = pool, function, seconds, again
        self._waiting = iter(tasks)
        self._retried: list[Any] = []
        self._free = list(range(workers))
        self._running: dict[Future[TaskResult], _RunningTask] = {}

    @property
    def running(self) -> bool:
        """Whether any worker has a task."""
        return bool(self._running)

    def fill(self) -> None:
        """Give each free worker a task, as long as tasks are left."""
        while self._free and (task := next(self._waiting, _NOTHING)) is not _NOTHING:
            number = self._free.pop(0)
            future = self._submit(number, task)  # which may wait for the start of a worker
            self._running[future] = _RunningTask(number, task, time.monotonic() + self._seconds)

    def collect(self, died: Died, deadline: Deadline) -> list[FinishedTask]:
        """Wait until a task ends; return the finished tasks, without those to be repeated.

        Raises:
            ImporterError: a task took too long.
        """
        ended = []
        for future in self._wait(died, deadline):
            flight = self._running.pop(future)
            self._free.append(flight.worker)
            outcome = self._outcome(future, flight.worker)
            by_others = outcome.died is not None and outcome.died.by_others
            if self._again and by_others and not any(flight.task is other for other in self._retried):
                self._retried.append(flight.task)
                self._waiting = itertools.chain([flight.task], self._waiting)
            else:
                ended.append(FinishedTask(outcome, flight.task, flight.worker))
        return ended

    def drop(self) -> None:
        """Kill the workers that still run: after an error their results are useless, and others need them."""
        for flight in self._running.values():
            self._pool.drop(flight.worker)

    def _submit(self, number: int, task: Any) -> Future[TaskResult]:
        for _ in range(_START_ATTEMPTS):
            try:
                return self._pool.worker(number).submit(self._function, task)
            except BrokenProcessPool:
                # The worker died while it was idle, so no work was lost.
                self._pool.drop(number)
        failed: Future[TaskResult] = Future()
        failed.set_result(
            TaskResult(died=Death("was killed, or ran out of memory, every time it was started", by_others=True))
        )
        return failed

    def _wait(self, died: Died, deadline: Deadline) -> Iterable[Future[TaskResult]]:
        while True:
            end = min(flight.end for flight in self._running.values())
            left = deadline.left()
            seconds = min(max(end - time.monotonic(), 0), threading.TIMEOUT_MAX if left is None else left)
            seconds = min(seconds, self._start_seconds(), POLL_SECONDS)
            done, _ = wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED)
            deadline.check()
            if done:
                return done
            if time.monotonic() >= end:
                late = min(self._running.values(), key=lambda flight: flight.end)
                raise died(late.task, Death(f"took longer than {self._seconds:g} s"))
            self._replace_stuck()

    def _start_seconds(self) -> float:
        """Return the seconds to wait before looking for workers that are stuck at their start."""
        workers = [self._pool.known(flight.worker) for flight in self._running.values()]
        starting = any(worker is not None and not worker.alive for worker in workers)
        return _START_SECONDS if starting else threading.TIMEOUT_MAX

    def _replace_stuck(self) -> None:
        """Give the tasks of workers that are stuck at their start to fresh ones.

        A process forked while a thread of a library holds a lock keeps that lock locked forever. No library loaded here
        is known to do so, but polars runs a thread of its own from its import on.
        """
        for future, flight in list(self._running.items()):
            worker = self._pool.known(flight.worker)
            if worker is not None and worker.stuck(_START_SECONDS):
                del self._running[future]
                self._pool.drop(flight.worker)
                self._running[self._submit(flight.worker, flight.task)] = flight

    def _outcome(self, future: Future[TaskResult], number: int) -> TaskResult:
        try:
            return future.result()
        except BrokenProcessPool:
            worker = self._pool.drop(number)
            return TaskResult(died=worker.death() if worker else Death("was killed", by_others=True))
