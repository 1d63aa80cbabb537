"""Starts the child processes that run imports, some of them before the command line is imported, which takes as long.

It imports nothing heavy. Until one is taken, nobody but this module knows of a process that was started ahead.
"""

from __future__ import annotations

import json
import subprocess
import sys

#: The child finds modules where this process does; its own first entry would be the current folder.
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from importer.batch.execution.child import main; main()"
)
_started: list[subprocess.Popen[bytes]] = []


def prestart(number: int) -> None:
    """Start so many children, which import what they need meanwhile."""
    _started.extend(_start() for _ in range(number))


def take_process() -> subprocess.Popen[bytes]:
    """Return a child that was started ahead, or a new one."""
    return _started.pop() if _started else _start()


def end_prestarted() -> None:
    """End the children that nobody took; none of them has begun anything."""
    for process in _started:
        process.kill()
    while _started:
        _started.pop().communicate()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
