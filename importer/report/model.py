"""Defines the run report: what was read, where every cell went, how long it took; as JSON and as terminal text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from importer.validation.conservation import ColumnCount


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
        columns: columns of the sheet, left to right.
        total_records: number of data rows.
        error_count: number of rejected rows among them.
        rows: counts of other rows (`blank`, `hidden`, `above_header`) and of `superseded` data rows.
        rules: broken rules, the most frequent first.
        rejects_file: path of the rejects file, or None.
        timings: seconds by stage.
        duration: seconds of the whole run.
        notes: remarks on anything a careful reader should know.
        table_rows: counts of the target's rows (`inserted`, `updated`, `unchanged`, `deleted`), and of the sheet's rows
            that the database refused (`refused`, also among the rejects); empty before publishing.
        run: ledger entry: `id`, `resumed_rows` (written by a run that died), `published_at` (of an earlier run).
        mend_command: command that loads the rejects workbook once its cells are fixed, or None.
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
    notes: tuple[str, ...] = field(default=())
    table_rows: dict[str, int] = field(default_factory=dict)
    mend_command: str | None = None
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def success_count(self) -> int:
        """The number of data rows that were not rejected: loaded (or would be, in a dry run) or superseded."""
        return self.total_records - self.error_count

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

    def to_dict(self) -> dict[str, Any]:
        """Return the report as the dict that `--json` prints."""
        from importer import __version__

        return {
            "outcome": self.outcome,
            "version": __version__,
            "run": self.run,
            "workbook": self.workbook,
            "sheet": self.sheet,
            "header_row": self.header_rows[1],
            "header_rows": list(self.header_rows),
            "target": self.target,
            "method": self.method,
            "columns": [c.to_dict() for c in self.columns],
            "rows": self.rows,
            "table_rows": self.table_rows,
            "stats": self.stats,
            "rejects": {
                "rows": self.error_count,
                "by_rule": [r.to_dict() for r in self.rules],
                "file": self.rejects_file,
                "command": self.mend_command if self.outcome == "published" else None,
            },
            "timings": {stage: round(seconds, 4) for stage, seconds in self.timings.items()},
            "notes": list(self.notes),
        }


def output() -> Console:
    """Return a console on standard output; wide if it is not a terminal, so that lines of a log do not wrap."""
    import sys

    from rich.console import Console

    return Console() if sys.stdout is not None and sys.stdout.isatty() else Console(width=160)


def print_report(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print the report as a few short tables.

    Args:
        report: report of the run.
        console: console to print to.
        verbose: print all notes and all columns, not only the first ones.
    """
    if report.outcome == "already-imported":
        _print_already(report, console)
        return
    _print_outcome(report, console)
    _print_columns(report, console, verbose=verbose)
    _print_rules(report, console)
    stages = " · ".join(f"{stage} {seconds:.2f}s" for stage, seconds in report.timings.items())
    speed = report.stats["records_per_second"]
    console.print(
        f"{stages}\n{report.duration:.2f} s in all, {speed:,.0f} rows/s", highlight=False, style="dim", soft_wrap=True
    )
    for note in report.notes if verbose else report.notes[:6]:
        console.print(f"note: {note}", highlight=False, markup=False)
    if report.rejects_file:
        console.print(f"rejects: {report.rejects_file}", highlight=False, markup=False, soft_wrap=True)
    if report.mend_command and report.outcome == "published":
        console.print(
            f"fix the marked cells, then: {report.mend_command}", highlight=False, markup=False, soft_wrap=True
        )


def _print_already(report: Report, console: Console) -> None:
    target = f"{report.target['schema']}.{report.target['table']}"
    console.print(f"{report.workbook['name']} · {report.sheet}", markup=False, highlight=False)
    console.print(f"nothing to do for {target}", style="bold green", markup=False, highlight=False)
    for note in report.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def _print_outcome(report: Report, console: Console) -> None:
    words = {"published": "loaded into", "checked": "would load into", "over-budget": "NOT loaded into"}
    place = f"{report.target['schema']}.{report.target['table']}" if report.target else "no table"
    console.print(
        f"{report.workbook['name']} · {report.sheet} · {header_words(*report.header_rows)}",
        markup=False,
        highlight=False,
    )
    left_out = report.rows.get("superseded", 0)
    console.print(
        f"{report.success_count - left_out:,} of {report.total_records:,} rows {words[report.outcome]} {place}, "
        f"{report.error_count:,} rejected" + (f", {left_out:,} left out" if left_out else ""),
        style="bold green" if not report.error_count else "bold yellow",
        markup=False,
        highlight=False,
    )
    moved = ", ".join(f"{n:,} {what}" for what, n in report.table_rows.items() if n or what in _ALWAYS_TOLD)
    if report.target.get("mode") in {"upsert", "replace"} and moved:
        console.print(f"rows of the table: {moved}", markup=False, highlight=False)


#: Counts that are printed even if they are 0.
_ALWAYS_TOLD = ("inserted", "updated", "unchanged")


def _print_columns(report: Report, console: Console, *, verbose: bool) -> None:
    from rich.table import Table

    table = Table("", "column", "type", box=None, padding=(0, 1), header_style="bold")
    for title in ("cells", "= loaded", "+ missing", "+ ignored", "+ rejected"):
        table.add_column(title, justify="right")
    shown = report.columns if verbose or len(report.columns) <= 24 else report.columns[:24]  # noqa: PLR2004 - one screen
    for column in shown:
        count = column.count
        numbers = (count.cells, count.loaded, count.missing, count.ignored, count.rejected)
        table.add_row(column.letter, safe(column.name), column.type or "-", *(f"{n:,}" for n in numbers))
    if len(report.columns) > len(shown):
        table.add_row("…", f"{len(report.columns) - len(shown)} more columns (--verbose)")
    total = [
        sum(getattr(c.count, name) for c in report.columns)
        for name in ("cells", "loaded", "missing", "ignored", "rejected")
    ]
    table.add_row("", "all", "", *(f"{n:,}" for n in total), style="bold")
    console.print(table)


def _print_rules(report: Report, console: Console) -> None:
    if not report.rules:
        return
    from rich.table import Table

    table = Table("rejects by rule", box=None, padding=(0, 1), header_style="bold")
    table.add_column("errors", justify="right")
    table.add_column("first at")
    for rule in report.rules[:20]:
        table.add_row(safe(rule.key), f"{rule.count:,}", safe(rule.example))
    console.print(table)


def header_words(first: int, last: int) -> str:
    """Describe where the header is, for people."""
    if not last:
        return "no header row"
    return f"header row {last}" if first == last else f"header rows {first}-{last}"


def safe(text: str) -> str:
    """Return text from a workbook with console markup escaped and control characters as spaces."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else " " for c in text))
