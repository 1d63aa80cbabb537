"""Defines the data of the server-sent events of a run."""

from __future__ import annotations

from pydantic import BaseModel

from .run import RunInfo, RunProgress, State


class ProgressEvent(BaseModel):
    """Data of the event `progress`: what changed in the run."""

    state: State
    queue_position: int | None
    progress: RunProgress | None


class NoteEvent(BaseModel):
    """Data of the event `note`: a text for somebody who waits."""

    text: str


class EndEvent(BaseModel):
    """Data of the event `end`, the last one: the run that ended or was interrupted."""

    run: RunInfo


#: The names of the events, and their data.
EVENTS: dict[str, type[BaseModel]] = {"progress": ProgressEvent, "note": NoteEvent, "end": EndEvent}
