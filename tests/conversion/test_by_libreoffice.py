"""Files that LibreOffice writes from one workbook have the cells, sheets, hidden rows and columns of that workbook."""

from __future__ import annotations

import datetime as dt
import math
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import xlsxwriter
from support.reading import read_cells, reading

if TYPE_CHECKING:
    from pathlib import Path

SOFFICE = shutil.which("soffice")
FORMATS = {
    2: ["yyyy-mm-dd", "dd.mm.yyyy", "m/d/yy", "d-mmm-yy", "[$-407]d. mmmm yyyy", "[$-F800]dddd, mmmm dd, yyyy"],
    3: ["yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd hh:mm:ss.000", "m/d/yy h:mm", "dd.mm.yyyy hh:mm AM/PM"],
    4: ["hh:mm", "hh:mm:ss", "h:mm AM/PM", "mm:ss.0"],
    5: ["[h]:mm:ss", "[mm]:ss", "[h]:mm"],
    8: ["€ #,##0.00", '#,##0.00 "kr"', "[$$-409]#,##0.00;[RED]-[$$-409]#,##0.00", "0%", "0.00E+00", "@"],
}
TEXTS = [
    "plain", " lead and trail ", "two\nlines", "tab\there", "ünïcödé 雲😀", "x" * 9000, "<&>\"'", "007", "1.5", "TRUE",
    "#N/A", "=1+1", "a  b   c", "_x0041_", "\u200bzero width", "e\u0301 combining", "عربى",
]  # fmt: skip
NUMBERS = [0.1 + 0.2, 1e-300, -12345678901234567890.0, 2.0**53, 1 / 3, 1e15, 123456789.01, -0.5]
ERRORS = {"=NA()": "#N/A", "=1/0": "#DIV/0!", "=#REF!": "#REF!"}

#: Results that look as if a program had not calculated them: 0, false, of all kinds of references.
FORMULAS = {
    "=A2>5": False, "=A2<5": True, "=AND(A2>5,A3>1)": False, "=ISNUMBER(B1)": False, '="a"="b"': False, '=EXACT("a","A")': False,
    "=A2-A2": 0, "=SUM(C9:C12)": 0, '=N("x")': 0, "='Same'!A2*2": 2, "=SUM('Same'!A2:A4)": 3, "=Same!A2-1": 0, "=rate*A2": 0.5,
    "=SUM(some)": 3, "=CHOOSE(2,1,0)": 0, "=INDEX(A2:A4,2)-1": 0, "=VLOOKUP(9,A2:A4,1,FALSE)": "#N/A", "=ROUND(0.1,0)": 0,
    "=COUNTIF(A2:A4,9)": 0, "=RAND()*0": 0, "=-A99": 0, "=A99": 0, "=SUMPRODUCT((A2:A4=9)*1)": 0, '=LEN("")': 0,
    "=IF(A2>0,0,A1)": 0, "=OFFSET(A2,0,0)-1": 0, "=MAX(0,-1)": 0, "=IFERROR(1/0,0)": 0,
}  # fmt: skip


def write_formulas(book: xlsxwriter.Workbook) -> None:
    """A sheet of formulas, with a chart, a text box and filtered rows."""
    formulas = book.add_worksheet("Formulas")
    book.define_name("rate", "=0.5")
    book.define_name("some", "=Formulas!$A$2:$A$4")
    formulas.write_row(0, 0, ["n", "result"])
    for n, (formula, result) in enumerate(FORMULAS.items(), 1):
        formulas.write(n, 0, 1)
        formulas.write_formula(n, 1, formula, None, result)
    formulas.write_array_formula(n + 1, 1, n + 1, 1, "{=SUM(A2:A4*0)}", None, 0)
    chart = book.add_chart({"type": "line"})
    chart.add_series({"values": "=Formulas!$A$2:$A$6"})
    formulas.insert_chart("D2", chart)
    formulas.insert_textbox("D20", "no cell")
    formulas.autofilter("A1:B6")
    formulas.set_row(3, None, None, {"hidden": True})


