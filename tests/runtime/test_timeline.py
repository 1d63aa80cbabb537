"""The picture of a run: every stage and every task of every worker is in it, at its time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from support.rawbook import inline, row, write_rows

from importer import import_workbook
from importer.errors import UsageError
from importer.runtime.timeline import Span, draw, make_trace

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
    # The stage itself, and two windows that tell what is in the columns; those and two more are loaded. The last two,
    # in which totals may stand, are read first, then checked and written.
    assert [stages.count(task) for task in ("read", "load", "validate", "write")] == [1 + 4, 1 + 4, 1 + 1, 1 + 1]
    book = write_rows(tmp_path / "c.xlsx", rows)
    report = import_workbook(
        book, to=db.dsn.text, table="u", workers=1, chunk_rows=100, timeline=picture, method="concurrent"
    )
    told = [t.text or "" for t in ET.parse(picture).iter(f"{SVG}title")][1:]
    stages = [text.split(":")[0] for text in told]
    # The stage itself and five windows, of which the head is one.
    assert [stages.count(task) for task in ("read", "validate", "write")] == [6, 6, 6]
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


def test_trace_has_an_event_for_each_span() -> None:
    spans = [
        Span("worker 2", "read_window", 11.0, 14.5),
        Span("run", "open", 10.0, 11.0),
        Span("cutter", "cut", 11, 12),
    ]
    trace = make_trace(spans, "a<b")
    named = {
        (e["name"], e["tid"]): e["args"] for e in trace["traceEvents"] if e["ph"] == "M" and e["name"] != "process_name"
    }
    lanes = {args["name"]: tid for (kind, tid), args in named.items() if kind == "thread_name"}
    assert lanes == {"run": 0, "cutter": 1, "worker 2": 2}
    assert {args["sort_index"] for (kind, _), args in named.items() if kind == "thread_sort_index"} == {0, 1, 2}
    assert [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"] == ["a<b"]
    drawn = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert [(e["name"], e["cat"], e["tid"], e["ts"], e["dur"]) for e in drawn] == [
        ("read_window", "read", 2, 1e6, 3.5e6),
        ("open", "open", 0, 0, 1e6),
        ("cut", "unpack", 1, 1e6, 1e6),
    ]
    assert {e["pid"] for e in trace["traceEvents"]} == {1}
    assert make_trace([], "t")["traceEvents"] == [
        {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "t"}}
    ]


def test_a_run_as_a_trace(db: Database, tmp_path: Path) -> None:
    rows = row(1, inline("A1", "h")) + "".join(row(n, inline(f"A{n}", f"x{n}")) for n in range(2, 500))
    book, path = write_rows(tmp_path / "b.xlsx", rows), tmp_path / "t.JSON"
    report = import_workbook(book, to=db.dsn.text, table="t", workers=1, chunk_rows=100, timeline=path)
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    lanes = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    assert {"run", "cutter", "worker 1"} <= set(lanes)
    drawn = [e for e in events if e["ph"] == "X"]
    assert {e["tid"] for e in drawn} == set(lanes.values())
    assert min(e["ts"] for e in drawn) == 0
    for stage, seconds in report.timings.items():
        took = sum(e["dur"] for e in drawn if (e["tid"], e["name"]) == (lanes["run"], stage))
        assert took == pytest.approx(seconds * 1e6, abs=1)


def test_a_page_and_no_other_format(db: Database, tmp_path: Path) -> None:
    book = write_rows(tmp_path / "b.xlsx", row(1, inline("A1", "h")) + row(2, inline("A2", "x")))
    import_workbook(book, to=db.dsn.text, table="t", timeline=tmp_path / "t.html")
    assert (tmp_path / "t.html").read_text().startswith("<!doctype html>")
    again = import_workbook(book, to=db.dsn.text, table="t", timeline=tmp_path / "other.svg")
    assert again.outcome == "already-imported"  # where the picture goes does not make it another import
    with pytest.raises(UsageError, match="timeline"):
        import_workbook(book, to=db.dsn.text, table="t", timeline=tmp_path / "t.pdf")
