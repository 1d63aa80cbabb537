"""Owns what all stages of a run share: its settings, its clock, the spool folder and the pool of workers."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from importer.errors import MachineError
from importer.postgres.kept_sessions import keeps_sessions
from importer.runtime.locked_folder import LockedFolder, remove_abandoned
from importer.workers.file_size import estimate_workers, is_small
from importer.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from importer.contract.model import Contract
    from importer.runtime.progress import Clock
    from importer.runtime.retry import Deadline
    from importer.settings import Settings

#: Seconds between two looks for what killed runs left, in a process that runs one import after the other.
_SECONDS_BETWEEN = 60.0
_DISK_FULL_ADVICE = "free some space, or point --temp-dir at another disk"


@dataclass(frozen=True)
class RunContext:
    """What all stages of a run share, from its beginning to its end.

    Attributes:
        settings: settings of the run.
        contract: the contract that was given, or None.
        clock: measures the stages, reports progress, and knows the deadline.
        folder: the spool folder.
        pool: the workers.
        dry_run: whether everything is rolled back in the end and leaves no trace.
    """

    settings: Settings
    contract: Contract | None
    clock: Clock
    folder: Path
    pool: Pool
    dry_run: bool


@contextlib.contextmanager
def open_workspace(
    settings: Settings, deadline: Deadline | None = None, say: Callable[[str], None] | None = None
) -> Iterator[tuple[Path, Pool]]:
    """Yield a spool folder and a pool of workers; remove both when the block ends.

    Args:
        settings: settings of the run.
        deadline: deadline of the run.
        say: is told what was removed of the spool folders of killed runs; None: they are left.

    Raises:
        MachineError: the spool's disk is full.
    """
    size = _size(settings.workbook)
    own_process = settings.own_process and settings.engine != "calamine" and is_small(size, settings.workers)
    if not own_process:
        from importer.workers.fork_server import warm_up

        warm_up()
    place = settings.temp_dir
    try:
        with LockedFolder(settings.temp_dir) as spool:
            place = spool.path
            log = spool.path / "workers.log"
            with Pool(settings.workers, settings.limits, log, deadline, own_process=own_process) as pool:
                if not own_process:
                    pool.start(estimate_workers(size))
                if say is not None and _is_due():
                    _remove_abandoned(settings, say)
                yield spool.path, pool
    except OSError as exc:
        where = exc.filename or (str(place) if place else None)
        raise MachineError(
            f"the machine refused: {exc.strerror or exc}", place=where, choice=_DISK_FULL_ADVICE
        ) from exc


class _Removed:
    """When this process, if it is one of many imports, looked for the folders of killed runs."""

    at = -_SECONDS_BETWEEN


def _is_due() -> bool:
    """Return whether to look for the folders of killed runs: not in each run of a process of many."""
    before, now = _Removed.at, time.monotonic()
    if keeps_sessions() and now - before < _SECONDS_BETWEEN:
        return False
    _Removed.at = now
    return True


def _remove_abandoned(settings: Settings, say: Callable[[str], None]) -> None:
    # The folder for temporary files has the sockets of killed runs also where --temp-dir names another for the spool.
    for parent in {settings.temp_dir, None}:
        removed = remove_abandoned(parent)
        if removed.folders:
            say(str(removed))


def _size(workbook: Path) -> int:
    """Return the size of the file in bytes; 0 if there is none, which is an error when it is opened."""
    try:
        return workbook.stat().st_size
    except OSError:
        return 0
