"""Owns how long things may take: the deadline of a run, and the pauses between tries of what may pass."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from .errors import ImporterError, TimedOut, WriterDied

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds before the second try, doubled for every further one. A restarting server is back in about a second.
FIRST_PAUSE = 0.1
#: The longest pause: what comes back after a minute is then found five seconds later at most.
LONGEST_PAUSE = 5.0


class Deadline:
    """The moment by which a run must be done.

    Args:
        seconds: from now; None: whenever.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds until then, never negative; None: no end."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    def check(self) -> None:
        """Raise TimedOut when the moment has come."""
        if self.left() == 0.0:
            raise self.error()

    def error(self) -> TimedOut:
        """What to raise when the moment has come."""
        return TimedOut(f"not done within {self._seconds:g} s", choice="raise --timeout")


class Patience:
    """The pauses between tries: backoff with jitter, for so long that the trouble may last.

    Args:
        seconds: that trouble may last without a success; 0: no second try.
        deadline: of the run, which ends every patience.
        say: is told why there is a pause.
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

    def bear(self, error: ImporterError) -> None:
        """Pause before another try.

        Raises:
            ImporterError: the error itself, when it is final or the trouble has lasted too long.
        """
        now = time.monotonic()
        self._since = self._since or now
        self._deaths += isinstance(error, WriterDied)
        once_more = isinstance(error, WriterDied) and self._deaths == 1
        if not (error.transient or once_more) or now - self._since > self._seconds or not self._seconds:
            raise error
        pause = min(FIRST_PAUSE * 2**self._tries, LONGEST_PAUSE, self._seconds) * random.uniform(0.5, 1)  # noqa: S311 - spreads the tries of many runs
        self._tries += 1
        if self._say is not None and self._tries == 1:
            self._say(f"{error.fact}; trying again, for {self._seconds:g} s at most")
        left = self._deadline.left()
        time.sleep(pause if left is None else min(pause, left))
        self._deadline.check()

    def calm(self) -> None:
        """Forget the trouble: something worked."""
        self._since, self._tries = None, 0
