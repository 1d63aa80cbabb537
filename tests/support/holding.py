"""Holds a run at its n-th statement of a kind, over a wire, so that a fault is set at a point that the run waits at."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import psutil
from support.commandline import SECONDS
from support.wire import Wire

from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.commandline import Running
    from support.faults import Server


class Holding(Wire):
    """A wire that holds the n-th statement with that beginning back; all others pass.

    Args:
        port: of the server, on 127.0.0.1.
        begins: how the statement begins.
        number: which one of those, from 1.

    Attributes:
        client: port of the client that sent it; 0 before.
    """

    def __init__(self, port: int, begins: str, number: int) -> None:
        super().__init__(port)
        self._begins, self._number = begins.encode(), number
        self._seen = self.client = 0
        self._count = threading.Lock()
        self._reached, self._go = threading.Event(), threading.Event()

    def wait(self, running: Running) -> None:
        """Wait until the run waits at that statement."""
        running.wait_for(self._reached.is_set)

    def release(self) -> None:
        """Pass the statement on."""
        self._go.set()

    def owner(self, running: Running) -> psutil.Process | None:
        """The worker process that sent it; None if it was the run's own session."""
        for process in running.workers():
            with contextlib.suppress(psutil.Error):
                if any(c.laddr.port == self.client for c in process.net_connections("tcp")):
                    return process
        return None

    def _pass_on(self, connection: Any, message: bytes, sink: Any) -> bool:
        if sink is connection.server and message[:1] in b"QP" and message[5:].strip(b"\0 \n").startswith(self._begins):
            with self._count:
                self._seen += 1
                reached = self._seen == self._number
            if reached:
                self.client = connection.port
                self._reached.set()
                assert self._go.wait(2 * SECONDS), "the statement was never passed on"
        return super()._pass_on(connection, message, sink)


@contextlib.contextmanager
def holding(own: Server, begins: str, number: int) -> Iterator[tuple[Holding, Dsn]]:
    """A wire that holds that statement, and the connection string of a run over it."""
    with Holding(own.port, begins, number) as wire:
        try:
            yield wire, Dsn(own.dsn.text.replace(f":{own.port}/", f":{wire.port}/"))
        finally:
            wire.release()
