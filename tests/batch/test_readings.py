"""What the survey of a new table read is what its imports load: the same with it and without, after changes and kills."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.judging import Formula
from support.otherbooks import Table, write_ods, write_xls
from support.tables import save
from support.warm import PROGRAM, Template

from importer import import_many, pipeline
from importer.batch.execution.children import ImportProcess
from importer.batch.readings import kept_readings
from importer.stages import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database

    from importer.batch.report import ManyReport

ROWS = "select id, amount, day::text, remark, _source_file, _source_row from {} order by id, _source_row"


@pytest.fixture
def books(tmp_path: Path) -> list[Path]:
    """Three workbooks for one table, with what a reading knows besides its cells: totals, blank rows, bad cells."""
    folder = tmp_path / "in"
    folder.mkdir()
    header = ["id", "amount", "day", "remark"]
    days = [datetime(2024, 1, day) for day in range(1, 5)]
    plain = [[n + 1, n * 1.5, day, "x"] for n, day in enumerate(days)]
    bad = [[11, "n/a", days[0], "y"], [12, 5, "soon", None], ["13", 7, days[1], None]]
    return [
        save(folder / "plain.xlsx", header, *plain, ["Total", Formula("=SUM(B2:B5)")]),
        save(folder / "bad.xlsx", header, *bad, [], [14, 8, days[2], "#N/A"]),
        save(folder / "late.xlsx", ["Sales of May"], [], header, [21, 2.25, datetime(2024, 5, 5, 12, 30), " z "]),
    ]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the workbooks that imports read themselves."""
    names: list[str] = []
    read = pipeline.read_and_load

    def noted(run: Any, *args: Any) -> Any:
        names.append(run.settings.workbook.name)
        return read(run, *args)

    monkeypatch.setattr(pipeline, "read_and_load", noted)
    return names


