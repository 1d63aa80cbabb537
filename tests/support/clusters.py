"""Dask clusters for tests: what is called in their workers, and schedulers and workers that are processes to kill."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from support.serving import wait_for
from support.tables import save

from importer.batch.execution import children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database
    from distributed import Client

#: Sessions of imports that wait for a table which a test holds.
_WAITING = "select count(*) from pg_locks where not granted and relation = 'held'::regclass"


def move_to(folder: str) -> None:
    """Have the process that this is called in, and the children that run its imports, work in another folder."""
    children.shared_children().close()
    children._Shared.children = None
    os.chdir(folder)


def make_held(db: Database) -> None:
    """Make table `held`, anew."""
    db.run("drop table if exists held", "create table held (id bigint not null, v text)")


def made_books(folder: Path, count: int) -> Path:
    """Make a folder of workbooks of two rows each, and return it."""
    folder.mkdir()
    for n in range(count):
        save(folder / f"{n:02}.xlsx", ["id", "v"], [n, f"a{n}"], [n + 100, f"b{n}"])
    return folder


def wait_for_locks(db: Database, count: int) -> None:
    """Wait until so many sessions wait for table `held`, or more; with 0 until none does."""
    wait_for(lambda: (found := db.rows(_WAITING)[0][0]) == count or found > count > 0)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class DaskProcesses:
    """A scheduler and a worker that are processes of their own.

    Args:
        folder: where they work, and write what they log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"dask://127.0.0.1:{self._port}"

    def start(self, *names: str) -> None:
        """Start both, or one of `scheduler` and `worker`."""
        arguments = {
            "scheduler": ("--host", "127.0.0.1", "--port", str(self._port), "--no-show"),
            "worker": (
                f"tcp://127.0.0.1:{self._port}", "--no-nanny", "--nthreads", "2", "--death-timeout", "60",
            ),
        }  # fmt: skip
        for name in names or arguments:
            self._start(name, *arguments[name])

    def _start(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *arguments, "--no-dashboard"]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Wait until the scheduler takes connections."""
        wait_for(self._listens)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            return True
        return False

    def kill(self, *names: str) -> None:
        """Kill one of them, or both, the scheduler first."""
        for name in names or tuple(self._running):
            self._running[name].kill()
            self._running[name].wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.contextmanager
def dask_client() -> Iterator[Client]:
    """A client of a cluster of two worker processes, each with one thread."""
    import dask.config
    from distributed import Client, LocalCluster

    # A worker that is killed is given up if it is not back soon, which it is not on a machine under load.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "300s"})
    how = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0", "silence_logs": 50}
    with LocalCluster(**how) as cluster, Client(cluster) as client:
        yield client


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail if something took longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds
