"""Columns whose kinds mix: what is said of them, and the options that decide what they become."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.tables import contract, save

from importer import pipeline
from importer.cells.facts import merge_windows, profile
from importer.errors import ContractError, TargetRefused, UsageError
from importer.inspection import inspect_workbook
from importer.option_values import parse_types
from importer.plan.infer import infer_type
from importer.settings import make_settings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

import polars as pl

DAY = datetime(2024, 5, 1)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """98 numbers and 2 texts, the same the other way round, dates with a missing-value text, whole numbers."""
    lines: list[list[Any]] = [["Amount", "Code", "Day", "Qty", "Note"]]
    for n in range(1, 101):
        amount: Any = {6: "abc", 11: "12,50"}.get(n, n + 0.5)
        lines.append([amount, n if n in {3, 4, 9, 10} else f"c{n}", "n/a" if n == 7 else DAY + timedelta(n), n, "x"])
    return save(tmp_path_factory.mktemp("mixed") / "mixed.xlsx", *lines, sheet="S")


def frame(**arrays: list[Any]) -> pl.DataFrame:
    rows = len(next(iter(arrays.values())))
    return pl.DataFrame({"_row": range(2, 2 + rows), **{f"0.{kind}": cells for kind, cells in arrays.items()}})


def test_examples_are_the_first_values_of_each_kind() -> None:
    cells = [None] * 20 + ["", "n/a", "a" * 60, None, "b", "c", "d"]
    numbers = [1.0] * 20 + [None] * 7
    facts = profile(frame(text=cells, number=numbers), ("", "n/a"))[0]
    assert facts.examples["number"] == ((2, 1.0), (3, 1.0), (4, 1.0))
    assert facts.examples["text"] == ((24, "a" * 41), (26, "b"), (27, "c"))
    assert (facts.kinds["text"], facts.blank, facts.value_counts) == (6, 2, {"number": 20, "text": 4})


def test_examples_of_windows_are_merged_by_row() -> None:
    first, second = (frame(number=[n * 1.0] * 2) for n in (1, 2))
    second = second.with_columns(_row=pl.col("_row") - 10)
    assert merge_windows([profile(first), profile(second)])[0].examples["number"] == ((-8, 2.0), (-7, 2.0), (2, 1.0))


KINDS: list[tuple[dict[str, list[Any]], str, str]] = [
    ({"number": [1.0] * 19 + [None], "text": [None] * 19 + ["x"]}, "string", "integer"),
    ({"number": [1.5] * 19 + [None], "text": [None] * 19 + ["x"]}, "string", "number"),
    ({"number": [1.5] * 9 + [None], "text": [None] * 9 + ["x"]}, "string", "string"),
    ({"text": ["x"] * 19 + [None], "number": [None] * 19 + [1.0]}, "string", "string"),
    ({"number": [1.0, None], "text": [None, ""]}, "integer", "integer"),
    ({"datetime": [DAY] * 19 + [None], "text": [None] * 19 + ["x"]}, "string", "date"),
    ({"datetime": [DAY, DAY + timedelta(hours=1)]}, "datetime", "datetime"),
    ({"boolean": [True] * 20 + [None], "number": [None] * 20 + [1.0]}, "string", "boolean"),
]


@pytest.mark.parametrize(("arrays", "as_text", "by_kind"), KINDS)
def test_type_of_kinds(arrays: dict[str, list[Any]], as_text: str, by_kind: str) -> None:
    facts = profile(frame(**arrays))[0]
    assert (infer_type(facts), infer_type(facts, "reject")) == (as_text, by_kind)


def test_inspection_says_why_a_column_is_text(book: Path) -> None:
    found = inspect_workbook(book, workers=0)
    assert [m.describe() for m in found.mixed] == [
        'amount: 98 numbers, 2 texts (A7 "abc", A12 "12,50")',
        "code: 96 texts, 4 numbers (B4 3, B5 4, B10 9, …)",
        'day: 99 dates, 1 text (C8 "n/a")',
    ]
    assert [m.advise() for m in found.mixed] == [
        "loaded as text; --types amount=number rejects those 2",
        "loaded as text; --types code=string if that is meant",
        "loaded as text; --types day=date rejects that one",
    ]
    assert found.to_dict()["notes"][0] == f"{found.mixed[0].describe()}: {found.mixed[0].advise()}"
    decided = inspect_workbook(book, workers=0, types="Amount=number, B=string", null=["n/a"])
    assert decided.mixed == []
    assert [c["type"] for c in decided.to_dict()["columns"]] == ["double precision", "text", "date", "bigint", "text"]


def test_run_says_it_and_takes_the_options(db: Database, book: Path) -> None:
    notes = db.load(book, table="plain", workers=0).to_dict()["notes"]
    cells = 'A7 "abc", A12 "12,50"'
    assert notes[0] == f"amount: 98 numbers, 2 texts ({cells}): loaded as text; --types amount=number rejects those 2"
    options: dict[str, Any] = {"types": {"amount": "numeric(12,2)", "Day": "date"}, "null": ["n/a"], "workers": 0}
    report = db.load(book, table="typed", **options)
    assert (report.error_count, [r.key for r in report.rules]) == (2, ["amount|type-error"])
    assert [c.type for c in report.columns] == ["numeric(12,2)", "text", "date", "bigint", "text"]
    assert not any("amount:" in str(note) for note in report.to_dict()["notes"])
    assert "--types amount=numeric(12,2),Day=date --null n/a" in " ".join(report.mend_options)
    assert report.columns[2].count.missing == 1
    assert db.load(book, table="typed", **options).outcome == "already-imported"


def test_mixed_reject_takes_the_kind_of_nearly_all(db: Database, book: Path) -> None:
    report = db.load(book, mixed="reject", workers=0)
    assert (report.error_count, [c.type for c in report.columns[:3]]) == (3, ["double precision", "text", "date"])
    assert "loaded as number, those 2 rejected; --types amount=string loads all" in str(report.to_dict()["notes"])


def test_types_and_null_with_a_contract_and_a_table(db: Database, tmp_path: Path) -> None:
    book = save(tmp_path / "t.xlsx", ["a", "b"], [1, "-"], ["x", "n/a"], [3, "y"])
    fields = [{"name": "a", "type": "string"}, {"name": "b", "type": "string", "missingValues": ["-"]}]
    described = contract(tmp_path / "c.json", fields=fields)
    report = db.load(book, table="c", contract=described, types="a=integer", null=["n/a"], workers=0)
    assert (report.error_count, report.columns[0].type, report.columns[1].count.missing) == (1, "bigint", 1)
    assert db.rows("select * from c order by a") == [(1, None), (3, "y")]
    db.run("create table existing (a text, b text)")
    assert db.load(book, table="existing", types="a=integer", workers=0).error_count == 1
    with pytest.raises(TargetRefused, match="no type 'strng'"):
        db.load(book, table="existing", types="a=strng", workers=0)
    fields[0]["constraints"] = {"maxLength": 3}  # type: ignore[assignment]
    with pytest.raises(ContractError, match="maxLength 3 does not fit type integer"):
        db.load(book, contract=contract(tmp_path / "d.json", fields=fields), types="a=integer", workers=0)


def test_asked_for_each_column_once(db: Database, book: Path, tmp_path: Path) -> None:
    asked = []

    def choose(mixed: list[Any]) -> dict[str, str]:
        asked.append([m.name for m in mixed])
        return {"amount": "number", "code": "string"}

    settings = make_settings(
        book,
        to=db.dsn.text,
        table=f"{db.schema}.asked",
        rejects=tmp_path / "r.xlsx",
        mixed="ask",
        types="day=date",
        workers=0,
    )
    report = pipeline.run(settings, hooks=pipeline.Hooks(choose_types=choose))
    assert asked == [["amount", "code"]]
    assert (report.error_count, report.columns[0].type) == (3, "double precision")
    with pytest.raises(UsageError, match="terminal"):
        db.load(book, mixed="ask")


def test_types_are_parsed() -> None:
    expected = (("a b", "numeric(12,2)"), ("c=d", "date"))
    assert parse_types("a b=numeric(12,2), c=d=date") == expected
    assert parse_types(dict(expected)) == parse_types(expected) == expected
    for wrong in ("a", "=date", "a=", "a=date,a=time"):
        with pytest.raises(UsageError, match="--types"):
            parse_types(wrong)


def test_type_of_no_column_names_the_nearest(book: Path) -> None:
    with pytest.raises(UsageError) as caught:
        inspect_workbook(book, workers=0, types="Amuont=number")
    assert caught.value.choice in {"did you mean 'amount'?", "did you mean 'Amount'?"}
    with pytest.raises(UsageError, match="no type"):
        inspect_workbook(book, workers=0, types="amount=no type!")


def test_dates_are_one_kind() -> None:
    facts = profile(frame(datetime=[DAY, DAY + timedelta(hours=1), None], text=[None, None, "x"]))[0]
    assert facts.value_counts == {"datetime": 2, "text": 1}
    assert facts.examples["datetime"][0] == (2, DAY)
