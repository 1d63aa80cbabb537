"""Builds the report of a run whose workbook was imported before, and the ledger part of every report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .model import Report

if TYPE_CHECKING:
    from importer.run.lease import Claim
    from importer.runtime.progress import Clock
    from importer.settings import Settings


def imported_report(settings: Settings, claim: Claim, clock: Clock) -> Report:
    """Build the report of a run that found the import published already."""
    done = claim.done
    assert done is not None
    counts, book = done.counts, claim.workbook
    rejected, file = counts["error_count"], counts.get("rejects_file")
    notes = [f"already imported by run {done.id} at {done.finished_at}; --again loads it again"]
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
    """Return the ledger part of the JSON report: the run's id, and how many rows a dead run had written for it."""
    done = claim.done
    return {
        "id": done.id if done else claim.run,
        "resumed_rows": claim.resumed,
        "published_at": done.finished_at if done else None,
    }
