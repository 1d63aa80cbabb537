"""Puts an Excel workbook into a PostgreSQL table, fast, and accounts for every cell.

`import_workbook` is what the command line calls. Nothing heavy is imported until it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import BudgetExceeded, DatabaseError, ImporterError, InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .clock import Progress
    from .report import Report
    from .settings import ErrorCells, HiddenPolicy, Limits, Method, Mode, OnDuplicate

__version__ = "0.1.0"
__all__ = [
    "BudgetExceeded",
    "DatabaseError",
    "ImporterError",
    "InputError",
    "UsageError",
    "__version__",
    "import_workbook",
]


def import_workbook(
    workbook: str | Path,
    *,
    to: str | None = None,
    table: str | None = None,
    mode: Mode = "append",
    key: Sequence[str] | None = None,
    on_duplicate: OnDuplicate = "reject",
    lineage: bool = False,
    timeline: str | Path | None = None,
    sheet: str | None = None,
    header_row: int | str | None = None,
    contract: str | Path | None = None,
    columns: Sequence[str] | None = None,
    keep_names: bool = False,
    hidden: HiddenPolicy = "include",
    error_cells: ErrorCells = "reject",
    timezone: str = "UTC",
    rejects: str | Path | None = None,
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
    progress: Progress | None = None,
) -> Report:
    """Load one sheet of a workbook into a PostgreSQL table, all of it or nothing.

    Args:
        workbook: path of an `.xlsx` or `.xlsm` file.
        to: connection string; None: IMPORTER_DSN, DATABASE_URL, libpq's variables, else the embedded server.
        table: `table` or `schema.table`; None: the contract's, else made of the workbook's name.
        mode: `append` (creates a missing table), `create`, `replace`, `upsert`.
        key: columns by which an upsert recognises a row; None: the contract's or the table's primary key.
        on_duplicate: of rows with the same primary key in the sheet, load the first and `reject` the others, or load
            the `first` or `last` and leave the others out.
        timeline: where a picture of what each process did when goes (`.svg`, `.html`); None: nowhere.
        lineage: fill columns `_source_file`, `_source_sheet`, `_source_row` and `_run_id`.
        sheet: name; None: the first visible worksheet.
        header_row: 1-based row, or a range such as `"2-4"`; 0: no header; None: found.
        contract: path of a Table Schema descriptor (JSON, YAML, TOML).
        columns: header texts, names or letters of the columns to load; None: all.
        keep_names: take header texts as column names as they are.
        hidden: what to do with hidden rows and columns.
        error_cells: `reject` rows with error cells, or load them as `null`.
        timezone: what dates and times without a zone mean for `timestamptz`.
        rejects: where rejected rows go (`.xlsx`, `.csv`, `.parquet`); None: an `.xlsx` in the current folder.
        max_rejects: budget, a number of rows or `"1%"`; None: no limit.
        method: `batch` (parallel COPY), `concurrent`, `sequential`.
        workers: processes; None: one a core; 0: everything in this process, without limits.
        chunk_rows: most rows of a chunk; None: by size.
        temp_dir: where the spool goes; None: the system's.
        again: load once more what was imported already.
        retry_for: seconds that trouble with the server may last; 0: no second try.
        timeout: seconds for the whole run; None: no limit.
        limits: what the workbook may cost.
        dry_run: do everything, roll it back, leave no trace.
        progress: is told of stages and rows.

    Returns:
        The report; its `error_count` says how many rows were rejected.

    Raises:
        UsageError: arguments that cannot be meant.
        InputError: the workbook or the contract is refused.
        DatabaseError: the server is not reachable, or refuses.
        BudgetExceeded: more rejects than `max_rejects`; its `report` tells which.
    """
    from pathlib import Path as P  # noqa: N817 - the name is taken by the type import

    from .pipeline import run
    from .settings import Limits as L  # noqa: N817
    from .settings import RejectBudget, Settings, find_dsn, parse_header_rows

    options: dict[str, Any] = {} if workers is None else {"workers": workers}
    settings = Settings(
        workbook=P(workbook),
        sheet=sheet,
        header_rows=None if header_row is None else parse_header_rows(str(header_row)),
        contract=P(contract) if contract else None,
        columns=tuple(columns) if columns else None,
        keep_names=keep_names,
        hidden=hidden,
        error_cells=error_cells,
        timezone=timezone,
        dsn=find_dsn(to),
        table=table,
        mode=mode,
        key=tuple(key or ()),
        on_duplicate=on_duplicate,
        lineage=lineage,
        timeline=P(timeline) if timeline else None,
        method=method,
        chunk_rows=chunk_rows,
        rejects=P(rejects) if rejects else None,
        max_rejects=None if max_rejects is None else RejectBudget.parse(str(max_rejects)),
        temp_dir=P(temp_dir) if temp_dir else None,
        again=again,
        retry_for=retry_for,
        timeout=timeout,
        limits=limits or L(),
        **options,
    )
    return run(settings, progress, dry_run=dry_run)
