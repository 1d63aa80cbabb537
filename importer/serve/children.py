"""Owns the child processes of the service: started ahead, used for many commands, killed whole, tidied up behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

from ..settings import LIBPQ_VARIABLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    Hear = Callable[[dict[str, Any]], dict[str, Any] | None]

#: Commands after which a child makes place for a fresh one: memory that libraries never give back stays bounded.
_COMMANDS = 50
#: One line of a child: a report on 1,600 columns is a megabyte.
_LINE_BYTES = 64 << 20
#: How long a child may tidy up after SIGTERM, in seconds; the importer promises two.
_TIDY_SECONDS = 8.0
#: How long an idle child may take to say that it is there, in seconds; it may still be importing.
_START_SECONDS = 60.0
#: What a child must not find in its environment: secrets, and servers that are not meant.
_NOT_INHERITED = frozenset({"IMPORTER_TOKEN", "IMPORTER_DSN", "DATABASE_URL", "PYTHONWARNINGS", *LIBPQ_VARIABLES})


class ChildDied(Exception):
    """The child ended in the middle of a command.

    Attributes:
        how: in words.
    """

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Child:
    """One child process, in a session of its own."""

    def __init__(self, process: asyncio.subprocess.Process, scratch: Path) -> None:
        self._process, self.scratch = process, scratch
        self._commands = 0
        self._ending = False

    @classmethod
    async def start(cls, scratch: Path) -> Child:
        """A child that can take commands; it imports meanwhile."""
        scratch.mkdir(mode=0o700)  # noqa: ASYNC240 - microseconds
        env = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED} | {"TMPDIR": str(scratch)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "importer.serve.child", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True, env=env, cwd=scratch, limit=_LINE_BYTES,
        )  # fmt: skip
        return cls(process, scratch)

    @property
    def is_alive(self) -> bool:
        """Whether it can take another command."""
        return self._process.returncode is None and not self._ending and self._commands < _COMMANDS

    async def answers(self) -> bool:
        """Whether it is there and waits for a command.

        The system may have killed it a moment ago, while nobody looked: asyncio learns that later than the caller,
        whose command would be lost with it.
        """
        if not self.is_alive:
            return False
        self._say({"op": "hello"})
        with contextlib.suppress(ChildDied, TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                while (await self._hear())["event"] != "hello":
                    pass
                return True
        return False

    async def work(self, command: dict[str, Any], hear: Hear | None = None) -> dict[str, Any]:
        """The last event of a command: `done` or `error`.

        Args:
            command: with `op`.
            hear: is told the other events; what it returns is the answer to one that asks.

        Raises:
            ChildDied: before there was one.
        """
        self._commands += 1
        self._say(command)
        while True:
            event = await self._hear()
            if event["event"] in {"done", "error"}:
                return event
            answer = hear(event) if hear is not None else None
            if answer is not None:
                self._say(answer)

    def _say(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
        except ValueError:
            line = b""  # longer than any honest line
        if not line.endswith(b"\n"):
            raise ChildDied(_how(await self._ended()))
        event: dict[str, Any] = json.loads(line)
        return event

    async def _ended(self) -> int:
        """Its return code; killed when it only closed its end of the pipe."""
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._process.wait(), 1.0)
        self.kill()
        return await self._process.wait()

    def terminate(self) -> None:
        """Ask it to end; it keeps what was written."""
        self._ending = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        self._ending = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End it, by force where it takes too long, and remove its temporary files."""
        if self._process.returncode is None:
            self.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _TIDY_SECONDS)
        self.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.to_thread(shutil.rmtree, self.scratch, ignore_errors=True)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed ({signal.Signals(-code).name})"
    return f"was killed (signal {-code})"


class Crew:
    """The children: idle ones wait for the next command, one is always started ahead.

    Args:
        scratch: folder of their temporary files.
        places: how many may be idle, and how many may answer questions about tables and contracts at once.
    """

    def __init__(self, scratch: Path, places: int) -> None:
        self._scratch, self._places = scratch, places
        self.questions = asyncio.Semaphore(places)
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Have one child ready."""
        self._idle.append(await self._new())

    async def _new(self) -> Child:
        child = await Child.start(self._scratch / secrets.token_hex(3))
        self._all.add(child)
        return child

    @contextlib.asynccontextmanager
    async def child(self) -> AsyncIterator[Child]:
        """A child for one command; it is used again when it ended well."""
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
        """An idle child that answers, if there is one; those that do not are ended."""
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
        """End all children."""
        await asyncio.gather(*(child.stop() for child in self._all), *self._tasks, return_exceptions=True)
        self._all.clear()
