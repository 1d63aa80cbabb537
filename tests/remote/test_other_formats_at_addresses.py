"""Files of every format at addresses: the rows that they have as files, the same import wherever the bytes are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.otherbooks import Table, write_csv, write_ods, write_xls, write_xlsb, write_xlsx

from importer import check_workbook, import_workbook, inspect_workbook
from importer.errors import WorkbookRefused
from importer.remote.upload import upload
from importer.urls import Url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conftest import Database
    from support.webserver import WebFolder

ROWS = [["id", "name"], [1, "a"], [2, "b"], [3, "c"]]
FORMATS: dict[str, Callable[[Path, Sequence[Table]], Path]] = {
    "xlsx": write_xlsx, "xltm": write_xlsx, "ods": write_ods, "xls": write_xls, "xlsb": write_xlsb, "csv": write_csv,
    "tsv": write_csv,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_at_an_address(
    db: Database, web: WebFolder, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = FORMATS[form](tmp_path / f"book.{form}", [Table(ROWS)])
    monkeypatch.chdir(tmp_path)
    web.files[f"/in/book.{form}"] = path.read_bytes()
    upload(path, Url(f"memory://formats/book.{form}"), 0)
    s3.mkdir(f"other-{form}")
    s3.put_file(str(path), f"other-{form}/book.{form}")
    given = {"to": db.dsn.text, "table": "t", "workers": 1}
    places = [web.url(f"/in/book.{form}"), f"memory://formats/book.{form}", f"s3://other-{form}/book.{form}"]
    inspected = inspect_workbook(places[0], workers=1).source
    assert ([column.header for column in inspected.header.columns], inspected.rows) == (["id", "name"], 3)
    assert check_workbook(places[1], **given).success_count == 3
    reports = [import_workbook(place, **given) for place in places]
    assert [report.outcome for report in reports] == ["published", "already-imported", "already-imported"]
    assert [report.workbook["path"] for report in reports] == places
    assert db.rows("select id, name from t order by id") == [(1, "a"), (2, "b"), (3, "c")]
    web.files[f"/in/book.{form}"] = b"<html><body>Please log in"
    with pytest.raises(WorkbookRefused, match="an HTML page") as caught:
        inspect_workbook(places[0], workers=1)
    assert f"book.{form}" in str(caught.value.place)
