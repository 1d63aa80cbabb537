"""Texts in ISO 8601 with an offset go into `timestamptz` as the instants that they name, whatever the run's zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest
from support.tables import save

from importer.cells.temporal import instants

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

TEXTS = [
    ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00"), ("2024-05-01 10:00Z", "2024-05-01T10:00:00"),
    ("2024-05-01T10:00:00.5-0530", "2024-05-01T15:30:00.5"), ("2024-05-01T10:00:00 +02", "2024-05-01T08:00:00"),
    ("2024-10-27T02:30:00+02:00", "2024-10-27T00:30:00"), ("2024-10-27T02:30:00+01:00", "2024-10-27T01:30:00"),
    ("2024-05-01 10:00:00 UTC", "2024-05-01T10:00:00"), ("2024-05-01T10:00GMT", "2024-05-01T10:00:00"),
    ("2024-05-01 10:00:00 UTC+2", None), ("2024-05-01 10:00:00 CET", None),
    ("2024-05-01T10:00:00", None), ("2024-13-01T10:00:00Z", None), ("2024-05-01T10:00:60Z", None),
    ("2024-05-01T24:00:00Z", None), ("2024-05-01T10Z", None), ("x", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_instant_of_a_text(text: str, expected: str | None) -> None:
    (found,) = pl.select(instants(pl.lit(text))).to_series()
    assert found == (None if expected is None else datetime.fromisoformat(expected).replace(tzinfo=UTC))


def test_offsets_into_timestamptz_and_nowhere_else(db: Database, tmp_path: Path) -> None:
    db.run("create table t (at timestamptz, short timestamptz(0), local timestamp)")
    stamp = "2024-10-27T02:30:00+01:00"
    lines = [
        [stamp, stamp, None],
        ["2024-10-27T02:30:00", None, None],
        [None, None, stamp],
        [None, f"{stamp[:19]}.5Z", None],
    ]
    report = db.load(save(tmp_path / "t.xlsx", ["at", "short", "local"], *lines), timezone="Europe/Zurich", workers=0)
    found = db.rows("select (at at time zone 'UTC')::text, (short at time zone 'UTC')::text from t order by 1 desc")
    assert found == [("2024-10-27 01:30:00", "2024-10-27 01:30:00"), ("2024-10-27 00:30:00", None)]
    assert {rule.key for rule in report.rules} == {"local|type-error", "short|type-error"}
