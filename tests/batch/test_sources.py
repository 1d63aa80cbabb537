"""What a command names: paths, patterns, folders, sheets, tables, rejects files, and the agreement on types; no database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import pytest

from importer.batch.agreed_types import agree
from importer.batch.expand import SourceGroup, expand
from importer.batch.import_spec import ImportSpec
from importer.batch.rejects.names import with_rejects_names
from importer.batch.report import ImportReport, ManyReport
from importer.batch.survey import SheetSurvey, SurveyedColumn
from importer.batch.table_names import table_for
from importer.errors import SheetError, UsageError
from importer.excel.workbook import Sheet, Workbook
from importer.sources.paths import find_sources
from importer.sources.sheet_names import choose_sheets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "in/b.xlsx",
        "in/a.XLSM",
        "in/~$b.xlsx",
        "in/b.rejects-2.xlsx",
        "in/deep/c.xlsx",
        "in/x.txt",
        "[1].xlsx",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "none").mkdir()
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "~$b.xlsx").touch()
    return tmp_path


def test_patterns_and_folders_are_sorted_and_each_file_comes_once(folder: Path) -> None:
    found = find_sources(["in/b.xlsx", "in", "in/**/*.xlsx", "./in/../in/b.xlsx"])
    assert found.paths == ("in/b.xlsx", "in/a.XLSM", "in/deep/c.xlsx")
    assert any("lock file" in note for note in found.notes)
    assert any("b.rejects-2.xlsx is left out" in note for note in found.notes)
    assert any("named twice" in note for note in found.notes)


def test_hidden_files_and_lock_files_that_a_shell_names_are_left_out(folder: Path) -> None:
    for name in ("in/.a.xlsx", "in/._b.xlsx"):
        (folder / name).touch()
    found = find_sources(["in"])
    assert found.paths == ("in/a.XLSM", "in/b.xlsx")
    assert sum("it is hidden" in note for note in found.notes) == 2
    assert find_sources(["in/.*.xlsx"]).paths == ("in/._b.xlsx", "in/.a.xlsx")
    assert find_sources(["in/.a.xlsx"]).paths == ("in/.a.xlsx",)
    named = find_sources(["in/b.xlsx", "in/~$b.xlsx"])
    assert (named.paths, "lock file" in named.notes[0]) == (("in/b.xlsx",), True)
    assert find_sources(["in/~$b.xlsx"]).paths == ("in/~$b.xlsx",)  # which its import refuses


def test_a_file_with_the_letters_of_a_pattern_is_a_file(folder: Path) -> None:
    assert find_sources(["[1].xlsx", "in/b.rejects-2.xlsx"]).paths == ("[1].xlsx", "in/b.rejects-2.xlsx")


@pytest.mark.parametrize(
    ("source", "message"),
    [("*.xlsb", "matches no workbook"), ("none", "has no workbook"), ("only", "has no workbook")],
)
def test_what_names_nothing_is_refused(folder: Path, source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        find_sources([source])
    assert caught.value.choice


def workbook(*names: str, hidden: tuple[str, ...] = ()) -> Workbook:
    sheets = tuple(Sheet(n, "worksheet", "hidden" if n in hidden else "visible", n) for n in names)
    return Workbook(
        Path("w.xlsx"), "", 0, (*sheets, Sheet("Plot", "chartsheet", "visible", "p")), False, False, None, None
    )


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("all", ["Jan", "Feb", "Apr-May", "2023", "2024", "a,b"]),
        ("Jan-Apr-May", ["Jan", "Feb", "Apr-May"]),
        ("Apr-May-2023", ["Apr-May", "2023"]),
        ("2023-jan", ["Jan", "Feb", "Apr-May", "2023"]),
        ("20*", ["2023", "2024"]),
        ("2024, Jan,Jan", ["Jan", "2024"]),
        ("Mar", ["Mar"]),
        ("Mar-2023", ["Mar", "Apr-May", "2023"]),
        ("a,b", ["a,b"]),
        ("Apr-May", ["Apr-May"]),
    ],
)
def test_sheets_by_name_pattern_and_range(text: str, chosen: list[str]) -> None:
    book = workbook("Jan", "Feb", "Mar", "Apr-May", "2023", "2024", "a,b", hidden=("Mar",))
    assert [s.name for s in choose_sheets(book, text)] == chosen


@pytest.mark.parametrize("text", ["Fev", "20??", "Jan-Dec", "Plot", "Jan,Nix", ","])
def test_words_that_name_no_sheet_are_refused(text: str) -> None:
    book = workbook("Jan", "Feb", hidden=("Feb",))
    if text == ",":
        assert choose_sheets(book, text) == []
        return
    with pytest.raises(SheetError, match="names no sheet") as caught:
        choose_sheets(book, text)
    assert "'Feb'" in (caught.value.choice or "")


def test_tables_from_templates() -> None:
    assert table_for("shop.{stem}_{sheet}", "in/My Data.xlsx", "Jan 2024") == "shop.my_data_jan_2024"
    assert table_for("{sheet}", "a.xlsx", "2024") == "_2024"
    assert table_for("y{sheet}", "a.xlsx", "2024") == "y2024"
    assert table_for("shop.{stem}_{sheet}", "2023.xlsx", "2024") == "shop._2023_2024"
    assert table_for("t", "a.xlsx", None) == "t"
    assert table_for(None, "a.xlsx", "S") is None
    assert table_for("{stem}", "x.rejects.xlsx", None) == "x"
    assert table_for("{stem}_{sheet}", f"{'a' * 70}.xlsx", "S") == f'"{"a" * 63}"'
    for template, message in (("{file}", "unknown placeholder"), ("{stem", "without its other one")):
        with pytest.raises(UsageError, match=message):
            expand(SourceGroup(("a.xlsx",), table=template))


def test_rejects_files_have_names_of_their_own() -> None:
    specs = [ImportSpec("x/a.xlsx"), ImportSpec("y/a.xlsx"), ImportSpec("b.xlsx", "S 1"), ImportSpec("b.xlsx", "s-1")]
    beside = [spec.options["default_rejects"] for spec in with_rejects_names(specs)]
    assert beside == ["x/a.rejects.xlsx", "y/a.rejects.xlsx", "b_s_1.rejects.xlsx", "b_s_1_2.rejects.xlsx"]
    inside = with_rejects_names([ImportSpec(s.source, s.sheet, None, {"rejects": "r/"}) for s in specs])
    assert [spec.options["default_rejects"] for spec in inside][:2] == ["r/x_a.rejects.xlsx", "r/y_a.rejects.xlsx"]
    assert len({spec.options["default_rejects"] for spec in inside}) == 4


@pytest.mark.parametrize(
    "options", [{"rejects": "r.csv"}, {"timeline": "t.svg"}, {"mixed": "ask"}, {"bad_cells": "b.json"}]
)
def test_options_for_a_single_import_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        expand(SourceGroup(("a.xlsx", "b.xlsx"), options=options))


def test_an_import_survives_json_and_options_at_their_default_are_left_out() -> None:
    (spec,) = expand(SourceGroup(("a.xlsx",), options={"mode": "append", "drift": "ignore-extra", "null": None})).specs
    assert spec == ImportSpec("a.xlsx", None, None, {"drift": "ignore-extra"})
    assert ImportSpec.from_json(spec.to_json()) == spec
    for text in ("", "[]", '{"sheet": "S"}', '{"source": "a", "options": 1}', '{"source": "a", "table": 1}'):
        with pytest.raises(UsageError):
            ImportSpec.from_json(text)


def survey(**columns: dict[str, int]) -> SheetSurvey:
    return SheetSurvey("S", tuple(
        SurveyedColumn(name, name.title(), {k: n for k, n in kinds.items() if k != "fraction"}, 0, "fraction" not in kinds, False, {k: f"A2 {k}" for k in kinds})
        for name, kinds in columns.items()
    ))  # fmt: skip


NUMBER, TEXT, DATE, STAMP = {"number": 2}, {"text": 2}, {"date": 1}, {"datetime": 1}


def test_types_are_those_of_one_sheet_with_all_cells_in_any_order() -> None:
    surveys = {
        "jan": survey(id=NUMBER, day=DATE, amount={"number": 1, "fraction": 1}, empty={}),
        "feb": survey(amount=TEXT, id=NUMBER, day=STAMP, empty={}),
        "mar": survey(id=NUMBER, day=DATE, amount=NUMBER),
    }
    found = agree(surveys, drift="refuse", mixed="text")
    types = {column.name: column.type for column in found.columns}
    assert types == {"id": "integer", "day": "datetime", "amount": "string", "empty": "string"}
    assert not found.refused
    backwards = agree(dict(reversed(surveys.items())), drift="refuse", mixed="text")
    assert backwards.columns == found.columns
    note = next(note for note in found.notes if "'amount'" in note)
    assert "number in jan (A2 number), mar (A2 number); text in feb (A2 text)" in note
    assert any("'empty' is NULL or its default for mar" in note for note in found.notes)


def test_a_column_of_few_sheets_is_new_and_a_strange_sheet_is_refused() -> None:
    surveys = {
        "jan": survey(id=NUMBER),
        "feb": survey(id=NUMBER),
        "mar": survey(id=NUMBER, note=TEXT),
        "x": survey(a=TEXT),
    }
    found = agree(surveys, drift="refuse", mixed="text")
    assert set(found.refused) == {"mar", "x"}
    assert "'Note' (in 1 of 3 sheets)" in found.refused["mar"]["message"]
    assert "no column in common" in found.refused["x"]["message"]
    for drift, names in (("add-columns", ["id", "note"]), ("ignore-extra", ["id"])):
        found = agree(surveys, drift=drift, mixed="text")  # type: ignore[arg-type]
        assert set(found.refused) == {"x"}
        assert [column.name for column in found.columns] == names
    # Of two sheets, neither is the odd one: a column of one is NULL for the other.
    two = agree({"a": survey(id=NUMBER), "b": survey(id=NUMBER, note=TEXT)}, drift="refuse", mixed="text")
    assert [column.name for column in two.columns] == ["id", "note"]
    assert agree({"a": survey(id=NUMBER)}, drift="refuse", mixed="text").refused == {}


@pytest.mark.parametrize(
    ("codes", "worst"),
    [((0, 1, 5), 5), ((5, 3), 3), ((3, 2), 2), ((2, 4), 4), ((4, 130), 130), ((None, 0), 0), ((), 0)],
)
def test_the_exit_code_is_the_worst(codes: tuple[int | None, ...], worst: int) -> None:
    reports = tuple(ImportReport("a", None, "failed", code) for code in codes)
    assert ManyReport(reports).exit_code == worst
    assert ManyReport(reports, stopped_by=15).exit_code == 143


def test_files_with_several_names_are_taken_once_by_the_shortest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to the folder itself gives forty names to each file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.xlsx").touch()
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    found = find_sources(["in/**/*.xlsx"])
    assert found.paths == ("in/a.xlsx",)
    assert len(found.notes) == 4
    assert "further names" in found.notes[-1]


def test_a_folder_with_the_name_of_a_workbook_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what a shell makes of `*.xlsx`; the others are loaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.xlsx").mkdir()
    assert find_sources(["a.xlsx", "b.xlsx"]).paths == ("a.xlsx", "b.xlsx")


def test_names_that_become_one_table_are_told() -> None:
    def notes(*sources: str, **given: Any) -> tuple[str, ...]:
        return expand(SourceGroup(sources, **given)).notes

    assert notes("a-b.xlsx", "A b.xlsx") == (
        'A b.xlsx, a-b.xlsx go to the same table, "a_b"; --table names another one',
    )
    assert len(notes("e\u0301.xlsx", "\u00e9.xlsx", table="t_{stem}")) == 1
    for given in ({"table": "a_b"}, {"table": "x{stem}", "sources": ("x/a.xlsx", "y/a.xlsx")}):
        assert notes(*given.pop("sources", ("a-b.xlsx", "a_b.xlsx")), **given) == ()


def test_sheets_that_become_one_table_are_told(tmp_path: Path) -> None:
    for name in ("x.xlsx", f"{'y' * 60}.xlsx"):
        book = openpyxl.Workbook()
        for title in ("a b", "A_B", "z"):
            book.create_sheet(title).append(["id"])
        book.save(tmp_path / name)

    def notes(*names: str, table: str | None) -> list[str]:
        sources = tuple(str(tmp_path / name) for name in names)
        found = expand(SourceGroup(sources, sheets="a b,A_B,z", table=table)).notes
        return [note for note in found if "same table" in note]

    assert notes("x.xlsx", table="{sheet}") == ['[A_B], [a b] go to the same table, "a_b"; --table names another one']
    assert len(notes("x.xlsx", table=None)) == 1
    assert len(notes("x.xlsx", f"{'y' * 60}.xlsx", table="{sheet}")) == 1  # the z of both is meant
    assert "y.xlsx [z] go to" in notes(f"{'y' * 60}.xlsx", table="t_{stem}_{sheet}")[0]  # cut to 63 bytes
    assert notes("x.xlsx", table="{stem}") == []
