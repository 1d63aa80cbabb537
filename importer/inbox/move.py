"""Moves a file into another folder, also one of another file system: nothing is overwritten, and nothing lost.

    in/x ──rename──► in/.importer-moving-…-x ──link (or copy, sync, link)──► done/x ──unlink──► moved

The first step takes the file in one moment, so that what somebody puts under its name meanwhile is not touched. A file
of that name that is left in the inbox belongs to a process that was killed; it is put back, and arrives again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from typing import TYPE_CHECKING

from importer.runtime.output_file import (
    FileIdentity,
    identify,
    identify_before,
    numbered_paths,
    output_file,
    sync_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

_TAKEN = ".importer-moving-"
#: Characters of the random part of a taken name, with the hyphen behind it.
_RANDOM_LENGTH = 9
_BLOCK_BYTES = 1 << 20


def move_file(path: Path, known: FileIdentity, target: Path) -> Path | None:
    """Move a file, and return where it is now; None if the name has another file by now, or none.

    Args:
        path: the file.
        known: its identity.
        target: the name that it is to get; the next free number if another file has it. A file of the same content
            there, which a process left that was killed on its way, is that file.

    Raises:
        OSError: the file cannot be moved; it is where it was.
    """
    if identify_before(path) != known:
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    taken = path.with_name(f"{_TAKEN}{secrets.token_hex(4)}-{path.name}")
    try:
        path.rename(taken)
    except FileNotFoundError:
        return None
    try:
        placed = _place(taken, target) if identify(taken) == known else None
    except BaseException:
        _put_back(taken)
        raise
    if placed is None:
        _put_back(taken)
        return None
    sync_folder(placed.parent)
    taken.unlink()
    sync_folder(path.parent)
    return placed


def free_name(path: Path, target: Path) -> Path:
    """Return the name that `move_file` would give a file: `target`, or the same with a number."""
    return next(each for each in numbered_paths(target) if not os.path.lexists(each) or _is_same(path, each))


def put_back_all(folder: Path) -> None:
    """Give the files that killed processes left on their way their names again."""
    for path in sorted(folder.glob(f"{_TAKEN}*")):
        _put_back(path)


def _put_back(taken: Path) -> None:
    name = taken.name[len(_TAKEN) + _RANDOM_LENGTH :]
    with contextlib.suppress(FileNotFoundError):
        _give_name(taken, taken.with_name(name))


def _place(taken: Path, target: Path) -> Path:
    """Have a file under its new name, too, or the next free number, and return that."""
    for path in numbered_paths(target):
        if _is_same(taken, path):
            return path
        if not os.path.lexists(path):
            with contextlib.suppress(FileExistsError):
                return path if _link(taken, path) else _copy(taken, path)
    raise AssertionError  # the numbers do not end


def _copy(taken: Path, path: Path) -> Path:
    """Copy a file: to another file system, or where there are no links."""
    with output_file(path) as made:
        with taken.open("rb") as source:
            shutil.copyfileobj(source, made.file, _BLOCK_BYTES)
        made.file.flush()
        found = taken.stat()
        with contextlib.suppress(OSError):
            os.utime(made.file.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        made.finish()
        return made.place()


def _give_name(taken: Path, wanted: Path) -> None:
    for path in numbered_paths(wanted):
        with contextlib.suppress(FileExistsError):
            if _link(taken, path):
                taken.unlink()
            elif os.path.lexists(path):
                continue
            else:
                taken.rename(path)
            return


def _link(taken: Path, path: Path) -> bool:
    """Give a file one more name; return False where that cannot be: another file system, or one without links.

    Raises:
        FileExistsError: something has that name.
    """
    try:
        os.link(taken, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _is_same(taken: Path, other: Path) -> bool:
    """Return whether another name has the same file, or one of the same content."""
    try:
        found, there = taken.stat(), other.lstat()
        if os.path.samestat(found, there):
            return True
        if not stat.S_ISREG(there.st_mode) or there.st_size != found.st_size:
            return False
        with taken.open("rb") as one, other.open("rb") as two:
            while block := one.read(_BLOCK_BYTES):
                if block != two.read(_BLOCK_BYTES):
                    return False
    except OSError:
        return False
    return True
