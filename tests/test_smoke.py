"""The main job: the sample workbook with its contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Database

DATA = Path(__file__).parent.parent / "data"


def test_sample_loads_9987_and_rejects_13(db: Database, tmp_path: Path) -> None:
    report = db.load(DATA / "businesses.xlsx", contract=DATA / "businesses.schema.json", rejects=tmp_path / "r.xlsx")
    assert (report.success_count, report.error_count) == (9987, 13)
    assert db.rows("select count(*), count(distinct id), count(created_at) from businesses") == [(9987, 9987, 9987)]
    assert db.leftovers() == []
