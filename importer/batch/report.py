"""Defines the report on many imports: one line each, the sums, and the exit code of the worst."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from importer.report.packed_json import PackedJson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .import_spec import ImportSpec

#: Exit codes of imports, the worst first: what was stopped; what a retry may mend (4); what only the user can mend
#: (2, 3, 5); rejected rows; done.
WORST_FIRST = (143, 130, 129, 4, 2, 3, 5, 1, 0)
#: Outcome of an import that was not begun, because another one failed or the user stopped.
NOT_STARTED = "not-started"
#: Outcome of an import that could have been published, but another one of its set could not.
NOT_PUBLISHED = "not-published"
_FAILED = ("failed", "over-budget")
#: What the line and the sums are made of.
_AT_HAND = ("stats", "target")


@dataclass(frozen=True)
class ImportReport:
    """What became of one import.

    Attributes:
        source: path of the workbook, as it was given.
        sheet: name of the sheet; None if it was not named and not found out.
        outcome: as in `report.model.Report`, or `failed`, `interrupted`, `not-started` or `not-published`.
        exit_code: what `importer run` exits with for this import; None if it was not begun, or not published because
            another one of its set failed.
        seconds: duration of the import.
        error: `type`, `message`, `place`, `choice` and `exit_code` of the error; None without one.
        report: the run report, as `importer run --json` prints it; empty if there is none.
    """

    source: str
    sheet: str | None
    outcome: str
    exit_code: int | None
    seconds: float = 0.0
    error: dict[str, Any] | None = None
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def total_records(self) -> int:
        """The number of data rows."""
        return int(self._stats.get("total_records", 0))

    @property
    def success_count(self) -> int:
        """The number of rows that were loaded."""
        return int(self._stats.get("success_count", 0))

    @property
    def error_count(self) -> int:
        """The number of rejected rows."""
        return int(self._stats.get("error_count", 0))

    @property
    def rejects_file(self) -> str | None:
        """The path of the rejects file, or None."""
        found = self.report.get("rejects", {}).get("file")
        return None if found is None else str(found)

    @property
    def table(self) -> str | None:
        """The table as `schema.table`, or None if it was not found out."""
        target = self.report.get("target")
        return f"{target['schema']}.{target['table']}" if target else None

    @property
    def label(self) -> str:
        """The source, and the sheet where one is known."""
        return self.source if self.sheet is None else f"{self.source} [{self.sheet}]"

    @property
    def _stats(self) -> Mapping[str, Any]:
        stats: Mapping[str, Any] = self.report.get("stats", {})
        return stats

    def packed(self) -> ImportReport:
        """Return the same report in a fifth of the memory: a command holds those of all its imports to its end."""
        is_packed = isinstance(self.report, PackedJson) or not self.report
        return self if is_packed else replace(self, report=PackedJson(self.report, _AT_HAND))

    def unpacked(self) -> ImportReport:
        """Return the same report with dicts."""
        return replace(self, report=dict(self.report))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as in the JSON of `importer run`, with the source and the exit code."""
        shown: dict[str, Any] = {"source": self.source, "sheet": self.sheet, **self.report, "outcome": self.outcome}
        if self.error is not None:
            shown["error"] = self.error
        return {**shown, "exit_code": self.exit_code, "seconds": round(self.seconds, 4)}

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> ImportReport:
        """Return the report that `vars` made a dict of."""
        return cls(**described)

    def __str__(self) -> str:
        """Return one line: `ok       jan.xlsx: 100 rows -> public.sales (0.05 s)`."""
        return f"{_word(self):<11} {self.label}: {_said(self)}"


def _word(report: ImportReport) -> str:
    words = {"published": "ok", "already-imported": "done before", NOT_STARTED: "not started"}
    words[NOT_PUBLISHED] = "held back"
    if report.outcome == "published" and report.exit_code:
        return "rejects"
    return words.get(report.outcome, report.outcome)


def _said(report: ImportReport) -> str:
    if report.outcome == NOT_STARTED:
        return "not begun"
    if report.outcome == NOT_PUBLISHED:
        return f"{_rows(report.success_count)} not published, because another import of the set failed"
    if report.error is not None:
        choice = report.error.get("choice")
        place = report.error.get("place")
        fact = str(report.error["message"]) + (f" ({place})" if place else "")
        return fact + (f"; {choice}" if choice else "")
    table = f" -> {report.table}" if report.table else ""
    parts = [f"{_rows(report.success_count)}{table}"]
    if report.outcome == "already-imported":
        parts = [f"imported before{table}"]
    if report.error_count:
        file = f" ({report.rejects_file})" if report.rejects_file else ""
        parts.append(f"{report.error_count:,} rejected{file}")
    return f"{', '.join(parts)} in {report.seconds:.2f} s"


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


