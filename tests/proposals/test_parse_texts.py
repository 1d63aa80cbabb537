"""Texts that are values, from a workbook into a table: with `parse_texts`, by a suggested contract, and only as a hint."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from support.tables import save

from importer.errors import SheetError, UsageError
from importer.inspection import inspect_workbook, suggest_contract
from importer.proposals.dates import propose_date
from importer.proposals.nearly import propose_nearly
from importer.proposals.numbers import propose_number
from importer.proposals.points import find_unclear_points
from importer.proposals.words import propose_boolean
from importer.settings import make_settings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

HEADER = ["id", "amount", "paid", "day", "share", "zip", "name", "due"]
ROWS: list[list[Any]] = [
    ["1", "12,50", "Ja", "01.02.2024", "5%", "01123", "Ann", "13/02/2024"],
    ["2", "1.234,5", "nein", date(2024, 5, 6), "k.A.", "02123", "Bob", "01/02/2024"],
    ["3", "n/a", "ja", "28.02.2024", "2.5%", "03123", "n/a", "02/02/2024"],
    ["4", 7.25, "-", None, "0.1%", "04123", "12", "03/02/2024"],
    ["15", "7,1-", "Ja", "05.02.2024", "1%", "05123", "Eve", "04/02/2024"],
]
TYPES = {
    "id": "bigint", "amount": "double precision", "paid": "boolean", "day": "date", "share": "double precision",
    "zip": "text", "name": "text", "due": "date",
}  # fmt: skip
LOADED = [
    (1, 12.5, True, date(2024, 2, 1), 0.05, "01123", "Ann", date(2024, 2, 13)),
    (2, 1234.5, False, date(2024, 5, 6), None, "02123", "Bob", date(2024, 2, 1)),
    (3, None, True, date(2024, 2, 28), 0.025, "03123", "n/a", date(2024, 2, 2)),
    (4, 7.25, None, None, 0.001, "04123", "12", date(2024, 2, 3)),
    (15, -7.1, True, date(2024, 2, 5), 0.01, "05123", "Eve", date(2024, 2, 4)),
]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("texts") / "t.xlsx", HEADER, *ROWS)


def types_of(db: Database, table: str) -> dict[str, str]:
    return dict(
        db.rows(
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute "
            f"where attrelid = to_regclass('{table}') and attnum > 0 order by attnum"
        )
    )


def test_texts_become_values(db: Database, book: Path) -> None:
    report = db.load(book, table="t", parse_texts=True)
    assert types_of(db, "t") == TYPES
    assert db.rows("select * from t order by id") == LOADED
    counts = {c.name: (c.count.cells, c.count.loaded, c.count.missing) for c in report.columns}
    assert (counts["amount"], counts["paid"], counts["name"]) == ((5, 4, 1), (5, 4, 1), (5, 5, 0))
    notes = " ".join(map(str, report.notes))
    assert "amount: its texts are numbers with decimal comma and groups by point, 'n/a' missing values" in notes
    assert "loaded as text" not in notes


def test_suggested_contract_says_the_same(db: Database, book: Path, tmp_path: Path) -> None:
    descriptor = suggest_contract(book)
    (tmp_path / "c.json").write_text(json.dumps(descriptor))
    amount = next(field for field in descriptor["fields"] if field["name"] == "amount")
    assert (amount["decimalChar"], amount["groupChar"], amount["missingValues"]) == (",", ".", ["", "n/a"])
    assert "required" not in amount.get("constraints", {})
    assert db.load(book, table="c", contract=tmp_path / "c.json").error_count == 0
    assert db.rows("select * from c order by id") == LOADED
    assert types_of(db, "c") == TYPES


def test_table_keeps_its_types(db: Database, book: Path) -> None:
    """A proposal says how to read texts for a column of the table; a column of texts gets them as they are."""
    db.run(
        "create table o (id int, amount numeric(10,2), paid boolean, day date, share text, zip text, name text, due timestamp)"
    )
    db.load(book, table="o", parse_texts=True)
    found = db.rows("select id, amount::text, paid, day, share, zip, name, due::date from o order by id")
    assert [row[1] for row in found] == ["12.50", "1234.50", None, "7.25", "-7.10"]
    assert [row[4] for row in found] == ["5%", "k.A.", "2.5%", "0.1%", "1%"]
    assert [row[7] for row in found] == [row[7] for row in LOADED]


def test_without_it_texts_stay_texts_and_are_said_to_be_values(db: Database, book: Path) -> None:
    report = db.load(book, table="plain")
    assert set(types_of(db, "plain").values()) == {"text"}
    notes = [str(note) for note in report.notes if "--parse-texts" in str(note)]
    assert {note.partition(":")[0] for note in notes} == {"id", "paid", "day", "share", "due", "amount"}
    assert db.rows("select amount from plain order by id limit 1") == [("12,50",)]


#: Texts of a column; those that may be thousands, and a decimal comma beside them, if anything is unclear.
POINTS: dict[str, tuple[list[str], list[str] | None, str | None]] = {
    "nothing decides": (["1.234", "5"], ["1.234"], None),
    "a decimal comma": (["1.234", "7,5", "-12.000"], ["1.234", "-12.000"], "7,5"),
    "both": (["1.234", "1.234,56"], ["1.234"], "1.234,56"),
    "two groups": (["1.234", "1.234.567"], ["1.234"], "1.234.567"),
    "an amount": (["1.234", "12,50 €"], ["1.234"], "12,50 €"),
    "a decimal point": (["1.234", "1.5"], None, None),
    "a fraction": (["1.234", "0.125"], None, None),
    "groups by comma": (["1.234", "1,234.5"], None, None),
    "a decimal comma and a decimal point": (["1.234", "1.5", "7,5"], ["1.234"], "7,5"),
    "a group by comma says nothing": (["1.234", "1,234"], ["1.234"], None),
    "no such text": (["0.125", "12.5", "7,5", "1234.567"], None, None),
}


@pytest.mark.parametrize(("texts", "unclear", "comma"), POINTS.values(), ids=POINTS)
def test_what_a_point_before_three_digits_is(texts: list[str], unclear: list[str] | None, comma: str | None) -> None:
    found = find_unclear_points(pl.Series(texts))
    assert (found and found.texts.to_list(), found and found.comma) == (unclear, comma)


def test_dates_in_an_order_that_no_cell_decides_are_told(db: Database, tmp_path: Path) -> None:
    """They stay texts, and the note says what asks for values; where a later text decides, it says so, too."""
    (tmp_path / "t.csv").write_text("d,n\n01/02/2024,1\n03/04/2024,2\n")
    report = db.load(tmp_path / "t.csv")
    assert db.rows("select d from t order by n") == [("01/02/2024",), ("03/04/2024",)]
    wanted = (
        'd: "01/02/2024" may be 2024-02-01 or 2024-01-02: loaded as text; --parse-texts loads values, where no cell'
    )
    assert any(str(note).startswith(wanted) for note in report.notes)


def test_no_text_becomes_a_thousandth_of_what_it_means(db: Database, tmp_path: Path) -> None:
    """Where the table says that a column holds numbers, or `types` does; a contract that names the character is right."""
    path = save(tmp_path / "t.xlsx", ["a", "b", "c"], ["1.234", "1.234", "1.234"], ["12,5", "5", "0.5"], [1, 1.5, "2"])
    db.run("create table t (a numeric(12,3), b numeric(12,3), c numeric(12,3))")
    for options in ({"table": "t"}, {"table": "u", "types": (("a", "number"), ("b", "number"), ("c", "number"))}):
        report = db.load(path, **options)
        notes = " ".join(map(str, report.notes))
        assert 'a: A2 "1.234" may be thousands, for other texts have a decimal comma ("12,5"): rejected' in notes
        assert 'b: B2 "1.234": the point is taken for a decimal one; --parse-texts --decimal comma takes' in notes
        assert " c: " not in notes
        assert "it seems" not in notes
        assert [errors.split()[0] for errors in report.rejects()["_errors"]] == ["A2", "A3"]
    given = {"fields": [{"name": n, "type": "number", "decimalChar": "."} for n in "abc"]}
    (tmp_path / "c.json").write_text(json.dumps(given))
    report = db.load(path, table="v", contract=tmp_path / "c.json")
    assert [errors.split()[0] for errors in report.rejects()["_errors"]] == ["A3"]


def test_questions_are_asked_not_guessed(db: Database, tmp_path: Path) -> None:
    path = save(tmp_path / "q.xlsx", ["n", "day", "price"], ["a", "01/02/2024", "1,234"], ["b", "03/04/2024", "2,000"])
    with pytest.raises(SheetError, match="column 'day' have two meanings") as caught:
        db.load(path, table="q", parse_texts=True)
    assert "--date-order dmy or mdy" in str(caught.value.choice)
    with pytest.raises(SheetError, match="column 'price' have two meanings"):
        db.load(path, table="q", parse_texts=True, date_order="mdy")
    assert db.rows("select to_regclass('q')::text") == [(None,)]
    db.load(path, table="q", parse_texts=True, date_order="mdy", decimal="comma")
    assert db.rows("select day::text, price from q order by n") == [("2024-01-02", 1.234), ("2024-03-04", 2.0)]
    db.load(path, table="s", parse_texts=True, types={"day": "string", "price": "string"})
    assert db.rows("select day, price from s order by n limit 1") == [("01/02/2024", "1,234")]
    described = {f["name"]: f.get("description") for f in suggest_contract(path)["fields"]}
    assert "no other cell decides" in described["day"]


def test_what_is_open_in_a_column_of_texts_is_no_question(db: Database, tmp_path: Path) -> None:
    """The table says that it holds texts; in a column of dates the same texts must be decided."""
    path = save(tmp_path / "q.xlsx", ["n", "day", "price"], ["a", "01/02/2024", "1,234"], ["b", "03/04/2024", "2,000"])
    db.run("create table texts (n text, day text, price text); create table dates (n text, day date, price text)")
    db.load(path, table="texts", parse_texts=True)
    assert db.rows("select day, price from texts order by n limit 1") == [("01/02/2024", "1,234")]
    with pytest.raises(SheetError, match="column 'day' have two meanings"):
        db.load(path, table="dates", parse_texts=True)
    db.load(path, table="dates", parse_texts=True, date_order="dmy")
    assert db.rows("select day::text, price from dates order by n limit 1") == [("2024-02-01", "1,234")]


def test_one_text_of_another_form_keeps_the_column_as_texts(db: Database, tmp_path: Path) -> None:
    """Also if it is in the last row, far from those that a hint looks at, and in another window."""
    lines = [[f"{n},5", n] for n in range(700)]
    path = save(tmp_path / "l.xlsx", ["a", "n"], *lines, ["about 5", 700])
    db.load(path, table="l", parse_texts=True, workers=0, chunk_rows=200)
    assert types_of(db, "l") == {"a": "text", "n": "bigint"}
    assert db.rows("select count(*), max(a) from l") == [(701, "about 5")]


def test_inspection_shows_proposals(book: Path) -> None:
    found = inspect_workbook(book).to_dict()
    proposals = {column["name"]: column["proposal"] for column in found["columns"]}
    assert proposals["name"] is proposals["zip"] is None
    assert proposals["day"] == {"what": "dates written as %d.%m.%Y", "type": "date", "format": "%d.%m.%Y"}
    assert proposals["paid"]["trueValues"] == ["Ja", "ja"]
    assert any(note.startswith("due: its texts are dates written as %d/%m/%Y") for note in found["notes"])
    assert {column["name"]: column["type"] for column in found["columns"]}["due"] == "text"
    parsed = inspect_workbook(book, parse_texts=True).to_dict()
    assert {column["name"]: column["type"] for column in parsed["columns"]} == TYPES


def test_rejects_of_such_a_run_are_read_like_it(db: Database, book: Path, tmp_path: Path) -> None:
    db.run(
        "create table r (id bigint primary key, amount numeric check (amount <> 12.5), paid boolean, day date, share numeric, zip text, name text, due date)"
    )
    report = db.load(book, table="r", parse_texts=True, rejects=tmp_path / "r.xlsx")
    assert report.error_count == 1
    assert report.mend_command is not None
    assert "--parse-texts" in report.mend_command


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"date_order": "dmy"}, "are for --parse-texts"),
        ({"parse_texts": True, "date_order": "ydm"}, "date_order cannot be 'ydm'"),
        ({"parse_texts": True, "decimal": ","}, "decimal cannot be ','"),
        ({"parse_texts": True, "contract": "c.json"}, "without a contract"),
    ],
)
def test_options_that_contradict(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_settings(tmp_path / "t.xlsx", **options)


def test_a_few_other_texts_are_said_and_rejected_where_that_is_asked_for(db: Database, tmp_path: Path) -> None:
    """A column of texts of which nearly all are dates or amounts; instants keep their offset's meaning."""
    days = [f"{n % 28 + 1:02d}.01.2024" for n in range(40)]
    rows = [[day, f"1.{n:03d},50", f"2024-01-01T10:{n:02d}:00+02:00"] for n, day in enumerate(days)]
    rows[7][0], rows[9][0], rows[11][1] = "see below", "open", "abc"
    path = save(tmp_path / "t.xlsx", ["day", "sum", "at"], *rows)
    found = inspect_workbook(path, workers=0).to_dict()["notes"]
    assert [note.partition(":")[0] for note in found] == ["day", "sum", "at"]
    assert found[0].startswith(
        'day: its texts are dates written as %d.%m.%Y, but for A9 "see below", A11 "open": loaded as text; '
    )
    report = db.load(path, table="texts", parse_texts=True, workers=0)
    assert [column.type for column in report.columns] == ["text", "text", "timestamp with time zone"]
    assert report.error_count == 0
    assert sum("but for" in str(note) for note in report.notes) == 2
    report = db.load(path, table="vals", parse_texts=True, mixed="reject", workers=0)
    assert [column.type for column in report.columns] == ["date", "double precision", "timestamp with time zone"]
    assert (report.success_count, report.error_count) == (37, 3)
    assert db.rows("select max(day)::text, sum(sum)::float8, (min(at) at time zone 'UTC')::text from vals") == [
        ("2024-01-28", 37 * 1000.5 + sum(range(40)) - 27, "2024-01-01 08:00:00")
    ]


