"""Owns folders for temporary files that are held by a lock, and removes those that no process holds any more.

The kernel releases a lock when the last process that holds it ends, however it ends. So a run and its workers each hold
a shared lock on file `importer.lock` of their folder, and whoever gets the exclusive lock may remove the folder: nobody
works in it, and nobody will. A worker that outlives its killed run keeps the folder just as long as it lives.

The lock file is made after the folder, so one that removes folders can come in between. It then removes an empty folder
or locks first, and the maker, who checks that its lock file is still in place, makes another folder. Where the file
system has no locks, a folder gets no file of that name and is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from types import TracebackType

PREFIX = "importer-spool-"
#: What multiprocessing calls its folder for sockets; only one with our lock file is ours.
_SOCKETS_PREFIX = "pymp-"
_LOCK, _UNLOCKED = "importer.lock", "importer.unlocked"
#: The lock file before it is locked: a folder that has it was made a moment ago, and is no folder of a killed run.
_NEW_LOCK = "importer.lock.new"
#: A lock that is held, as against a file system without locks.
_HELD_CODES = (errno.EWOULDBLOCK, errno.EACCES)
#: Lock files that this process holds open for its folders; a forked child must not hold them, too.
_held: set[int] = set()


class Removed(NamedTuple):
    """The spool folders that were removed: how many, and the bytes of their files."""

    folders: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        """Return a sentence for the user."""
        whose = "folder ({}) of a run that was" if self.folders == 1 else "folders ({}) of runs that were"
        return f"removed {self.folders:,} spool {whose.format(size_text(self.bytes))} killed"


def size_text(size: int) -> str:
    """Return a number of bytes with a unit, as `167 MB`."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.{0 if size >= 10 * factor else 1}f} {unit}"
    return f"{size} bytes"


class LockedFolder:
    """A new folder that this process holds; a context manager that removes it.

    Args:
        parent: where to make it; None: the system's folder for temporary files.

    Attributes:
        path: path of the folder.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, parent: Path | None) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            try:
                self._lock = lock_new_folder(self.path)
            except FileNotFoundError:
                continue  # it was removed while it was not locked yet
            except OSError:
                with contextlib.suppress(OSError):
                    self.path.rmdir()
                raise
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            _remove_own(self.path)
        if self._lock is not None:
            _release(self._lock)


def lock_new_folder(folder: Path) -> int | None:
    """Hold a folder that was just made, for the life of this process; None where there are no locks.

    Returns:
        the descriptor of the lock file.

    Raises:
        FileNotFoundError: the folder was removed meanwhile.
        OSError: the lock file cannot be made; none is left.
    """
    if sys.platform == "win32":
        return None
    path = folder / _NEW_LOCK
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    _held.add(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError:
        _release(lock)
        _rename(path, _UNLOCKED)
        return None
    if not _is_in_place(lock, path):
        _release(lock)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    try:
        _rename(path, _LOCK)
    except OSError:
        _release(lock)
        raise
    return lock


def _rename(path: Path, name: str) -> None:
    """Rename a file, or remove it where that fails."""
    try:
        path.rename(path.with_name(name))
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def hold(folder: Path) -> None:
    """Hold the folder of a run for the life of this process, one of its workers.

    Raises:
        OSError: the folder is being removed, because the run was killed.
    """
    if sys.platform == "win32":
        return
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return  # there are no locks
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in _HELD_CODES:
            raise
    _held.add(lock)


def remove_abandoned(parent: Path | None) -> Removed:
    """Remove the folders in `parent` (None: the system's folder for temporary files) that no process holds.

    Only those that belong to this user, that nobody else may enter, and that have a lock file or nothing in them. What
    cannot be listed, locked or removed is left.
    """
    removed = Removed()
    if sys.platform == "win32":
        return removed
    with contextlib.suppress(OSError), os.scandir(parent or tempfile.gettempdir()) as entries:
        names = [entry.path for entry in entries if entry.name.startswith((PREFIX, _SOCKETS_PREFIX))]
        for path in map(Path, names):
            with contextlib.suppress(OSError):
                size = _remove_if_abandoned(path)
                if size is not None and path.name.startswith(PREFIX):
                    removed = Removed(removed.folders + 1, removed.bytes + size)
    return removed


def _remove_if_abandoned(path: Path) -> int | None:
    """Remove a folder if nobody holds it; return the bytes of its files, None if it stays or was empty."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        about = os.fstat(folder)
        if about.st_uid != os.geteuid() or about.st_mode & 0o077:
            return None
        for name in (_LOCK, _NEW_LOCK):
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    size = _remove(path, folder, name) if _is_in_place(lock, path / name) else None
                finally:
                    os.close(lock)
                return size if name == _LOCK else None
        if path.name.startswith(PREFIX):
            path.rmdir()  # fails if it is not empty
        return None
    finally:
        os.close(folder)


def _remove(path: Path, folder: int, lock: str) -> int:
    """Remove an open folder of which this process has the exclusive lock; return the bytes of its files."""
    size = 0
    with os.scandir(folder) as entries:
        for entry in [entry for entry in entries if entry.name != lock]:
            if entry.is_dir(follow_symlinks=False):
                size += tree_bytes(path / entry.name)
                shutil.rmtree(entry.name, dir_fd=folder)
            else:
                size += entry.stat(follow_symlinks=False).st_size
                os.unlink(entry.name, dir_fd=folder)
    # Last, so that a folder of which only a part was removed is still known as abandoned.
    os.unlink(lock, dir_fd=folder)
    path.rmdir()
    return size


def _remove_own(path: Path) -> None:
    """Remove a folder that this process holds; what cannot be removed stays, with the lock file.

    Raises:
        OSError: something stays.
    """
    stays: OSError | None = None
    for entry in [entry for entry in path.iterdir() if entry.name != _LOCK]:
        try:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        except OSError as exc:
            stays = exc
    if stays is not None:
        raise stays
    # Last, as in `_remove`: this process may be killed at any of these lines.
    (path / _LOCK).unlink(missing_ok=True)
    path.rmdir()


def tree_bytes(path: Path) -> int:
    """Return the bytes of all files below a folder; files that vanish meanwhile count nothing."""
    size = 0
    for root, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                size += (Path(root) / name).lstat().st_size
    return size


def _is_in_place(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.lstat())
    except FileNotFoundError:
        return False


def _release(lock: int) -> None:
    _held.discard(lock)
    os.close(lock)


def _release_in_child() -> None:
    """Close the locks in a forked child: it would hold its parent's folders for as long as it lives."""
    for lock in tuple(_held):
        with contextlib.suppress(OSError):
            _release(lock)


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_release_in_child)
