"""Every known way in which readers of Excel files lose or change cells quietly: table and rejects against openpyxl."""

from __future__ import annotations

import zipfile
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
import xlsxwriter
from support import rawbook
from support.oracle import at, check_loaded, oracle_cells, rejected_comments, rejected_rows, table_rows
from support.randomsheets import Cell
from support.rawbook import (
    CLOCK,
    DATE,
    ELAPSED,
    STAMP,
    RawBook,
    RawSheet,
    boolean,
    error,
    formula,
    inline,
    number,
    row,
    shared,
    write_rows,
)
from support.reading import reading

from importer.errors import ConservationError, InputError, SheetError, WorkbookRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Database

    from importer.report.model import Report


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.xlsx"


def load(
    db: Database, path: Path, *, unreadable: tuple[str, ...] = (), blanks: dict[str, int] | None = None, **options: Any
) -> Report:
    """Load a workbook, compare every cell with openpyxl's reading, and return the report."""
    report = db.load(path, table="t", workers=0, **options)
    nulls = options.get("error_cells") == "null"
    check_loaded(db, report, oracle_cells(path, report.sheet), unreadable=unreadable, nulls=nulls, blanks=blanks)
    return report


def save(path: Path, *lines: list[Any], formats: dict[str, str] | None = None) -> Path:
    """A workbook by openpyxl, with number formats by cell."""
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    for ref, code in (formats or {}).items():
        book.active[ref].number_format = code
    book.save(path)
    return path


def types(report: Report) -> dict[str, str | None]:
    return {c.name: c.type for c in report.columns}


def column(db: Database, report: Report, letter: str) -> list[Any]:
    return [line[letter] for line in table_rows(db, report)]


# ---- 1-5: KINDS AND NUMBERS -------------------------------------------------------------------------------------


def test_trap_1_unreadable_cells_are_not_nulls(db: Database, path: Path) -> None:
    save(path, ["a", "b"], [1, "x"], [2, "y"], ["late text", "z"], [None, "w"])
    report = load(db, path)
    assert column(db, report, "A") == ["1", "2", "late text", None]


@pytest.mark.parametrize(
    ("early", "late"),
    [
        (1.5, "text"),
        (True, 2.7),
        (datetime(2020, 1, 5), 5),
        (1, "007"),
        (1, True),
        (datetime(2020, 1, 5), "5"),
        (True, "true"),
    ],
    ids=[
        "number-text",
        "boolean-number",
        "date-number",
        "number-digits",
        "number-boolean",
        "date-digits",
        "boolean-text",
    ],
)
def test_trap_2_types_are_decided_from_all_rows(db: Database, path: Path, early: Any, late: Any) -> None:
    save(path, ["a"], *[[early]] * 1200, [late])
    report = load(db, path)
    assert types(report) == {"a": "text"}
    assert report.success_count == 1201


def test_trap_3_numbers_beside_text_keep_all_digits(db: Database, path: Path) -> None:
    numbers = ["0.30000000000000004", "1E-10", "0.33333333333333331", 2**53 - 1, "1e+22", "-12.5", "5e-324", "100.0"]
    write_rows(
        path,
        row(1, inline("A1", "a"))
        + row(2, inline("A2", "x"))
        + "".join(row(n, number(f"A{n}", text)) for n, text in enumerate(numbers, 3)),
    )
    report = load(db, path)
    assert column(db, report, "A")[1:4] == ["0.30000000000000004", "1e-10", "0.3333333333333333"]
    assert column(db, report, "A")[-1] == "100"


def test_trap_4_fractions_and_large_numbers_are_not_integers(db: Database, path: Path) -> None:
    save(path, ["whole", "fraction", "large"], [12, 12.7, 1e300], [13, 13, 1])
    report = load(db, path)
    assert types(report) == {"whole": "bigint", "fraction": "double precision", "large": "double precision"}


KNOWN = ("#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")


@pytest.mark.parametrize("value", [*KNOWN, "#SPILL!", "#CALC!", "#GETTING_DATA", "#FIELD!"])
def test_trap_5_an_error_value_rejects_its_row_only(db: Database, path: Path, value: str) -> None:
    write_rows(
        path,
        row(1, inline("A1", "a"), inline("B1", "b"))
        + row(2, number("A2", 1), inline("B2", "x"))
        + row(3, error("A3", value), inline("B3", "y")),
    )
    report = load(db, path)
    assert types(report) == {"a": "bigint", "b": "text"}
    assert [rule.key for rule in report.rules] == ["a|error-cell"]
    assert report.rules[0].example == "Data!A3"
    assert rejected_comments(report) == ([] if value in KNOWN else [f"was {value}"])


def test_trap_5_elapsed_time_beside_other_kinds(db: Database, path: Path) -> None:
    cells = [
        number("A2", "1.25", ELAPSED),
        number("A3", 7),
        inline("A4", "x"),
        number("A5", "0.5", CLOCK),
        number("A6", 43831, DATE),
        boolean("A7", value=True),
    ]
    write_rows(path, row(1, inline("A1", "a")) + "".join(row(n, cell) for n, cell in enumerate(cells, 2)))
    report = load(db, path)
    assert column(db, report, "A") == ["30:00:00", "7", "x", "12:00:00", "2020-01-01", "true"]


def test_trap_5_elapsed_time_alone_is_an_interval(db: Database, path: Path) -> None:
    save(
        path,
        ["a"],
        [timedelta(hours=30)],
        [timedelta(minutes=1, milliseconds=5)],
        formats={"A2": "[h]:mm:ss", "A3": "[h]:mm:ss.000"},
    )
    report = load(db, path)
    assert types(report) == {"a": "interval"}
    assert column(db, report, "A") == [timedelta(hours=30), timedelta(minutes=1, milliseconds=5)]


# ---- 6: FORMULAS ------------------------------------------------------------------------------------------------


