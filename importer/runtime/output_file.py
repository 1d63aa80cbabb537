"""Owns the files that are written for a user: private and unfinished first, then whole, synced and named at once.

A file is written as a *part* beside its place, under a name that nobody can guess. It gets its own name only when it is
whole and on the disk, by a link or a rename. So there is never half a file under that name, and a name is taken in the
same moment in which it is chosen. What another program has put there meanwhile is left alone: the file then gets the
next free number.

    open ── finish ──► on the disk ── place ──► named
      │                     │
      └───── discard ◄──────┘        the part is removed

A part is locked as long as its process lives. The parts of dead processes are removed by the next one that writes a
file of that name.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

#: Bytes of the file's name that a part's name begins with: with what is added it must fit into 255.
_NAME_BYTES = 200
#: A new part is made when another process took the first one for that of a dead process, before it was locked.
_ATTEMPTS = 10
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


class FileIdentity(NamedTuple):
    """What tells a file from another one of the same name, and from itself after a change."""

    device: int
    inode: int
    size: int
    modified_ns: int


def identify(path: Path) -> FileIdentity | None:
    """Return the identity of the file (or symbolic link) of that name, None if there is none.

    Raises:
        OSError: the name is one that no file can have, it is that of a folder or a device, or it may not be looked at.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise OSError(None, "not a file", str(path))
    return _identity(found)


def identify_before(path: Path | None) -> FileIdentity | None:
    """Return the identity of what a run finds under a name when it begins; None also if that is no file."""
    with contextlib.suppress(OSError):
        return identify(path) if path else None
    return None


def _identity(found: os.stat_result) -> FileIdentity:
    return FileIdentity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def numbered_paths(path: Path) -> Iterator[Path]:
    """Yield `path`, then the same with numbers: `x.csv`, `x-2.csv`, `x-3.csv`, and so on."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


class OutputFile:
    """A file that is being written; use `output_file` to make one.

    Args:
        path: the name that it is to get.
        known: the file of that name that it replaces; None if it replaces none.

    Attributes:
        file: what to write to, until it is finished.

    Raises:
        OSError: no file can be made there.
    """

    def __init__(self, path: Path, known: FileIdentity | None) -> None:
        self._path, self._known = path, known
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = os.fsdecode(b"." + os.fsencode(path.name)[:_NAME_BYTES])
        identify(path)
        _remove_dead_parts(path.parent, prefix)
        self._part, self.file = _make_part(path.parent, prefix)
        self._placed = False

    def finish(self) -> FileIdentity:
        """Put the file on the disk, and return its identity, which it keeps under its own name.

        Raises:
            OSError: the disk is full or fails.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        found = _identity(os.fstat(self.file.fileno()))
        if sys.platform == "win32":
            self.file.close()  # an open file cannot be renamed there
        return found

    def place(self) -> Path:
        """Give the finished file its name, or the next free number, and return that path.

        Raises:
            OSError: the folder is gone or may not be written to any more.
        """
        placed = self._path if self._known and self._replace(self._known) else self._take_free_name()
        self._placed = True
        sync_folder(placed.parent)
        return placed

    def discard(self) -> None:
        """Remove the part, if it was not named."""
        with contextlib.suppress(OSError):
            if not self._placed and (self.file.closed or os.path.samestat(self._part.lstat(), _stat(self.file))):
                self._part.unlink()
        with contextlib.suppress(OSError):  # a file that cannot be flushed because the disk is full
            self.file.close()

    def _replace(self, known: FileIdentity) -> bool:
        """Replace the known file, and return False if that is not what has the name, or cannot be replaced."""
        with contextlib.suppress(OSError), _locked(self._path, known):
            if identify(self._path) == known:
                self._part.replace(self._path)
                return True
        return False

    def _take_free_name(self) -> Path:
        for path in numbered_paths(self._path):
            with contextlib.suppress(FileExistsError):
                self._link(path)
                return path
        raise AssertionError  # the numbers do not end

    def _link(self, path: Path) -> None:
        """Give the part a name that is free.

        Raises:
            FileExistsError: it is not.
        """
        try:
            os.link(self._part, path)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            # No hard links in this file system (FAT, some network drives): the name is taken by an empty file first.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW))
            try:
                self._part.replace(path)
            except BaseException:
                path.unlink()
                raise
        else:
            self._part.unlink()


@contextlib.contextmanager
def output_file(path: Path, known: FileIdentity | None = None) -> Iterator[OutputFile]:
    """Provide a file to write to, then to `finish` and `place`; what was not placed when the block ends is removed.

    Args:
        path: the name that it is to get.
        known: the file of that name that it replaces, see `identify`; None if it replaces none.

    Raises:
        OSError: no file can be made there.
    """
    made = OutputFile(path, known)
    try:
        yield made
    finally:
        made.discard()


def write_file(path: Path, content: bytes) -> Path:
    """Write a whole file, which replaces the one that has the name now; return its path, see `OutputFile.place`.

    Raises:
        OSError: it cannot be written.
    """
    with output_file(path, identify(path)) as made:
        made.file.write(content)
        made.finish()
        return made.place()


# ---- PARTS ------------------------------------------------------------------------------------------------------


def _make_part(folder: Path, prefix: str) -> tuple[Path, BinaryIO]:
    """Make a part that nobody else knows, and lock it."""
    for _ in range(_ATTEMPTS):
        part = folder / f"{prefix}.{secrets.token_hex(8)}.part"
        # Readable as well: a writer of zip files may look at what it wrote.
        file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY, 0o666), "w+b")
        if _lock(file) is not False and _stat(file).st_nlink:
            return part, file
        file.close()
    raise OSError(None, "another program removes new files here", str(folder))


def _remove_dead_parts(folder: Path, prefix: str) -> None:
    """Remove the parts that dead processes of this user left of a file of this name."""
    if sys.platform == "win32":
        return
    form = re.compile(re.escape(prefix) + r"\.[0-9a-f]{16}\.part")
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        dead = [entry.path for entry in entries if form.fullmatch(entry.name)]
        for path in dead:
            with contextlib.suppress(OSError), _opened(path) as file:
                found = _stat(file)
                mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
                if mine and _lock(file) and os.path.samestat(os.lstat(path), found):
                    os.unlink(path)  # noqa: PTH108 - a text from scandir


@contextlib.contextmanager
def _locked(path: Path, known: FileIdentity) -> Iterator[None]:
    """Lock the file that is to be replaced, so that only one of several runs replaces it.

    Raises:
        OSError: another one is about to.
    """
    try:
        opened = _opened(str(path))
    except OSError:  # a symbolic link, or a file that may not be read
        yield
        return
    with opened as file:
        if _identity(_stat(file)) == known and _lock(file) is False:
            raise BlockingIOError
        yield


def _opened(path: str) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | _NOFOLLOW | _BINARY | getattr(os, "O_NONBLOCK", 0)), "rb")


def _lock(file: BinaryIO) -> bool | None:
    """Lock a file for as long as it is open: False if another process did; None if the file system has no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _stat(file: BinaryIO) -> os.stat_result:
    return os.fstat(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names of a folder on the disk, as far as its file system can."""
    # The file has its name in any case; only a crash of the machine in the next seconds could take it away again.
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
