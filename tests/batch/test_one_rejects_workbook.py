"""The rejects of many imports in one workbook: a sheet each, which is fixed and loaded where its rows belong."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support.commandline import Ran, importer_here
from support.tables import save, work_folder
from support.warm import PROGRAM, Template

from importer import check_workbook, import_many, import_workbook, inspect_workbook
from importer.batch.rejects import one_workbook
from importer.batch.rejects.one_workbook import sheet_titles
from importer.errors import UsageError
from importer.ledger.history import show_run
from importer.postgres.session import Session
from importer.report.rejects.kept import write_kept_rejects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database

    from importer.batch.report import ManyReport


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: two workbooks into one table, one of them with two sheets, and one without rejects."""
    folder = work_folder(tmp_path, monkeypatch)
    save(folder / "jan.xlsx", ["id", "v"], [1, "a"], ["two", "b"], sheet="Data")
    save(folder / "feb.xlsx", ["v", "id"], ["c", 3], ["d", "four"], ["e", "five"])
    save(folder / "mar.xlsx", ["id", "v"], [6, "f"])
    return folder


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with Template() as made:
        yield made


def load(db: Database, *sources: str, **options: Any) -> ManyReport:
    given: dict[str, Any] = {"types": "id=integer", "rejects": "all.xlsx", "workers": 0, **options}
    return import_many(sources or ("jan.xlsx", "feb.xlsx", "mar.xlsx"), to=db.dsn.text, **given)


def run_here(here: Path, *arguments: object) -> Ran:
    return importer_here(*arguments, temp=here.parent / "temp")


def fix(path: str, **cells: dict[str, Any]) -> None:
    """Put values into cells, by sheet and address, as a person does."""
    book = openpyxl.load_workbook(path)
    for sheet, values in cells.items():
        for address, value in values.items():
            book[sheet][address] = value
    book.save(path)


def ids(db: Database, table: str) -> list[int]:
    return [n for (n,) in db.rows(f"select id from {table} order by id")]


def test_a_sheet_for_each_is_fixed_and_loaded_by_one_command(db: Database, here: Path) -> None:
    report = load(db, table="{stem}")
    assert (report.exit_code, report.sums["error_count"]) == (1, 3)
    file = str(here / "all.xlsx")
    book = openpyxl.load_workbook(file)
    assert {s.title: [r[0].value for r in s.iter_rows(min_row=2)] for s in book} == {"jan": [3], "feb": [3, 4]}
    assert book["feb"]["B2"].value.startswith('B3 type-error: id is not of type integer ("four")')
    assert [r.rejects_file for r in report.reports] == [file, file, None]
    assert report.reports[1].report["rejects"]["sheets"] == ["feb"]
    (written,) = report.to_dict()["rejects"]
    assert written["file"] == file
    (command,) = written["commands"]
    assert f"fix the marked cells, then: {command}" in str(report).splitlines()
    fix(file, jan={"C2": 2}, feb={"D2": 4, "B3": "still bad"})
    # As it is named, without any option, and by the command: all sheets, each into its own table.
    for arguments in ([file], [word for word in command.split()[2:] if not word.startswith("id=")][:3]):
        ran = run_here(here, "run", *arguments, "--types", "id=integer", "--to", db.dsn.text, "--json")
        assert (ran.code, [r["target"]["table"] for r in ran.json["reports"]]) == (1, ["jan", "feb"]), ran.err
    assert (ids(db, "jan"), ids(db, "feb"), ids(db, "mar")) == ([1, 2], [3, 4], [6])
    # What is still bad has its first address.
    again = openpyxl.load_workbook(here / "all_feb.rejects.xlsx").active
    assert [again["A2"].value, again["B2"].value[:3]] == [4, "B4 "]
    assert [r["state"] for r in _planned(db, here, file)] == ["imported", "imported"]


def _planned(db: Database, here: Path, file: str) -> list[dict[str, Any]]:
    import json

    ran = run_here(here, "plan", file, "--types", "id=integer", "--to", db.dsn.text, "--json")
    return [json.loads(line) for line in ran.out.splitlines()]


def test_one_sheet_of_it_is_loaded_by_name_and_none_by_chance(db: Database, here: Path) -> None:
    load(db, table="{stem}")
    given: dict[str, Any] = {"to": db.dsn.text, "workers": 0, "types": "id=integer"}
    for run in (import_workbook, check_workbook):
        with pytest.raises(UsageError, match="rejects of 2 imports, a sheet each"):
            run("all.xlsx", **given)
    assert inspect_workbook("all.xlsx").source.sheet.name == "jan"
    fix("all.xlsx", feb={"D2": 4, "D3": 5})
    book = openpyxl.load_workbook("all.xlsx")
    book["jan"].title = "january"
    book.save("all.xlsx")
    assert import_workbook("all.xlsx", sheet="feb", **given).success_count == 2
    assert ids(db, "feb") == [3, 4, 5]
    report = import_many("all.xlsx", sheets="all", **given)
    assert [r.outcome for r in report.reports] == ["failed", "already-imported"]
    assert "sheet 'january' is none of those" in str(report)


def test_tables_with_other_options_have_commands_of_their_own(db: Database, here: Path) -> None:
    (here / "jobs.yaml").write_text(
        "rejects: all.xlsx\ntypes: {id: integer}\nimports:\n- {source: jan.xlsx}\n"
        "- {source: feb.xlsx, mode: upsert, key: v, table: f}\n"
    )
    db.run("create table f (id int, v text unique)")
    ran = run_here(here, "run", "-f", "jobs.yaml", "--to", db.dsn.text, "--json")
    (written,) = ran.json["rejects"]
    first, second = written["commands"]
    assert "--sheets jan" in first
    assert "--mode upsert --key v" in second
    assert "--sheets feb" in second


