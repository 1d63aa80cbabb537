"""Tasks that worker processes run for the tests: some do their work, most fail in ways that real ones do."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from importer.errors import UsageError
from importer.workers.own_process import require_worker


class Task(NamedTuple):
    """What to do, with what."""

    name: str
    value: Any = None
    file: str | None = None


class PanicException(BaseException):
    """What a panic of a Rust library raises: no `Exception`."""


class Unpicklable(Exception):
    """Cannot be rebuilt on the other side, as the errors of some drivers."""

    def __init__(self, one: int, *, two: int) -> None:
        super().__init__(one)


def task(asked: Task) -> Any:
    """Do one of the things below."""
    return globals()["_" + asked.name.replace("-", "_")](asked)


def stuck_once(flag: str, _: None) -> None:
    """Never end in the first process that calls it."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    time.sleep(600)


def _echo(asked: Task) -> Any:
    return asked.value


def _limited(asked: Task) -> int:
    require_worker()
    return os.getpid()


def _pid(asked: Task) -> int:
    time.sleep(asked.value)
    return os.getpid()


def _polars_threads(_: Task) -> int:
    import polars as pl

    return pl.thread_pool_size()


def _sleep(asked: Task) -> None:
    if asked.file:
        part = Path(asked.file + ".part")
        part.write_text(str(os.getpid()))
        part.rename(asked.file)
    time.sleep(asked.value)


def _kill(asked: Task) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _abort(asked: Task) -> None:
    os.abort()


def _killed_first(asked: Task) -> int:
    """End by that signal in the first process that is asked."""
    assert asked.file is not None
    if not os.path.exists(asked.file):
        Path(asked.file).touch()
        os.kill(os.getpid(), asked.value)
    return os.getpid()


def _exit(asked: Task) -> None:
    os._exit(1)


def _memory(asked: Task) -> int:
    return len(bytearray(1 << 40))


def _enomem(asked: Task) -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def _panic(asked: Task) -> None:
    raise PanicException("called `Option::unwrap()` on a `None` value\nnote: run with RUST_BACKTRACE=1")


def _unpicklable(asked: Task) -> None:
    raise Unpicklable(1, two=2)


def _usage(asked: Task) -> None:
    raise UsageError("fact", place="place", choice="choice")


def _disk_full(asked: Task) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/spool/x.arrow")


def _interrupt(asked: Task) -> None:
    raise KeyboardInterrupt


def _allocate(asked: Task) -> int:
    return len(bytearray(asked.value))


def _map(asked: Task) -> int:
    with open(asked.value, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return len(mapped)


def _print(asked: Task) -> None:
    ctypes.CDLL(None).puts(b"native")
    ctypes.CDLL(None).fflush(None)
    print("python", file=sys.stderr, flush=True)
