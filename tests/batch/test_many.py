"""Many workbooks by one command: each by itself, into one table in any order, once, and what is reported."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.tables import save

from importer import UsageError, import_many, import_workbook
from importer.batch.import_spec import ImportSpec
from importer.sources.paths import find_sources

if TYPE_CHECKING:
    from conftest import Database

    from importer.batch.report import ManyReport


@pytest.fixture
def months(tmp_path: Path) -> Path:
    """Four months: columns in another order, one with texts among the amounts, one that lacks a column."""
    folder = tmp_path / "in"
    folder.mkdir()
    save(folder / "jan.xlsx", ["id", "amount", "day"], [1, 10, datetime(2024, 1, 5)], [2, 20, datetime(2024, 1, 6)])
    save(folder / "feb.xlsx", ["Amount", "day", "ID"], [1.5, datetime(2024, 2, 5, 12, 30), 3])
    save(folder / "mar.xlsx", ["id", "amount", "day"], [4, "n/a", datetime(2024, 3, 5)])
    save(folder / "apr.xlsx", ["id", "amount"], [5, 7])
    return folder


def load(db: Database, sources: Any, **options: Any) -> ManyReport:
    """`import_many`, one after the other in this process unless `workers` says otherwise."""
    return import_many(sources, to=db.dsn.text, **{"workers": 0, **options})


def outcomes(report: ManyReport) -> dict[str, str]:
    return {Path(r.source).stem: r.outcome for r in report.reports}


def test_into_one_table_in_any_order(db: Database, months: Path) -> None:
    query = "select id, amount, day::text, _source_file from {} order by id"
    paths = sorted(months.iterdir())
    for table, sources in (("a", paths), ("b", paths[::-1])):
        report = load(db, sources, table=table, lineage=True)
        assert (report.exit_code, report.sums["published"], report.sums["success_count"]) == (0, 4, 5)
        assert any("'amount' is loaded as text" in note and "mar.xlsx" in note for note in report.notes)
    rows = db.rows(query.format("a"))
    assert rows == db.rows(query.format("b"))
    assert rows == [
        (1, "10", "2024-01-05 00:00:00", "jan.xlsx"), (2, "20", "2024-01-06 00:00:00", "jan.xlsx"),
        (3, "1.5", "2024-02-05 12:30:00", "feb.xlsx"), (4, "n/a", "2024-03-05 00:00:00", "mar.xlsx"),
        (5, "7", None, "apr.xlsx"),
    ]  # fmt: skip


@pytest.mark.parametrize("by_contract", [False, True], ids=["table", "contract"])
def test_columns_are_added_to_a_table_in_any_order(db: Database, tmp_path: Path, by_contract: bool) -> None:
    """Their types are decided from all sheets, and each import adds all of them, so that their order is the same."""
    headers = (["id", "more"], ["more", "id"], ["id", "note", "more"], ["id"])
    rows = ([1, 5], ["five", 2], [3, True, 2.5], [4])
    books = [save(tmp_path / f"{n}.xlsx", *lines) for n, lines in enumerate(zip(headers, rows, strict=True))]
    strange = save(tmp_path / "strange.xlsx", ["x"], [1])
    for table, order in (("a", (0, 1, 2, 3)), ("b", (3, 2, 1, 0)), ("c", (1, 0, 3, 2))):
        db.run(f"create table {table} (id bigint)")
        described = {"fields": [{"name": "id", "type": "integer"}], "postgresql": {"table": table}}
        where: dict[str, Any] = {"contract": described} if by_contract else {"table": table}
        report = load(db, [*(books[n] for n in order), strange], drift="add-columns", **where)
        assert [r.exit_code for r in report.reports] == [0, 0, 0, 0, 3], str(report)
        assert not any("strange" in note for note in report.notes)
        assert any("'more' is loaded as text" in note and "1.xlsx" in note for note in report.notes)
        assert not any("'id'" in note for note in report.notes)
        assert db.rows(
            "select attname::text, format_type(atttypid, -1) from pg_attribute "
            f"where attrelid = '{table}'::regclass and attnum > 0 order by attnum"
        ) == [("id", "bigint"), ("note", "boolean"), ("more", "text")]
        assert db.rows(f"select * from {table} order by id") == [
            (1, None, "5"), (2, None, "five"), (3, True, "2.5"), (4, None, None),
        ]  # fmt: skip


def test_texts_are_read_as_values_if_those_of_all_sheets_are(db: Database, tmp_path: Path) -> None:
    first = save(tmp_path / "a.xlsx", ["id", "amount", "code"], [1, "1.234,50", "5"], [2, "7,25", "6"])
    second = save(tmp_path / "b.xlsx", ["id", "amount", "code"], [3, 8, "x"])
    report = load(db, [first, second], table="t", parse_texts=True)
    assert report.exit_code == 0, str(report)
    assert db.rows("select id, amount, code from t order by id") == [(1, 1234.5, "5"), (2, 7.25, "6"), (3, 8.0, "x")]


def test_files_of_texts_agree_with_workbooks(db: Database, months: Path) -> None:
    """A CSV file has no kinds: what all texts of a column are written as is what its cells are."""
    (months / "may.csv").write_text("id,amount,day\n6,7.5,2024-05-01\n")
    (months / "jun.csv").write_text("id;day\n9007199254740993;2024-06-01 10:00\n")
    (months / "mar.xlsx").unlink()
    report = load(db, sorted(months.iterdir()), table="k")
    assert (report.exit_code, report.sums["success_count"]) == (0, 6)
    assert db.rows("select id::text, amount, day::text from k order by id desc limit 2") == [
        ("9007199254740993", None, "2024-06-01 10:00:00"), ("6", 7.5, "2024-05-01 00:00:00"),
    ]  # fmt: skip
    (months / "jul.csv").write_text("id;amount\n7;1,5\n")
    report = load(db, sorted(months.iterdir()), table="p", parse_texts=True)
    assert (report.exit_code, report.sums["success_count"]) == (0, 7)
    assert db.rows("select amount from p where id = 7") == [(1.5,)]


def test_a_thirteenth_file_later_loads_alone(db: Database, months: Path) -> None:
    """The agreed types are no part of what makes an import the same."""
    load(db, months, table="t")
    save(months / "may.xlsx", ["id", "amount", "day"], [6, 60, None])
    again = load(db, months, table="t")
    assert again.sums["already_imported"] == 4
    assert outcomes(again)["may"] == "published"
    assert db.rows("select count(*), count(distinct id) from t") == [(6, 6)]
    # One of them by itself is known as well.
    assert import_workbook(months / "feb.xlsx", to=db.dsn.text, table="t", workers=0).outcome == "already-imported"


def test_one_that_fails_does_not_stop_the_others(db: Database, months: Path) -> None:
    (months / "bad.xlsx").write_text("no workbook")
    save(months / "odd.xlsx", [1, 2], [3, 4], [5, 6])
    save(months / "new.xlsx", ["id", "amount", "remark"], [8, 9, "x"])
    report = load(db, months, table="t", mode="append")
    assert {stem for stem, outcome in outcomes(report).items() if outcome == "failed"} == {"bad", "odd", "new"}
    assert (report.exit_code, report.sums["failed"], report.sums["published"]) == (3, 3, 4)
    text = str(report)
    assert "no column in common" in text
    assert "'remark' (in 1 of 5 sheets)" in text
    assert len(text.splitlines()) == 7 + len(report.notes) + 1
    shown = report.to_dict()
    assert {r["exit_code"] for r in shown["reports"]} == {0, 3}
    assert all("error" in r or r["stats"]["total_records"] for r in shown["reports"])


def test_stop_on_error_begins_nothing_more(db: Database, months: Path) -> None:
    (months / "bad.xlsx").write_text("no workbook")
    report = load(db, [months / "jan.xlsx", months / "bad.xlsx", months / "feb.xlsx"], stop_on_error=True)
    assert outcomes(report) == {"jan": "published", "bad": "failed", "feb": "not-started"}
    assert report.exit_code == 3


def test_sheets_into_tables_of_their_own(db: Database, tmp_path: Path) -> None:
    import xlsxwriter

    path = tmp_path / "Year 1.xlsx"
    with xlsxwriter.Workbook(path) as book:
        for name in ("Jan", "Feb", "Empty", "Secret"):
            sheet = book.add_worksheet(name)
            if name != "Empty":
                sheet.write_column(0, 0, ["v", name])
            if name == "Secret":
                sheet.hide()
    report = load(db, path, sheets="all", table=f"{db.schema}.{{stem}}_{{sheet}}")
    assert [r.sheet for r in report.reports] == ["Jan", "Feb"]
    assert any("Empty" in note for note in report.notes)
    assert db.rows("select v from year_1_feb") == [("Feb",)]
    both = load(db, path, sheets="Jan,Secret", table="two", lineage=True)
    assert [r.sheet for r in both.reports] == ["Jan", "Secret"]
    assert db.rows("select v, _source_sheet from two order by 1") == [("Jan", "Jan"), ("Secret", "Secret")]
    named = load(db, [path], table="{sheet}")
    assert db.rows("select v from jan") == [("Jan",)]
    assert named.exit_code == 0
    assert "names no sheet" in str(load(db, [path, path.with_name("none.xlsx")], sheets="Mai"))


def test_modes_that_several_imports_cannot_share(db: Database, months: Path) -> None:
    for mode in ("create", "replace"):
        with pytest.raises(UsageError, match="4 imports would each"):
            load(db, months, table="t", mode=mode)
    assert load(db, months, table="{stem}", mode="create").sums["published"] == 4


def test_an_upsert_keeps_the_order_of_the_sources(db: Database, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.xlsx", ["id", "v"], [1, n], [n + 10, n]) for n in range(4)]
    report = load(db, paths[::-1], table="t", mode="upsert", key=["id"], workers=2)
    assert report.exit_code == 0
    assert db.rows("select v from t where id = 1") == [(0,)]


def test_rejects_of_each(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x", "y"):
        Path(name).mkdir()
        save(Path(name) / "a.xlsx", ["n"], [1], [f"bad {name}"])
    report = load(db, "*/a.xlsx", table="t", types="n=integer")
    assert (report.exit_code, report.sums["error_count"]) == (1, 2)
    assert sorted(str(p) for p in Path().rglob("*.rejects.xlsx")) == ["x/a.rejects.xlsx", "y/a.rejects.xlsx"]
    report = load(db, "*/a.xlsx", table="t", types="n=integer", rejects="out/", again=True)
    assert sorted(p.name for p in Path("out").iterdir()) == ["x_a.rejects.xlsx", "y_a.rejects.xlsx"]
    one = import_workbook("x/a.xlsx", to=db.dsn.text, table="t", types="n=integer", rejects="one/", again=True)
    assert str(one.rejects_file) == str(tmp_path / "one" / "a.rejects.xlsx"), "a folder is one for a single import, too"
    assert load(db, "*/a.xlsx", table="u", types="n=integer", max_rejects=0).exit_code == 5


def test_rejects_that_a_shell_names_beside_their_workbook_are_left_out(db: Database, tmp_path: Path) -> None:
    """`importer run *.xlsx` once more does not load what it rejected before."""
    book = save(tmp_path / "a.xlsx", ["id"], [1], ["x"])
    other = save(tmp_path / "b.xlsx", ["id"], [2])
    db.run("create table t (id bigint)")
    db.load(book, table="t", workers=0, rejects=tmp_path / "a_2.rejects.xlsx")
    rejects = str(tmp_path / "a_2.rejects.xlsx")
    found = find_sources([str(book), rejects, str(other)])
    assert found.paths == (str(book), str(other))
    assert "it holds rejects of a.xlsx" in found.notes[0]
    assert find_sources([rejects, str(other)]).paths == (rejects, str(other))
    (tmp_path / "later").mkdir()
    namesake = save(tmp_path / "later" / "a.xlsx", ["id"], [3])
    assert find_sources([rejects, str(namesake)]).paths == (rejects, str(namesake)), "of another workbook"


def test_side_by_side_in_child_processes(db: Database, tmp_path: Path) -> None:
    """Equal to one after the other; a child that dies costs its import."""
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(12):
        save(folder / f"{n:02}.xlsx", ["id", "v"], *[[n * 10 + i, "x" if n == 11 else i] for i in range(10)])
    seen: list[str] = []
    report = import_many(folder, to=db.dsn.text, table="t", workers=2, on_report=lambda r: seen.append(r.source))
    assert (report.exit_code, report.sums["success_count"], len(seen)) == (0, 120, 12)
    assert db.rows("select count(*), count(distinct id), pg_typeof(min(v))::text from t") == [(120, 120, "text")]


def test_any_executor_runs_tasks_of_plain_data(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for n in range(3):
        save(Path(f"{n}.xlsx"), ["id"], [n])
    with ProcessPoolExecutor(2) as pool:
        report = import_many(["[0-9].xlsx"], to=db.dsn.text, table="t", executor=pool)
    assert (report.exit_code, report.sums["published"]) == (0, 3)
    assert [r.source for r in report.reports] == ["0.xlsx", "1.xlsx", "2.xlsx"]


def test_a_killed_child_costs_its_import(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importer.batch.execution.children import ImportProcess

    asked = ImportProcess.ask

    def killed(self: ImportProcess, op: Any, task: Any) -> dict[str, Any]:
        if "1.xlsx" in task.spec.source:
            self._process.kill()
        return asked(self, op, task)

    monkeypatch.setattr(ImportProcess, "ask", killed)
    paths = [save(tmp_path / f"{n}.xlsx", ["id"], [n]) for n in range(4)]
    report = import_many(paths, to=db.dsn.text, table="{stem}", workers=2)
    assert [r.outcome for r in report.reports] == ["published", "failed", "published", "published"]
    assert "was killed (SIGKILL)" in str(report.reports[1])
    assert report.exit_code == 4


def test_imports_may_be_given_as_such(db: Database, tmp_path: Path) -> None:
    path = save(tmp_path / "a.xlsx", ["id"], [1])
    assert load(db, [ImportSpec(str(path), table="t1"), ImportSpec(str(path), table="t2")]).exit_code == 0
    assert db.rows("select (select count(*) from t1), (select count(*) from t2)") == [(1, 1)]
    checked = load(db, [path], table="t3", dry_run=True)
    assert outcomes(checked) == {"a": "checked"}
    assert db.rows("select to_regclass('t3')") == [(None,)]
    with pytest.raises(UsageError, match="unknown option"):
        load(db, [ImportSpec(str(path), table="t1", options={"mod": "append"})])


def test_a_given_type_is_not_said_to_be_another(db: Database, tmp_path: Path) -> None:
    """Not even of a column whose kinds mix; its type is named by header, name or letter."""
    save(tmp_path / "a.xlsx", ["The id", "v"], [1, 5])
    save(tmp_path / "b.xlsx", ["The id", "v"], ["x", "y"], [2, 6])
    for table, word in (("t1", "The id"), ("t2", "the_id"), ("t3", "A")):
        report = load(db, [tmp_path / "a.xlsx", tmp_path / "b.xlsx"], table=table, types={word: "integer"})
        assert (report.sums["success_count"], report.sums["error_count"]) == (2, 1)
        assert [note.split(" is ")[0] for note in report.notes] == ["column 'v'"]


def test_no_child_is_left(db: Database, tmp_path: Path) -> None:
    import psutil

    before = {p.pid for p in psutil.Process(os.getpid()).children(recursive=True)}
    path = save(tmp_path / "a.xlsx", ["id"], [1])
    shutil.copy(path, tmp_path / "b.xlsx")
    import_many(tmp_path, to=db.dsn.text, table="t", workers=2)
    left = {p.pid for p in psutil.Process(os.getpid()).children(recursive=True)} - before
    assert not [p for p in left if psutil.pid_exists(p) and "batch" in " ".join(psutil.Process(p).cmdline())]
