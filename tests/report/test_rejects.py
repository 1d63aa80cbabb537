"""The rejects file: every cell with its kind, every reason, nothing that runs, and the way back into the table."""

from __future__ import annotations

import csv
import json
import re
import tempfile
import zipfile
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import rawbook
from support.judging import ErrorCell, Formula, frame_of, plan_of
from support.rawbook import RawBook, RawSheet
from support.tables import contract, save

from importer import BudgetExceeded
from importer.cells import spool
from importer.cells.frame import VALUE_KINDS, part
from importer.errors import DatabaseError, ImporterError, MachineError
from importer.reading.header import SheetColumn
from importer.report.model import Report
from importer.report.rejects.bad_cells import bad_cells
from importer.report.rejects.files import RejectsFiles
from importer.report.rejects.workbook import Rejects
from importer.runtime.progress import Clock
from importer.settings import Settings
from importer.stages.read import read_source
from importer.stages.workspace import open_workspace
from importer.validation.check_window import check_rows

if TYPE_CHECKING:
    from conftest import Database

FIELDS = [{"name": "id", "type": "integer", "constraints": {"required": True, "unique": True}}, {"name": "note"}]


class _Window:
    """What `Rejects` reads of a judged window."""

    def __init__(self, errors: Path | None, rejected: Path | None) -> None:
        self.errors, self.rejected = errors, rejected

    def __lt__(self, other: object) -> bool:
        return False


def _rejects(folder: Path, *windows: list[list[Any]], headers: list[str | None] | None = None) -> Rejects:
    """Rejects of windows whose first column, `bad`, is text where a whole number is wanted."""
    made, width = [], len(windows[0])
    fields = [{"name": f"c{n}"} for n in range(1, width)]
    plan = plan_of({"fields": [{"name": "bad", "type": "integer"}, *fields]})
    for number, columns in enumerate(windows):
        checked = check_rows(frame_of(*columns), plan, [])
        made.append(
            _Window(
                spool.write_if_nonempty(checked.errors, folder / f"e{number}"),
                spool.write_if_nonempty(checked.rejected, folder / f"r{number}"),
            )
        )
    names = headers or ["bad", *(f"c{n}" for n in range(1, width))]
    return Rejects.of_windows(made, [SheetColumn(i, h, h or f"column_{i}") for i, h in enumerate(names)])


def _read(path: Path, folder: Path) -> pl.DataFrame:
    """The data rows that importer itself reads of a workbook."""
    settings = Settings(workbook=path, workers=0, temp_dir=folder, header_rows=(1, 1))
    with open_workspace(settings) as (spooled, pool):
        source = read_source(settings, pool, spooled, Clock())
        frames = [source.data.of(spool.read(w.path)) for w in source.windows]
        return pl.concat([f.clone() for f in frames], how="diagonal").rechunk()


def _cells(frame: pl.DataFrame, column: int) -> list[tuple[str, Any] | None]:
    kinds = [k for k in (*VALUE_KINDS, "error", "formula") if part(column, k) in frame.columns]
    return [
        next(((k, row[part(column, k)]) for k in kinds if row[part(column, k)] is not None), None)
        for row in frame.iter_rows(named=True)
    ]


