"""The code's own rules (ruff, mypy strict), and what README and CONTRIBUTING say of it, are part of the test command."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README, CONTRIBUTING = ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md"
SECURITY = ROOT / ".github" / "SECURITY.md"
MAX_README_LINES = 250
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
    """CI runs the test command of the README."""
    command = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert command in (ROOT / "README.md").read_text()


def test_readme_is_short() -> None:
    """It is for users; what a contributor needs is in CONTRIBUTING."""
    assert len(README.read_text().splitlines()) <= MAX_README_LINES


def test_contributing_knows_where_every_module_is() -> None:
    """The map names all modules, each in its folder, and no others."""
    part = CONTRIBUTING.read_text().split("\n## Where things are\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if re.match(r"\|[^|]*\| `importer/", line)]
    named = [
        f"{folder.strip('`')}{module}" for _, folder, modules in rows for module in re.findall(r"`(\w+)`", modules)
    ]
    modules = [
        path.relative_to(ROOT).with_suffix("").as_posix()
        for path in (ROOT / "importer").rglob("*.py")
        if path.name != "__init__.py"
    ]
    missing, extra = Counter(modules) - Counter(named), Counter(named) - Counter(modules)
    assert not missing + extra, f"missing in the map: {sorted(missing)}; extra in it: {sorted(extra)}"


@pytest.mark.parametrize("page", [README, CONTRIBUTING, SECURITY], ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    """Relative links with their headings, and paths in backticks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    dead = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not leads_somewhere(page, link)]
    dead += [path for path in re.findall(r"`((?:importer|tests|bench)/[\w./]+)`", text) if not is_here(path)]
    assert not dead


def leads_somewhere(page: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True
    path, _, heading = link.partition("#")
    target = (page.parent / path) if path else page
    return target.exists() and (not heading or heading in headings(target))


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def is_here(path: str) -> bool:
    """Whether a path exists, or is written by a benchmark."""
    return (ROOT / path).exists() or path == "bench/results/"
