"""Names functions that run in workers, so that the caller does not import what they import."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Generic, TypeVar

Task = TypeVar("Task")


Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RemoteFunction(Generic[Task, Answer]):
    """A function of this package by its name; its module is imported when and where it is called.

    Attributes:
        module: name of the module within the package.
        name: name of the function.
    """

    module: str
    name: str

    def __call__(self, task: Task) -> Answer:
        """Run the function on the task in this process."""
        function = getattr(importlib.import_module(self.module), self.name)
        answer: Answer = function(task)
        return answer
