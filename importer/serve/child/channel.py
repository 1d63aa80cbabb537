"""Carries commands to the child and events to the service, as lines of JSON over its standard streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from importer.errors import Interrupted
from importer.runtime.json_lines import JsonLines
from importer.serve.models.child import COMMAND

if TYPE_CHECKING:
    from pydantic import BaseModel

    from importer.serve.models.child import Command, Event

    Answer = TypeVar("Answer", bound=BaseModel)


class Channel(JsonLines):
    """The channel to the service: commands and answers come in, events go out, one JSON object a line."""

    def next_command(self) -> Command | None:
        """Wait for the next command and return it; None when the service is gone."""
        line = self.next_line()
        return None if line is None else COMMAND.validate_python(line)

    def send(self, event: Event) -> None:
        """Send an event to the service."""
        self.write(event.model_dump())

    def ask(self, event: Event, answer: type[Answer]) -> Answer:
        """Send an event to the service and return its answer.

        Raises:
            Interrupted: the service is gone.
        """
        self.send(event)
        line = self.next_line()
        if line is None:
            raise Interrupted("the service is gone")
        return answer.model_validate(line)
