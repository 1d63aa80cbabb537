"""Small workbooks in the process of the caller: without a worker, until something needs one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.rawbook import inline, number, row, shared, write_rows
from support.workertasks import Task, task

from importer.errors import ImporterError, TimedOut
from importer.runtime.progress import Clock
from importer.runtime.retry import Deadline
from importer.settings import Limits, Settings, make_settings
from importer.stages.read import read_source
from importer.workers import file_size
from importer.workers.file_size import is_small
from importer.workers.own_process import NeedsWorker, own_process, require_worker
from importer.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database

    from importer.workers.task_result import Death

HEAD = row(1, inline("A1", "number"), inline("B1", "name"))


def died(failed: Task, how: Death) -> ImporterError:
    return ImporterError(f"{failed.name} {how}")


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool(1, Limits(), tmp_path / "workers.log", own_process=True) as made:
        yield made


def plain_rows(count: int) -> str:
    return HEAD + "".join(row(n, number(f"A{n}", n), inline(f"B{n}", f"name {n}")) for n in range(2, count + 2))


# ---- THE POOL ALONE ---------------------------------------------------------------------------------------------


def test_tasks_run_in_this_process_until_one_needs_a_worker(pool: Pool) -> None:
    tasks = [Task("pid", 0), Task("pid", 0), Task("limited"), Task("pid", 0)]
    here, also_here, limited, after = pool.run(task, tasks, died)
    assert here == also_here == os.getpid()
    assert limited != os.getpid()
    assert after == limited
    assert list(pool.run(task, [Task("pid", 0)], died)) == [limited]


def test_an_error_in_this_process_is_one_of_its_task(pool: Pool) -> None:
    with pytest.raises(ImporterError, match="memory ran out of memory"):
        list(pool.run(task, [Task("memory")], died))
    assert list(pool.run(task, [Task("pid", 0)], died)) == [os.getpid()]


def test_the_deadline_holds_in_this_process(tmp_path: Path) -> None:
    with Pool(1, Limits(), tmp_path / "log", Deadline(0.0), own_process=True) as made, pytest.raises(TimedOut):
        list(made.run(task, [Task("pid", 0)], died))


def test_only_a_task_in_this_process_may_need_a_worker() -> None:
    require_worker()
    with own_process(), pytest.raises(NeedsWorker):
        require_worker()
    require_worker()


@pytest.mark.parametrize("divided", [{"workers": 2}, {"chunk_rows": 10}, {"method": "sequential"}])
def test_who_divides_the_work_gets_workers(divided: dict[str, Any]) -> None:
    assert make_settings("b.xlsx", to="postgresql://h/d").own_process
    assert not make_settings("b.xlsx", to="postgresql://h/d", **divided).own_process


# ---- WORKBOOKS --------------------------------------------------------------------------------------------------


def needs_worker(path: Path, folder: Path, *, judged: bool = False) -> bool:
    """Whether a workbook was read with a worker; what was read is the same either way. `judged`: the engine saw some."""
    found = []
    for own in (True, False):
        spool = folder / f"{own}"
        spool.mkdir()
        with Pool(int(own), Limits(), spool / "log", own_process=own) as pool:
            source = read_source(Settings(workbook=path), pool, spool, Clock())
            found.append((source.facts, source.rows, pool.own_process))
            assert source.read_cells()["judged"] > 0 or not judged
    assert found[0][:2] == found[1][:2]
    return not found[0][2]


def repeated(count: int) -> dict[str, Any]:
    """A long string in so many cells."""
    rows = "".join(row(n, shared(f"A{n}", 1)) for n in range(2, count + 2))
    return {"rows": row(1, shared("A1", 0)) + rows, "strings": ["<t>a</t>", f"<t>{'x' * 32_767}</t>"]}


def scattered(count: int) -> dict[str, Any]:
    """So many cells, none of them in a row or column of another."""
    letters = [f"{a}{b}" for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    rows = "".join(row(n, number(f"{letters[n % 600]}{n}", n)) for n in range(2, count + 2))
    return {"rows": HEAD + rows}


@pytest.mark.parametrize(
    ("book", "worker"),
    [
        ({"rows": plain_rows(500)}, False),
        (repeated(1_000), False),
        (repeated(3_000), True),
        (scattered(300), False),
        (scattered(6_000), True),
        ({"rows": HEAD + row(2, number("A2", 1), '<c r="B2" t="inlineStr"><is><r><t>r</t></r></is></c>')}, True),
        ({"rows": row(1, shared("A1", 0)), "strings": ["<r><t>rich</t></r>"]}, True),
        ({"rows": HEAD + "".join(row(n, inline(f"B{n}", "x" * 30_000)) for n in range(2, 152))}, True),
    ],
    ids=["plain", "repeated", "repeated-much", "scattered", "scattered-much", "rich", "rich-shared", "much-xml"],
)
def test_what_needs_a_worker(book: dict[str, Any], worker: bool, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "b.xlsx", book["rows"], **{k: v for k, v in book.items() if k != "rows"})
    assert needs_worker(path, tmp_path) == worker


def test_beside_others_more_is_read_here_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine judges samples in this process, too, but for one whose empty cells could fill its memory."""
    monkeypatch.setattr(file_size._ThisProcess, "is_beside_others", True)
    assert is_small(4 << 20, 1)
    assert not is_small(4 << 20, 2)
    many = plain_rows(45_000)
    wide = many + row(50_000, number("XFD50000", 1))
    for name, rows, worker in (("many", many, False), ("wide", wide, True)):
        path = write_rows(tmp_path / f"{name}.xlsx", rows)
        (tmp_path / name).mkdir()
        assert needs_worker(path, tmp_path / name, judged=True) == worker


def test_the_memory_that_a_process_kept_is_no_allowance(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from importer.workers.memory_limit import limit_memory as limit\n"
        "now = lambda: resource.getrlimit(resource.RLIMIT_DATA)[0]\n"
        "first = limit(64 << 20); assert abs(now() - first - (64 << 20)) < 1 << 20\n"
        "kept = bytearray(48 << 20); second = limit(64 << 20, first + (16 << 20))\n"
        "print(second - first >= 48 << 20, now() - first == (16 + 64) << 20)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout.split() == ["True", "True"]


RUN = """
import json, sys
from importer import import_workbook
from multiprocessing import forkserver
report = import_workbook(sys.argv[1], to=sys.argv[2], table=sys.argv[3])
server = forkserver._forkserver._forkserver_pid
print(json.dumps([report.success_count, report.error_count, server is not None, "fastexcel" in sys.modules]))
"""


def test_small_workbook_is_loaded_by_one_process(db: Database, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "small.xlsx", plain_rows(300))
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(path), db.dsn.text, f"{db.schema}.t"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(ran.stdout) == [300, 0, False, False]
    assert db.rows("select count(*), min(number), max(number) from t") == [(300, 2, 301)]


# ---- IMPORTS ----------------------------------------------------------------------------------------------------


def test_metadata_is_loaded_when_it_is_used() -> None:
    """Polars imports it, and loads neither it nor what it imports; who uses it gets all of it."""
    code = """if True:
        import sys
        from importer.workers.late_imports import import_metadata_late
        import_metadata_late()
        import polars
        print("importlib.metadata" in sys.modules, "email.message" in sys.modules)
        import importlib.metadata
        print(importlib.metadata.version("polars") == polars.__version__, importlib.metadata.PackageNotFoundError)
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert ran.stdout.split() == ["True", "False", "True", "<class", "'importlib.metadata.PackageNotFoundError'>"]
