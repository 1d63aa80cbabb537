"""Carries JSON objects, one a line, over the standard streams of a child process to and from its parent."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
from typing import Any


class JsonLines:
    """The channel of a child process to its parent.

    Attributes:
        busy: whether a command is being executed; the end of the parent then ends this process.
    """

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.busy = False

    def open(self) -> None:
        """Take the standard streams, and begin to read; this process keeps them to its end."""
        # Output that libraries print goes to stderr, not between the objects.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        threading.Thread(target=self._read_lines, daemon=True).start()

    def close(self) -> None:
        """Close what objects are written to."""
        with contextlib.suppress(OSError):
            self._out.close()

    def _read_lines(self) -> None:
        # Not through `sys.stdin`: a thread that waits there holds its lock, which the interpreter needs to shut down.
        rest = b""
        while piece := os.read(0, 1 << 20):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)
        if self.busy:
            os.kill(os.getpid(), signal.SIGTERM)

    def next_line(self) -> dict[str, Any] | None:
        """Wait for the next object and return it; None when the parent is gone."""
        return self._lines.get()

    def write(self, line: dict[str, Any]) -> None:
        """Send an object to the parent."""
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()
