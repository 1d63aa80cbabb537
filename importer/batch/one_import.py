"""Runs one import of many in this process, and reports it as plain data whatever happens."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.contract.known_keys import nearest
from importer.errors import BudgetExceeded, CommitUnknown, ImporterError, MachineError, UsageError
from importer.pipeline import Hooks, run
from importer.settings import Limits, Settings, make_settings
from importer.version import __version__

from .readings.saved_sheet import load_converted, load_sheet
from .report import ImportReport

if TYPE_CHECKING:
    from importer.report.model import Report
    from importer.runtime.progress import Progress

    from .import_spec import ImportSpec

_INTERRUPTED_CODE = 130
#: Options that an import may have.
_OPTIONS = sorted(
    {f.name for f in fields(Settings)} - {"workbook", "source", "dsn", "sheet", "table", "own_process", "header_rows"}
    | {"header_row", "source_version", "copies"}
)


@dataclass(frozen=True)
class ImportTask:
    """What one import needs to know, as plain data.

    Attributes:
        spec: the import.
        dsn: connection string of the target server.
        dry_run: whether to do everything and then roll it back.
        workers: most workers of the import; None: as its options say.
        quiet: whether to say nothing while the import runs.
        batch: names the command that the import is one of.
        number: number of the import in its command; with the batch, what all attempts at it have in common.
        packed_rejects: folder that it packs its rejects into; None: it writes a file.
        reading: folder in which its survey keeps what it reads, and from which the import takes it; None: it reads.
        reading_bytes: most bytes that the survey keeps.
        attempt: how often it was handed out before; no two tasks are equal, because some executors answer equal ones
            from memory.
        version: version of the program that hands out the task.
    """

    spec: ImportSpec
    dsn: str = field(repr=False)
    dry_run: bool = False
    workers: int | None = None
    quiet: bool = False
    batch: str = ""
    number: int = 0
    packed_rejects: str | None = None
    reading: str | None = None
    reading_bytes: int = 0
    attempt: int = 0
    version: str = __version__


@dataclass(frozen=True)
class ImportSet:
    """Imports that are published as one, as plain data.

    Attributes:
        tasks: the imports, in the order in which they run; of all, `dry_run` and the server are the same.
        tables: a text for each that those into the same table share.
        stop_on_error: whether no further import is tried once one failed; none is published in either case.
    """

    tasks: tuple[ImportTask, ...]
    tables: tuple[str, ...]
    stop_on_error: bool = False


def task_settings(task: ImportTask) -> Settings:
    """Return the settings of an import.

    Raises:
        UsageError: an option is invalid, or two contradict each other.
    """
    settings = spec_settings(task.spec, task.dsn)
    if task.batch and settings.run_seed is None:
        settings = replace(settings, run_seed=f"{task.batch} {task.number}")
    if task.packed_rejects is not None:
        settings = replace(settings, packed_rejects=Path(task.packed_rejects))
    return settings if task.workers is None else replace(settings, workers=task.workers)


def spec_settings(spec: ImportSpec, to: str | None) -> Settings:
    """Return the settings of an import into a server; see `task_settings`."""
    options = dict(spec.options)
    for name in options:
        if name not in _OPTIONS:
            near = nearest(name, _OPTIONS)
            choice = f"did you mean {near!r}?" if near else "the keywords of importer.import_workbook"
            raise UsageError(f"an import has an unknown option {name!r}", place=spec.label, choice=choice)
    try:
        if isinstance(options.get("limits"), dict):
            options["limits"] = Limits(**options["limits"])
        return make_settings(spec.source, sheet=spec.sheet, table=spec.table, to=to, **options)
    except (TypeError, ValueError, AttributeError) as exc:
        raise UsageError(f"an option of an import has no such value ({exc})", place=spec.label) from None


def run_hooks(task: ImportTask) -> Hooks:
    """Return what the run of an import asks for: what its survey kept of the sheet, and of a converted workbook."""
    if task.reading is None:
        return Hooks()
    folder = Path(task.reading)
    return Hooks(find_converted=partial(load_converted, folder), find_reading=partial(load_sheet, folder))


def run_here(task: ImportTask, progress: Progress | None = None) -> ImportReport:
    """Run an import in this process and return its report; no error is raised but signals."""
    began = time.monotonic()
    spec = task.spec
    try:
        report = run(task_settings(task), progress, dry_run=task.dry_run, hooks=run_hooks(task))
    except BaseException as exc:  # noqa: BLE001 - one import that fails must not end the others
        return report_of_error(spec, exc, time.monotonic() - began)
    return report_of_run(spec, report, time.monotonic() - began)


def report_of_run(spec: ImportSpec, report: Report, seconds: float) -> ImportReport:
    """Return the report on an import that is done."""
    code = exit_code_of(report, has_budget=spec.options.get("max_rejects") is not None)
    return ImportReport(spec.shown_source, report.sheet, report.outcome, code, seconds, None, report.to_dict())


def report_of_error(spec: ImportSpec, exc: BaseException, seconds: float) -> ImportReport:
    """Return the report on an import that failed or was stopped."""
    found: Any = exc.report if isinstance(exc, BudgetExceeded) else None
    error = describe(exc)
    outcome = "failed" if found is None else found.outcome
    outcome = "interrupted" if error["exit_code"] == _INTERRUPTED_CODE else outcome
    shown = found.to_dict() if found is not None else {}
    sheet = found.sheet if found is not None else spec.sheet
    return ImportReport(spec.shown_source, sheet, outcome, error["exit_code"], seconds, error, shown)


def exit_code_of(report: Report, *, has_budget: bool) -> int:
    """Return the exit code of a run that is done.

    4: its rejects are not at their address; 1: it rejected rows, and no budget says that these are accepted.
    """
    if report.undelivered:
        return 4
    return 1 if report.error_count and not has_budget else 0


def describe(exc: BaseException) -> dict[str, Any]:
    """Return what `--json` says of an error."""
    if isinstance(exc, KeyboardInterrupt):
        choice = "; ".join(getattr(exc, "__notes__", ())) or "run the same command again"
        return _described("Interrupted", "interrupted; nothing was published", None, choice, _INTERRUPTED_CODE)
    if isinstance(exc, CommitUnknown):
        code = _INTERRUPTED_CODE if isinstance(exc.stopped_by, KeyboardInterrupt) else exc.exit_code
        return _described("CommitUnknown", exc.fact, exc.place, exc.choice or "run the same command again", code)
    if isinstance(exc, OSError):
        exc = MachineError(f"the machine refused: {exc.strerror or exc}", place=exc.filename)
    if isinstance(exc, MemoryError):
        exc = MachineError("the memory of the process is used up", choice="--memory with more MiB")
    if not isinstance(exc, ImporterError):
        fact = str(exc).strip().split("\n", 1)[0][:300]
        exc = MachineError(f"unexpected {type(exc).__name__}: {fact}", choice="run it alone with --debug")
    return _described(type(exc).__name__, exc.fact, exc.place, exc.choice, exc.exit_code)


def _described(kind: str, fact: str, place: str | None, choice: str | None, code: int) -> dict[str, Any]:
    return {"type": kind, "message": fact, "place": place, "choice": choice, "exit_code": code}
