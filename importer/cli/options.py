"""Defines the options of the command line: names, types and help texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def combine_options(options: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Combine several options into one decorator; help lists them in the order given."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def limits_of(options: dict[str, Any]) -> Any:
    """Return the limits that the options set, and take them out of these."""
    from importer.settings import MIB, Limits

    memory = options.pop("memory")
    return Limits() if memory is None else Limits(memory_bytes=memory * MIB)


def split_lists(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with lists in the place of texts with commas, and `--no-header` as a header row.

    Raises:
        UsageError: a text is not Unicode, or two options contradict each other.
    """
    for name, text in options.items():
        if isinstance(text, str) and any("\ud800" <= c <= "\udfff" for c in text):
            from importer.errors import UsageError

            raise UsageError(f"--{name.replace('_', '-')} is not UTF-8 text", choice="type it in a UTF-8 terminal")
    if options.pop("no_header", False):
        if options.get("header_row") not in {None, "0"}:
            from importer.errors import UsageError

            raise UsageError("--no-header and --header-row contradict each other", choice="give one of them")
        options["header_row"] = "0"
    for name in {"columns", "key", "null"} & set(options):
        text = options[name]
        if not isinstance(text, list):
            options[name] = [c.strip() for c in text.split(",") if c.strip()] if text else None
    return options


