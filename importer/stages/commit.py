"""Commits a run together with its rejects file and report, or reports what an earlier commit published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.report.budget import check_budget, check_recorded_budget, is_refused
from importer.report.build import already_imported_report, run_to_dict
from importer.report.rejects.files import RejectsFiles
from importer.report.rejects.kept import name_published, restore_rejects, write_published
from importer.run.outcome import commit_published
from importer.runtime.stage import Stage

if TYPE_CHECKING:
    from importer.report.model import Report
    from importer.report.rejects.workbook import Rejects
    from importer.run.lease import RunLease
    from importer.run.staging_state import StagingState

    from .workspace import RunContext


class RunCommit:
    """The end of a run: its rejects file is written before the commit, its report after it.

    Args:
        run: context of the run.
    """

    def __init__(self, run: RunContext) -> None:
        self._run, self._settings, self._clock = run, run.settings, run.clock
        self._files = RejectsFiles(run.settings, run.folder)
        #: What was about to be committed, in case only the server's answer is lost.
        self._settled: tuple[StagingState, Report, Rejects] | None = None

    def check_budget(self, report: Report, rejects: Rejects) -> None:
        """Write the rejects file and raise BudgetExceeded, if a run that was checked has too many rejects."""
        if is_refused(self._settings, report):
            with self._files.write(rejects, report, self._clock) as written:
                check_budget(self._settings, report, written, self._clock)

    def commit(self, state: StagingState, report: Report, rejects: Rejects) -> Report:
        """Write the rejects file, and commit the rows of the open transaction; a dry run rolls them back.

        Raises:
            BudgetExceeded: the target refused more rows than the budget has left.
            CommitUnknown: the run was stopped while it committed; the rows may have been published.
        """
        with self._files.write(rejects, report, self._clock) as written:
            check_budget(self._settings, report, written, self._clock)
            self._settled = state, report, rejects
            with self._clock.stage(Stage.PUBLISH):
                session = state.lease.session
                if self._run.dry_run:
                    session.rollback()
                    report = written.place(report)
                else:
                    kept = written.pack(rejects, report)
                    commit_published(state, self._settings.mode, report.ledger_counts, kept)
                    if not session.is_joined:
                        report = name_published(written, report, session, state.lease.run_id)
        return report

    def report_published(self, lease: RunLease) -> Report:
        """Return the report of an import that the ledger says is done: by this run, if only the answer was lost."""
        if self._settled is not None:
            own, report, rejects = self._settled
            if lease.published_run is not None and lease.published_run.id == own.lease.run_id:
                report = write_published(self._files, rejects, report, self._clock, lease.session, lease.run_id)
                return self.finish(own, report)
        return self.report_imported(lease)

    def report_imported(self, lease: RunLease) -> Report:
        """Return the report of an import that another run published; its rejects file is there afterwards."""
        report = already_imported_report(self._settings, lease, self._clock)
        report = restore_rejects(self._files, report, lease, self._clock)
        check_recorded_budget(self._settings, report)
        return report

    def finish(self, state: StagingState, report: Report) -> Report:
        """Return the report of a run that was committed, or rolled back if it is a dry run."""
        outcome, clock = "checked" if self._run.dry_run else "published", self._clock
        run = run_to_dict(state.lease, state.resumed_rows)
        return replace(report, outcome=outcome, run=run, timings=clock.timings, duration=clock.elapsed)
