"""Has a command's workers killed, or held, in a task of some name: at points that the run itself waits at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

#: Python imports it as it starts; workers are forked from a process of their own, where they get it from.
_CUSTOM = """
import os, signal, sys
if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    from importer.workers import task_result

    def run(function, task, run_timed=task_result.run_timed):
        if getattr(function, "name", getattr(function, "__name__", "")) == {task!r}:
            open({flag!r}, "w").close()
            {act}
        return run_timed(function, task)

    task_result.run_timed = run
"""
_ACTS = {"kill": "os.kill(os.getpid(), signal.SIGKILL)", "hold": "while True: signal.pause()"}


def in_workers(folder: Path, act: Literal["kill", "hold"], task: str) -> tuple[dict[str, str], Path]:
    """The environment of a command whose workers are killed or held in each task of that function, and a file that says so.

    Args:
        folder: of the test, for both.
        act: what happens.
        task: name of the function that workers are sent with the task.
    """
    place, flag = folder / "custom", folder / "reached"
    place.mkdir()
    act_there = _ACTS[act].replace("\n", "\n            ")
    (place / "sitecustomize.py").write_text(_CUSTOM.format(task=task, flag=str(flag), act=act_there))
    return {"PYTHONPATH": os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])}, flag
