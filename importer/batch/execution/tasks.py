"""Defines the tasks that executors run: plain functions of plain data, whose work a child process does."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

from importer.batch.one_import import describe, run_here
from importer.batch.report import ImportReport, failed_report
from importer.batch.survey import SheetSurvey, survey_sheet
from importer.errors import ImporterError

from .children import ImportProcesses, shared_children

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.batch.one_import import ImportTask

Answer = TypeVar("Answer")


def run_task(task: ImportTask) -> ImportReport:
    """Run one import in a child process of the process that this is called in."""
    return _run(shared_children(), task)


def survey_task(task: ImportTask) -> SheetSurvey | dict[str, Any]:
    """Survey one sheet in a child process of the process that this is called in; return the survey, or its error."""
    return _survey(shared_children(), task)


def _run(children: ImportProcesses, task: ImportTask) -> ImportReport:
    try:
        with children.child() as child:
            return ImportReport.from_dict(child.ask("run", task))
    except (ImporterError, OSError) as exc:
        return failed_report(task.spec, describe(exc))


def _survey(children: ImportProcesses, task: ImportTask) -> SheetSurvey | dict[str, Any]:
    try:
        with children.child() as child:
            answer = child.ask("survey", task)
    except (ImporterError, OSError) as exc:
        return describe(exc)
    return SheetSurvey.from_dict(answer["survey"]) if "survey" in answer else dict(answer["error"])


class Workplace:
    """Where the tasks of one command are run; a context manager.

    Args:
        executor: what runs the tasks; None: threads of this process, each with a child process.
        slots: how many tasks run at once in this process; 0: one after the other, and no child process.

    Attributes:
        slots: most tasks to hand out at once; None: as many as there are.
        is_elsewhere: whether a given executor runs the tasks, perhaps on another machine.
        workers_each: most workers of one import; None: as its options say.
    """

    def __init__(self, executor: Executor | None, slots: int) -> None:
        self._children: ImportProcesses | None = None
        self.is_elsewhere = executor is not None
        self.workers_each = 1 if executor is None and slots > 1 else None
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

    def run(self, task: ImportTask) -> Future[ImportReport]:
        """Hand out an import."""
        if self.is_serial:
            return self._executor.submit(run_here, task)
        if self._children is not None:
            return self._executor.submit(_run, self._children, task)
        return self._executor.submit(run_task, task)

    def survey(self, task: ImportTask) -> Future[SheetSurvey | dict[str, Any]]:
        """Hand out the survey of a sheet."""
        if self.is_serial:
            return self._executor.submit(_survey_here, task)
        if self._children is not None:
            return self._executor.submit(_survey, self._children, task)
        return self._executor.submit(survey_task, task)

    def interrupt(self) -> None:
        """Stop what runs in children of this process, as by Ctrl-C."""
        (self._children or shared_children()).interrupt()


def _survey_here(task: ImportTask) -> SheetSurvey | dict[str, Any]:
    try:
        return survey_sheet(task)
    except (ImporterError, OSError) as exc:
        return describe(exc)


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
