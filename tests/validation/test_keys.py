"""Keys that must be unique over the whole sheet: which rows hold them, and which are told that they repeat one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook
from support.judging import frame_of, plan_of

from importer.cells import spool
from importer.validation.check_window import check_rows
from importer.validation.unique_keys import find_duplicates

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

UNIQUE = {"unique": True}


def _refused(
    folder: Path, windows: list[list[list[Any]]], descriptor: dict[str, Any], types: dict[str, str] | None = None
) -> list[tuple[int, int, str, str]]:
    """Window, row, rule and reason of every refusal; rows of all windows begin with 2."""
    plan, spooled = plan_of(descriptor, types), []
    for number, columns in enumerate(windows):
        keys = check_rows(frame_of(*columns), plan, []).keys
        spooled.append((number, spool.write_if_nonempty(keys, folder / f"{number}.arrow")))
    found = find_duplicates(spooled, plan.keys)
    return [(number, r.row, r.rule, r.reason) for number in sorted(found) for r in found[number]]


def _one(**constraints: Any) -> dict[str, Any]:
    return {"fields": [{"name": "k", **constraints}]}


def test_first_row_holds_the_key_over_windows(tmp_path: Path) -> None:
    found = _refused(tmp_path, [[["a", "b"]], [["c", "d", "a"]]], _one(constraints=UNIQUE))
    assert found == [(1, 4, "unique-error", "repeats the k of row 2")]


def test_nulls_are_never_equal(tmp_path: Path) -> None:
    assert _refused(tmp_path, [[[None, None, "", ""]]], _one(constraints=UNIQUE)) == []
    pair = {"fields": [{"name": "a"}, {"name": "b"}], "uniqueKeys": [["a", "b"]]}
    assert _refused(tmp_path, [[["x", "x", "x"], [None, None, "y"]]], pair) == []


def test_compound_key(tmp_path: Path) -> None:
    pair = {"fields": [{"name": "a"}, {"name": "b", "type": "integer"}], "primaryKey": ["a", "b"]}
    assert _refused(tmp_path, [[["x", "x", "x"], [1, 2, "1"]]], pair) == [
        (0, 4, "primary-key", "repeats the a + b of row 2")
    ]


def test_rejected_row_holds_nothing_but_is_told(tmp_path: Path) -> None:
    fields = {"fields": [{"name": "k", "constraints": UNIQUE}, {"name": "n", "type": "integer"}]}
    assert _refused(tmp_path, [[["a", "a", "b", "b"], ["bad", 1, 1, "bad"]]], fields) == [
        (0, 2, "unique-error", "repeats the k of row 3"),
        (0, 5, "unique-error", "repeats the k of row 4"),
    ]


def test_refused_row_frees_its_other_keys(tmp_path: Path) -> None:
    fields = {"fields": [{"name": "k", "constraints": UNIQUE}, {"name": "l", "constraints": UNIQUE}]}
    assert _refused(tmp_path, [[["a", "a", "b"], ["x", "y", "y"]]], fields) == [
        (0, 3, "unique-error", "repeats the k of row 2")
    ]


@pytest.mark.parametrize(
    ("pg_type", "field", "cells", "repeated"),
    [
        ("citext", {}, ["Ab", "aB"], True),
        ("text", {}, ["Ab", "aB"], False),
        ("uuid", {}, ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}"], True),
        ("char(5)", {}, ["a", "a  "], True),
        ("double precision", {"type": "number"}, [0.0, -0.0], True),
        ("integer", {"type": "integer"}, ["007", 7], True),
        ("text", {}, ["1", 1], True),
    ],
)
def test_equal_is_what_the_index_holds_for_equal(
    tmp_path: Path, pg_type: str, field: dict[str, Any], cells: list[Any], repeated: bool
) -> None:
    found = _refused(tmp_path, [[cells]], _one(constraints=UNIQUE, **field), {"k": pg_type})
    assert [row for _, row, _, _ in found] == ([3] if repeated else [])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None])), max_size=8))
def test_what_is_left_has_no_repeated_key(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str | None]]
) -> None:
    fields = {"fields": [{"name": "k"}, {"name": "l", "constraints": UNIQUE}], "primaryKey": "k"}
    if not rows:
        return
    found = _refused(tmp_path_factory.mktemp("k"), [[[k for k, _ in rows], [v for _, v in rows]]], fields)
    refused = {row for _, row, _, _ in found}
    kept = [row for n, row in enumerate(rows, 2) if n not in refused]
    assert len({k for k, _ in kept}) == len(kept)
    seconds = [v for _, v in kept if v is not None]
    assert len(set(seconds)) == len(seconds)
    for n in refused:  # and no row was refused without need
        k, v = rows[n - 2]
        assert any(k == other or (v is not None and v == second) for other, second in kept)


def test_repeats_over_windows_are_rejected_with_their_address(db: Database, tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["id", "name"])
    for n in range(30):
        book.active.append([n % 25, f"n{n}"])
    book.save(tmp_path / "t.xlsx")
    (tmp_path / "c.yaml").write_text("fields: [{name: id, type: integer}, {name: name}]\nprimaryKey: id")
    report = db.load(tmp_path / "t.xlsx", contract=tmp_path / "c.yaml", chunk_rows=7)
    assert (report.success_count, report.error_count) == (25, 5)
    assert [(r.key, r.count, r.example) for r in report.rules] == [("id|primary-key", 5, "Sheet!A27")]
    assert db.rows("select count(*), count(distinct id), max(name) from t") == [(25, 25, "n9")]


def test_keys_of_the_table_are_rules_too(db: Database, tmp_path: Path) -> None:
    db.run("create table t (id bigint primary key, code text not null, unique (code))")
    book = Workbook()
    for line in (["id", "code"], [1, "a"], [2, "a"], [1, "b"], [3, None], [4, "c"]):
        book.active.append(line)
    book.save(tmp_path / "t.xlsx")
    report = db.load(tmp_path / "t.xlsx")
    assert sorted((r.key, r.count) for r in report.rules) == [
        ("code|constraint-error", 1),
        ("code|unique-error", 1),
        ("id|primary-key", 1),
    ]
    assert db.rows("select id, code from t order by id") == [(1, "a"), (4, "c")]
