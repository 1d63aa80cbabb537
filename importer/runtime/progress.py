"""Measures the time of a run by stage, and passes its progress on."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from .retry import Deadline
from .timeline import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .stage import Stage

Item = TypeVar("Item")


class Progress(Protocol):
    """Receives how far a run is; it takes no part in the run (see `pipeline.Hooks` for what does)."""

    def stage(self, name: str) -> None:
        """Report that a stage begins, by the value of its `Stage`."""

    def expect(self, rows: int) -> None:
        """Report that the stage will handle about that many rows."""

    def advance(self, rows: int) -> None:
        """Report that so many more rows are done."""

    def say(self, text: str) -> None:
        """Report a message of one line that a waiting user needs."""


class NoProgress:
    """Progress that ignores everything."""

    def stage(self, name: str) -> None:
        """Ignore."""

    def expect(self, rows: int) -> None:
        """Ignore."""

    def advance(self, rows: int) -> None:
        """Ignore."""

    def say(self, text: str) -> None:
        """Ignore."""


class Clock:
    """Measures stages and passes progress on; checks the deadline at every stage and advance.

    Args:
        progress: receives the progress; None: nothing does.
        deadline: deadline of the run; None: no deadline.

    Attributes:
        timings: seconds by stage.
        spans: when each stage ran.
    """

    def __init__(self, progress: Progress | None = None, deadline: Deadline | None = None) -> None:
        self._progress: Progress = progress or NoProgress()
        self.deadline = deadline or Deadline()
        self._start = time.monotonic()
        self.timings: dict[str, float] = {}
        self.spans: list[Span] = []

    @contextlib.contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time the block as that stage; times of the same stage add up."""
        name = stage.value
        self.deadline.check()
        self._progress.stage(name)
        start = time.monotonic()
        try:
            yield
        finally:
            end = time.monotonic()
            self.timings[name] = self.timings.get(name, 0.0) + end - start
            self.spans.append(Span("run", name, start, end))

    def time_items(self, lane: str, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the same items, and record the time that it takes to make each."""
        while True:
            start = time.monotonic()
            item = next(items, None)
            if item is None:
                return
            self.spans.append(Span(lane, name, start, time.monotonic()))
            yield item

    def expect(self, rows: int) -> None:
        """See `Progress.expect`."""
        self._progress.expect(rows)

    def advance(self, rows: int) -> None:
        """See `Progress.advance`."""
        self._progress.advance(rows)
        self.deadline.check()

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._progress.say(text)

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was created."""
        return time.monotonic() - self._start
