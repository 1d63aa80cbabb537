"""Small workbooks and contracts for tests that load into a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from openpyxl import Workbook
from support.judging import Formula

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the test works in, with one for temporary files beside it."""
    folder = tmp_path / "w"
    folder.mkdir()
    (tmp_path / "temp").mkdir()
    monkeypatch.chdir(folder)
    return folder


def save(path: Path, *lines: list[Any], sheet: str | None = None) -> Path:
    """A workbook with these rows; a text is a text even when it starts with `=`."""
    book = Workbook()
    assert book.active is not None
    book.active.title = sheet or "Sheet"
    for line in lines:
        book.active.append([str(cell) if isinstance(cell, Formula) else cell for cell in line])
        for given, cell in zip(line, book.active[book.active.max_row], strict=False):
            if isinstance(given, str) and not isinstance(given, Formula):
                cell.data_type = "s"
    book.save(path)
    return path


def column(path: Path, header: str, cells: list[Any]) -> Path:
    """A workbook with one column, and `n` beside it that numbers the rows."""
    return save(path, ["n", header], *[[n, cell] for n, cell in enumerate(cells, 2)])


def contract(path: Path, **descriptor: Any) -> Path:
    """A contract file."""
    path.write_text(json.dumps(descriptor), encoding="utf-8")
    return path
