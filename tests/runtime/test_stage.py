"""The stages of a run have one table of labels, which the terminal, the service and the page show."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bars

import importer
from importer.cli.progress_bars import _BarProgress
from importer.runtime.progress import Clock, NoProgress
from importer.runtime.stage import Stage
from importer.serve.jobs.service_run import RUNNING, ServiceRun

PAGE = Path(importer.__file__).parent / "serve" / "page"


def test_page_has_the_headings_and_sentences_of_the_table() -> None:
    words = (PAGE / "words.js").read_text(encoding="utf-8")
    found = re.search(r"export const STAGES = \{\n(.*?)\n\};", words, re.DOTALL)
    assert found is not None
    lines = [f'  {stage.value}: ["{stage.heading}", "{stage.sentence}"],' for stage in Stage]
    assert found[1].split("\n") == lines


def test_terminal_and_service_show_the_labels_of_the_table() -> None:
    bars = Bars(console=Console(file=io.StringIO()))
    terminal, run = _BarProgress(bars), ServiceRun("upload", "u", "b.xlsx", 1, {}, state=RUNNING)
    for stage in Stage:
        terminal.stage(stage.value)
        run._advance(stage.value, 0, None)
        progress = run.describe().progress
        assert progress is not None
        assert (bars.tasks[0].description, progress.stage_label) == (stage.label, stage.label)
        assert list(progress.stages) == [str(s) for s in Stage]


def test_clock_reports_names() -> None:
    """Progress and timings get plain strings, as JSON and other programs do."""
    names: list[str] = []

    class Names(NoProgress):
        def stage(self, name: str) -> None:
            names.append(name)

    clock = Clock(Names())
    with clock.stage(Stage.OPEN):
        pass
    assert (names, list(clock.timings)) == (["open"], ["open"])
    assert {type(name) for name in (*names, *clock.timings)} == {str}
