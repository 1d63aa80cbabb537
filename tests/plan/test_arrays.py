"""Texts that are lists go into array columns: PostgreSQL's own literals, and JSON lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.tables import save

from importer.cells.array_literals import array_literal
from importer.plan.type_match import misfit
from importer.postgres.types import PgType, parse_type

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("{a,b}", "{a,b}"), (" {} ", "{}"), ('["a", "b c"]', '{"a","b c"}'), ("[1, 2.5, null]", "{1,2.5,NULL}"),
        ('["NULL", "a,b", "{", "q\\"", "\\\\"]', '{"NULL","a,b","{","q\\"","\\\\"}'), ("[[1,2],[3,4]]", "{{1,2},{3,4}}"),
        ("[]", "{}"), ('[{"a": 1}]', None), ("a,b", None), ("", None), ("[1", None), ('["\\u0000"]', None),
    ],
)  # fmt: skip
def test_literal_of_a_text(text: str, literal: str | None) -> None:
    assert array_literal(text) == literal


@pytest.mark.parametrize("elements", ["varchar(2)", "numeric(4,1)", "date", "real", "timestamptz"])
def test_elements_that_the_server_would_change_are_refused(elements: str) -> None:
    """`'{abc}'::varchar(2)[]` is `{ab}`, without an error."""
    pg_type = parse_type(f"{elements}[]")
    assert pg_type is not None
    assert "would change elements" in str(misfit("string", pg_type))
    assert misfit("string", PgType("integer", array=True)) is None
    assert misfit("integer", PgType("integer", array=True)) is not None


def test_lists_into_array_columns(db: Database, tmp_path: Path) -> None:
    db.run("create table t (n int, tags text[], numbers int[], codes varchar[])")
    lines = [
        ["n", "tags", "numbers", "codes"],
        [1, "{a,b}", "[1, 2]", None], [2, '["x, y", "NULL", null]', "{3}", '["ab"]'],
        [3, "no list", None, None], [4, None, '["x"]', None], [5, None, 7, None],
    ]  # fmt: skip
    report = db.load(save(tmp_path / "t.xlsx", *lines), workers=0)
    assert db.rows("select n, tags::text, numbers::text, codes::text from t order by n") == [
        (1, "{a,b}", "{1,2}", None), (2, '{"x, y","NULL",NULL}', "{3}", "{ab}"),
    ]  # fmt: skip
    assert {rule.key: rule.count for rule in report.rules} == {
        "tags|type-error": 1, "numbers|database-error": 1, "numbers|type-error": 1,
    }  # fmt: skip
