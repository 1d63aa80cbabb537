"""Headers: which rows they are, what their cells say, and the names of the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.grids import frame_of
from support.rawbook import inline, number, row, write_rows
from support.reading import reading

from importer.cells.field import Field
from importer.errors import SheetError
from importer.plan.model import field_columns
from importer.reading.header import read_header
from importer.settings import Limits
from importer.table.header_rows import HeaderRows
from importer.table.labels import NAME_BYTES, collapse_spaces, column_names, to_identifier

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

    from importer.reading.header import Header

A63 = "a" * 63


def save(path: Path, *lines: list[Any], merges: tuple[str, ...] = ()) -> Path:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    for ref in merges:
        book.active.merge_cells(ref)
    book.save(path)
    return path


def header_of(path: Path, **options: Any) -> Header:
    with reading(path, **options) as source:
        return source.header


def names(header: Header) -> list[str]:
    return [c.name for c in header.columns]


# ---- NAMES ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Name", "name"),
        ("First Name", "first_name"),
        ("  E-Mail\n(work) ", "e_mail_work"),
        ("Preis (€)", "preis"),
        ("a__b", "a_b"),
        ("_x_", "x"),
        ("Größe", "größe"),
        ("\uff26\uff35\uff2c\uff2c", "full"),
        ("名前", "名前"),
        ("Ünïcode ñ", "ünïcode_ñ"),
        ("नाम", "नाम"),
        ("e\u0301t\u00e9", "été"),
        ("ﬁne", "fine"),
        ("2020", "_2020"),
        ("1st", "_1st"),
        ("ctid", "_ctid"),
        ("XMIN", "_xmin"),
        ("select", "select"),
        ("%", ""),
        ("", ""),
        ("😀", ""),
        ("a\0b", "a_b"),
        ("É" * 40, "é" * 31),
        ("x" * 100, "x" * 63),
        ("1" * 100, "_" + "1" * 62),
    ],
)
def test_name_of_a_label(label: str, name: str) -> None:
    assert to_identifier(label) == name


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["x", "x", "x"], ["x", "x_2", "x_3"]),
        (["x", "X", " x "], ["x", "x_2", "x_3"]),
        (["x", "x_2", "x"], ["x", "x_2", "x_3"]),
        (["x", "x", "x_2"], ["x", "x_2", "x_2_2"]),
        ([None, "column_a", "", "%"], ["column_a", "column_a_2", "column_c", "column_d"]),
        ([A63, A63 + "b", A63], [A63, "a" * 61 + "_2", "a" * 61 + "_3"]),
        (["é" * 40, "é" * 40], ["é" * 31, "é" * 30 + "_2"]),
    ],
)
def test_names_are_unique(labels: list[str | None], expected: list[str]) -> None:
    found, _ = column_names(labels, list(range(len(labels))), keep=False)
    assert found == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["First Name", "Größe (cm)", "2020", "😀"], ["First Name", "Größe (cm)", "2020", "😀"]),
        (["A", "a", "A"], ["A", "a", "A_2"]),
        ([None, "a\0b"], ["column_a", "ab"]),
        (["ctid", "CTID"], ["_ctid", "CTID"]),
        (["é" * 40], ["é" * 31]),
    ],
)
def test_names_kept(labels: list[str | None], expected: list[str]) -> None:
    found, _ = column_names(labels, list(range(len(labels))), keep=True)
    assert found == expected


def test_names_that_had_to_change_are_reported() -> None:
    _, notes = column_names(["a", "a", None, "b" * 70], [0, 1, 2, 3], keep=False)
    assert notes == [
        "duplicate-label: column B ('a') is named 'a_2'",
        "blank-label: column C has no usable header, named 'column_c'",
        f"long-label: the header of column D has more than 63 bytes, named '{'b' * 63}'",
    ]


@given(
    labels=st.lists(
        st.one_of(st.none(), st.text(max_size=80), st.sampled_from(["x", "X", "x_2", "ctid"])), max_size=12
    ),
    keep=st.booleans(),
)
def test_names_of_any_labels_fit_postgresql(labels: list[str | None], keep: bool) -> None:
    cleaned = [collapse_spaces(label) or None if label else None for label in labels]
    found, _ = column_names(cleaned, list(range(len(labels))), keep=keep)
    assert len(set(found)) == len(labels)
    assert all(0 < len(name.encode()) <= NAME_BYTES and "\0" not in name for name in found)
    assert not {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"} & set(found)


@pytest.mark.parametrize("keep_names", [False, True])
def test_odd_names_make_a_table(db: Database, tmp_path: Path, keep_names: bool) -> None:
    labels = [
        "ctid",
        'qu"ote',
        "per%cent",
        "a\nb",
        "select",
        "2020",
        "é" * 70,
        "é" * 70,
        None,
        "back\\slash",
        "'; drop",
        "{x}",
        "$1",
        "?",
    ]
    path = save(tmp_path / "odd.xlsx", labels, list(range(len(labels))))
    report = db.load(path, table="t", workers=0, keep_names=keep_names, header_row=1)
    columns = [
        name
        for (name,) in db.rows(
            "SELECT attname::text FROM pg_attribute"
            f" WHERE attrelid = '{db.schema}.t'::regclass AND attnum > 0 ORDER BY attnum"
        )
    ]
    assert columns == [c.name for c in report.columns]
    assert db.rows("SELECT * FROM t") == [tuple(range(len(labels)))]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (
            [["Product", "2022", None, "2023", None], [None, "units", "sales", "units", "sales"]],
            "product _2022_units _2022_sales _2023_units _2023_sales",
        ),
        ([[None, 2023, None, 2024, None], ["KPI", "Q1", "Q2", "Q1", "Q2"]], "kpi _2023_q1 _2023_q2 _2024_q1 _2024_q2"),
        (
            [["a", "Plan", None, "Home", None, None], [None, "x", "y", "x", "y", "z"]],
            "a plan_x plan_y home_x home_y z",
        ),
        ([["Place", "Width", None, "Mass"], [None, "m", "m", "kg"]], "place width_m m mass_kg"),
        ([["id", "Name", None], [None, "first", "last"]], "id name_first last"),
        (
            [["P", "EU", None, None, None], [None, 1, None, 2, None], [None, "u", "r", "u", "r"]],
            "p eu_1_u eu_1_r eu_2_u eu_2_r",
        ),
    ],
)
def test_labels_that_nobody_merged_count_for_their_groups(lines: list[list[Any]], names: str) -> None:
    where = HeaderRows(1, len(lines), 0, given=True)
    header = read_header(frame_of(lines), where, range(len(lines[0])), (), keep_names=False, most_columns=99)
    assert " ".join(c.name for c in header.columns) == names


def test_header_texts_are_tidied_and_kept_in_the_report(tmp_path: Path) -> None:
    header = header_of(save(tmp_path / "h.xlsx", ["  First \n Name\t", "b"], ["x", "y"]))
    assert [(c.header, c.name) for c in header.columns] == [("First Name", "first_name"), ("b", "b")]


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("\ufeffEmail\u200b", "Email"), ("Full\u00a0Name ", "Full Name"), ("Post\u00adcode", "Postcode"),
        ("Full  \n name", "Full name"), ("\u202aTotal\u202c", "Total"), ("\u200eid\u200f", "id"), ("Full\u2007\u3000Name", "Full Name"),
        ("a\u2060b", "ab"), ("\u200d key \u200c", "key"), ("ok\ufe0f", "ok"), ("\u3164", None), ("\u200b", None),
        ("\u0645\u06cc\u200c\u0634\u0648\u062f", "\u0645\u06cc\u200c\u0634\u0648\u062f"),
    ],
)  # fmt: skip
def test_header_without_what_nobody_sees(written: str, seen: str | None) -> None:
    assert (collapse_spaces(written) or None) == seen
    assert to_identifier(written) == to_identifier(collapse_spaces(written))


def test_header_fits_fields_that_look_alike(tmp_path: Path) -> None:
    """By title or by name: invisible characters, kinds of spaces, case and normal forms do not matter."""
    headers = [
        "Post\u00adcode",
        "Full\u00a0 Name\u200b",
        "Cafe\u0301",
        "STRASSE",
        "\u0645\u06cc\u200c\u0634\u0648\u062f",
    ]
    titles = ["Postcode", "full name", "Caf\u00e9", "Stra\u00dfe", "\u0645\u06cc\u0634\u0648\u062f"]
    columns = header_of(save(tmp_path / "h.xlsx", headers, list("abcde"), list("fghij"))).columns
    by_title = tuple(Field(name=f"f{n}", type="string", title=title) for n, title in enumerate(titles))
    assert [c and c.index for c in field_columns(by_title, list(columns)).values()] == [0, 1, 2, 3, 4]
    by_name = tuple(Field(name=name, type="string") for name in ("postcode", "full_name", "caf\u00e9", "strasse"))
    assert [c and c.index for c in field_columns(by_name, list(columns)).values()] == [0, 1, 2, 3]


# ---- FINDING ----------------------------------------------------------------------------------------------------

TITLES = {
    "none": ([["id", "name", "city"]], 1),
    "one cell": ([["Report 2020"], ["id", "name", "city"]], 2),
    "title and blank rows": ([["Report"], [], ["by", "me"][:1], [], ["id", "name", "city"]], 5),
    "leading blank rows": ([[], [], ["id", "name", "city"]], 3),
    "numbers above": ([[1], [2], ["id", "name", "city"]], 3),
    "twenty rows": ([[f"line {n}"] for n in range(20)] + [["id", "name", "city"]], 21),
}


@pytest.mark.parametrize("chunk_rows", [None, 1, 5])
@pytest.mark.parametrize(("above", "expected"), TITLES.values(), ids=TITLES)
def test_header_found_below_titles(
    tmp_path: Path, above: list[list[Any]], expected: int, chunk_rows: int | None
) -> None:
    path = save(tmp_path / "t.xlsx", *above, *[[n, f"name {n}", "Rome"] for n in range(30)])
    with reading(path, chunk_rows=chunk_rows) as source:
        assert (source.header.first_row, source.header.last_row, names(source.header)) == (
            expected,
            expected,
            ["id", "name", "city"],
        )
        assert source.rows == 30
        assert source.above_header == sum(map(bool, above)) - 1
        assert source.facts[0].kinds == {"number": 30}


def test_header_of_texts_over_texts_is_the_first_row(tmp_path: Path) -> None:
    assert header_of(save(tmp_path / "t.xlsx", ["a", "b"], ["x", "y"], ["z", "w"])).last_row == 1


def test_header_of_years_over_numbers(tmp_path: Path) -> None:
    header = header_of(save(tmp_path / "t.xlsx", [2019, 2020, 2021], [1, 2, 3], [4, 5, 6]))
    assert (header.last_row, names(header)) == (1, ["_2019", "_2020", "_2021"])
    assert [c.header for c in header.columns] == ["2019", "2020", "2021"]


def test_sheet_without_a_header_says_so(tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", ["Grades"], [], [1, 7.5], [2, 15.0], [3, 22.5])
    with reading(path) as source:
        assert (source.header.last_row, names(source.header), source.rows) == (0, ["column_a", "column_b"], 3)
        assert source.above_header == 1
        assert any(note.startswith("no header row") and "--header-row" in note for note in source.notes())
    with reading(path, header_rows=(3, 3)) as source:
        assert (names(source.header), source.rows) == (["_1", "_7_5"], 2)


def test_header_merged_sideways_names_each_column(tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", ["Term", "Hub A", None], ["Day", 1, 2], ["Week", 3, 4], merges=("B1:C1",))
    assert names(header_of(path)) == ["term", "hub_a", "hub_a_2"]


def test_header_with_some_blank_cells(tmp_path: Path) -> None:
    header = header_of(save(tmp_path / "t.xlsx", ["a", None, "c", "d"], [1, 2, 3, 4]))
    assert [(c.letter, c.header, c.name) for c in header.columns] == [
        ("A", "a", "a"),
        ("B", None, "column_b"),
        ("C", "c", "c"),
        ("D", "d", "d"),
    ]


def test_header_beyond_the_data_is_a_column_too(tmp_path: Path) -> None:
    assert names(header_of(save(tmp_path / "t.xlsx", ["a", "b", "c"], [1], [2]))) == ["a", "b", "c"]


@pytest.mark.parametrize("chunk_rows", [None, 1, 7])
def test_header_given_far_down(tmp_path: Path, chunk_rows: int | None) -> None:
    lines = (
        "".join(row(n, number(f"A{n}", n)) for n in range(1, 150))
        + row(150, inline("A150", "name"), inline("B150", "b"))
        + row(151, number("A151", 5))
    )
    path = write_rows(tmp_path / "t.xlsx", lines)
    with reading(path, header_rows=(150, 150), chunk_rows=chunk_rows) as source:
        assert (names(source.header), source.rows, source.above_header, source.facts[0].kinds) == (
            ["name", "b"],
            1,
            149,
            {"number": 1},
        )


# ---- SEVERAL ROWS AND MERGES ------------------------------------------------------------------------------------


def test_header_of_two_rows_merged_to_the_right(tmp_path: Path) -> None:
    path = save(
        tmp_path / "t.xlsx",
        ["id", "2020", None, "2021", None],
        [None, "q1", "q2", "q1", "q2"],
        [1, 2, 3, 4, 5],
        merges=("B1:C1", "D1:E1", "A1:A2"),
    )
    header = header_of(path, header_rows=(1, 2))
    assert [c.header for c in header.columns] == ["id", "2020 q1", "2020 q2", "2021 q1", "2021 q2"]
    assert names(header) == ["id", "_2020_q1", "_2020_q2", "_2021_q1", "_2021_q2"]


def test_header_merged_downwards_is_found_whole(tmp_path: Path) -> None:
    path = save(
        tmp_path / "t.xlsx", ["id", "2020", None], [None, "q1", "q2"], [1, 2, 3], [4, 5, 6], merges=("B1:C1", "A1:A2")
    )
    header = header_of(path)
    assert (header.first_row, header.last_row, names(header)) == (1, 2, ["id", "_2020_q1", "_2020_q2"])


def test_header_rows_say_a_repeated_text_once(tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", ["id", "total"], ["id", "net"], [1, 2])
    assert [c.header for c in header_of(path, header_rows=(1, 2)).columns] == ["id", "total net"]


def test_header_merge_beyond_the_header_rows_is_ignored(tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", ["a", "b", "c"], [1, None, 3], [4, 5, 6], merges=("A2:B2",))
    with reading(path, header_rows=(1, 1)) as source:
        assert names(source.header) == ["a", "b", "c"]
        assert source.facts[1].kinds == {"number": 1}


def test_no_header(tmp_path: Path) -> None:
    with reading(save(tmp_path / "t.xlsx", ["a", 1], ["b", 2]), header_rows=(0, 0)) as source:
        assert (names(source.header), source.rows, source.above_header) == (["column_a", "column_b"], 2, 0)


def test_header_of_an_empty_sheet(tmp_path: Path) -> None:
    assert header_of(write_rows(tmp_path / "t.xlsx", ""), sheet="Data").columns == ()


def test_header_with_more_columns_than_a_table_can_have(tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", [f"c{n}" for n in range(12)], list(range(12)))
    with pytest.raises(SheetError, match="12 columns, a table can have 10"):
        header_of(path, limits=Limits(columns=10))
    assert len(header_of(path, limits=Limits(columns=10), range="C1:L2").columns) == 10


@pytest.mark.parametrize("chunk_rows", [50, 100_000])
@pytest.mark.parametrize("title", [True, False])
def test_header_below_many_rows_that_have_only_a_format(
    db: Database, tmp_path: Path, chunk_rows: int, title: bool
) -> None:
    """A sheet of a form often has hundreds of them; they are rows of its XML, but there is nothing in them."""
    rows = row(1, inline("A1", "a title")) if title else ""
    rows += "".join(row(n, f'<c r="A{n}" s="1"/>') for n in range(2, 400))
    rows += row(400, inline("A400", "id"), inline("B400", "word"))
    rows += "".join(row(n, number(f"A{n}", n), inline(f"B{n}", "x")) for n in range(401, 800))
    path = write_rows(tmp_path / "b.xlsx", rows)
    with reading(path, chunk_rows=chunk_rows) as source:
        assert (source.header.first_row, [c.name for c in source.header.columns]) == (400, ["id", "word"])
    report = db.load(path, table="t", workers=0, chunk_rows=chunk_rows)
    assert report.success_count == 399
    assert db.rows("select min(id), max(id), count(*) from t where word = 'x'") == [(401, 799, 399)]
