"""Carries commands to the child and events to the service, as lines of JSON over its standard streams."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from importer.errors import Interrupted
from importer.serve.models.child import COMMAND

if TYPE_CHECKING:
    from pydantic import BaseModel

    from importer.serve.models.child import Command, Event

    Answer = TypeVar("Answer", bound=BaseModel)


class Channel:
    """The channel to the service: commands and answers come in, events go out, one JSON object a line.

    Attributes:
        busy: whether a command is being executed; the end of the service then ends this process.
    """

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.busy = False

    def open(self) -> None:
        """Take the standard streams, and begin to read; this process keeps them to its end."""
        # Output that libraries print goes to stderr, not between the events.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        threading.Thread(target=self._read_lines, daemon=True).start()

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

    def next_command(self) -> Command | None:
        """Wait for the next command and return it; None when the service is gone."""
        line = self._lines.get()
        return None if line is None else COMMAND.validate_python(line)

    def send(self, event: Event) -> None:
        """Send an event to the service."""
        self._out.write(json.dumps(event.model_dump()) + "\n")
        self._out.flush()

    def ask(self, event: Event, answer: type[Answer]) -> Answer:
        """Send an event to the service and return its answer.

        Raises:
            Interrupted: the service is gone.
        """
        self.send(event)
        line = self._lines.get()
        if line is None:
            raise Interrupted("the service is gone")
        return answer.model_validate(line)
