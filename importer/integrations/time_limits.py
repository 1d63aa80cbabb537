"""Limits how long other programs may take, whose own calls may wait for ever."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")
#: Seconds that a scheduler has to take a connection.
CONNECT_SECONDS = 10.0


def within(seconds: float, function: Callable[[], Answer]) -> Answer:
    """Return what a function returns, which is called in a thread of its own.

    Raises:
        TimeoutError: it takes longer.
        Exception: what the function raises.
    """
    answers: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

    def call() -> None:
        try:
            answers.put((function(), None))
        except Exception as exc:  # noqa: BLE001 - raised in the thread that asked
            answers.put((None, exc))

    threading.Thread(target=call, daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]
