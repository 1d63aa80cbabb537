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

from importer.errors import CommitUnknown, ImporterError, Interrupted, LimitPassed, MachineError

from .channel import Channel
from .redaction import error_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    Operation = Callable[[dict[str, Any], "Channel"], dict[str, Any]]

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
    talk = Channel()
    try:
        from importer.workers.fork_server import warm_up
        from importer.workers.memory_limit import limit_memory

        warm_up()
        from .operations import OPERATIONS

        talk.tell("ready")
        while (command := talk.hear()) is not None:
            if command["op"] == "hello":
                talk.tell("hello")
                continue
            talk.busy = True
            # A short contract can expand without end; workers have limits of their own.
            with contextlib.suppress(OSError, ValueError):
                limit_memory(max(command.get("limits", {}).get("memory_bytes", 0), _MIN_MEMORY_BYTES))
            _work(OPERATIONS[command["op"]], command, talk)
            talk.busy = False
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(_SIGTERM_EXIT_CODE)


def _work(operation: Operation, command: dict[str, Any], talk: Channel) -> None:
    """Execute one command and send its last event, `done` or `error`."""
    hidden = command.get("hidden", ())
    try:
        answer = operation(command, talk)
    except (KeyboardInterrupt, CommitUnknown) as exc:
        unsure = isinstance(exc, CommitUnknown)
        late = exc.as_timeout() if isinstance(exc, CommitUnknown) else None
        how = " while publishing; the rows may have been published" if unsure else "; nothing was published"
        error = late or Interrupted(f"the work was interrupted{how}")
        talk.tell("error", error=error_dict(error, hidden) | {"unsure": unsure})
        if late is None:
            raise KeyboardInterrupt from exc
    except ImporterError as exc:
        if exc.exit_code == MachineError.exit_code:
            # The operator needs the details that callers do not see.
            sys.stderr.write(f"importer: {exc}\n")
        report = getattr(exc, "report", None)
        told: dict[str, Any] = {"error": error_dict(exc, hidden)}
        if report is not None:
            from .load import report_event

            told |= report_event(report, command)
        talk.tell("error", **told)
    except MemoryError:
        fact = "the workbook or the contract needs more memory than the service allows"
        talk.tell("error", error=error_dict(LimitPassed(fact)))
    except BaseException as exc:  # noqa: BLE001 - no exception of a library may end the child without an event
        traceback.print_exception(exc)
        talk.tell("error", error=error_dict(MachineError(f"unexpected {type(exc).__name__}")))
    else:
        talk.tell("done", **answer)


if __name__ == "__main__":
    main()