def test_trap_6_uncalculated_formulas_reject_their_rows(db: Database, path: Path) -> None:
    save(path, ["a", "b"], [1, 2], [3, "=A2+1"], ["=A3*2", "=1<2"])
    report = load(db, path)
    assert (report.success_count, report.error_count) == (1, 2)
    assert {rule.key: (rule.count, rule.example) for rule in report.rules} == {
        "a|uncalculated-formula": (1, "Sheet!A4"),
        "b|uncalculated-formula": (2, "Sheet!B3"),
    }


def test_trap_6_a_row_of_one_uncalculated_formula_is_a_row(db: Database, path: Path) -> None:
    write_rows(path, row(1, inline("A1", "a")) + row(2, number("A2", 1)) + row(9, formula("A9", "A2+1")))
    report = load(db, path)
    assert list(rejected_rows(report)) == [9]
    assert report.rows["blank"] == 6


def test_trap_6_a_column_of_uncalculated_formulas_alone(db: Database, path: Path) -> None:
    save(path, ["a", "b"], [1, "=A2"], [2, "=A3"])
    report = load(db, path)
    assert (report.total_records, report.error_count) == (2, 2)
    assert types(report) == {"a": "bigint", "b": "text"}


def test_trap_6_formulas_taken_as_null(db: Database, path: Path) -> None:
    save(path, ["a", "b"], [1, 2], [3, "=A2+1"])
    report = load(db, path, error_cells="null")
    assert column(db, report, "B") == [2, None]
    assert report.columns[1].count.missing == 1


def test_trap_6_shared_and_array_formulas_without_results(db: Database, path: Path) -> None:
    cells = [
        '<c r="A2"><f t="shared" ref="A2:A3" si="0">B2*2</f></c>',
        '<c r="A3"><f t="shared" si="0"/></c>',
        '<c r="A4"><f t="array" ref="A4">SUM(B2:B3)</f><v/></c>',
        '<c r="A5" t="str"><f>B5</f><v></v></c>',
        '<c r="A6"><f>1+1</f><v>2</v></c>',
    ]
    write_rows(
        path,
        row(1, inline("A1", "a"), inline("B1", "b"))
        + "".join(row(n, c, number(f"B{n}", n)) for n, c in enumerate(cells, 2)),
    )
    report = load_formulas(db, path)
    assert sorted(rejected_rows(report)) == [2, 3, 4]
    assert column(db, report, "A") == [None, 2]


def load_formulas(db: Database, path: Path) -> Report:
    """As `load`; openpyxl takes a formula that returned an empty text for one that was never calculated."""
    cells = oracle_cells(path)
    cells[at("A5")] = Cell("text", "")
    report = db.load(path, table="t", workers=0)
    check_loaded(db, report, cells)
    return report


def test_trap_6_empty_texts_of_formulas_are_missing_not_errors(db: Database, path: Path) -> None:
    empty = '<c r="A3" t="str"><f>IF(1,"")</f><v></v></c>'
    write_rows(
        path,
        row(1, inline("A1", "a"), inline("B1", "b"))
        + row(2, number("A2", 1), inline("B2", "x"))
        + row(3, empty, inline("B3", "y")),
    )
    report = db.load(path, table="t", workers=0)
    assert types(report) == {"a": "bigint", "b": "text"}
    assert column(db, report, "A") == [1, None]
    assert (report.columns[0].count.cells, report.columns[0].count.missing, report.error_count) == (2, 1, 0)


# ---- 7, 8: ADDRESSES AND HEADERS --------------------------------------------------------------------------------


def test_trap_7_leading_blank_rows_and_columns_keep_addresses(db: Database, path: Path) -> None:
    lines = (
        row(17, inline("D17", "a"), inline("F17", "b"))
        + row(19, number("D19", 1), inline("F19", "x"))
        + row(25, error("D25", "#N/A"), inline("F25", "y"))
    )
    write_rows(path, lines)
    report = load(db, path)
    assert [(c.letter, c.name) for c in report.columns] == [("D", "a"), ("F", "b")]
    assert (report.header_rows, report.rules[0].example, report.rows["blank"]) == ((17, 17), "Data!D25", 6)


def test_trap_8_repeated_headers(db: Database, path: Path) -> None:
    save(path, ["name"] * 300, list(range(300)))
    report = load(db, path)
    assert [c.name for c in report.columns][:3] == ["name", "name_2", "name_3"]
    assert len({c.name for c in report.columns}) == 300


def test_trap_9_words_for_nothing_are_texts(db: Database, path: Path) -> None:
    words = ["N/A", "NULL", "null", "nan", "NaN", "NA", "#N/A N/A", "None", "-", "inf", "n/a", "1.#IND"]
    save(path, ["mixed", "pure"], [1.5, "x"], *[[word, word] for word in words])
    report = load(db, path)
    assert column(db, report, "A") == ["1.5", *words]
    assert column(db, report, "B") == ["x", *words]


# ---- 10, 11: DATES, TIMES, SPACES -------------------------------------------------------------------------------


def test_trap_10_time_of_day_alone_is_a_time(db: Database, path: Path) -> None:
    save(path, ["a"], [time(12, 30)], [time(0, 0)], [time(23, 59, 59)])
    report = load(db, path)
    assert types(report) == {"a": "time"}
    assert column(db, report, "A") == [time(12, 30), time(0, 0), time(23, 59, 59)]


def test_trap_10_time_of_day_beside_dates(db: Database, path: Path) -> None:
    save(path, ["a"], [datetime(2020, 1, 5)], [time(12, 30)], [datetime(1900, 1, 1)])
    report = load(db, path)
    assert column(db, report, "A") == ["2020-01-05", "12:30:00", "1900-01-01"]