def write_workbook(path: Path, *, since_1904: bool) -> None:
    """Sheets: hidden, all kinds of cells, the same row 300 times, cells that begin far from A1."""
    book = xlsxwriter.Workbook(path, {"date_1904": since_1904})
    styles = {code: book.add_format({"num_format": code}) for codes in FORMATS.values() for code in codes}
    bold = book.add_format({"bold": True})
    book.add_worksheet("Hidden one").hide()
    sheet = book.add_worksheet("Daten & mehr")
    sheet.activate()
    heads = "id text date datetime time duration yes number money error formula joined rich link mixed late"
    sheet.write_row(0, 0, heads.split())
    for n in range(1, 41):
        style = {column: styles[codes[n % len(codes)]] for column, codes in FORMATS.items()}
        day = dt.datetime(2024, 2, 28) + dt.timedelta(days=n * 37 - 700)
        sheet.write_number(n, 0, n)
        sheet.write_string(n, 1, TEXTS[n % len(TEXTS)])
        sheet.write_datetime(n, 2, day, style[2])
        sheet.write_datetime(n, 3, day + dt.timedelta(seconds=n * 3607, milliseconds=n * 250 % 1000), style[3])
        sheet.write_number(n, 4, (n * 3607) % 86400 / 86400, style[4])
        sheet.write_number(n, 5, (n * 3607 + 86400 * (n % 3)) / 86400, style[5])
        sheet.write_boolean(n, 6, n % 3 == 0)
        sheet.write_number(n, 7, NUMBERS[n % len(NUMBERS)])
        sheet.write_number(n, 8, n * 1.1, style[8])
        formula = list(ERRORS)[n % len(ERRORS)]
        sheet.write_formula(n, 9, formula, None, ERRORS[formula])
        sheet.write_formula(n, 10, f"=A{n + 1}*2", None, n * 2)
        sheet.write_formula(n, 11, f'=A{n + 1}&"!"', None, f"{n}!")
        sheet.write_rich_string(n, 12, "plain ", bold, "bold", " tail")
        sheet.write_url(n, 13, f"https://example.org/{n}", string=f"link {n}")
        if n % 4 == 3:
            sheet.write_datetime(n, 14, day, style[2])
        elif n % 4:
            sheet.write(n, 14, [None, 5, "five"][n % 4])
    sheet.write(20, 15, "one")
    sheet.write_comment("A2", "a note")
    sheet.set_row(5, None, None, {"hidden": True})
    sheet.set_column(7, 8, None, None, {"hidden": True})
    sheet.merge_range(45, 0, 45, 3, "merged below")
    same = book.add_worksheet("Same")
    for n in range(301):
        same.write_row(n, 0, [1, "same", 2.5] if n else ["a", "b", "c"])
    write_formulas(book)
    gaps = book.add_worksheet("Gaps")
    for row, column, value in ((4, 3, "top"), (4, 6, "far"), (5, 3, 1), (9, 3, 2), (9, 6, "x")):
        gaps.write(row, column, value)
    book.close()


def look(path: Path, sheet: str) -> dict[str, Any]:
    with reading(path, sheet=sheet) as source:
        return {
            "cells": read_cells(source), "hidden": (source.cut.hidden_columns, source.hidden_rows),
            "merges": source.cut.merges, "header": source.header.columns,
            "sheets": [(each.name, each.kind, each.visibility) for each in source.workbook.sheets],
        }  # fmt: skip


def alike(wanted: tuple[str, Any] | None, found: tuple[str, Any] | None) -> bool:
    if wanted == found or wanted is None or found is None or wanted[0] != found[0]:
        return wanted == found
    if wanted[0] == "number":  # LibreOffice writes 15 digits
        return math.isclose(wanted[1], found[1], rel_tol=1e-14)
    return wanted[0] == "datetime" and abs(wanted[1] - found[1]) < dt.timedelta(milliseconds=2)


@pytest.mark.skipif(SOFFICE is None, reason="LibreOffice is not installed (apt-get install libreoffice-calc-nogui)")
def test_same_cells_in_every_format_that_libreoffice_writes(tmp_path: Path) -> None:
    """Of formulas that it did not calculate itself, it writes 0 for a text into .xls: that is no result."""
    books = [tmp_path / "since1900.xlsx", tmp_path / "since1904.xlsx"]
    for book in books:
        write_workbook(book, since_1904="1904" in book.name)
    for form in ("ods", "xls"):
        command = [SOFFICE, f"-env:UserInstallation=file://{tmp_path}/profile", "--headless", "--convert-to", form]
        subprocess.run([*command, "--outdir", tmp_path, *books], check=True, capture_output=True, timeout=200)
        for book in books:
            for sheet in ("Daten & mehr", "Same", "Formulas", "Gaps"):
                wanted, found = look(book, sheet), look(book.with_suffix(f".{form}"), sheet)
                cells, others = wanted.pop("cells"), found.pop("cells")
                if form == "xls" and sheet == "Daten & mehr":
                    cells |= {(row, 11): cell for row in range(2, 42) if (cell := others[row, 11])[0] == "formula"}
                differ = {at: (cells.get(at), others.get(at)) for at in cells | others}
                assert {at: both for at, both in differ.items() if not alike(*both)} == {}, (form, sheet)
                assert found == wanted
