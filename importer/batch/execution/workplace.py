"""Owns the place where the imports of one command run: child processes of this one, or a given executor."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from importer.batch.one_import import run_here
from importer.batch.readings.kept_readings import KeptReadings
from importer.errors import SourceUnseen
from importer.integrations.clusters import Cluster

from .children import ImportProcesses, stop_descendants
from .elsewhere import for_other_machines, local_paths
from .tasks import run_in_child, run_task, run_together_in_child, stop_batch, survey_here, survey_in_child, survey_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from importer.batch.one_import import ImportSet, ImportTask
    from importer.batch.report import ImportReport
    from importer.batch.survey import SheetSurvey
    from importer.settings import Dsn

Answer = TypeVar("Answer")


class Workplace:
    """Where the tasks of one command are run; a context manager.

    Args:
        executor: what runs the tasks; None: threads of this process, each with a child process.
        slots: how many tasks run at once in this process; 0: one after the other, and no child process.
        keeps_readings: whether what a survey reads is kept for the import, where both run in processes of this one.

    Attributes:
        batch: names the command; its tasks bear this name.
        slots: most tasks to hand out at once; None: as many as there are.
        is_elsewhere: whether a given executor runs the tasks, perhaps on another machine.
        workers_each: most workers of one import, where it does not say so itself; None: as its options say.
    """

    def __init__(self, executor: Executor | None, slots: int, *, keeps_readings: bool = False) -> None:
        self._children: ImportProcesses | None = None
        self._readings = KeptReadings(keeps=keeps_readings)
        self._cluster = executor if isinstance(executor, Cluster) else None
        self.batch = secrets.token_hex(8)
        self.is_elsewhere = executor is not None
        self.workers_each = 1 if executor is not None or slots > 1 else None
        self.slots: int | None = max(1, slots) if executor is None else None
        if executor is not None:
            self._executor = executor
        elif slots == 0:
            self._executor = _SerialExecutor()
        else:
            self._children = ImportProcesses()
            self._children.prestart(slots)
            self._executor = ThreadPoolExecutor(slots, "import")

    @property
    def is_serial(self) -> bool:
        """Whether the imports run in this thread, which a signal then interrupts."""
        return isinstance(self._executor, _SerialExecutor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_elsewhere:
            self._executor.shutdown(wait=True, cancel_futures=True)
        if self._children is not None:
            self._children.close()
        self._readings.close()

    def dsn_for(self, dsn: Dsn) -> str:
        """Return the connection string that the tasks get."""
        return for_other_machines(dsn, os.environ) if self.is_elsewhere else dsn.text

    def run(self, task: ImportTask) -> Future[ImportReport]:
        """Hand out an import."""
        if self.is_elsewhere:
            return self._executor.submit(run_task, task)
        run = run_here if self._children is None else partial(run_in_child, self._children)
        return self._executor.submit(self._readings.run, run, task)

    def run_together(self, given: ImportSet) -> Future[list[ImportReport]]:
        """Hand out imports that are published as one; no given executor runs them."""
        given = replace(given, tasks=tuple(map(self._readings.hand_over, given.tasks)))
        if self._children is not None:
            return self._executor.submit(run_together_in_child, self._children, given)
        from .together import run_together

        return self._executor.submit(run_together, given, lambda _: None)

    def survey(self, task: ImportTask) -> Future[SheetSurvey | dict[str, Any]]:
        """Hand out the survey of a sheet."""
        if self.is_elsewhere:
            return self._executor.submit(survey_task, task)
        survey = survey_here if self._children is None else partial(survey_in_child, self._children)
        return self._executor.submit(self._readings.survey, survey, task)

    def stop(self, futures: Mapping[Future[Any], int]) -> None:
        """Stop what runs, as by Ctrl-C, and cancel what does not; a future that is not cancelled will end soon.

        Args:
            futures: what was handed out, with the numbers of the imports.
        """
        running: set[int] = set()
        if self._cluster is not None:
            # Its futures do not know whether they run: the workers do.
            running = self._cluster.stop(stop_batch, self.batch)
        for future, number in futures.items():
            if number not in running:
                future.cancel()
        self.interrupt()

    def interrupt(self) -> None:
        """Stop what runs in children of this process and of its own, as by Ctrl-C."""
        if self._children is not None:
            self._children.interrupt(self.batch)
        else:
            stop_batch(self.batch)
            stop_descendants()

    def explained(self, task: ImportTask, error: dict[str, Any]) -> dict[str, Any]:
        """Return an error of a task; where a worker did not see a file, it says which others do not."""
        if error["type"] != SourceUnseen.__name__ or self._cluster is None:
            return error
        for path in local_paths(task):
            sees = self._cluster.ask_workers(partial(os.path.exists, path))
            blind = [name for name, found in sees.items() if not found]
            if blind:
                here = "this machine does" if path.exists() else "nor does this machine"
                fact = f"{len(blind)} of {len(sees)} workers do not see {path}; {here}"
                return {**error, "message": fact, "place": ", ".join(blind[:3]) + (", …" if blind[3:] else "")}
        return error


class _SerialExecutor(Executor):
    """Runs each task at once, in this thread: for a debugger."""

    def submit(self, function: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Run a task and return its future, which is done."""
        future: Future[Answer] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as exc:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(exc)
        return future