@pytest.mark.parametrize("pure", [True, False])
def test_trap_10_serials_before_march_1900(db: Database, path: Path, pure: bool) -> None:
    serials = ["1", "2.5", "58", "59", "59.75", "61", "62.25", "43831", "2958465.5"]
    cells = [number(f"A{n}", serial, STAMP) for n, serial in enumerate(serials, 2)] + (
        [] if pure else [inline("A11", "x")]
    )
    write_rows(path, row(1, inline("A1", "a")) + "".join(row(n, cell) for n, cell in enumerate(cells, 2)))
    report = load(db, path)
    assert types(report) == {"a": "timestamp" if pure else "text"}
    first = [
        datetime(1900, 1, 1),
        datetime(1900, 1, 2, 12),
        datetime(1900, 2, 27),
        datetime(1900, 2, 28),
        datetime(1900, 2, 28, 18),
        datetime(1900, 3, 1),
    ]
    assert column(db, report, "A")[:6] == (
        first
        if pure
        else ["1900-01-01", "1900-01-02T12:00:00", "1900-02-27", "1900-02-28", "1900-02-28T18:00:00", "1900-03-01"]
    )


@pytest.mark.parametrize("others", ["43831", "0.5"])
def test_trap_10_serials_that_are_no_date_are_rejected(db: Database, path: Path, others: str) -> None:
    serials = ["60", "60.5", "-1", "-0.25", "2958466", "1e300"]
    lines = [number(f"A{n}", serial, STAMP) for n, serial in enumerate(serials, 2)] + [number("A8", others, STAMP)]
    write_rows(
        path,
        row(1, inline("A1", "a"), inline("B1", "b"))
        + "".join(row(n, c, number(f"B{n}", n)) for n, c in enumerate(lines, 2)),
    )
    cells = {
        a: Cell("unreadable", None) if a[1] == 0 and 2 <= a[0] <= 7 else cell for a, cell in raw_numbers(path).items()
    }
    report = db.load(path, table="t", workers=0)
    assert sorted(rejected_rows(report)) == [2, 3, 4, 5, 6, 7]
    assert {rule.key: rule.count for rule in report.rules} == {"a|type-error": 6}
    check_loaded(db, report, cells)


def raw_numbers(path: Path) -> dict[tuple[int, int], Cell]:
    """openpyxl's cells; dates that it cannot read are not in them, so every address of columns A and B is."""
    cells = oracle_cells(path)
    return {(r, c): cells.get((r, c), Cell("unreadable", None)) for r in range(1, 9) for c in (0, 1)}


@pytest.mark.parametrize("properties", ['<workbookPr date1904="1"/>', '<workbookPr date1904="true"/>', "x15"])
def test_trap_11_the_1904_epoch(db: Database, path: Path, properties: str) -> None:
    if properties == "x15":
        extension = "http://schemas.microsoft.com/office/spreadsheetml/2010/11/main"
        properties = (
            '<workbookPr date1904="1"/><extLst><ext uri="{140A7094-0E35-4892-8432-C4D2E57EDEB5}">'
            f'<x15:workbookPr xmlns:x15="{extension}" chartTrackingRefBase="1"/></ext></extLst>'
        )
    cells = [
        number("A2", 1, DATE),
        number("A3", 42369, DATE),
        number("A4", "60.5", STAMP),
        number("A5", "2957003.5", STAMP),
    ]
    write_rows(
        path,
        row(1, inline("A1", "a")) + "".join(row(n, cell) for n, cell in enumerate(cells, 2)),
        properties=properties,
    )
    report = load(db, path)
    assert column(db, report, "A") == [
        datetime(1904, 1, 2),
        datetime(2020, 1, 1),
        datetime(1904, 3, 1, 12),
        datetime(9999, 12, 31, 12),
    ]


SPACED = [" both ", "  two before", "after\t", "\nbreak before", "break after\n", " ", "in  side", "\u00a0hard\u00a0"]


@pytest.mark.parametrize("form", ["shared", "inline", "shared runs", "inline runs", "formula"])
@pytest.mark.parametrize("pure", [True, False])
def test_trap_10_texts_keep_their_spaces_without_xml_space(db: Database, path: Path, form: str, pure: bool) -> None:
    makers: dict[str, Callable[[str, int, str], str]] = {
        "shared": lambda ref, n, text: shared(ref, n),
        "shared runs": lambda ref, n, text: shared(ref, n),
        "inline": lambda ref, n, text: inline(ref, text, space=False),
        "inline runs": lambda ref, n, text: (
            f'<c r="{ref}" t="inlineStr"><is><r><rPr><b/></rPr><t>{text}</t></r><r><t>{text}</t></r></is></c>'
        ),
        "formula": lambda ref, n, text: formula(ref, "A1", text, "str"),
    }
    strings = [
        f"<t>{text}</t>" if form == "shared" else f"<r><t>{text}</t></r><r><rPr><b/></rPr><t>{text}</t></r>"
        for text in SPACED
    ]
    cells = [makers[form](f"A{n}", n - 2, text) for n, text in enumerate(SPACED, 2)]
    lines = "".join(row(n, cell) for n, cell in enumerate(cells, 2)) + ("" if pure else row(20, number("A20", 1.5)))
    write_rows(path, row(1, inline("A1", "a")) + lines, strings=strings)
    report = db.load(path, table="t", workers=0, header_row=1)
    assert column(db, report, "A")[: len(SPACED)] == [text * 2 if "runs" in form else text for text in SPACED]
    assert (report.success_count, report.error_count) == (len(SPACED) + (not pure), 0)


# ---- 12, 13: CONTAINERS AND SHEETS ------------------------------------------------------------------------------


def test_trap_12_an_altered_digit_fails_the_checksum(db: Database, path: Path) -> None:
    write_rows(path, row(1, inline("A1", "a")) + row(2, number("A2", 1234567)))
    with zipfile.ZipFile(path) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as package:
        for name, content in parts.items():
            package.writestr(name, content)
    path.write_bytes(path.read_bytes().replace(b"1234567", b"1234568"))
    with pytest.raises(WorkbookRefused, match="checksum"):
        db.load(path, table="t", workers=0)


