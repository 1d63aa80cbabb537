"""Runs a child process of the service: reads commands as lines of JSON from stdin, writes events as such to stdout.

It handles one command after the other. It ends at the end of stdin, so that no child outlives the service, and on
SIGTERM, which it treats as the command line treats Ctrl-C: rows in staging stay for the next attempt.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from importer.errors import CommitUnknown, ImporterError, Interrupted, LimitExceeded, MachineError, TimedOut
from importer.serve.models.child import DoneEvent, ErrorEvent, HelloCommand, HelloEvent, ReadyEvent, WorkbookCommand

from .channel import Channel
from .redaction import describe_error, load_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel

    from importer.serve.models.child import Command

    #: Executes a command, and returns the content of its answer.
    Operation = Callable[[Any, Channel], BaseModel]

#: Score by which the kernel, out of memory, kills a child rather than the service or the database.
_OOM_SCORE = "700"
_SIGTERM_EXIT_CODE = 143
#: Minimum of the bytes that a command may add to the memory of this process.
_MIN_MEMORY_BYTES = 1 << 30


def _raise_oom_score() -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(_OOM_SCORE)


def _terminate(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Handle commands until stdin ends."""
    gc.set_threshold(100_000)
    _raise_oom_score()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the service
    signal.signal(signal.SIGTERM, _terminate)
    channel = Channel()
    channel.open()
    try:
        from importer.workers.fork_server import warm_up
        from importer.workers.memory_limit import limit_memory

        warm_up()
        from .operations import OPERATIONS

        channel.send(ReadyEvent())
        while (command := channel.next_command()) is not None:
            if isinstance(command, HelloCommand):
                channel.send(HelloEvent())
                continue
            channel.busy = True
            # A short contract can expand without end; workers have limits of their own.
            memory = command.limits.memory_bytes if isinstance(command, WorkbookCommand) else 0
            with contextlib.suppress(OSError, ValueError):
                limit_memory(max(memory, _MIN_MEMORY_BYTES))
            _work(OPERATIONS[command.op], command, channel)
            channel.busy = False
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(_SIGTERM_EXIT_CODE)


def _work(operation: Operation, command: Command, channel: Channel) -> None:
    """Execute one command and send its last event, `done` or `error`."""
    try:
        answer = operation(command, channel)
    except (KeyboardInterrupt, CommitUnknown) as exc:
        late = exc.as_timeout() if isinstance(exc, CommitUnknown) else None
        channel.send(_interrupted_event(exc, late))
        if late is None:
            raise KeyboardInterrupt from exc
    except (ImporterError, OSError) as exc:
        error = exc if isinstance(exc, ImporterError) else _machine_error(exc)
        if error.exit_code == MachineError.exit_code:
            # The operator needs the details that callers do not see.
            sys.stderr.write(f"importer: {error}\n")
        channel.send(_failed_event(error, getattr(command, "hidden", ())))
    except MemoryError:
        fact = "the workbook or the contract needs more memory than the service allows"
        channel.send(ErrorEvent(error=describe_error(LimitExceeded(fact))))
    except BaseException as exc:  # noqa: BLE001 - no exception of a library may end the child without an event
        traceback.print_exception(exc)
        channel.send(ErrorEvent(error=describe_error(MachineError(f"unexpected {type(exc).__name__}"))))
    else:
        channel.send(DoneEvent(answer=answer.model_dump(by_alias=True)))


def _interrupted_event(exc: KeyboardInterrupt | CommitUnknown, late: TimedOut | None) -> ErrorEvent:
    """Return the event of work that a signal stopped, or the deadline (`late`) in the commit."""
    unsure = isinstance(exc, CommitUnknown)
    how = " while publishing; the rows may have been published" if unsure else "; nothing was published"
    error = describe_error(late or Interrupted(f"the work was interrupted{how}"))
    return ErrorEvent(error=error.model_copy(update={"unsure": unsure}))


def _machine_error(exc: OSError) -> MachineError:
    """Return the error about a file that the machine refused, such as a workbook on a disk that fails."""
    return MachineError(f"the machine refused: {exc.strerror or type(exc).__name__}", place=exc.filename)


def _failed_event(exc: ImporterError, hidden: Sequence[str]) -> ErrorEvent:
    report = getattr(exc, "report", None)
    if report is None:
        return ErrorEvent(error=describe_error(exc, hidden))
    return ErrorEvent(error=describe_error(exc, hidden), load=load_answer(report, hidden))


if __name__ == "__main__":
    main()
