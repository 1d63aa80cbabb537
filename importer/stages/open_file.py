"""Opens a file whatever its format: a workbook, a text file, or a workbook of another format, converted in a worker."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from importer.errors import ImporterError, MachineError, ReaderDied, ReaderKilled
from importer.excel.addresses import MAX_COLUMNS
from importer.excel.sniff import check_magic
from importer.excel.workbook import Workbook, find_format, hash_file, open_workbook

from .tasks import convert_sheet
from .workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from importer.conversion.model import ConvertTask, OtherFormat
    from importer.settings import Limits, Settings
    from importer.workers.pool import Pool
    from importer.workers.task_result import Death

#: The pool and the spool folder of a run.
Place = tuple["Path", "Pool"]


def open_file(settings: Settings, place: Place | None, until: contextlib.ExitStack | None = None) -> Workbook:
    """Open the file that the settings name.

    Args:
        settings: settings of the run.
        place: the spool folder and the workers; None: what needs them gets its own.
        until: keeps what is made for that until it ends; None: the cells are not kept.

    Raises:
        InputError: the file is refused.
    """
    workbook = _open(settings, place, until)
    source = settings.source
    if source is None:
        return workbook
    if source.sha256 != workbook.sha256:
        raise MachineError("the copy of the source was changed", place=str(workbook.path), choice="run again")
    return replace(workbook, address=str(source.url))


def _open(settings: Settings, place: Place | None, until: contextlib.ExitStack | None) -> Workbook:
    path, limits = settings.workbook, settings.limits
    form = check_magic(path)
    if form == "text":
        from importer.delimited.open_text import open_text

        return open_text(path, settings.encoding, settings.delimiter, _most_columns(settings))
    other: OtherFormat | None = "xls" if form == "xls" else find_format(path, limits)
    if other is None:
        return open_workbook(path, limits)
    # What reads other formats is imported for them alone: a small workbook's run lasts less than a second.
    from importer.conversion.open_book import require_libraries

    require_libraries(path, other)
    with contextlib.ExitStack() as own:
        folder, pool = place or (until or own).enter_context(open_workspace(settings))
        return _convert(settings, other, folder, pool)


def reader_error(who: str, how: Death, path: Path, limits: Limits) -> ImporterError:
    """Return the error for a worker that failed while it read: of the workbook, unless others killed it."""
    if how.by_others:
        choice = "nothing was loaded; run again, with fewer --workers if the machine is short of memory"
        return ReaderKilled(f"{who} {how}", place=str(path), choice=choice)
    allowed = f"{limits.memory_bytes >> 20:,} MiB (--memory) and {limits.task_seconds:g} s"
    return ReaderDied(f"{who} {how}", place=str(path), choice=f"nothing was loaded; a worker may use {allowed}")


def _most_columns(settings: Settings) -> int:
    """Return the most columns of the sheet, which need not be a table's if only a piece of it is read."""
    return settings.limits.columns if settings.range is None and settings.excel_table is None else MAX_COLUMNS


def _convert(settings: Settings, form: OtherFormat, folder: Path, pool: Pool) -> Workbook:
    """Return the workbook, whose cells are in a package in `folder` that a worker writes."""
    from importer.conversion.model import ConvertTask

    path, out = settings.workbook, folder / "converted.xlsx"
    digest, size = hash_file(path), path.stat().st_size

    def died(_: ConvertTask, how: Death) -> ImporterError:
        error = reader_error("the process that read the workbook", how, path, settings.limits)
        if not how.by_others:
            error.choice = f"{error.choice}; delete cells far from the others, if there are any, or save it as .xlsx"
        return error

    task = ConvertTask(path, form, out, settings.sheet, settings.limits, _most_columns(settings))
    (converted,) = pool.run(convert_sheet, [task], died, again=True)
    note = f"read as .{form}: by {converted.reader}, and by calamine, which agree in {converted.compared:,} cells"
    if converted.ignored:
        note += f"; it gives no error values and formulas, of which there are {converted.ignored:,}"
    # What was written from a workbook is larger than any zip of it.
    plain = open_workbook(out, replace(settings.limits, ratio_grace_bytes=1 << 62))
    return replace(plain, path=path, sha256=digest, size=size, package=out, notes=(note,))
