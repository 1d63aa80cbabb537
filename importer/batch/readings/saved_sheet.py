"""Saves a sheet that was read, so that another process goes on with it; the file must still be the same one then."""

from __future__ import annotations

import contextlib
import pickle
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from importer.excel.workbook import Sheet, Workbook
    from importer.reading.sheet_source import SheetSource

#: File of all that is known of the sheet besides its frames.
_SOURCE = "sheet.pickle"


def save_sheet(source: SheetSource, folder: Path, most_bytes: int) -> int:
    """Move the frames of a sheet to a new folder, if they have few enough bytes; return how many were saved, or 0.

    Args:
        source: the sheet; its frames are where they were only if nothing was saved.
        folder: where to save it, on the disk of the frames; only processes of this command write there.
        most_bytes: most bytes to save.
    """
    try:
        size = sum(window.path.stat().st_size for window in source.windows)
        if size > most_bytes:
            return 0
        folder.mkdir(mode=0o700)
        windows = tuple(
            window._replace(path=window.path.rename(folder / window.path.name)) for window in source.windows
        )
        written = pickle.dumps(replace(source, windows=windows), pickle.HIGHEST_PROTOCOL)
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
        source: SheetSource = pickle.loads((folder / _SOURCE).read_bytes())  # noqa: S301 - written by our own process
        if _content(source.workbook) == _content(workbook) and source.sheet == sheet:
            return replace(source, workbook=workbook, sheet=sheet)
    return None


def _content(workbook: Workbook) -> tuple[object, ...]:
    return workbook.sha256, workbook.size, workbook.piece, workbook.dialect