workbook_argument = click.argument("workbook", type=click.Path(path_type=str))
workbooks_argument = click.argument("workbooks", nargs=-1, metavar="WORKBOOK…", type=click.Path(path_type=str))
sheet_options = combine_options([
    click.option("--sheet", metavar="NAME", help="Sheet to read.  [default: the first visible one with rows]"),
    click.option("--range", metavar="A4:H205|NAME", help="Piece of the sheet to read: a range of cells, or a defined name (also Sheet1!A4:H205, Sheet1!NAME).  [default: the whole sheet]"),
    click.option("--excel-table", metavar="NAME", help="Excel table (list object) to read, on any sheet."),
    click.option("--header-row", metavar="N|N-M", help="Header row or rows, 1-based; 0 if there is none.  [default: detected]"),
    click.option("--no-header", is_flag=True, help="The table has no header row: the same as --header-row 0."),
    click.option("--rows", metavar="N-M", help="First and last data row; 5-: all from row 5 on.  [default: all below the header]"),
    click.option("--last-row", type=click.IntRange(1), metavar="N", help="Last data row.  [default: the last one that is data]"),
    click.option("--until-blank", is_flag=True, help="End the data before the first blank row."),
    click.option("--footer", type=click.Choice(["keep", "skip", "error"]), help="What to do with totals and remarks below and between the data.  [default: leave out those that are certain, load those that are not]"),
    click.option("--encoding", metavar="NAME", help="Encoding of a text file (CSV, TSV).  [default: detected; refused if unclear]"),
    click.option("--delimiter", metavar="CHAR", help="Character between the fields of a text file, or comma, semicolon, tab, pipe.  [default: detected; refused if unclear]"),
    click.option("--merged", type=click.Choice(["first", "fill"]), default="first", show_default=True, help="What merged cells in the data hold: their value in the first one only, or in each."),
    click.option("--columns", metavar="A,B,…", help="Columns to load, by header, name, letter or range of letters (A-K,M); the others are ignored."),
    click.option("--types", metavar="NAME=TYPE,…", help="Types of columns, by header, name or letter: number, integer, date, string… or a PostgreSQL type such as numeric(12,2); what does not fit is rejected."),
    click.option("--null", metavar="TEXT,…", help="Texts that mean a missing value, such as 'n/a,-'."),
    click.option("--mixed", type=click.Choice(["text", "reject", "ask"]), default="text", show_default=True, help="A column whose kinds mix becomes text; or takes the kind of at least 95 % of its cells, the others are rejected; or is asked about (one workbook only)."),
    click.option("--parse-texts", is_flag=True, help="Load columns whose texts are all numbers, dates, times or booleans as such, however they are written."),
    click.option("--date-order", type=click.Choice(["dmy", "mdy", "ymd"]), help="Order of day, month and year in texts, where no text of a column decides.  [default: refuse such a column]"),
    click.option("--decimal", type=click.Choice(["point", "comma"]), help="Decimal character in texts, where no text of a column decides.  [default: refuse such a column]"),
    click.option("--keep-names", is_flag=True, help="Use header texts as column names unchanged."),
    click.option("--hidden", type=click.Choice(["include", "skip", "error"]), default="include", show_default=True, help="What to do with hidden rows and columns."),
    click.option("--engine", type=click.Choice(["builtin", "calamine"]), default="builtin", show_default=True, help="What reads the cells: importer's own decoder, checked against calamine in samples; or calamine alone."),
    click.option("--workers", type=click.IntRange(0), metavar="N", help="Number of worker processes; 0 runs everything in one process, for debugging.  [default: one per core]"),
    click.option("--memory", type=click.IntRange(64), metavar="MIB", help="Memory that each worker may use.  [default: 2048]"),
    click.option("--temp-dir", type=click.Path(file_okay=False, exists=True), help="Folder for temporary files.  [default: the system's]"),
])  # fmt: skip
sheets_option = click.option("--sheets", metavar="all|A,B|A-B|A*", help="Sheets to read of each workbook: all, names, tabs from A to B, or a pattern; hidden ones only by name.")  # fmt: skip
many_options = combine_options([
    sheets_option,
    click.option("--each", is_flag=True, help="Load every sheet by itself; one that fails does not stop the others.  [default]"),
    click.option("--together", is_flag=True, help="Publish all imports in one transaction, or none; several into one table may also create it, or replace its rows."),
    click.option("--stop-on-error", is_flag=True, help="Begin no further import after one has failed."),
    click.option("--on", metavar="ADDRESS", help="Cluster that runs the imports: dask://HOST:8786, ray://HOST:10001, ray://auto, ray://local.  [default: this machine]"),
    click.option("-f", "--jobs", type=click.Path(dir_okay=False), metavar="FILE", help="Job file: a list of imports in YAML, each with 'source' and the names of these options; or a list file (.txt) with a source on each line. Also at an address; paths are relative to its folder."),
    click.option("--import-spec", metavar="LINE|FILE|-", help="Run the import that a line of `importer plan --json` describes; or those of a file, also at an address, or of standard input (-)."),
])  # fmt: skip
load_options = combine_options([
    click.option("--to", metavar="DSN", help="Target server.  [default: IMPORTER_DSN, DATABASE_URL, PGHOST…, else the embedded one]"),
    click.option("--table", metavar="[SCHEMA.]TABLE", help="Target table; {stem} and {sheet} stand for the names of workbook and sheet.  [default: the contract's, else the workbook's name]"),
    click.option("--mode", type=click.Choice(["append", "create", "replace", "upsert"]), default="append", show_default=True, help="append adds rows, create makes a new table, replace exchanges all rows, upsert inserts or updates rows by key."),
    click.option("--key", metavar="A,B,…", help="Columns that identify a row in an upsert, by header, name or letter.  [default: the primary key]"),
    click.option("--on-duplicate", type=click.Choice(["reject", "first", "last"]), default="reject", show_default=True, help="What to do with sheet rows that share a primary or upsert key: load the first and reject the others, or load the first or last and leave the others out."),
    click.option("--timeline", type=click.Path(dir_okay=False), metavar="FILE", help="Draw a chart of what each process did when (.svg, .html), or write it as a Chrome trace (.json); of one import only."),
    click.option("--lineage", is_flag=True, help="Fill columns _source_file, _source_sheet, _source_row and _run_id."),
    click.option("--contract", type=click.Path(dir_okay=False), metavar="FILE", help="Contract: a Table Schema descriptor (JSON, YAML, TOML), also at an address."),
    click.option("--drift", type=click.Choice(["refuse", "add-columns", "ignore-extra"]), default="refuse", show_default=True, help="What to do with columns that the contract or the table does not have: refuse the sheet, add them to the table, or leave them out."),
    click.option("--error-cells", type=click.Choice(["reject", "null"]), default="reject", show_default=True, help="What to do with error cells such as #N/A: reject their rows, or load NULL."),
    click.option("--max-text", type=click.IntRange(1), default=32_767, show_default=True, metavar="N", help="Reject texts of more characters than this, or than the field's maxLength if that is larger."),
    click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Time zone of dates and times loaded into timestamptz columns."),
    click.option("--rejects", type=click.Path(), metavar="FILE|DIR/", help="File for rejected rows (.xlsx, .csv, .parquet), also at an address; a folder for files named after the workbooks. Of several sheets, a workbook has one for the rejects of each.  [default: WORKBOOK.rejects.xlsx in the current folder; of several, beside each; of watch, in --done]"),
    click.option("--max-rejects", metavar="N|N%", help="Publish nothing if more rows than this are rejected.  [default: no limit]"),
    click.option("--method", type=click.Choice(["batch", "concurrent", "sequential"]), default="batch", show_default=True, help="batch writes with parallel COPY; concurrent and sequential insert row by row, for comparison."),
    click.option("--again", is_flag=True, help="Load the workbook even if it was imported already."),
    click.option("--retry-for", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS", help="How long to keep retrying while the server fails; 0 for no retry."),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Give up after this time; the same command can continue later.  [default: no limit]"),
    click.option("--chunk-rows", type=click.IntRange(1), metavar="N", help="Most rows in a chunk.  [default: chosen by size]"),
])  # fmt: skip
watch_options = combine_options([
    click.option("--done", type=click.Path(file_okay=False), metavar="DIR", help="Where imported workbooks go, with their rejects.  [default: INBOX/done]"),
    click.option("--failed", type=click.Path(file_okay=False), metavar="DIR", help="Where the others go, each with a .error.json.  [default: INBOX/failed]"),
    click.option("--once", is_flag=True, help="End after what is there has been tried, as for cron; the exit code is the worst of all."),
    click.option("--poll", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, metavar="SECONDS", help="Time between two looks; a file that is the same in both has arrived."),
    click.option("-q", "--quiet", is_flag=True, help="Print only the lines of JSON, and errors."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
])  # fmt: skip
report_option = click.option("--report", "report_to", metavar="FILE|ADDRESS", help="Also write the report, as JSON, to a file or an address, even if the run fails.")  # fmt: skip
output_options = combine_options([
    click.option("--json", "as_json", is_flag=True, help="Print only the report, as JSON, on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="Print only errors."),
    click.option("-v", "--verbose", is_flag=True, help="Print all columns and notes."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
])  # fmt: skip
ledger_options = combine_options([
    click.option("--to", metavar="DSN", help="Target server.  [default: as for `run`]"),
    click.option("--json", "as_json", is_flag=True, help="Print only JSON on stdout."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
])  # fmt: skip
serve_options = combine_options([
    click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on; any other than loopback needs a token."),
    click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, metavar="N", help="Port to listen on; 0 takes any free port."),
    click.option("--to", metavar="DSN", help="Target server.  [default: as for `run`]"),
    click.option("--token", envvar="IMPORTER_TOKEN", metavar="SECRET", help="Token that callers must send; safer in the environment variable IMPORTER_TOKEN."),
    click.option("--allow-host", "allow_hosts", multiple=True, metavar="NAME", help="Host name that callers may use for the service; repeatable."),
    click.option("--allow-tables", multiple=True, metavar="PATTERN", help="Tables that callers may load into, such as 'shop.*'; repeatable.  [default: those that the service created]"),
    click.option("--contracts", type=click.Path(file_okay=False, exists=True), metavar="DIR", help="Folder of contracts that callers may choose from."),
    click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Number of imports that run at once.  [default: 2]"),
    click.option("--queue", type=click.IntRange(0), metavar="N", help="Number of uploads that may wait; further ones are asked to try again later.  [default: 16]"),
    click.option("--max-upload", type=click.IntRange(1), metavar="MIB", help="Largest workbook.  [default: 512]"),
    click.option("--max-inflated", type=click.IntRange(1), metavar="MIB", help="Largest part of a workbook, unzipped.  [default: 8192]"),
    click.option("--max-rows", type=click.IntRange(1), metavar="N", help="Most rows in a sheet.  [default: 1048576]"),
    click.option("--max-columns", type=click.IntRange(1, 1600), metavar="N", help="Most columns in a sheet.  [default: 1600]"),
    click.option("--memory", type=click.IntRange(64), metavar="MIB", help="Memory that each worker may use.  [default: 2048]"),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Longest time for an import, and for sending a workbook.  [default: 900]"),
    click.option("--idle", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="How long a sender may pause.  [default: 30]"),
    click.option("--workers", type=click.IntRange(1), metavar="N", help="Worker processes of one import.  [default: one per core]"),
    click.option("--folder", type=click.Path(file_okay=False), help="Folder for uploads, rejects and the history.  [default: in the data directory]"),
])  # fmt: skip
