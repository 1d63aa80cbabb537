"""Owns the workers: processes with a memory and a wall limit, whose death is a value here and never ours.

A pool is a row of lanes, each a `ProcessPoolExecutor` of one process. Executors of several processes lose all their
tasks when one process dies and cannot tell which task killed it; a lane can, and the others go on. At most one task a
lane is in flight, so what waits costs nothing.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from .errors import ImporterError, MachineError
from .patience import Deadline
from .tasks import Remote
from .timeline import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from .settings import Limits

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Imported once by the fork server, so that a worker starts in 10 ms instead of a second.
PRELOAD = ["importer.preload"]
_WARM_UP: Remote[None, None] = Remote("workers", "warm_up")
_LET_GO: Remote[None, None] = Remote("workers", "let_go")
_HANGUP = [signal.SIGHUP] if sys.platform != "win32" else []


class Outcome(NamedTuple):
    """What a worker answers.

    Attributes:
        value: of the task.
        error: of ours, when the task found one.
        died: how the task failed otherwise (`ran out of memory`), or None.
        trace: the traceback of that, for `--debug`.
        killed: the process died of something else than the task itself, as far as one can tell.
        began: when the task did, in seconds of the monotonic clock.
        ended: likewise.
    """

    value: Any = None
    error: ImporterError | None = None
    died: str | None = None
    trace: str = ""
    killed: bool = False
    began: float = 0.0
    ended: float = 0.0


class WorkerTraceback(Exception):  # a carrier, never raised: it is the cause of the error that is
    """The text of a traceback from another process."""


def context() -> BaseContext:
    """The way processes start here: from a fork server with the heavy imports done; `spawn` on Windows.

    Plain `fork` is never used: polars must not run in a child of a process where its threads have started.
    """
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    ctx = multiprocessing.get_context("forkserver")
    ctx.set_forkserver_preload(PRELOAD)
    return ctx


def warm_up() -> None:
    """Start the fork server now, so that its imports run beside ours.

    Raises:
        MachineError: there is no place for its socket.
    """
    if sys.platform != "win32":
        from multiprocessing import forkserver, resource_tracker

        _open_standard_streams()
        context()
        resource_tracker.ensure_running()  # on its own: it unblocks the signals that `_starting` blocks
        try:
            with _starting():
                forkserver.ensure_running()
        except OSError as exc:
            # Its socket lies in the folder for temporary files; the path of a socket has at most 104-108 bytes.
            raise MachineError(
                f"workers cannot be started ({exc.strerror or exc})",
                place=tempfile.gettempdir(),
                choice="set TMPDIR to a writable folder with a short path",
            ) from None


def _open_standard_streams() -> None:
    """Open what the caller closed of stdin, stdout and stderr.

    Otherwise a pipe of ours gets the number 1 or 2, and a worker that redirects its output cuts it.
    """
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        os.set_inheritable(file, True)
    os.close(file)


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Hide the main module, and put off signals, while processes start.

    multiprocessing imports the main module again in every child. Our tasks live in the package, and a user's script
    that calls `import_workbook` at its top level must not run once more in each worker. An exception in the middle of
    a start would leave a process that nobody knows. The blocked Ctrl-C is inherited: it reaches all processes of a
    terminal, and only this one shall answer it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        with _signals_put_off():
            blocked = None if sys.platform == "win32" else signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                yield
            finally:
                if sys.platform != "win32":
                    signal.pthread_sigmask(signal.SIG_SETMASK, blocked or ())
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _signals_put_off() -> Iterator[None]:
    """Keep the handlers of this process from raising before the block ends (any thread may catch a signal for them)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handled = [n for n in (signal.SIGINT, signal.SIGTERM, *_HANGUP) if callable(signal.getsignal(n))]
    previous = {number: signal.signal(number, lambda n, _: caught.append(n)) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


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
        self._retired: list[_Lane] = []
        self._log = log
        self._lanes: list[_Lane | None] = [None] * workers
        self._starting = threading.Lock()
        self._starter: threading.Thread | None = None
        self.spans: list[Span] = []
        self.workers = workers

    def __enter__(self) -> Self:
        return self

    def start(self, workers: int) -> None:
        """Start up to that many workers, in a thread: the fork server may still be importing."""

        def start() -> None:
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
                yield _unwrap(self._noted(_timed(function, task), "worker", function), task, died)
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

    def _lane(self, number: int) -> _Lane:
        with self._starting:
            lane = self._lanes[number]
            if lane is None:
                # Known before it starts: Ctrl-C in the middle must not leave a process that nobody ends.
                lane = self._lanes[number] = _Lane(self._limits.memory_bytes, self._log, self.workers)
                lane.start()
            return lane

    def _drop(self, number: int) -> _Lane | None:
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
            if lane is not None and lane.stuck:
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


class _Lane:
    """One worker process behind an executor."""

    def __init__(self, memory_bytes: int, log: Path, workers: int) -> None:
        self._executor = ProcessPoolExecutor(
            1, mp_context=context(), initializer=_start, initargs=(memory_bytes, str(log), workers)
        )
        self._ending: threading.Thread | None = None
        self._life: Future[None] | None = None
        self._started = time.monotonic()
        # Its own way to kill them, `kill_workers`, came with Python 3.14, and it forgets them at its end.
        self._processes: dict[int, BaseProcess] = self._executor._processes  # type: ignore[assignment]  # noqa: SLF001

    def start(self) -> None:
        with _starting():
            self._life = self._executor.submit(_WARM_UP, None)
        self._started = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether the worker has done something."""
        return self._life is not None and self._life.done()

    @property
    def stuck(self) -> bool:
        """Whether it should have, long ago."""
        return not self.alive and time.monotonic() - self._started >= _START_SECONDS

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future[Outcome]:
        return self._executor.submit(_timed, function, task)

    def retire(self) -> None:
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


def _unwrap(outcome: Outcome, task: Any, died: Callable[[Any, str], ImporterError]) -> Any:
    if outcome.error is not None:
        raise outcome.error
    if outcome.died is not None:
        raise died(task, outcome.died) from (WorkerTraceback(outcome.trace) if outcome.trace else None)
    return outcome.value


def _timed(function: Callable[[Any], Any], task: Any) -> Outcome:
    began = time.monotonic()
    return _guarded(function, task)._replace(began=began, ended=time.monotonic())


def _guarded(function: Callable[[Any], Any], task: Any) -> Outcome:
    """The outcome of a task; no exception of a foreign library crosses the process border (some cannot be pickled)."""
    try:
        return Outcome(function(task))
    except ImporterError as exc:
        return Outcome(error=exc)
    except KeyboardInterrupt:
        raise  # only without workers: they do not hear Ctrl-C
    except OSError as exc:
        if exc.errno == errno.ENOMEM:
            return Outcome(died="ran out of memory")
        return Outcome(
            error=MachineError(
                f"the machine refused: {exc.strerror or exc}", place=exc.filename, choice="is the disk full?"
            )
        )
    except MemoryError:
        return Outcome(died="ran out of memory")
    except BaseException as exc:  # noqa: BLE001 - a Rust panic is a BaseException
        fact = str(exc).split("\n", 1)[0][:300]
        return Outcome(died=f"failed ({type(exc).__name__}: {fact})", trace=traceback.format_exc())


# ---- IN THE WORKER ----------------------------------------------------------------------------------------------


def _start(memory_bytes: int, log: str, workers: int) -> None:
    """Set up a worker: limits, quiet streams, no interest in Ctrl-C, and no life after its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["POLARS_MAX_THREADS"] = str(max((os.cpu_count() or 1) // workers, 1))
    _redirect(log)
    _limit_memory(memory_bytes)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _redirect(log: str) -> None:
    """Send native and Python output to the log: an aborting library writes where nobody asked it to."""
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _limit_memory(memory_bytes: int) -> None:
    """Bound the private memory to what the process has now plus `memory_bytes` (Linux; elsewhere not enforced).

    RLIMIT_DATA, not RLIMIT_AS: address space that is only reserved (malloc arenas, thread stacks' guards) or that maps
    the spool costs no memory, and a machine of 64 cores reserves gigabytes of it.
    """
    if not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no path object needed here
        pages = int(file.read().split()[5])
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _follow_parent() -> None:
    """End this worker when the process that asked for it is gone (kill -9 leaves no other sign)."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
