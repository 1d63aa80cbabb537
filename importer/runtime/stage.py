"""Owns the stages of a run: their names, and the one table of the labels that users see."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Stage(StrEnum):
    """A stage of a run, in the order of the story. Its value is its name in `timings` and in progress events.

    Attributes:
        label: what the terminal and the service call it while it runs.
        heading: its name in the page's list of stages.
        sentence: what the page says while it runs.
    """

    label: str
    heading: str
    sentence: str

    OPEN = "open", "opening", "Open", "Opening the workbook"
    UNPACK = "unpack", "unpacking", "Unpack", "Unpacking the workbook"
    READ = "read", "reading", "Read", "Reading the cells"
    LOAD = "load", "loading", "Load", "Reading, checking and writing the rows"
    PLAN = "plan", "planning", "Plan", "Comparing with the table"
    VALIDATE = "validate", "checking", "Check", "Checking every row"
    WRITE = "write", "writing", "Write", "Writing the rows"
    VERIFY = "verify", "verifying", "Verify", "Comparing what was written with the workbook"
    REJECTS = "rejects", "writing the rejects", "Rejects", "Writing the rejected rows"
    PUBLISH = "publish", "publishing", "Finish", "Making the rows visible, all at once"

    def __new__(cls, name: str, label: str, heading: str, sentence: str) -> Self:
        """Create the member whose value is its name."""
        stage = str.__new__(cls, name)
        stage._value_ = name
        stage.label, stage.heading, stage.sentence = label, heading, sentence
        return stage
