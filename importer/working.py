"""Owns what a run works with: the spool folder, the pool of workers, and the connection in the making."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from . import pool as pools
from .embedded import Embedded
from .errors import MachineError
from .pool import Pool
from .postgres import Session, check_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from .settings import Dsn, Settings

#: Workers for a workbook of that size are started before it is opened; its sheet may turn out to need more or less.
ZIPPED_PER_WORKER = 256 << 10
_BAD_FREE_SPACE = "free space, or point --temp-dir at another disk"


@contextlib.contextmanager
def working(settings: Settings) -> Iterator[tuple[Path, Pool]]:
    """A spool folder and a pool of workers, both gone afterwards.

    Raises:
        MachineError: the spool's disk is full.
    """
    pools.warm_up()
    folder = Path(tempfile.mkdtemp(prefix="importer-", dir=settings.temp_dir))
    try:
        with Pool(settings.workers, settings.limits, folder / "workers.log") as pool:
            pool.start(1 + _size(settings.workbook) // ZIPPED_PER_WORKER)
            yield folder, pool
    except OSError as exc:
        raise MachineError(
            f"the machine refused: {exc.strerror or exc}", place=exc.filename or str(folder), choice=_BAD_FREE_SPACE
        ) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _size(workbook: Path) -> int:
    """Bytes of the file; 0 where there is none, which is told when it is opened."""
    try:
        return workbook.stat().st_size
    except OSError:
        return 0


@contextlib.contextmanager
def _server(settings: Settings) -> Iterator[Dsn]:
    """The target server: the named one, or the embedded one while it is needed."""
    if settings.dsn is not None:
        yield settings.dsn
        return
    with Embedded().running() as dsn:
        yield dsn


@contextlib.contextmanager
def connecting(settings: Settings) -> Iterator[Future[tuple[Dsn, Session, str]]]:
    """A connection in the making, while the workbook is read: the server's DSN, a session, the server's version.

    Connecting reads the catalog of types, and the embedded server may have to start first.
    """
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as thread:

        def connect() -> tuple[Dsn, Session, str]:
            dsn = stack.enter_context(_server(settings))
            session = stack.enter_context(Session(dsn))
            version = check_server(session)
            return dsn, session, version

        yield thread.submit(connect)
