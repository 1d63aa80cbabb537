"""Writes the rejects of many imports into one workbook, when all have ended: a sheet each, to be fixed and loaded.

The imports publish one by one, and pack their rejects (see `report.rejects.packed`); the ledger keeps those of
published runs, too, and that they have no file yet. So whatever is killed before the workbook has its name, the same
command again writes it; and it has its name before the ledger says so, of all imports in one moment.
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from importer.batch.report import RejectsWorkbook
from importer.errors import DatabaseError, MachineError, NotDelivered, UsageError
from importer.excel.rejects_origin import numbered_properties, original_stem
from importer.ledger.rejects import record_rejects_file
from importer.postgres.session import Session
from importer.remote.upload import UrlOutput, check_destination
from importer.report.rejects.cells import sheet_name
from importer.report.rejects.packed import KeptRejects, properties_of, read_packed
from importer.report.rejects.workbook import WRITE_ERRORS, rejects_book, unwritable
from importer.runtime.locked_folder import LockedFolder
from importer.runtime.output_file import OutputFile, identify_before
from importer.urls import Url, file_name

from .names import shared_workbook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from polars.exceptions import PolarsError

    from importer.batch.import_spec import ImportSpec
    from importer.batch.report import ImportReport
    from importer.runtime.output_file import FileIdentity
    from importer.settings import Dsn

#: Outcomes of imports whose good rows are in their table, so that the fixed rejects belong there, too.
_LOADED = ("published", "already-imported")
#: What `--sheets` and Excel take for something else than a name.
_RESERVED = frozenset({"all", "history"})
_NOT_IN_NAMES = str.maketrans(",", "_")
_RETRY_SECONDS = 60.0


class Written(NamedTuple):
    """What became of the rejects of a command: the reports, which name their file now, the workbooks, and notes."""

    reports: dict[int, ImportReport]
    workbooks: tuple[RejectsWorkbook, ...]
    notes: tuple[str, ...]


class _Made(NamedTuple):
    """A workbook of rejects that was written.

    Attributes:
        file: where it is.
        sheets: names of the sheets of each import.
        mend_options: options of the command that loads them once they are fixed, by import.
        undelivered: why it is not where it should be; None if it is.
    """

    file: str
    sheets: Mapping[int, list[str]]
    mend_options: Mapping[int, tuple[str, ...]]
    undelivered: str | None


@contextlib.contextmanager
def shared_rejects(specs: Sequence[ImportSpec], *, is_elsewhere: bool) -> Iterator[SharedRejects]:
    """Provide the workbooks that the rejects of imports go to, and a folder for these until they are written.

    Args:
        specs: the imports.
        is_elsewhere: whether they may run on other machines.

    Raises:
        UsageError: they run elsewhere, and some have their rejects in one workbook.
        SourceRefused: the address of a workbook cannot be used.
    """
    places: dict[Path | Url, list[int]] = {}
    for number, spec in enumerate(specs):
        place = shared_workbook(spec.options)
        if place is not None:
            places.setdefault(place, []).append(number)
    if not places:
        yield SharedRejects(places, Path())
        return
    if is_elsewhere:
        raise UsageError(
            "one workbook of rejects is written from files of this machine", place=str(next(iter(places))),
            choice="--rejects FOLDER/, which the workers see",
        )  # fmt: skip
    temp_dir = specs[0].options.get("temp_dir")
    with LockedFolder(Path(temp_dir) if temp_dir else None) as folder:
        yield SharedRejects(places, folder.path)


class SharedRejects:
    """The workbooks that the rejects of the imports of a command go to; `shared_rejects` makes it.

    Args:
        places: the workbooks, with the numbers of their imports.
        folder: folder for packed rejects.
    """

    def __init__(self, places: Mapping[Path | Url, list[int]], folder: Path) -> None:
        self._places, self._folder = places, folder
        self._shared = {number for numbers in places.values() for number in numbers}
        self._known: dict[Path | Url, FileIdentity | None] = {}
        for place in places:
            if isinstance(place, Url):
                check_destination(place)
            else:
                self._known[place] = identify_before(place)

    def folder_of(self, number: int) -> str | None:
        """Return where an import packs its rejects; None if they go into a file of their own."""
        return str(self._packed(number)) if number in self._shared else None

    def write(self, reports: Mapping[int, ImportReport], dsn: Dsn, *, dry_run: bool) -> Written:
        """Write what the imports packed, and record in the ledger where it is."""
        written = Written(dict(reports), (), ())
        for place, numbers in self._places.items():
            with_rejects = [n for n in numbers if n in reports and self._packed(n).is_dir()]
            if with_rejects:
                written = self._write(place, with_rejects, written, None if dry_run else dsn)
        return written

    def _packed(self, number: int) -> Path:
        return self._folder / str(number)

    def _write(self, place: Path | Url, numbers: list[int], written: Written, dsn: Dsn | None) -> Written:
        reports = written.reports
        loaded = [n for n in numbers if reports[n].outcome in _LOADED]
        # An import that was done before has its rejects in the file of that name, which may be about to be fixed.
        holds_others = any(report.rejects_file == str(place) for report in reports.values())
        try:
            made = self._make(place, numbers, loaded, replaces=not holds_others)
        except (*WRITE_ERRORS, MachineError) as exc:
            return self._unwritten(place, numbers, written, exc)
        if dsn is not None and made.undelivered is None:
            _record(dsn, [str(reports[n].report["run"]["id"]) for n in loaded], made.file)
        for n in numbers:
            reports[n] = _with_file(reports[n], made, made.sheets[n])
        commands = _commands(made, loaded if dsn is not None else [])
        notes = (made.undelivered,) if made.undelivered else ()
        return Written(reports, (*written.workbooks, RejectsWorkbook(made.file, commands)), (*written.notes, *notes))

    def _make(self, place: Path | Url, numbers: list[int], loaded: list[int], *, replaces: bool) -> _Made:
        """Write the workbook of some imports, of which those that are loaded can be loaded from it once it is fixed.

        Raises:
            OSError, PolarsError, MachineError: it cannot be written.
        """
        about = {n: properties_of(self._packed(n)) for n in numbers}
        with tempfile.TemporaryDirectory(prefix="rejects-", dir=self._folder, ignore_cleanup_errors=True) as temp:
            file = self._open(place, Path(temp), replaces=replaces)
            try:
                sheets = self._fill(file, {n: properties for n, (properties, _) in about.items()}, loaded, Path(temp))
                placed, undelivered = str(file.place()), None
            except NotDelivered as exc:
                undelivered = f"the rejects are not at {place}: {exc.fact}; they are in {exc.kept}"
                placed = str(exc.kept)
            finally:
                file.discard()
        return _Made(placed, sheets, {n: options for n, (_, options) in about.items()}, undelivered)

    def _open(self, place: Path | Url, temp: Path, *, replaces: bool) -> OutputFile | UrlOutput:
        if isinstance(place, Url):
            return UrlOutput(place, temp, _RETRY_SECONDS, replaces=replaces)
        return OutputFile(place, self._known[place] if replaces else None)

    def _fill(
        self, file: OutputFile | UrlOutput, about: Mapping[int, dict[str, str]], loaded: list[int], temp: Path
    ) -> dict[int, list[str]]:
        """Write a sheet for each import; return their names. Those that can be loaded once they are fixed say where."""
        titles = dict(zip(about, sheet_titles(about.values()), strict=True))
        sheets: dict[int, list[str]] = {}
        with rejects_book(file.file, temp) as book:
            for n, title in titles.items():
                sheets[n] = book.add(KeptRejects.unpack(read_packed(self._packed(n))).rejects, title)
            book.set_properties(numbered_properties([(name, about[n]) for n in loaded for name in sheets[n]]))
        file.finish()
        return sheets

    def _unwritten(
        self, place: Path | Url, numbers: list[int], written: Written, exc: OSError | PolarsError | MachineError
    ) -> Written:
        error = exc if isinstance(exc, MachineError) else unwritable("the rejects cannot be written", place, exc)
        runs = [str(written.reports[n].report["run"]["id"]) for n in numbers if written.reports[n].outcome in _LOADED]
        each = f"; `importer runs ID --rejects FILE` writes those of a run: {', '.join(runs)}" if runs else ""
        return written._replace(notes=(*written.notes, f"the rejects cannot be written ({error.place}){each}"))


def sheet_titles(about: Iterable[Mapping[str, str]]) -> list[str]:
    """Return a name for the sheet of each import that Excel takes, all different: the workbook's, and its sheet's.

    Args:
        about: the document properties that the rejects of each would have in a workbook of their own.
    """
    sources = [(_stem(each.get("importer workbook", "")), each.get("importer sheet", "")) for each in about]
    per_stem = Counter(stem.casefold() for stem, _ in sources)
    titles: list[str] = []
    taken = set(_RESERVED)
    for stem, sheet in sources:
        title = stem if per_stem[stem.casefold()] == 1 else f"{stem} {sheet}"
        number = 0
        while (name := sheet_name(title.translate(_NOT_IN_NAMES), number)).casefold() in taken:
            number += 1
        taken.add(name.casefold())
        titles.append(name)
    return titles


def _stem(workbook: str) -> str:
    return original_stem(Path(file_name(workbook)).stem)


def _commands(made: _Made, loaded: Iterable[int]) -> tuple[str, ...]:
    """Return the commands that load the sheets of imports, one for each set of options."""
    by_options: dict[tuple[str, ...], list[str]] = {}
    for n in loaded:
        by_options.setdefault(made.mend_options[n], []).extend(made.sheets[n])
    chosen = {o: "all" if len(by_options) == 1 else ",".join(names) for o, names in by_options.items()}
    return tuple(shlex.join(["importer", "run", made.file, "--sheets", n, *options]) for options, n in chosen.items())


def _with_file(report: ImportReport, made: _Made, sheets: list[str]) -> ImportReport:
    rejects = {**report.report["rejects"], "file": made.file, "sheets": sheets}
    rejects |= {"undelivered": made.undelivered} if made.undelivered else {}
    code = MachineError.exit_code if made.undelivered and report.outcome in _LOADED else report.exit_code
    return replace(report, report={**report.report, "rejects": rejects}, exit_code=code)


def _record(dsn: Dsn, runs: Sequence[str], file: str) -> None:
    """Record where the rejects of runs are; without that, the same command again would write them once more."""
    try:
        with Session(dsn) as session:
            record_rejects_file(session, runs, file)
    except DatabaseError:
        return
