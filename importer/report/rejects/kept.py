"""Rejects that the ledger keeps: written as a file again.

A run names its rejects file after its commit. If it is killed in between, the next run of the same import finds the
rejects in the ledger, and that no file was named; it then writes the file.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.errors import CommitUnknown, MachineError, NotDelivered, UsageError
from importer.ledger.rejects import change_rejects_part, find_rejects, record_rejects_file
from importer.remote.upload import UrlOutput, check_destination
from importer.report.rerun_command import mend_command
from importer.runtime.output_file import identify_before, numbered_paths
from importer.settings import REJECTS_SUFFIXES
from importer.urls import Url, as_url

from .packed import ABOUT, KeptRejects, with_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.postgres.session import Session
    from importer.report.model import Report
    from importer.run.lease import RunLease
    from importer.runtime.progress import Clock

    from .files import RejectsFiles, WrittenRejects
    from .packed import RejectsPlace
    from .workbook import Rejects

#: Seconds to keep retrying while the server of an address fails.
_RETRY_SECONDS = 60.0


def _named_file(place: RejectsPlace) -> Path | None:
    """Return the file if the run named it before it was killed and nobody has changed it since, else None."""
    if as_url(place.path):
        return None
    for path in numbered_paths(Path(place.path)):
        found = identify_before(path)
        if found is None or found == place.file:
            return path if found else None
    raise AssertionError  # the numbers do not end


def name_published(written: WrittenRejects, report: Report, session: Session, run: str) -> Report:
    """Name the rejects file of a run that was published, and return the report with that name or with a note.

    Raises:
        CommitUnknown: the run was interrupted; the same command again writes the file.
    """
    with _interrupted_afterwards():
        try:
            report = written.place(report)
        except MachineError as exc:
            return _unwritten(report, run, exc)
        # One that is not where it should be is sent by the same command again.
        if report.rejects_file is not None and report.undelivered is None:
            record_rejects_file(session, [run], report.rejects_file)
        return report


def write_published(
    files: RejectsFiles, rejects: Rejects, report: Report, clock: Clock, session: Session, run: str
) -> Report:
    """Write and name the rejects file of a run that was published before; see `name_published`.

    The ledger knows the file before it has its name: if this run is stopped then, the next one finds it, and writes no
    second one beside it.
    """
    try:
        with _interrupted_afterwards(), files.write(rejects, report, clock) as written:
            if (place := written.known_place) is not None:
                change_rejects_part(session, run, ABOUT, lambda about: with_place(about, place))
            return name_published(written, report, session, run)
    except MachineError as exc:
        return _unwritten(report, run, exc)


def name_rejects_afterwards(files: RejectsFiles, report: Report, clock: Clock, session: Session, run: str) -> Report:
    """Write and name the rejects file of a run from what the ledger keeps, and return the report with its name."""
    parts = find_rejects(session, run)
    session.commit()
    if not parts:
        return report
    kept = KeptRejects.unpack(parts)
    files.only_replace(kept.place.replaced)
    return write_published(files, kept.rejects, replace(report, mend_options=kept.mend_options), clock, session, run)


@contextlib.contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as exc:
        raise CommitUnknown("interrupted while publishing, which may have been done", stopped_by=exc) from exc


def _unwritten(report: Report, run: str, exc: MachineError) -> Report:
    """Return the report with a note on a file that cannot be written, although the rows are published."""
    note = f"the rejects file cannot be written ({exc.place}); `importer runs {run} --rejects FILE` writes it"
    return replace(report, notes=(note, *report.notes))


def restore_rejects(files: RejectsFiles, report: Report, lease: RunLease, clock: Clock) -> Report:
    """Write the rejects file of an import that was done before, if its run was killed before it named it.

    Args:
        files: where this run writes rejects.
        report: the report on the import.
        lease: lease of this run, whose `published_run` is the run that published.
        clock: clock of this run.

    Returns:
        The report, with the name of the file.
    """
    done = lease.published_run
    if done is None or not done.counts["error_count"] or done.counts.get("rejects_file") is not None:
        return report
    parts = find_rejects(lease.session, done.id)
    lease.session.commit()
    if not parts:
        return report
    kept = KeptRejects.unpack(parts)
    report, named = replace(report, mend_options=kept.mend_options), _named_file(kept.place)
    if named is not None:
        record_rejects_file(lease.session, [done.id], str(named))
        report = replace(report, rejects_file=str(named))
    else:
        files.only_replace(kept.place.replaced)
        report = write_published(files, kept.rejects, report, clock, lease.session, done.id)
    note = f"that run was stopped before it could name its rejects file: {report.rejects_file}"
    return replace(report, notes=(*report.notes, note)) if report.rejects_file else report


def write_kept_rejects(session: Session, run: dict[str, Any], path: Path | Url) -> dict[str, Any]:
    """Write the rejects of a run to a file, which replaces the one of that name or at that address.

    Args:
        session: session with the target server.
        run: the run, as `ledger.history.show_run` returns it.
        path: the file (`.xlsx`, `.csv`, `.parquet`), or its address.

    Returns:
        `run`, `rows`, `file`, and the `command` that loads the file once its cells are fixed, or None.

    Raises:
        UsageError: the ledger does not keep rejects of that run, or the suffix is another one.
        MachineError: the file cannot be written; or sent, and is kept here.
    """
    if path.suffix.lower() not in REJECTS_SUFFIXES:
        raise UsageError(f"cannot write rejects as {path.suffix!r}", choice=", ".join(REJECTS_SUFFIXES))
    parts = find_rejects(session, run["id"])
    if not parts:
        raise UsageError(f"the ledger keeps no rejects of run {run['id']}", choice=_why_none(run))
    kept = KeptRejects.unpack(parts)
    file = str(kept.rejects.write(path, kept.rejects.sheet) if isinstance(path, Path) else _send(kept.rejects, path))
    return {
        "run": run["id"], "rows": len(kept.rejects), "file": file, "command": mend_command(file, kept.mend_options)
    }  # fmt: skip


def _send(rejects: Rejects, url: Url) -> Url:
    check_destination(url)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = UrlOutput(url, Path(folder), _RETRY_SECONDS, replaces=True)
        rejects.write_to(made.file, url.suffix, rejects.sheet)
        made.finish()
        try:
            return made.place()
        except NotDelivered as exc:
            exc.fact, exc.choice = f"the rejects could not be sent: {exc.fact}", f"they are in {exc.kept}"
            raise


def _why_none(run: dict[str, Any]) -> str:
    if run["state"] != "published":
        return "a run that has published; run the same command again"
    if not run["counts"].get("error_count"):
        return "a run that rejected rows; this one loaded all"
    file = run["counts"].get("rejects_file")
    written = f"; the run wrote them to {file}" if file else ""
    return f"the rejects of the last run of a table, until `importer runs prune`{written}"
