"""Cells as Python values, judged by a field of a contract without a workbook or a database."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from importer.cells.frame import ROW, VALUE_KINDS, part
from importer.contract.loader import parse_contract
from importer.plan.model import ColumnPlan, LoadPlan
from importer.postgres.types import FIELD_TYPES, PgType, parse_type
from importer.reading.header import SheetColumn
from importer.validation.check_window import CheckedWindow, check_rows


class ErrorCell(str):
    """`#N/A` and the like."""

    __slots__ = ()


class Formula(str):
    """A formula that was never calculated."""

    __slots__ = ()


def kind_of(value: Any) -> str:
    match value:
        case ErrorCell():
            return "error"
        case Formula():
            return "formula"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case datetime() | date():
            return "datetime"
        case time():
            return "time"
        case timedelta():
            return "duration"
    raise TypeError(value)


def frame_of(*columns: list[Any]) -> pl.DataFrame:
    """A window's frame: data begins in row 2."""
    arrays = {ROW: pl.Series(range(2, 2 + len(columns[0])), dtype=pl.Int64)}
    for index, cells in enumerate(columns):
        for kind in {kind_of(c) for c in cells if c is not None}:
            held = [c if c is not None and kind_of(c) == kind else None for c in cells]
            dtype = VALUE_KINDS.get(kind, pl.String)
            held = [float(c) if c is not None and kind == "number" else c for c in held]
            arrays[part(index, kind)] = pl.Series(
                [str(c) if c is not None and dtype == pl.String else c for c in held], dtype=dtype
            )
    return pl.DataFrame(arrays)


def plan_of(descriptor: dict[str, Any], pg_types: dict[str, str | PgType] | None = None, **options: Any) -> LoadPlan:
    """The plan of a contract whose fields are the sheet's columns in their order (a field titled `-` has none)."""
    contract = parse_contract(descriptor)
    given = pg_types or {}
    columns, index = [], 0
    for field in contract.fields:
        asked = given.get(field.name, FIELD_TYPES[field.type])
        pg_type = parse_type(asked) if isinstance(asked, str) else asked
        assert pg_type is not None
        column = None if field.title == "-" else SheetColumn(index, field.name, field.name)
        index += column is not None
        columns.append(ColumnPlan(field, column, pg_type, contract.missing_values_of(field)))
    defaults: dict[str, Any] = {
        "ignored": (),
        "keys": tuple(contract.all_keys()),
        "timezone": "UTC",
        "error_cells": "reject",
    }
    return LoadPlan(tuple(columns), **{**defaults, **options})


def judge(
    cells: list[Any], field: dict[str, Any], pg_type: str | PgType | None = None, **options: Any
) -> CheckedWindow:
    """The cells of one column judged by one field, named `x`; `missing` sets the contract's missingValues."""
    missing = options.pop("missing", [""])
    descriptor = {"fields": [{"name": "x", **field}], "missingValues": missing}
    plan = plan_of(descriptor, {"x": pg_type} if pg_type is not None else {}, **options)
    checked = check_rows(frame_of(cells), plan, [])
    assert all(count.balanced for count in checked.counts.values())
    return checked


def outcome(cells: list[Any], field: dict[str, Any], pg_type: str | PgType | None = None, **options: Any) -> list[Any]:
    """For every cell: the value on the wire, or the set of rules that it broke."""
    checked = judge(cells, field, pg_type, **options)
    values = dict(checked.accepted.iter_rows())
    errors: dict[int, list[str]] = {}
    for row, rule in checked.errors.select(ROW, "rule").iter_rows():
        errors.setdefault(row, []).append(rule)
    assert not set(values) & set(errors)
    return [values[row] if row in values else errors[row] for row in range(2, 2 + len(cells))]
