"""Runs several imports so that all of them become visible in one moment, or none: one after the other, one transaction.

Each import runs as it does alone, but its session is shared (`run.joined_session`): it sees what the ones before
it did to the table, and its own commits, the ledger's rows included, only last if the whole is committed. A process
that is killed before that leaves nothing; one that is killed afterwards leaves imports that are known as done.

Rows that exist in a table that is to be replaced are exchanged by the first import into it; the others add theirs. All
of them are done, or all are loaded again: the key of each has the content of all.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from importer.batch.one_import import describe, report_of_error, report_of_run, run_hooks, task_settings
from importer.batch.report import NOT_PUBLISHED, ImportReport, not_started_report
from importer.errors import CommitUnknown, ImporterError
from importer.ledger.history import clean_after_check
from importer.ledger.published_set import mark_published_together
from importer.pipeline import run
from importer.postgres.sql import quote
from importer.report.rejects.files import RejectsFiles
from importer.report.rejects.kept import name_rejects_afterwards
from importer.run.joined_session import JoinedSession, join_session
from importer.runtime.progress import Clock
from importer.runtime.retry import Deadline, Retry
from importer.stages.workspace import open_workspace

from .locks import LockRoom, lock_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.batch.import_spec import ImportSpec
    from importer.batch.one_import import ImportSet, ImportTask
    from importer.report.model import Report
    from importer.runtime.progress import Progress
    from importer.settings import Settings

_HASH_BYTES = 1 << 20


class _Done(NamedTuple):
    """An import that may be published: its settings, its report, and the seconds that it took."""

    settings: Settings
    report: Report
    seconds: float


class _LoadAgain(Exception):
    """Some imports into a table that is to be replaced were done before, and others were not: all must be loaded."""

    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table


def run_together(given: ImportSet, progress: Callable[[ImportTask], Progress | None]) -> list[ImportReport]:
    """Run imports in this process, publish all or none, and return their reports; no error is raised but signals.

    Args:
        given: the imports.
        progress: returns what receives the messages of an import.
    """
    return _Together(given, progress).run()


class _Together:
    """The running of a set of imports."""

    def __init__(self, given: ImportSet, progress: Callable[[ImportTask], Progress | None]) -> None:
        self._tasks, self._stop_on_error, self._progress = given.tasks, given.stop_on_error, progress
        self._dry_run = given.tasks[0].dry_run
        self._tables = dict(enumerate(given.tables))
        #: Tables all of whose imports are loaded although they were done before.
        self._again: set[str] = set()
        #: Outcomes by number, of the attempt that is under way.
        self._done: dict[int, _Done] = {}
        self._failed: dict[int, ImportReport] = {}
        #: The imports that were about to be committed, in case only the answer is lost.
        self._settled: dict[int, _Done] = {}

    def run(self) -> list[ImportReport]:
        """Try until all are published or one failed for a reason that does not pass."""
        first = task_settings(self._tasks[0])
        assert first.dsn is not None
        retry = Retry(first.retry_for, Deadline(), self._say)
        while True:
            self._done, self._failed = {}, {}
            try:
                with join_session(first.dsn) as session:
                    return self._attempt(session)
            except _LoadAgain as exc:
                self._again.add(exc.table)
            except KeyboardInterrupt as exc:
                return self._all_ended(exc)
            except ImporterError as exc:
                if isinstance(exc, CommitUnknown):
                    return self._all_ended(exc)
                try:
                    retry.wait_or_raise(exc)
                except (ImporterError, KeyboardInterrupt) as final:
                    return self._all_ended(final)

    def _attempt(self, session: JoinedSession) -> list[ImportReport]:
        """Run all imports in one transaction and end that.

        Raises:
            ImporterError: the server failed; another attempt may succeed.
        """
        room = LockRoom(session, list(self._tables.values()))
        room.check()
        if not self._dry_run:
            lock_tables(session, list(self._tables.values()), Clock(self._progress(self._tasks[0])))
        for number, task in enumerate(self._tasks):
            self._import(number, task, session, room)
            if session.is_lost or (self._failed and self._stop_on_error):
                break
        if self._failed:
            return self._none_published()
        if self._dry_run:
            for number, done in self._done.items():
                self._done[number] = done._replace(report=_as_checked(_with_rejects_file(done, session)))
            return self._reports()
        if self._settled and all(self._is_settled(n) for n in self._done):
            # Only the answer was lost, or what came after it. Rejects may have been written since, which is kept.
            session.commit_all()
            files = {n: done.report.rejects_file for n, done in self._done.items()}
            self._done = {
                n: done._replace(report=replace(done.report, rejects_file=files[n]))
                for n, done in self._settled.items()
            }
        else:
            self._commit(session)
        for number, done in self._done.items():
            self._done[number] = done._replace(report=_published_report(done, session))
        clean_after_check(session)
        return self._reports()

    def _import(self, number: int, task: ImportTask, session: JoinedSession, room: LockRoom) -> None:
        """Run one import in the shared transaction and keep what came of it."""
        began = time.monotonic()
        try:
            settings = self._settings(number, task)
            report = run(settings, self._progress(task), hooks=run_hooks(task))
        except (KeyboardInterrupt, CommitUnknown) as exc:
            raise KeyboardInterrupt from exc
        except Exception as exc:
            if isinstance(exc, ImporterError) and exc.transient:
                raise
            room.advise(exc)
            self._failed[number] = report_of_error(task.spec, exc, time.monotonic() - began)
            with contextlib.suppress(ImporterError):
                session.rollback()
            return
        # The rejects themselves are in the ledger; memory is not to grow with the number of workbooks.
        self._done[number] = _Done(settings, replace(report, rejected=None), time.monotonic() - began)
        self._check_union(number)

    def _settings(self, number: int, task: ImportTask) -> Settings:
        """Return the settings of an import in this set: the mode of all but the first into a table is `append`."""
        settings = replace(task_settings(task), retry_for=0.0)
        table, mode = self._tables[number], settings.mode
        if mode not in ("create", "replace"):
            return settings
        others = [n for n, other in self._tables.items() if other == table]
        if mode == "replace" and len(others) > 1:
            again = settings.again or table in self._again
            settings = replace(settings, union=self._union(tuple(others)), again=again)
        if any(self._loaded(n) for n in others):
            settings = replace(settings, mode="append", asked_mode=mode)
        return settings

    def _union(self, numbers: tuple[int, ...]) -> str:
        """Return a hash of the content of workbooks and the names of sheets."""
        specs = [self._tasks[n].spec for n in numbers]
        parts = [f"{_content(spec)} {spec.sheet}" for spec in specs]
        return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()

    def _loaded(self, number: int) -> bool:
        return number in self._done and self._done[number].report.outcome == "published"

    def _check_union(self, number: int) -> None:
        """Raise _LoadAgain if rows of imports that were done before have just been replaced."""
        if self._done[number].settings.union is None or not self._loaded(number):
            return
        table = self._tables[number]
        others = [n for n, other in self._tables.items() if other == table and n in self._done]
        if not all(map(self._loaded, others)):
            raise _LoadAgain(table)

    def _commit(self, session: JoinedSession) -> None:
        """Commit what all imports did.

        Raises:
            CommitUnknown: a signal ended the wait for the answer.
        """
        loaded = [n for n in self._done if self._loaded(n)]
        unions: dict[str, list[str]] = {}
        for n in loaded:
            if self._done[n].settings.union is not None:
                unions.setdefault(_quoted_target(self._done[n].report), []).append(_run_id(self._done[n].report))
        mark_published_together(session, [_run_id(self._done[n].report) for n in loaded], unions)
        self._settled = dict(self._done)
        try:
            session.commit_all()
        except KeyboardInterrupt as exc:
            raise CommitUnknown("interrupted while publishing, which may have been done", stopped_by=exc) from exc

    def _is_settled(self, number: int) -> bool:
        """Return whether the ledger has an import as done by the run that was about to be committed."""
        before, now = self._settled.get(number), self._done[number].report
        return before is not None and bool(now.run.get("published_at")) and _run_id(before.report) == _run_id(now)

    # ---- REPORTS ------------------------------------------------------------------------------------------------

    def _reports(self) -> list[ImportReport]:
        done = [self._done[n] for n in sorted(self._done)]
        return [report_of_run(t.spec, d.report, d.seconds) for t, d in zip(self._tasks, done, strict=True)]

    def _none_published(self) -> list[ImportReport]:
        """Return the reports where some imports failed; the others were not published for that reason."""
        reports = []
        for number, task in enumerate(self._tasks):
            if number in self._failed:
                reports.append(self._failed[number])
            elif number in self._done:
                done = self._done[number]
                made = report_of_run(task.spec, done.report, done.seconds)
                is_new = self._loaded(number)
                reports.append(replace(made, outcome=NOT_PUBLISHED, exit_code=None) if is_new else made)
            else:
                reports.append(not_started_report(task.spec))
        return reports

    def _all_ended(self, exc: BaseException) -> list[ImportReport]:
        """Return the same error for all imports: that of the transaction, or a signal."""
        error = describe(exc)
        outcome = "interrupted" if error["exit_code"] == 130 else "failed"  # noqa: PLR2004
        return [
            ImportReport(t.spec.shown_source, t.spec.sheet, outcome, error["exit_code"], 0.0, error)
            for t in self._tasks
        ]

    def _say(self, text: str) -> None:
        progress = self._progress(self._tasks[0])
        if progress is not None:
            progress.say(text)


def _with_rejects_file(done: _Done, session: JoinedSession) -> Report:
    """Return the report with its rejects file, which is written now: the rejects are in the ledger."""
    report = done.report
    if not report.error_count or report.outcome != "published" or report.rejects_file is not None:
        return report
    with open_workspace(done.settings) as (folder, _):
        files = RejectsFiles(done.settings, folder)
        return name_rejects_afterwards(files, report, Clock(), session, _run_id(report))


def _published_report(done: _Done, session: JoinedSession) -> Report:
    """Return the report of what is committed, with its rejects file or a note that it cannot be written."""
    try:
        return _with_rejects_file(done, session)
    except ImporterError as exc:
        if exc.transient:
            raise
        how = f"`importer runs {_run_id(done.report)} --rejects FILE` writes them"
        said = f"the rejects cannot be written: {exc.fact} ({exc.place}); {how}"
        return replace(done.report, notes=(said, *done.report.notes))


def _as_checked(report: Report) -> Report:
    return replace(report, outcome="checked" if report.outcome == "published" else report.outcome)


def _run_id(report: Report) -> str:
    run: dict[str, Any] = report.run or {}
    return str(run.get("id"))


def _quoted_target(report: Report) -> str:
    return quote(report.target["schema"], report.target["table"])


def _content(spec: ImportSpec) -> str:
    """Return a hash of the workbook; of one at an address the address and version, if that is known."""
    digest = hashlib.sha256()
    try:
        with open(spec.source, "rb") as file:  # noqa: PTH123 - an address is no path
            while block := file.read(_HASH_BYTES):
                digest.update(block)
    except OSError:  # an address, or what its import will say
        return f"{spec.shown_source} {spec.options.get('source_version')}"
    return digest.hexdigest()
