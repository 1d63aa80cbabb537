"""Columns whose cells are loaded as they are: the same values, errors and counts as by the expressions of all columns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.judging import frame_of, plan_of

from importer.postgres.encoding import Encoding
from importer.validation import evaluate
from importer.validation.check_window import CheckedWindow, check_rows
from importer.validation.evaluate import check_cells

DAY = datetime(2026, 11, 28)
CELLS: dict[str, list[Any]] = {
    "text": ["a", "é" * 20, "", "n/a", "0", "a\0b", "longer than the twelve bytes of a view"],
    "number": [0, -0.0, 7, -12, 0.5, 2**31 - 1, -(2**31), 2**31, 2.0**53, 2.0**53 + 2, -(2.0**63), 1e300, 32768],
    "boolean": [True, False],
    "datetime": [DAY, DAY + timedelta(hours=7), DAY + timedelta(microseconds=1), datetime(1899, 12, 31)],
}
TYPES = {
    "text": [("string", "text"), ("string", "varchar"), ("string", "varchar(3)"), ("any", "text"), ("number", "numeric")],
    "number": [("number", "float8"), ("integer", "int8"), ("integer", "int4"), ("integer", "int2"), ("number", "int8"),
               ("number", "numeric"), ("string", "text"), ("year", "int4")],
    "boolean": [("boolean", "boolean"), ("string", "text")],
    "datetime": [("datetime", "timestamp"), ("date", "date"), ("datetime", "timestamptz"), ("datetime", "timestamp(3)")],
}  # fmt: skip
CONSTRAINTS: list[dict[str, Any]] = [{}, {}, {"required": True}, {"unique": True}, {"minimum": 5}, {"maxLength": 5}]


@st.composite
def columns(draw: st.DrawFn) -> tuple[dict[str, Any], str, list[Any]]:
    """A field, the type of its table column, and its cells, nearly all of one kind."""
    kind = draw(st.sampled_from(list(CELLS)))
    field_type, pg_type = draw(st.sampled_from(TYPES[kind]))
    rules = draw(st.sampled_from(CONSTRAINTS))
    if ("maxLength" in rules and field_type != "string") or (
        "minimum" in rules and field_type not in {"number", "integer"}
    ):
        rules = {}
    good = st.sampled_from(CELLS[kind][:4])
    cells = draw(st.lists(good, min_size=4, max_size=4))
    for place in draw(st.lists(st.integers(0, 3), max_size=1)):
        cells[place] = draw(
            st.one_of(st.none(), st.sampled_from(CELLS[kind]), st.sampled_from([v[0] for v in CELLS.values()]))
        )
    return {"type": field_type, "constraints": rules}, pg_type, cells


def contents(window: CheckedWindow) -> tuple[Any, ...]:
    return window.accepted.to_dict(as_series=False), window.accepted.schema, window.errors.rows(), window.counts


@given(
    asked=st.lists(columns(), min_size=1, max_size=2),
    missing=st.sampled_from([[""], [""], ["n/a", ""], ["0"], []]),
    encoding=st.sampled_from([None, Encoding("LATIN1", "ä")]),
)
def test_the_same_as_by_expressions(asked: list[Any], missing: list[str], encoding: Encoding | None) -> None:
    fields = [{"name": f"f{n}", **field} for n, (field, _, _) in enumerate(asked)]
    types = {f"f{n}": pg_type for n, (_, pg_type, _) in enumerate(asked)}
    plan = plan_of({"fields": fields, "missingValues": missing}, types, **({"encoding": encoding} if encoding else {}))
    frame = frame_of(*(cells for _, _, cells in asked))
    found = contents(check_rows(frame, plan, []))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "unchanged_values", lambda *_: {})
        assert contents(check_rows(frame, plan, [])) == found


def test_usual_columns_take_no_expressions() -> None:
    cells = [
        ["a", "b", None],
        [1.5, None, 2],
        [1, 2, None],
        [True, None, False],
        [DAY, None, DAY],
        [DAY, CELLS["datetime"][1], None],
    ]
    types = ["string", "number", "integer", "boolean", "date", "datetime"]
    plan = plan_of({"fields": [{"name": f"f{n}", "type": each} for n, each in enumerate(types)]})
    assert check_cells(frame_of(*cells), plan).unchanged == frozenset(range(len(types)))
