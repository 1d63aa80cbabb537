"""Children that are started before the command line is imported are used, or end with the command."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from importer.batch.execution import prestart
from importer.batch.execution.children import ImportProcesses
from importer.cli import startup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ahead() -> Iterator[None]:
    """Children that no test took are ended after it."""
    yield
    prestart.end_prestarted()


@pytest.mark.usefixtures("ahead")
def test_children_that_were_started_ahead_are_taken_first() -> None:
    prestart.prestart(1)
    (first,) = prestart._started
    children = ImportProcesses()
    children.prestart(2)
    assert not prestart._started
    assert first in {child._process for child in children._all}
    children.close()
    assert [child.poll() for child in [first]] == [0]


def test_children_that_nobody_took_end() -> None:
    prestart.prestart(1)
    (child,) = prestart._started
    prestart.end_prestarted()
    assert child.returncode is not None
    assert not psutil.pid_exists(child.pid)
    prestart.end_prestarted()  # nothing is left, and nothing is waited for


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("run a.xlsx b.csv --table t", 2),
        ("check *.xlsx", 8),
        ("run a.xlsx --table t --sheet x", 0),
        ("run a.xlsx b.xlsx --workers 1", 0),
        ("run a.xlsx b.xlsx --on=dask://h:1", 0),
        ("inspect a.xlsx b.xlsx", 0),
        ("run a.xlsx b.xlsx --help", 0),
    ],
)
def test_children_are_started_for_many_workbooks(monkeypatch: pytest.MonkeyPatch, given: str, number: int) -> None:
    started: list[int] = []
    monkeypatch.setattr(prestart, "prestart", started.append)
    monkeypatch.setattr(sys, "argv", ["importer", *given.split()])
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    startup.prestart_workers()
    assert sum(started) == number


def test_a_command_that_is_refused_leaves_no_child(tmp_path: Path) -> None:
    """They hold its standard error, which therefore ends with the last of them."""
    command = [sys.executable, "-m", "importer", "run", "a.xlsx", "b.xlsx", "--no-such-option"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    assert "No such option" in ran.stderr
    assert "Traceback" not in ran.stderr
