"""Turns what happens to a task into an outcome, because not every exception of a library can be pickled."""

from __future__ import annotations

import errno
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from importer.errors import ImporterError, MachineError

from .own_process import NeedsWorker

if TYPE_CHECKING:
    from collections.abc import Callable


class Death(NamedTuple):
    """How a task failed without an error of ours.

    Attributes:
        how: what happened, as the end of a sentence (such as `ran out of memory`).
        by_others: whether the worker was killed by somebody else: a user, or a system that is short of memory.
    """

    how: str
    by_others: bool = False

    def __str__(self) -> str:
        return self.how


class TaskResult(NamedTuple):
    """The result of a task.

    Attributes:
        value: return value of the task.
        error: the ImporterError that the task raised, or None.
        died: how the task failed otherwise, or None.
        trace: the traceback of that failure, for `--debug`.
        began: start of the task, in seconds on the monotonic clock.
        ended: end of the task, in seconds on the monotonic clock.
    """

    value: Any = None
    error: ImporterError | None = None
    died: Death | None = None
    trace: str = ""
    began: float = 0.0
    ended: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the task has no value."""
        return self.error is not None or self.died is not None


class WorkerTraceback(Exception):  # never raised itself: it is the `__cause__` of an error
    """The text of a traceback from another process."""


def run_timed(function: Callable[[Any], Any], task: Any) -> TaskResult:
    """Run a task and return its outcome with start and end times."""
    began = time.monotonic()
    return _run_task(function, task)._replace(began=began, ended=time.monotonic())


def _run_task(function: Callable[[Any], Any], task: Any) -> TaskResult:
    """Run a task and return its outcome; exceptions of libraries stay here, because some cannot be pickled."""
    try:
        return TaskResult(function(task))
    except ImporterError as exc:
        return TaskResult(error=exc)
    except (KeyboardInterrupt, NeedsWorker):
        raise  # only in the process of the caller: workers ignore Ctrl-C
    except OSError as exc:
        if exc.errno == errno.ENOMEM:
            return TaskResult(died=Death("ran out of memory"))
        return TaskResult(
            error=MachineError(
                f"the machine refused: {exc.strerror or exc}", place=exc.filename, choice="is the disk full?"
            )
        )
    except MemoryError:
        return TaskResult(died=Death("ran out of memory"))
    except BaseException as exc:  # noqa: BLE001 - a Rust panic is a BaseException
        fact = str(exc).split("\n", 1)[0][:300]
        return TaskResult(died=Death(f"failed ({type(exc).__name__}: {fact})"), trace=traceback.format_exc())
