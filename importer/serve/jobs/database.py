"""Owns the service's view of the target database: its connection string, and whether it answers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any

from importer.errors import ImporterError
from importer.postgres.embedded import EmbeddedServer
from importer.serve.errors import RequestError

from .processes import ChildDied

if TYPE_CHECKING:
    from importer.settings import Dsn

    from .processes import ChildPool

#: Seconds that the database has to answer.
_PING_SECONDS = 5.0
#: Seconds for which a health result is reused, so that frequent requests do not load the database.
_HEALTH_CACHE_SECONDS = 1.0


class Database:
    """The target database.

    Args:
        dsn: connection string of the server; None: the embedded server, which runs as long as the service does.
    """

    def __init__(self, dsn: Dsn | None) -> None:
        self._configured, self._dsn = dsn, dsn
        self._servers = contextlib.ExitStack()
        self._asked: tuple[float, dict[str, Any] | None] = (0.0, None)
        self._health_lock = asyncio.Lock()

    @property
    def is_embedded(self) -> bool:
        """Whether the database is on the embedded server."""
        return self._configured is None

    @property
    def name(self) -> str:
        """A name that identifies the server without secrets: "embedded", or a hash of the DSN."""
        return "embedded" if self._configured is None else hashlib.sha256(self._configured.text.encode()).hexdigest()

    def start(self) -> None:
        """Start the embedded server, if the service uses it.

        Raises:
            MachineError: the server does not start.
        """
        if self._configured is None:
            self._dsn = self._servers.enter_context(EmbeddedServer().running())

    def stop(self) -> None:
        """Release the embedded server; it stops when no other process uses it."""
        self._servers.close()

    @property
    def dsn(self) -> str:
        """The connection string, with its secrets; only children may see it."""
        assert self._dsn is not None
        return self._dsn.text

    async def health(self, crew: ChildPool) -> dict[str, Any] | None:
        """Return why the database does not answer, as an error, or None; restart the embedded server if it stopped."""
        async with self._health_lock:
            at, error = self._asked
            if time.monotonic() - at > _HEALTH_CACHE_SECONDS:
                error = await self._ping(crew)
                if error is not None and self.is_embedded and await self._restart():
                    error = await self._ping(crew)
                self._asked = time.monotonic(), error
            return error

    async def _ping(self, crew: ChildPool) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(_PING_SECONDS), crew.child() as child:
                event = await child.work({"op": "ping", "dsn": self.dsn})
        except (TimeoutError, ChildDied):
            return {"error": "the database does not answer", "type": "ConnectionFailed", "place": None, "choice": None}
        return event.get("error")

    async def _restart(self) -> bool:
        """Restart the embedded server after somebody stopped it; return whether that worked."""
        servers = contextlib.ExitStack()
        try:
            self._dsn = await asyncio.to_thread(servers.enter_context, EmbeddedServer().running())
        except ImporterError:
            return False
        self._servers.push(servers)
        return True


async def asked(crew: ChildPool, command: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Have a child answer a question; return its `done` event.

    Args:
        crew: pool of the child processes.
        command: command that asks the question.
        seconds: time limit, which includes the wait for a child.

    Raises:
        RequestError: the child reported an error, died, or was not done in time.
    """
    try:
        async with asyncio.timeout(seconds), crew.question_slots, crew.child() as child:
            event = await child.work(command)
    except TimeoutError:
        raise RequestError(503, f"not done within {seconds:g} s", kind="TimedOut", choice="try again later") from None
    except ChildDied as exc:
        raise RequestError(500, f"the process that did the work {exc.how}", kind="ChildDied") from None
    if event["event"] == "error":
        raise refused(event["error"])
    return event


def refused(error: dict[str, Any], **more: Any) -> RequestError:
    """Return the refusal that reports an error of a child; more: further arguments of `RequestError`."""
    return RequestError(
        error["status"], error["error"], kind=error["type"], place=error["place"], choice=error["choice"], **more
    )
