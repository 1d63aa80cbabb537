"""Owns the child processes of the service: starts them ahead, reuses them, kills their process groups, cleans up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
from typing import TYPE_CHECKING

from importer.runtime.process_end import describe_end
from importer.serve.models.child import (
    EVENT,
    Command,
    DoneEvent,
    ErrorEvent,
    Event,
    HelloCommand,
    HelloEvent,
    LastEvent,
)
from importer.settings import LIBPQ_VARIABLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from pydantic import BaseModel

    EventHandler = Callable[[Event], BaseModel | None]

#: Commands after which a child is replaced by a fresh one: this bounds the memory that libraries never free.
_MAX_COMMANDS = 50
#: Maximum bytes of one line of a child; a report on 1,600 columns takes a megabyte.
_MAX_LINE_BYTES = 64 << 20
#: Seconds that a child has to clean up after SIGTERM before it is killed, on a cancel and when the service stops; the
#: importer promises to need two.
CHILD_STOP_SECONDS = 8.0
#: Seconds that an idle child has to answer `hello`; it may still be importing modules.
_START_SECONDS = 60.0
#: Environment variables that children do not inherit: secrets, and settings that would select another server.
_NOT_INHERITED = frozenset({"IMPORTER_TOKEN", "IMPORTER_DSN", "DATABASE_URL", "PYTHONWARNINGS", *LIBPQ_VARIABLES})


class ChildDied(Exception):
    """The child ended in the middle of a command.

    Attributes:
        how: how it ended, as the end of a sentence: "was killed (SIGKILL)".
    """

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Child:
    """One child process, with a session and process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process, scratch: Path) -> None:
        self._process, self.scratch = process, scratch
        self._command_count = 0
        self._ending = False

    @classmethod
    async def start(cls, scratch: Path) -> Child:
        """Start a child; it can be sent commands at once, while it is still importing modules."""
        scratch.mkdir(mode=0o700)  # noqa: ASYNC240 - microseconds
        env = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED} | {"TMPDIR": str(scratch)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "importer.serve.child.main",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True, env=env, cwd=scratch, limit=_MAX_LINE_BYTES,
        )  # fmt: skip
        return cls(process, scratch)

    @property
    def is_alive(self) -> bool:
        """Whether the child can take another command, as far as is known."""
        return self._process.returncode is None and not self._ending and self._command_count < _MAX_COMMANDS

    async def answers(self) -> bool:
        """Return whether the child answers `hello`.

        The system may have killed the idle child a moment ago. asyncio notices that only later, and a command sent in
        between would be lost.
        """
        if not self.is_alive:
            return False
        self._send(HelloCommand())
        with contextlib.suppress(ChildDied, TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                while not isinstance(await self._receive(), HelloEvent):
                    pass
                return True
        return False

    async def work(self, command: Command, handle: EventHandler | None = None) -> LastEvent:
        """Send a command and return its last event.

        Args:
            command: command to send.
            handle: called with every other event; a result that is not None is sent to the child as its answer.

        Raises:
            ChildDied: the child ended before its last event.
        """
        self._command_count += 1
        self._send(command)
        while True:
            event = await self._receive()
            if isinstance(event, DoneEvent | ErrorEvent):
                return event
            answer = handle(event) if handle is not None else None
            if answer is not None:
                self._send(answer)

    def _send(self, line: BaseModel) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(json.dumps(line.model_dump()).encode() + b"\n")

    async def _receive(self) -> Event:
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
        except ValueError:
            line = b""  # longer than any line that a working child writes
        if not line.endswith(b"\n"):
            raise ChildDied(describe_end(await self._ended()))
        # Not `validate_json`: texts of a contract may hold what is not valid Unicode.
        return EVENT.validate_python(json.loads(line))

    async def _ended(self) -> int:
        """Return the exit code; kill the child first if it closed its end of the pipe and keeps running."""
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._process.wait(), 1.0)
        self.kill()
        return await self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM; the child cleans up, and rows in staging stay."""
        self._ending = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the child and all processes that it started."""
        self._ending = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Terminate the child, kill it if that takes too long, and remove its temporary files."""
        if self._process.returncode is None:
            self.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), CHILD_STOP_SECONDS)
        self.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.to_thread(shutil.rmtree, self.scratch, ignore_errors=True)


class ChildPool:
    """A pool of children: the first is started ahead, and idle ones are kept for the next command.

    Args:
        scratch: parent folder of the children's temporary folders.
        places: maximum number of idle children, and of questions about tables and contracts answered at once.
    """

    def __init__(self, scratch: Path, places: int) -> None:
        self._scratch, self._places = scratch, places
        self.question_slots = asyncio.Semaphore(places)
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the first child, so that it is ready for the first command."""
        self._idle.append(await self._new())

    async def _new(self) -> Child:
        child = await Child.start(self._scratch / secrets.token_hex(3))
        self._all.add(child)
        return child

    @contextlib.asynccontextmanager
    async def child(self) -> AsyncIterator[Child]:
        """Lend a child for one command; it returns to the pool unless the block raises, or it is used up."""
        child = await self._waiting() or await self._new()
        try:
            yield child
        except BaseException:
            child.kill()
            raise
        finally:
            if child.is_alive and len(self._idle) < self._places:
                self._idle.append(child)
            else:
                self._retire(child)

    async def _waiting(self) -> Child | None:
        """Return an idle child that answers, or None; retire idle children that do not."""
        while self._idle:
            child = self._idle.pop()
            answers = False
            try:
                answers = await child.answers()
            finally:
                if not answers:
                    self._retire(child)
            if answers:
                return child
        return None

    def _retire(self, child: Child) -> None:
        self._all.discard(child)
        task = asyncio.create_task(child.stop())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Stop all children."""
        await asyncio.gather(*(child.stop() for child in self._all), *self._tasks, return_exceptions=True)
        self._all.clear()
