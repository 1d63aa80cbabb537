"""Runs the command line as users do: a process of its own, with bounds on time and memory, and a look at what it leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.warm import WarmProcess

#: Nothing that a test runs may take longer; on a machine that nothing else uses it takes a fiftieth of it.
SECONDS = 240
MIB = 1 << 20
#: What would lead a run to a server that the test does not mean.
_TARGET_VARIABLES = ("IMPORTER_DSN", "DATABASE_URL", "IMPORTER_DATA_DIR")


@dataclass(frozen=True)
class Ran:
    """A run that ended.

    Attributes:
        code: exit code.
        out: on stdout.
        err: on stderr.
        peak: largest sum of the memory that its processes had each for itself, in bytes.
        left: names of what it left in the folder for temporary files.
        orphans: processes that outlived it; of a run in this process the threads.
    """

    code: int
    out: str
    err: str
    peak: int
    left: list[str]
    orphans: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Running:
    """A run under way; `finish` waits for its end."""

    def __init__(self, process: subprocess.Popen[str] | WarmProcess, temp: Path) -> None:
        self.process = process
        self.temp = temp
        self.peak = 0
        self._seen: dict[int, psutil.Process] = {}

    def tree(self) -> list[psutil.Process]:
        """The processes of the run that are alive now."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            found = [root, *root.children(recursive=True)]
        self._seen.update({p.pid: p for p in found})
        return found

    def workers(self) -> list[psutil.Process]:
        """The worker processes: children of the fork server."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [p for child in psutil.Process(self.process.pid).children() for p in child.children()]
        return []

    def look(self) -> None:
        """Remember the processes and what they hold."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                memory = process.memory_info()
                total += memory.rss - memory.shared
        self.peak = max(self.peak, total)

    def wait_for(self, condition: Any, seconds: float = SECONDS) -> Any:
        """The first truthy value of `condition()`; fails when the run ends, or the time, before there is one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            if value := condition():
                return value
            assert self.process.poll() is None, f"ended before: {self.finish()}"
            time.sleep(0.01)
        raise AssertionError(f"not within {seconds} s")

    def finish(self, seconds: float = SECONDS, orphan_seconds: float = SECONDS) -> Ran:
        """The ended run, whose other processes have that long to end, too."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            self.look()
            assert time.monotonic() < end, f"hangs after {seconds} s: {[p.cmdline()[-1:] for p in self.tree()]}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.03)
        out, err = (Path(self.temp.parent, name).read_text(encoding="utf-8") for name in ("out", "err"))
        left = sorted(p.name for p in self.temp.iterdir())
        return Ran(self.process.wait(), out, err, self.peak, left, self.orphans(orphan_seconds))

    def orphans(self, seconds: float = SECONDS) -> list[str]:
        """The processes of the run that are still alive after that time."""
        end = time.monotonic() + seconds
        while (
            alive := [p for p in self._seen.values() if p.pid != self.process.pid and _is_alive(p)]
        ) and time.monotonic() < end:
            time.sleep(0.01)
        return [str(p) for p in alive]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def started(
    *command: str, env: dict[str, str] | None = None, cwd: Path | None = None, **options: Any
) -> Iterator[Running]:
    """A command under way, in a process group of its own, with a folder for temporary files of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG") and k not in _TARGET_VARIABLES}
    with with_home() as home:
        environment |= {"TMPDIR": str(home / "t"), "PYTHONWARNINGS": "error", **(env or {})}
        with (home / "out").open("w") as out, (home / "err").open("w") as err:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **options}
            process = subprocess.Popen(command, env=environment, cwd=cwd, text=True, start_new_session=True, **streams)
        with tracked(process, home / "t") as running:
            yield running


@contextlib.contextmanager
def with_home() -> Iterator[Path]:
    """A folder for what a run prints, with one for its temporary files, `t`."""
    # Short, because a socket's path in it must be.
    home = Path(tempfile.mkdtemp(prefix="it-"))
    home.chmod(0o755)
    temp = home / "t"
    temp.mkdir(mode=0o777)
    temp.chmod(0o777)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def tracked(process: subprocess.Popen[str] | WarmProcess, temp: Path) -> Iterator[Running]:
    """A run, all of whose processes are ended with the block."""
    running = Running(process, temp)
    try:
        yield running
    finally:
        for each in running.tree():
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.wait()


def importer(*arguments: object, **options: Any) -> Ran:
    """`python -m importer` with these arguments, to its end."""
    seconds, orphan_seconds = options.pop("seconds", SECONDS), options.pop("orphan_seconds", SECONDS)
    with started(sys.executable, "-m", "importer", *map(str, arguments), **options) as running:
        return running.finish(seconds, orphan_seconds)


def importer_here(*arguments: object, temp: Path) -> Ran:
    """The command line in this process and without workers: a tenth of the time of `importer`.

    Args:
        arguments: what follows the name of the program.
        temp: folder for its temporary files.
    """
    from importer.cli.commands import cli

    out, err = io.StringIO(), io.StringIO()
    words = [*map(str, arguments), "--workers", "0", "--temp-dir", str(temp)]
    before = set(threading.enumerate())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli(words, prog_name="importer", standalone_mode=False)
        except SystemExit as exc:
            code = exc.code
    ending = [thread for thread in threading.enumerate() if thread not in before]
    for thread in ending:
        thread.join(10)
    left, threads = sorted(p.name for p in temp.iterdir()), [str(each) for each in ending if each.is_alive()]
    return Ran(code or 0, out.getvalue(), err.getvalue(), 0, left, threads)


def assert_clean(ran: Ran) -> None:
    """Nothing is left of a run: no temporary file, no process, and no traceback was shown."""
    assert (ran.left, ran.orphans) == ([], [])
    assert "Traceback" not in ran.err + ran.out, ran.err
