"""Fetches a file: ranges side by side, in order, hashed on the way, of one version and of full length."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, NamedTuple, Self, TypeVar

from importer.errors import ImporterError, LimitExceeded, MachineError, SourceChanged, SourceUnavailable, TimedOut
from importer.runtime.interruptible import CallThread, await_result
from importer.runtime.retry import Deadline, Retry

from .reader import RANGE_BYTES, RemoteReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from importer.settings import Limits
    from importer.urls import Url

Result = TypeVar("Result")
#: Ranges that are read at once: one connection to a store of objects gives 50-100 MB/s, the network some of those.
_AT_ONCE = 4


@dataclass(frozen=True)
class FetchRules:
    """How long a fetch may try, and how much it may take.

    Attributes:
        limits: limits of size and time.
        retry_for: seconds to keep retrying while the server fails.
        deadline: deadline of the run.
        say: is told that something is tried again; None: nobody is.
    """

    limits: Limits
    retry_for: float = 60.0
    deadline: Deadline | None = None
    say: Callable[[str], None] | None = None


class FetchedFile(NamedTuple):
    """What was fetched: its SHA-256 (hex), its bytes, and its version as its server names it, or None."""

    sha256: str
    size: int
    version: str | None


def open_reader(url: Url) -> RemoteReader:
    """Return a reader of a file; raises as that does."""
    if url.is_http:
        from .web import WebReader

        return WebReader(url)
    from .filesystems import SystemReader

    return SystemReader(url)


def fetch_into(file: IO[bytes], url: Url, rules: FetchRules, room: Path | None = None) -> FetchedFile:
    """Write the content of an address to an empty file.

    Args:
        file: the file.
        url: the address.
        rules: how long to try, and how much to take.
        room: folder whose disk the file lies on; None: it lies in memory.

    Raises:
        UsageError: no library for such addresses is installed.
        SourceRefused: there is no such file, or it may not be read.
        SourceUnavailable: the server failed for too long.
        SourceChanged: the file was changed meanwhile.
        LimitExceeded: it is larger than the limits allow.
        MachineError: it does not fit on the disk.
        TimedOut: the deadline passed, or the limit of time.
    """
    with _Fetch(file, url, rules) as fetch:
        return fetch.run(room)


class _Fetch:
    """One fetch. What may block is done by threads, so that a signal or the deadline ends the wait for it."""

    def __init__(self, file: IO[bytes], url: Url, rules: FetchRules) -> None:
        self._file, self._url, self._rules = file, url, rules
        self._hash, self._size = hashlib.sha256(), 0
        outer = rules.deadline.left() if rules.deadline else None
        own = rules.limits.source_seconds
        self._is_own = outer is None or own < outer
        self._deadline = Deadline(own) if self._is_own or rules.deadline is None else rules.deadline
        self._threads = [CallThread("fetch") for _ in range(_AT_ONCE)]
        self._stopped = False
        self._reader: RemoteReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        if self._reader is not None:
            with contextlib.suppress(Exception):
                self._reader.close()
        for thread in self._threads:
            thread.close()

    def run(self, room: Path | None) -> FetchedFile:
        reader = self._reader = self._wait(self._retried(self._open))
        self._check(reader.size or 0, room)
        if reader.has_ranges and reader.size is not None:
            for piece in self._ranges(reader, reader.size):
                self._write(piece)
            self._wait(self._retried(reader.check_unchanged))
        else:
            self._take_stream(reader)
        with self._disk_errors():
            self._file.flush()
        return FetchedFile(self._hash.hexdigest(), self._size, reader.version)

    def _open(self) -> RemoteReader:
        reader = open_reader(self._url)
        if self._stopped:
            reader.close()
        return reader

    def _ranges(self, reader: RemoteReader, size: int) -> Iterator[bytes]:
        """Yield the pieces of a file in order, while the next ones are read."""
        waiting: deque[Future[bytes]] = deque()
        for number, start in enumerate(range(0, size, RANGE_BYTES)):
            if len(waiting) == _AT_ONCE:
                yield self._wait(waiting.popleft())
            read = partial(reader.read, start, min(start + RANGE_BYTES, size))
            waiting.append(self._retried(read, number % _AT_ONCE))
        while waiting:
            yield self._wait(waiting.popleft())

    def _take_stream(self, reader: RemoteReader) -> None:
        """Write a file that is sent in one piece; one that was cut begins again."""
        retry = self._retry()
        while True:
            pieces = reader.stream()
            try:
                while piece := self._wait(self._threads[0].submit(partial(next, pieces, b""))):
                    self._write(piece)
                break
            except SourceChanged:
                raise
            except SourceUnavailable as exc:
                retry.wait_or_raise(exc)
            finally:
                with contextlib.suppress(ValueError):  # a thread is still waiting for the next piece
                    pieces.close()
            with self._disk_errors():
                self._file.seek(0)
                self._file.truncate()
            self._hash, self._size = hashlib.sha256(), 0

    def _write(self, piece: bytes) -> None:
        self._size += len(piece)
        self._check(self._size, None)
        self._hash.update(piece)
        with self._disk_errors():
            self._file.write(piece)

    def _check(self, size: int, room: Path | None) -> None:
        """Refuse what is too large for the limits, or for the disk."""
        most = self._rules.limits.source_bytes
        if size > most:
            raise LimitExceeded(
                f"the source has {size:,} bytes or more, the limit is {most:,}", place=str(self._url),
                choice="download it and name the file, or raise limits.source_bytes",
            )  # fmt: skip
        if room is not None and size > (free := shutil.disk_usage(room).free):
            raise MachineError(
                f"the source has {size:,} bytes, and the disk {free:,} free", place=str(room), choice=_DISK_CHOICE
            )

    def _retry(self) -> Retry:
        return Retry(self._rules.retry_for, self._deadline, self._rules.say)

    def _retried(self, call: Callable[[], Result], thread: int = 0) -> Future[Result]:
        """Let a thread make a call, again and again while the server fails."""
        retry = self._retry()

        def make() -> Result:
            while True:
                try:
                    return call()
                except SourceChanged:
                    raise
                except ImporterError as exc:
                    if self._stopped:
                        raise
                    retry.wait_or_raise(exc)

        return self._threads[thread].submit(make)

    def _wait(self, future: Future[Result]) -> Result:
        try:
            return await_result(future, self._deadline.left())
        except (TimeoutError, TimedOut):
            if not self._is_own:
                raise self._deadline.error() from None
            raise TimedOut(
                f"not fetched within {self._rules.limits.source_seconds:g} s", place=str(self._url),
                choice="download it and name the file, or raise limits.source_seconds",
            ) from None  # fmt: skip

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise MachineError(
                f"what is fetched cannot be kept: {exc.strerror or exc}", place=exc.filename, choice=_DISK_CHOICE
            ) from None


_DISK_CHOICE = "free some space, or point --temp-dir at another disk"
