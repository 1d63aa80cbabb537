"""Takes a workbook from standard input into a file of its own, for as long as it is imported."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.errors import MachineError, UsageError
from importer.runtime.locked_folder import PREFIX, LockedFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STDIN = "-"
#: Without a suffix: what it is, the content says.
_NAME = "stdin"


def is_from_stdin(source: str) -> bool:
    """Return whether a path is that of standard input, which goes when the command ends."""
    path = Path(source)
    return path.name == _NAME and path.parent.name.startswith(PREFIX)


def check_has_table(options: Mapping[str, Any], place: str | None = None) -> None:
    """Raise UsageError if neither `table` nor `contract` names the table of standard input."""
    if options.get("table") is None and options.get("contract") is None:
        raise UsageError("standard input (-) has no name that a table could have", place=place, choice="--table NAME")


@contextlib.contextmanager
def with_stdin(sources: tuple[str, ...], temp_dir: str | None = None) -> Iterator[tuple[str, ...]]:
    """Yield the sources with a file in the place of `-`, which is removed when the block ends.

    Args:
        sources: paths, patterns and folders; `-` is standard input.
        temp_dir: folder for temporary files; None: the system's.

    Raises:
        UsageError: `-` is named twice, or standard input is a terminal or closed.
        MachineError: the disk is full.
    """
    if STDIN not in sources:
        yield sources
        return
    if sources.count(STDIN) > 1:
        raise UsageError("standard input (-) is named twice", choice="name it once")
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("standard input (-) is not a workbook", choice="importer run - --table NAME < data.xlsx")
    with LockedFolder(Path(temp_dir) if temp_dir else None) as folder:
        path = folder.path / _NAME
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        except OSError as exc:
            raise MachineError(
                f"standard input cannot be kept: {exc.strerror or exc}", place=str(path), choice="--temp-dir"
            ) from exc
        yield tuple(str(path) if source == STDIN else source for source in sources)
