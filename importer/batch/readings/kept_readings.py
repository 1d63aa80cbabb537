"""Owns the folder of the sheets that a command has read and not loaded yet, and bounds what is in it."""

from __future__ import annotations

import contextlib
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.runtime.locked_folder import LockedFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.batch.one_import import ImportTask
    from importer.batch.report import ImportReport
    from importer.batch.survey import SheetSurvey

    #: What is known of a sheet, or the error of its survey.
    Survey = SheetSurvey | dict[str, Any]

#: Most bytes that are kept. 1,000,000 rows x 9 of texts have some 120 MB, by estimate; where the folder is in memory,
#: they are, too.
_MOST_BYTES = 512 << 20
#: Of the bytes that are free on the disk, this part may be used.
_SHARE_OF_FREE = 4


class KeptReadings:
    """The sheets that were read to decide the columns of a new table, until their imports have ended.

    What does not fit, or cannot be written, is read once more by its import. If this process is killed, the next run
    removes the folder, as it does those of killed runs. May be used by several threads.

    Args:
        keeps: whether anything is kept; otherwise every import reads its sheet.
    """

    def __init__(self, *, keeps: bool) -> None:
        self._lock = threading.Lock()
        self._closing = contextlib.ExitStack()
        self._folder: Path | None = None
        #: Bytes that may still be kept; -1: not known yet, because there is no folder yet.
        self._left = -1 if keeps else 0
        #: Bytes of what is kept, by the number of the import.
        self._sizes: dict[int, int] = {}

    def survey(self, survey: Callable[[ImportTask], Survey], task: ImportTask) -> Survey:
        """Survey a sheet, and keep what was read."""
        offered = self._offer(task)
        answer = survey(offered)
        if offered.reading is not None:
            self._settle(offered, 0 if isinstance(answer, dict) else answer.kept)
        return answer

    def run(self, run: Callable[[ImportTask], ImportReport], task: ImportTask) -> ImportReport:
        """Run an import with what was kept for it, and remove that."""
        try:
            return run(self.hand_over(task))
        finally:
            self._forget(task)

    def close(self) -> None:
        """Remove the folder."""
        self._closing.close()

    def _offer(self, task: ImportTask) -> ImportTask:
        """Return the task of a survey, with where it may keep what it reads and how much; as it is if it may not."""
        if task.spec.options.get("contract") is not None:
            return task  # it says where the table is in the sheet, which the import asks first
        with self._lock:
            self._open(task)
            return replace(task, reading=str(self._path(task)), reading_bytes=self._left) if self._left > 0 else task

    def _settle(self, task: ImportTask, kept: int) -> None:
        """Count what a survey kept, in bytes; remove it if others, at the same time, have used up what was left."""
        with self._lock:
            fits = 0 < kept <= self._left
            if fits:
                self._left -= kept
                self._sizes[task.number] = kept
        if not fits:
            shutil.rmtree(self._path(task), ignore_errors=True)

    def hand_over(self, task: ImportTask) -> ImportTask:
        """Return the task of an import, with where its sheet was kept, if it was."""
        with self._lock:
            return replace(task, reading=str(self._path(task))) if task.number in self._sizes else task

    def _forget(self, task: ImportTask) -> None:
        """Remove what was kept for an import, which has ended."""
        with self._lock:
            size = self._sizes.pop(task.number, 0)
            self._left += size
        if size:
            shutil.rmtree(self._path(task), ignore_errors=True)

    def _open(self, task: ImportTask) -> None:
        """Make the folder before the first survey; without one nothing is kept."""
        if self._left >= 0:
            return
        self._left, temp_dir = 0, task.spec.options.get("temp_dir")
        with contextlib.suppress(OSError):
            self._folder = self._closing.enter_context(LockedFolder(Path(temp_dir) if temp_dir else None)).path
            self._left = min(_MOST_BYTES, shutil.disk_usage(self._folder).free // _SHARE_OF_FREE)

    def _path(self, task: ImportTask) -> Path:
        assert self._folder is not None
        return self._folder / f"import-{task.number}"
