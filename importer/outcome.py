"""Owns what becomes of a task in a worker: an outcome in every case, because exceptions of others cannot travel."""

from __future__ import annotations

import errno
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import ImporterError, MachineError

if TYPE_CHECKING:
    from collections.abc import Callable


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

    @property
    def failed(self) -> bool:
        """Whether there is no value."""
        return self.error is not None or self.died is not None


class WorkerTraceback(Exception):  # a carrier, never raised: it is the cause of the error that is
    """The text of a traceback from another process."""


def timed(function: Callable[[Any], Any], task: Any) -> Outcome:
    """Do a task, and tell when."""
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
