"""Owns what all stages of a run share: its settings, its clock, the spool folder and the pool of workers."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from importer.errors import MachineError
from importer.workers.fork_server import estimate_workers, warm_up
from importer.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.contract.model import Contract
    from importer.runtime.progress import Clock
    from importer.runtime.retry import Deadline
    from importer.settings import Settings

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
def open_workspace(settings: Settings, deadline: Deadline | None = None) -> Iterator[tuple[Path, Pool]]:
    """Yield a spool folder and a pool of workers; remove both when the block ends.

    Raises:
        MachineError: the spool's disk is full.
    """
    warm_up()
    folder = Path(tempfile.mkdtemp(prefix="importer-", dir=settings.temp_dir))
    try:
        with Pool(settings.workers, settings.limits, folder / "workers.log", deadline) as pool:
            pool.start(estimate_workers(_size(settings.workbook)))
            yield folder, pool
    except OSError as exc:
        raise MachineError(
            f"the machine refused: {exc.strerror or exc}", place=exc.filename or str(folder), choice=_DISK_FULL_ADVICE
        ) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _size(workbook: Path) -> int:
    """Return the size of the file in bytes; 0 if there is none, which is an error when it is opened."""
    try:
        return workbook.stat().st_size
    except OSError:
        return 0
