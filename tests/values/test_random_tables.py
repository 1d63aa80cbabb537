"""Random cells into existing tables of random types: the right value, NULL for an empty cell, or a reject that says where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from openpyxl.utils import get_column_letter
from support.columntypes import OWN_TYPES, REJECT, TYPES, ColumnType, expected
from support.oracle import check_kept, rejected_rows
from support.randombooks import random_cell, write_book
from support.randomsheets import number_cell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database
    from support.oracle import Cells

    from importer.report.model import Report

pytestmark = pytest.mark.timeout(3600)  # with --long

_ROWS = 14
_COLUMNS = 7
#: Cases without `--long`, of which each takes a third of a second.
_FEW = 12


@dataclass(frozen=True)
class Case:
    """A random table with what is in it, and a random sheet for it.

    Attributes:
        types: of the columns after the key `n`, which numbers the sheet's rows.
        required: positions in `types` of columns that are NOT NULL.
        before: keys of the rows that the table has; all else in them is null.
        mode: of the load.
        options: of the load besides.
        cells: of the sheet by (row, 0-based column).
    """

    types: list[ColumnType]
    required: set[int]
    before: set[int]
    mode: str
    options: dict[str, Any]
    cells: Cells

    def outcome(self, row: int) -> list[Any]:
        """What becomes of each cell of a row."""
        found = []
        for place, column in enumerate(self.types):
            value = expected(self.cells.get((row, place + 1)), column)
            found.append(REJECT if value is None and place in self.required else value)
        return found


@pytest.fixture
def own(db: Database) -> Iterator[str]:
    """A schema with types, on no search path and of a name that must be quoted."""
    name = f'"Own types of {db.schema}"'
    db.run(f"CREATE SCHEMA {name}", *[sql.format(own=name) for sql in OWN_TYPES])
    yield name
    db.run(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> range:
    """Numbers of cases: always the same few, so that a failure is of the change that is tested; with `--long` many."""
    option = request.config.getoption
    few = option("--seed") is None and not option("--long")
    first = 1 if few else int(request.getfixturevalue("seed"))
    return range(first, first + (option("--moments") or (1000 if option("--long") else _FEW)))


def test_every_cell_has_its_place(db: Database, own: str, tmp_path: Path, cases: range) -> None:
    for n in cases:
        try:
            _check_one(db, own, tmp_path / f"b{n}.xlsx", Random(n))
        except BaseException as exc:
            exc.add_note(f"repeat with --moments 1 --seed {n}")
            raise


def test_all_types_that_a_sheet_can_fill_are_tried() -> None:
    from importer.plan.type_match import _TAKES
    from importer.postgres.types import _CHECKED_TEXT_TYPES, TEXT_LIKE, parse_type

    tried = {parsed.name for sql in TYPES if (parsed := parse_type(sql.replace("{own}.", "")))}
    # Only an extension has citext; `test_citext` of the target's types tries it.
    assert {*_TAKES, *_CHECKED_TEXT_TYPES, *TEXT_LIKE} - tried == {"citext"}


def _check_one(db: Database, own: str, path: Path, rng: Random) -> None:
    case = _make_case(path, rng)
    _make_table(db, own, case)
    report = db.load(path, table="t", mode=case.mode, header_row=1, workers=0, max_rejects="100%", **case.options)
    rejected = rejected_rows(report)
    _check_rejects(case, rejected)
    _check_table(db, case, set(rejected))
    _check_counts(case, report, rejected)
    assert db.leftovers() == []


def _make_case(path: Path, rng: Random) -> Case:
    types = rng.sample(list(TYPES.values()), _COLUMNS)
    lines = [
        [number_cell(float(n)), *[_cell(rng, column) for column in types]]
        for n in range(2, 2 + rng.choice((1, 3, _ROWS, _ROWS)))
    ]
    headers = ["n", *[f"c{place}" for place in range(_COLUMNS)]]
    cells = write_book(path, rng.choice(("raw", "raw", "openpyxl", "xlsxwriter")), headers, lines, rng)
    mode = rng.choice(("append", "replace", "upsert"))
    required = {place for place in range(_COLUMNS) if rng.random() < 0.1}
    before = set() if required else {-1, *([2, 3] if mode == "upsert" else [])}
    options: dict[str, Any] = {
        "method": rng.choice(("batch", "batch", "batch", "concurrent", "sequential")),
        "chunk_rows": rng.choice((None, 1, 5)),
    }
    return Case(types, required, before, mode, options, cells)


def _cell(rng: Random, column: ColumnType) -> Any:
    """A cell that mostly fits: rows of seven columns with any cells would all be rejected."""
    tries = [random_cell(rng) for _ in range(40 if rng.random() < 0.93 else 1)]
    return next((cell for cell in tries if _is_good(expected(cell, column))), tries[0])


def _is_good(value: Any) -> bool:
    return value is not None and value is not REJECT


def _make_table(db: Database, own: str, case: Case) -> None:
    columns = [
        f"c{place} {column.sql.format(own=own)}{' NOT NULL' if place in case.required else ''}"
        for place, column in enumerate(case.types)
    ]
    rows = [f"INSERT INTO t (n) VALUES ({n})" for n in sorted(case.before)]
    db.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t (n bigint PRIMARY KEY, {', '.join(columns)})", *rows)


def _rows_of(case: Case) -> list[int]:
    return sorted({row for row, _ in case.cells})


def _check_rejects(case: Case, rejected: dict[int, tuple[str, dict[str, Any]]]) -> None:
    """The rows with a bad cell are rejected, and the reasons name all bad cells and no other."""
    bad = {row: [value is REJECT for value in case.outcome(row)] for row in _rows_of(case)}
    assert {row for row, places in bad.items() if any(places)} == set(rejected), {
        row: rejected.get(row, case.outcome(row)) for row in rejected.keys() ^ {r for r, p in bad.items() if any(p)}
    }
    for row, (reasons, kept) in rejected.items():
        assert reasons
        for place, is_bad in enumerate(bad[row]):
            cell, letter = case.cells.get((row, place + 1)), get_column_letter(place + 2)
            named = re.search(rf"(?:^|; ){letter}{row} ", reasons) is not None
            # The server tells one error of a row, without the column, and is asked only about rows that are good else.
            assert named == is_bad or not case.types[place].named, f"{letter}{row} {cell}: {reasons}"
            if cell is not None:
                check_kept(f"{letter}{row}", cell, kept, bad=is_bad)


def _check_table(db: Database, case: Case, rejected: set[int]) -> None:
    shown = ", ".join(column.shown.format(x=f"c{place}") for place, column in enumerate(case.types))
    found = {n: values for n, *values in db.rows(f"SELECT n, {shown} FROM t")}
    loaded = {row for row in _rows_of(case) if row not in rejected}
    assert set(found) == loaded | (set() if case.mode == "replace" else case.before)
    for row in loaded:
        for place, (column, value, want) in enumerate(zip(case.types, found[row], case.outcome(row), strict=True)):
            got = None if value is None else column.read(value)
            assert got == want, (
                f"{get_column_letter(place + 2)}{row} {case.cells.get((row, place + 1))} in {column.sql}: {got!r}, not {want!r}"
            )
    for n in set(found) - loaded:
        assert not any(value is not None for value in found[n]), f"row {n} was not in the sheet, or rejected"


def _check_counts(case: Case, report: Report, rejected: dict[int, Any]) -> None:
    assert (report.total_records, report.error_count) == (len(_rows_of(case)), len(rejected))
    for place, column in enumerate(report.columns):
        assert column.count.balanced
        assert column.count.cells == sum(c == place for _, c in case.cells)