def test_what_is_over_the_budget_is_listed_and_not_loaded(db: Database, here: Path) -> None:
    report = load(db, table="{stem}", max_rejects=1)
    assert [r.outcome for r in report.reports] == ["published", "over-budget", "published"]
    assert openpyxl.load_workbook("all.xlsx").sheetnames == ["jan", "feb"]
    assert "None" not in str(report)
    fix("all.xlsx", jan={"C2": 2}, feb={"D2": 4, "D3": 5})
    mended = load(db, "all.xlsx", rejects="again.xlsx")
    assert [(r.sheet, r.outcome) for r in mended.reports] == [("jan", "published")]
    assert not Path("again.xlsx").exists()


def test_a_dry_run_writes_it_and_records_nothing(db: Database, here: Path) -> None:
    for together in (False, True):
        report = load(db, table="t", dry_run=True, together=together)
        assert {r.outcome for r in report.reports} == {"checked"}
        assert openpyxl.load_workbook("all.xlsx").sheetnames == ["jan", "feb"]
        assert report.to_dict()["rejects"][0]["commands"] == ()
        Path("all.xlsx").unlink()


def test_in_one_transaction_and_in_child_processes(db: Database, here: Path) -> None:
    report = load(db, table="t", together=True, workers=2)
    assert (report.exit_code, ids(db, "t")) == (1, [1, 3, 6])
    assert openpyxl.load_workbook("all.xlsx").sheetnames == ["jan", "feb"]
    assert load(db, table="u", workers=2, again=True).reports[0].rejects_file == str(here / "all.xlsx")


def test_rejects_that_wait_to_be_fixed_are_not_replaced(db: Database, here: Path) -> None:
    """A new month by the same command: the workbook of the last time has rows that are nowhere else."""
    load(db, "jan.xlsx", table="t")
    report = load(db, "jan.xlsx", "feb.xlsx", table="t")
    assert [r.rejects_file for r in report.reports] == [str(here / "all.xlsx"), str(here / "all-2.xlsx")]
    assert openpyxl.load_workbook("all.xlsx").sheetnames == ["jan"]
    # A pattern leaves it out, because it is where the rejects go.
    assert any("all.xlsx is left out" in note for note in load(db, "*.xlsx", table="t", dry_run=True).notes)


@pytest.mark.parametrize("function", ["OutputFile.place", "record_rejects_file"])
def test_killed_before_it_has_its_name_the_same_command_writes_it(
    db: Database, here: Path, template: Template, function: str
) -> None:
    program = (
        "import os, signal, importer.batch.rejects.one_workbook as m\n"
        f"m.{function} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n{PROGRAM}"
    )
    options = ["--table", "t", "--types", "id=integer", "--rejects", "all.xlsx", "--workers", "0", "--to", db.dsn.text]
    words = ["run", "jan.xlsx", "feb.xlsx", *options]
    with template.started(*words, cwd=here, program=program) as running:
        assert running.finish().code == -signal.SIGKILL
    assert ids(db, "t") == [1, 3]
    ran = run_here(here, *words, "--json")
    assert ran.code == 1, ran.err
    assert [r["outcome"] for r in ran.json["reports"]] == ["already-imported"] * 2
    assert openpyxl.load_workbook("all.xlsx").sheetnames == ["jan", "feb"]
    assert sorted(p.name for p in here.iterdir()) == ["all.xlsx", "feb.xlsx", "jan.xlsx", "mar.xlsx"]
    third = run_here(here, *words, "--json")
    assert third.json["rejects"] == []


def test_a_workbook_that_cannot_be_written_is_said_and_nothing_is_lost(db: Database, here: Path) -> None:
    (here / "file").write_text("")
    report = load(db, "jan.xlsx", table="t", rejects="file/all.xlsx")
    run = report.reports[0].report["run"]["id"]
    assert any(f"importer runs ID --rejects FILE` writes those of a run: {run}" in note for note in report.notes)
    with Session(db.dsn) as session:
        assert write_kept_rejects(session, show_run(session, run), here / "again.xlsx")["rows"] == 1
    assert openpyxl.load_workbook("again.xlsx").active["C2"].value == "two"


@pytest.mark.parametrize("call", ["tempfile", "properties_of"])
def test_an_error_before_the_workbook_is_begun_costs_no_report(
    db: Database, here: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The disk is full, and all is published: the reports say so, and how to write the rejects later."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(one_workbook, call, SimpleNamespace(TemporaryDirectory=full) if call == "tempfile" else full)
        report = load(db, "jan.xlsx", table="t")
    assert (report.exit_code, report.reports[0].outcome) == (1, "published")
    assert any("No space left" in note and report.reports[0].report["run"]["id"] in note for note in report.notes)
    assert load(db, "jan.xlsx", table="t").reports[0].rejects_file == str(here / "all.xlsx")


def test_sheets_have_names_of_their_own() -> None:
    def of(*names: tuple[str, str]) -> list[str]:
        return sheet_titles([{"importer workbook": book, "importer sheet": sheet} for book, sheet in names])

    assert of(("a.xlsx", "S"), ("b.rejects.xlsx", "S")) == ["a", "b"]
    assert of(("a.xlsx", "S 1"), ("A.xlsx", "S/1"), ("a.xlsx", "S,1")) == ["a S 1", "A S_1", "a S_1 (2)"]
    assert of(("all.xlsx", "S"), ("history.csv", "S")) == ["all (2)", "history (2)"]
    long = of((f"{'x' * 40}.xlsx", "S"), (f"{'x' * 41}.xlsx", "S"))
    assert [len(name) for name in long] == [31, 31]
    assert len(set(long)) == 2