def test_trap_12_the_extension_does_not_decide(db: Database, path: Path) -> None:
    save(path, ["a"], [1])
    odd = path.rename(path.with_suffix(".xls"))
    report = db.load(odd, table="t", workers=0)
    assert column(db, report, "A") == [1]


def test_trap_13_a_macro_sheet_beside_the_data_is_no_obstacle(db: Database, path: Path) -> None:
    macro = RawSheet(
        xml='<xm:macrosheet xmlns:xm="http://schemas.microsoft.com/office/excel/2006/main"/>',
        name="Macro1",
        kind="xlMacrosheet",
    )
    RawBook([RawSheet(row(1, inline("A1", "a")) + row(2, number("A2", 5)), name="Data"), macro]).write(path)
    report = db.load(path, table="t", workers=0)
    assert column(db, report, "A") == [5]
    assert any("Macro1" in note for note in report.notes)
    with pytest.raises(SheetError, match="macrosheet"):
        db.load(path, table="t", workers=0, sheet="Macro1")


# ---- 14: SPARSE SHEETS ------------------------------------------------------------------------------------------

CORNERS = {
    "A1 and XFD1048576": ["XFD1048576"],
    "last row": ["A1048576"],
    "last column": ["XFD2"],
    "several": ["C2", "XFD3", "B500000", "AAA500001", "A1048576"],
}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("refs", CORNERS.values(), ids=CORNERS)
def test_trap_14_stray_cells_far_away(db: Database, path: Path, refs: list[str], declared: bool) -> None:
    cells = [row(at(ref)[0], number(ref, 7)) for ref in refs]
    before = '<dimension ref="A1:XFD1048576"/>' if declared else ""
    write_rows(path, row(1, inline("A1", "a"), inline("B1", "b")) + "".join(cells), before=before)
    report = db.load(path, table="t", workers=1, header_row=1)
    check_loaded(
        db,
        report,
        {at(ref): Cell("number", 7) for ref in refs} | {at("A1"): Cell("text", "a"), at("B1"): Cell("text", "b")},
    )


def test_trap_14_a_reject_in_the_last_row_has_its_address(db: Database, path: Path) -> None:
    write_rows(path, row(1, inline("A1", "a")) + row(2, number("A2", 1)) + row(1048576, error("A1048576", "#REF!")))
    report = load(db, path)
    assert report.rules[0].example == "Data!A1048576"
    assert report.rows["blank"] == 1048573


def test_trap_14_empty_rows_between_stray_cells(db: Database, path: Path) -> None:
    empty = "".join(f'<row r="{n}"/>' for n in range(3, 3000)) + "".join(
        f'<row r="{n}"><c r="A{n}" s="1"/></row>' for n in range(3000, 3400)
    )
    tail = row(1000000, number("ZZ1000000", 2)) + '<row r="1000001"/>'
    write_rows(path, row(1, inline("A1", "a")) + row(2, number("A2", 1)) + empty + tail)
    report = load(db, path, header_row=1)
    assert report.total_records == 2


# ---- 15-18: FORMATS, SHEETS -------------------------------------------------------------------------------------


def test_trap_15_other_formats_are_refused_with_advice(db: Database, path: Path) -> None:
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2048))
    with pytest.raises(WorkbookRefused, match="an OLE document without its directory") as caught:
        db.load(path, table="t", workers=0)
    assert "copy or download it again" in str(caught.value)


def test_trap_17_shared_strings_in_several_windows(db: Database, path: Path) -> None:
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("S")
        for n in range(200):
            sheet.write_row(n, 0, ["a", "b"] if not n else [f"text {n}", f"text {n % 7}"])
    report = load(db, path, chunk_rows=11)
    assert report.success_count == 199


def test_trap_18_the_first_visible_worksheet_is_read(db: Database, path: Path) -> None:
    sheets = [
        RawSheet(row(1, inline("A1", "a")) + row(2, number("A2", n)), name=name, state=state)
        for n, (name, state) in enumerate(
            [("Gone", "veryHidden"), ("Lists", "hidden"), ("Shown", "visible"), ("Other", "visible")]
        )
    ]
    RawBook(sheets).write(path)
    report = load(db, path)
    assert (report.sheet, column(db, report, "A")) == ("Shown", [2])
    assert "sheets not read: Gone (veryhidden), Lists (hidden), Other" in report.notes
    assert column(db, load(db, path, sheet="Lists", mode="replace"), "A") == [1]


def test_trap_18_chart_sheets_are_not_worksheets(db: Database, path: Path) -> None:
    with xlsxwriter.Workbook(path) as book:
        chart_sheet = book.add_chartsheet("Chart")
        sheet = book.add_worksheet("Numbers")
        sheet.write_column(0, 0, ["a", 1, 2, 3])
        chart = book.add_chart({"type": "column"})
        chart.add_series({"values": "=Numbers!$A$2:$A$4"})
        chart_sheet.set_chart(chart)
    report = load(db, path)
    assert (report.sheet, column(db, report, "A")) == ("Numbers", [1, 2, 3])
    with pytest.raises(SheetError, match="chartsheet"):
        db.load(path, table="t", workers=0, sheet="Chart")


# ---- NUMBERS THAT NO FLOAT HOLDS --------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["alone", "beside text"])
def test_integers_beyond_2_to_the_53(db: Database, path: Path, style: str) -> None:
    numbers = [2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2, 2**63, -(2**53) - 1, 12345678901234567891, 10**18]
    lines = "".join(row(n, number(f"A{n}", value)) for n, value in enumerate(numbers, 2))
    write_rows(
        path, row(1, inline("A1", "a")) + lines + (row(12, inline("A12", "x")) if style == "beside text" else "")
    )
    report = db.load(path, table="t", workers=0)
    texts = [str(value) for value in numbers]
    if style == "alone":
        assert types(report) == {"a": "numeric"}
        assert db.rows("select a::text from t order by t.a") == [(text,) for text in sorted(texts, key=int)]
    else:
        assert sorted(text for (text,) in db.rows("select a from t")) == sorted([*texts, "x"])


