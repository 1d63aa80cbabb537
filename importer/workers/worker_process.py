"""Owns one worker: a process behind an executor of its own, tracked from before its start until it is gone.

Workers can be started before there is a pool (`prestart`): the fork server delivers them as soon as its imports are
done, while the command line is still importing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from .fork_server import begin, context, isolated_start, kill_fork_server, set_up
from .remote_function import RemoteFunction
from .task_result import Death, TaskResult, run_timed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Errors at the start of a worker: no process or memory for it; the fork server was killed; the worker died at once.
CANNOT_START = (OSError, EOFError, BrokenProcessPool)
#: Signals that a process is sent by others; what is wrong in itself ends it by another one, or by none.
_SIGNALS_OF_OTHERS = {"SIGKILL", "SIGTERM"}
_WARM_UP: RemoteFunction[None, None] = RemoteFunction("importer.stages.worker", "warm_up_libraries")


def threads_per_worker(workers: int) -> int:
    """Return how many threads each of `workers` workers may use."""
    return max((os.cpu_count() or 1) // workers, 1)


class WorkerProcess:
    """One worker process.

    Args:
        workers: total number of workers, which determines this one's share of threads.
    """

    def __init__(self, workers: int) -> None:
        self.threads = threads_per_worker(workers)
        self._context = context()
        self._executor = ProcessPoolExecutor(1, mp_context=self._context, initializer=begin, initargs=(self.threads,))
        self._ending: threading.Thread | None = None
        self._warm_up: Future[None] | None = None
        self._started = time.monotonic()

    def start(self) -> None:
        """Start the process if it is not started; return when it exists, which waits for the fork server's imports."""
        if self._warm_up is None:
            with isolated_start():
                self._warm_up = self._executor.submit(_WARM_UP, None)
            self._started = time.monotonic()

    def set_up(self, memory_bytes: int, log: Path) -> None:
        """Limit the memory of the worker's tasks, and send its output to `log`."""
        with contextlib.suppress(BrokenProcessPool):  # the worker is dead, and its first task will fail
            self._executor.submit(set_up, memory_bytes, str(log))

    @property
    def alive(self) -> bool:
        """Whether the worker has finished its warm-up, or died in it."""
        return self._warm_up is not None and self._warm_up.done()

    def stuck(self, seconds: float) -> bool:
        """Return whether the worker is still not alive `seconds` after its start."""
        return not self.alive and time.monotonic() - self._started >= seconds

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future[TaskResult]:
        """Submit a task to the worker.

        Raises:
            BrokenProcessPool: the process died before.
        """
        return self._executor.submit(run_timed, function, task)

    def retire(self) -> None:
        """Tell the worker that no task will come, without waiting for its end."""
        # In a thread that `close` joins, because a second call of `shutdown` would not wait for the first one's work.
        self._ending = threading.Thread(target=self._executor.shutdown, daemon=True)
        self._ending.start()

    def close(self, *, kill: bool) -> None:
        """End the worker, at once or when its task is done; no process is left when this returns."""
        if kill:
            # The worker may be in native code, where it does not react to a request to stop.
            for process in self._context.processes:
                if process.pid is not None:
                    with contextlib.suppress(OSError):
                        process.kill()
        if self._ending is not None:
            self._ending.join()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def death(self) -> Death:
        """Return how the worker ended in the middle of a task, with the signal if it is known."""
        code = next((p.exitcode for p in self._context.processes if p.exitcode), 0)
        name = signal.Signals(-code).name if -code in set(signal.Signals) else ""
        return Death("was killed, or ran out of memory" + f" ({name})" * bool(name), name in _SIGNALS_OF_OTHERS)


class _PrestartedWorkers:
    """Workers that were started before there is a pool, until a pool takes them."""

    def __init__(self) -> None:
        self._ready: SimpleQueue[WorkerProcess | None] = SimpleQueue()
        self._coming = 0
        self._taking = threading.Lock()

    def start(self, number: int) -> None:
        workers = os.cpu_count() or 1
        number = min(number, workers)
        self._coming += number
        threading.Thread(target=self._start, args=[number, workers], daemon=True).start()

    def _start(self, number: int, workers: int) -> None:
        for _ in range(number):
            worker = None
            try:
                worker = WorkerProcess(workers)
                worker.start()
            except CANNOT_START:
                worker = None  # the pool starts its own, and reports the error if it cannot
            finally:
                self._ready.put(worker)

    def take(self, threads: int) -> WorkerProcess | None:
        with self._taking:
            while self._coming:
                worker = self._ready.get()
                self._coming -= 1
                if worker is not None and worker.threads == threads:
                    return worker
                if worker is not None:
                    worker.close(kill=True)
        return None

    def end(self) -> None:
        with self._taking:
            if self._ready.qsize() < self._coming:
                # A worker that starts after this process has ended would print errors about it.
                kill_fork_server()
            while self._coming:
                worker = self._ready.get()
                self._coming -= 1
                if worker is not None:
                    worker.close(kill=True)


_ahead = _PrestartedWorkers()


def prestart(number: int) -> None:
    """Start `number` workers in a thread, at most one per core; they are ready once the fork server has imported."""
    _ahead.start(number)


def end_prestarted() -> None:
    """End the workers that no pool took; if one is still starting, kill the fork server, so call this at exit."""
    _ahead.end()


def take_worker(workers: int) -> WorkerProcess:
    """Return one of `workers` workers: one that was started ahead, or a new one that is not started."""
    return _ahead.take(threads_per_worker(workers)) or WorkerProcess(workers)
