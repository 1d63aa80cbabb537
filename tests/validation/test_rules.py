"""Constraints of Table Schema, missing values, and how a row's errors are told: each once, all in one pass."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.judging import ErrorCell, Formula, frame_of, judge, outcome, plan_of

from importer.cells.frame import ROW
from importer.validation.check_window import check_rows
from importer.validation.errors_frame import RowError
from importer.validation.tasks import ColumnCount

BROKEN = ["constraint-error"]
TYPE = ["type-error"]
DAY = datetime(2020, 5, 1)

CASES: list[tuple[dict[str, Any], list[tuple[Any, bool]]]] = [
    ({"constraints": {"minLength": 2}}, [("ab", True), ("a", False), ("é😀", True)]),
    ({"constraints": {"maxLength": 2}}, [("ab", True), ("abc", False), ("😀😀", True), (12, True), (123, False)]),
    ({"type": "array", "constraints": {"minLength": 1, "maxLength": 2}}, [("[]", False), ("[1, 2]", True),
        ("[1, 2, 3]", False)]),
    ({"type": "list", "constraints": {"maxLength": 2}}, [("a,b", True), ("a,b,c", False)]),
    ({"type": "integer", "constraints": {"minimum": 2, "maximum": 4}}, [(1, False), (2, True), ("4", True), (5,
        False)]),
    ({"type": "integer", "constraints": {"minimum": 2**60}}, [(str(2**60), True), (str(2**60 - 1), False)]),
    ({"type": "number", "constraints": {"exclusiveMinimum": 0, "exclusiveMaximum": "1.5"}}, [(0, False), (0.1, True),
        (1.5, False)]),
    ({"type": "number", "decimalChar": ",", "constraints": {"maximum": 1.5}}, [("1,5", True), ("1,6", False)]),
    ({"type": "date", "constraints": {"minimum": "2020-05-01"}}, [(DAY, True), ("2020-04-30", False)]),
    ({"type": "date", "format": "%d.%m.%Y", "constraints": {"minimum": "2020-05-01", "maximum": "02.05.2020"}},
        [("01.05.2020", True), ("3.5.2020", False), ("30.4.2020", False)]),
    ({"type": "datetime", "constraints": {"exclusiveMaximum": "2020-05-01T12:00:00"}}, [(DAY, True),
        (DAY.replace(hour=12), False)]),
    ({"type": "time", "constraints": {"maximum": "12:00"}}, [(time(12), True), (time(12, 0, 1), False)]),
    ({"type": "duration", "constraints": {"maximum": "PT1H"}}, [(timedelta(hours=1), True), (timedelta(hours=2),
        False)]),
    ({"type": "year", "constraints": {"minimum": 2000}}, [(2000, True), ("1999", False)]),
    ({"type": "yearmonth", "constraints": {"minimum": "2020-02"}}, [(DAY, True), ("2020-01", False)]),
    ({"constraints": {"pattern": "a|b"}}, [("a", True), ("ab", False), ("b", True), ("a\n", False), ("xa", False)]),
    ({"constraints": {"pattern": "\\d{2}"}}, [("12", True), (12, True), ("123", False)]),
    ({"constraints": {"pattern": "(?i)abc"}}, [("ABC", True), ("abcd", False)]),
    ({"constraints": {"pattern": "\\p{L}+"}}, [("é", True), ("1", False)]),
    ({"constraints": {"pattern": "(?!x)\\w+"}}, [("abc", True), ("xbc", False), ("abc!", False)]),
    ({"constraints": {"pattern": "(.)\\1"}}, [("aa", True), ("ab", False), ("aaa", False)]),
    ({"type": "integer", "constraints": {"pattern": "[12].*"}}, [(12, True), (3, False)]),
    ({"constraints": {"enum": ["a", 1]}}, [("a", True), (1, True), ("1", True), ("b", False)]),
    ({"type": "integer", "constraints": {"enum": [1, "2"]}}, [(1, True), ("2", True), (3, False)]),
    ({"type": "number", "constraints": {"enum": [0.5]}}, [(0.5, True), (0.25, False)]),
    ({"type": "boolean", "constraints": {"enum": [True]}}, [(True, True), (False, False)]),
    ({"type": "date", "constraints": {"enum": ["2020-05-01"]}}, [(DAY, True), ("2020-05-02", False)]),
    ({"type": "datetime", "constraints": {"enum": ["2020-05-01T00:00:00"]}}, [(DAY, True), (DAY.replace(hour=1),
        False)]),
    ({"type": "time", "constraints": {"enum": ["10:00"]}}, [(time(10), True), (time(11), False)]),
    ({"type": "duration", "constraints": {"enum": ["PT1H"]}}, [(timedelta(hours=1), True), (timedelta(hours=2),
        False)]),
    ({"categories": ["a", {"value": "b", "label": "B"}]}, [("a", True), ("b", True), ("B", False)]),
    ({"type": "object", "constraints": {"jsonSchema": {"required": ["a"]}}}, [('{"a": 1}', True), ("{}", False)]),
    ({"type": "array", "constraints": {"jsonSchema": {"items": {"type": "integer"}}}}, [("[1]", True), ('["x"]',
        False)]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "cells"), CASES, ids=[str(field)[:60] for field, _ in CASES])
def test_constraint(field: dict[str, Any], cells: list[tuple[Any, bool]]) -> None:
    found = outcome([cell for cell, _ in cells], field)
    assert [value != BROKEN for value in found] == [good for _, good in cells]
    assert all(value != TYPE for value in found)


@given(
    st.text("ab\n1", max_size=6),
    st.sampled_from(["a*", "(a|b)+", "a.b", "[^a]*", "\\w+1?", "(?=a)a.*", "(?s)a.b", "a$|b"]),
)
def test_pattern_agrees_with_fullmatch(text: str, pattern: str) -> None:
    assert (outcome([text], {"constraints": {"pattern": pattern}}, missing=[]) == [text]) == bool(
        re.fullmatch(pattern, text)
    )


def test_failed_cast_is_one_error() -> None:
    field = {"type": "integer", "constraints": {"minimum": 100, "enum": [500], "pattern": "5.*"}}
    assert outcome(["x", 5, 500], field) == [
        TYPE,
        BROKEN * 2,
        500,
    ]  # enum, pattern hold for 5.*; minimum and enum do not


def test_failed_format_is_one_error() -> None:
    field = {"format": "email", "constraints": {"maxLength": 3, "pattern": "x"}}
    assert outcome(["nobody", "a@b.c"], field) == [TYPE, BROKEN * 2]


def test_error_cells_are_one_error() -> None:
    field = {"type": "integer", "constraints": {"required": True, "minimum": 5}}
    assert outcome([ErrorCell("#N/A"), Formula("=A1"), 5, None], field) == [
        ["error-cell"],
        ["uncalculated-formula"],
        5,
        BROKEN,
    ]


def test_error_cells_as_null() -> None:
    cells = [ErrorCell("#N/A"), Formula("=A1"), 5, None]
    assert outcome(cells, {"type": "integer"}, error_cells="null") == [None, None, 5, None]
    assert outcome(cells, {"type": "integer", "constraints": {"required": True}}, error_cells="null") == [
        BROKEN,
        BROKEN,
        5,
        BROKEN,
    ]
    assert judge(cells, {"type": "integer"}, error_cells="null").counts == {0: ColumnCount(3, 1, 2, 0, 0)}


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ([""], ["a", None, "-", "n/a", "-99", None]),
        ([], ["a", "", "-", "n/a", "-99", None]),
        (["-"], ["a", "", None, "n/a", "-99", None]),
        (["-", "n/a", "-99"], ["a", "", None, None, None, None]),
        ([{"value": "-99", "label": "unknown"}], ["a", "", "-", "n/a", None, None]),
    ],
)
def test_missing_values(missing: list[Any], expected: list[Any]) -> None:
    assert outcome(["a", "", "-", "n/a", -99, None], {}, missing=missing) == expected


def test_missing_values_of_a_field_replace_the_others() -> None:
    assert outcome(["", "-", 5], {"missingValues": ["-"]}, missing=["", "5"]) == ["", None, "5"]
    assert outcome(["", "-"], {"missingValues": []}, missing=["", "-"]) == ["", "-"]


def test_missing_is_required_and_not_in_enum() -> None:
    field = {"constraints": {"enum": ["a"], "minLength": 1}}
    assert outcome(["", None, "a"], field) == [None, None, "a"]
    field["constraints"]["required"] = True
    assert outcome(["", None, "a"], field) == [BROKEN, BROKEN, "a"]


def test_nul_in_text_is_rejected() -> None:
    assert outcome(["a\0b", "ab"], {}) == [TYPE, "ab"]


def test_all_errors_of_all_rows_in_one_pass() -> None:
    fields = [
        {"name": "a", "type": "integer"},
        {"name": "b", "constraints": {"required": True, "maxLength": 2}},
        {"name": "c", "type": "date"},
    ]
    frame = frame_of(["x", 1, 2, "y"], [None, "ok", "long", "ok"], ["no", DAY, DAY, None])
    checked = check_rows(frame, plan_of({"fields": fields}), [RowError(5, "b", "unique-error", "repeats")])
    told = checked.errors.select(ROW, "column", "field", "rule", "kind", "raw").rows()
    assert told == [
        (2, 0, "a", "type-error", "text", "x"), (2, 1, "b", "constraint-error", None, None), (2, 2, "c", "type-error",
        "text", "no"),
        (4, 1, "b", "constraint-error", "text", "long"),
        (5, 0, "a", "type-error", "text", "y"), (5, 1, "b", "unique-error", "text", "ok"),
    ]  # fmt: skip
    assert checked.accepted.rows() == [(3, 1, "ok", DAY.date())]
    assert checked.rejected[ROW].to_list() == [2, 4, 5]
    assert checked.counts == {
        0: ColumnCount(4, 1, 0, 0, 3),
        1: ColumnCount(3, 1, 0, 0, 2),
        2: ColumnCount(3, 1, 0, 0, 2),
    }


def test_field_without_a_column() -> None:
    fields = [{"name": "a"}, {"name": "b", "title": "-", "type": "integer", "constraints": {"minimum": 5}}]
    checked = check_rows(frame_of(["x", None]), plan_of({"fields": fields}), [])
    assert checked.accepted.rows() == [(2, "x", None), (3, None, None)]


def test_required_field_without_a_column() -> None:
    fields = [{"name": "a"}, {"name": "b", "title": "-", "constraints": {"required": True}}]
    checked = check_rows(frame_of(["x", None]), plan_of({"fields": fields}), [])
    assert checked.errors.select(ROW, "column", "rule").rows() == [
        (2, -1, "constraint-error"),
        (3, -1, "constraint-error"),
    ]
    assert checked.counts == {0: ColumnCount(1, 0, 0, 0, 1)}


def test_only_fields_without_a_column() -> None:
    plan = plan_of({"fields": [{"name": "b", "title": "-", "type": "integer"}]})
    checked = check_rows(frame_of(["x", "y"]), plan, [])
    assert checked.accepted.rows() == [(2, None), (3, None)]
    assert checked.counts == {0: ColumnCount(2, ignored=2)}


def test_column_of_all_kinds_is_counted_by_cell() -> None:
    cells = ["a", 1, True, DAY, time(1), timedelta(hours=1), ErrorCell("#N/A"), Formula("=A1"), None, ""]
    assert judge(cells, {}).counts == {0: ColumnCount(9, 6, 1, 0, 2)}


def test_window_without_rows() -> None:
    plan = plan_of(
        {
            "fields": [
                {"name": "a", "type": "integer", "constraints": {"unique": True, "minimum": 5}},
                {"name": "b", "format": "email"},
            ]
        }
    )
    checked = check_rows(frame_of(["x"], ["y"]).clear(), plan, [])
    assert (len(checked.accepted), len(checked.errors), len(checked.rejected)) == (0, 0, 0)
    assert checked.keys is not None
    assert checked.keys.columns == [ROW, "_ok", "a"]
