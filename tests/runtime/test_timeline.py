"""The picture of a run: every stage and every task of every worker is in it, at its time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from support.rawbook import inline, row, write_rows

from importer import import_workbook
from importer.errors import UsageError
from importer.runtime.timeline import Span, draw

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

SVG = "{http://www.w3.org/2000/svg}"


def test_every_stage_and_task_is_drawn(db: Database, tmp_path: Path) -> None:
    rows = row(1, inline("A1", "h")) + "".join(row(n, inline(f"A{n}", f"x{n}")) for n in range(2, 500))
    book, picture = write_rows(tmp_path / "b.xlsx", rows), tmp_path / "t.svg"
    report = import_workbook(book, to=db.dsn.text, table="t", workers=1, chunk_rows=100, timeline=picture)
    told = [t.text or "" for t in ET.parse(picture).iter(f"{SVG}title")][1:]
    stages = [text.split(":")[0] for text in told]
    assert set(report.timings) <= set(stages)
    # The stage itself, and two windows that tell what is in the columns; those and four more are loaded.
    assert [stages.count(task) for task in ("read", "load", "validate", "write")] == [1 + 2, 1 + 6, 1, 1]
    book = write_rows(tmp_path / "c.xlsx", rows)
    report = import_workbook(
        book, to=db.dsn.text, table="u", workers=1, chunk_rows=100, timeline=picture, method="concurrent"
    )
    told = [t.text or "" for t in ET.parse(picture).iter(f"{SVG}title")][1:]
    stages = [text.split(":")[0] for text in told]
    # The stage itself, the head and five windows.
    assert [stages.count(task) for task in ("read", "validate", "write")] == [7, 7, 7]
    labels = [t.text for t in ET.parse(picture).iter(f"{SVG}text")]
    assert {"run", "cutter", "worker 1"} <= set(labels)


def test_bars_lie_where_the_time_was_spent() -> None:
    picture = ET.fromstring(draw([Span("run", "open", 10.0, 11.0), Span("worker 2", "read_window", 11.0, 14.0)], "a<b"))
    bars = [r for r in picture.iter(f"{SVG}rect") if r.find(f"{SVG}title") is not None]
    first, second = ({k: float(b.attrib[k]) for k in ("x", "y", "width")} for b in bars)
    assert second["x"] == pytest.approx(first["x"] + first["width"], abs=0.02)
    assert second["width"] == pytest.approx(3 * first["width"], abs=0.05)
    assert second["y"] > first["y"]
    assert picture.find(f"{SVG}title").text == "a<b"  # type: ignore[union-attr]


def test_a_page_and_no_other_format(db: Database, tmp_path: Path) -> None:
    book = write_rows(tmp_path / "b.xlsx", row(1, inline("A1", "h")) + row(2, inline("A2", "x")))
    import_workbook(book, to=db.dsn.text, table="t", timeline=tmp_path / "t.html")
    assert (tmp_path / "t.html").read_text().startswith("<!doctype html>")
    again = import_workbook(book, to=db.dsn.text, table="t", timeline=tmp_path / "other.svg")
    assert again.outcome == "already-imported"  # where the picture goes does not make it another import
    with pytest.raises(UsageError, match="timeline"):
        import_workbook(book, to=db.dsn.text, table="t", timeline=tmp_path / "t.pdf")
