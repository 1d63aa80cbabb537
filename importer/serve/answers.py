"""Owns the shape of what the service answers when it refuses, and of times in answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


class Refused(Exception):
    """A request that is not done.

    Attributes:
        status: of HTTP.
        words: of the answer.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        error: str,
        *,
        kind: str = "Refused",
        place: str | None = None,
        choice: str | None = None,
        retry_after: int | None = None,
        **more: Any,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.words: dict[str, Any] = {"error": error, "type": kind, "place": place, "choice": choice, **more}
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


def stamp(seconds: float | None = None) -> str:
    """A moment (seconds since the epoch; None: now) as text, in UTC."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def invalid_words(errors: Any) -> dict[str, Any]:
    """What is wrong with options, in one sentence and one by one; the values are not repeated."""
    details = [
        {"field": str(e["loc"][-1])[:100] if e["loc"] else "body", "message": str(e["msg"])[:300]} for e in errors
    ]
    first = details[0]
    return {
        "error": f"{first['field']}: {first['message']}", "type": "UsageError", "place": first["field"], "choice": None,
        "details": details,
    }  # fmt: skip
