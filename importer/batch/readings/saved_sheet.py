"""Saves a sheet that was read, so that another process goes on with it; the file must still be the same one then."""

from __future__ import annotations

import contextlib
import pickle
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from importer.excel.workbook import hash_file

if TYPE_CHECKING:
    from pathlib import Path

    from importer.excel.workbook import Sheet, Workbook
    from importer.reading.sheet_source import SheetSource
    from importer.settings import Settings

#: File of all that is known of the sheet besides its frames.
_SOURCE = "sheet.pickle"


def save_sheet(source: SheetSource, folder: Path, most_bytes: int) -> int:
    """Move the frames of a sheet to a new folder, if they have few enough bytes; return how many were saved, or 0.

    Of a workbook of another format the package that it was converted into goes with them.

    Args:
        source: the sheet; its frames are where they were only if nothing was saved.
        folder: where to save it, on the disk of the frames; only processes of this command write there.
        most_bytes: most bytes to save.
    """
    try:
        package = source.workbook.package
        size = sum(path.stat().st_size for path in (*(w.path for w in source.windows), *([package] if package else [])))
        if size > most_bytes:
            return 0
        folder.mkdir(mode=0o700)
        windows = tuple(
            window._replace(path=window.path.rename(folder / window.path.name)) for window in source.windows
        )
        workbook = source.workbook
        if package is not None:
            workbook = replace(workbook, package=package.rename(folder / package.name))
        written = pickle.dumps(replace(source, workbook=workbook, windows=windows), pickle.HIGHEST_PROTOCOL)
        (folder / _SOURCE).write_bytes(written)
    except OSError:  # such as a full disk: the import reads the sheet again
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    return size + len(written)


def load_sheet(folder: Path, workbook: Workbook, sheet: Sheet) -> SheetSource | None:
    """Return the sheet as it was read, or None if it was not saved or the workbook is another one by now.

    Args:
        folder: where it was saved.
        workbook: the workbook as it was opened for the import, with the hash of what the file holds now.
        sheet: the sheet that the import found in it.
    """
    with contextlib.suppress(OSError):
        source = _saved(folder)
        if _content(source.workbook) == _content(workbook) and source.sheet == sheet:
            return replace(source, workbook=workbook, sheet=sheet)
    return None


def load_converted(folder: Path, settings: Settings) -> tuple[Workbook, Sheet] | None:
    """Return a workbook of another format as it was converted, and its sheet; None if it was not, or is changed.

    Args:
        folder: where its sheet was saved, with the package.
        settings: settings of the import; whatever says what to read is as in those of the survey.
    """
    with contextlib.suppress(OSError):
        source = _saved(folder)
        workbook, path = source.workbook, settings.workbook
        if workbook.package is not None and workbook.package.is_file() and hash_file(path) == workbook.sha256:
            return replace(workbook, path=path), source.sheet
    return None


def _saved(folder: Path) -> SheetSource:
    saved: SheetSource = pickle.loads((folder / _SOURCE).read_bytes())  # noqa: S301 - written by our own process
    return saved


def _content(workbook: Workbook) -> tuple[object, ...]:
    return workbook.sha256, workbook.size, workbook.piece, workbook.dialect
