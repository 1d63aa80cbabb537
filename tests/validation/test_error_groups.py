"""Errors with the same reason in the same column are one line, with their cells and first values."""

from __future__ import annotations

from typing import Any

import polars as pl

from importer.reading.places import CellAddresses
from importer.validation.error_groups import group_errors
from importer.validation.errors_frame import ERRORS_SCHEMA


def errors(*found: tuple[int, int, str, str | None, str]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {"_row": row, "column": column, "field": "f", "rule": "r", "kind": kind, "raw": raw, "reason": reason}
        for row, column, kind, raw, reason in found
    ]
    return pl.DataFrame(rows, schema=ERRORS_SCHEMA)


def test_equal_reasons_are_one_line() -> None:
    formulas = [(row, 4, "formula", "A1+1", "total was never calculated") for row in range(6, 53)]
    long = "x" * 50
    texts = [(row, 1, "text", raw, "n is not of type number") for row, raw in ((3, "a"), (7, "b"), (8, "a"), (9, long))]
    errors_of_excel = [(4, 2, "error", "#N/A", "e is an error value")]
    odd = [(5, 3, "unreadable", "date serial 60", "d holds a value that cannot be stored exactly")]
    lone = [(3, -1, "empty", None, "the row was refused")]
    found = group_errors(errors(*sorted(formulas + texts + lone + errors_of_excel + odd)), CellAddresses("S"))
    assert [group.describe() for group in found] == [
        "E6:E52, 47 cells: total was never calculated",
        f'B3, B7:B9, 4 cells: n is not of type number ("a", "b", "{"x" * 39}…")',
        "row 3: the row was refused",
        'C4: e is an error value ("#N/A")',
        'D5: d holds a value that cannot be stored exactly ("date serial 60")',
    ]


def test_many_runs_and_values_are_cut() -> None:
    found = group_errors(
        errors(*[(row, 0, "text", str(row), "is bad") for row in range(2, 20, 2)]), CellAddresses("S", {2: 102})
    )
    assert found[0].describe() == 'A102, A4, A6, …, 9 cells: is bad ("2", "4", "6", …)'


def test_no_errors() -> None:
    assert group_errors(errors(), CellAddresses("S")) == ()
