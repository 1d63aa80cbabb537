"""Several tables on one sheet: told apart on strong evidence, listed, and the largest of them read."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.worksheet.table import Table
from support.reading import reading

from importer.cli.render import describe_table
from importer.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

ORDERS = [["id", "day", "amount"], *[[n, datetime(2024, 1, n), n * 1.5] for n in range(1, 9)]]
RATES = [["code", "rate", "valid"], *[[f"C{n}", n / 8, datetime(2024, 2, n)] for n in range(1, 5)]]
PEOPLE = [["name", "town"], ["Ann", "Bern"], ["Bob", "Rome"], ["Eve", "Oslo"]]
NOTHING: list[Any] = [None, None, None]


def beside(left: list[list[Any]], right: list[list[Any]], down: int = 0) -> list[list[Any]]:
    """Two tables side by side with a blank column between them, the right one some rows further down."""
    lines = [NOTHING for _ in range(down)] + right
    return [
        [*(left[n] if n < len(left) else NOTHING), None, *(lines[n] if n < len(lines) else [])]
        for n in range(max(len(left), len(lines)))
    ]


#: Rows of a sheet; the range that is read, the ranges of others, ranges that are doubtful.
CASES: dict[str, tuple[list[list[Any]], str, list[str], list[str]]] = {
    "one": (ORDERS, "A1:C9", [], []),
    "below": ([*ORDERS, [], *RATES], "A1:C9", ["A11:C15"], []),
    "below, the second larger": ([*RATES, [], [], *ORDERS], "A8:C16", ["A1:C5"], []),
    "below, with titles": ([["Rates"], [], *RATES, [], ["Orders"], *ORDERS], "A10:C18", ["A3:C7"], []),
    "three": ([*RATES, [], *ORDERS, [], *RATES], "A7:C15", ["A1:C5", "A17:C21"], []),
    "below, of the same columns": ([*ORDERS, [], *ORDERS[:4]], "A1:C9", ["A11:C14"], []),
    "below, with remarks and a total": ([*ORDERS, ["Total", None, 54.0], [], ["Source: x"], [], *RATES], "A1:C9", ["A14:C18"], []),
    "beside": (beside(ORDERS, RATES), "A1:C9", ["E1:G5"], []),
    "beside, of the same columns": (beside(ORDERS, ORDERS), "A1:C9", ["E1:G9"], []),
    "beside and further down": (beside(ORDERS, RATES, 3), "A1:C9", ["E4:G8"], []),
    "beside, of the same length": (beside(ORDERS, [*RATES, *[["D", 1.5, datetime(2024, 3, n)] for n in range(1, 5)]]), "A1:G9", [], ["E1:G9"]),
    "a blank row": ([*ORDERS[:5], [], *ORDERS[5:]], "A1:C10", [], []),
    "a blank row and a row of texts": ([*ORDERS[:5], [], ["x", "y", "z"], *ORDERS[5:]], "A1:C5", ["A7:C11"], []),
    "a blank column": ([[a, None, b, c] for a, b, c in ORDERS], "A1:D9", [], []),
    "texts below": ([*ORDERS, [], *PEOPLE], "A1:C14", [], []),
    "texts with gaps": ([*PEOPLE, [], *PEOPLE[1:]], "A1:B8", [], []),
    "notes beside": (beside(ORDERS, [["see"], ["Ann"]]), "A1:E9", [], ["E1:E2"]),
    "a legend beside": (beside(ORDERS, [["Legend", None], ["r", "red"], ["g", "green"]]), "A1:F9", [], ["E1:F3"]),
    "who made it, beside the header": (beside(ORDERS, [["Exported by Ann"]]), "A1:E9", [], ["E1:E1"]),
    "texts beside, as long": (beside(ORDERS, [["note"], *[["x"]] * 8]), "A1:E9", [], []),
    "a text beside the last row": (beside(ORDERS, [["note"], *[[None]] * 7, ["x"]]), "A1:E9", [], []),
    "a missing value after a blank row": ([*ORDERS, [], ["n/a", datetime(2024, 1, 9), "n/a"], *ORDERS[1:]], "A1:C19", [], []),
    "a row without numbers after a blank row": ([*([k, d, n] for k, d, n in [["code", "day", "n"], *[[f"K{n}", datetime(2024, 1, n), n] for n in range(1, 6)]]), [], ["K6", "see below", "not yet"], *[[f"K{n}", datetime(2024, 1, n), n] for n in range(7, 10)]], "A1:C11", [], []),
    "groups with titles": ([ORDERS[0], ["North"], *ORDERS[1:4], [], ["South"], *ORDERS[4:]], "A1:C12", [], []),
    "many blank rows": ([line for row in ORDERS for line in (row, [])], "A1:C17", [], []),
}  # fmt: skip


def save(path: Path, lines: list[list[Any]], *tables: str) -> Path:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    for n, ref in enumerate(tables):
        book.active.add_table(Table(displayName=f"T{n}", ref=ref))
    book.save(path / "t.xlsx")
    return path / "t.xlsx"


@pytest.mark.parametrize("chunk_rows", [None, 4])
@pytest.mark.parametrize(("lines", "read", "others", "doubtful"), CASES.values(), ids=CASES)
def test_tables_of_a_sheet(
    tmp_path: Path, lines: list[list[Any]], read: str, others: list[str], doubtful: list[str], chunk_rows: int | None
) -> None:
    with reading(save(tmp_path, lines), chunk_rows=chunk_rows) as source:
        table, notes = source.table_to_dict(), " ".join(source.notes())
        assert (table["range"], table["other_tables"]) == (read, others)
        assert list(source.cut.doubtful_tables) == doubtful
        assert (f"not read: {', '.join(others)}, of another table" in describe_table(table)) == bool(others)
        assert all(f"--range {other}" in notes for other in others + doubtful)
    for other in others:
        with reading(save(tmp_path, lines), range=other) as source:
            assert source.table_to_dict()["range"] == other


def test_tables_that_somebody_decided(tmp_path: Path) -> None:
    path = save(tmp_path, [*ORDERS, [], *RATES])
    for options in ({"header_rows": (1, 1)}, {"rows": (2, 15)}, {"last_row": 15}):
        with reading(path, **options) as source:  # type: ignore[arg-type]
            assert source.rows == 13
            assert source.table_to_dict()["other_tables"] == []


def test_several_excel_tables(tmp_path: Path) -> None:
    """They are the tables of the sheet, if they hold nearly all of its cells."""
    lines = beside([["a", "b"], [1, 2], [5, 6]], [["c", "d"], [3, 4], [7, 8], [9, 9]])
    lines = [line[:2] + line[-3:] if len(line) > 5 else line for line in lines]
    with reading(save(tmp_path, [["a", "b", None, "c", "d"], [1, 2, None, 3, 4], [5, 6, None, 7, 8], [None] * 3 + [9, 9]], "A1:B3", "D1:E4")) as source:  # fmt: skip
        assert (source.table_to_dict()["range"], source.cut.other_tables, source.rows) == ("D1:E4", ("A1:B3",), 3)
    with reading(save(tmp_path, [*ORDERS, [], ["k", "v"], ["x", "y"], [], ["m", "n"], ["x", "y"]], "A11:B12", "A14:B15")) as source:  # fmt: skip
        assert source.cut.other_tables == ()


def test_an_excel_table_beside_another_table(tmp_path: Path) -> None:
    """It is one of the tables of the sheet; what it says of its header and totals holds where it is read."""
    for ref, read, others in (("A1:C9", "A1:C9", ("E1:G5",)), ("E1:G5", "A1:C9", ("E1:G5",))):
        path = save(tmp_path, beside(ORDERS, RATES), ref)
        with reading(path) as source:
            assert (source.table_to_dict()["range"], source.cut.other_tables) == (read, others)
            assert (source.cut.piece is not None and source.cut.piece.header_rows == 1) == (ref == read)


def test_cells_of_other_tables_are_ignored(db: Database, tmp_path: Path) -> None:
    report = db.load(save(tmp_path, beside(ORDERS, RATES)), table="t", workers=0)
    assert db.rows("select count(*)::int, sum(amount)::float8 from t") == [(8, 54.0)]
    assert all(c.count.balanced for c in report.columns)
    assert any("has 2 tables" in str(note) and "--range E1:G5" in str(note) for note in report.notes)


def test_tables_of_a_sheet_that_is_loaded_while_it_is_read(db: Database, tmp_path: Path) -> None:
    """The second table shows after windows of the first were written, and is the larger one."""
    lines = [
        *[["id", "n"], *[[n, n] for n in range(300)]],
        [],
        *[["code", "rate", "k"], *[[f"c{n}", n / 8, n] for n in range(400)]],
    ]
    for way, rows in (({}, 400), ({"range": "A1:B301"}, 300), ({"header_row": 1}, 701)):
        report = db.load(save(tmp_path, lines), table=f"t{rows}", workers=1, chunk_rows=50, **way)
        assert (report.total_records, report.error_count) == (rows, 0)
        assert db.rows(f"select count(*)::int from t{rows}") == [(rows,)]
        assert db.leftovers() == []


SAME_LENGTH = beside(ORDERS, [*RATES, *[["D", 1.5, datetime(2024, 3, n)] for n in range(1, 5)]])


@pytest.mark.parametrize(
    ("lines", "names", "read"),
    [
        (beside(ORDERS, RATES), ["code", "rate", "valid"], "E1:G5"),
        (beside(ORDERS, RATES, 3), ["code", "valid", "rate"], "E4:G8"),
        ([*ORDERS, [], *RATES], ["Code", "RATE", "valid"], "A11:C15"),
        ([["Orders"], [], *ORDERS, [], ["Rates"], *RATES], ["code", "rate", "valid"], "A14:C18"),
        ([*ORDERS, [], *RATES], ["id", "day", "amount"], "A1:C9"),
        ([*ORDERS, [], *RATES], ["x", "y"], "A1:C9"),
        ([*RATES, [], *ORDERS], ["code", "rate", "valid", "day"], "A1:C5"),
        (SAME_LENGTH, ["code", "rate", "valid"], "E1:G9"),
        (SAME_LENGTH, ["id", "day", "amount"], "A1:C9"),
        (SAME_LENGTH, ["id", "day", "amount", "code", "rate", "valid"], "A1:G9"),
        (beside(ORDERS, ORDERS), ["id", "day", "amount"], "A1:C9"),
    ],
)
def test_table_that_a_contract_names(tmp_path: Path, lines: list[list[Any]], names: list[str], read: str) -> None:
    with reading(save(tmp_path, lines), wanted=tuple((name,) for name in names)) as source:
        assert source.table_to_dict()["range"] == read
        largest = read in {"A1:C9", "A1:G9"} and source.cut.piece is None
        said = [note for note in source.notes() if "fits the contract" in note]
        assert bool(said) == bool(source.cut.fits)
        assert not (largest and said)


def test_sheet_that_does_not_fit_names_its_other_tables(db: Database, tmp_path: Path) -> None:
    db.run("create table t (code_of_it text, rate_of_it float8, valid_from date)")
    with pytest.raises(ContractError, match="or read another table of the sheet: --range E1:G5"):
        db.load(save(tmp_path, beside(ORDERS, RATES)), table="t", workers=0)
    assert db.load(tmp_path / "t.xlsx", table="of_it", range="E1:G5", workers=0).success_count == 4


@pytest.mark.parametrize("chunk_rows", [None, 50])
def test_loading_the_table_that_a_contract_names(db: Database, tmp_path: Path, chunk_rows: int | None) -> None:
    """Also if the sheet is so long that the other one would be loaded while it is read."""
    lines = [
        *[["id", "n"], *[[n, n] for n in range(600)]],
        [],
        *[["Code", "Rate", "k"], *[[f"c{n}", n / 8, n] for n in range(300)]],
    ]
    fields = [{"name": "code"}, {"name": "r", "title": "Rate", "type": "number"}, {"name": "k", "type": "integer"}]
    path = save(tmp_path, lines)
    report = db.load(path, table="rates", contract={"fields": fields}, workers=1, chunk_rows=chunk_rows)
    assert (report.total_records, report.error_count) == (300, 0)
    assert any("only the one that fits the contract, A603:C903, was read" in str(note) for note in report.notes)
    assert db.leftovers() == []
    report = db.load(
        path, table="ids", workers=1, chunk_rows=chunk_rows, contract={"fields": [{"name": "id"}, {"name": "n"}]}
    )
    assert report.total_records == 600


@settings(max_examples=25)
@given(
    texts=st.integers(0, 2), gaps=st.sets(st.integers(1, 20), max_size=5), rows=st.integers(2, 20), blank=st.booleans(),
    words=st.lists(st.sampled_from(["a", "b", "x y", "n/a", "7"]), min_size=3, max_size=3),
)  # fmt: skip
def test_one_table_is_one(
    tmp_path_factory: pytest.TempPathFactory, texts: int, gaps: set[int], rows: int, blank: bool, words: list[str]
) -> None:
    """Blank rows, a blank column, and rows of texts in between make no second table of a part of one."""
    body = [[*words[:texts], n, n * 2.5, datetime(2024, 1, n)] for n in range(1, rows + 1)]
    lines = [[f"c{n}" for n in range(texts + 3)]]
    for n, line in enumerate(body):
        lines += [[], line] if n in gaps else [line]
    lines = [[*line[:2], None, *line[2:]] if line and blank else line for line in lines]
    with reading(save(tmp_path_factory.mktemp("t"), lines)) as source:
        assert source.rows == rows
        assert source.cut.other_tables == ()
