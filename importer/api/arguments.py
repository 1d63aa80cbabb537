"""Turns what only a caller from Python gives (bytes, an open file, a callable) into what a run takes."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from importer.errors import MachineError, UsageError
from importer.runtime.locked_folder import LockedFolder
from importer.runtime.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a workbook may be given as.
Workbook = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
#: What may receive the progress of a run.
Watcher = Progress | Callable[[str, int, int], object]
#: Name of a workbook that has none.
_NAME = "workbook.xlsx"


@contextlib.contextmanager
def as_path(workbook: Workbook, temp_dir: str | Path | None, *, needs_name: bool = False) -> Iterator[str | Path]:
    """Yield a workbook's path or address; bytes and what an open file holds lie in a folder while the block runs.

    Args:
        workbook: a path, an address, the bytes of a workbook, or a file that is open for binary reading; it is read
            from its position to its end, and stays open.
        temp_dir: where to make the folder; None: the system's folder for temporary files.
        needs_name: whether something is named after the workbook, so that it must have a name.

    Raises:
        UsageError: it is none of these, or has no name and needs one.
        MachineError: the bytes cannot be written.
    """
    if isinstance(workbook, str | os.PathLike):
        yield workbook if isinstance(workbook, str) else Path(workbook)
        return
    is_bytes = isinstance(workbook, bytes | bytearray | memoryview)
    if not is_bytes and not hasattr(workbook, "read"):
        raise UsageError(
            f"a workbook cannot be a {type(workbook).__name__}",
            choice="give a path, bytes, or a file that is open for binary reading",
        )
    name = None if is_bytes else _name(workbook)
    if name is None and needs_name:
        raise UsageError("the workbook has no name for the table", choice="name the table: --table NAME")
    try:
        with LockedFolder(Path(temp_dir) if temp_dir else None) as folder:
            path = folder.path / (name or _NAME)
            _write(workbook, path)
            yield path
    except OSError as exc:
        raise MachineError(
            f"the workbook cannot be written ({exc.strerror or exc})", place=exc.filename,
            choice="free some space, or use another --temp-dir",
        ) from exc  # fmt: skip


def _name(file: Any) -> str | None:
    """Return the name of an open file without its folder; None without one, as of a `BytesIO` or a pipe."""
    name = getattr(file, "name", None)
    # Python calls standard input `<stdin>`, and gives a pipe its number for a name.
    return Path(name).name or None if isinstance(name, str) and not name.startswith("<") else None


def _write(workbook: Any, path: Path) -> None:
    with path.open("xb") as made:
        if not hasattr(workbook, "read"):
            made.write(workbook)
            return
        try:
            shutil.copyfileobj(workbook, made, 1 << 20)
        except TypeError:
            raise UsageError("the workbook is open as text", choice="open it with mode 'rb'") from None


class _CallableProgress:
    """Progress that calls a function with the stage, the rows that are done in it, and those that are expected."""

    def __init__(self, function: Callable[[str, int, int], object]) -> None:
        self._function, self._stage, self._done, self._expected = function, "", 0, 0

    def stage(self, name: str) -> None:
        self._stage, self._done, self._expected = name, 0, 0
        self._call()

    def expect(self, rows: int) -> None:
        self._expected += rows
        self._call()

    def advance(self, rows: int) -> None:
        self._done += rows
        self._call()

    def say(self, text: str) -> None:
        """Ignore: it is among the notes of the report."""

    def _call(self) -> None:
        self._function(self._stage, self._done, self._expected)


def as_progress(given: Watcher | None) -> Progress | None:
    """Return what receives the progress: the given object, or one that calls the given function."""
    if given is None or hasattr(given, "advance"):
        return cast("Progress | None", given)
    if not callable(given):
        raise UsageError("progress takes an object with the methods of Progress, or a function of three arguments")
    return _CallableProgress(given)