@pytest.fixture
def temp() -> Iterator[Path]:
    """A folder for temporary files that several runs share; its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="it-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with Template() as made:
        yield made


def load(db: Database, books: list[Path], table: str, **options: Any) -> ManyReport:
    given = {"workers": 0, "lineage": True, "types": {"id": "integer", "day": "date"}, **options}
    return import_many(books, to=db.dsn.text, table=table, **given)


def accounts(report: ManyReport) -> list[Any]:
    """What the reports say of the sheets and of each column."""
    return [{k: r.report[k] for k in ("columns", "header_row", "table", "reading", "rows")} for r in report.reports]


def test_the_same_with_kept_readings_and_without(
    db: Database, books: list[Path], tmp_path: Path, temp: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = load(db, books, "kept", rejects=str(tmp_path / "kept"), temp_dir=str(temp))
    together = load(db, books, "together", rejects=str(tmp_path / "together"), together=True)
    assert reads == []
    monkeypatch.setattr(kept_readings, "_MOST_BYTES", 0)
    again = load(db, books, "again", rejects=str(tmp_path / "again"))
    assert sorted(reads) == ["bad.xlsx", "late.xlsx", "plain.xlsx"]
    assert accounts(kept) == accounts(again) == accounts(together)
    assert kept.notes == again.notes
    assert kept.sums["error_count"] == again.sums["error_count"] > 0
    rows = db.rows(ROWS.format("again"))
    assert len(rows) == kept.sums["success_count"] > 5
    assert db.rows(ROWS.format("kept")) == db.rows(ROWS.format("together")) == rows
    assert list(temp.iterdir()) == []


def test_what_does_not_fit_is_read_again(
    db: Database, books: list[Path], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(db, books, "first")
    assert reads == []
    sizes: list[int] = []
    settle = kept_readings.KeptReadings._settle
    monkeypatch.setattr(
        kept_readings.KeptReadings, "_settle", lambda self, task, kept: (sizes.append(kept), settle(self, task, kept))
    )
    load(db, books, "second")
    monkeypatch.setattr(kept_readings, "_MOST_BYTES", sizes[0] + 1)
    assert load(db, books, "third").sums["failed"] == 0
    assert (sizes[4:], sorted(reads)) == ([0, 0], ["bad.xlsx", "late.xlsx"])
    assert db.rows(ROWS.format("third")) == db.rows(ROWS.format("first"))


def test_a_workbook_that_changes_between_survey_and_import(db: Database, books: list[Path], reads: list[str]) -> None:
    """What is loaded is what the file holds when it is loaded, under its own hash."""

    def change(report: Any) -> None:
        if "plain" in report.source:
            save(books[2], ["id", "amount", "day", "remark"], [31, 3, datetime(2024, 6, 1), "new"])

    assert load(db, books, "t", on_report=change).exit_code == 1
    assert reads == ["late.xlsx"]
    assert db.rows("select id, amount from t where id > 20") == [(31, "3")]
    again = load(db, books, "t")
    assert [r.outcome for r in again.reports] == ["already-imported"] * 3


def test_a_workbook_of_another_format_is_converted_once(
    db: Database, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(first: int) -> list[Table]:
        return [Table([["id", "v"], *([first + n, n / 8] for n in range(5)), [first + 5, "n/a"]])]

    books = [write_ods(tmp_path / "a.ods", rows(0)), write_xls(tmp_path / "b.xls", rows(10))]
    converted: list[str] = []
    convert = open_file._convert

    def noted(settings: Any, *args: Any) -> Any:
        converted.append(settings.workbook.name)
        return convert(settings, *args)

    monkeypatch.setattr(open_file, "_convert", noted)
    options = {"workers": 0, "to": db.dsn.text, "types": {"v": "numeric"}, "lineage": True}
    once = import_many(books, table="once", rejects=str(tmp_path / "once"), **options)
    assert (converted, reads) == (["a.ods", "b.xls"], [])
    with monkeypatch.context() as patch:
        patch.setattr(kept_readings, "_MOST_BYTES", 0)
        twice = import_many(books, table="twice", rejects=str(tmp_path / "twice"), **options)
    assert (converted[2:], len(reads)) == (["a.ods", "b.xls"] * 2, 2)
    assert accounts(once) == accounts(twice)
    assert [r.report["workbook"]["sha256"] for r in once.reports] == [
        r.report["workbook"]["sha256"] for r in twice.reports
    ]
    assert once.sums["error_count"] == 2
    select = "select id, v, _source_file, _source_row from {} order by 1"
    assert db.rows(select.format("once")) == db.rows(select.format("twice"))

    def change(report: Any) -> None:
        if "a.ods" in report.source:
            write_xls(books[1], rows(50))

    assert import_many(books, table="t", rejects=str(tmp_path / "t"), on_report=change, **options).exit_code == 1
    assert (converted[6:], db.rows("select max(id) from t")) == (["a.ods", "b.xls", "b.xls"], [(54,)])


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("moment", ["save_sheet", "load_sheet"])
def test_a_killed_command_leaves_nothing_once_it_is_given_again(
    db: Database, books: list[Path], tmp_path: Path, temp: Path, template: Template, moment: str
) -> None:
    """Killed while the second sheet is surveyed, or while the second import takes what was kept of it."""
    module = {"save_sheet": "survey", "load_sheet": "one_import"}[moment]
    program = (
        f"import os, signal, importer.batch.{module} as m\n"
        f"real, calls = m.{moment}, []\n"
        f"m.{moment} = lambda *a: calls and os.kill(os.getpid(), signal.SIGKILL) or calls.append(1) or real(*a)\n"
        f"{PROGRAM}"
    )
    words = ["run", *books, "--table", "t", "--lineage", "--workers", "0", "--to", db.dsn.text]
    with template.started(*words, cwd=tmp_path, env={"TMPDIR": str(temp)}, program=program) as running:
        assert running.finish().code == -signal.SIGKILL
    assert [path.name for path in temp.rglob("import-*")] != []
    with template.started(*words, cwd=tmp_path, env={"TMPDIR": str(temp)}) as running:
        ran = running.finish()
    assert (ran.code, list(temp.iterdir())) == (1, []), ran.out + ran.err
    load(db, books, "clean", types={})
    assert db.rows(ROWS.format("t")) == db.rows(ROWS.format("clean"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_child_costs_its_import_and_no_reading(
    db: Database, books: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that is killed with an import costs that one, though it surveyed others; the command again loads it."""
    asked, surveyed = ImportProcess.ask, []

    def ask(self: ImportProcess, op: Any, task: Any) -> dict[str, Any]:
        if op == "run" and "bad" in task.spec.source and len(surveyed) == 3:
            os.kill(self._process.pid, signal.SIGKILL)
        answer = asked(self, op, task)
        surveyed.extend([task.number] if op == "survey" else [])
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(ImportProcess, "ask", ask)
        report = load(db, books, "t", workers=2)
    assert [r.outcome for r in report.reports] == ["published", "failed", "published"]
    again = load(db, books, "t", workers=2)
    assert [r.outcome for r in again.reports] == ["already-imported", "published", "already-imported"]
    load(db, books, "clean")
    assert db.rows(ROWS.format("t")) == db.rows(ROWS.format("clean"))