def _sheet_xml(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("xl/worksheets/sheet1.xml").decode()


KINDS: list[Any] = [
    "text", "=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "http://x.y", "007", "TRUE", " blanks ",
        "a\nb\r\tc", "_x0041_", "é😀", "x" * 32767, "\x01\x1f", "\ufffe",
    0.1 + 0.2, 1e-10, 2.0**53 + 2, -1.5, 1e300, 5e-324, 0, True, False, datetime(1900, 1, 1), datetime(1900, 2, 28),
    datetime(1900, 3, 1), datetime(2020, 5, 1), datetime(2020, 5, 1, 12, 0, 0, 1000),
    datetime(9999, 12, 31, 23, 59, 59, 999000), time(0), time(1, 2, 3, 4000), time(23, 59, 59, 999000),
    timedelta(hours=30, milliseconds=1), timedelta(days=400),
    ErrorCell("#N/A"), ErrorCell("#DIV/0!"), ErrorCell("#NAME?"), ErrorCell("#REF!"), ErrorCell("#NULL!"),
    ErrorCell("#NUM!"), ErrorCell("#VALUE!"), None,
]  # fmt: skip


def _as_kind(value: Any) -> tuple[str, Any] | None:
    from support.judging import kind_of

    if value is None:
        return None
    return kind_of(value), float(value) if kind_of(value) == "number" else value


def test_every_kind_reads_back_with_its_value(tmp_path: Path) -> None:
    rejects = _rejects(tmp_path, [["bad"] * len(KINDS), KINDS])
    rejects.write(tmp_path / "r.xlsx", "Data")
    back = _cells(_read(tmp_path / "r.xlsx", tmp_path), 3)
    assert back == [_as_kind(value) for value in KINDS]
    xml = _sheet_xml(tmp_path / "r.xlsx")
    assert sorted(re.findall("<f>([^<]*)</f>", xml)) == [
        "#DIV/0!",
        "#N/A",
        "#NAME?",
        "#NULL!",
        "#NUM!",
        "#REF!",
        "#VALUE!",
    ]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
cells = st.one_of(
    st.none(), texts, texts.map(lambda t: "=" + t), st.floats(allow_nan=False, allow_infinity=False), st.booleans(),
    st.datetimes(datetime(1900, 1, 1), datetime(9999, 12,
    31)).map(lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)),
    st.integers(0, 86_399_999).map(lambda ms: (datetime.min + timedelta(milliseconds=ms)).time()), st.integers(0,
    10**10).map(lambda ms: timedelta(milliseconds=ms)),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(cells, min_size=1, max_size=30))
