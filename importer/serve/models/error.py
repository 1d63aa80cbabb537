"""Defines how an error is told, everywhere: the fact, its type, its place, and the choice that somebody has."""

from __future__ import annotations

from pydantic import BaseModel


class ErrorFields(BaseModel):
    """What every error has: the fact (`error`), where (`place`), and what to do (`choice`)."""

    error: str
    type: str
    place: str | None
    choice: str | None


class RunError(ErrorFields):
    """Why a run failed; `status` is the HTTP status of the error."""

    status: int


class ChildError(RunError):
    """Why the work of a child failed.

    Attributes:
        resumable: whether the run can continue from what it wrote.
        unsure: whether the rows may have been published all the same.
    """

    resumable: bool = False
    unsure: bool = False
