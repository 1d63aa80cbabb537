"""The layout of the package: one direction of imports, no cycle, and folders and modules that a reader can survey."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "importer"
MODULES = sorted(PACKAGE.rglob("*.py"))
LINT = "import sys; from importlinter.cli import lint_imports_command as lint; sys.argv[1:] = ['--no-cache']; lint()"
MOST_MODULES, MOST_LINES, MOST_PARAMETERS = 12, 300, 6
#: The only functions that may take more parameters.
MANY_PARAMETERS = {  # the public API: a keyword for each setting
    "__init__.py import_workbook",
    "batch/api.py import_many",
    "integrations/airflow.py __init__",
}


LAYERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True, env=environment)


def test_imports_have_one_direction() -> None:
    ran = lint(ROOT)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


@pytest.mark.parametrize(
    ("module", "line", "named"),
    [
        ("cells/frame.py", "from importer.plan import target", "importer.cells.frame -> importer.plan.target"),
        (
            "serve/http/body.py",
            "from importer.reading import header",
            "importer.serve.http.body -> importer.reading.header",
        ),
        ("report/build.py", "import fastexcel", "importer.report.build -> fastexcel"),
    ],
)
def test_import_against_the_direction_is_named(tmp_path: Path, module: str, line: str, named: str) -> None:
    """A type-only import counts like any other."""
    shutil.copytree(PACKAGE, tmp_path / "importer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / "importer" / module
    changed.write_text(changed.read_text() + f"\nif TYPE_CHECKING:\n    {line}\n")
    ran = lint(tmp_path)
    assert ran.returncode != 0
    assert named in ran.stdout


def test_contributing_draws_the_direction_of_all_folders() -> None:
    """In the order of the contract, from the top; the line about modules beside the folders is left out."""
    drawn = (ROOT / ".github" / "CONTRIBUTING.md").read_text().split("## What may import what")[1].split("```")[1]
    folders = [name for layer in LAYERS for name in layer.replace(":", "|").split(" | ") if (PACKAGE / name).is_dir()]
    words = re.findall(r"\w+", " ".join(line[:34] for line in drawn.splitlines()))
    assert [name for name in words if name in folders] == folders


def test_no_import_cycle() -> None:
    """Type-only imports included."""
    graph = grimp.build_graph("importer", cache_dir=None)
    left = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert not left


def test_folders_hold_a_dozen_modules_at_most_and_never_one() -> None:
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in MODULES if path.name != "__init__.py")
    assert not {folder: count for folder, count in counts.items() if not 1 < count <= MOST_MODULES}


def test_modules_are_short() -> None:
    assert not {str(path): n for path in MODULES if (n := path.read_text().count("\n")) > MOST_LINES}


def test_functions_take_few_parameters() -> None:
    """`self` is not counted."""
    over = {
        f"{path.relative_to(PACKAGE).as_posix()} {function.name}"
        for path in MODULES
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and parameters(function) > MOST_PARAMETERS
    }
    assert over == MANY_PARAMETERS


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    taken = function.args
    named = [each.arg for each in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)]
    return len([name for name in named if name not in {"self", "cls"}]) + sum(map(bool, (taken.vararg, taken.kwarg)))


def test_classes_have_names_of_their_own() -> None:
    names = Counter(
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not {name for name, count in names.items() if count > 1}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_says_what_it_is_for(path: Path) -> None:
    """A folder's docstring also says what it may import and where to begin."""
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said, path
    assert said.split("\n")[0].endswith((".", ":")), said
    if path.name == "__init__.py" and path.parent != PACKAGE:
        assert "imports" in said.lower(), said
        named = re.findall(r"`([a-z_]+)`", re.split(r"egin\s+with", said)[-1])
        assert named, said
        assert not set(named) - {part for each in MODULES for part in (each.stem, each.parent.name)}, said
