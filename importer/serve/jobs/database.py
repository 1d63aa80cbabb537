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
from importer.serve.models.child import Command, ErrorEvent, ForgetCommand, PingCommand
from importer.serve.models.error import ErrorFields, RunError

from .processes import ChildDied

if TYPE_CHECKING:
    from importer.settings import Dsn

    from .processes import ChildPool

#: Seconds that the database has to answer a child.
_PING_SECONDS = 5.0
#: Seconds that a child has to drop what a cancelled run wrote.
_FORGET_SECONDS = 30.0
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
        self._asked: tuple[float, ErrorFields | None] = (0.0, None)
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

    async def health(self, children: ChildPool) -> ErrorFields | None:
        """Return why the database does not answer, as an error, or None; restart the embedded server if it stopped."""
        async with self._health_lock:
            at, error = self._asked
            if time.monotonic() - at > _HEALTH_CACHE_SECONDS:
                error = await self._ping(children)
                if error is not None and self.is_embedded and await self._restart():
                    error = await self._ping(children)
                self._asked = time.monotonic(), error
            return error

    async def _ping(self, children: ChildPool) -> ErrorFields | None:
        try:
            async with children.child() as child:
                # A busy machine may take long to start a child, which says nothing about the database.
                if not await child.answers():
                    raise ChildDied("did not start")  # noqa: TRY301 - one answer for all
                async with asyncio.timeout(_PING_SECONDS):
                    event = await child.work(PingCommand(dsn=self.dsn))
        except (TimeoutError, ChildDied):
            return ErrorFields(error="the database does not answer", type="ConnectionFailed", place=None, choice=None)
        return ErrorFields.model_validate(event.error.model_dump()) if isinstance(event, ErrorEvent) else None

    async def forget(self, children: ChildPool, identity: list[str]) -> None:
        """Drop what unfinished runs of an import left in staging and the ledger; identity: sha256, schema and table."""
        # `importer runs clean` removes later what this cannot.
        with contextlib.suppress(TimeoutError, ChildDied):
            async with asyncio.timeout(_FORGET_SECONDS), children.child() as child:
                await child.work(ForgetCommand(dsn=self.dsn, identity=identity))

    async def _restart(self) -> bool:
        """Restart the embedded server after somebody stopped it; return whether that worked."""
        servers = contextlib.ExitStack()
        try:
            self._dsn = await asyncio.to_thread(servers.enter_context, EmbeddedServer().running())
        except ImporterError:
            return False
        self._servers.push(servers)
        return True


async def ask_child(children: ChildPool, command: Command, seconds: float) -> dict[str, Any]:
    """Have a child answer a question; return its answer.

    Args:
        children: pool of the child processes.
        command: command that asks the question.
        seconds: time limit, which includes the wait for a child.

    Raises:
        RequestError: the child reported an error, died, or was not done in time.
    """
    try:
        async with asyncio.timeout(seconds), children.question_slots, children.child() as child:
            event = await child.work(command)
    except TimeoutError:
        raise RequestError(503, f"not done within {seconds:g} s", kind="TimedOut", choice="try again later") from None
    except ChildDied as exc:
        raise RequestError(500, f"the process that did the work {exc.how}", kind="ChildDied") from None
    if isinstance(event, ErrorEvent):
        raise refusal_of(event.error)
    return event.answer


def refusal_of(error: RunError) -> RequestError:
    """Return the refusal that reports an error of a child."""
    return RequestError(error.status, error.error, kind=error.type, place=error.place, choice=error.choice)
