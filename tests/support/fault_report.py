"""A plugin of the tests: counts what the fault tests injected and found, and writes the tables of `.github/FAULTS.md`.

    python -m pytest tests/faults --long --faults-report .github/FAULTS.md

A test counts by its fixture `injected`; every row of the tables is one test. Rows of tests that did not run are kept, so
that the long forms can be run in parts; so is all that stands below the tables.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Beyond so many broken promises a test ends: each may take a minute to show.
_MOST_BROKEN = 10
_END = "<!-- Below this line nothing is written by the command. -->"
_HEAD = """# Faults

What the fault tests injected, and what came of it. Each fault is set at a point that the run itself comes to (a message
on the wire, a call on a file, an allocation, a statement that it is held at); then the same command runs again, and table,
rejects, ledger, staging and files must be those of one load without a fault. One command writes these tables; rows of
tests that it did not run stay as they are:

    python -m pytest tests/faults --long --faults-report .github/FAULTS.md

*Injected* counts the faults that did happen, *broken* those after which a promise did not hold: a row lost or doubled, a
file or process left over, an error without words.
"""
_COLUMNS = ("test", "moments", "injected", "by kind", "broken", "when")
_ORDERS_HEAD = """
## Orders of steps

No fault is injected here: a run and another session take their steps in every order, and the table must be what one
after the other would make of it.
"""
_ORDERS_COLUMNS = ("test", "moments", "orders", "by outcome", "broken", "when")


@dataclass
class Injected:
    """What one test injected.

    Attributes:
        moments: what the moments are, and how many there were.
        kinds: how many faults of each kind happened.
        broken: what was found, for people.
        are_orders: whether orders of steps are counted, and no faults.
    """

    moments: str = ""
    kinds: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    are_orders: bool = False

    def attempt(self, kind: str, call: Callable[[], object]) -> None:
        """Try a fault: `call` returns whether it happened (or its kind), and raises AssertionError where a promise broke.

        Raises:
            AssertionError: too many promises are broken.
        """
        try:
            happened = call()
        except AssertionError as exc:
            self.kinds[kind] += 1
            self.broken.append(str(exc))
            if len(self.broken) >= _MOST_BROKEN:
                self.check()
            return
        self.kinds[happened if isinstance(happened, str) else kind] += bool(happened)

    def check(self) -> None:
        """Fail if a promise broke.

        Raises:
            AssertionError: one did, or several.
        """
        print(f"{self.moments}; {sum(self.kinds.values())} happened: {dict(self.kinds)}")
        assert not self.broken, f"{len(self.broken)} broken:\n\n" + "\n\n".join(self.broken)


@pytest.fixture
def injected(record_property: Callable[[str, object], None]) -> Iterator[Injected]:
    """What this test counts its faults with."""
    counted = Injected()
    yield counted
    record_property("injected", {**vars(counted), "kinds": dict(counted.kinds)})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-report", type=Path, help="write what the fault tests injected into this file")


def pytest_configure(config: pytest.Config) -> None:
    if (path := config.getoption("--faults-report")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(path, "long" if config.getoption("--long") else "short"))


class _Collector:
    """Collects the counts of all tests, also of those in other processes."""

    def __init__(self, path: Path, form: str) -> None:
        self._path, self._when = path, f"{form}, {datetime.now(UTC):%Y-%m-%d}"
        self._rows: dict[str, tuple[bool, list[str]]] = {}
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)
        found: Any = dict(report.user_properties).get("injected")
        if report.when != "teardown" or not found or not found["kinds"]:
            return
        name = report.nodeid.removeprefix("tests/faults/")
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found["kinds"].items()) if count)
        total = sum(found["kinds"].values())
        broken = max(len(found["broken"]), report.nodeid in self._failed)
        cells = [f"`{name}`", found["moments"], str(total), kinds, str(int(broken)), self._when]
        self._rows[name] = found["are_orders"], cells

    def pytest_sessionfinish(self) -> None:
        old = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        rows = {**_read(old), **self._rows}
        faults = [cells for _, (are_orders, cells) in sorted(rows.items()) if not are_orders]
        orders = [cells for _, (are_orders, cells) in sorted(rows.items()) if are_orders]
        shown = _HEAD + _table(_COLUMNS, faults) + (_ORDERS_HEAD + _table(_ORDERS_COLUMNS, orders) if orders else "")
        _, _, below = old.partition(f"{_END}\n")
        self._path.write_text(f"{shown}\n{_END}\n{below}", encoding="utf-8")


def _read(text: str) -> dict[str, tuple[bool, list[str]]]:
    """The rows of a file that this command wrote, by test."""
    found = {}
    are_orders = False
    for line in text.partition(_END)[0].splitlines():
        are_orders = are_orders or line == "## Orders of steps"
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            found[cells[0].strip("`")] = are_orders, cells
    return found


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    """A table of Markdown, with the totals last."""
    totals = [str(sum(int(cells[n]) for cells in rows)) for n in (2, 4)]
    last = ["**all**", f"{len(rows)} tests", f"**{totals[0]}**", "", f"**{totals[1]}**", ""]
    lines = [list(columns), ["---", "---", "---:", "---", "---:", "---"], *rows, last]
    return "\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
