"""The public API: what it exports, that it is typed, documented, and light to import."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from support.rawbook import RawBook, RawSheet, inline, row, write_rows

import importer
from importer import BudgetExceeded, InputError, UsageError, import_workbook

if TYPE_CHECKING:
    from conftest import Database

#: Libraries that cost time or memory to import, and the standard library's slow ones.
HEAVY = {
    "polars",
    "pyarrow",
    "fastexcel",
    "adbc_driver_manager",
    "adbc_driver_postgresql",
    "numpy",
    "rich",
    "xlsxwriter",
    "isal",
    "yaml",
    "psutil",
    "multiprocessing",
    "asyncio",
}
EXAMPLE = """
from pathlib import Path
from importer import BudgetExceeded, ImporterError, import_workbook

def load(path: Path) -> int:
    try:
        report = import_workbook(path, to="postgresql://h/d", table="t", mode="append", columns=["A"], max_rejects="1%")
    except BudgetExceeded as exc:
        return exc.report.error_count if exc.report else 0
    except ImporterError as exc:
        reveal_type(exc.exit_code)
        return exc.exit_code
    reveal_type(report)
    return report.success_count
"""
WRONG = """
from importer import import_workbook
import_workbook("x.xlsx", mode="upset")
import_workbook("x.xlsx", "postgresql://h/d")
import_workbook("x.xlsx", max_rejects=1.5)
"""


def modules_after(code: str) -> set[str]:
    return {name.partition(".")[0] for name in all_modules_after(code)}


def all_modules_after(code: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json; print(json.dumps(list(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_api_exports() -> None:
    assert sorted(importer.__all__) == importer.__all__
    assert {"BudgetExceeded", "ImporterError", "InputError", "Report", "UsageError"} < set(importer.__all__)
    assert {"check_workbook", "import_many", "import_workbook", "inspect_workbook", "suggest_contract"} < set(
        importer.__all__
    )
    assert all(hasattr(importer, name) for name in importer.__all__)


def test_api_import_is_light() -> None:
    assert modules_after("import importer") & HEAVY == set()


def test_reading_imports_no_more_of_pyarrow_than_its_core(tmp_path: Path) -> None:
    """Polars imports `pyarrow.compute` when it is given an array of pyarrow's: a tenth of a worker's start."""
    rich, shared = "<r><t>Ber</t></r><r><t>lin</t></r>", '<c r="{0}1" t="s"><v>{1}</v></c>'
    rows = row(1, shared.format("A", 0), shared.format("B", 1)) + row(2, inline("A2", "x"), '<c r="B2"><v>2.5</v></c>')
    path = RawBook([RawSheet(rows)], strings=["<t>name</t>", rich]).write(tmp_path / "s.xlsx")
    read = f"from importer.inspection import inspect_workbook; inspect_workbook({str(path)!r}, workers=0)"
    found = all_modules_after(f"import importer.stages.preload; {read}")
    assert "pyarrow.lib" in found
    assert not {"pyarrow.compute", "pandas"} & found


def test_api_signature() -> None:
    """One positional argument; every other has a name, a type and a default."""
    parameters = list(inspect.signature(import_workbook).parameters.values())
    assert parameters[0].name == "workbook"
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[1:])
    assert all(p.default is not inspect.Parameter.empty for p in parameters[1:])
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters)


def test_api_documents_every_argument_and_error() -> None:
    text = inspect.getdoc(import_workbook) or ""
    for name in inspect.signature(import_workbook).parameters:
        assert f"    {name}: " in text
    for error in ("UsageError", "InputError", "DatabaseError", "BudgetExceeded"):
        assert f"    {error}: " in text


def test_api_type_hints_resolve() -> None:
    from importer.api.arguments import Watcher, Workbook
    from importer.report.model import Report
    from importer.settings import (
        DriftPolicy,
        Engine,
        ErrorCells,
        HiddenPolicy,
        Limits,
        Method,
        MixedPolicy,
        Mode,
        OnDuplicate,
    )
    from importer.table_options import Footer, Merged
    from importer.text_options import DateOrder, Decimal

    names = {
        "Path": Path,
        "Report": Report,
        "Watcher": Watcher,
        "Workbook": Workbook,
        "Any": Any,
        "Limits": Limits,
        "Mode": Mode,
        "Method": Method,
    }
    from collections.abc import Mapping, Sequence

    hints = get_type_hints(
        import_workbook,
        globalns={
            **names,
            "DateOrder": DateOrder,
            "Decimal": Decimal,
            "DriftPolicy": DriftPolicy,
            "Engine": Engine,
            "ErrorCells": ErrorCells,
            "Footer": Footer,
            "Merged": Merged,
            "Mapping": Mapping,
            "MixedPolicy": MixedPolicy,
            "HiddenPolicy": HiddenPolicy,
            "Sequence": Sequence,
            "OnDuplicate": OnDuplicate,
        },
    )
    assert hints["return"] is Report


def check_types(tmp_path: Path, code: str) -> str:
    file = tmp_path / "example.py"
    file.write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", str(file)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(importer.__file__).parent.parent).stdout


def test_api_is_typed_for_its_users(tmp_path: Path) -> None:
    shown = check_types(tmp_path, EXAMPLE)
    assert 'Revealed type is "importer.report.model.Report"' in shown
    assert 'Revealed type is "int"' in shown.replace("builtins.", "")
    assert "error:" not in shown


def test_api_types_refuse_mistakes(tmp_path: Path) -> None:
    assert check_types(tmp_path, WRONG).count("error:") == 3


def test_api_marks_itself_as_typed() -> None:
    assert (Path(importer.__file__).parent / "py.typed").exists()


def test_api_run_returns_the_report(db: Database, tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "a.xlsx",
        row(1, inline("A1", "n")) + row(2, '<c r="A2"><v>1</v></c>') + row(3, '<c r="A3" t="e"><v>#N/A</v></c>'),
    )
    stages: list[str] = []

    class Watch:
        total = done = 0

        def stage(self, name: str) -> None:
            stages.append(name)

        def expect(self, rows: int) -> None:
            self.total += rows

        def advance(self, rows: int) -> None:
            self.done += rows

    watch = Watch()
    report = import_workbook(str(path), to=db.dsn.text, table="a", rejects=str(tmp_path / "r.csv"), progress=watch)
    assert (report.total_records, report.success_count, report.error_count) == (2, 1, 1)
    assert report.to_dict()["stats"]["total_records"] == 2
    assert {"open", "read", "plan", "validate", "write", "verify", "publish"} <= set(stages)
    assert watch.done > 0
    assert set(report.timings) <= set(stages)


def test_api_budget_error_brings_the_report(db: Database, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.xlsx", row(1, inline("A1", "n")) + row(2, '<c r="A2" t="e"><v>#N/A</v></c>'))
    with pytest.raises(BudgetExceeded) as caught:
        db.load(path, table="a", max_rejects=0)
    assert caught.value.report is not None
    assert (caught.value.report.outcome, caught.value.report.error_count) == ("over-budget", 1)
    assert db.rows("select to_regclass('a')::text") == [(None,)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "upset"}, "mode cannot be 'upset'"),
        ({"method": "fast"}, "method cannot be 'fast'"),
        ({"hidden": "maybe"}, "hidden cannot be 'maybe'"),
        ({"error_cells": "keep"}, "error_cells cannot be 'keep'"),
        ({"workers": -1}, "workers cannot be negative"),
        ({"chunk_rows": 0}, "both at least 1"),
        ({"max_text": 0}, "both at least 1"),
        ({"header_row": "x"}, "header_row takes a row or a range of rows"),
        ({"header_row": "4-2"}, "are not a range of sheet rows"),
        ({"rejects": "r.txt"}, "cannot write rejects as '.txt'"),
        ({"timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"timezone": "../etc/passwd"}, "no time zone"),
        ({"max_rejects": "many"}, "max_rejects takes a number of rows or a percentage"),
        ({"to": ""}, "the target server is an empty text"),
    ],
)
def test_api_usage_errors(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        import_workbook(tmp_path / "none.xlsx", **{"to": "postgresql://h/d", **options})  # type: ignore[arg-type]


def test_threads_of_the_caller_do_not_mix_workbooks(db: Database, tmp_path: Path) -> None:
    """Each thread reads its own sheets, with the shared strings and styles of its own, again and again."""

    def book(name: str) -> Path:
        items = [f"<t>{name} {n}</t>" for n in range(50)]
        lines = row(1, inline("A1", "n"), inline("B1", "s")) + "".join(
            row(n, inline(f"A{n}", f"{name}-{n}"), f'<c r="B{n}" t="s"><v>{n - 2}</v></c>') for n in range(2, 52)
        )
        return RawBook([RawSheet(lines)], strings=items).write(tmp_path / f"{name}.xlsx")

    def load(name: str) -> list[list[tuple[object, ...]]]:
        found = []
        for number in range(4):
            table = f"{name}_{number}"
            db.load(book(name) if number == 0 else tmp_path / f"{name}.xlsx", table=table, workers=0)
            found.append(sorted(db.rows(f"select n, s from {table}")))
        return found

    names = ["ann", "bob", "cid", "dan", "eve", "fay"]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # as often as can be: between any two of our steps
    try:
        with ThreadPoolExecutor(len(names)) as threads:
            loaded = dict(zip(names, threads.map(load, names), strict=True))
    finally:
        sys.setswitchinterval(usual)
    for name in names:
        assert loaded[name] == [sorted((f"{name}-{n}", f"{name} {n - 2}") for n in range(2, 52))] * 4


def test_api_in_this_process(db: Database, tmp_path: Path) -> None:
    """`workers=0` runs the same code here, for a debugger."""
    path = write_rows(tmp_path / "a.xlsx", row(1, inline("A1", "n")) + row(2, inline("A2", "x")))
    assert db.load(path, table="a", workers=0).success_count == 1
    assert db.rows("select n from a") == [("x",)]
    with pytest.raises(InputError):
        db.load(tmp_path / "none.xlsx", table="a", workers=0)
