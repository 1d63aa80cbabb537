"""Decides in what order imports run, and which side by side; stops them on a failure or a signal.

What an executor loses is handed out again, because an import that runs twice loads nothing twice.
"""

from __future__ import annotations

import contextlib
import queue
import signal
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from importer.batch.one_import import describe
from importer.batch.report import ImportReport, failed_report, not_started_report, stopped_report
from importer.errors import Interrupted, MachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from importer.batch.one_import import ImportTask
    from importer.batch.survey import SheetSurvey

    from .workplace import Workplace

#: Seconds that imports have to end after they were told to stop; their child processes are killed a little earlier.
STOP_SECONDS = 12.0
#: Seconds of one wait; see `wait_for`.
_POLL_SECONDS = 0.1
#: How often a task is handed out that its executor cancelled, as Dask does when its scheduler is restarted.
_MOST_ATTEMPTS = 5
_INTERRUPTED = "interrupted"
Answer = TypeVar("Answer")


Order = Literal["free", "first", "serial"]


@dataclass(frozen=True, eq=False)  # else each look into a dict would hash all its numbers
class Chain:
    """Imports into the same table.

    Attributes:
        imports: their numbers, in order.
        order: `free`: all may run side by side; `first`: the first that succeeds creates the table, then the others may
            run side by side; `serial`: one after the other, because the order decides what the table holds.
    """

    imports: tuple[int, ...]
    order: Order = "free"


class Schedule:
    """The running of imports; `run` returns when all have ended.

    Args:
        tasks: the imports, by number.
        chains: all of these numbers, each once.
        workplace: where they run.
        on_report: called with each report as its import ends.
        stop_on_error: whether no further import begins once one failed.

    Attributes:
        reports: reports on the imports that have ended, by number.
        stopped_by: number of the signal that stopped the imports, or None.
    """

    def __init__(
        self, tasks: dict[int, ImportTask], chains: Sequence[Chain], workplace: Workplace,
        on_report: Callable[[ImportReport], None], *, stop_on_error: bool,
    ) -> None:  # fmt: skip
        self._tasks, self._workplace, self._on_report = tasks, workplace, on_report
        self._stop_on_error, self._stopping = stop_on_error, False
        self._chain_of = {number: chain for chain in chains for number in chain.imports}
        #: Imports of each chain that wait for another one of it.
        self._waiting = {chain: list(chain.imports) for chain in chains}
        self._ready: list[int] = []
        self._running: dict[Future[ImportReport], int] = {}
        self._ended: EndedFutures[ImportReport] = EndedFutures()
        self.reports: dict[int, ImportReport] = {}
        self.stopped_by: int | None = None
        for chain in chains:
            self._release(chain, everything=chain.order == "free")

    def run(self) -> None:
        """Run all imports; a signal stops them, and those that are under way clean up first."""
        try:
            while self._ready or self._running:
                self._fill()
                if self._running:  # none of those that were ready runs after a failure, with `stop_on_error`
                    self._take(self._ended.next())
        except KeyboardInterrupt as exc:
            self.stopped_by = signal_number(exc)
            self._stop()
        for number, task in self._tasks.items():
            if number not in self.reports:
                self.reports[number] = not_started_report(task.spec)

    def _release(self, chain: Chain, *, everything: bool) -> None:
        """Make the next import of a chain ready, or all of them."""
        waiting = self._waiting[chain]
        count = len(waiting) if everything else 1
        self._ready = sorted([*self._ready, *waiting[:count]])
        del waiting[:count]

    def _fill(self) -> None:
        """Hand out imports that are ready, as many as there are slots for."""
        slots = self._workplace.slots
        while self._ready and not self._stopping and (slots is None or len(self._running) < slots):
            number = self._ready.pop(0)
            self._running[self._ended.of(hand_out(self._workplace.run, self._tasks[number]))] = number
        if self._stopping:
            self._ready.clear()

    def _take(self, done: Iterable[Future[ImportReport]]) -> None:
        for future in sorted(done, key=self._running.__getitem__):
            number = self._running.pop(future)
            if future.cancelled():
                self._hand_out_again(number)
                continue
            report = self._report(future, number)
            self.reports[number] = report.packed()
            self._on_report(report)
            if self._workplace.is_serial and report.outcome == _INTERRUPTED:
                raise KeyboardInterrupt
            failed = report.error is not None
            if failed and self._stop_on_error:
                self._stopping = True
                for other in self._running:
                    other.cancel()
            chain = self._chain_of[number]
            self._release(chain, everything=chain.order == "first" and not failed)

    def _hand_out_again(self, number: int) -> None:
        """Hand out an import that was cancelled, unless it was so by us."""
        if not self._stopping:
            task = self._tasks[number] = replace(self._tasks[number], attempt=self._tasks[number].attempt + 1)
            self._running[self._ended.of(hand_out(self._workplace.run, task))] = number

    def _report(self, future: Future[ImportReport], number: int) -> ImportReport:
        task = self._tasks[number]
        try:
            report = future.result()
        except Interrupted:
            return stopped_report(task.spec)
        except Exception as exc:  # noqa: BLE001 - whatever an executor raises, such as that its worker died
            return failed_report(task.spec, given_up_error(exc))
        return replace(report, error=self._workplace.explained(task, report.error)) if report.error else report

    def _stop(self) -> None:
        """Stop what runs, and take the reports on it."""
        self._stopping = True
        self._workplace.stop(self._running)
        done, left = wait(self._running, timeout=STOP_SECONDS)
        with contextlib.suppress(KeyboardInterrupt):
            self._take(done)
        for future in left:
            number = self._running.pop(future)
            self.reports[number] = stopped_report(self._tasks[number].spec)


