"""Owns one worker: a process behind an executor of its own, known from before it starts until it is gone.

Workers may be started before anybody knows what for (`start_ahead`): the fork server gives them as soon as it has its
imports done, while the command line has not.
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

from .outcome import Outcome, timed
from .starting import begin, context, kill_fork_server, set_up, starting
from .tasks import Remote

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

#: No process or memory for one; a fork server that was killed; a worker that died at once.
CANNOT_START = (OSError, EOFError, BrokenProcessPool)
_WARM_UP: Remote[None, None] = Remote("workers", "warm_up")


def threads_of(workers: int) -> int:
    """How many threads each of so many workers may use."""
    return max((os.cpu_count() or 1) // workers, 1)


class Lane:
    """One worker process.

    Args:
        workers: how many there are to be, so that it knows how many threads are its share.
    """

    def __init__(self, workers: int) -> None:
        self.threads = threads_of(workers)
        self._executor = ProcessPoolExecutor(1, mp_context=context(), initializer=begin, initargs=(self.threads,))
        self._ending: threading.Thread | None = None
        self._life: Future[None] | None = None
        self._started = time.monotonic()
        # Its own way to kill them, `kill_workers`, came with Python 3.14, and it forgets them at its end.
        self._processes: dict[int, BaseProcess] = self._executor._processes  # type: ignore[assignment]  # noqa: SLF001

    def start(self) -> None:
        """Start the process, unless it was; returns when it is there: later where the fork server still imports."""
        if self._life is None:
            with starting():
                self._life = self._executor.submit(_WARM_UP, None)
            self._started = time.monotonic()

    def set_up(self, memory_bytes: int, log: Path) -> None:
        """Let its tasks be done within that memory, and its output go to that file."""
        with contextlib.suppress(BrokenProcessPool):  # it is dead, and the first task tells
            self._executor.submit(set_up, memory_bytes, str(log))

    @property
    def alive(self) -> bool:
        """Whether the worker has done something."""
        return self._life is not None and self._life.done()

    def stuck(self, seconds: float) -> bool:
        """Whether it should have, so long ago."""
        return not self.alive and time.monotonic() - self._started >= seconds

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future[Outcome]:
        """Give it a task.

        Raises:
            BrokenProcessPool: the process died meanwhile.
        """
        return self._executor.submit(timed, function, task)

    def retire(self) -> None:
        """Tell it that no task will come; it ends while we go on."""
        # A second call of `shutdown` would not wait for what the first one left to do.
        self._ending = threading.Thread(target=self._executor.shutdown, daemon=True)
        self._ending.start()

    def close(self, *, kill: bool) -> None:
        """End the worker: at once, or when its task is done. No process is left when this returns."""
        if kill:
            # It may be deep in native code that no polite word reaches.
            for process in list(self._processes.values()):
                with contextlib.suppress(OSError):
                    process.kill()
        if self._ending is not None:
            self._ending.join()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def ending(self) -> str:
        """How the dead worker ended (` (SIGKILL)`), as far as the system told."""
        code = next((p.exitcode for p in self._processes.values() if p.exitcode), 0)
        return f" ({signal.Signals(-code).name})" if -code in set(signal.Signals) else ""


class _Ahead:
    """Workers that were started before there was a pool, until one takes them."""

    def __init__(self) -> None:
        self._ready: SimpleQueue[Lane | None] = SimpleQueue()
        self._coming = 0
        self._taking = threading.Lock()

    def start(self, number: int) -> None:
        workers = os.cpu_count() or 1
        number = min(number, workers)
        self._coming += number
        threading.Thread(target=self._start, args=[number, workers], daemon=True).start()

    def _start(self, number: int, workers: int) -> None:
        for _ in range(number):
            lane = None
            try:
                lane = Lane(workers)
                lane.start()
            except CANNOT_START:
                lane = None  # the pool starts its own, and tells why it cannot
            finally:
                self._ready.put(lane)

    def take(self, threads: int) -> Lane | None:
        with self._taking:
            while self._coming:
                lane = self._ready.get()
                self._coming -= 1
                if lane is not None and lane.threads == threads:
                    return lane
                if lane is not None:
                    lane.close(kill=True)
        return None

    def end(self) -> None:
        with self._taking:
            if self._ready.qsize() < self._coming:
                # A worker that comes to life when this process has ended would complain about that.
                kill_fork_server()
            while self._coming:
                lane = self._ready.get()
                self._coming -= 1
                if lane is not None:
                    lane.close(kill=True)


_ahead = _Ahead()


def start_ahead(number: int) -> None:
    """Start so many workers, one a core at most, in a thread: each comes when the fork server has its imports done."""
    _ahead.start(number)


def end_ahead() -> None:
    """End those that no pool took, at the end of this process: where one is still to come, no other will."""
    _ahead.end()


def take_lane(workers: int) -> Lane:
    """A worker of so many: one that was started ahead, or one that is to be started."""
    return _ahead.take(threads_of(workers)) or Lane(workers)
