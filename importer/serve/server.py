"""Starts and stops the service: takes its folder, listens on its socket, handles its signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import uvicorn

from importer.errors import MachineError
from importer.serve.http.access import AccessMiddleware
from importer.serve.http.head_limits import Protocol
from importer.serve.jobs.database import Database
from importer.serve.jobs.processes import CHILD_STOP_SECONDS
from importer.serve.jobs.store import open_store

from .app import make_app
from .config import Config, lock_folder

if TYPE_CHECKING:
    from importer.serve.jobs.store import Store
    from importer.serve.routes.service import Service

#: Largest number of simultaneous connections; requests beyond it get status 503.
_MAX_CONNECTIONS = 512
#: How long open requests may take to end when the service stops, in seconds. Those that wait for a run end after it, so
#: its child first gets its own time to stop; the rest is for the answer.
_REQUESTS_STOP_SECONDS = int(CHILD_STOP_SECONDS) + 4


def serve(config: Config) -> None:
    """Serve until a signal says to stop.

    Raises:
        ImporterError: the service cannot be started.
    """
    with lock_folder(config), _bind_socket(config) as listener:
        database = Database(config.dsn)
        database.start()
        try:
            # uvicorn raises the signal that stopped it again after its end.
            store_path = config.folder / "service.sqlite"
            with contextlib.suppress(KeyboardInterrupt), open_store(store_path, database.name) as store:
                asyncio.run(_serve(config, database, store, listener))
        finally:
            database.stop()


def _bind_socket(config: Config) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        # The protocol is given as TCP so that asyncio sends small responses at once instead of 40 ms later.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
    except OSError as exc:
        raise MachineError(
            f"cannot listen on {config.host} port {config.port} ({exc.strerror or exc})", choice="name another --port"
        ) from None
    return listener


class _Server(uvicorn.Server):
    """Server that stops the runs as soon as it is asked to stop, because open requests wait for them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop gracefully; on a second signal, stop at once."""
        super().handle_exit(sig, frame)
        self._stop_task = asyncio.get_running_loop().create_task(self._service.jobs.stop())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, and print the address."""
        await super().startup(sockets)
        if self.started and sockets:
            host = self._service.config.host
            what = "embedded database" if self._service.database.is_embedded else "database of --to"
            place = f"[{host}]" if ":" in host else host
            sys.stdout.write(f"serving on http://{place}:{sockets[0].getsockname()[1]} ({what}); Ctrl-C stops\n")
            sys.stdout.flush()


async def _serve(config: Config, database: Database, store: Store, listener: socket.socket) -> None:
    app = make_app(config, database, store)
    service: Service = app.state.service
    options = uvicorn.Config(
        AccessMiddleware(app, config, service.keys), http=Protocol, ws="none", loop="asyncio", lifespan="on",
        log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS, timeout_graceful_shutdown=_REQUESTS_STOP_SECONDS,
    )  # fmt: skip
    server = _Server(options, service)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, server.handle_exit)
    await server.serve(sockets=[listener])