class RejectsWorkbook(NamedTuple):
    """A workbook with the rejects of several imports.

    Attributes:
        file: its path or address.
        commands: what loads its sheets once their cells are fixed; several where the imports had different options.
    """

    file: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class ManyReport:
    """The result of many imports.

    Attributes:
        reports: one report for each import, in the order of the sources.
        notes: what was left out, and how the types of columns were decided.
        duration: seconds of the whole command.
        stopped_by: number of the signal that stopped it; None if none did.
        workbooks: the workbooks that the rejects of several imports are in.
    """

    reports: tuple[ImportReport, ...]
    notes: tuple[str, ...] = ()
    duration: float = 0.0
    stopped_by: int | None = None
    workbooks: tuple[RejectsWorkbook, ...] = ()

    @property
    def exit_code(self) -> int:
        """The worst exit code of all imports, in the order of `WORST_FIRST`."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        codes = {r.exit_code for r in self.reports if r.exit_code is not None}
        return next((code for code in WORST_FIRST if code in codes), max(codes, default=0))

    @property
    def sums(self) -> dict[str, Any]:
        """Counts of imports by outcome, and the sums of their rows; `duration` in seconds."""
        outcomes = Counter(r.outcome for r in self.reports)
        total = sum(r.total_records for r in self.reports)
        return {
            "imports": len(self.reports),
            "published": outcomes["published"],
            "checked": outcomes["checked"],
            "already_imported": outcomes["already-imported"],
            "failed": sum(outcomes[name] for name in _FAILED),
            "interrupted": outcomes["interrupted"],
            "not_started": outcomes[NOT_STARTED],
            "not_published": outcomes[NOT_PUBLISHED],
            "total_records": total,
            "success_count": sum(r.success_count for r in self.reports if r.outcome != NOT_PUBLISHED),
            "error_count": sum(r.error_count for r in self.reports),
            "duration": round(self.duration, 4),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the dict that `--json` prints."""
        return {**self._head(), "reports": [r.to_dict() for r in self.reports]}

    def _head(self) -> dict[str, Any]:
        outcome = "failed" if self.sums["failed"] else "interrupted" if self.stopped_by else "done"
        rejects = [each._asdict() for each in self.workbooks]
        shown = {"outcome": outcome, "exit_code": self.exit_code, "sums": self.sums}
        return {**shown, "notes": list(self.notes), "rejects": rejects}

    def json_pieces(self) -> Iterator[str]:
        """Yield the text that `--json` prints, one report after the other: as dicts, thousands take much memory."""
        yield _json(self._head()).removesuffix("\n}") + ',\n  "reports": ['
        for number, report in enumerate(self.reports):
            # Not `textwrap.indent`: it takes more than line feeds for ends of lines, also those within texts.
            yield ("," if number else "") + "\n    " + _json(report.to_dict()).replace("\n", "\n    ")
        yield "\n  ]\n}"

    def lines(self, *, only_problems: bool = False) -> Iterator[str]:
        """Yield the report as text: a line for each import (or each that is not simply done), the notes, the sums."""
        yield from (str(r) for r in self.reports if r.exit_code or r.exit_code is None or not only_problems)
        yield from (f"note: {note}" for note in self.notes)
        for workbook in self.workbooks:
            yield f"rejects: {workbook.file}"
            yield from (f"fix the marked cells, then: {command}" for command in workbook.commands)
        sums = self.sums
        words = ("published", "checked", "already_imported", "failed", "interrupted", "not_started", "not_published")
        counted = ", ".join(f"{sums[word]:,} {word.replace('_', ' ')}" for word in words if sums[word])
        yield (
            f"{sums['imports']:,} import{'' if sums['imports'] == 1 else 's'}: {counted}; "
            f"{_rows(sums['success_count'])} loaded, "
            f"{sums['error_count']:,} rejected, in {self.duration:.2f} s"
        )

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def failed_report(spec: ImportSpec, error: dict[str, Any], seconds: float = 0.0) -> ImportReport:
    """Return the report of an import that failed before or outside its run."""
    return ImportReport(spec.shown_source, spec.sheet, "failed", error["exit_code"], seconds, error)


def not_started_report(spec: ImportSpec) -> ImportReport:
    """Return the report of an import that was not begun."""
    return ImportReport(spec.shown_source, spec.sheet, NOT_STARTED, None)


def stopped_report(spec: ImportSpec) -> ImportReport:
    """Return the report of an import that was told to stop, and from which nothing was heard since."""
    message = "told to stop, but its worker has not answered; it may yet be finished"
    error = {"type": "Interrupted", "message": message, "place": None, "choice": "run the same command again"}
    return ImportReport(spec.shown_source, spec.sheet, "interrupted", 130, 0.0, {**error, "exit_code": 130})
