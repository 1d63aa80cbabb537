"""Tells which files of a folder have arrived: whole, at rest, and used by nobody else."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from importer.errors import MachineError
from importer.runtime.output_file import FileIdentity, identify_before
from importer.text_files import WORKBOOK_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

#: Beginnings of names of files that are hidden, or belong to a program that has another one open.
_NOT_MEANT = (".", "~")
#: Endings of names that programs give to files that they still write.
_UNFINISHED = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp", ".temp")
#: Names of the files by which Excel and LibreOffice say that a workbook is open.
_OPEN_IN = (("~${}", "Excel"), (".~lock.{}#", "LibreOffice"))
_HELD_CODES = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class Arrival(NamedTuple):
    """A file that has arrived, and what it was when that was seen."""

    path: Path
    identity: FileIdentity


class Arrivals:
    """Looks at a folder again and again; a file has arrived when two looks in a row saw the same.

    Args:
        folder: the folder; those in it are not looked at.
        say: is told once why a file is left where it is.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._seen: dict[Path, FileIdentity] = {}
        self._said: set[tuple[Path, str]] = set()

    def look(self) -> list[Arrival]:
        """Return the files that have arrived, the oldest first.

        Raises:
            MachineError: the folder cannot be read.
        """
        before, self._seen = self._seen, dict(self._candidates())
        arrived = [
            Arrival(path, found)
            for path, found in self._seen.items()
            if found == before.get(path) and not self._left(path, _why_not_yet(path, found))
        ]
        self._said = {(path, why) for path, why in self._said if os.path.lexists(path)}
        return sorted(arrived, key=lambda each: (each.identity.modified_ns, each.path.name))

    def _candidates(self) -> Iterator[tuple[Path, FileIdentity]]:
        try:
            entries = sorted(self._folder.iterdir())
        except OSError as exc:
            raise MachineError(f"the inbox cannot be read: {exc.strerror or exc}", place=str(self._folder)) from None
        for path in entries:
            if path.name.startswith(_NOT_MEANT) or path.name.lower().endswith(_UNFINISHED) or path.is_dir():
                continue
            if path.is_symlink():
                self._left(path, "it is a symbolic link")
            elif not _is_workbook(path):
                self._left(path, "its name is not that of a workbook")
            elif (found := identify_before(path)) is not None:
                yield path, found

    def _left(self, path: Path, why: str | None) -> bool:
        """Return whether there is a reason to leave a file, and say it once."""
        if why is None:
            return False
        if (path, why) not in self._said:
            self._said.add((path, why))
            self._say(f"{path} is left where it is: {why}")
        return True


def _is_workbook(path: Path) -> bool:
    return path.name.lower().endswith(WORKBOOK_SUFFIXES)


def _why_not_yet(path: Path, found: FileIdentity) -> str | None:
    """Return why a file at rest has not arrived yet, or None."""
    if not found.size:
        return "it is empty"
    for name, program in _OPEN_IN:
        if os.path.lexists(path.with_name(name.format(path.name))):
            return f"it is open in {program}, says {name.format(path.name)}"
    return "another process holds a lock on it" if _is_locked(path) else None


def _is_locked(path: Path) -> bool:
    """Return whether another process holds a lock of either kind on a file; False where there are no locks."""
    if sys.platform == "win32":
        return False
    try:
        with path.open("rb") as file:
            for lock in (fcntl.flock, fcntl.lockf):
                lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except PermissionError as exc:
        return exc.filename is None  # a lock has no name; a file that may not be read is the business of its import
    except OSError as exc:
        return exc.errno in _HELD_CODES
    return False


@contextlib.contextmanager
def sole_watcher(folder: Path) -> Iterator[None]:
    """Hold a folder, so that one process at a time watches it; where the file system has no locks, do nothing.

    Raises:
        MachineError: another process watches it, or it cannot be opened.
    """
    if sys.platform == "win32":
        yield
        return
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise MachineError(f"the inbox cannot be opened: {exc.strerror or exc}", place=str(folder)) from None
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno in _HELD_CODES:
                raise MachineError(
                    "another process watches this folder", place=str(folder), choice="wait for its end, or end it"
                ) from None
        yield
    finally:
        os.close(opened)
