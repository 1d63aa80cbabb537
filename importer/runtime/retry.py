"""Limits how long things may take: the deadline of a run, and pauses between attempts after transient errors."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from importer.errors import ImporterError, TimedOut, WriterDied

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds before the second attempt, doubled for each further one. A restarting server is back in about a second.
FIRST_PAUSE_SECONDS = 0.1
#: The longest pause in seconds, and so the longest delay until a server that is back is noticed.
LONGEST_PAUSE_SECONDS = 5.0


class Deadline:
    """The moment by which a run must be finished.

    Args:
        seconds: seconds from now; None: no deadline.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds left, never negative; None: no deadline."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    def check(self) -> None:
        """Raise TimedOut if no time is left."""
        if self.left() == 0.0:
            raise self.error()

    def error(self) -> TimedOut:
        """Return the error to raise when no time is left."""
        return TimedOut(f"not done within {self._seconds:g} s", choice="raise --timeout")


class Retry:
    """Pauses between attempts: exponential backoff with jitter, for a limited time.

    Args:
        seconds: longest time to keep retrying without a success; 0: no retry.
        deadline: deadline of the run, which also ends the retries.
        say: called with a message for the user before the first pause.
    """

    def __init__(
        self, seconds: float, deadline: Deadline | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self._seconds = seconds
        self._deadline = deadline or Deadline()
        self._say = say
        self._since: float | None = None
        self._tries = 0
        self._deaths = 0

    def wait_or_raise(self, error: ImporterError) -> None:
        """Pause before another attempt.

        Raises:
            ImporterError: the error itself, if it is final or the retries have lasted too long.
        """
        now = time.monotonic()
        self._since = self._since or now
        self._deaths += isinstance(error, WriterDied)
        once_more = isinstance(error, WriterDied) and self._deaths == 1
        if not (error.transient or once_more) or now - self._since > self._seconds or not self._seconds:
            raise error
        pause = min(FIRST_PAUSE_SECONDS * 2**self._tries, LONGEST_PAUSE_SECONDS, self._seconds) * random.uniform(0.5, 1)  # noqa: S311 - spreads the attempts of many runs
        self._tries += 1
        if self._say is not None and self._tries == 1:
            self._say(f"{error.fact}; retrying for up to {self._seconds:g} s")
        left = self._deadline.left()
        time.sleep(pause if left is None else min(pause, left))
        self._deadline.check()
