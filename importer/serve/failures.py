"""Owns what the OpenAPI document says of failures."""

from __future__ import annotations

from typing import Any

from .models import ErrorAnswer

_WORDS = {
    400: "An option is wrong, the file is missing or no workbook by its name",
    401: "The token is missing or wrong",
    403: "From a page of another site, or the table is not one to load into",
    404: "There is no such thing",
    408: "The body came too slowly",
    409: "The run is not in a state for that",
    413: "Larger than the service takes",
    421: "The service is not known by that name",
    422: "The workbook, the contract or the rows are refused, or a limit or the budget was passed",
    429: "Too much is waiting; Retry-After says when to try again",
    500: "The machine or the service failed",
    503: "The database does not answer, or the service is stopping",
    507: "The disk of the service is full",
}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions of answers with these statuses."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        described[status] = {"model": ErrorAnswer, "description": _WORDS[status]}
        if status == 429:  # noqa: PLR2004 - the one that says when to come again
            described[status]["headers"] = _RETRY
    return described