def test_random_cells_read_back(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("r")
    _rejects(folder, [["bad"] * len(values), values]).write(folder / "r.xlsx", "Data")
    back = _cells(_read(folder / "r.xlsx", folder), 3)
    # The reader strips nothing and openpyxl agrees that the file is whole.
    assert back == [_as_kind(value) for value in values]
    assert openpyxl.load_workbook(folder / "r.xlsx").active.max_row == len(values) + 1


def test_windows_with_different_kinds(tmp_path: Path) -> None:
    rejects = _rejects(tmp_path, [["bad"], ["text"]], [["bad", "5"], [5, None]], [["bad"], [True]])
    assert [cells for _, _, cells in rejects.rows()] == [
        {0: ("text", "bad"), 1: ("text", "text")},
        {0: ("text", "bad"), 1: ("number", 5.0)},
        {0: ("text", "bad"), 1: ("boolean", True)},
    ]


def test_bad_cells_are_marked_and_only_they(tmp_path: Path) -> None:
    _rejects(tmp_path, [["bad", "bad"], ["x", None]]).write(tmp_path / "r.xlsx", "Data")
    sheet = openpyxl.load_workbook(tmp_path / "r.xlsx").active
    marked = {c.coordinate for row in sheet.iter_rows(min_row=2) for c in row if c.fill.fgColor.rgb == "FFFFC7CE"}
    assert marked == {"C2", "C3"}


def test_formula_never_calculated_is_an_error_cell_with_a_comment(tmp_path: Path) -> None:
    _rejects(tmp_path, [["bad"], [Formula("=A1+B1")]]).write(tmp_path / "r.xlsx", "Data")
    cell = openpyxl.load_workbook(tmp_path / "r.xlsx").active["D2"]
    assert (cell.value, cell.comment.text) == ("=NA()", "never calculated: =A1+B1")
    assert _cells(_read(tmp_path / "r.xlsx", tmp_path), 3)[0] == ("error", "#N/A")


def test_text_longer_than_a_cell_is_not_cut(tmp_path: Path) -> None:
    _rejects(tmp_path, [["bad"], ["x" * 40_000]]).write(tmp_path / "r.xlsx", "Data")
    assert _cells(_read(tmp_path / "r.xlsx", tmp_path), 3)[0] == ("error", "#N/A")


@pytest.mark.parametrize("name", ["a" * 31, "a" * 40, "x[1]:*?/\\", "'quoted'", "History", "日本語"])
def test_sheet_names(tmp_path: Path, name: str) -> None:
    _rejects(tmp_path, [["bad"], ["x"]]).write(tmp_path / "r.xlsx", name)
    found = openpyxl.load_workbook(tmp_path / "r.xlsx").sheetnames
    assert len(found) == 1
    assert found[0] == re.sub(r"[\[\]:*?/\\]", "_", name).strip("'")[:31]


def test_rejects_over_several_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importer.report.rejects.workbook._DATA_ROWS", 2)
    _rejects(tmp_path, [["a", "b", "c", "d", "e"], [1, 2, 3, 4, 5]]).write(tmp_path / "r.xlsx", "n" * 31)
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    assert book.sheetnames == ["n" * 31, "n" * 27 + " (2)", "n" * 27 + " (3)"]
    assert [[c.value for c in sheet["A"]] for sheet in book] == [["_row", 2, 3], ["_row", 4, 5], ["_row", 6]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_titles_are_all_different(tmp_path: Path, suffix: str) -> None:
    headers = ["a", "a", "a_2", None, "_row", "_errors?"]
    rejects = _rejects(tmp_path, [["bad"], *([1] for _ in headers[1:])], headers=headers)
    rejects.columns[1] = SheetColumn(1, "a", "a_2")
    rejects.write(tmp_path / f"r{suffix}", "Data")
    names = (pl.read_csv if suffix == ".csv" else pl.read_parquet)(tmp_path / f"r{suffix}").columns
    assert names[:2] == ["_row", "_errors"]
    assert len(set(names)) == 8
    assert names[4] == "a_2"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("given", [True, False])
def test_workbook_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    temp, system = tmp_path / "temp", tmp_path / "system"
    temp.mkdir()
    system.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(system))
    rejects = _rejects(tmp_path, [["bad"]])
    with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(OSError, match="No space"):
        rejects.write_to(full, ".xlsx", "Data", *([temp] if given else []))
    assert [*temp.iterdir(), *system.iterdir()] == []


def test_list_of_bad_cells_has_short_texts(tmp_path: Path) -> None:
    columns = [
        "bad",
        "x" * 300,
        1.5,
        True,
        datetime(2020, 5, 1),
        datetime(2020, 5, 1, 12, 0, 0, 1000),
        ErrorCell("#N/A"),
    ]
    listed = bad_cells(_rejects(tmp_path, [columns, ["note"] * len(columns)]))
    texts = ["bad", "x" * 200, "1.5", "true", "2020-05-01 00:00:00", "2020-05-01 12:00:00.001", None]
    assert [cell["value"] for cell in listed["cells"]] == texts
    assert {cell["column"] for cell in listed["cells"]} == {"bad"}
    assert (listed["rows"], listed["truncated"]) == (len(columns), False)


@pytest.mark.parametrize(("count", "truncated"), [(1_000, False), (1_001, True)])
def test_list_of_bad_cells_is_truncated(tmp_path: Path, count: int, truncated: bool) -> None:
    listed = bad_cells(_rejects(tmp_path, [["bad"] * count]))
    assert (listed["rows"], len(listed["cells"]), listed["truncated"]) == (count, 1_000, truncated)


@pytest.mark.parametrize("placed", [True, False])
def test_list_of_bad_cells_goes_with_the_rejects(tmp_path: Path, placed: bool) -> None:
    files = {"rejects": tmp_path / "r.csv", "bad_cells": tmp_path / "b.json"}
    report = Report(
        "planned", {"name": "t.xlsx", "path": "t.xlsx"}, "Data", (1, 1), {}, {}, (), 1, 1, {}, (), None, {}, 0.0
    )
    place = RejectsFiles(Settings(workbook=tmp_path / "t.xlsx", **files), tmp_path)
    with place.write(_rejects(tmp_path, [["bad"]]), report, Clock()) as written:
        assert not any(file.exists() for file in files.values())
        if placed:
            assert written.place(report).rejects_file == str(files["rejects"])
    assert [file.is_file() for file in files.values()] == [placed, placed]
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


# ---- WITH A DATABASE --------------------------------------------------------------------------------------------


def _bad_book(path: Path) -> Path:
    return save(
        path,
        ["ID", "Note", "Ignored"],
        [1, "one", "i"],
        ["x", "=evil()", "j"],
        [None, 5, "k"],
        [1, "twice", "l"],
        [4, "four", "m"],
        sheet="My Data",
    )


@pytest.fixture
def described(tmp_path: Path) -> Path:
    return contract(tmp_path / "c.json", fields=FIELDS, fieldsMatch="subset")


REASONS = {
    3: 'A3 type-error: id is not of type integer ("x")',
    4: "A4 constraint-error: id is required",
    5: 'A5 unique-error: id repeats the id of row 2 ("1")',
}


def test_workbook_of_rejects(db: Database, tmp_path: Path, described: Path) -> None:
    report = db.load(_bad_book(tmp_path / "t.xlsx"), contract=described)
    assert (report.success_count, report.error_count) == (2, 3)
    book = openpyxl.load_workbook(str(report.rejects_file))
    assert book.sheetnames == ["My Data"]
    assert list(book.active.values) == [
        ("_row", "_errors", "ID", "Note", "Ignored"),
        (3, REASONS[3], "x", "=evil()", "j"), (4, REASONS[4], None, 5, "k"), (5, REASONS[5], 1, "twice", "l"),
    ]  # fmt: skip
    assert book.active["D3"].data_type != "f"


def test_csv_of_rejects(db: Database, tmp_path: Path, described: Path) -> None:
    report = db.load(_bad_book(tmp_path / "t.xlsx"), contract=described, rejects=tmp_path / "r.csv")
    with Path(str(report.rejects_file)).open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines == [
        ["_row", "_errors", "ID", "Note", "Ignored"],
        ["3", REASONS[3], "x", "=evil()", "j"],
        ["4", REASONS[4], "", "5", "k"],
        ["5", REASONS[5], "1", "twice", "l"],
    ]


def test_parquet_of_rejects(db: Database, tmp_path: Path, described: Path) -> None:
    report = db.load(_bad_book(tmp_path / "t.xlsx"), contract=described, rejects=tmp_path / "r.parquet")
    assert pl.read_parquet(str(report.rejects_file)).rows() == [
        (3, REASONS[3], "x", "=evil()", "j"),
        (4, REASONS[4], None, "5", "k"),
        (5, REASONS[5], "1", "twice", "l"),
    ]


def test_row_with_errors_in_several_columns(db: Database, tmp_path: Path) -> None:
    fields = [
        {"name": "a", "type": "integer"},
        {"name": "b", "type": "date"},
        {"name": "c", "constraints": {"required": True}},
    ]
    path = save(tmp_path / "t.xlsx", ["a", "b", "c"], ["x" * 41, "y", None])
    report = db.load(path, contract=contract(tmp_path / "c.json", fields=fields))
    told = openpyxl.load_workbook(str(report.rejects_file)).active["B2"].value
    assert told.split("; ") == [
        f'A2 type-error: a is not of type integer ("{"x" * 39}…")', 'B2 type-error: b is not of type date ("y")',
        "C2 constraint-error: c is required",
    ]  # fmt: skip


def test_list_of_bad_cells_is_not_parsed_from_the_reasons(db: Database, tmp_path: Path) -> None:
    """A name that looks like another reason makes no cell of its own, and stays whole in the message."""
    name = "n; B7 type-error: x"
    path = save(tmp_path / "t.xlsx", [name, "gone"], ["y", 1], [3, 1], ["z", 1], sheet="My Data")
    fields = [{"name": name, "type": "integer"}, {"name": "gone"}]
    described = contract(tmp_path / "c.json", fields=fields)
    report = db.load(path, contract=described, keep_names=True, bad_cells=tmp_path / "bad.json")
    assert "bad.json" not in json.dumps(report.to_dict())
    assert json.loads((tmp_path / "bad.json").read_text()) == {
        "rows": 2,
        "cells": [
            {
                "row": row, "address": f"'My Data'!A{row}", "column": name, "rule": "type-error",
                "message": f"{name} is not of type integer", "value": value,
            }
            for row, value in ((2, "y"), (4, "z"))
        ],
        "truncated": False,
    }  # fmt: skip


def test_list_of_bad_cells_is_that_of_the_original_sheet(db: Database, tmp_path: Path, described: Path) -> None:
    first = db.load(_bad_book(tmp_path / "t.xlsx"), contract=described)
    again = {"rejects": tmp_path / "again.xlsx", "bad_cells": tmp_path / "bad.json"}
    db.load(Path(str(first.rejects_file)), contract=described, table="other", **again)
    listed = json.loads((tmp_path / "bad.json").read_text())
    found = [(c["row"], c["address"], c["column"], c["value"]) for c in listed["cells"]]
    assert found == [(3, "'My Data'!A3", "ID", "x"), (4, "'My Data'!A4", "ID", None)]


def test_list_of_bad_cells_that_cannot_be_written_publishes_nothing(
    db: Database, tmp_path: Path, described: Path
) -> None:
    files = {"rejects": tmp_path / "r.xlsx", "bad_cells": described / "bad.json"}
    with pytest.raises(MachineError, match="the list of bad cells cannot be written"):
        db.load(_bad_book(tmp_path / "t.xlsx"), contract=described, **files)
    assert db.rows("select to_regclass('t')::text") == [(None,)]
    assert not (tmp_path / "r.xlsx").exists()


def test_rejects_give_the_same_rejects(db: Database, tmp_path: Path, described: Path) -> None:
    first = db.load(_bad_book(tmp_path / "t.xlsx"), contract=described)
    again = db.load(Path(str(first.rejects_file)), contract=described, table="other", rejects=tmp_path / "again.xlsx")
    one, two = (list(openpyxl.load_workbook(str(r.rejects_file)).active.values) for r in (first, again))
    # In a table of its own, the row that repeated a key of the first one is good.
    assert [row[2:] for row in two] == [row[2:] for row in one[:3]]
    assert two[0] == one[0]


def test_mended_rejects_complete_the_table(db: Database, tmp_path: Path, described: Path) -> None:
    first = db.load(_bad_book(tmp_path / "t.xlsx"), contract=described)
    mended = Path(str(first.rejects_file))
    book = openpyxl.load_workbook(mended)
    for row, value in ((2, 2), (3, 3), (4, 5)):
        book.active.cell(row, 3, value)
    book.save(mended)
    second = db.load(mended, contract=described, table="t")
    assert (second.success_count, second.error_count) == (3, 0)
    assert db.rows("select id, note from t order by id") == [
        (1, "one"),
        (2, "=evil()"),
        (3, "5"),
        (4, "four"),
        (5, "twice"),
    ]


def test_formula_not_mended_is_rejected_again(db: Database, tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", ["a", "b"], [1, Formula("=A2+1")], [2, 5])
    first = db.load(path)
    again = db.load(Path(str(first.rejects_file)), table="t", rejects=tmp_path / "r2.xlsx")
    assert [(r.key, r.example) for r in first.rules] == [("b|uncalculated-formula", "Sheet!B2")]
    assert [(r.key, r.example) for r in again.rules] == [("b|error-cell", "Sheet!B2")]
    assert db.rows("select a, b from t") == [(2, 5)]


def test_control_characters_in_texts(db: Database, tmp_path: Path) -> None:
    """`_x0000_` is how a workbook spells a NUL; PostgreSQL cannot store it."""
    sheet = RawSheet(
        rawbook.row(1, rawbook.inline("A1", "a"))
        + rawbook.row(2, rawbook.inline("A2", "x_x0000_y"))
        + rawbook.row(3, rawbook.inline("A3", "x_x0001_y"))
    )
    path = tmp_path / "t.xlsx"
    RawBook([sheet]).write(path)
    report = db.load(path)
    (loaded,) = zip(*db.rows("select a from t"), strict=True)
    assert report.success_count + report.error_count == 2
    if report.rejects_file:
        assert openpyxl.load_workbook(report.rejects_file).active["A2"].value == 2
    assert "x\x01y" in loaded or "x_x0001_y" in loaded


# ---- BUDGET AND PLACE -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "fits"), [("3", True), ("2", False), ("60%", True), ("59.9%", False), ("0", False), ("100%", True)]
)
def test_budget(db: Database, tmp_path: Path, described: Path, budget: str, fits: bool) -> None:
    path = _bad_book(tmp_path / "t.xlsx")
    if fits:
        assert db.load(path, contract=described, max_rejects=budget).error_count == 3
        assert db.rows("select count(*) from t") == [(2,)]
        return
    with pytest.raises(BudgetExceeded, match="3 of 5 rows were rejected") as caught:
        db.load(path, contract=described, max_rejects=budget)
    assert caught.value.exit_code == 5
    assert caught.value.report is not None
    assert Path(str(caught.value.report.rejects_file)).exists()
    assert db.rows("select to_regclass('t')::text") == [(None,)]
    assert db.leftovers() == []


def test_default_file_is_not_overwritten(
    db: Database, tmp_path: Path, described: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _bad_book(tmp_path / "t.xlsx")
    first = db.load(path, contract=described, rejects=None)
    before = Path(str(first.rejects_file)).read_bytes()
    second = db.load(path, contract=described, rejects=None, mode="replace")
    assert [Path(str(r.rejects_file)).name for r in (first, second)] == ["t.rejects.xlsx", "t.rejects-2.xlsx"]
    assert Path(str(first.rejects_file)).read_bytes() == before


def test_given_file_is_replaced_when_it_is_whole(db: Database, tmp_path: Path, described: Path) -> None:
    (tmp_path / "r.xlsx").write_text("old")
    db.load(_bad_book(tmp_path / "t.xlsx"), contract=described, rejects=tmp_path / "r.xlsx")
    assert openpyxl.load_workbook(tmp_path / "r.xlsx").active.max_row == 4
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


@pytest.mark.parametrize("suffix", [".xlsx", ".csv", ".parquet"])
def test_unwritable_file_publishes_nothing(db: Database, tmp_path: Path, described: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="the rejects cannot be written") as caught:
        db.load(_bad_book(tmp_path / "t.xlsx"), contract=described, rejects=tmp_path / "file" / f"r{suffix}")
    assert "--rejects" in str(caught.value)
    assert db.rows("select to_regclass('t')::text") == [(None,)]


def test_folder_in_the_way_publishes_nothing(db: Database, tmp_path: Path, described: Path) -> None:
    (tmp_path / "r.xlsx").mkdir()
    with pytest.raises(MachineError, match="cannot be written"):
        db.load(_bad_book(tmp_path / "t.xlsx"), contract=described, rejects=tmp_path / "r.xlsx")
    assert db.rows("select to_regclass('t')::text") == [(None,)]


def test_source_is_not_overwritten_by_its_rejects(db: Database, tmp_path: Path, described: Path) -> None:
    path = _bad_book(tmp_path / "t.xlsx")
    before = path.read_bytes()
    with pytest.raises(ImporterError, match="rejects"):
        db.load(path, contract=described, rejects=path)
    assert path.read_bytes() == before


def test_no_rejects_no_file(db: Database, tmp_path: Path) -> None:
    report = db.load(save(tmp_path / "t.xlsx", ["a"], [1]), rejects=tmp_path / "r.xlsx")
    assert report.rejects_file is None
    assert not (tmp_path / "r.xlsx").exists()


def test_old_rejects_come_back_when_nothing_was_published(db: Database, tmp_path: Path) -> None:
    """A run that fails in the database leaves neither a new rejects file nor harm to the one that was there."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["name", "n"], ["a", 1], ["b", "x"]):
        sheet.append(row)
    book.save(tmp_path / "w.xlsx")
    db.run(
        f"CREATE TABLE {db.schema}.w (name text, n bigint)",
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM * FROM nowhere; RETURN new; END $$",
        f"CREATE TRIGGER broken BEFORE INSERT ON {db.schema}.w FOR EACH ROW EXECUTE FUNCTION broken()",
    )
    old = tmp_path / "r.csv"
    old.write_text("half mended")
    with pytest.raises(DatabaseError):
        db.load(tmp_path / "w.xlsx", table="w", rejects=old)
    assert old.read_text() == "half mended"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("r.csv")] == ["r.csv"]
    with pytest.raises(DatabaseError):
        db.load(tmp_path / "w.xlsx", table="w", rejects=tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()
