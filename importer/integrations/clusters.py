"""Defines what importer asks of a cluster besides running tasks, and finds the cluster of an address or an executor."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import socket
import sys
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from importer.errors import ConnectionFailed, UsageError

from .time_limits import CONNECT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

Answer = TypeVar("Answer")
_PORTS = {"dask": 8786, "ray": 10001}
_ADDRESS = re.compile(r"(dask|ray)://(?:(local|auto)|([^/?#\s:\[\]]+|\[[\da-fA-F:]+\])(?::(\d+))?)/?")


@runtime_checkable
class Cluster(Protocol):
    """What an executor can do, besides running tasks, whose workers are not ours, and perhaps on other machines."""

    def stop(self, stop_batch: Callable[[str], list[int]], batch: str) -> set[int]:
        """Stop the imports of a command.

        Args:
            stop_batch: stops those of the worker that it is called in, and returns their numbers.
            batch: names the command.

        Returns:
            The numbers of the imports whose workers will answer soon.
        """

    def ask_workers(self, function: Callable[[], Answer]) -> dict[str, Answer]:
        """Call a function in every worker, and return what each answered, by its name; none that is silent."""


def adapt_executor(executor: Executor | None) -> Executor | None:
    """Return the executor to use for one that is given: for that of a Dask client, one of ours."""
    if type(executor).__module__ != "distributed.cfexecutor":
        return executor
    from .dask import DaskExecutor

    return DaskExecutor.in_place_of(executor)


@contextlib.contextmanager
def executor_for(address: str | None, given: Executor | None = None) -> Iterator[Executor | None]:
    """Yield the executor of the cluster at an address, the one that is given, or None for this process.

    Raises:
        UsageError: both are given, the address has another form, or the package is not installed.
        ConnectionFailed: the scheduler does not answer.
    """
    if address is None:
        yield adapt_executor(given)
        return
    if given is not None:
        raise UsageError("--on and --executor contradict each other", choice="give one of them")
    with executor_at(address) as executor:
        yield executor


@contextlib.contextmanager
def executor_at(address: str) -> Iterator[Executor]:
    """Connect to a cluster, and yield an executor whose tasks run there.

    Args:
        address: `dask://HOST:PORT` of a scheduler; `ray://HOST:PORT` of a Ray client server, `ray://auto` for the
            cluster that this machine is part of, `ray://local` for one that is started here.

    Raises:
        UsageError: the address has another form, or the package is not installed.
        ConnectionFailed: the scheduler does not answer.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or (found[1] == "dask" and found[2]):
        forms = "dask://HOST:8786, ray://HOST:10001, ray://auto or ray://local"
        raise UsageError("not the address of a cluster", place=address, choice=forms)
    kind, named, host, port = found[1], found[2], found[3], int(found[4] or _PORTS[found[1]])
    _require("distributed" if kind == "dask" else "ray", kind)
    if named is None:
        _knock(address, host.strip("[]"), port)
    connect = importlib.import_module(f"importer.integrations.{kind}").connect
    with connect(named or f"{host}:{port}") as executor:
        yield executor


def _require(package: str, extra: str) -> None:
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise UsageError(f"package {package!r} is not installed", choice=f"pip install 'importer[{extra}]'")


def _knock(address: str, host: str, port: int) -> None:
    """Raise ConnectionFailed if nothing takes a connection."""
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as exc:
        fact = f"the scheduler does not answer ({exc})"
        raise ConnectionFailed(fact, place=address, choice="start it, or check the address") from None
