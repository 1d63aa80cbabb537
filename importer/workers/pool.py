"""Owns the workers: processes with limits on memory and wall time, whose death is reported as an error of their task.

A pool consists of workers, each a `ProcessPoolExecutor` of one process. An executor of several processes loses all its
tasks when one process dies, and cannot say which task killed it; a worker can, and the other workers go on. At most one
task per worker is in flight, so tasks that wait use no resources.

The tasks of a small workbook run in the process of the caller, which saves the start of a worker, until one needs one.
What starts processes is imported then: multiprocessing takes 15 ms, and a small workbook 200.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from importer.runtime.retry import Deadline
from importer.runtime.timeline import Span

from .own_process import NeedsWorker, own_process
from .remote_function import RemoteFunction
from .task_result import Death, TaskResult, WorkerTraceback, run_timed

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from importer.errors import ImporterError
    from importer.settings import Limits

    from .in_flight import FinishedTask
    from .worker_process import WorkerProcess

Task = TypeVar("Task")
Result = TypeVar("Result")

_RELEASE_RESOURCES: RemoteFunction[None, None] = RemoteFunction("importer.stages.worker", "release_resources")


class Pool:
    """A pool of workers; a context manager that leaves no process running.

    Args:
        workers: number of processes; 0 runs the tasks in this process, without limits (for debugging).
        limits: limits on the memory and wall time of a task.
        log: file for the workers' standard output and error; they hold its folder (`runtime.locked_folder`).
        deadline: deadline of the run.
        own_process: whether tasks run in this process until `use_workers`, or until one needs a worker.

    Attributes:
        workers: number of workers used at most.
        own_process: whether tasks run in this process.
        spans: when each task ran, and on which worker.
    """

    def __init__(
        self, workers: int, limits: Limits, log: Path, deadline: Deadline | None = None, *, own_process: bool = False
    ) -> None:
        self._limits = limits
        self._deadline = deadline or Deadline()
        self._retired: list[WorkerProcess] = []
        self._log = log
        self._processes: list[WorkerProcess | None] = [None] * workers
        self._start_lock = threading.Lock()
        self._starter: threading.Thread | None = None
        self._ran_here = not workers
        self.spans: list[Span] = []
        self.workers = workers
        self.own_process = own_process and workers > 0

    def __enter__(self) -> Self:
        return self

    def start(self, workers: int) -> None:
        """Start up to that many workers, in a thread: the fork server may still be importing."""
        from .worker_process import CANNOT_START

        def start() -> None:
            with contextlib.suppress(*CANNOT_START):  # `worker` tries again when a task needs the worker, and raises
                for number in range(min(workers, self.workers)):
                    self.worker(number)

        self._starter = threading.Thread(target=start, daemon=True)
        self._starter.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: types.TracebackType | None
    ) -> None:
        if self._starter is not None:
            self._starter.join()
        if self._ran_here:
            _RELEASE_RESOURCES(None)
        for worker in [*self._processes, *self._retired]:
            if worker is not None:
                worker.close(kill=kind is not None)

    def limit(self, workers: int) -> None:
        """Use at most that many workers from now on, and start them, so that no task waits for a start later."""
        self.workers = min(self.workers, workers)
        if not self.own_process:
            for number in range(self.workers):
                self.worker(number)

    def use_workers(self) -> None:
        """Run no more tasks in this process.

        Raises:
            MachineError: workers cannot be started.
        """
        if self.own_process:
            from .fork_server import warm_up

            self.own_process = False
            warm_up()

    def retire(self) -> None:
        """Tell the workers that no task will come, without waiting for their end (a later task gets a new worker)."""
        for number, worker in enumerate(self._processes):
            if worker is not None:
                self._retired.append(worker)
                self._processes[number] = None
                worker.retire()

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        died: Callable[[Task, Death], ImporterError],
        *,
        workers: int | None = None,
        again: bool = False,
    ) -> Generator[Result, None, None]:
        """Run `function` on every task and yield the results as they complete.

        Close it where not all results are taken, after an error, too: the workers that still run are killed then, and
        not by whichever thread collects it as garbage, while they may be at tasks of another call.

        Args:
            function: picklable module-level function of this package.
            tasks: drawn one by one as workers become free.
            died: makes the error for a task whose worker died, from the task and how it died.
            workers: number of workers to use at most; None: all.
            again: repeat a task once, on a fresh worker, if its worker was killed by others; for tasks that can be
                done twice.

        Raises:
            ImporterError: the error of the first task that failed; no more tasks are started.
        """
        if not self.workers:
            for task in tasks:
                yield _unwrap(self._record_span(run_timed(function, task), "worker", function), task, died)
            return
        if self.own_process:
            tasks = yield from self._run_here(function, tasks, died)
        if not self.own_process:
            number = min(workers or self.workers, self.workers)
            yield from self._run_in_workers(function, tasks, died, number, again=again)

    def _run_in_workers(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        died: Callable[[Task, Death], ImporterError],
        workers: int,
        *,
        again: bool,
    ) -> Iterator[Result]:
        # Imported for workers alone: it brings much of multiprocessing.
        from .in_flight import TasksInFlight

        work = TasksInFlight(self, function, tasks, workers, self._limits.task_seconds, again=again)
        ended: list[FinishedTask] = []
        try:
            while True:
                for each in ended:
                    if each.outcome.failed:
                        _unwrap(each.outcome, each.task, died)
                # Before a result is yielded: the caller may take long to process it.
                work.fill()
                for each in ended:
                    yield _unwrap(each.outcome, each.task, died)
                if not work.running:
                    return
                ended = work.collect(died, self._deadline)
                for each in ended:
                    self._record_span(each.outcome, f"worker {each.worker + 1}", function)
        finally:
            work.drop()

    def _run_here(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], died: Callable[[Task, Death], ImporterError]
    ) -> Generator[Result, None, Iterable[Task]]:
        """Run tasks in this process and yield their results; return those that are left for workers."""
        left, self._ran_here = iter(tasks), True
        for task in left:
            self._deadline.check()
            try:
                with own_process():
                    outcome = run_timed(function, task)
            except NeedsWorker:
                self.use_workers()
                return itertools.chain([task], left)
            yield _unwrap(self._record_span(outcome, "worker", function), task, died)
        return ()

    def _record_span(self, outcome: TaskResult, worker: str, function: Callable[[Any], Any]) -> TaskResult:
        if outcome.ended:
            name = function.name if isinstance(function, RemoteFunction) else function.__name__
            self.spans.append(Span(worker, name, outcome.began, outcome.ended))
        return outcome

    def worker(self, number: int) -> WorkerProcess:
        """Return the worker with that number; start it if it is not running."""
        from .worker_process import CANNOT_START, take_worker

        with self._start_lock:
            worker = self._processes[number]
            if worker is None:
                # Stored before it starts, so that a Ctrl-C during the start leaves no process that is never ended.
                worker = self._processes[number] = take_worker(self.workers)
                try:
                    worker.start()
                except CANNOT_START:
                    self.drop(number)
                    raise
                worker.set_up(self._limits.memory_bytes, self._log)
            return worker

    def known(self, number: int) -> WorkerProcess | None:
        """Return the worker with that number, or None if it was not started."""
        return self._processes[number]

    def drop(self, number: int) -> WorkerProcess | None:
        """Kill the worker with that number and return its process; the next task there gets a new one."""
        worker, self._processes[number] = self._processes[number], None
        if worker is not None:
            worker.close(kill=True)
        return worker


def _unwrap(outcome: TaskResult, task: Any, died: Callable[[Any, Death], ImporterError]) -> Any:
    if outcome.error is not None:
        raise outcome.error
    if outcome.died is not None:
        raise died(task, outcome.died) from (WorkerTraceback(outcome.trace) if outcome.trace else None)
    return outcome.value
