"""Makes frames (see `importer.cells.frame`) from rows of Python values, for tests that need no workbook."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells.frame import ROW, VALUE_KINDS, part

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = {str: "text", bool: "boolean", int: "number", float: "number", datetime: "datetime", time: "time", timedelta: "duration"}  # fmt: skip


def frame_of(lines: Iterable[list[Any]], first_row: int = 1) -> pl.DataFrame:
    """The frame of rows from `first_row` on, without the blank ones; None is an empty cell."""
    rows = [(n, line) for n, line in enumerate(lines, first_row) if any(v is not None for v in line)]
    arrays: dict[str, list[Any]] = {}
    for position, (_, line) in enumerate(rows):
        for column, value in enumerate(line):
            if value is not None:
                kind = KINDS[type(value)]
                cells = arrays.setdefault(part(column, kind), [None] * len(rows))
                cells[position] = float(value) if kind == "number" else value
    series = [pl.Series(name, cells, VALUE_KINDS[name.split(".")[1]]) for name, cells in arrays.items()]
    return pl.DataFrame([pl.Series(ROW, [n for n, _ in rows], pl.Int64), *series])
