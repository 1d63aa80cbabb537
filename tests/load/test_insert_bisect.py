"""The SQL of `insert_bisect.sql`: every placeholder is replaced once, and what names look like is never replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from support.tables import contract, save

from importer.load import insert_bisect

if TYPE_CHECKING:
    from conftest import Database

PYTHON = Path(insert_bisect.__file__).read_text(encoding="utf-8")


def test_fragments_are_those_that_are_used() -> None:
    fragments = insert_bisect._fragments()
    assert set(fragments) == set(re.findall(r'_sql\(\s*"(\w+)"', PYTHON))
    assert all("--" not in text for text in fragments.values()), "comments are not sent"


def test_every_loop_has_a_comment() -> None:
    """A line that begins a loop follows a comment; the loop that only returns answers stands in one line."""
    lines = Path(insert_bisect.__file__).with_suffix(".sql").read_text(encoding="utf-8").splitlines()
    loops = [n for n, line in enumerate(lines) if re.match(r" *(WHILE|FOREACH) ", line)]
    assert len(loops) == 4
    assert all(lines[n - 1].lstrip().startswith("-- ") for n in loops)


def test_value_that_looks_like_a_placeholder_stays() -> None:
    sql = insert_bisect._sql("count", staging='"{rows}"."{}"', rows=r'"{staging}\1" = $1')
    assert sql.strip() == r'SELECT count(*) INTO importer_count FROM "{rows}"."{}" WHERE "{staging}\1" = $1;'


def test_columns_named_like_placeholders(db: Database, tmp_path: Path) -> None:
    """The names go through each kind of fragment: insert, probe of a cast, upsert and its check, and waiting rows."""
    names = ["{number}", "{}", "{answer}\\1", "-- fragment: body"]
    db.run(
        'create table t ("{number}" bigint primary key, "{}" inet, "{answer}\\1" bigint references t, '
        '"-- fragment: body" text)',
        "create function judge() returns trigger language plpgsql as $$ begin return new; end $$",
        "create trigger judge before insert or update on t for each row execute function judge()",
    )
    book = save(tmp_path / "t.xlsx", names, [1, "10.0.0.1", 2, "a"], [2, "300.1.1.1", None, "b"], [3, None, 3, "c"])
    described = contract(
        tmp_path / "c.json",
        fields=[
            {"name": names[0], "type": "integer"},
            {"name": names[1]},
            {"name": names[2], "type": "integer"},
            {"name": names[3]},
        ],
        primaryKey=names[:1],
    )
    for mode in ("append", "upsert"):
        report = db.load(book, contract=described, mode=mode, keep_names=True, again=True)
        assert report.error_count == 2
        assert db.rows("select * from t") == [(3, None, 3, "c")]
        db.run("truncate t")
