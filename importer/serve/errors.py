"""Defines the shape of error responses, and of times in responses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


class RequestError(Exception):
    """A request that the service refuses or cannot complete.

    Attributes:
        status: HTTP status of the response.
        words: JSON object of the response: `error`, `type`, `place`, `choice`, and more as the case may be.
        headers: headers of the response.
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
    """Return a time in UTC as ISO 8601 text with microseconds; `seconds` since the epoch, None for now."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def validation_errors_to_dict(errors: Any) -> dict[str, Any]:
    """Return the error response for invalid options: the first error as a sentence, and all as `details`; no values."""
    details = [
        {"field": str(e["loc"][-1])[:100] if e["loc"] else "body", "message": str(e["msg"])[:300]} for e in errors
    ]
    first = details[0]
    return {
        "error": f"{first['field']}: {first['message']}", "type": "UsageError", "place": first["field"], "choice": None,
        "details": details,
    }  # fmt: skip
