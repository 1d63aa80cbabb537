"""Owns the rejects file of a run: where it goes, and that an older one survives a run that publishes nothing."""

from __future__ import annotations

import contextlib
import importlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BudgetExceeded
from .origin import original_stem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .clock import Clock
    from .rejects import Rejects
    from .report import Report
    from .settings import Settings
    from .source import Source


def rejects_path(settings: Settings, source: Source, rejects: Rejects) -> Path | None:
    """Where the rejects go; None when there are none."""
    if not len(rejects):
        return None
    return settings.rejects or _free_path(Path.cwd() / f"{original_stem(source.workbook.path.stem)}.rejects.xlsx")


def prepare_rejects(report: Report) -> None:
    """Import what writes a workbook (70 ms) in a thread, while the rows are written."""
    if report.rejects_file and report.rejects_file.endswith(".xlsx"):
        threading.Thread(target=importlib.import_module, args=("xlsxwriter",), daemon=True).start()


@contextlib.contextmanager
def kept_rejects(rejects: Rejects, report: Report, clock: Clock) -> Iterator[None]:
    """The rejects file, written whole before anything is published; when nothing was, the old one comes back.

    A run over its budget keeps the new one: it says which rows to mend.
    """
    if report.rejects_file is None:
        yield
        return
    path = Path(report.rejects_file)
    old = path.with_name(f"{path.name}.old")
    if path.is_file():
        path.replace(old)
    try:
        with clock.stage("rejects"):
            rejects.write(path, rejects.sheet or report.sheet)
        yield
    except BudgetExceeded:
        old.unlink(missing_ok=True)
        raise
    except BaseException as exc:
        if getattr(exc, "unsure", False):
            raise  # published or not, nobody knows yet: both files stay
        if path.is_file():
            path.unlink()
        if old.is_file():
            old.replace(path)
        raise
    old.unlink(missing_ok=True)


def _free_path(path: Path) -> Path:
    """`path`, or the same with a number: an earlier file may be half mended by now."""
    number = 2
    free = path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free
