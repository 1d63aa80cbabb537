"""Runs pytest again and again on one checkout, each time in a fork of a process that has loaded the libraries.

The tests that call a changed function run first, the quickest of them before the others, so that most mutants cost a
second or two. The process is this module run as a program in the checkout; it reads one line of JSON for each run, and
answers with one.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Self

#: What takes longer to import than the tests of a function. The package itself is loaded anew by each fork.
_LIBRARIES = (
    "pytest",
    "hypothesis",
    "polars",
    "pyarrow",
    "fastexcel",
    "openpyxl",
    "xlsxwriter",
    "adbc_driver_postgresql.dbapi",
)
#: Seconds for a mutant, beside three times what the tests take without one while their calls are watched: it may wait
#: for ever, for a lock that it holds itself, and it may count for ever.
_LEAST_SECONDS = 30


class Forked:
    """Runs the tests of a module; a context manager.

    Args:
        checkout: the folder that holds package and tests, and in which the mutants stand.
        module: path of the changed module in it.
        tests: pytest's arguments for the tests of that module.
        options: pytest's for all of them, as the server.

    Attributes:
        tests: names of the tests that called the function which begins at a line (1-based) of the module, the quickest
            first.
    """

    def __init__(self, checkout: Path, module: str, tests: list[str], *options: str) -> None:
        self.tests: dict[int, list[str]] = {}
        self._module, self._all, self._options, self._checkout = module, tests, options, checkout
        self._seconds = 3600

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=self._checkout,
            env={**os.environ, "PYTHONPATH": str(self._checkout), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def begin(self) -> bool:
        """Run all tests without a mutant, to learn which functions each calls; False if one fails, which is printed."""
        begun = time.monotonic()
        with tempfile.NamedTemporaryFile(suffix=".json") as file, tempfile.NamedTemporaryFile(suffix=".txt") as shown:
            if self._ask(self._all, calls_of=self._module, to=file.name, shown=shown.name) != 0:
                print(Path(shown.name).read_text()[-4000:])
                return False
            self.tests = {int(line): names for line, names in json.loads(Path(file.name).read_text()).items()}
        self._seconds = _LEAST_SECONDS + 3 * int(time.monotonic() - begun)
        return True

    def notices(self, source: str, line: int) -> bool:
        """Whether a test notices the mutant at that line that stands in the checkout, or does not end."""
        names = self.tests.get(function_at(source, line), [])
        # The others start the program, in which no calls are watched, or use what an import made.
        return any(self._ask(each) != 0 for each in (names, self._all) if each)

    def _ask(self, arguments: list[str], **more: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(
            json.dumps({"arguments": [*self._options, *arguments], "seconds": self._seconds, **more}) + "\n"
        )
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))


def function_at(source: str, line: int) -> int:
    """First line (1-based, decorators included) of the innermost function around a line; 0 outside of functions."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if node.lineno <= line <= (node.end_lineno or line):
                found = max(found, first)
    return found


class _Calls:
    """pytest's plugin that keeps which test called which function of a module."""

    def __init__(self, module: str | None, to: str | None) -> None:
        self._module, self._to = module, to
        self._found: dict[int, set[str]] = defaultdict(set)
        self._seconds: dict[str, float] = {}
        self._test = ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._test = nodeid

    def pytest_runtest_setup(self) -> None:
        if self._module:
            sys.settrace(self._trace)
            threading.settrace(self._trace)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            self._seconds[report.nodeid] = report.duration

    def pytest_sessionfinish(self) -> None:
        sys.settrace(None)
        if self._to:
            quick_first = {
                line: sorted(names, key=lambda n: self._seconds.get(n, 0)) for line, names in self._found.items()
            }
            Path(self._to).write_text(json.dumps(quick_first))

    def _trace(self, frame: Any, *_: object) -> None:
        if frame.f_code.co_filename.endswith(self._module):
            self._found[frame.f_code.co_firstlineno].add(self._test)


def _serve() -> None:
    for name in _LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        if (child := os.fork()) == 0:
            os._exit(_run(asked))
        _, status = os.waitpid(child, 0)
        # What it started goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(asked: dict[str, Any]) -> int:
    import pytest

    os.setsid()
    signal.alarm(asked["seconds"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    shown = os.open(asked.get("shown", os.devnull), os.O_WRONLY)
    os.dup2(shown, 1)
    os.dup2(shown, 2)
    plugin = _Calls(asked.get("calls_of"), asked.get("to"))
    # Libraries with plugins of pytest are loaded before it could rewrite their assertions, of which none is asked.
    options = ["-x", "-q", "-n0", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = int(pytest.main([*options, *asked["arguments"]], plugins=[plugin]))
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    _serve()
