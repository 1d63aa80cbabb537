"""Defines the run report: what was read, where every cell went, how long it took; as JSON and as terminal text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .notes import Note, note_text
from .rerun_command import mend_command

if TYPE_CHECKING:
    import polars as pl

    from importer.report.rejects.workbook import Rejects
    from importer.validation.error_groups import ErrorGroup
    from importer.validation.tasks import ColumnCount


#: Outcomes of a run that published nothing.
_NOTHING_PUBLISHED = ("over-budget", "already-imported")


@dataclass(frozen=True)
class ColumnReport:
    """One column of the sheet and what became of it."""

    letter: str
    header: str | None
    name: str
    kinds: dict[str, int]
    type: str | None
    count: ColumnCount

    def to_dict(self) -> dict[str, Any]:
        """Return the column as in the JSON report."""
        shown = {
            "letter": self.letter,
            "header": self.header,
            "name": self.name,
            "kinds": self.kinds,
            "type": self.type,
        }
        return shown | dict(self.count.__dict__)


@dataclass(frozen=True)
class RuleReport:
    """One broken rule: how often it was broken, and where first."""

    key: str
    count: int
    example: str

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as in the JSON report."""
        column, _, rule = self.key.rpartition("|")
        return {"key": self.key, "column": column, "rule": rule, "count": self.count, "example": self.example}


