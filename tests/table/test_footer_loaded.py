"""Totals and remarks of sheets that are loaded while they are read: no row too many, every cell accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.rawbook import inline, number, row, write_rows

from importer.load import direct_copy

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

LAST = 600


def book(path: Path) -> Path:
    """Rows 2 to 600 with a subtotal in row 450; a total and a remark at the end."""
    lines = row(1, inline("A1", "n"), inline("B1", "t"), inline("C1", "v"))
    for n in range(2, LAST + 1):
        cells = inline(f"A{n}", "Subtotal"), number(f"C{n}", 9)
        lines += row(n, *(cells if n == 450 else (number(f"A{n}", n), inline(f"B{n}", f"t{n}"), number(f"C{n}", 1))))
    lines += row(LAST + 1, inline(f"A{LAST + 1}", "Total"), number(f"C{LAST + 1}", 607))
    lines += row(LAST + 3, inline(f"A{LAST + 3}", "Source: the office"))
    return write_rows(path / "b.xlsx", lines)


@pytest.mark.parametrize("way", ["staged", "existing", "direct", "unstreamed"])
def test_totals_of_a_large_sheet(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(direct_copy, "DIRECT_BYTES", 1 if way == "direct" else 1 << 60)
    options: dict[str, Any] = {} if way == "unstreamed" else {"chunk_rows": 50}
    if way in {"existing", "direct"}:
        db.run("create table t (n bigint, t text, v bigint)")
    report = db.load(book(tmp_path), table="t", workers=1, **options)
    assert db.rows("select count(*), sum(v)::int8, min(n)::int8, max(n)::int8 from t") == [
        (LAST - 2, LAST - 2, 2, LAST)
    ]
    assert (report.total_records, report.error_count) == (LAST - 2, 0)
    assert [(c.count.cells, c.count.ignored, c.count.rejected) for c in report.columns] == [
        (LAST + 1, 3, 0), (LAST - 2, 0, 0), (LAST, 2, 0),
    ]  # fmt: skip
    assert [each["row"] for each in report.table["footer"] if each["left_out"]] == [450, LAST + 1, LAST + 3]
    assert report.table["range"] == f"A1:C{LAST}"
    assert ("load" in report.timings) == (way != "unstreamed")
    assert db.leftovers() == []


def test_totals_that_somebody_keeps(db: Database, tmp_path: Path) -> None:
    report = db.load(book(tmp_path), table="t", workers=0, footer="keep")
    assert report.total_records == LAST + 1
    assert sum(c.count.ignored for c in report.columns) == 0


def test_headers_that_are_repeated_in_a_large_sheet(db: Database, tmp_path: Path) -> None:
    """On each page of a list that is loaded while it is read: none is a row, and no column becomes a text."""
    lines = ""
    for n in range(1, LAST + 1):
        header = n % 60 == 1
        lines += (
            row(n, *(inline(f"{c}{n}", c) for c in "ABC"))
            if header
            else row(n, number(f"A{n}", n), inline(f"B{n}", f"t{n}"), number(f"C{n}", 1))
        )
    path = write_rows(tmp_path / "b.xlsx", lines)
    for table, options in (("streamed", {"chunk_rows": 50}), ("whole", {})):
        report = db.load(path, table=table, workers=1, **options)
        assert (report.total_records, report.error_count) == (LAST - 10, 0)
        assert [c.type for c in report.columns] == ["bigint", "text", "bigint"]
        assert [each["row"] for each in report.table["footer"]] == list(range(61, LAST, 60))
        assert {each["reason"] for each in report.table["footer"]} == {"repeated header"}
        assert all(c.count.ignored == 9 for c in report.columns)


def test_totals_of_texts(db: Database, tmp_path: Path) -> None:
    """In a CSV they are summed, too, where all numbers are written plainly; in several windows."""
    lines = [f"{place},item {n},{n}" for place in "NS" for n in range(1, 101)]
    lines.insert(100, "N Total,,5050")
    (tmp_path / "t.csv").write_text("\n".join(["place,item,n", *lines, "S Total,,5050", "Grand Total,,10100", ""]))
    report = db.load(tmp_path / "t.csv", table="t", workers=0, chunk_rows=30)
    assert db.rows("select count(*), sum(n)::int8 from t") == [(200, 10100)]
    assert [each["row"] for each in report.table["footer"] if each["left_out"]] == [102, 203, 204]
    (tmp_path / "two.csv").write_text("region,a,b\nN,1,2\nS,3,4\nTotal,4,6\n")
    assert db.load(tmp_path / "two.csv", table="two", workers=0).total_records == 2
