"""Carries commands to the child and events to the service, as lines of JSON over its standard streams."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from typing import Any

from importer.errors import Interrupted


class Channel:
    """The channel to the service: commands and answers come in, events go out, one JSON object a line."""

    def __init__(self) -> None:
        # Output that libraries print goes to stderr, not between the events.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.busy = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # Not through `sys.stdin`: a thread that waits there holds its lock, which the interpreter needs to shut down.
        rest = b""
        while piece := os.read(0, 1 << 20):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)
        if self.busy:
            os.kill(os.getpid(), signal.SIGTERM)

    def hear(self) -> dict[str, Any] | None:
        """Wait for the next line and return it; None when the service is gone."""
        return self._lines.get()

    def tell(self, event: str, **fields: Any) -> None:
        """Send an event to the service."""
        self._out.write(json.dumps({"event": event, **fields}) + "\n")
        self._out.flush()

    def ask(self, event: str, **fields: Any) -> dict[str, Any]:
        """Send an event to the service and return the answer.

        Raises:
            Interrupted: the service is gone.
        """
        self.tell(event, **fields)
        answer = self.hear()
        if answer is None:
            raise Interrupted("the service is gone")
        return answer
