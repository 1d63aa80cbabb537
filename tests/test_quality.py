"""The code's own rules: ruff (lint and format), mypy strict and the direction of imports are part of the test command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_quality(name: str) -> None:
    ran = subprocess.run([sys.executable, "-m", *COMMANDS[name]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


def test_readme_names_the_ci_command() -> None:
    """CI runs what the README tells a stranger to run."""
    command = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert command in (ROOT / "README.md").read_text()


def test_readme_knows_where_every_module_is() -> None:
    """The map for newcomers has all modules, and no others."""
    part = (ROOT / "README.md").read_text().split("### Where things are")[1].split("\n## ")[0]
    rows = "".join(line for line in part.splitlines() if line.startswith("| ") and "to change" not in line)
    named = re.findall(r"`(\w+)`", rows)
    assert sorted(named) == sorted(path.stem for path in (ROOT / "importer").glob("*.py"))
