"""Holds a run to its budget of rejects, and a repeated run to the rejects that the ledger counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.errors import BudgetExceeded

if TYPE_CHECKING:
    from importer.report.rejects.files import WrittenRejects
    from importer.runtime.progress import Clock
    from importer.settings import Settings

    from .model import Report


def within_budget(settings: Settings, report: Report) -> bool:
    """Return whether the rejects of a run are within its budget."""
    budget = settings.max_rejects
    return budget is None or budget.allows(report.error_count, report.total_records)


def empties_table(settings: Settings, report: Report) -> bool:
    """Return whether a run would replace all rows of its table by none, because each row of the sheet was rejected.

    That is rather the wrong sheet or the wrong contract than what is wanted; with a budget, the user says which.
    """
    return (
        settings.mode == "replace" and settings.max_rejects is None and 0 < report.total_records == report.error_count
    )


def is_refused(settings: Settings, report: Report) -> bool:
    """Return whether `check_budget` refuses the run."""
    return not within_budget(settings, report) or empties_table(settings, report)


def check_budget(settings: Settings, report: Report, written: WrittenRejects, clock: Clock) -> None:
    """Refuse a run that is over its budget, or would leave an empty table; its rejects file then gets its name.

    Raises:
        BudgetExceeded: it has more rejects; the error's `report` lists them.
    """
    if not is_refused(settings, report):
        return
    report = written.place(report)
    listed = f" ({report.rejects_file} lists them)" if report.rejects_file else ""
    over, otherwise = f"over the budget of {settings.max_rejects}", "raise --max-rejects"
    if empties_table(settings, report):
        over, otherwise = "and replacing would leave the table empty", "say that it may be: --max-rejects 100%"
    error = BudgetExceeded(
        f"{_share(report)} rejected, {over}; nothing was published",
        choice=f"fix them in the workbook{listed}, or {otherwise}",
    )
    error.report = replace(report, outcome="over-budget", timings=clock.timings, duration=clock.elapsed)
    raise error


def check_recorded_budget(settings: Settings, report: Report) -> None:
    """Refuse an import that was done before with more rejects than this run accepts; nothing is undone.

    Raises:
        BudgetExceeded: the run that published it had more rejects.
    """
    if within_budget(settings, report):
        return
    listed = f"; {report.rejects_file} lists them" if report.rejects_file else ""
    error = BudgetExceeded(
        f"{_share(report)} rejected by run {report.run['id']}, which published the others: over the budget of "
        f"{settings.max_rejects}",
        choice=f"load the fixed rejects{listed}; or raise --max-rejects",
    )
    error.report = report
    raise error


def _share(report: Report) -> str:
    return f"{report.error_count:,} of {report.total_records:,} rows were"
