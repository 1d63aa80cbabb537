"""Texts longer than a cell of Excel can hold: a reject, a limit that an option raises, and a cost that follows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.judging import outcome
from support.rawbook import formula, inline, number, row, shared, write_rows

from importer.errors import SheetError, UsageError
from importer.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

LIMIT = 32_767
BROKEN = ["constraint-error"]
MILLIONS = "x" * 5_000_000


@given(st.text("aé中😀", min_size=1, max_size=12), st.integers(1, 12))
def test_characters_are_counted_as_code_points(text: str, limit: int) -> None:
    told = outcome([text, "a"], {"type": "string"}, max_text=limit)
    assert told == [text if len(text) <= limit else BROKEN, "a"]


@pytest.mark.parametrize(
    ("field", "pg_type"),
    [
        ({"type": "string"}, "text"), ({"type": "any"}, "text"), ({"type": "object"}, "jsonb"),
        ({"type": "list"}, "text"), ({"type": "string"}, "character varying(40000)"), ({"type": "string"}, "citext"),
    ],
)  # fmt: skip
def test_longest_text_of_a_cell_and_one_more(field: dict[str, Any], pg_type: str) -> None:
    form = '{"a": "%s"}' if field["type"] == "object" else "%s"
    longest = form % ("😀" * (LIMIT - len(form % "")))
    assert outcome([longest, longest + " "], field, pg_type)[1] == BROKEN
    assert outcome([longest, None], field, pg_type)[0] != BROKEN


def test_max_length_of_the_contract_allows_more() -> None:
    cells = ["x" * 9, "x" * 10, "x" * 11]
    field = {"type": "string", "constraints": {"maxLength": 10}}
    assert outcome(cells, field, max_text=5) == ["x" * 9, "x" * 10, BROKEN * 2]
    assert outcome(cells, {"type": "list", "constraints": {"maxLength": 10}}, "text", max_text=9)[1:] == [BROKEN] * 2


@pytest.mark.parametrize(
    "far",
    [inline("B3", MILLIONS), shared("B3", 2), formula("B3", "REPT(1,9)", MILLIONS, "str")],
    ids=["inline", "shared", "result"],
)
def test_a_text_of_millions_is_a_reject_and_the_other_rows_load(db: Database, tmp_path: Path, far: str) -> None:
    rows = row(1, inline("A1", "n"), inline("B1", "t")) + row(2, number("A2", 1), inline("B2", "x" * LIMIT))
    path = write_rows(
        tmp_path / "book.xlsx", rows + row(3, number("A3", 2), far),
        strings=["<t>a</t>", "<t>b</t>", f"<t>{MILLIONS}</t>"],
    )  # fmt: skip
    report = db.load(path, table="t", workers=0)
    assert (report.success_count, report.error_count) == (1, 1)
    assert [(r.key, r.example) for r in report.rules] == [("t|constraint-error", "Data!B3")]
    assert db.rows("select n, length(t) from t") == [(1, LIMIT)]


def test_an_option_loads_texts_of_millions(db: Database, tmp_path: Path) -> None:
    """Verification hashes them on both sides, with the hash that this server has."""
    rows = "".join(row(n, number(f"A{n}", n), inline(f"B{n}", f"{n}{MILLIONS}")) for n in range(2, 5))
    path = write_rows(tmp_path / "book.xlsx", row(1, inline("A1", "n"), inline("B1", "t")) + rows)
    report = db.load(path, table="t", workers=0, max_text=5_000_001)
    assert (report.success_count, report.error_count) == (3, 0)
    assert db.rows("select n, length(t) from t order by n") == [(n, 5_000_001) for n in (2, 3, 4)]


def test_a_column_that_is_left_out_is_not_measured(db: Database, tmp_path: Path) -> None:
    rows = row(1, inline("A1", "n"), inline("B1", "t")) + row(2, number("A2", 1), inline("B2", MILLIONS))
    path = write_rows(tmp_path / "book.xlsx", rows)
    assert db.load(path, table="t", workers=0, columns=["n"]).error_count == 0


def test_a_header_longer_than_a_cell_can_be_is_refused(db: Database, tmp_path: Path) -> None:
    rows = row(1, inline("A1", "n"), inline("B1", MILLIONS)) + row(2, number("A2", 1), number("B2", 1))
    with pytest.raises(SheetError, match=r"header of column B has 5,000,000 characters"):
        db.load(write_rows(tmp_path / "book.xlsx", rows), table="t", workers=0)


def test_limit_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--max-text"):
        Settings(workbook=tmp_path, max_text=0)
