"""Draws progress bars on a terminal (stage, rows, rate, time left); prints plain lines if stderr is not one."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from importer.runtime.progress import NoProgress, Progress
from importer.runtime.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_STAGE_LABELS = {stage.value: stage.label for stage in Stage}


@contextlib.contextmanager
def progress_bars(*, quiet: bool, bars: bool = True) -> Iterator[Progress]:
    """Yield a Progress that draws on stderr while the block runs, or prints lines or nothing if it cannot draw."""
    # sys.stderr is None where it is closed, or under pythonw.
    if quiet or sys.stderr is None:
        yield NoProgress()
        return
    if not bars or not sys.stderr.isatty():
        yield _LineProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    rate = TextColumn("{task.fields[rate]}")
    shown = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Bars(*shown, console=Console(stderr=True), transient=True) as drawn:
        yield _BarProgress(drawn)


def pause_drawing(progress: Progress) -> contextlib.AbstractContextManager[None]:
    """Return a context in which nothing is drawn, so that the user can be asked something."""
    return progress.paused() if isinstance(progress, _BarProgress) else contextlib.nullcontext()


class _LineProgress(NoProgress):
    """Progress without bars: prints only messages that a waiting user needs."""

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"importer: {text}\n")
            sys.stderr.flush()


class _BarProgress:
    """Progress as one bar, reused for every stage."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID = bars.add_task("starting", total=None, rate="")

    def stage(self, name: str) -> None:
        self._bars.reset(self._task, description=_STAGE_LABELS.get(name, name), total=None, completed=0, rate="")

    def expect(self, rows: int) -> None:
        self._bars.update(self._task, total=rows)

    def advance(self, rows: int) -> None:
        speed = self._bars.tasks[0].speed
        self._bars.update(self._task, advance=rows, rate=f"{speed:,.0f} rows/s" if speed else "")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def say(self, text: str) -> None:
        self._bars.console.print(f"importer: {text}", markup=False, highlight=False)
