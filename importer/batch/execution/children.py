"""Owns the child processes that run imports: started when needed, used again, stopped together.

A crash, a kill or a memory limit costs the import that the child was running, and no other.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import psutil

from importer.errors import Interrupted, MachineError
from importer.runtime.process_end import describe_end

from .prestart import PROGRAM, take_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.batch.one_import import ImportSet, ImportTask

#: Tasks after which a child is replaced by a fresh one, which bounds the memory that libraries never free.
_MAX_TASKS = 1000
#: Seconds that a child has to clean up after SIGTERM before it is killed.
_STOP_SECONDS = 8.0


class ImportProcess:
    """One child process; used by one thread at a time, but for `terminate`.

    Attributes:
        task: what it was asked to do and has not answered yet, or None.
    """

    def __init__(self) -> None:
        self.task: ImportTask | None = None
        self._process = take_process()
        self._tasks = 0
        self._stopping = False

    @property
    def is_usable(self) -> bool:
        """Whether the child can take another task; not while an answer is due, which nobody waits for any more."""
        is_idle = self.task is None and not self._stopping
        return is_idle and self._tasks < _MAX_TASKS and self._process.poll() is None

    def ask(self, op: Literal["run", "survey"], task: ImportTask) -> dict[str, Any]:
        """Have the child execute a task, and return its answer.

        Raises:
            MachineError: the child ended first.
        """
        return self._answer({"op": op, "task": asdict(task)})

    def ask_together(self, given: ImportSet) -> list[dict[str, Any]]:
        """Have the child run imports as one, and return its reports; see `ask`."""
        reports: list[dict[str, Any]] = self._answer({"op": "together", "set": asdict(given)})["reports"]
        return reports

    def _answer(self, order: dict[str, Any]) -> dict[str, Any]:
        self._tasks += 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = b""
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            code = self._process.wait()
            raise MachineError(f"the process of the import {describe_end(code)}", choice="run the same command again")
        self.task = None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def terminate(self) -> None:
        """Ask the child to stop what it is doing, as by Ctrl-C, and then to end."""
        self._stopping = True
        self._process.terminate()

    def hang_up(self) -> None:
        """Have the child end by itself as soon as it is idle; return at once."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def close(self) -> None:
        """End the child: at once if it is idle, else after it was asked to."""
        assert self._process.stdout is not None
        self.hang_up()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._process.stdout.close()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)


class ImportProcesses:
    """The child processes of this process, lent to its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[ImportProcess] = []
        self._all: set[ImportProcess] = set()
        self._closed = False
        self._stopped: set[str] = set()

    def prestart(self, number: int) -> None:
        """Start children, so that they import what they need meanwhile."""
        with self._lock:
            while len(self._all) < number:
                self._idle.append(self._start())

    def _start(self) -> ImportProcess:
        child = ImportProcess()
        self._all.add(child)
        return child

    @contextlib.contextmanager
    def child(self, task: ImportTask) -> Iterator[ImportProcess]:
        """Lend a child for one task.

        Raises:
            Interrupted: the command of the task was stopped.
        """
        with self._lock:
            if self._closed or task.batch in self._stopped:
                raise Interrupted("the imports were stopped", choice="run the same command again")
            while self._idle and not self._idle[-1].is_usable:
                self._retire(self._idle.pop())
            child = self._idle.pop() if self._idle else self._start()
            child.task = task
        try:
            yield child
        finally:
            with self._lock:
                if child.is_usable and not self._closed:
                    self._idle.append(child)
                else:
                    self._retire(child)

    def _retire(self, child: ImportProcess) -> None:
        self._all.discard(child)
        threading.Thread(target=child.close, daemon=True).start()

    def interrupt(self, batch: str) -> list[int]:
        """Stop the imports of a command, as by Ctrl-C, and take no more of them.

        Returns:
            The numbers of those that were under way.
        """
        with self._lock:
            self._stopped.add(batch)
            busy = [(child, child.task.number) for child in self._all if child.task and child.task.batch == batch]
            for child, _ in busy:
                child.terminate()
        return [number for _, number in busy]

    def close(self) -> None:
        """End all children."""
        with self._lock:
            self._closed = True
            children, self._all = self._all, set()
        for child in children:
            child.hang_up()  # they end side by side
        for child in children:
            child.close()


def stop_descendants() -> None:
    """Stop, as by Ctrl-C, the children that processes started by this one run imports in, such as those of a pool."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if PROGRAM in process.cmdline() and process.ppid() != os.getpid():
                process.terminate()


class _Shared:
    """The children of the process that a foreign executor runs tasks in; a forked copy of it starts its own."""

    lock = threading.Lock()
    owner: int = 0
    children: ImportProcesses | None = None


def shared_children() -> ImportProcesses:
    """Return the children that all tasks of this process share, as long as it lives."""
    with _Shared.lock:
        if _Shared.children is None or _Shared.owner != os.getpid():
            _Shared.children, _Shared.owner = ImportProcesses(), os.getpid()
            atexit.register(_Shared.children.close)
        return _Shared.children
