"""Faults for tests: a server that can be crashed, a wire that can be cut, a reader that watches, runs that are killed."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.asking import NAME, ask, user_session
from support.commandline import Ran, Running, started

from importer.errors import ImporterError
from importer.postgres.embedded import EmbeddedServer
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A faulty run and the ones behind it; on two busy cores they take a tenth of it.
SECONDS = 120


class Server:
    """A PostgreSQL server that its test may stop as if the power had failed. It listens on a port of this machine, too.

    Args:
        folder: for its data and its log.
        version: of the machine's own server to use; None: the embedded one, for others than root the machine's.
    """

    def __init__(self, folder: Path, version: str | None = None) -> None:
        self.folder = folder
        self.data = folder / "pg"
        self.port = _free_port()
        found = machine_programs(version or "*")
        is_machines = bool(found) and (version is not None or os.geteuid() != 0)
        self._bin = Path(found[-1]) if is_machines else EmbeddedServer(folder)._bin()
        self._user: dict[str, Any] = {} if os.geteuid() else {"user": "postgres" if is_machines else "pgserver"}
        self.dsn = Dsn(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")

    def make(self) -> None:
        if self._user == {"user": "pgserver"} and not _known("pgserver"):
            # The package of the embedded server makes the user that a server of root's runs as.
            with EmbeddedServer(self.folder / "other").running():
                pass
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._user:
            shutil.chown(self.data, self._user["user"])
        self._call("initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
            file.write("fsync = off\nmax_wal_size = '1GB'\nshared_buffers = '64MB'\n")

    def start(self) -> None:
        self._call("pg_ctl", "-w", "-D", self.data, "-l", self.data / "log", "start")

    def stop(self, how: str = "immediate") -> None:
        self._call("pg_ctl", "-w", "-D", self.data, "-m", how, "stop")

    def _call(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd="/", **quiet, **self._user)

    def check_pages(self) -> bool:
        """Fail if amcheck finds a damaged table or index; return False where the server does not have that extension."""
        if not self.rows("select 1 from pg_available_extensions where name = 'amcheck'"):
            return False
        options = ["--install-missing", "--heapallindexed", "--parent-check", "-h", "127.0.0.1", "-p", str(self.port)]
        command = [str(self._bin / "pg_amcheck"), *options, "-U", "postgres", "postgres"]
        checked = subprocess.run(command, capture_output=True, text=True, cwd="/")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        return True

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return ask(self.dsn, sql)

    def run(self, *statements: str) -> None:
        with user_session(self.dsn, autocommit=True) as session:
            for sql in statements:
                session.run(sql)

    def staging(self) -> list[str]:
        return [
            n for (n,) in self.rows("select relname::text from pg_class where relname ~ '^stage_' and relkind = 'r'")
        ]


def machine_programs(version: str) -> list[str]:
    """Where the machine's own PostgreSQL of that version (`*`: of any) has its programs, if it is installed."""
    return sorted(
        glob.glob(f"/usr/lib/postgresql/{version}/bin") + glob.glob(f"/opt/homebrew/opt/postgresql@{version}/bin")
    )


def _known(user: str) -> bool:
    import pwd

    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def own_server(data: Path | None = None, version: str | None = None) -> Iterator[Server]:
    """A running server of the test's own.

    Args:
        data: folder for its data; None: a temporary one.
        version: see `Server`.
    """
    folder = Path(tempfile.mkdtemp(prefix="it-pg-", dir=data))
    folder.chmod(0o755)
    server = Server(folder, version)
    try:
        server.make()
        server.start()
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def importing(
    server: Server,
    path: Path,
    *options: object,
    dsn: Dsn | None = None,
    mode: str = "append",
    program: tuple[str, str] = ("-m", "importer"),
) -> Any:
    """A run under way into table `t`, in a context manager."""
    command = [
        sys.executable,
        *program,
        "run",
        path,
        "--to",
        (dsn or server.dsn).text,
        "--table",
        "t",
        "--mode",
        mode,
    ]
    return started(*map(str, [*command, "--workers", 2, *options]), cwd=path.parent, env={"PYTHONWARNINGS": "ignore"})


def finished(server: Server, path: Path, *options: object, **more: Any) -> Ran:
    """A run to its end."""
    with importing(server, path, *options, **more) as running:
        return running.finish(SECONDS)


def kill_tree(running: Running) -> None:
    """kill -9 of all processes of a run at once."""
    tree = running.tree()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.process.pid, signal.SIGKILL)
    for process in tree:
        with contextlib.suppress(psutil.Error):
            process.kill()
    running.process.wait()


def wait_for_backends(server: Server) -> None:
    """Wait until the server has noticed that a killed run is gone: what it was given it finishes first."""
    theirs = f"select 1 from pg_stat_activity where backend_type = 'client backend' and application_name <> '{NAME}'"
    end = time.monotonic() + SECONDS
    while server.rows(theirs):
        assert time.monotonic() < end, "backends of a killed run are still there"
        time.sleep(0.01)


@contextlib.contextmanager
def watching(server: Server, state: str) -> Iterator[list[Any]]:
    """The different answers, in order, that a reader gets who asks again and again while the block runs."""
    seen: list[Any] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            with contextlib.suppress(ImporterError), user_session(server.dsn, autocommit=True) as session:
                while not done.is_set():
                    asked = time.monotonic()
                    answer = session.query(state)[0]
                    if not seen or seen[-1] != answer:
                        seen.append(answer)
                    # A table of a hundred megabytes takes a processor to be counted: the run needs it, too.
                    time.sleep(max(0.005, 2 * (time.monotonic() - asked)))
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


class CommitChosen:
    """Chooses where a wire is cut, see `Fault.when`: at a commit of a chunk or of what is published, or at its answer.

    Args:
        chunk: at the first commit that follows a COPY, else at the first that publishes.
        how: `before` the commit, or `answer`.
    """

    def __init__(self, *, chunk: bool, how: str) -> None:
        self._words = (b"COPY", b"importer") if chunk else (b"published", b"UPDATE")
        self._how = how
        self._marked: set[int] = set()
        self._committing: int | None = None

    def __call__(self, to_server: bool, message: bytes, connection: int) -> bool:
        """Whether this is the message."""
        if not to_server:
            return self._committing == connection
        if all(word in message for word in self._words):
            self._marked.add(connection)
        if connection not in self._marked or b"COMMIT" not in message:
            return False
        self._committing = connection if self._how == "answer" else None
        return self._how == "before"


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A disk of that size; skips the test where none can be mounted."""
    # Not in pytest's own folder: the user that a server runs as may not look into that.
    place = Path(tempfile.mkdtemp(prefix="it-disk-"))
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        place.rmdir()
        pytest.skip("only root can mount a small disk here")
    place.chmod(0o755)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()


def moments(total: int, wanted: int | None, seed: int) -> range:
    """The numbers of the messages or calls to try, from 1: all, or some that lie evenly."""
    step = 1 if wanted is None else max(1, total // wanted)
    return range(1 + seed % step, total + 1, step)
