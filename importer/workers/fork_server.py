"""Starts worker processes from a fork server, without the caller's main module, and with signals held back."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import types
from typing import TYPE_CHECKING, Any

from importer.errors import MachineError

from .memory_limit import limit_memory
from .own_process import is_own_program, open_standard_streams

if sys.platform == "win32":
    from multiprocessing.context import SpawnContext as _Context
else:
    from multiprocessing.context import ForkServerContext as _Context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

#: Imported once by the fork server, so that a worker starts in 10 ms instead of a second.
PRELOAD = ["importer.stages.preload"]
_SIGHUP = [signal.SIGHUP] if sys.platform != "win32" else []


class Context(_Context):
    """A multiprocessing context that keeps the processes it made, which an executor does not expose.

    Attributes:
        processes: in the order in which they were made; a process that did not start has no pid.
    """

    def __init__(self) -> None:
        self.processes: list[BaseProcess] = []

    def Process(self, *args: Any, **options: Any) -> BaseProcess:  # type: ignore[override]  # noqa: N802 - its name there
        """Make a process, which the caller starts."""
        process = super().Process(*args, **options)
        self.processes.append(process)
        return process


def context() -> Context:
    """Return a new multiprocessing context: a fork server that has the heavy imports done; `spawn` on Windows.

    Plain `fork` is never used: polars must not run in a child of a process where its threads have started.
    """
    ctx = Context()
    if sys.platform != "win32":
        ctx.set_forkserver_preload(PRELOAD)
    return ctx


def warm_up() -> None:
    """Start the fork server now, so that its imports run beside ours.

    Raises:
        MachineError: its socket cannot be created.
    """
    if sys.platform != "win32":
        from multiprocessing import forkserver, resource_tracker

        open_standard_streams()
        context()
        resource_tracker.ensure_running()  # on its own: it unblocks the signals that `isolated_start` blocks
        try:
            if is_own_program():
                _lock_socket_folder()
            with isolated_start():
                forkserver.ensure_running()
        except OSError as exc:
            # Its socket is in the folder for temporary files; the path of a socket has at most 104-108 bytes.
            raise MachineError(
                f"workers cannot be started ({exc.strerror or exc})",
                place=tempfile.gettempdir(),
                choice="set TMPDIR to a writable folder with a short path",
            ) from None


def _lock_socket_folder() -> None:
    """Hold the folder of the fork server's socket, so that a later run removes it if this process is killed.

    Before there is a socket in it: a folder with a socket and without our lock may be anybody's.
    """
    from multiprocessing import util
    from pathlib import Path

    from importer.runtime.locked_folder import lock_new_folder

    with contextlib.suppress(OSError):  # then it stays after a kill
        lock_new_folder(Path(util.get_temp_dir()))


def kill_fork_server() -> None:
    """Kill the fork server, so that no requested process starts any more; those who wait for one get an EOFError."""
    if sys.platform != "win32":
        from multiprocessing import forkserver

        # Nothing public tells its pid but a search of our children: psutil would take 33 ms of a command that was
        # refused. Its own way to end, `_stop`, is no more public, and waits for the end of its imports.
        pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
        if pid is not None:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def isolated_start() -> Iterator[None]:
    """Hide the main module, and defer signals, while the block starts processes.

    multiprocessing imports the main module again in every child. Our tasks live in the package, and a user's script
    that calls `import_workbook` at its top level must not run again in each worker. An exception in the middle of a
    start would leave a process that is not tracked. Workers inherit the blocked SIGINT: Ctrl-C reaches all processes
    of a terminal, and only this one must react to it.
    """
    with _hide_main(), _defer_signals():
        blocked = None if sys.platform == "win32" else signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            if sys.platform != "win32":
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked or ())


class _HiddenMain:
    """The hidden main module, and by how many threads that start processes; the last of them restores it."""

    lock = threading.Lock()
    threads = 0
    main: types.ModuleType | None = None


@contextlib.contextmanager
def _hide_main() -> Iterator[None]:
    with _HiddenMain.lock:
        if not _HiddenMain.threads:
            _HiddenMain.main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        _HiddenMain.threads += 1
    try:
        yield
    finally:
        with _HiddenMain.lock:
            _HiddenMain.threads -= 1
            if not _HiddenMain.threads and _HiddenMain.main is not None:
                sys.modules["__main__"] = _HiddenMain.main


@contextlib.contextmanager
def _defer_signals() -> Iterator[None]:
    """Defer this process's signal handlers until the block ends (blocking alone fails: any thread may get a signal)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handled = [n for n in (signal.SIGINT, signal.SIGTERM, *_SIGHUP) if callable(signal.getsignal(n))]
    previous = {number: signal.signal(number, lambda n, _: caught.append(n)) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


# ---- IN THE WORKER ----------------------------------------------------------------------------------------------


def begin(threads: int) -> None:
    """Initialize a worker before its run is known: ignore Ctrl-C, and end when the parent ends.

    Args:
        threads: number of threads for polars.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_threads(threads)
    _redirect(os.devnull)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _limit_threads(threads: int) -> None:
    """Limit the threads of polars, which starts them when it first needs them."""
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    if (polars := sys.modules.get("polars")) is not None:
        # It read the setting when the fork server imported it.
        polars.Config.load(json.dumps({"environment": {"POLARS_MAX_THREADS": str(threads)}}))


def set_up(memory_bytes: int, log: str) -> None:
    """Set a worker up for a run: hold the folder of `log`, send its output there, and limit its memory."""
    from pathlib import Path

    from importer.runtime.locked_folder import hold

    try:
        hold(Path(log).parent)
        _redirect(log)
        limit_memory(memory_bytes)
    except BaseException:
        os._exit(1)  # otherwise it would work without a limit
        raise


def _redirect(log: str) -> None:
    """Send native and Python output to the log: a library that aborts writes to stderr on its own."""
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _exit_with_parent() -> None:
    """End this worker when its parent process is gone (after kill -9 of the parent there is no other sign)."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