@pytest.mark.parametrize("value", ["1e400", "-1e400", "NaN", "inf"])
def test_numbers_that_are_none(db: Database, path: Path, value: str) -> None:
    write_rows(path, row(1, inline("A1", "a")) + row(2, number("A2", 1)) + row(3, number("A3", value)))
    report = db.load(path, table="t", workers=0)
    check_loaded(
        db, report, {at("A1"): Cell("text", "a"), at("A2"): Cell("number", 1), at("A3"): Cell("unreadable", None)}
    )
    assert types(report) == {"a": "bigint"}
    assert report.rules[0].example == "Data!A3"


# ---- SPELLINGS OF THE XML ---------------------------------------------------------------------------------------

BODY = (
    row(1, inline("A1", "a"), inline("B1", "b & c"))
    + row(3, number("A3", "1.5"), shared("B3", 0))
    + row(4, error("A4", "#N/A"), boolean("B4", value=True))
)
SHEET = f'<worksheet xmlns="{rawbook.MAIN}"><sheetData>{BODY}</sheetData></worksheet>'


def prefixed(xml: str) -> str:
    import re

    return re.sub(r"<(/?)([a-z])", r"<\1x:\2", xml.replace("xmlns=", "xmlns:x="))


SPELLINGS: dict[str, str | bytes] = {
    "prefix": prefixed(SHEET),
    "strict namespace": SHEET.replace(rawbook.MAIN, "http://purl.oclc.org/ooxml/spreadsheetml/main"),
    "comments": SHEET.replace("<row ", "<!-- <row r='9'> --><row ").replace("<v>", "<!-- <v>9</v> --><v>"),
    "cdata": SHEET.replace("b &amp; c", "<![CDATA[b & c]]>"),
    "utf-16": ('<?xml version="1.0" encoding="UTF-16"?>' + SHEET).encode("utf-16"),
    "latin-1": ('<?xml version="1.0" encoding="ISO-8859-1"?>' + SHEET.replace("b &amp; c", "é")).encode("latin-1"),
    "byte order mark": b"\xef\xbb\xbf" + SHEET.encode(),
    "single quotes": SHEET.replace('"', "'"),
    "spaces around equals": SHEET.replace('r="', 'r = "').replace('t="', 't= "'),
    "attribute order": SHEET.replace('<c r="A3" s="0">', '<c s="0" r="A3">'),
    "line breaks in tags": SHEET.replace("<c ", "<c\n  ").replace("<row ", "<row\n"),
    "no addresses": SHEET.replace('<c r="A3"', "<c")
    .replace('<c r="B3"', "<c")
    .replace('<c r="A4"', "<c")
    .replace('<c r="B4"', "<c"),
    "no row numbers": SHEET.replace('<row r="4"', "<row").replace('<row r="1"', "<row"),
    "processing instruction": SHEET.replace("<sheetData>", "<?target data?><sheetData>"),
    "end tags with space": SHEET.replace("</row>", "</row >").replace("</v>", "</v >"),
    "lower case addresses": SHEET.replace('r="A3"', 'r="a3"').replace('r="A4"', 'r="a4"'),
    "dollar signs of other attributes": SHEET.replace('<row r="3"', '<row spans="1:2" ht="15" customHeight="1" r="3"'),
}


@pytest.mark.parametrize("xml", SPELLINGS.values(), ids=SPELLINGS)
def test_spelling(db: Database, path: Path, xml: str | bytes) -> None:
    write_rows(path, "", xml=xml, strings=["<t>s</t>"])
    report = db.load(path, table="t", workers=0)
    texts = {"A1": "a", "B1": "é" if isinstance(xml, bytes) and b"8859" in xml else "b & c", "B3": "s"}
    cells = {at(ref): Cell("text", text) for ref, text in texts.items()}
    cells |= {at("A3"): Cell("number", 1.5), at("A4"): Cell("error", "#N/A"), at("B4"): Cell("boolean", True)}
    check_loaded(db, report, cells)
    assert report.columns[1].header == texts["B1"]


OUT_OF_ORDER = (
    row(1, inline("A1", "a")) + row(5, number("A5", 5)) + row(3, error("A3", "#N/A")) + row(4, number("A4", 4))
)
TORN = (
    row(1, inline("A1", "a"), inline("B1", "b"))
    + row(2, number("A2", 1))
    + row(2, number("B2", 5))
    + row(3, number("A3", 1))
)


@pytest.mark.parametrize("rows", [OUT_OF_ORDER, TORN], ids=["out of order", "torn"])
def test_rows_out_of_order_in_one_window_are_read_right(db: Database, path: Path, rows: str) -> None:
    load(db, write_rows(path, rows))


@pytest.mark.parametrize("chunk_rows", [1, 2])
def test_torn_rows_are_not_cut(db: Database, path: Path, chunk_rows: int) -> None:
    load(db, write_rows(path, TORN), header_row=1, chunk_rows=chunk_rows)


@pytest.mark.parametrize("chunk_rows", [1, 2])
def test_rows_out_of_order_over_windows_are_refused(db: Database, path: Path, chunk_rows: int) -> None:
    write_rows(path, OUT_OF_ORDER)
    with pytest.raises(InputError, match="out of order"):
        db.load(path, table="t", workers=0, header_row=1, chunk_rows=chunk_rows)


def test_a_cell_in_the_wrong_row_counts_by_its_own_address(db: Database, path: Path) -> None:
    wrong = '<row r="3"><c r="A7"><v>1</v></c></row><row r="8"><c r="A9"><f>B1</f></c></row>'
    write_rows(path, row(1, inline("A1", "a")) + wrong + row(10, number("A10", 4)))
    report = db.load(path, table="t", workers=0)
    expected = {at("A7"): Cell("number", 1), at("A9"): Cell("formula", "=B1"), at("A10"): Cell("number", 4)}
    check_loaded(db, report, expected)


