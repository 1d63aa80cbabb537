"""Owns the story of a run, from a path to a published table; the only module that knows all stages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .clock import Clock, Progress
from .descriptor import load_contract
from .errors import BudgetExceeded
from .judging import validate
from .loading import loaded
from .planning import plan_load
from .refusals import with_refusals
from .rejectsfile import kept_rejects
from .reporting import make_report
from .source import read_source
from .target import find_target
from .working import connecting, working

if TYPE_CHECKING:
    from .report import Report
    from .settings import Settings


def run(settings: Settings, progress: Progress | None = None, *, dry_run: bool = False) -> Report:
    """Load a sheet into a table, all or nothing, and report where every cell went.

    Args:
        settings: of the run.
        progress: is told of stages and rows.
        dry_run: do everything, then roll it back and leave no trace.

    Raises:
        BudgetExceeded: too many rejects; its `report` says which.
        ImporterError: see `errors`; in every case the target is as it was.
    """
    clock = Clock(progress)
    contract = load_contract(settings.contract) if settings.contract else None
    with connecting(settings) as connected, working(settings) as (folder, pool):
        source = read_source(settings, pool, folder, clock)
        with clock.stage("plan"):
            dsn, session, version = connected.result()
            target = find_target(session, settings, contract, source.sheet)
            contract, plan = plan_load(settings, source, target, contract, session)
        with clock.stage("validate"):
            windows = validate(settings, source, plan, pool, folder, clock)
            report, rejects = make_report(settings, source, plan, target, windows, version)
        if not _within(settings, report):
            with kept_rejects(rejects, report, clock):
                _check_budget(settings, report, clock)
        with loaded(
            settings, session, dsn, target, contract, plan, windows, pool, clock, sheet=source.sheet.name
        ) as published:
            # The transaction of publishing is open: what is told must be complete before it is kept.
            windows = with_refusals(session, source, plan, target, windows, published.refused, folder)
            report, rejects = make_report(settings, source, plan, target, windows, version, published)
            with kept_rejects(rejects, report, clock):
                _check_budget(settings, report, clock)
                with clock.stage("publish"):
                    session.rollback() if dry_run else session.commit()
    return replace(report, outcome="checked" if dry_run else "published", timings=clock.timings, duration=clock.elapsed)


def _within(settings: Settings, report: Report) -> bool:
    budget = settings.max_rejects
    return budget is None or budget.allows(report.error_count, report.total_records)


def _check_budget(settings: Settings, report: Report, clock: Clock) -> None:
    if _within(settings, report):
        return
    error = BudgetExceeded(
        f"{report.error_count:,} of {report.total_records:,} rows were rejected, over the budget of "
        f"{settings.max_rejects}; nothing was published",
        choice=f"mend the rows in {report.rejects_file}, or raise --max-rejects",
    )
    error.report = replace(report, outcome="over-budget", timings=clock.timings, duration=clock.elapsed)
    raise error
