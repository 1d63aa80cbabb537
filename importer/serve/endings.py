"""Owns how runs end that no child told the end of: the service was stopped, the child was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import Run

#: What to do about a run that can be resumed.
GO_ON = "resume the run: it goes on where it stopped"


def is_unsure(run: Run, error: dict[str, Any]) -> bool:
    """Whether a run that was stopped may have published its rows all the same."""
    killed = error["type"] == "ChildDied" and run.progress is not None and run.progress.stage == "publish"
    return run.kind == "upload" and (killed or bool(error.get("unsure")))


def error_of_service(status: int, error: str, kind: str) -> dict[str, Any]:
    """An error as a child would tell it."""
    return {"error": error, "type": kind, "place": None, "choice": None, "status": status, "resumable": False}


def stopped(choice: str | None) -> dict[str, Any]:
    """The error of a run that ended with the service; the choice is None where it cannot be resumed."""
    words = error_of_service(503, "the service was stopped meanwhile", "Interrupted")
    return words | {"choice": choice, "resumable": choice is not None}