def test_texts_beside_values_of_another_kind(db: Database, tmp_path: Path) -> None:
    """Words for missing values beside values of any kind are just that; a text beside elapsed times is a text."""
    day, long = datetime(2024, 1, 1), timedelta(hours=30)
    rows = [
        [1, 2.5, day, day.replace(hour=5), True, time(5), long, long, long],
        ["n/a", "\u00a0", "-", "k.A.", "?", "-", "n/a", "12:30", "5"],
    ]
    path = tmp_path / "t.xlsx"
    save(path, [f"c{n}" for n in range(9)], *rows, rows[0])
    assert sum("missing values" in str(note) for note in db.load(path, table="texts").notes) == 7
    db.load(path, table="t", parse_texts=True)
    assert list(types_of(db, "t").values()) == [
        "bigint", "double precision", "date", "timestamp without time zone", "boolean", "time without time zone",
        "interval", "text", "text",
    ]  # fmt: skip
    assert db.rows("select count(*), count(c0), count(c1), count(c5), count(c6) from t") == [(3, 2, 2, 2, 2)]


@pytest.mark.parametrize(
    ("main", "odd", "what"),
    [
        ([f"{n:02d}.01.2024" for n in range(1, 29)], "30.02.2024", "dates written as %d.%m.%Y"),
        ([f"01/{n:02d}/2024" for n in range(1, 29)], "31/01/2024", None),
        (["ja", "nein"] * 14, "vielleicht", "booleans (ja, nein)"),
        ([f"{n:02d}:30" for n in range(24)], "24:75", "times of day written as %H:%M"),
        ([f"{n}.5" for n in range(28)], "x", "numbers"),
        (["Bern", "Rom"] * 14, "ja", None),
    ],
)
def test_what_nearly_all_texts_are(main: list[str], odd: str, what: str | None) -> None:
    """One that looks like the others, but is no value, keeps them from nothing; where orders mix, nothing is guessed."""
    texts = pl.Series([*main, odd]).unique(maintain_order=True)
    found = propose_nearly(
        texts, 1, lambda some: propose_boolean(some) or propose_date(some, None) or propose_number(some, None)
    )
    assert (found and (found[0].what, found[1].to_list())) == (what and (what, [odd]))
