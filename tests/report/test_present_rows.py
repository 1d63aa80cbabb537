"""Rows that a table refuses because it has their keys already are said once, with what updates them instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.tables import save

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


def test_keys_that_are_there_already(db: Database, tmp_path: Path) -> None:
    db.run("create table t (order_id bigint primary key, code text unique)", "insert into t values (1, 'x'), (2, 'y')")
    book = save(tmp_path / "t.xlsx", ["order_id", "code"], [1, "a"], [2, "b"], [3, "x"], [4, "d"])
    report = db.load(book, workers=0)
    notes = report.to_dict()["notes"]
    assert report.error_count == 3
    assert "2 rows are there already with the same order_id: --mode upsert updates them" in notes
    assert "1 row is there already with the same code: --mode upsert --key code updates it" in notes
