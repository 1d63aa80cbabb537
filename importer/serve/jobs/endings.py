"""Builds the errors of runs whose end no child reported: the service was stopped, or the child was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import Run

#: The choice in the error of a run that can be resumed.
GO_ON = "resume the run: it continues where it stopped"


def is_unsure(run: Run, error: dict[str, Any]) -> bool:
    """Return whether a run that was stopped may still have published its rows."""
    killed = error["type"] == "ChildDied" and run.progress is not None and run.progress.stage == "publish"
    return run.kind == "upload" and (killed or bool(error.get("unsure")))


def error_of_service(status: int, error: str, kind: str) -> dict[str, Any]:
    """Return an error in the form in which children report theirs."""
    return {"error": error, "type": kind, "place": None, "choice": None, "status": status, "resumable": False}


def stopped(choice: str | None) -> dict[str, Any]:
    """Return the error of a run that the stop of the service ended; choice: None if the run cannot be resumed."""
    words = error_of_service(503, "the service was stopped", "Interrupted")
    return words | {"choice": choice, "resumable": choice is not None}
