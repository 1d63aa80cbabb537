"""Owns the process that does the work of the service: commands come in as lines of JSON, events go out as such.

It works on one command after the other. It ends when its stdin does, so that no child outlives the service; and on
SIGTERM, which it answers as the command line answers Ctrl-C: what was written stays for the next try.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImporterError, Interrupted, MachineError
from .outward import LimitPassed, error_words

if TYPE_CHECKING:
    from collections.abc import Callable

    Operation = Callable[[dict[str, Any], "Talk"], dict[str, Any]]

#: Who is killed when the machine runs out of memory: rather a child than the service or the database.
_OOM_SCORE = "700"
_TERMINATED = 143
#: What a command may add to the memory of this process at least.
_MEMORY_BYTES = 1 << 30


class Talk:
    """The conversation with the service."""

    def __init__(self) -> None:
        # What libraries print must not get between the lines.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.busy = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # Not through `sys.stdin`: a thread that waits there holds its lock, which the interpreter's end asks for.
        rest = b""
        while piece := os.read(0, 1 << 20):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)
        if self.busy:
            os.kill(os.getpid(), signal.SIGTERM)

    def hear(self) -> dict[str, Any] | None:
        """The next line; None when the service is gone."""
        return self._lines.get()

    def tell(self, event: str, **fields: Any) -> None:
        """Tell the service something."""
        self._out.write(json.dumps({"event": event, **fields}) + "\n")
        self._out.flush()

    def ask(self, event: str, **fields: Any) -> dict[str, Any]:
        """The service's answer to something.

        Raises:
            Interrupted: the service is gone.
        """
        self.tell(event, **fields)
        answer = self.hear()
        if answer is None:
            raise Interrupted("the service is gone")
        return answer


def _offer_to_die() -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(_OOM_SCORE)


def _limit_memory(limit: int) -> None:
    """Let this process add no more than that to what it holds; a contract can be short to write and endless to read.

    Workers have limits of their own. Only Linux tells what a process holds.
    """
    with contextlib.suppress(OSError, ValueError, ImportError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_DATA, (min(pages * resource.getpagesize() + limit, most), hard))


def _terminate(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Work on commands until there are no more."""
    gc.set_threshold(100_000)
    _offer_to_die()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C means the service
    signal.signal(signal.SIGTERM, _terminate)
    talk = Talk()
    try:
        from ..starting import warm_up

        warm_up()
        from .work import OPERATIONS

        talk.tell("ready")
        while (command := talk.hear()) is not None:
            if command["op"] == "hello":
                talk.tell("hello")
                continue
            talk.busy = True
            _limit_memory(max(command.get("limits", {}).get("memory_bytes", 0), _MEMORY_BYTES))
            _work(OPERATIONS[command["op"]], command, talk)
            talk.busy = False
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(_TERMINATED)


def _work(operation: Operation, command: dict[str, Any], talk: Talk) -> None:
    """Do what was asked, and tell how it ended."""
    hidden = command.get("hidden", ())
    try:
        answer = operation(command, talk)
    except KeyboardInterrupt as exc:
        unsure = getattr(exc, "unsure", False)
        how = " while publishing, which may have been done" if unsure else "; nothing was published"
        words = error_words(Interrupted(f"the work was interrupted{how}"))
        talk.tell("error", error=words | {"unsure": unsure})
        raise
    except ImporterError as exc:
        if exc.exit_code == MachineError.exit_code:
            # What callers are not told, the operator needs.
            sys.stderr.write(f"importer: {exc}\n")
        report = getattr(exc, "report", None)
        told: dict[str, Any] = {"error": error_words(exc, hidden)}
        if report is not None:
            from .work import report_event

            told |= report_event(report, command)
        talk.tell("error", **told)
    except MemoryError:
        fact = "the workbook or the contract needs more memory than the service gives"
        talk.tell("error", error=error_words(LimitPassed(fact)))
    except BaseException as exc:  # noqa: BLE001 - whatever a library raises must not end the child without a word
        traceback.print_exception(exc)
        talk.tell("error", error=error_words(MachineError(f"unexpected {type(exc).__name__}")))
    else:
        talk.tell("done", **answer)


if __name__ == "__main__":
    main()