def test_cells_out_of_order_are_read_right(db: Database, path: Path) -> None:
    write_rows(path, row(1, inline("A1", "a"), inline("B1", "b")) + row(2, number("B2", 2), number("A2", 1)))
    check_loaded(db, db.load(path, table="t", workers=0), oracle_cells(path))


@pytest.mark.parametrize("second", [number("A2", 2), inline("A2", "x"), error("A2", "#N/A"), formula("A2", "B1")])
def test_the_same_cell_twice_is_refused(db: Database, path: Path, second: str) -> None:
    write_rows(path, row(1, inline("A1", "a"), inline("B1", "b")) + row(2, number("A2", 1), second, number("B2", 5)))
    with pytest.raises((ConservationError, InputError), match="twice"):
        db.load(path, table="t", workers=0)


# ---- HIDDEN, BLANK, EMPTY ---------------------------------------------------------------------------------------


def hidden_book(path: Path) -> Path:
    lines = row(1, inline("A1", "a"), inline("B1", "b")) + row(2, number("A2", 1), number("B2", 2))
    lines += row(3, number("A3", 3), number("B3", 4), attributes=' hidden="1"') + row(
        4, number("A4", 5), number("B4", 6)
    )
    return write_rows(path, lines, before='<cols><col min="2" max="2" width="9" hidden="1"/></cols>')


def test_hidden_include(db: Database, path: Path) -> None:
    report = load(db, hidden_book(path))
    assert (report.total_records, report.rows["hidden"]) == (3, 1)
    assert {"hidden or filtered out in the sheet: 1 data row", "hidden columns: B"} <= set(report.notes)


def test_hidden_skip(db: Database, path: Path) -> None:
    report = db.load(hidden_book(path), table="t", workers=0, hidden="skip")
    assert table_rows(db, report) == [{"A": 1}, {"A": 5}]
    assert report.rows["hidden"] == 1
    assert (report.columns[1].count.cells, report.columns[1].count.ignored) == (2, 2)


def test_hidden_skip_types_come_from_shown_rows(db: Database, path: Path) -> None:
    write_rows(
        path,
        row(1, inline("A1", "a")) + row(2, number("A2", 1)) + row(3, inline("A3", "x"), attributes=' hidden="true"'),
    )
    report = db.load(path, table="t", workers=0, hidden="skip")
    assert (types(report), column(db, report, "A")) == ({"a": "bigint"}, [1])


def test_hidden_error(db: Database, path: Path) -> None:
    with pytest.raises(SheetError, match="1 hidden rows and hidden columns B"):
        db.load(hidden_book(path), table="t", workers=0, hidden="error")


def test_blank_rows_are_counted_not_loaded(db: Database, path: Path) -> None:
    styled = '<row r="5" ht="20" customHeight="1"><c r="A5" s="1"/><c r="B5" s="2"/></row>'
    write_rows(
        path,
        row(1, inline("A1", "a"))
        + row(2, number("A2", 1))
        + '<row r="3"/>'
        + styled
        + row(8, number("A8", 2))
        + '<row r="9"/>',
    )
    report = load(db, path)
    assert (report.total_records, report.rows["blank"]) == (2, 5)


def test_a_row_of_empty_texts_is_blank(db: Database, path: Path) -> None:
    """As formulas leave it that show nothing; its cells are counted as ignored."""
    save(path, ["a", "b"], [1, "x"])
    write_rows(
        path,
        row(1, inline("A1", "a"), inline("B1", "b"))
        + row(2, inline("A2", ""), inline("B2", ""))
        + row(3, number("A3", 1), inline("B3", "")),
    )
    report = db.load(path, table="t", workers=0, header_row=1)
    assert [(c.count.cells, c.count.missing, c.count.loaded, c.count.ignored) for c in report.columns] == [
        (2, 0, 1, 1),
        (2, 1, 0, 1),
    ]
    assert types(report) == {"a": "bigint", "b": "text"}


def test_an_all_empty_column_is_text(db: Database, path: Path) -> None:
    save(path, ["a", "nothing", "b"], [1, None, 2], [3, None, 4])
    report = load(db, path)
    assert types(report) == {"a": "bigint", "nothing": "text", "b": "bigint"}


