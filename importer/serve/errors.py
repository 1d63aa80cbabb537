"""Defines the errors that refuse a request, responses of other statuses than a route's own, and times in answers."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from starlette.responses import JSONResponse

from importer.serve.models.service import ErrorAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel


class RequestError(Exception):
    """A request that the service refuses or cannot complete.

    Args:
        status: HTTP status of the response.
        error: the fact, as a sentence without a full stop.
        kind: type of the error.
        place: where it is, such as the name of an option; None without one.
        choice: what the caller can do; None if nothing.
        retry_after: seconds after which the caller may try again; None if that would not help.

    Attributes:
        status: HTTP status of the response.
        answer: content of the response.
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
    ) -> None:
        super().__init__(error)
        self.status = status
        self.answer = ErrorAnswer(error=error, type=kind, place=place, choice=choice)
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    def with_fields(self, **fields: Any) -> Self:
        """Set further fields of the answer, such as the run that failed, and return the error."""
        self.answer = self.answer.model_copy(update=fields)
        return self


class StoreFailed(RequestError):
    """The service's own file could not be read or written; a request that is refused with it changed nothing.

    Args:
        how: what SQLite says.
    """

    def __init__(self, how: str) -> None:
        super().__init__(
            503, f"the service cannot use its file ({how})", kind="StoreFailed", place="service.sqlite",
            choice="free some space or end what holds the file, then try again", retry_after=5,
        )  # fmt: skip


def machine_refusal(exc: OSError) -> RequestError:
    """Return the refusal of a request whose files the machine could not keep."""
    full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
    return RequestError(
        507 if full else 503, f"the machine refused: {exc.strerror or type(exc).__name__}", kind="MachineRefused",
        choice="free some space, then try again" if full else "try again later", retry_after=5,
    )  # fmt: skip


def model_response(model: BaseModel, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the response of a status other than the route's own; fields that were not set are left out."""
    return JSONResponse(model.model_dump(mode="json", exclude_unset=True), status, headers)


def stamp(seconds: float | None = None) -> str:
    """Return a time in UTC as ISO 8601 text with microseconds; `seconds` since the epoch, None for now."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def validation_answer(errors: Any) -> ErrorAnswer:
    """Return the answer to invalid options: the first error as a sentence, and all as `details`; no values."""
    details = [
        {"field": str(e["loc"][-1])[:100] if e["loc"] else "body", "message": str(e["msg"])[:300]} for e in errors
    ]
    field, message = details[0]["field"], details[0]["message"]
    return ErrorAnswer(error=f"{field}: {message}", type="UsageError", place=field, choice=None, details=details)