@dataclass(frozen=True)
class Report:
    """The result of a run.

    Attributes:
        outcome: `published`, `checked` (a dry run), `over-budget` or `already-imported` (nothing was done).
        workbook: name, path, sha256, size in bytes.
        sheet: name of the sheet that was read.
        header_rows: first and last row of the header, 1-based; (0, 0) without one.
        target: schema, table, mode, whether the table is new, server version.
        method: method name, number of workers, number of chunks.
        reading: what read the cells: `engine` is the setting (`polars` for a file of texts), `decoded` the number of
            cells decoded by us, `by_engine` of those that the engine read, `judged` of those that it read as well;
            empty if nothing was read.
        columns: columns of the sheet, left to right.
        total_records: number of data rows.
        error_count: number of rejected rows among them.
        rows: counts of other rows (`blank`, `hidden`, `above_header`) and of `superseded` data rows; the dict has
            `unpublished` besides, with which `success_count` and `error_count` are all.
        rules: broken rules, the most frequent first.
        rejects_file: path of the rejects file; None without one, or as long as it is not written.
        undelivered: why the rejects are not at the address that was given, and where they are; None if they are there.
        timings: seconds by stage.
        duration: seconds of the whole run.
        notes: remarks on anything a careful reader should know; `note_text` renders them.
        table_rows: counts of the target's rows (`inserted`, `updated`, `unchanged`, `deleted`), and of the sheet's rows
            that the database refused (`refused`, also among the rejects); empty before publishing.
        table: where the table is in the sheet (see `SheetSource.table_to_dict`); empty if nothing was read.
        run: ledger entry: `id`, `resumed_rows` (written by a run that died), `published_at` (of an earlier run).
        mend_options: options of `mend_command`.
        reasons: the errors by column and reason, the most frequent first; the dict has no values of them.
        rejected: the rejects themselves, which no dict and no file of the report holds; None if this run has none.
    """

    outcome: str
    workbook: dict[str, Any]
    sheet: str
    header_rows: tuple[int, int]
    target: dict[str, Any]
    method: dict[str, Any]
    columns: tuple[ColumnReport, ...]
    total_records: int
    error_count: int
    rows: dict[str, int]
    rules: tuple[RuleReport, ...]
    rejects_file: str | None
    timings: dict[str, float]
    duration: float
    notes: tuple[Note | str, ...] = field(default=())
    table_rows: dict[str, int] = field(default_factory=dict)
    mend_options: tuple[str, ...] = ()
    reasons: tuple[ErrorGroup, ...] = ()
    run: dict[str, Any] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)
    rejected: Rejects | None = field(default=None, repr=False, compare=False)
    undelivered: str | None = None

    def __str__(self) -> str:
        """Return the two sentences that matter: what was loaded, and where the rest is."""
        return "\n".join([self.outcome_line, *([f"rejects: {self.rejects_file}"] if self.rejects_file else [])])

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it."""
        from .html import html_table

        titles = ["", "column", "type", "cells", "loaded", "missing", "ignored", "rejected"]
        rows = [
            [c.letter, c.name, c.type or "-", *(f"{getattr(c.count, n):,}" for n in titles[3:])] for c in self.columns
        ]
        return html_table(str(self), titles, rows, [note_text(note) for note in self.notes])

    def rejects(self) -> pl.DataFrame:
        """Return the rejected rows as they were in the sheet.

        Returns:
            `_row` (sheet row), `_errors` (all reasons), and a column of texts for each column of the sheet, under its
            header text; no columns if nothing was rejected, or another run had done the import.
        """
        import polars as pl

        return pl.DataFrame() if self.rejected is None else self.rejected.to_frame()

    @property
    def outcome_line(self) -> str:
        """What was loaded, in a sentence."""
        place = f"{self.target['schema']}.{self.target['table']}" if self.target else "no table"
        if self.outcome == "already-imported":
            return f"nothing to do for {place}"
        words = {"published": "loaded into", "checked": "would load into", "over-budget": "NOT loaded into"}
        left_out = self.rows.get("superseded", 0)
        good = self.total_records - self.error_count - left_out
        return (
            f"{good:,} of {self.total_records:,} rows {words.get(self.outcome, self.outcome)} {place}, "
            f"{self.error_count:,} rejected" + (f", {left_out:,} left out" if left_out else "")
        )

    @property
    def success_count(self) -> int:
        """The number of rows that were loaded (or would be, in a dry run) or superseded; 0 if none was published."""
        return self.total_records - self.error_count - self.unpublished

    @property
    def unpublished(self) -> int:
        """The number of good rows that this run did not publish: it was over its budget, or another run had done it."""
        published = self.outcome not in _NOTHING_PUBLISHED
        return 0 if published else self.total_records - self.error_count

    @property
    def mend_command(self) -> str | None:
        """The command that loads the rejects workbook once its cells are fixed, or None."""
        return mend_command(self.rejects_file, self.mend_options)

    @property
    def stats(self) -> dict[str, Any]:
        """The main numbers under the names that scripts look for; `duration` in seconds."""
        return {
            "total_records": self.total_records,
            "success_count": self.success_count,
            "error_count": self.error_count,
            "duration": round(self.duration, 4),
            "records_per_second": round(self.total_records / self.duration, 1) if self.duration else 0.0,
        }

    @property
    def ledger_counts(self) -> dict[str, Any]:
        """What the ledger keeps of a published run: counts of rows, and the name of the rejects file."""
        counts = {k: v for k, v in self.stats.items() if k.endswith(("count", "records"))}
        return {**counts, "rejects_file": self.rejects_file, **self.table_rows}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as the dict that `--json` prints."""
        from importer.version import __version__

        return {
            "outcome": self.outcome,
            "version": __version__,
            "run": self.run,
            "workbook": self.workbook,
            "sheet": self.sheet,
            "header_row": self.header_rows[1],
            "header_rows": list(self.header_rows),
            "table": self.table,
            "target": self.target,
            "method": self.method,
            "reading": self.reading,
            "columns": [c.to_dict() for c in self.columns],
            "rows": self.rows | {"unpublished": self.unpublished},
            "table_rows": self.table_rows,
            "stats": self.stats,
            "rejects": {
                "rows": self.error_count,
                "by_rule": [r.to_dict() for r in self.rules],
                "reasons": [{"cells": g.cells, "count": g.count, "reason": g.reason} for g in self.reasons],
                "file": self.rejects_file,
                **({"undelivered": self.undelivered} if self.undelivered else {}),
                "command": self.mend_command if self.outcome == "published" else None,
            },
            "timings": {stage: round(seconds, 4) for stage, seconds in self.timings.items()},
            "notes": [note_text(note) for note in self.notes],
        }
