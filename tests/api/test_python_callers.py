"""What only callers from Python give and get: bytes, open files, descriptors, functions, frames, HTML."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from support.tables import save

import importer
from importer import ContractError, MachineError, UsageError, WorkbookRefused, check_workbook, import_workbook

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

ROWS = [["id", "city"], [1, "Oslo"], [2, "Bern"], ["three", "<b>Rome</b>"]]
CONTRACT = {"fields": [{"name": "id", "type": "integer"}, {"name": "city", "type": "string"}]}


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "cities.xlsx"
    save(path, *ROWS)
    return path


def test_bytes_and_open_files_are_the_same_import(db: Database, book: Path, tmp_path: Path) -> None:
    """Exactly once by content, whatever it was given as."""
    options = {
        "to": db.dsn.text, "table": "c", "contract": CONTRACT, "rejects": tmp_path / "r.xlsx", "temp_dir": tmp_path,
    }  # fmt: skip
    first = import_workbook(book.read_bytes(), **options)
    assert (first.outcome, first.success_count, first.error_count) == ("published", 2, 1)
    with book.open("rb") as file:
        assert import_workbook(file, **options).outcome == "already-imported"
        assert not file.closed
    for again in (book, str(book), io.BytesIO(book.read_bytes()), memoryview(book.read_bytes())):
        assert import_workbook(again, **options).outcome == "already-imported"
    assert db.rows("select id::text, city from c order by id") == [("1", "Oslo"), ("2", "Bern")]
    assert [path.name for path in tmp_path.iterdir()] == ["r.xlsx"]


def test_open_file_names_the_table(db: Database, book: Path, tmp_path: Path) -> None:
    with book.open("rb") as file:
        report = import_workbook(file, to=db.dsn.text, contract=CONTRACT, rejects=tmp_path / "r.csv")
    assert report.target["table"] == "cities"
    with pytest.raises(UsageError, match="has no name for the table"):
        import_workbook(book.read_bytes(), to=db.dsn.text)


def test_what_is_no_workbook(book: Path, tmp_path: Path) -> None:
    given: list[tuple[object, type[Exception], str]] = [
        (5, UsageError, "cannot be a int"),
        (io.StringIO("a"), UsageError, "open as text"),
        (b"", WorkbookRefused, "the file is empty"),
        (b"PK\x03\x04 and no more", WorkbookRefused, "damaged or cut short"),
    ]
    for workbook, error, said in given:
        with pytest.raises(error, match=said):
            import_workbook(workbook, to="postgresql://h/d", table="t", temp_dir=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(MachineError, match="cannot be written"):
        import_workbook(book.read_bytes(), to="postgresql://h/d", table="t", temp_dir=tmp_path / "none")
    assert os.listdir(tmp_path) == []


def test_descriptor_with_a_mistake_is_named(book: Path) -> None:
    wrong = {"fields": [{"name": "id", "type": "integer", "constraint": {"required": True}}]}
    with pytest.raises(ContractError, match="constraint") as caught:
        import_workbook(book, to="postgresql://h/d", contract=wrong)
    assert caught.value.place == "field 'id'"


def test_check_inspect_and_suggest(db: Database, book: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "r.csv"
    report = check_workbook(book, to=db.dsn.text, table="checked", contract=CONTRACT, rejects=rejects)
    assert (report.outcome, report.success_count, report.error_count) == ("checked", 2, 1)
    assert db.rows("select to_regclass('checked')::text") == [(None,)]
    found = importer.inspect_workbook(book.read_bytes())
    assert isinstance(found, importer.Inspection)
    assert [each["name"] for each in found.to_dict()["columns"]] == ["id", "city"]
    descriptor = importer.suggest_contract(io.BytesIO(book.read_bytes()), types="id=integer")
    loaded = import_workbook(book, to=db.dsn.text, table="suggested", contract=descriptor, rejects=rejects)
    assert (loaded.success_count, loaded.error_count) == (2, 1)


def test_report_shows_itself(db: Database, book: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "r.csv"
    report = import_workbook(book, to=db.dsn.text, table="shown", contract=CONTRACT, rejects=rejects)
    assert isinstance(report, importer.Report)
    place = f"{report.target['schema']}.shown"
    assert str(report) == f"2 of 3 rows loaded into {place}, 1 rejected\nrejects: {rejects}"
    frame = report.rejects()
    assert frame.columns == ["_row", "_errors", "id", "city"]
    ((row, errors, identifier, city),) = frame.rows()
    assert (row, identifier, city) == (4, "three", "<b>Rome</b>")
    assert errors.startswith("A4 type-error: ")
    html = report._repr_html_()
    assert html.count("<tr>") == 3
    assert "2 of 3 rows loaded" in html
    again = import_workbook(book, to=db.dsn.text, table="shown", contract=CONTRACT, rejects=rejects)
    assert str(again).startswith(f"nothing to do for {place}")
    assert again.rejects().is_empty()


def test_html_of_a_hostile_workbook_is_text(db: Database, tmp_path: Path) -> None:
    save(tmp_path / "h.xlsx", ["<script>a</script>", "n"], ["x", 1])
    report = import_workbook(tmp_path / "h.xlsx", to=db.dsn.text, table="h", keep_names=True)
    assert "<script" not in report._repr_html_()
    assert "&lt;script&gt;" in report._repr_html_()


def test_progress_function_sees_every_stage(db: Database, book: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    import_workbook(book, to=db.dsn.text, table="p", progress=lambda *now: seen.append(now))
    stages = [stage for stage, _, _ in seen]
    assert {"open", "read", "validate", "write", "publish"} <= set(stages)
    assert max(done for _, done, _ in seen) > 0
    with pytest.raises(UsageError, match="progress takes"):
        import_workbook(book, to=db.dsn.text, progress=3)  # type: ignore[arg-type]


def test_progress_function_that_fails_ends_the_run(db: Database, book: Path) -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        import_workbook(book, to=db.dsn.text, table="stopped", progress=stop)
    assert db.rows("select to_regclass('stopped')::text") == [(None,)]
