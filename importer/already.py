"""Owns the report of a run that had nothing to do, because another one did it; and what reports say of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .report import Report

if TYPE_CHECKING:
    from .claim import Claim
    from .clock import Clock
    from .settings import Settings


def imported_report(settings: Settings, claim: Claim, clock: Clock) -> Report:
    """What a published run left, as the report of one that found it."""
    done = claim.done
    assert done is not None
    counts, book = done.counts, claim.workbook
    rejected, file = counts["error_count"], counts.get("rejects_file")
    notes = [f"already imported by run {done.id} at {done.finished_at}; --again loads it once more"]
    if rejected:
        notes.append(f"{rejected:,} rows were rejected then{f', and written to {file}' if file else ''}")
    return Report(
        outcome="already-imported",
        workbook={"name": book.path.name, "path": str(book.path), "sha256": book.sha256, "size": book.size},
        sheet=claim.sheet.name,
        header_rows=(0, 0),
        target={
            "schema": claim.target.schema, "table": claim.target.name, "mode": settings.mode, "created": False,
            "server": claim.server,
        },
        method={"name": settings.method, "workers": settings.workers, "chunks": 0},
        columns=(),
        total_records=counts["total_records"],
        error_count=rejected,
        rows={},
        rules=(),
        rejects_file=file,
        timings=clock.timings,
        duration=clock.elapsed,
        notes=tuple(notes),
        run=run_words(claim),
    )  # fmt: skip


def run_words(claim: Claim) -> dict[str, Any]:
    """What the JSON report says of the ledger's run: its id, and how much of a dead one's work it took over."""
    done = claim.done
    return {
        "id": done.id if done else claim.run,
        "resumed_rows": claim.resumed,
        "published_at": done.finished_at if done else None,
    }
