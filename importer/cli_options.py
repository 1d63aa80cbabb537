"""Owns the options of the command line: their names, what they take, and what their help says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def stacked(options: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Several options as one decorator, shown in the order given."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


workbook_argument = click.argument("workbook", type=click.Path(path_type=str))
sheet_options = stacked([
    click.option("--sheet", metavar="NAME", help="Sheet to read.  [default: the first visible worksheet]"),
    click.option("--header-row", metavar="N|N-M", help="Header row, or rows; 0: none.  [default: found]"),
    click.option("--columns", metavar="A,B,…", help="Columns to take, by header, name or letter; the others are ignored."),
    click.option("--keep-names", is_flag=True, help="Take header texts as column names as they are."),
    click.option("--hidden", type=click.Choice(["include", "skip", "error"]), default="include", show_default=True, help="Hidden rows and columns."),
    click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes; 0: none, for debugging.  [default: one a core]"),
    click.option("--memory", type=click.IntRange(64), metavar="MIB", help="Memory that a worker may use.  [default: 2048]"),
    click.option("--temp-dir", type=click.Path(file_okay=False, exists=True), help="Where the spool goes.  [default: the system's]"),
])  # fmt: skip
load_options = stacked([
    click.option("--to", metavar="DSN", help="Target server.  [default: IMPORTER_DSN, DATABASE_URL, PGHOST…, else the embedded one]"),
    click.option("--table", metavar="[SCHEMA.]TABLE", help="Target table.  [default: the contract's, else the workbook's name]"),
    click.option("--mode", type=click.Choice(["append", "create", "replace", "upsert"]), default="append", show_default=True, help="What happens to the table's rows."),
    click.option("--key", metavar="A,B,…", help="Columns by which an upsert knows a row, by header, name or letter.  [default: the primary key]"),
    click.option("--on-duplicate", type=click.Choice(["reject", "first", "last"]), default="reject", show_default=True, help="Rows that repeat a primary or upsert key in the sheet: reject all but the first, or keep the first or last and leave the others out."),
    click.option("--timeline", type=click.Path(dir_okay=False), metavar="FILE", help="Draw what each process did when (.svg, .html)."),
    click.option("--lineage", is_flag=True, help="Fill columns _source_file, _source_sheet, _source_row and _run_id."),
    click.option("--contract", type=click.Path(dir_okay=False), metavar="FILE", help="Table Schema descriptor (JSON, YAML, TOML)."),
    click.option("--error-cells", type=click.Choice(["reject", "null"]), default="reject", show_default=True, help="What #N/A and the like mean."),
    click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Zone of dates and times that go into timestamptz."),
    click.option("--rejects", type=click.Path(dir_okay=False), metavar="FILE", help="Where rejected rows go (.xlsx, .csv, .parquet).  [default: NAME.rejects.xlsx here]"),
    click.option("--max-rejects", metavar="N|N%", help="Publish nothing with more rejected rows than that.  [default: no limit]"),
    click.option("--method", type=click.Choice(["batch", "concurrent", "sequential"]), default="batch", show_default=True, help="How rows are written."),
    click.option("--again", is_flag=True, help="Load once more what was imported already."),
    click.option("--retry-for", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS", help="How long trouble with the server may last."),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Give up after that time; the same command goes on later."),
    click.option("--chunk-rows", type=click.IntRange(1), metavar="N", help="Most rows of a chunk.  [default: by size]"),
])  # fmt: skip
output_options = stacked([
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout, and nothing else there."),
    click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Print all columns and notes."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
])  # fmt: skip
ledger_options = stacked([
    click.option("--to", metavar="DSN", help="Target server, found as by `run`."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, and nothing else there."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
])  # fmt: skip
serve_options = stacked([
    click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen; anything but loopback needs a token."),
    click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, metavar="N", help="Port to listen on; 0: any free one."),
    click.option("--to", metavar="DSN", help="Target server, found as by `run`."),
    click.option("--token", envvar="IMPORTER_TOKEN", metavar="SECRET", help="What callers must know; better given as IMPORTER_TOKEN."),
    click.option("--allow-host", "allow_hosts", multiple=True, metavar="NAME", help="Name by which callers may call the service; repeatable."),
    click.option("--allow-tables", multiple=True, metavar="PATTERN", help="Tables that may be loaded into, as in 'shop.*'; repeatable.  [default: those that the service created]"),
    click.option("--contracts", type=click.Path(file_okay=False, exists=True), metavar="DIR", help="Contracts that callers may choose from."),
    click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Imports at once.  [default: 2]"),
    click.option("--queue", type=click.IntRange(0), metavar="N", help="Uploads that may wait; more are told to come again.  [default: 16]"),
    click.option("--max-upload", type=click.IntRange(1), metavar="MIB", help="Size of a workbook.  [default: 512]"),
    click.option("--max-inflated", type=click.IntRange(1), metavar="MIB", help="Size of a part of it, unzipped.  [default: 8192]"),
    click.option("--max-rows", type=click.IntRange(1), metavar="N", help="Rows of a sheet.  [default: 1048576]"),
    click.option("--max-columns", type=click.IntRange(1, 1600), metavar="N", help="Columns of a sheet.  [default: 1600]"),
    click.option("--memory", type=click.IntRange(64), metavar="MIB", help="Memory that a worker may use.  [default: 2048]"),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="For an import, and for the sending of a workbook.  [default: 900]"),
    click.option("--idle", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="That a sender may be silent.  [default: 30]"),
    click.option("--workers", type=click.IntRange(1), metavar="N", help="Worker processes of one import.  [default: one a core]"),
    click.option("--folder", type=click.Path(file_okay=False), help="Where uploads, rejects and the history lie.  [default: in the data directory]"),
])  # fmt: skip
