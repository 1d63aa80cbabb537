"""Describes error responses for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from .models import ErrorAnswer

_WORDS = {
    400: "An option is wrong, or the file is missing or has no workbook's suffix",
    401: "The token is missing or wrong",
    403: "The request comes from a page of another site, or the table must not be loaded into",
    404: "There is no such upload, run, result or contract",
    408: "The body arrived too slowly",
    409: "The state of the run does not allow this, or the run was cancelled",
    413: "The body is larger than the service accepts",
    421: "The Host header does not name this service",
    422: "The workbook, the contract or the rows were refused, or a limit or the reject budget was exceeded",
    429: "Too many requests at once; Retry-After says when to try again",
    500: "The service failed, or the machine that it runs on",
    503: "The database does not answer, or the service is stopping",
    507: "The disk of the service is full",
}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of error responses with these statuses."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        described[status] = {"model": ErrorAnswer, "description": _WORDS[status]}
        if status == 429:  # noqa: PLR2004 - the only one that says when to try again
            described[status]["headers"] = _RETRY
    return described