def hand_out(submit: Callable[[ImportTask], Future[Answer]], task: ImportTask) -> Future[Answer]:
    """Give a task to an executor, and return its future; one that the executor refuses has failed."""
    failed: Future[Answer] = Future()
    if task.attempt >= _MOST_ATTEMPTS:
        fact = f"the executor cancelled it {task.attempt} times"
        failed.set_exception(MachineError(fact, choice="run the same command again"))
        return failed
    try:
        return submit(task)
    except Exception as exc:  # noqa: BLE001 - whatever an executor raises, such as that it is shut down
        failed.set_exception(exc)
        return failed


def given_up_error(exc: Exception) -> dict[str, Any]:
    """Return the error of a task that its executor did not finish."""
    if isinstance(exc, MachineError):
        return describe(exc)
    fact = str(exc).strip().split("\n", 1)[0][:300]
    choice = "look at its workers, and run the same command again"
    return describe(MachineError(f"the executor gave up the import ({type(exc).__name__}: {fact})", choice=choice))


def survey_all(tasks: dict[int, ImportTask], workplace: Workplace) -> dict[int, SheetSurvey | dict[str, Any]]:
    """Survey the sheets of imports; return the survey or the error of each, by number. A signal stops it."""
    answers: dict[int, SheetSurvey | dict[str, Any]] = {}
    ended: EndedFutures[SheetSurvey | dict[str, Any]] = EndedFutures()
    running = {ended.of(hand_out(workplace.survey, task)): (number, task) for number, task in tasks.items()}
    try:
        while running:
            for future in ended.next():
                number, task = running.pop(future)
                if future.cancelled():
                    task = replace(task, attempt=task.attempt + 1)
                    running[ended.of(hand_out(workplace.survey, task))] = (number, task)
                else:
                    exc = future.exception()
                    answer = given_up_error(exc) if isinstance(exc, Exception) else future.result()
                    answers[number] = workplace.explained(task, answer) if isinstance(answer, dict) else answer
    except KeyboardInterrupt:
        workplace.stop({future: number for future, (number, _) in running.items()})
        raise
    return answers


class EndedFutures(Generic[Answer]):
    """Futures in the order in which they end; of thousands, none that has not ended is looked at again and again."""

    def __init__(self) -> None:
        self._ended: queue.SimpleQueue[Future[Answer]] = queue.SimpleQueue()

    def of(self, future: Future[Answer]) -> Future[Answer]:
        """Await a future, too, and return it."""
        future.add_done_callback(self._ended.put)
        return future

    def next(self) -> list[Future[Answer]]:
        """Wait for a future to end, and return it with the others that have ended since the last call; see `wait_for`.

        Each future is returned once. One of them must not have been returned yet.
        """
        found: list[Future[Answer]] = []
        while not found:
            with contextlib.suppress(queue.Empty):
                found.append(self._ended.get(timeout=_POLL_SECONDS))
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._ended.get_nowait())
        return found


def wait_for(futures: Collection[Future[Answer]]) -> None:
    """Wait for all futures; a signal ends the wait.

    The wait is short and repeated: polars has a handler of its own for Ctrl-C, with which the system restarts what it
    interrupts, so that Python would not learn of it before the wait is over.
    """
    while wait(futures, _POLL_SECONDS).not_done:
        pass


def signal_number(exc: KeyboardInterrupt) -> int:
    """Return the number of the signal that an exception is about."""
    given = exc.args[0] if exc.args else None
    return int(given) if isinstance(given, int) else int(signal.SIGINT)
