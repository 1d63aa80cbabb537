"""Loads an Excel workbook into a PostgreSQL table, fast, and accounts for every cell.

`import_workbook` and `import_many` do what `importer run` does, `check_workbook` what `check` does, `inspect_workbook`
and `suggest_contract` what `inspect` and `contract` do. Nothing heavy is imported until one of them is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .batch.api import import_many
from .errors import (
    BudgetExceeded,
    CommitUnknown,
    ConnectionFailed,
    ContractError,
    DatabaseError,
    ImporterError,
    InputError,
    Interrupted,
    MachineError,
    SheetError,
    SourceChanged,
    SourceRefused,
    SourceUnavailable,
    TargetRefused,
    TimedOut,
    UsageError,
    WorkbookRefused,
)
from .version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from importer.api.arguments import Watcher, Workbook
    from importer.inspection import Inspection
    from importer.report.model import Report

    from .settings import DriftPolicy, Engine, ErrorCells, HiddenPolicy, Limits, Method, MixedPolicy, Mode, OnDuplicate
    from .table_options import Footer, Merged
    from .text_options import DateOrder, Decimal

__all__ = [
    "BudgetExceeded", "CommitUnknown", "ConnectionFailed", "ContractError", "DatabaseError", "ImporterError",
    "InputError", "Inspection", "Interrupted", "MachineError", "Report", "SheetError", "SourceChanged", "SourceRefused",
    "SourceUnavailable", "TargetRefused", "TimedOut", "UsageError", "WorkbookRefused", "__version__", "check_workbook",
    "import_many", "import_workbook", "inspect_workbook", "suggest_contract",
]  # fmt: skip


def import_workbook(
    workbook: Workbook,
    *,
    to: str | None = None,
    table: str | None = None,
    mode: Mode = "append",
    key: Sequence[str] | None = None,
    on_duplicate: OnDuplicate = "reject",
    lineage: bool = False,
    timeline: str | Path | None = None,
    sheet: str | None = None,
    range: str | None = None,  # noqa: A002 - the name of the option
    excel_table: str | None = None,
    header_row: int | str | None = None,
    rows: str | None = None,
    last_row: int | None = None,
    until_blank: bool = False,
    footer: Footer | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    merged: Merged = "first",
    contract: str | Path | dict[str, Any] | None = None,
    columns: Sequence[str] | None = None,
    keep_names: bool = False,
    hidden: HiddenPolicy = "include",
    engine: Engine = "builtin",
    error_cells: ErrorCells = "reject",
    types: Mapping[str, str] | str | None = None,
    null: Sequence[str] | None = None,
    mixed: MixedPolicy = "text",
    parse_texts: bool = False,
    date_order: DateOrder | None = None,
    decimal: Decimal | None = None,
    drift: DriftPolicy = "refuse",
    timezone: str = "UTC",
    max_text: int = 32_767,
    rejects: str | Path | None = None,
    bad_cells: str | Path | None = None,
    max_rejects: int | str | None = None,
    method: Method = "batch",
    workers: int | None = None,
    chunk_rows: int | None = None,
    temp_dir: str | Path | None = None,
    again: bool = False,
    retry_for: float = 60.0,
    timeout: float | None = None,
    limits: Limits | None = None,
    dry_run: bool = False,
    progress: Watcher | None = None,
) -> Report:
    """Load one sheet of a workbook into a PostgreSQL table, all of its good rows or none.

    Args:
        workbook: path or address of a workbook or a text file, its bytes, or a file that is open for binary reading.
        to: connection string; None: IMPORTER_DSN, DATABASE_URL, libpq's variables, else the embedded server.
        table: `table` or `schema.table`; None: the contract's, else derived from the workbook's name.
        mode: `append` (creates a missing table), `create`, `replace`, `upsert`.
        key: columns that identify a row in an upsert; None: the contract's or the table's primary key.
        on_duplicate: what to do with sheet rows that share a primary or upsert key: load the first and `reject` the
            others, or load the `first` or `last` and leave the others out.
        lineage: fill columns `_source_file`, `_source_sheet`, `_source_row` and `_run_id`.
        timeline: file for a chart of what each process did when (`.svg`, `.html`), or for the same as a Chrome trace
            (`.json`); None: no chart.
        sheet: sheet name; None: the first visible one with rows.
        range: range of cells to read (`A4:H205`, `Sheet1!A4:H205`), or the defined name of one (`Prices`); the header
            is searched in it, and cells outside count as ignored; None: the whole sheet.
        excel_table: name of an Excel table to read, on any sheet; its header and totals rows are known.
        header_row: 1-based row, or a range such as `"2-4"`; 0: no header; None: detect it.
        rows: first and last data row, such as `"5-205"` or `"5-"`; None: all below the header.
        last_row: last data row; None: the last one that is data.
        until_blank: end the data before the first blank row.
        footer: what to do with totals and remarks below and between the data: `keep` loads them, `skip` leaves them out
            (their cells count as ignored), `error` refuses the sheet; None: leave out those that are certain.
        encoding: encoding of a text file, by a name that Python knows; None: find it.
        delimiter: character between the fields of a text file, or `tab`, `comma`, `semicolon`, `pipe`; None: find it.
        merged: what the cells of a merged range in the data hold besides the `first`: nothing, or (`fill`) its value.
        contract: path or address of a Table Schema descriptor (JSON, YAML, TOML), or the descriptor as a dict.
        columns: header texts, names, letters or ranges of letters (`A-K`) of the columns to load; None: all.
        keep_names: use header texts as column names unchanged.
        hidden: what to do with hidden rows and columns.
        engine: what reads the cells: `builtin`, our own decoder, checked against calamine in samples; or `calamine`.
        error_cells: `reject` rows with error cells, or load them as `null`.
        types: types of columns by header, name or letter: field types of Table Schema (`number`, `date`…) or PostgreSQL
            types (`numeric(12,2)`); as a mapping, or as `"amount=number,day=date"`.
        null: texts that mean a missing value, such as `["n/a", "-"]`.
        mixed: how to load a column whose kinds mix: as `text`, or, where at least 95 % of its cells are of one kind, in
            the type of that kind, with rejects of the others (`reject`).
        parse_texts: load columns whose texts are all numbers, dates, times or booleans as such, however they are
            written; a column whose texts have two meanings is refused.
        date_order: order of day, month and year (`dmy`, `mdy`, `ymd`) where no text of a column decides.
        decimal: decimal character (`point`, `comma`) where no text of a column decides.
        drift: what to do with columns that the contract or the existing table does not have: `refuse` the sheet,
            `add-columns` to the table, or `ignore-extra` ones.
        timezone: zone assumed for dates and times without one, where the column is `timestamptz`.
        max_text: most characters of a text, unless `maxLength` of its field is larger; longer ones are rejected.
        rejects: file or address for rejected rows (`.xlsx`, `.csv`, `.parquet`); None: an `.xlsx` here.
        bad_cells: file for a list of the first bad cells (JSON), for a program that shows them; None: no list.
        max_rejects: most rejected rows to accept, a number of rows or `"1%"`; None: no limit.
        method: `batch` (parallel COPY), `concurrent`, `sequential`.
        workers: number of worker processes; None: one per core; 0: run everything in this process, without limits.
        chunk_rows: most rows in a chunk; None: chosen by size.
        temp_dir: folder for temporary files (the spool); None: the system's.
        again: load the workbook even if it was imported already.
        retry_for: seconds to keep retrying while the server fails; 0: do not retry.
        timeout: seconds for the whole run; None: no limit.
        limits: upper bounds on the workbook's size and on the memory and time of a worker.
        dry_run: do everything, then roll it back and leave no trace.
        progress: an object with the methods of `runtime.progress.Progress`, or a function that is called with the name
            of the stage, the rows that are done in it, and the rows that are expected (0: not known).

    Returns:
        The report; its `error_count` says how many rows were rejected.

    Raises:
        UsageError: the arguments are invalid or contradict each other.
        InputError: the workbook or the contract is refused.
        DatabaseError: the server cannot be reached, or refused a statement.
        BudgetExceeded: there are more rejects than `max_rejects`; its `report` lists them.
    """
    given = locals()
    options = {name: given[name] for name in _parameters() if name not in {"dry_run", "progress"}}
    from importer.api.arguments import as_path, as_progress
    from importer.api.messages import python_report, python_words

    from .excel.rejects_origin import rejects_in_folder
    from .pipeline import run
    from .settings import make_settings

    named = table or contract
    with as_path(workbook, temp_dir, needs_name=not named) as path, python_words(_parameters()):
        settings = make_settings(path, **rejects_in_folder(options, path))
        return python_report(run(settings, as_progress(progress), dry_run=dry_run), _parameters())


def check_workbook(workbook: Workbook, **options: Any) -> Report:
    """Do everything that `import_workbook` does, then roll it back and leave no trace but the rejects file.

    Args:
        workbook: path or address of a workbook or a text file, its bytes, or a file that is open for binary reading.
        options: see `import_workbook`.

    Returns:
        The report; its outcome is `checked`, or `already-imported`.

    Raises:
        ImporterError: as `import_workbook`.
    """
    return import_workbook(workbook, **{**options, "dry_run": True})


def inspect_workbook(workbook: Workbook, **options: Any) -> Inspection:
    """Read a sheet without a database, and return what it holds: sheets, header, columns, kinds, problems.

    Args:
        workbook: path or address of a workbook or a text file, its bytes, or a file that is open for binary reading.
        options: `sheet`, `range`, `excel_table`, `header_row`, `rows`, `last_row`, `until_blank`, `footer`, `merged`,
            `columns`, `types`, `null`, `mixed`, `parse_texts`, `date_order`, `decimal`, `keep_names`, `hidden`,
            `engine`, `encoding`, `delimiter`, `workers`, `temp_dir` and `limits`, as in `import_workbook`.

    Raises:
        InputError: the workbook, the sheet or the header is refused.
    """
    from importer.api.arguments import as_path
    from importer.api.messages import python_words

    from .inspection import inspect_workbook as inspect

    with as_path(workbook, options.get("temp_dir")) as path, python_words(_parameters()):
        return inspect(path, **options)


def suggest_contract(workbook: Workbook, **options: Any) -> dict[str, Any]:
    """Return the descriptor of the contract that a sheet suggests; `import_workbook` takes it as `contract`.

    Args:
        workbook: path or address of a workbook or a text file, its bytes, or a file that is open for binary reading.
        options: see `inspect_workbook`.

    Raises:
        InputError: the workbook, the sheet or the header is refused.
    """
    from importer.api.arguments import as_path
    from importer.api.messages import python_words

    from .inspection import suggest_contract as suggest

    with as_path(workbook, options.get("temp_dir")) as path, python_words(_parameters()):
        return suggest(path, **options)


def _parameters() -> dict[str, bool]:
    """Return the parameters of `import_workbook`, and whether each is either True or False."""
    defaults = import_workbook.__kwdefaults__ or {}
    return {name: isinstance(default, bool) for name, default in defaults.items()}


def __getattr__(name: str) -> Any:
    """Return a class whose module is not imported with the package, because that takes long."""
    if name == "Report":
        from importer.report.model import Report

        return Report
    if name == "Inspection":
        from .inspection import Inspection

        return Inspection
    raise AttributeError(f"module 'importer' has no attribute {name!r}")
