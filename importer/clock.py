"""Owns the time of a run: seconds by stage, and progress for whoever watches."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """What wants to know how far a run is."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def expect(self, rows: int) -> None:
        """The stage will handle about that many rows."""

    def advance(self, rows: int) -> None:
        """That many more rows are done."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str) -> None:
        """Ignore."""

    def expect(self, rows: int) -> None:
        """Ignore."""

    def advance(self, rows: int) -> None:
        """Ignore."""


class Clock:
    """Measures stages, and passes progress on."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress: Progress = progress or Silent()
        self._start = time.perf_counter()
        self.timings: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as the stage of that name (again: added)."""
        self._progress.stage(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start

    def expect(self, rows: int) -> None:
        """See `Progress.expect`."""
        self._progress.expect(rows)

    def advance(self, rows: int) -> None:
        """See `Progress.advance`."""
        self._progress.advance(rows)

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._start
