"""Owns the time of a run: seconds by stage, and progress for whoever watches."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from .patience import Deadline
from .timeline import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")


class Progress(Protocol):
    """What wants to know how far a run is."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def expect(self, rows: int) -> None:
        """The stage will handle about that many rows."""

    def advance(self, rows: int) -> None:
        """That many more rows are done."""

    def say(self, text: str) -> None:
        """Something that a user who waits wants to know, in a line."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str) -> None:
        """Ignore."""

    def expect(self, rows: int) -> None:
        """Ignore."""

    def advance(self, rows: int) -> None:
        """Ignore."""

    def say(self, text: str) -> None:
        """Ignore."""


class Clock:
    """Measures stages, and passes progress on; wherever it is told of any, the deadline is looked at.

    Args:
        progress: is told.
        deadline: of the run.
    """

    def __init__(self, progress: Progress | None = None, deadline: Deadline | None = None) -> None:
        self._progress: Progress = progress or Silent()
        self.deadline = deadline or Deadline()
        self._watch: Callable[[], None] | None = None
        self._start = time.monotonic()
        self.timings: dict[str, float] = {}
        self.spans: list[Span] = []

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as the stage of that name (again: added)."""
        self._look()
        self._progress.stage(name)
        start = time.monotonic()
        try:
            yield
        finally:
            end = time.monotonic()
            self.timings[name] = self.timings.get(name, 0.0) + end - start
            self.spans.append(Span("run", name, start, end))

    def making(self, lane: str, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """The same items, with the time that it takes to make each."""
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
        self._look()

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._progress.say(text)

    def watch(self, look: Callable[[], None] | None) -> None:
        """Call that wherever progress is told; what it raises ends the stage."""
        self._watch = look

    def _look(self) -> None:
        self.deadline.check()
        if self._watch is not None:
            self._watch()

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return time.monotonic() - self._start
