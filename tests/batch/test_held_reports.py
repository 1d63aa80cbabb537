"""What a command for many workbooks holds to its end: the reports, packed; and the order in which futures end."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from importer.batch.execution.schedule import EndedFutures
from importer.batch.report import ImportReport, ManyReport, RejectsWorkbook

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMN = {"letter": "A", "header": "Id", "name": "id", "kinds": {"number": 100}, "type": "bigint", "cells": 100}
_STATS = {"total_records": 100, "success_count": 99, "error_count": 1}


def _report(number: int) -> ImportReport:
    told = {
        "workbook": f"{number}.xlsx",
        "columns": [{**_COLUMN, "loaded": 100 + number, "missing": 0, "rejected": 0} for _ in range(8)],
        "stats": _STATS,
        "target": {"schema": "public", "table": "t"},
        "rejects": {"file": f"{number}.rejects.xlsx"},
    }
    return ImportReport(f"{number}.xlsx", "Sheet1", "published", 1, 0.5, None, json.loads(json.dumps(told)))


def test_a_packed_report_says_the_same() -> None:
    report = _report(1)
    packed = report.packed()
    assert packed.to_dict() == report.to_dict()
    assert list(packed.to_dict()) == list(report.to_dict())
    assert str(packed) == str(report)
    assert (packed.success_count, packed.table, packed.rejects_file) == (99, "public.t", "1.rejects.xlsx")
    assert packed.unpacked() == report
    assert packed.packed() is packed
    assert pickle.loads(pickle.dumps(packed)).to_dict() == report.to_dict()
    with pytest.raises(KeyError):
        packed.report["nothing"]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_the_json_of_many_reports_comes_in_pieces(number: int) -> None:
    reports = tuple(_report(n).packed() for n in range(number))
    many = ManyReport(reports, ("a\nnote",), 1.5, None, (RejectsWorkbook("r.xlsx", ("importer run r.xlsx",)),))
    pieces = list(many.json_pieces())
    whole = json.dumps(many.to_dict(), ensure_ascii=False, indent=2)
    assert json.loads("".join(pieces)) == json.loads(whole)
    assert "".join(pieces) == whole or not number
    assert len(pieces) == number + 2


def test_packed_reports_take_little_memory() -> None:
    held, packed = _bytes_held(_report(n) for n in range(100)), _bytes_held(_report(n).packed() for n in range(100))
    assert packed < held / 3


def _bytes_held(reports: Iterable[ImportReport]) -> int:
    tracemalloc.start()
    try:
        held = list(reports)
        return tracemalloc.get_traced_memory()[0] if held else 0
    finally:
        tracemalloc.stop()


def test_futures_are_returned_once_in_the_order_in_which_they_end() -> None:
    ended: EndedFutures[int] = EndedFutures()
    futures = [ended.of(Future[int]()) for _ in range(4)]
    futures[2].set_result(1)
    futures[0].cancel()
    assert ended.next() == [futures[2], futures[0]]
    futures[3].set_exception(OSError())
    assert ended.next() == [futures[3]]
