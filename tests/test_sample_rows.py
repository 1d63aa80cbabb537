"""What an inspection shows of the rows: both ends of the table, and each column's first value as it will be loaded."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from support.tables import save

from importer.inspection import inspect_workbook

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("rows", "first", "last"),
    [(3, [2, 3, 4], []), (7, [2, 3, 4, 5, 6], [7, 8]), (40, [2, 3, 4, 5, 6], [37, 38, 39, 40, 41])],
)
def test_rows_at_both_ends(tmp_path: Path, rows: int, first: list[int], last: list[int]) -> None:
    book = save(tmp_path / "t.xlsx", ["n", "t"], *([n, f"t{n}"] for n in range(1, rows + 1)))
    found = inspect_workbook(book, workers=0).to_dict()
    assert [row["row"] for row in found["sample"]] == first
    assert [row["row"] for row in found["last_rows"]] == last
    assert all(row["cells"] == {"A": str(row["row"] - 1), "B": f"t{row['row'] - 1}"} for row in found["last_rows"])


def test_first_value_of_each_column_as_it_will_be_loaded(tmp_path: Path) -> None:
    rows = [
        [1, None, None, None, "n/a", ""],
        [2, None, "ja", "1.234,50-", "n/a", ""],
        [3, datetime(2024, 1, 2), "nein", "5,00", "x", None],
    ]
    book = save(tmp_path / "t.xlsx", ["n", "day", "paid", "sum", "note", "nothing"], *rows)
    shown = {}
    for parse in (False, True):
        found = inspect_workbook(book, workers=0, parse_texts=parse, null=["n/a"]).to_dict()
        shown[parse] = [column["first_value"] for column in found["columns"]]
    assert shown[False] == ["1", "2024-01-02", "ja", "1.234,50-", "x", None]
    assert shown[True] == ["1", "2024-01-02", "true", "-1234.5", "x", None]


def test_cells_that_make_a_column_mixed(tmp_path: Path) -> None:
    rows = [[n, "abc" if n == 3 else n] for n in range(1, 9)]
    found = inspect_workbook(save(tmp_path / "t.xlsx", ["id", "n"], *rows), workers=0).to_dict()
    assert [column["mixed"] for column in found["columns"]] == [
        None,
        {
            "what": 'n: 7 numbers, 1 text (B4 "abc")', "main_type": "number", "others": 1,
            "cells": [{"address": "B4", "value": '"abc"'}],
        },
    ]  # fmt: skip
