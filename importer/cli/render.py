"""Renders reports, runs and inspections on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from importer.report.notes import Note, note_text

if TYPE_CHECKING:
    from rich.console import Console

    from importer.inspection import Inspection
    from importer.report.model import Report


def output() -> Console:
    """Return a console on standard output; wide if it is not a terminal, so that lines of a log do not wrap."""
    import sys

    from rich.console import Console

    class Output(Console):
        """A console that leaves it to the command what it means that nobody reads; rich would exit with code 1."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Output() if sys.stdout is not None and sys.stdout.isatty() else Output(width=160)


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
    if report.columns:
        _print_columns(report, console, verbose=verbose)
    _print_rules(report, console, verbose=verbose)
    if verbose:
        stages = " · ".join(f"{stage} {seconds:.2f}s" for stage, seconds in report.timings.items())
        speed = report.stats["records_per_second"]
        text = f"{stages}\n{report.duration:.2f} s in all, {speed:,.0f} rows/s"
        console.print(text, highlight=False, style="dim", soft_wrap=True)
        if report.reading:
            console.print(describe_reading(report.reading), highlight=False, style="dim", soft_wrap=True)
    # A note on a column of mixed kinds is the only word on what became of its type.
    notes = sorted(report.notes, key=lambda note: not isinstance(note, Note))
    first = max(_FEW_NOTES, sum(isinstance(note, Note) for note in notes))
    for note in notes if verbose else notes[:first]:
        console.print(f"note: {note_text(note)}", highlight=False, markup=False, soft_wrap=True)
    if not verbose and len(notes) > first:
        console.print(f"{count(len(notes) - first, 'more note')} (--verbose)", highlight=False, style="dim")


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: `1 row`, `2 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _print_already(report: Report, console: Console) -> None:
    console.print(f"{report.workbook['name']} · {report.sheet}", markup=False, highlight=False)
    console.print(report.outcome_line, style="bold green", markup=False, highlight=False)
    for note in report.notes:
        console.print(note_text(note), markup=False, highlight=False, soft_wrap=True)


def _print_outcome(report: Report, console: Console) -> None:
    console.print(
        report.outcome_line,
        style="bold green" if not report.error_count else "bold yellow",
        markup=False,
        highlight=False,
    )
    for line in _next_steps(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{report.workbook['name']} · {report.sheet} · {describe_table(report.table)}",
        markup=False,
        highlight=False,
    )
    moved = ", ".join(f"{n:,} {what}" for what, n in report.table_rows.items() if n or what in _ALWAYS_SHOWN)
    if report.target.get("mode") in {"upsert", "replace"} and moved:
        console.print(f"rows of the table: {moved}", markup=False, highlight=False)


def _next_steps(report: Report) -> list[str]:
    """Return where the rejects are and how to load them."""
    lines = [f"rejects: {report.rejects_file}"] if report.rejects_file else []
    if report.mend_command and report.outcome == "published":
        lines.append(f"fix the marked cells, then: {report.mend_command}")
    return lines


#: Notes and reasons that are printed without --verbose.
_FEW_NOTES, _FEW_REASONS = 6, 5
#: Counts that are printed even if they are 0.
_ALWAYS_SHOWN = ("inserted", "updated", "unchanged")


#: Counts of the cells of a column, and their titles.
_COUNTS = {
    "cells": "cells", "loaded": "= loaded", "missing": "+ missing", "ignored": "+ ignored", "rejected": "+ rejected",
}  # fmt: skip


def _print_columns(report: Report, console: Console, *, verbose: bool) -> None:
    from rich.table import Table

    table = Table("", "column", "type", box=None, padding=(0, 1), header_style="bold")
    # What no column has is not shown.
    counted = [n for n in _COUNTS if n in {"cells", "loaded"} or any(getattr(c.count, n) for c in report.columns)]
    for name in counted:
        table.add_column(_COUNTS[name], justify="right")
    shown = report.columns if verbose or len(report.columns) <= 24 else report.columns[:24]  # noqa: PLR2004 - one screen
    for column in shown:
        numbers = [getattr(column.count, name) for name in counted]
        table.add_row(column.letter, safe(column.name), column.type or "-", *(f"{n:,}" for n in numbers))
    if len(report.columns) > len(shown):
        table.add_row("…", f"{count(len(report.columns) - len(shown), 'more column')} (--verbose)")
    total = [sum(getattr(c.count, name) for c in report.columns) for name in counted]
    table.add_row("", "all", "", *(f"{n:,}" for n in total), style="bold")
    console.print(table)


def _print_rules(report: Report, console: Console, *, verbose: bool) -> None:
    if not report.rules:
        return
    from rich.table import Table

    table = Table("rejects by rule", box=None, padding=(0, 1), header_style="bold")
    table.add_column("errors", justify="right")
    table.add_column("first at")
    for rule in report.rules[:20]:
        table.add_row(safe(rule.key), f"{rule.count:,}", safe(rule.example))
    console.print(table)
    for group in report.reasons if verbose else report.reasons[:_FEW_REASONS]:
        text = "".join(c if c.isprintable() else " " for c in group.describe())
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def describe_reading(reading: dict[str, Any]) -> str:
    """Describe what read the cells, for people."""
    if reading.get("engine") == "polars":  # a file of texts
        return f"cells read: {reading['decoded']:,} decoded directly, all compared with what polars reads"
    found = f"cells read: {reading['decoded']:,} decoded directly, {reading['by_engine']:,} by the engine (calamine)"
    return found + (f", {reading['judged']:,} by both, to check the decoder" if reading["judged"] else "")


def describe_header(first: int, last: int) -> str:
    """Describe where the header is, for people."""
    if not last:
        return "no header row"
    return f"header row {last}" if first == last else f"header rows {first}-{last}"


def describe_table(table: dict[str, Any]) -> str:
    """Describe where the table is, for people: `table: A3:H205, header rows 3-4, footer rows 207-209 left out: totals`.

    Args:
        table: what `SheetSource.table_to_dict` returns.
    """
    words = [f"table: {table['range']}"] if table["range"] else []
    words.append(describe_header(*table["header_rows"]))
    out = [each for each in table["footer"] if each["left_out"]]
    if out:
        rows, reasons = [each["row"] for each in out], sorted({each["reason"] for each in out}, reverse=True)
        together = f"rows {rows[0]}-{rows[-1]}" if rows[-1] - rows[0] == len(rows) - 1 else f"{len(rows)} rows"
        words.append(f"{f'row {rows[0]}' if len(rows) == 1 else together} left out: {' and '.join(reasons)}")
    if table["other_tables"]:
        words.append(f"not read: {', '.join(table['other_tables'])}, of another table")
    return ", ".join(words)


def safe(text: str) -> str:
    """Return text from a workbook with console markup escaped and control characters as spaces."""
    from rich.markup import escape

    return escape(_printable(text))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def print_runs(runs: list[dict[str, Any]], left: list[dict[str, Any]], console: Console, more: int = 0) -> None:
    """Print runs as a table, how many more the ledger has, and the staging tables that dead ones left."""
    from rich.table import Table

    table = Table("run", "state", "workbook", "sheet", "target", "mode", box=None, padding=(0, 1), header_style="bold")
    table.add_column("rows", justify="right")
    for title in ("started", "by"):
        table.add_column(title)
    for run in runs:
        rows = run["counts"].get("success_count")
        table.add_row(
            run["id"][:8], run["state"], safe(run["workbook"]), safe(run["sheet"]),
            safe(f"{run['target_schema']}.{run['target_table']}"), run["mode"],
            "-" if rows is None else f"{rows:,}", run["started_at"][:19], safe(run["role"]),
        )  # fmt: skip
    console.print(table if runs else "no runs yet")
    if more > 0:
        console.print(f"{count(more, 'older run')} (--newest 0 lists all)", highlight=False)
    if left:
        size = sum(each["bytes"] for each in left) / 1e6
        console.print(
            f"left behind: {len(left)} staging tables of runs that did not finish, {size:,.1f} MB; run them again to "
            "finish them, or: importer runs clean",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def print_run(run: dict[str, Any], console: Console) -> None:
    """Print everything the ledger holds about a run."""
    for name, value in run.items():
        if name not in {"chunks", "plan", "counts"} and value is not None:
            console.print(f"{name:<16}{value}", highlight=False, markup=False, soft_wrap=True)
    for name in ("plan", "counts"):
        for key, value in run[name].items():
            if key != "options" and value is not None:
                console.print(f"{key:<16}{value}", highlight=False, markup=False, soft_wrap=True)
    rows = sum(chunk["rows"] for chunk in run["chunks"])
    console.print(f"{'chunks written':<16}{len(run['chunks'])}, {rows:,} rows", highlight=False, markup=False)


def print_written_rejects(written: dict[str, Any], console: Console) -> None:
    """Print what `write_kept_rejects` wrote, and the command that loads it once its cells are fixed."""
    lines = [f"{written['rows']:,} rejected rows of run {written['run']}", f"rejects: {written['file']}"]
    lines += [f"fix the marked cells, then: {written['command']}"] if written["command"] else []
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


#: How many columns of a sheet an inspection shows without --verbose.
_MOST_COLUMNS = 60


def print_inspection(found: Inspection, console: Console, *, verbose: bool = False) -> None:
    """Print an inspection as a few short tables."""
    shown = found.to_dict()
    sheets = ", ".join(
        s["name"] + ("" if s["visibility"] == "visible" else f" ({s['visibility']})") for s in shown["sheets"]
    )
    console.print(f"{shown['workbook']['name']} · sheets: {sheets}", markup=False, highlight=False)
    header = describe_table(shown["table"])
    rows = f"{shown['rows']['data']:,} data rows"
    console.print(f"{shown['sheet']} · {header} · {rows}", style="bold", markup=False, highlight=False)
    _print_sheet_columns(shown["columns"][: None if verbose else _MOST_COLUMNS], console)
    if verbose:
        console.print(describe_reading(shown["reading"]), markup=False, highlight=False)
    _print_pieces("Excel tables (--excel-table)", shown["excel_tables"], console)
    _print_pieces("names (--range)", shown["defined_names"], console)
    for address, kind, raw in found.problems:
        console.print(f"problem: {address} {kind}: {raw}", markup=False, highlight=False)
    for note in shown["notes"]:
        console.print(f"note: {note}", markup=False, highlight=False)


def _print_sheet_columns(columns: list[dict[str, Any]], console: Console) -> None:
    from rich.table import Table

    table = Table(
        "", "header", "column", "type", "cells", "kinds", "first value", box=None, padding=(0, 1), header_style="bold"
    )
    for column in columns:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in column["kinds"].items())
        value = column["first_value"] or ""
        table.add_row(
            column["letter"], safe(column["header"] or "-")[:40], column["name"], column["type"] or "-",
            f"{column['cells']:,}",
            kinds or "empty", safe(value if len(value) <= 32 else value[:31] + "…"),  # noqa: PLR2004 - one line
        )  # fmt: skip
    console.print(table)


def _print_pieces(title: str, pieces: list[dict[str, Any]], console: Console) -> None:
    """Print in one line what of a workbook has a name, if anything has."""
    if pieces:
        listed = ", ".join(f"{_printable(p['name'])} ({_printable(p['sheet'])}!{p['range']})" for p in pieces)
        console.print(f"{title}: {listed}", markup=False, highlight=False)
