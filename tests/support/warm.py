"""Runs the command line in processes forked from one that has imported all of it: many runs with faults, quickly.

A run by `support.commandline.started` takes some seconds of imports in each of its processes. Here a template process
imports once, and every run is a fork of it: a process of its own, with a group, environment and files of its own, that
can be killed, cut off and starved like any other. It has no workers (`--workers 0`). The template is run as a script.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.commandline import Running

#: What a run executes; its arguments are in `sys.argv`. The program itself would start workers before it reads them.
PROGRAM = """
from importer.cli.commands import main
from importer.workers.own_process import declare_own_program

declare_own_program()
main()
"""
#: Libraries must not start threads that allocate when they are imported: one that is forked away may hold a lock.
_NO_THREADS = {
    "_RJEM_MALLOC_CONF": "background_thread:false,dirty_decay_ms:-1,muzzy_decay_ms:-1",
    "OPENBLAS_NUM_THREADS": "1",
}


class WarmProcess:
    """A forked run, used as a `subprocess.Popen` is."""

    def __init__(self, pid: int, template: Template) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._template, self._ended = template, threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self.returncode = self._template.read()
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("a forked run", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Template:
    """The process that runs are forked from, one at a time; a context manager.

    Args:
        env: environment variables of the template, as for a library that is preloaded into it.
    """

    def __init__(self, **env: str) -> None:
        # Paths of its own: the run's folders are none of them.
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        environment |= {"PYTHONPATH": paths, "PYTHONWARNINGS": "ignore", **_NO_THREADS, **env}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen([sys.executable, __file__], env=environment, text=True, **pipes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def fork(self, order: dict[str, Any]) -> WarmProcess:
        """Start a run; for the order, see `_become`."""
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return WarmProcess(self.read(), self)

    def read(self) -> int:
        """The next number that the template says: the process of a run, or how it ended (as `Popen.returncode`)."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the template ended"
        return int(line)

    @contextlib.contextmanager
    def started(
        self,
        *arguments: object,
        cwd: Path,
        env: dict[str, str] | None = None,
        stdout: Path | None = None,
        program: str = PROGRAM,
    ) -> Iterator[Running]:
        """A run under way, as by `commandline.started`.

        Args:
            arguments: what follows the name of the program.
            cwd: its folder.
            env: environment variables beside those of the template.
            stdout: file for what it prints; None: `Ran.out` has it.
            program: what it executes.
        """
        from support.commandline import tracked, with_home

        with with_home() as home:
            order = {
                "arguments": [str(each) for each in arguments],
                "cwd": str(cwd),
                "env": {"TMPDIR": str(home / "t"), **(env or {})},
                "out": str(stdout or home / "out"),
                "err": str(home / "err"),
                "program": program,
            }
            (home / "out").touch()
            with tracked(self.fork(order), home / "t") as running:
                yield running


# ---- IN THE TEMPLATE --------------------------------------------------------------------------------------------


def _become(order: dict[str, Any]) -> NoReturn:
    """Be the run that was ordered."""
    os.setsid()
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, order["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    tempfile.tempdir = None
    _tell_faults("begin")
    gc.set_threshold(100_000)
    sys.argv = ["importer", *order["arguments"]]
    exec(order["program"], {"__name__": "__main__"})
    sys.exit(0)


def _tell_faults(what: str) -> None:
    """Say to the library that lets calls fail that this process is `idle`, or that a run is to `begin`."""
    if "FILEFAULTS" in os.environ:
        import ctypes

        getattr(ctypes.CDLL(None), f"filefaults_{what}")()


def _serve() -> None:
    """Fork a run for each order, and say its process and how it ended."""
    _tell_faults("idle")
    # The runs' own standard streams are files: what they write must not get between our answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            # Closed without a word: nothing was written since the last answer.
            answers.close()
            _become(json.loads(line))
        print(pid, file=answers, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _import_all() -> None:
    """Import what a run needs, as the product's own fork server does for its workers."""
    import importer.cli.commands
    import importer.pipeline
    import importer.stages.worker  # noqa: F401

    for name in ("adbc_driver_postgresql.dbapi", "fastexcel", "xlsxwriter"):
        __import__(name)
    gc.freeze()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _import_all()
    _serve()
