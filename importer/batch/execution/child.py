"""Runs a child process of many imports: one import after the other, as lines of JSON from and to its parent.

It ends at the end of stdin. On SIGTERM, and when its parent dies, the import that is under way stops as on Ctrl-C.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from importer.runtime.json_lines import JsonLines
from importer.workers.own_process import leave_at_exit

if TYPE_CHECKING:
    from importer.batch.one_import import ImportTask

_SIGTERM_EXIT_CODE = 143
#: Memory that a child may have kept of earlier tasks, libraries included, without having less for the next one.
_MOST_KEPT_BYTES = 512 << 20


def main() -> None:
    """Handle tasks until stdin ends, and end this process."""
    with leave_at_exit():
        _handle_tasks()
        raise SystemExit


def _handle_tasks() -> None:
    gc.set_threshold(100_000)
    # Several processes share the cores; threads of polars would only wait for each other.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    # One import after the other needs the same memory: to return it and fault it in again took a sixth of the time of
    # five files.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "background_thread:false,dirty_decay_ms:-1,muzzy_decay_ms:-1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the parent
    signal.signal(signal.SIGTERM, _terminate)
    channel = JsonLines()
    channel.open()
    try:
        from importer.postgres.kept_sessions import close_kept, keep_sessions
        from importer.workers.allocator import keep_freed_memory
        from importer.workers.file_size import declare_beside_others
        from importer.workers.own_process import declare_own_program

        declare_own_program()
        declare_beside_others()
        keep_freed_memory(always=True)
        keep_sessions()
        from importer.batch import survey  # noqa: F401 - imported while the parent still prepares the first task

        while (line := channel.next_line()) is not None:
            channel.busy = True
            channel.write(_answer(line))
            channel.busy = False
        close_kept()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(_SIGTERM_EXIT_CODE)
    finally:
        channel.close()


def _terminate(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _answer(line: dict[str, Any]) -> dict[str, Any]:
    """Execute one task and return its answer: the report or reports, the survey, or the error of a survey."""
    from importer.batch.one_import import describe, run_here
    from importer.batch.survey import survey_sheet

    if line["op"] == "together":
        return {"reports": _reports_together(line)}
    task = _task(line["task"])
    _limit_memory(task)
    if line["op"] == "run":
        return vars(run_here(task, _Notices(task)))
    try:
        return {"survey": survey_sheet(task).to_dict()}
    except BaseException as exc:  # noqa: BLE001 - reported as the failure of this one
        return {"error": describe(exc)}


def _reports_together(line: dict[str, Any]) -> list[dict[str, Any]]:
    from importer.batch.one_import import ImportSet

    from .together import run_together

    given = ImportSet(**{**line["set"], "tasks": tuple(map(_task, line["set"]["tasks"]))})
    _limit_memory(given.tasks[0])
    return [vars(report) for report in run_together(given, _Notices)]


class _FirstTask:
    """The memory that this process used before its first task, in bytes; None before that."""

    used: int | None = None


def _limit_memory(task: ImportTask) -> None:
    """Limit what a task may add to what the process used before the first one, and what it kept since then."""
    from importer.batch.one_import import task_settings
    from importer.workers.memory_limit import limit_memory

    first = _FirstTask.used
    with contextlib.suppress(Exception):  # an invalid option is reported by the run
        most = sys.maxsize if first is None else first + _MOST_KEPT_BYTES
        used = limit_memory(task_settings(task).limits.memory_bytes, most)
        _FirstTask.used = used if first is None else first


def _task(described: dict[str, Any]) -> ImportTask:
    from importer.batch.import_spec import ImportSpec
    from importer.batch.one_import import ImportTask

    return ImportTask(**{**described, "spec": ImportSpec(**described["spec"])})


class _Notices:
    """Progress that only passes on, to stderr, what a waiting user needs to know.

    Args:
        task: the task, which says whose message it is.
    """

    def __init__(self, task: ImportTask) -> None:
        self._task = task

    def stage(self, name: str) -> None:
        """Ignore."""

    def expect(self, rows: int) -> None:
        """Ignore."""

    def advance(self, rows: int) -> None:
        """Ignore."""

    def say(self, text: str) -> None:
        """Write a message of one line."""
        if not self._task.quiet:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"importer: {self._task.spec.label}: {text}\n")
                sys.stderr.flush()
