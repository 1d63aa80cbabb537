"""Random sheets keep every cell: read, judged with inference and with contracts, and loaded into real tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.oracle import check_loaded, table_rows
from support.randomsheets import Sheet, sheets
from support.reading import check_judged, check_read, judge, reading

from importer.inspection import suggest_contract
from importer.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from conftest import Database

    from importer.report.model import Report

pytestmark = pytest.mark.timeout(1800)  # with --long

LIMITS = st.sampled_from([Limits(), Limits(), Limits(window_cells=60), Limits(window_cells=5)])
ENGINES = st.sampled_from(["builtin", "calamine"])


@given(sheet=sheets(), limits=LIMITS, chunk_rows=st.sampled_from([None, None, 1, 3]), engine=ENGINES)
def test_read_keeps_every_cell(
    sheet: Sheet, limits: Limits, chunk_rows: int | None, engine: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = sheet.write(tmp_path_factory.getbasetemp() / "read.xlsx")
    with reading(
        path, header_rows=(sheet.header_row, sheet.header_row), limits=limits, chunk_rows=chunk_rows, engine=engine
    ) as source:
        check_read(sheet, source)


@given(sheet=sheets(), how=st.sampled_from(["inferred", "suggested", "strings"]))
def test_judge_keeps_every_cell(sheet: Sheet, how: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = sheet.write(tmp_path_factory.getbasetemp() / "judge.xlsx")
    with reading(path, header_rows=(sheet.header_row, sheet.header_row)) as source:
        check_judged(sheet, source, judge(source, how))


@settings(
    max_examples=settings().max_examples // 12, phases=[Phase.explicit, Phase.generate]
)  # shrinking over a server takes minutes
@given(sheet=sheets())
def test_load_keeps_every_cell(sheet: Sheet, db: Database, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("load")
    path = sheet.write(folder / "random.xlsx")
    db.run("DROP TABLE IF EXISTS inferred, suggested, strings")
    options = {"header_row": sheet.header_row, "workers": 0}
    inferred = db.load(path, table="inferred", **options)
    check_loaded(db, inferred, sheet.cells)
    suggestion = suggest_contract(path, **options)
    suggested = db.load(path, table="suggested", contract=_contract(folder, suggestion), **options)
    missing = {c.letter: set(field.get("missingValues", ())) for c, field in _fields(suggested, suggestion)}
    check_loaded(db, suggested, sheet.cells, missing=missing)
    # Where texts beside values are declared missing, the type is that of the values; all else is as without a contract.
    same = [letter for letter, texts in missing.items() if not texts]
    assert _types(suggested, same) == _types(inferred, same)
    assert [c.name for c in suggested.columns] == [c.name for c in inferred.columns]
    assert _only(table_rows(db, suggested), same) == _only(table_rows(db, inferred), same)
    strings = {"fields": [{**field, "type": "string"} for field in suggestion["fields"]]}
    check_loaded(
        db, db.load(path, table="strings", contract=_contract(folder, strings), **options), sheet.cells, missing=missing
    )


def _fields(report: Report, descriptor: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The columns of a report, with their fields in the contract."""
    fields = {field["name"]: field for field in descriptor["fields"]}
    return ((column, fields[column.name]) for column in report.columns if column.type and column.name in fields)


def _types(report: Report, letters: Collection[str]) -> list[tuple[str, str]]:
    return [(c.name, c.type) for c in report.columns if c.letter in letters]


def _only(rows: list[dict[str, Any]], letters: Collection[str]) -> list[dict[str, Any]]:
    return [{letter: row[letter] for letter in letters} for row in rows]


def _contract(folder: Path, descriptor: dict[str, object]) -> Path:
    path = folder / "contract.json"
    path.write_text(json.dumps(descriptor))
    return path