def test_a_header_without_rows(db: Database, path: Path) -> None:
    save(path, ["a", "b"])
    report = load(db, path)
    assert (report.total_records, types(report)) == (0, {"a": "text", "b": "text"})
    assert db.rows("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("rows", ["", '<row r="1"/>', '<row r="4"><c r="B4" s="1"/></row>'])
def test_an_empty_sheet_loads_no_row(db: Database, path: Path, rows: str) -> None:
    write_rows(path, rows)
    with pytest.raises(SheetError, match="no visible sheet has rows: 'Data'"):
        db.load(path, table="t", workers=0)
    report = db.load(path, table="t", workers=0, sheet="Data")
    assert (report.total_records, report.columns) == (0, ())


@pytest.mark.parametrize(
    ("header_row", "names", "loaded"),
    [
        (None, ["id", "name"], 2),
        (3, ["id", "name"], 2),
        ("2-3", ["part_id", "name"], 2),
        (0, ["column_a", "column_b"], 5),
        (5, ["_2", "y"], 0),
    ],
)
def test_header_row_given(db: Database, path: Path, header_row: Any, names: list[str], loaded: int) -> None:
    save(path, ["Report of 2020"], ["Part"], ["id", "name"], [1, "x"], [2, "y"])
    report = load(db, path, header_row=header_row)
    assert [c.name for c in report.columns] == names
    assert report.total_records == loaded


def test_a_header_row_beyond_the_sheet(db: Database, path: Path) -> None:
    save(path, ["a"], [1])
    report = db.load(path, table="t", workers=0, header_row=50)
    assert report.total_records == 0


def test_dates_without_time_are_dates(db: Database, path: Path) -> None:
    save(path, ["a", "b"], [date(2020, 1, 5), datetime(2020, 1, 5, 12)], [date(1999, 12, 31), datetime(2020, 1, 6)])
    report = load(db, path)
    assert types(report) == {"a": "date", "b": "timestamp"}


def test_iso_dates_in_cells(db: Database, path: Path) -> None:
    cells = [
        '<c r="A2" t="d" s="2"><v>2020-01-05T12:30:00</v></c>',
        '<c r="A3" t="d" s="1"><v>2020-01-06</v></c>',
        '<c r="A4" t="d" s="2"><v>2020-01-05T12:30:00.250</v></c>',
    ]
    write_rows(path, row(1, inline("A1", "a")) + "".join(row(n, c) for n, c in enumerate(cells, 2)))
    report = db.load(path, table="t", workers=0)
    assert column(db, report, "A") == [
        datetime(2020, 1, 5, 12, 30),
        datetime(2020, 1, 6),
        datetime(2020, 1, 5, 12, 30, 0, 250000),
    ]


# ---- SPELLINGS OF TEXTS -----------------------------------------------------------------------------------------

STRINGS: dict[str, tuple[str | bytes, list[str]]] = {
    "prefix": (
        "<x:si><x:t> a </x:t></x:si><x:si><x:r><x:t> b</x:t></x:r><x:r><x:t> c</x:t></x:r></x:si>",
        [" a ", " b c"],
    ),
    "cdata": ("<si><t><![CDATA[a < b]]></t></si><si><t>b<![CDATA[ c]]></t></si>", ["a < b", "b c"]),
    "comments": ("<si><t>a<!-- x -->b</t></si><!-- y --><si><t>c</t></si>", ["ab", "c"]),
    "phonetics": (
        '<si><t>a</t><rPh sb="0" eb="1"><t>x</t></rPh></si><si><r><t>b</t></r><phoneticPr fontId="1"/></si>',
        ["a", "b"],
    ),
    "empty": ("<si/><si><t/></si><si><t></t></si>", ["", "", ""]),
    "entities": (
        "<si><t>&#233;&#x4e2d;&#10;</t></si><si><t>&lt;&gt;&quot;&apos;&amp;amp;</t></si><si><t>&#32;x</t></si>",
        ["é中\n", "<>\"'&amp;", " x"],
    ),
    "line ends": (
        "<si><t>a\r\nb</t></si><si><t>c&#13;d</t></si><si><t>e_x000D_\nf</t></si>",
        ["a\nb", "c\rd", "e\r\nf"],
    ),
    "spaced tags": ("<si ><t > a </t ></si ><si><t xml:space='preserve'> b </t></si>", [" a ", " b "]),
    "escapes": (
        "<si><t>_x4E2D_a_x00E9_</t></si><si><t>_xD83D__xDE00_</t></si><si><t>_x005F_x4E2D_</t></si><si><t>_xD83D_</t></si><si><t>_X0041_</t></si>",
        ["中aé", "😀", "_x4E2D_", "_xD83D_", "_X0041_"],
    ),
}


@pytest.mark.parametrize(("items", "texts"), STRINGS.values(), ids=STRINGS)
def test_spelling_of_shared_strings(db: Database, path: Path, items: str, texts: list[str]) -> None:
    prefix = "x:" if "<x:" in items else ""
    part = f'<{prefix}sst xmlns{":x" if prefix else ""}="{rawbook.MAIN}">{items}</{prefix}sst>'
    lines = "".join(row(n + 2, shared(f"A{n + 2}", n), number(f"B{n + 2}", n)) for n in range(len(texts)))
    write_rows(
        path,
        row(1, inline("A1", "a"), inline("B1", "b")) + lines,
        strings=["never used"],
        parts={"xl/sharedStrings.xml": part},
    )
    report = db.load(path, table="t", workers=0, header_row=1)
    assert column(db, report, "A") == [text or None for text in texts]


def test_spelling_of_shared_strings_in_utf_16(db: Database, path: Path) -> None:
    part = f'<?xml version="1.0" encoding="UTF-16"?><sst xmlns="{rawbook.MAIN}"><si><t>é</t></si></sst>'.encode(
        "utf-16"
    )
    write_rows(
        path,
        row(1, inline("A1", "a")) + row(2, shared("A2", 0)),
        strings=["never used"],
        parts={"xl/sharedStrings.xml": part},
    )
    assert column(db, load(db, path), "A") == ["é"]


def test_shared_strings_without_ends_are_looked_through_once(path: Path) -> None:
    """To look for the end of each of them, up to the end of the part, would take hours."""
    part = f'<sst xmlns="{rawbook.MAIN}"><si/>{"<si>" * 400_000}</sst>'
    rows = row(1, inline("A1", "a")) + row(2, shared("A2", 0), number("B2", 1))
    write_rows(path, rows, strings=["never used"], parts={"xl/sharedStrings.xml": part})
    with reading(path, header_rows=(1, 1)) as source:
        assert source.rows == 1


@pytest.mark.parametrize("engine", ["builtin", "calamine"])
def test_a_shared_string_that_is_not_there_is_a_reject(db: Database, path: Path, engine: str) -> None:
    rows = row(1, inline("A1", "a")) + row(2, shared("A2", 7)) + row(3, shared("A3", 0))
    report = db.load(write_rows(path, rows, strings=["<t>x</t>"]), table="t", workers=0, engine=engine)
    assert (column(db, report, "A"), report.rules[0].example) == (["x"], "Data!A2")
    assert "shared string 7, of 1" in rejected_rows(report)[2][1]["A"].value


def test_a_text_that_looks_like_our_mark_is_a_text(db: Database, path: Path) -> None:
    """The mark of a looked-up cell is a character that the rows do not hold, however they would write it."""
    texts = ["&#xF8FF;1", "&#63742;1", "\uf8fd1"]
    cells = [f'<c r="A{n}" t="inlineStr"><is><t>{text}</t></is></c>' for n, text in enumerate(texts, 3)]
    rows = row(1, shared("A1", 0)) + row(2, shared("A2", 1)) + "".join(row(n, cell) for n, cell in enumerate(cells, 3))
    write_rows(path, rows, strings=["<t>a</t>", "<t>b</t>"])
    report = db.load(path, table="t", workers=0, header_row=1)
    assert column(db, report, "A") == ["b", "\uf8ff1", "\uf8fe1", "\uf8fd1"]


def test_a_reference_that_no_workbook_defines_is_not_kept_as_it_is_written(db: Database, path: Path) -> None:
    write_rows(path, row(1, shared("A1", 0)) + row(2, shared("A2", 1)), strings=["<t>a</t>", "<t>x &amplify; y</t>"])
    with pytest.raises(InputError):
        db.load(path, table="t", workers=0, header_row=1)


#: A text is no date, however its cell is formatted.
STYLED = {
    "as Excel": '<c r="A{n}" s="1" t="s"><v>{i}</v></c>',
    "type first": '<c r="A{n}" t="s" s="1"><v>{i}</v></c>',
    "more attributes": '<c r="A{n}" s="1" cm="1" t="s"><v>{i}</v></c>',
    "five digits": '<c r="A{n}" s="00001" t="s"><v>{i}</v></c>',
    "a formula": '<c r="A{n}" s="1" t="s"><f>"a"</f><v>{i}</v></c>',
}
BESIDE = {
    "alone": "",
    "beside numbers": number("B{n}", 5),
    "beside dates": number("B{n}", 45000, style=DATE),
    "beside a formula": '<c r="B{n}"><f t="shared" si="0"/><v>5</v></c>',
    "beside inline texts": inline("B{n}", "x"),
    "far to the right": number("ABC{n}", 5),
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("cell", STYLED.values(), ids=STYLED)
def test_shared_strings_in_cells_that_show_dates(db: Database, path: Path, cell: str, beside: str) -> None:
    """A date column in which somebody wrote texts, or a header that was formatted with its column."""
    texts = [f"text {n}" for n in range(200)]
    rows = [row(n, cell.format(n=n, i=n - 1), beside.format(n=n)) for n in range(2, 201)]
    write_rows(path, row(1, shared("A1", 0)) + "".join(rows), strings=[f"<t>{text}</t>" for text in texts])
    report = load(db, path, header_row=1)
    assert column(db, report, "A") == texts[1:]


@pytest.mark.parametrize("ref", ["a{n}", "AA{n}", "aa{n}"])
def test_shared_strings_wherever_their_column_is(db: Database, path: Path, ref: str) -> None:
    rows = [row(n, shared(ref.format(n=n), n), number(f"ZZ{n}", n)) for n in range(2, 101)]
    strings = [f"<t>text {n}</t>" for n in range(101)]
    write_rows(path, row(1, shared(ref.format(n=1), 1)) + "".join(rows), strings=strings)
    report = load(db, path, header_row=1)
    assert column(db, report, ref.format(n="").upper()) == [f"text {n}" for n in range(2, 101)]


@pytest.mark.parametrize("other", ["", number("B2", 5)])
def test_a_shared_string_without_a_number_is_an_empty_cell(db: Database, path: Path, other: str) -> None:
    empty = '<c r="A2" t="s"><v></v></c>'
    write_rows(
        path,
        row(1, shared("A1", 0), shared("B1", 1)) + row(2, empty, other) + row(3, shared("A3", 1)),
        strings=["<t>a</t>", "<t>b</t>"],
    )
    report = db.load(path, table="t", workers=0, header_row=1)
    assert [value for value in column(db, report, "A") if value is not None] == ["b"]
    assert report.columns[0].kinds == {"text": 1}


def test_single_quotes_do_not_hide_stray_cells(db: Database, path: Path) -> None:
    far = row(1048576, number("XFD1048576", 2)).replace('"', "'")
    write_rows(path, (row(1, inline("A1", "a")) + row(2, number("A2", 1))).replace('"', "'") + far)
    report = db.load(path, table="t", workers=1, header_row=1)
    check_loaded(db, report, oracle_cells(path))


def test_iso_dates_beside_texts_and_errors(db: Database, path: Path) -> None:
    cells = [
        '<c r="A2" t="d" s="2"><v>2020-01-05T12:30:00</v></c>',
        inline("A3", "2020-01-06"),
        number("A4", "0.1"),
        '<c r="A5" t="d" s="2"><v>never</v></c>',
        error("A6", "#SPILL!"),
        '<c r="A7" t="d" s="1"><v>2020-01-07</v></c>',
    ]
    write_rows(path, row(1, inline("A1", "a")) + "".join(row(n, c) for n, c in enumerate(cells, 2)))
    report = db.load(path, table="t", workers=0, header_row=1)
    assert column(db, report, "A") == ["2020-01-05T12:30:00", "2020-01-06", "0.1", "2020-01-07"]
    assert {rule.key: rule.example for rule in report.rules} == {"a|type-error": "Data!A5", "a|error-cell": "Data!A6"}


def test_iso_dates_with_and_without_an_offset_are_texts(db: Database, path: Path) -> None:
    cell = '<c r="A2" t="d" s="2"><v>2020-01-05T12:30:00+02:00</v></c>'
    write_rows(path, row(1, inline("A1", "a")) + row(2, cell) + row(3, number("A3", 43831, DATE)))
    report = db.load(path, table="t", workers=0)
    assert column(db, report, "A") == ["2020-01-05T12:30:00+02:00", "2020-01-01"]
    assert any("1 date with an offset" in str(note) for note in report.notes)
