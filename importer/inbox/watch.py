"""Watches a folder: loads the workbooks that have arrived, round by round, and moves each to where it belongs.

Nothing about a workbook is kept outside the ledger: one whose import was published, but which was not moved before the
process was killed, is known by its content, and only moved.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from importer.batch.execution.schedule import signal_number
from importer.batch.expand import SourceGroup, expand
from importer.batch.import_spec import ImportSpec
from importer.batch.many import ManyRequest, run_many
from importer.batch.one_import import spec_settings
from importer.batch.rejects.names import shared_workbook
from importer.batch.report import WORST_FIRST, ManyReport
from importer.batch.table_names import is_template
from importer.contract.loader import load_contract
from importer.errors import DatabaseError, MachineError, UsageError

from .arrivals import Arrival, Arrivals, sole_watcher
from .move import put_back_all
from .settle import Folders, place_for, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from importer.batch.report import ImportReport

#: Modes in which each workbook exchanges what the last one left, so that they are loaded one after the other.
_ONE_AT_A_TIME = ("create", "replace")
#: What is added to the number of the signal that ended a command, for its exit code.
_SIGNALLED = 128
#: Longest pause before a workbook is tried again, or the server asked again, in seconds.
_LONGEST_PAUSE = 300.0
#: Seconds of one sleep; see `batch.execution.schedule.wait_for`.
_SLEEP_SECONDS = 0.25


@dataclass(frozen=True)
class WatchRequest:
    """What `importer watch` is asked for.

    Attributes:
        folders: where workbooks arrive, and where they go.
        group: options of the imports; its `sources` are not used.
        to: connection string of the target server; None: as for one import.
        once: whether to end when what is there was tried.
        poll: seconds between two looks.
        workers: see `ManyRequest`.
        quiet: whether imports say nothing while they run.
    """

    folders: Folders
    group: SourceGroup
    to: str | None = None
    once: bool = False
    poll: float = 2.0
    workers: int | None = None
    quiet: bool = False


def watch(request: WatchRequest, on_entry: Callable[[dict[str, Any]], None], say: Callable[[str], None]) -> int:
    """Load what arrives in a folder until a signal comes, or only what is there; return the exit code.

    Args:
        request: folders and options.
        on_entry: called with the entry of each import, a dict that JSON can hold, when its workbook was moved.
        say: called with messages for people.

    Raises:
        UsageError: the options contradict each other, or the folders are no three.
        ContractError: the contract is refused.
        DatabaseError: the server refuses, and that is not known to pass.
        MachineError: another process watches the folder, or it cannot be read.
    """
    _check(request)
    with sole_watcher(request.folders.inbox):
        put_back_all(request.folders.inbox)
        try:
            code = _Watch(request, on_entry, say).run()
        except KeyboardInterrupt as exc:
            code = _SIGNALLED + signal_number(exc)
        if code > _SIGNALLED:
            say("stopped; the same command goes on, and imports nothing twice")
        return code


def _check(request: WatchRequest) -> None:
    """Refuse at once what every workbook would be refused for."""
    folders, group = request.folders, request.group
    if not folders.inbox.is_dir():
        raise UsageError("the inbox is not a folder", place=str(folders.inbox), choice="mkdir it, or name another one")
    if len({path.resolve() for path in (folders.inbox, folders.done, folders.failed)}) < 3:  # noqa: PLR2004
        raise UsageError("the inbox, --done and --failed must be three folders", place=str(folders.inbox))
    if group.options.get("again"):
        raise UsageError("--again would load what was imported before a restart twice", choice="leave it out")
    expand(replace(group, sources=()))
    table = None if is_template(group.table) else group.table
    settings = spec_settings(ImportSpec("inbox.xlsx", group.sheet, table, group.options), request.to)
    if settings.contract is not None:
        load_contract(settings.contract)
    if shared_workbook(group.options) is not None:
        raise UsageError("each workbook would replace the rejects of those before it", choice="--rejects FOLDER/")
    if settings.mode == "create" and not is_template(group.table):
        raise UsageError("--mode create would load one workbook", choice="a --table with {stem}, or --mode append")


class _Watch:
    """The watching of a folder."""

    def __init__(
        self, request: WatchRequest, on_entry: Callable[[dict[str, Any]], None], say: Callable[[str], None]
    ) -> None:
        self._request, self._on_entry, self._say = request, on_entry, say
        # Rejects go where their workbook goes if they are within the budget; `settle` takes the others from there.
        rejects = request.group.options.get("rejects") or f"{request.folders.done}/"
        self._group = replace(request.group, options={**request.group.options, "rejects": rejects})
        self._arrivals = Arrivals(request.folders.inbox, say)
        #: How often a workbook was tried, and when it may be tried again.
        self._tries: Counter[Arrival] = Counter()
        self._not_before: dict[Arrival, float] = {}
        self._failures = 0

    def run(self) -> int:
        """Look and load until a signal comes, or once; return the exit code."""
        self._arrivals.look()
        codes: set[int] = set()  # of months of imports
        while True:
            _sleep(self._request.poll)
            ready = [a for a in self._arrivals.look() if self._not_before.get(a, 0.0) <= time.monotonic()]
            alone = self._request.group.options.get("mode") in _ONE_AT_A_TIME
            for arrivals in [[a] for a in ready] if alone else [ready] if ready else []:
                stopped, reports = self._round(arrivals)
                if stopped is not None:
                    return _SIGNALLED + stopped
                codes.add(ManyReport(tuple(reports)).exit_code)
            if self._request.once:
                return next((code for code in WORST_FIRST if code in codes), 0)

    def _round(self, arrivals: Sequence[Arrival]) -> tuple[int | None, list[ImportReport]]:
        """Load some workbooks; return the number of the signal that stopped them, or None, and the reports."""
        files = {str(a.path): a for a in arrivals}
        expanded = expand(replace(self._group, sources=tuple(files)))
        specs = [spec for number, spec in enumerate(expanded.specs) if number not in expanded.failed]
        waiting = _Waiting(files, Counter(spec.source for spec in specs), self._settle)
        for report in expanded.failed.values():
            waiting.take(report)
        try:
            if not specs:
                return None, waiting.taken
            request = self._request
            many = ManyRequest((), tuple(specs), request.to, quiet=request.quiet, workers=request.workers)
            ended = run_many(many, on_report=waiting.take)
            self._failures = 0
        except DatabaseError as exc:
            if not exc.transient or self._request.once:
                raise
            self._failures += 1
            self._say(str(exc))
            _sleep(min(self._request.poll * 2**self._failures, _LONGEST_PAUSE))
            return None, waiting.taken
        for note in ended.notes:
            self._say(note)
        return ended.stopped_by, waiting.taken

    def _settle(self, arrival: Arrival, reports: list[ImportReport]) -> None:
        """Move a workbook whose imports have ended, and pass on the entry of each."""
        self._tries[arrival] += 1
        place = place_for(reports, self._tries[arrival])
        if place == "inbox":
            pause = min(self._request.poll * 2 ** self._tries[arrival], _LONGEST_PAUSE)
            self._not_before[arrival] = time.monotonic() + pause
        try:
            entries = settle(arrival, reports, self._request.folders, place)
        except OSError as exc:
            raise MachineError(
                f"{arrival.path.name} cannot be moved: {exc.strerror or exc}", place=str(exc.filename or arrival.path),
                choice="start again when it can be moved; what was imported is known, and is only moved",
            ) from exc  # fmt: skip
        if place != "inbox":
            self._tries.pop(arrival, None)
            self._not_before.pop(arrival, None)
        for entry in entries:
            self._on_entry(entry)


@dataclass
class _Waiting:
    """The reports on imports of workbooks that have further imports, until the last one is there.

    Attributes:
        files: the workbooks, by source.
        left: number of imports without a report, by source.
        settle: called with a workbook and the reports on all its imports.
        taken: all reports.
    """

    files: dict[str, Arrival]
    left: Counter[str]
    settle: Callable[[Arrival, list[ImportReport]], None]
    taken: list[ImportReport] = field(default_factory=list)

    def take(self, report: ImportReport) -> None:
        """Take a report, and settle its workbook if it is the last one."""
        self.taken.append(report)
        self.left[report.source] -= 1
        if self.left[report.source] <= 0:
            self.settle(self.files[report.source], [r for r in self.taken if r.source == report.source])


def _sleep(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _SLEEP_SECONDS))
