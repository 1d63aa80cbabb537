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

from importer.errors import MachineError
from importer.runtime.process_end import describe_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.batch.one_import import ImportTask

#: The child finds modules where this process does; its own first entry would be the current folder.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from importer.batch.execution.child import main; main()"
)
#: Tasks after which a child is replaced by a fresh one, which bounds the memory that libraries never free.
_MAX_TASKS = 1000
#: Seconds that a child has to clean up after SIGTERM before it is killed.
_STOP_SECONDS = 8.0


class ImportProcess:
    """One child process; used by one thread at a time, but for `terminate`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._tasks = 0
        self._stopping = False

    @property
    def is_usable(self) -> bool:
        """Whether the child can take another task."""
        return self._process.poll() is None and not self._stopping and self._tasks < _MAX_TASKS

    def ask(self, op: Literal["run", "survey"], task: ImportTask) -> dict[str, Any]:
        """Have the child execute a task, and return its answer.

        Raises:
            MachineError: the child ended first.
        """
        self._tasks += 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = b""
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps({"op": op, "task": asdict(task)}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            code = self._process.wait()
            raise MachineError(f"the process of the import {describe_end(code)}", choice="run the same command again")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def terminate(self) -> None:
        """Ask the child to stop what it is doing, as by Ctrl-C, and then to end."""
        self._stopping = True
        self._process.terminate()

    def close(self) -> None:
        """End the child: at once if it is idle, else after it was asked to."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
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
        self._stopped = False

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
    def child(self) -> Iterator[ImportProcess]:
        """Lend a child for one task."""
        with self._lock:
            if self._stopped:
                raise MachineError("the imports were stopped", choice="run the same command again")
            while self._idle and not self._idle[-1].is_usable:
                self._retire(self._idle.pop())
            child = self._idle.pop() if self._idle else self._start()
        try:
            yield child
        finally:
            with self._lock:
                if child.is_usable and not self._stopped:
                    self._idle.append(child)
                else:
                    self._retire(child)

    def _retire(self, child: ImportProcess) -> None:
        self._all.discard(child)
        threading.Thread(target=child.close, daemon=True).start()

    def interrupt(self) -> None:
        """Stop what the children are doing, as by Ctrl-C; no further task is taken."""
        with self._lock:
            self._stopped = True
            for child in self._all:
                child.terminate()

    def close(self) -> None:
        """End all children."""
        with self._lock:
            self._stopped = True
            children, self._all = self._all, set()
        for child in children:
            child.close()


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
