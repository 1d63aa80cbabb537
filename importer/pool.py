"""Owns the workers: processes with a memory and a wall limit, whose death is a value here and never ours.

A pool is a row of lanes, each a `ProcessPoolExecutor` of one process. Executors of several processes lose all their
tasks when one process dies and cannot tell which task killed it; a lane can, and the others go on. At most one task a
lane is in flight, so what waits costs nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .lanes import CANNOT_START, Lane, take_lane
from .outcome import Outcome, WorkerTraceback, timed
from .patience import Deadline
from .tasks import Remote
from .timeline import Span

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .errors import ImporterError
    from .settings import Limits

Task = TypeVar("Task")
Result = TypeVar("Result")

_LET_GO: Remote[None, None] = Remote("workers", "let_go")


class Pool:
    """Some workers; a context manager that leaves no process behind.

    Args:
        workers: how many processes; 0 runs the tasks in this process, without limits (for debugging).
        limits: memory and wall time of a task.
        log: where the workers' standard output and error go.
        deadline: of the run.

    Attributes:
        workers: how many are used at most.
        spans: when each task was worked on, and by whom.
    """

    def __init__(self, workers: int, limits: Limits, log: Path, deadline: Deadline | None = None) -> None:
        self._limits = limits
        self._deadline = deadline or Deadline()
        self._retired: list[Lane] = []
        self._log = log
        self._lanes: list[Lane | None] = [None] * workers
        self._starting = threading.Lock()
        self._starter: threading.Thread | None = None
        self.spans: list[Span] = []
        self.workers = workers

    def __enter__(self) -> Self:
        return self

    def start(self, workers: int) -> None:
        """Start up to that many workers, in a thread: the fork server may still be importing."""

        def start() -> None:
            with contextlib.suppress(*CANNOT_START):  # whoever wants the worker tries again, and is told
                for number in range(min(workers, self.workers)):
                    self._lane(number)

        self._starter = threading.Thread(target=start, daemon=True)
        self._starter.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: types.TracebackType | None
    ) -> None:
        if self._starter is not None:
            self._starter.join()
        if not self.workers:
            _LET_GO(None)
        for lane in [*self._lanes, *self._retired]:
            if lane is not None:
                lane.close(kill=kind is not None)

    def limit(self, workers: int) -> None:
        """Use at most that many workers from now on, and start them, so that none has to be waited for later."""
        self.workers = min(self.workers, workers)
        for number in range(self.workers):
            self._lane(number)

    def retire(self) -> None:
        """Tell the workers that no task will come; they end while we go on (a task would get a new one)."""
        for number, lane in enumerate(self._lanes):
            if lane is not None:
                self._retired.append(lane)
                self._lanes[number] = None
                lane.retire()

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        died: Callable[[Task, str], ImporterError],
        *,
        lanes: int | None = None,
        again: bool = False,
    ) -> Iterator[Result]:
        """The results of `function` for every task, as they come.

        Args:
            function: module level, picklable, of this package.
            tasks: taken one by one as workers become free.
            died: the error for a task whose worker died, from the task and how it died.
            lanes: use only that many workers.
            again: give a task whose worker was killed to a fresh one, once.

        Raises:
            ImporterError: that of the first task that failed; no more tasks are started.
        """
        if not self.workers:
            for task in tasks:
                yield _unwrap(self._noted(timed(function, task), "worker", function), task, died)
            return
        waiting = iter(tasks)
        second: list[Task] = []
        free = list(range(min(lanes or self.workers, self.workers)))
        running: dict[Future[Outcome], tuple[int, Task, float]] = {}
        try:
            while True:
                while free and (task := next(waiting, _NOTHING)) is not _NOTHING:
                    number = free.pop(0)
                    running[self._submit(number, function, task)] = (
                        number,
                        task,
                        time.monotonic() + self._limits.task_seconds,
                    )
                if not running:
                    return
                for future in self._wait(running, died, function):
                    number, task, _ = running.pop(future)
                    free.append(number)
                    outcome = self._noted(self._outcome(future, number), f"worker {number + 1}", function)
                    if again and outcome.killed and not any(task is other for other in second):
                        second.append(task)
                        waiting = itertools.chain([task], waiting)
                    else:
                        yield _unwrap(outcome, task, died)
        finally:
            # What still runs after an error is of no use, and its lanes must be free for the next tasks.
            for number, _, _ in running.values():
                self._drop(number)

    def _noted(self, outcome: Outcome, lane: str, function: Callable[[Any], Any]) -> Outcome:
        if outcome.ended:
            name = function.name if isinstance(function, Remote) else function.__name__
            self.spans.append(Span(lane, name, outcome.began, outcome.ended))
        return outcome

    def _lane(self, number: int) -> Lane:
        with self._starting:
            lane = self._lanes[number]
            if lane is None:
                # Known before it starts: Ctrl-C in the middle must not leave a process that nobody ends.
                lane = self._lanes[number] = take_lane(self.workers)
                try:
                    lane.start()
                except CANNOT_START:
                    self._drop(number)
                    raise
                lane.set_up(self._limits.memory_bytes, self._log)
            return lane

    def _drop(self, number: int) -> Lane | None:
        """Kill the worker of a lane; the next task there gets a new one. Returns the dead lane."""
        lane, self._lanes[number] = self._lanes[number], None
        if lane is not None:
            lane.close(kill=True)
        return lane

    def _submit(self, number: int, function: Callable[[Any], Any], task: Any) -> Future[Outcome]:
        for _ in range(_START_ATTEMPTS):
            try:
                return self._lane(number).submit(function, task)
            except BrokenProcessPool:
                # Its worker died while it had nothing to do, so nothing was lost.
                self._drop(number)
        failed: Future[Outcome] = Future()
        failed.set_result(Outcome(died="was killed, or ran out of memory, as often as it was started"))
        return failed

    def _wait(
        self,
        running: dict[Future[Outcome], tuple[int, Task, float]],
        died: Callable[[Task, str], ImporterError],
        function: Callable[[Any], Any],
    ) -> Iterable[Future[Outcome]]:
        while True:
            deadline = min(entry[2] for entry in running.values())
            left = self._deadline.left()
            seconds = min(max(deadline - time.monotonic(), 0), threading.TIMEOUT_MAX if left is None else left)
            done, _ = wait(running, timeout=min(seconds, self._start_seconds(running)), return_when=FIRST_COMPLETED)
            self._deadline.check()
            if done:
                return done
            if time.monotonic() >= deadline:
                _, task, _ = min(running.values(), key=lambda entry: entry[2])
                raise died(task, f"took longer than {self._limits.task_seconds:g} s")
            self._replace_stuck(running, function)

    def _start_seconds(self, running: dict[Future[Outcome], tuple[int, Task, float]]) -> float:
        """How long to wait before workers that have not come to life are looked at."""
        lanes = [self._lanes[number] for number, _, _ in running.values()]
        return _START_SECONDS if any(lane is not None and not lane.alive for lane in lanes) else threading.TIMEOUT_MAX

    def _replace_stuck(
        self, running: dict[Future[Outcome], tuple[int, Task, float]], function: Callable[[Any], Any]
    ) -> None:
        """Give the tasks of workers that never came to life to fresh ones.

        A process that is forked while a thread of a library holds a lock has that lock for ever. No library that is
        loaded here is known for it; polars has a thread of its own from its import on.
        """
        for future, (number, task, deadline) in list(running.items()):
            lane = self._lanes[number]
            if lane is not None and lane.stuck(_START_SECONDS):
                del running[future]
                self._drop(number)
                running[self._submit(number, function, task)] = (number, task, deadline)

    def _outcome(self, future: Future[Outcome], number: int) -> Outcome:
        try:
            return future.result()
        except BrokenProcessPool:
            lane = self._drop(number)
            return Outcome(died=f"was killed, or ran out of memory{lane.ending() if lane else ''}", killed=True)


_NOTHING: Any = object()
#: A worker that has not come to life after so many seconds never will; it takes a fraction of one.
_START_SECONDS = 30.0
#: How often a worker that dies before it gets a task is replaced.
_START_ATTEMPTS = 5


def _unwrap(outcome: Outcome, task: Any, died: Callable[[Any, str], ImporterError]) -> Any:
    if outcome.error is not None:
        raise outcome.error
    if outcome.died is not None:
        raise died(task, outcome.died) from (WorkerTraceback(outcome.trace) if outcome.trace else None)
    return outcome.value
