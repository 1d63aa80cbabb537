"""Places the rejects file of a run, and restores an older file if the run publishes nothing."""

from __future__ import annotations

import contextlib
import importlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from importer.errors import BudgetExceeded, CommitUnknown
from importer.excel.rejects_origin import original_stem
from importer.runtime.stage import Stage

from .bad_cells import write_bad_cells

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.reading.sheet_source import SheetSource
    from importer.runtime.progress import Clock
    from importer.settings import Settings

    from .model import Report
    from .rejects_workbook import Rejects


def rejects_path(settings: Settings, source: SheetSource, rejects: Rejects) -> Path | None:
    """Return the path of the rejects file; None if there are no rejects."""
    if not len(rejects):
        return None
    return settings.rejects or _unused_path(Path.cwd() / f"{original_stem(source.workbook.path.stem)}.rejects.xlsx")


def preload_xlsxwriter(report: Report) -> None:
    """Import xlsxwriter (70 ms) in a thread if it is needed, while the rows are loaded."""
    if report.rejects_file and report.rejects_file.endswith(".xlsx"):
        threading.Thread(target=importlib.import_module, args=("xlsxwriter",), daemon=True).start()


@contextlib.contextmanager
def replace_rejects_file(rejects: Rejects, report: Report, clock: Clock) -> Iterator[None]:
    """Write the rejects file before anything is published; if the block fails, restore the old file.

    A run over its budget keeps the new file, which lists the rows to fix. The list of bad cells, if one is wanted, is
    written and removed with the file.
    """
    if report.rejects_file is None:
        yield
        return
    listed = Path(report.bad_cells_file) if report.bad_cells_file else None
    path = Path(report.rejects_file)
    old = path.with_name(f"{path.name}.old")
    if path.is_file():
        path.replace(old)
    try:
        with clock.stage(Stage.REJECTS):
            rejects.write(path, rejects.sheet or report.sheet)
            if listed:
                write_bad_cells(rejects, listed)
        yield
    except BudgetExceeded:
        old.unlink(missing_ok=True)
        raise
    except CommitUnknown:
        raise  # keep both files
    except BaseException:
        for new in (path, listed):
            if new and new.is_file():
                new.unlink()
        if old.is_file():
            old.replace(path)
        raise
    old.unlink(missing_ok=True)


def _unused_path(path: Path) -> Path:
    """Return `path`, or with a number if it exists: the user may be fixing the earlier file."""
    number = 2
    free = path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free
