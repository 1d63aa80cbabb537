"""Measures commands as whole processes: seconds, CPU seconds and peak memory of the process tree; finds the server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Between two looks at the process tree. What a process used after the last look is missed.
_LOOK_SECONDS = 0.05

#: Python keeps what it has compiled, as it does unless told otherwise: an installed package was compiled when it was
#: installed, one in a checkout would be at every start.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Measured(NamedTuple):
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        cpu: CPU seconds of the process and all that it started (not of the server).
        peak: proportional memory (PSS) of them together, in bytes; 0 where the system does not tell.
        output: what it printed.
        errors: what it printed on standard error.
        code: exit code.
    """

    seconds: float
    cpu: float
    peak: int
    output: str
    errors: str
    code: int


@contextlib.contextmanager
def running_server(to: str | None) -> Iterator[str]:
    """Provide the connection string of the server to use: that one, else the environment's, else the embedded one."""
    from importer.postgres.embedded import EmbeddedServer
    from importer.settings import find_dsn

    given = find_dsn(to)
    with contextlib.nullcontext(given) if given is not None else EmbeddedServer().running() as dsn:
        yield dsn.text


def measure(command: list[str]) -> Measured:
    """Run a command to its end."""
    # Files, not pipes: nobody empties a pipe here, and a progress bar (DuckDB's) fills it and stands still for ever.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=_ENVIRONMENT)
        root, peak, used = psutil.Process(process.pid), 0, {}
        while process.poll() is None:
            memory, cpu = _look(root)
            peak = max(peak, memory)
            used.update(cpu)
            try:
                process.wait(_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        seconds = time.perf_counter() - start
        output.seek(0)
        errors.seek(0)
        return Measured(seconds, sum(used.values()), peak, output.read(), errors.read(), process.returncode)


def _look(root: psutil.Process) -> tuple[int, dict[int, float]]:
    """Memory of a process tree now, and the CPU seconds of each of its processes so far."""
    memory, cpu = 0, {}
    try:
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0, {}
    for process in processes:
        try:
            times = process.cpu_times()
            cpu[process.pid] = times.user + times.system
            memory += getattr(process.memory_full_info(), "pss", 0)
        except psutil.Error:
            continue
    return memory, cpu
