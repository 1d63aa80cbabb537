"""Writes the rejects file of a run before anything is published, and names it as soon as that is done.

Until then whatever has the name stays as it is, so that file and table agree whenever the run is stopped: both are the
old ones, or the table is the new one and the ledger keeps its rejects (see `kept`).
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from importer.errors import MachineError, NotDelivered
from importer.excel.rejects_origin import original_stem
from importer.remote.upload import UrlOutput, check_destination
from importer.runtime.output_file import FileIdentity, OutputFile, identify_before, output_file
from importer.runtime.stage import Stage
from importer.urls import Url

from .bad_cells import dump_bad_cells
from .packed import NO_FILE, PackedFolder, RejectsPlace, pack_rejects
from .workbook import WRITE_ERRORS, Rejects, unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.report.model import Report
    from importer.runtime.progress import Clock
    from importer.settings import Settings


def preload_xlsxwriter(settings: Settings, report: Report) -> None:
    """Import xlsxwriter (70 ms) in a thread if it is needed, while the rows are loaded."""
    if report.error_count and (settings.rejects is None or settings.rejects.suffix.lower() == ".xlsx"):
        threading.Thread(target=importlib.import_module, args=("xlsxwriter",), daemon=True).start()


class RejectsFiles:
    """Where a run writes its rejects, and the list of its bad cells if one is wanted.

    A file that the user named replaces the one that had the name when the run began, and no other; the default name
    is always a new one, because the user may be fixing the earlier file. A file at an address is written here and then
    sent; one that the user named replaces what is there. Those that go into one workbook with the rejects of other
    imports are only packed, for the process that writes that workbook.

    Args:
        settings: settings of the run.
        spool: the spool folder.
    """

    def __init__(self, settings: Settings, spool: Path) -> None:
        self._spool = spool
        self._rejects, self._bad_cells, self._default = settings.rejects, settings.bad_cells, settings.default_rejects
        self._retry_for, self._packed = settings.retry_for, settings.packed_rejects
        self._known = {p: identify_before(p) for p in (self._rejects, self._bad_cells) if isinstance(p, Path)}
        for place in (self._rejects, self._default):
            if isinstance(place, Url):
                check_destination(place)

    def only_replace(self, known: FileIdentity | None) -> None:
        """Let the rejects file replace that file and no other."""
        if isinstance(self._rejects, Path) and self._known[self._rejects] != known:
            self._known[self._rejects] = None

    @contextlib.contextmanager
    def write(self, rejects: Rejects, report: Report, clock: Clock) -> Iterator[WrittenRejects]:
        """Write the rejects, and provide them to be placed; what is not placed when the block ends is removed.

        Raises:
            MachineError: they cannot be written.
        """
        if not len(rejects):
            yield WrittenRejects(Path(), None, None, None)
            return
        stem = original_stem(Path(report.workbook["name"]).stem)
        place = self._rejects or self._default or f"{stem}.rejects.xlsx"
        path = place if isinstance(place, Url) else Path.cwd() / place
        known = self._known.get(self._rejects) if isinstance(self._rejects, Path) else None
        if self._packed is not None:
            with self._pack(self._packed, rejects, report, WrittenRejects(path, known, None, NO_FILE)) as written:
                yield written
            return
        with contextlib.ExitStack() as files:
            with clock.stage(Stage.REJECTS):
                with _unpublished("the rejects", path):
                    file = self._open(files, path, known)
                    rejects.write_to(file.file, path.suffix.lower(), rejects.sheet or report.sheet, self._spool)
                    written = WrittenRejects(path, known, file, file.finish())
                written.bad_cells = self._write_bad_cells(files, rejects)
            yield written

    @contextlib.contextmanager
    def _pack(
        self, folder: Path, rejects: Rejects, report: Report, written: WrittenRejects
    ) -> Iterator[WrittenRejects]:
        with _unpublished("the rejects", folder):
            packed = PackedFolder(folder, written.pack(rejects, report))
        try:
            yield WrittenRejects(written.path, written.known, packed, written.identity)
        finally:
            packed.discard()

    def _open(
        self, files: contextlib.ExitStack, path: Path | Url, known: FileIdentity | None
    ) -> OutputFile | UrlOutput:
        if isinstance(path, Path):
            return files.enter_context(output_file(path, known))
        made = UrlOutput(path, self._spool, self._retry_for, replaces=path == self._rejects)
        files.callback(made.discard)
        return made

    def _write_bad_cells(self, files: contextlib.ExitStack, rejects: Rejects) -> OutputFile | None:
        path = self._bad_cells
        if path is None:
            return None
        with _unpublished("the list of bad cells", path):
            listed = files.enter_context(output_file(path, self._known.get(path)))
            listed.file.write(dump_bad_cells(rejects))
            listed.finish()
        return listed


@contextlib.contextmanager
def _unpublished(what: str, path: Path | Url) -> Iterator[None]:
    """Turn an error of a writer into ours."""
    try:
        yield
    except WRITE_ERRORS as exc:
        raise unwritable(f"{what} cannot be written; nothing was published", path, exc) from None


class WrittenRejects:
    """The rejects of a run as files on the disk that do not have their names yet; without rejects, no files.

    Args:
        path: the name that the rejects file is to get, absolute, or its address.
        known: the file that it replaces, or None.
        file: the rejects file.
        identity: identity of that file, which it keeps when it is named.

    Attributes:
        bad_cells: the list of bad cells, or None.
    """

    def __init__(
        self,
        path: Path | Url,
        known: FileIdentity | None,
        file: OutputFile | UrlOutput | PackedFolder | None,
        identity: FileIdentity | None,
    ) -> None:
        self.path, self.known, self.identity = path, known, identity
        self._file = file
        self.bad_cells: OutputFile | None = None

    def place(self, report: Report) -> Report:
        """Give the files their names, and return the report with these.

        Raises:
            MachineError: the folder is gone, or may not be written to any more.
        """
        if self._file is None:
            return report
        try:
            if self.bad_cells is not None:
                self.bad_cells.place()
            placed = self._file.place()
        except NotDelivered as exc:
            said = f"the rejects are not at {self.path}: {exc.fact}; they are in {exc.kept}"
            return replace(report, rejects_file=exc.kept, undelivered=said, notes=(said, *report.notes))
        except OSError as exc:
            raise MachineError(
                "the rejects cannot be written; nothing was published", place=f"{exc.filename}: {exc.strerror or exc}"
            ) from None
        return report if placed is None else replace(report, rejects_file=str(placed))

    def pack(self, rejects: Rejects, report: Report) -> dict[str, bytes]:
        """Return the rejects as parts for the ledger; none without rejects."""
        place = self.known_place
        return pack_rejects(rejects, report, place) if place else {}

    @property
    def known_place(self) -> RejectsPlace | None:
        """What is known of the file, also before it has its name; None without rejects."""
        return None if self.identity is None else RejectsPlace(str(self.path), self.identity, self.known)
