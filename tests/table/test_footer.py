"""Rows that are no data: totals, subtotals, remarks, rows that only look filled. Sheets are read, not loaded."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import openpyxl
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.rawbook import formula, inline, number, row, write_rows
from support.reading import reading

from importer.cli.render import describe_table
from importer.errors import SheetError, UsageError
from importer.footer.row_forms import find_forms, without_chance
from importer.footer.row_marks import _MAY_BE_LABEL, _is_total_label, _labels_beginning, _labels_ending
from importer.footer.total_words import ALONE, ONLY_TOTALS, ONLY_TOTALS_CJK, TOTALS, normalize_label
from importer.table_options import parse_rows

if TYPE_CHECKING:
    from pathlib import Path

HEADER = ["key", "day", "amount"]
DAY = datetime(2024, 1, 1)
BODY = [[f"k{n}", datetime(2024, 1, n), n * 1.5] for n in range(1, 11)]
AMOUNTS = [[f"k{n}", f"{n:02d}.01.2024", f"1.0{n:02d},50"] for n in range(1, 11)]
NUMBERED = ["kind", "price", "place", "rate"]
NUMBERS = [[7.5, 3, 2, 9], [4, 8, 1.5, 6], [2, 2, 7, 1]]
PAIRS = [["a", "b"], ["x", 1], ["y", 2], ["z", 3]]

#: Rows of a sheet; those that are left out; those that are loaded with a warning.
CASES: dict[str, tuple[list[list[Any]], list[int], list[int]]] = {
    "no footer": ([HEADER, *BODY], [], []),
    "a total with a label": ([HEADER, *BODY, ["Total", None, 82.5]], [12], []),
    "a total that is not the sum": ([HEADER, *BODY, ["Total", None, 99.0]], [12], []),
    "a total in German": ([HEADER, *BODY, ["Summe", None, 82.5]], [12], []),
    "a total in Japanese": ([HEADER, *BODY, ["合計", None, 82.5]], [12], []),
    "a total with the label in the middle": ([HEADER, *BODY, [None, "Gesamt:", 82.5]], [12], []),
    "a total after a blank row": ([HEADER, *BODY, [], ["Grand total", None, 82.5]], [13], []),
    "a sum without a label": ([HEADER, *BODY, [None, None, 82.5]], [12], []),
    "a number without a label that is no sum": ([HEADER, *BODY, [None, None, 82.25]], [], []),
    "totals and remarks": ([HEADER, *BODY, [], ["Total", None, 82.5], [], ["Source: x"], ["All good."]], [13, 15, 16], []),
    "remarks": ([HEADER, *BODY, [], ["Source: the office"], ["Figures without tax"]], [13, 14], []),
    "remarks that begin as such, without a blank row": ([HEADER, *BODY, ["* preliminary"], ["by phone"]], [], [12, 13]),
    "remarks without a blank row and after one": ([HEADER, *BODY, ["Number of rows: 10"], [], ["Source: x"]], [14], [12]),
    "a remark without a blank row": ([HEADER, *BODY, ["k11"]], [], []),
    "subtotals": ([HEADER, *BODY[:3], ["Subtotal", None, 9.0], *BODY[3:6], ["Subtotal", None, 22.5], ["Total", None, 31.5]], [5, 9, 10], []),
    "totals of groups": ([HEADER, *BODY[:3], ["North total", None, 9.0], *BODY[3:6], ["South total", None, 22.5]], [5, 9], []),
    "totals of groups of one row": ([["a", "b", "n"], ["x", "p", 1], ["x total", None, 1], ["y", "p", 4], ["y", "q", 5], ["y total", None, 9], ["z", "r", 2], ["z total", None, 2], ["Grand total", None, 12]], [3, 6, 8, 9], []),
    "totals of groups as LibreOffice writes them": ([["a", "b", "n"], ["x", "p", 1], ["x", "q", 2], ["x Sum", None, 3], ["y", "p", 4], ["y Result", None, 4], ["Grand Sum", None, 7]], [4, 6, 7], []),
    "sums of groups without a label": ([["a", "b", "n"], ["x", "p", 101], ["x", "q", 202], [None, None, 303], ["y", "p", 404], ["y", "q", 505], [None, None, 909], [None, None, 1212]], [4, 7, 8], []),
    "small sums without a label": ([["a", "n"], ["x", 1], ["y", 0], [None, 1], ["z", 0], ["x", 1], [None, 1], ["y", 1], ["x", 1], [None, 2]], [], [4, 7, 10]),
    "numbers beside zeros": ([["a", "n"], ["x", 9.99], ["y", 0], [None, 9.99], ["z", 19.99], ["x", 0], [None, 19.99], ["z", 0], ["x", 9.99], [None, 9.99]], [], [4, 7, 10]),
    "a name that ends like a total, and the same number again": ([["id", "test", "n"], ["k1", "pH", 7], [None, "Lead result", 7], ["k3", "Lump sum", 3], ["k4", "Copper", 5]], [], [3]),
    "the same with a total of all": ([["id", "test", "n"], ["k1", "pH", 7], [None, "Lead result", 7], ["k3", "Lump sum", 3], ["k4", "Copper", 5], [None, "Total", 22]], [6], [3]),
    "two sums without a label": ([["a", "b", "n"], ["x", "p", 1], ["x", "q", 2], [None, None, 3], ["y", "p", 4]], [], [4]),
    "rows without a key of which one is a sum": ([["a", "b", "n"], ["x", "p", 1], ["x", "q", 2], [None, None, 3], ["y", "p", 4], [None, None, 5]], [], []),
    "headings of groups": ([["a", "b", "n"], ["Fruit"], ["x", "p", 1], ["y", "q", 2], ["Other"], ["z", "r", 4]], [], [2, 5]),
    "headings of groups, with totals and a remark": ([["a", "b", "n"], ["Fruit"], ["x", "p", 1], ["y", "q", 2], ["Total", None, 3], ["Other"], ["z", "r", 4], ["Total", None, 4], [], ["Source: x"]], [5, 8, 10], [2, 6]),
    "a name at the end after what looks like a heading": ([["a", "b", "n"], ["Fruit"], ["x", "p", 1], ["Other"], ["y", "q", 2], ["More"], ["Rest"]], [], [2, 4, 6]),
    "a name at the end after what may be a sum": ([["a", "b", "n"], ["x", "p", 1], ["y", "q", 2], [None, None, 3], ["Rest"]], [], [4, 5]),
    "names without anything else": ([["a", "b", "n"], ["x", "p", 1], ["Fruit"], ["y", "q", 2], ["Other"], ["z", "r", 4]], [], []),
    "two names without anything else in a row": ([["a", "b", "n"], ["Fruit"], ["Other"], ["y", "q", 2], ["More"], ["z", "r", 4]], [], []),
    "two columns, subtotals of one row": ([["a", "n"], ["x", 1], ["y", 2], ["Subtotal", 3], ["z", 4], ["Subtotal", 4], ["Grand total", 7]], [4, 6, 7], []),
    "names that end like totals": ([["test", "when", "n"], ["Final result", DAY, 5], ["Lump sum", DAY, 5], ["Zero sum", None, 7], ["Other", DAY, 8]], [], []),
    "two columns and their sum": ([*PAIRS, ["Total", 6]], [5], []),
    "two columns and another number": ([*PAIRS, ["Total", 7]], [], [5]),
    "a total of amounts in texts": ([HEADER, *AMOUNTS, ["Total", None, "12.345,67"]], [12], []),
    "a total of amounts in texts, with more words": ([HEADER, *AMOUNTS, ["Total des mouvements", None, "12 345,67 €"]], [], [12]),
    "a total of amounts in texts and numbers": ([["key", "day", "a", "b"], *[[*line, 1.0] for line in AMOUNTS], ["Summe", None, "1,00", 10.0]], [12], []),
    "a subtotal of amounts in texts": ([HEADER, *AMOUNTS[:4], ["Zwischensumme", None, "1.000,00"], *AMOUNTS[4:]], [6], []),
    "a company named Total with an id": ([["name", "id", "town"], *[["a", f"10{n}", "b"] for n in range(9)], ["Total", "1009", None]], [], []),
    "a company named Total with an amount": ([HEADER, *AMOUNTS, ["Total SE", "02.01.2024", "5,00"]], [], []),
    "a header above every two rows of numbers": ([["n", "m"], [1, 2], [2, 3], ["n", "m"], [3, 4], [4, 5], ["n", "m"], [5, 6]], [4, 7], []),
    "a subtotal and a total in French, in other spellings": ([["a", "n"], ["x", 1], ["y", 2], ["Sous total", 3], ["z", 4], ["w", 5], ["SOUS-TOTAL", 9], ["TOTAL GENERAL", 12]], [4, 7, 8], []),
    "subtotals of a pivot table in German": ([["a", "b", "n"], ["x", "p", 1], ["x", "q", 2], ["x Ergebnis", None, 3], ["y", "p", 4], ["y", "q", 5], ["y Ergebnis", None, 9], ["Gesamtergebnis", None, 12]], [4, 7, 8], []),
    "totals with the signs of SAP": ([HEADER, *AMOUNTS[:3], ["*", None, "306,50"], *AMOUNTS[3:6], ["*", None, "315,50"], ["**", None, "622,00"]], [9, 10], [5]),
    "a total with a sign for sums": ([HEADER, *BODY, ["Σ", None, 82.5]], [12], []),
    "a star before a note": ([HEADER, *BODY, ["*new", None, 5.0], *BODY], [], []),
    "a star that marks a row": ([["mark", "name", "n"], *[[None, f"a{n}", n] for n in range(9)], ["*", "b", 5], [None, "c", 6]], [], []),
    "a mean": ([["key", "n", "m"], *[[f"k{n}", n, n * 2] for n in range(1, 10)], ["Mittelwert", 5, 10]], [], [11]),
    "a mean and extremes": ([HEADER, *BODY, ["Average", None, 8.25], ["Min", None, 1.5], ["Max", None, 15.0]], [], [12, 13, 14]),
    "names that begin like extremes": ([["key", "n", "m"], *[[f"k{n}", n, n * 2] for n in range(1, 10)], ["Maximilian", 5, 10]], [], []),
    "a mean of a kind": ([["key", "n", "m"], *[[f"k{n}", n, n * 2] for n in range(1, 10)], ["Weighted average", 5, None]], [], [11]),
    "a closing balance": ([HEADER, *BODY, ["Closing balance", None, 900.5]], [], [12]),
    "an opening balance": ([HEADER, ["Saldo", None, 900.5], *BODY], [], [2]),
    "tax between two totals": ([HEADER, *BODY, ["Zwischensumme", None, 82.5], ["MwSt 20%", None, 16.5], ["Gesamtbetrag", None, 99.0]], [12, 14], []),
    "a total in a language that nobody knows": ([HEADER, *BODY, ["Tutti", None, 82.5]], [12], []),
    "a sum with a text that is no word for it": ([["key", "n"], *[[f"k{n}", n * 1.5] for n in range(1, 11)], ["Tutti", 82.5]], [], [12]),
    "no sum, with a text that is no word for it": ([HEADER, *BODY, ["Tutti", None, 82.25]], [], []),
    "few rows and their sum, with a text that is no word for it": ([*PAIRS, ["Tutti", 6]], [], []),
    "a sum after an id": ([["id", "name", "day", "n"], *[[n, f"k{n}", DAY, n * 1.5] for n in range(1, 11)], [55, "x", None, 82.5]], [], []),
    "a count of rows": ([HEADER, *BODY, ["10 records"]], [], [12]),
    "a count of rows after a blank row": ([HEADER, *BODY, [], ["(10 rows)"]], [13], []),
    "a count": ([HEADER, *BODY, ["Anzahl:", None, 10]], [], [12]),
    "a sum that is carried": ([["day", "text", "n"], *[[datetime(2024, 1, n), f"t{n}", n] for n in range(1, 9)], [None, "Übertrag", 36], *[[datetime(2024, 2, n), f"t{n}", n] for n in range(1, 9)]], [10], []),
    "names that begin like a mean": ([["key", "n", "m"], *[[f"k{n}", n, n * 2] for n in range(1, 10)], ["Media Ltd", 5, 10]], [], []),
    "a repeated header": ([HEADER, *BODY[:5], HEADER, *BODY[5:], ["Total", None, 82.5]], [7, 13], []),
    "a repeated header in capitals": ([HEADER, *BODY, ["KEY", "DAY", "AMOUNT"]], [], []),
    "texts that are not the header": ([HEADER, *BODY[:5], ["key", "day", "n/a"], *BODY[5:]], [], []),
    "a product named Total": ([HEADER, ["Total", datetime(2024, 1, 1), 3.0], *BODY], [], []),
    "a customer named Total in the last row": ([HEADER, *BODY, ["Total SE", datetime(2024, 1, 1), 3.0]], [], []),
    "a remark in two columns of numbers": ([["id", "qty"], [1, 2], [3, 4], [], ["Source: ledger"]], [], [5]),
    "a row that is the sum of its like": ([["id", "tags"], [1, "a"], [2, "b"], [3, None]], [], []),
    "amounts that sum by chance": ([["name", "n"], ["a", 5], ["b", 5], [None, 10]], [], [4]),
    "two equal rows": ([["name", "n", "m"], ["a", 5, 7], [None, 5, 7]], [], []),
    "zeros": ([["name", "n"], *[["a", 0]] * 6, [None, 0]], [], []),
    "zeros and two equal rows": ([["name", "n"], *[["a", 0]] * 6, ["b", 100], [None, 100]], [], [9]),
    "one column": ([["n"], [1], [2], [3], [6]], [], []),
    "a first column that is often blank": ([["group", "n"], ["a", 100], [None, 20], [None, 30], ["b", 7], [None, 3], [None, 160]], [], []),
    "one row and its total": ([HEADER, BODY[0], ["Total", None, 1.5]], [], [3]),
    "a company named Total without a day": ([HEADER, BODY[0], ["Total SE", None, 3.0], *BODY[1:]], [], [3]),
    "a company whose number is the sum": ([HEADER, *BODY[:3], ["Total SE", datetime(2024, 1, 4), 9.0]], [], [5]),
    "a company in the middle": ([HEADER, *BODY[:3], ["Total", None, 1.0], *BODY[3:]], [], [5]),
    "a company without numbers": ([["name", "town", "n"], *[["a", "b", 1]] * 4, ["Total", None, None]], [], [6]),
    "a total where days are often missing": ([HEADER, *BODY, *[["k", None, 1.0]] * 3, ["Total", None, 5.0]], [], [15]),
    "a total with its currency": ([["k", "day", "cur", "n"], *[["k", line[1], "EUR", 2.5] for line in BODY], ["Total", None, "EUR", 25.0]], [12], []),
    "a name after a blank row": ([["name", "town", "n"], *[["Ann Lee", "Bern", 1]] * 4, [], ["Page"], ["Stan Key"]], [], [7, 8]),
    "an id before a name that is a label": ([["id", "name"], [1, "a"], [2, "b"], [3, "Total"]], [], [4]),
    "an id before a name without a town": ([["id", "name", "town"], [1, "a", "x"], [2, "b", "y"], [3, "Total SE", None]], [], [4]),
    "when it was made, in two cells": ([[*HEADER, "n"], *[[*line, 1] for line in BODY], [], ["Generated:", DAY]], [], [13]),
    "lines for signatures": ([[*HEADER, "n"], *[[*line, 1] for line in BODY], [], ["Approved by:", None, "Checked by:"], ["____", None, "____"]], [], [13, 14]),
    "two cells below a blank row that are no remark": ([[*HEADER, "n"], *[[*line, 1] for line in BODY], [], ["k11", DAY]], [], []),
    "whole rows below a blank row": ([[*HEADER, "n"], *[[*line, 1] for line in BODY], [], ["Note: x", DAY, 1.0, 2]], [], []),
    "a table with gaps and colons": ([["a", "b", "c", "d"], ["x: 1", 2, None, None], [], ["y: 1", None, 3, None], ["z: 2", 3, None, None]], [], []),
    "a long remark": ([["name", "town", "n"], *[["Ann Lee", "Bern", 1]] * 4, [], ["These people were asked by phone"]], [7], []),
    "a remark in a column of numbers": ([["n", "town", "m"], *[[1, "Bern", 1]] * 4, [], ["by phone"]], [7], []),
    "a footnote": ([["name", "town", "n"], *[["Ann Lee", "Bern", 1]] * 4, [], ["* by phone"], ["and by mail"]], [7, 8], []),
    "texts with gaps": ([["task", "owner", "note"], ["a", None, None], [], ["b", None, "c"], ["d", None, None]], [], []),
    "numbers of the columns over numbers": ([NUMBERED, [1, 2, 3, 4], *NUMBERS], [], [2]),
    "numbers of the columns over texts": ([NUMBERED, ["1", "2", "3", "4"], *[["x", "y", "z", "w"], ["w", "z", "y", "x"]] * 3], [], [2]),
    "letters of the columns": ([NUMBERED, ["A", "B", "C", "D"], *[["x", "y", "z", "w"], ["w", "z", "y", "x"]] * 3], [], [2]),
    "numbers of some columns": ([NUMBERED, [1, 2, 3, None, 5], *[[*line, "x"] for line in NUMBERS]], [], [2]),
    "a table of products": ([NUMBERED, [1, 2, 3, 4], [2, 4, 6, 8], [3, 6, 9, 12]], [], []),
    "numbers that count from two": ([NUMBERED, [2, 3, 4, 5], *NUMBERS], [], []),
    "numbers with a gap": ([NUMBERED, [1, 2, 3, 5], *NUMBERS], [], []),
    "numbers further down": ([NUMBERED, NUMBERS[0], [1, 2, 3, 4], *NUMBERS], [], []),
    "words with a blank row": ([["word"], ["total"], ["sum"], [], ["remark"]], [], []),
}  # fmt: skip


def save(path: Path, lines: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    book.save(path / "t.xlsx")
    return path / "t.xlsx"


@pytest.mark.parametrize(("lines", "out", "warned"), CASES.values(), ids=CASES)
def test_rows_that_are_no_data(tmp_path: Path, lines: list[list[Any]], out: list[int], warned: list[int]) -> None:
    with reading(save(tmp_path, lines)) as source:
        assert list(source.data.left_out) == out
        assert [each.row for each in source.edges.footer if each.row not in out] == warned
        assert source.rows == sum(map(bool, lines)) - 1 - len(out)
        cells = sum(v is not None for n in out for v in lines[n - 1])
        assert sum(source.left_out.values()) == cells
        assert any("--footer keep" in note for note in source.notes()) == bool(out)
        assert any("--footer skip" in note for note in source.notes()) == bool(warned)


#: Labels of the last row of a pivot table in the languages of Excel, and of totals in lists.
TOTAL_LABELS = (
    "Grand Total", "Gesamtergebnis", "Total général", "Total general", "Totale complessivo", "Eindtotaal", "Suma końcowa",
    "Total Geral", "Totalsumma", "Hovedtotal", "Totalsum", "Kaikki yhteensä", "Celkový součet", "Celkový súčet", "Végösszeg",
    "Общий итог", "Загальний підсумок", "Genel Toplam", "Γενικό άθροισμα", "総計", "总计", "總計", "총합계", "Skupna vsota",
    "Celkovy soucet", "TOTALE GENERALE", "Summe gesamt", "Total TTC", "Summa", "Razem:", "\uff34\uff2f\uff34\uff21\uff2c", "計", "סך הכל", "Sous total", "Gesamtbetrag", "Nettosumme",
    "Kopā", "Iš viso", "Kokku", "Samtals", "Общо", "Всичко", "รวม", "कुल", "جمع", "Tổng", "總額", "合 计", "합 계", "小　計",
)  # fmt: skip


def test_totals_are_known_in_many_languages(tmp_path: Path) -> None:
    lines: list[list[Any]] = [HEADER]
    for n, label in enumerate(TOTAL_LABELS):
        lines += [[f"k{n}", DAY, 10 + n], [f"m{n}", DAY, 20], [label, None, 30 + n]]
    with reading(save(tmp_path, lines)) as source:
        left_in = set(range(4, len(lines) + 1, 3)) - set(source.data.left_out)
        assert [TOTAL_LABELS[row // 3 - 1] for row in sorted(left_in)] == []
        assert source.rows == 2 * len(TOTAL_LABELS)


LABEL_PARTS = [
    "total", "Sub-Total", "GRAND ", "Gesamt", "Summe", "ИТОГО", "合計", "Ogółem", "Összesen", "somme", "\u017fum", "x", "1",
    "i ", "alt", "\uff33um", "総", "計", "Ergebnis",
    " ", ":", "\n", "\x1c", "* ", "+", "\u00a0", "o\u0302", "u\u0308ber", "trag", "souc", "\u030c", "et", "-", "\uff0a", "\ufb01",
]  # fmt: skip


def is_label_by_all(label: str) -> bool:
    """Return whether a label is one by all words, whatever its first letter."""
    return any(pattern.search(label) for pattern in (_labels_beginning(""), _labels_ending()))


@example(text="総total* * * ")
@given(text=st.lists(st.sampled_from(LABEL_PARTS), max_size=5).map("".join))
def test_no_label_is_overlooked(text: str) -> None:
    """What is searched first, fast and in all texts, finds every text that is a label."""
    found = [is_label_by_all(each) for each in (text, normalize_label(text))]
    assert pl.Series([text]).str.contains(_MAY_BE_LABEL).item() or not any(found)
    assert _is_total_label(text) == found[1]


def test_few_other_texts_are_searched_in_python() -> None:
    """Phones begin with a sign, most names of a Russian or Chinese column with no word for a total."""
    texts = [
        "+47 77 123 27 80",
        "(02) 123",
        "Artur",
        "Ivar",
        "-5,00",
        "#12",
        "Москва",
        "北京市",
        "Ελένη",
        "Łódź",
        "서울",
        "@home",
    ]
    assert not pl.Series(texts).str.contains(_MAY_BE_LABEL).any()


def test_every_word_is_looked_for_in_all_its_spellings() -> None:
    """With signs before it, in all normal forms, its parts joined in any way."""
    texts = []
    for word in (*ONLY_TOTALS, *ONLY_TOTALS_CJK, *TOTALS, *ALONE):
        spelled = {word, word.upper(), *(word.replace(" ", blank) for blank in ("-", "", "\x1c", "\u3000"))}
        forms = [normalize(form, each) for form in ("NFC", "NFD", "NFKD") for each in spelled]
        texts += [before + each for before in ("", "* ", "\u00a0-") for each in forms]
    labels = [text for text in texts if is_label_by_all(normalize_label(text))]
    assert [text for text in texts if _is_total_label(text)] == labels
    assert len(labels) > len(texts) * 0.8
    assert pl.Series(labels).filter(~pl.Series(labels).str.contains(_MAY_BE_LABEL)).to_list() == []


def test_policy(tmp_path: Path) -> None:
    path = save(tmp_path, [*PAIRS, ["Total", 7]])
    for policy, rows in (("keep", 4), ("skip", 3), (None, 4)):
        with reading(path, footer=policy) as source:
            assert source.rows == rows
    with pytest.raises(SheetError, match="row 5: totals") as caught, reading(path, footer="error"):
        pass
    assert "--footer" in str(caught.value.choice)


def test_types_are_those_of_the_data(tmp_path: Path) -> None:
    """The label of a total stands in a column of dates, a remark in one of numbers."""
    lines = [
        ["day", "n", "m"],
        *[[datetime(2024, 1, n), n, n] for n in range(1, 6)],
        ["Total", 15, 15],
        [],
        [None, "by Ann"],
    ]
    with reading(save(tmp_path, lines)) as source:
        assert [set(source.facts[c].kinds) for c in range(3)] == [{"date"}, {"number"}, {"number"}]
        assert source.left_out == {0: 1, 1: 2, 2: 1}
        assert (
            describe_table(source.table_to_dict()) == "table: A1:C6, header row 1, 2 rows left out: totals and remarks"
        )


def test_sums_by_formula(tmp_path: Path) -> None:
    """A sum of the column above is a total whatever it says; a running total, or a sum of the row, is data."""
    lines = row(1, inline("A1", "k"), inline("B1", "n"), inline("C1", "running"), inline("D1", "row"))
    for n in range(2, 12):
        running, across = formula(f"C{n}", f"SUM(B$2:B{n})", "1"), formula(f"D{n}", f"SUM(B{n}:C{n})", "2")
        lines += row(n, inline(f"A{n}", f"k{n}"), number(f"B{n}", n), running, across)
    lines += row(12, formula("B12", "SUBTOTAL(9,B2:B11)", "5"), formula("D12", "SUM(D2:D11)", "20"))
    with reading(write_rows(tmp_path / "f.xlsx", lines)) as source:
        assert list(source.data.left_out) == [12]
        assert source.rows == 10


def test_subtotals_of_excel_in_two_columns(tmp_path: Path) -> None:
    """No cell is missing beside these, and a group may have one row: what the formula is says it."""
    lines, n = row(1, inline("A1", "place"), inline("B1", "n")), 2
    for place, count in (("North", 2), ("South", 1)):
        for k in range(n, n + count):
            lines += row(k, inline(f"A{k}", place), number(f"B{k}", 4))
        sums = formula(f"B{n + count}", f"SUBTOTAL(9,B{n}:B{n + count - 1})", str(4 * count))
        lines += row(n + count, inline(f"A{n + count}", f"{place} Total"), sums)
        n += count + 1
    with reading(write_rows(tmp_path / "f.xlsx", lines)) as source:
        assert list(source.data.left_out) == [4, 6]
    with reading(write_rows(tmp_path / "g.xlsx", lines.replace("SUBTOTAL(9,", "SUM("))) as source:
        assert list(source.data.left_out) == []


def test_rows_without_a_key_that_are_data_do_not_wait_for_the_end() -> None:
    """A window with a mark is not loaded before the end of the sheet is known."""
    keys = [None if n % 20 == 7 else f"k{n}" for n in range(400)]
    frame = pl.DataFrame({"_row": range(2, 402), "0.text": keys, "1.number": [float(n) for n in range(400)]})
    columns = {0: ("text",), 1: ("number",)}
    forms = find_forms(frame, columns, len(frame))
    assert (len(forms), without_chance(frame, columns, forms)) == (20, {})
    total = frame["1.number"].to_list()
    total[27] = sum(total[8:27])
    summed = frame.with_columns(pl.Series("1.number", total))
    assert without_chance(summed, columns, forms) == forms
    assert without_chance(frame, columns, {4: "heading", 9: "heading"}) == {4: "heading", 9: "heading"}
    assert without_chance(frame, columns, {4: "heading", 5: "heading"}) == {}


def test_rows_that_look_blank(tmp_path: Path) -> None:
    """Formulas that return "" down to the last row of a form: blank rows, whose cells are accounted for."""
    lines = row(1, inline("A1", "a"), inline("B1", "b"))
    lines += "".join(row(n, number(f"A{n}", n), inline(f"B{n}", "x")) for n in range(2, 5))
    lines += "".join(row(n, *(formula(f"{c}{n}", "T(1)", "", "str") for c in "AB")) for n in range(5, 40))
    with reading(write_rows(tmp_path / "f.xlsx", lines)) as source:
        assert source.rows == 3
        assert source.left_out == {0: 35, 1: 35}
        assert set(source.facts[0].kinds) == {"number"}


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"rows": (3, 5)}, [3, 4, 5]),
        ({"last_row": 4}, [2, 3, 4]),
        ({"until_blank": True}, [2, 3, 4, 5, 6]),
        ({"rows": (8, 9), "header_rows": (0, 0)}, [8, 9]),
        ({"rows": (1, 2)}, [1, 2]),
    ],
)
@pytest.mark.parametrize("chunk_rows", [None, 1])
def test_rows_that_somebody_gave(
    tmp_path: Path, options: dict[str, Any], rows: list[int], chunk_rows: int | None
) -> None:
    lines = [["a", "b"], *[[n, f"x{n}"] for n in range(2, 7)], [], *[[n, f"x{n}"] for n in range(8, 11)]]
    with reading(save(tmp_path, lines), chunk_rows=chunk_rows, **options) as source:
        assert source.rows == len(rows)
        part = source.edges.parts
        assert (min(p.first_row for p in part if p.rows), max(p.last_row for p in part)) == (rows[0], rows[-1])


WORDS = ["a", "b", "Total SE", "Summer", "Note", "Sum 41", "Gesamtkunst", "Page"]
CELLS = [
    st.integers(0, 12), st.sampled_from([0, 0, 5, 10, 100]), st.sampled_from(WORDS), st.floats(-9, 9).map(lambda v: round(v, 1)),
    st.sampled_from([datetime(2024, 1, n) for n in range(1, 9)]),
]  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> list[list[Any]]:
    """Rows of small tables without totals: columns of one kind, some with gaps, blank rows between."""
    columns = draw(st.lists(st.tuples(st.sampled_from(CELLS), st.booleans()), min_size=1, max_size=4))
    cells = [cell | st.none() if gaps else cell for cell, gaps in columns]
    body = draw(st.lists(st.tuples(*cells).map(list) | st.just([]), min_size=1, max_size=9))
    if draw(st.booleans()):  # ids
        body = [[n, *line] if line else line for n, line in enumerate(body, 1)]
    return [line for line in body if not line or any(v is not None for v in line)]


@settings(max_examples=40)
@given(body=tables())
def test_a_table_without_totals_arrives_whole(tmp_path_factory: pytest.TempPathFactory, body: list[list[Any]]) -> None:
    width = max(map(len, body), default=0) or 1
    path = save(tmp_path_factory.mktemp("t"), [[f"c{n}" for n in range(width)], *body])
    with reading(path, header_rows=(1, 1)) as source:
        assert source.rows == sum(map(bool, body))
        assert not source.left_out


@settings(max_examples=25)
@given(
    rows=st.integers(3, 30), title=st.integers(0, 3), blank=st.integers(0, 2), total=st.booleans(),
    remarks=st.integers(0, 2), note=st.booleans(), chunk_rows=st.sampled_from([None, 7]),
)  # fmt: skip
def test_exactly_the_table_arrives(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int, title: int, blank: int, total: bool, remarks: int, note: bool, chunk_rows: int | None,
) -> None:  # fmt: skip
    """A table with random furniture: title, blank rows, totals, remarks, a note beside."""
    body = [[f"k{n}", datetime(2024, 1, 1 + n % 28), n * 2.5] for n in range(1, rows + 1)]
    above = [["Report"], *[[f"line {n}"] for n in range(title)]][:title] + [[]] * blank
    below: list[list[Any]] = [["Total", None, sum(line[2] for line in body)]] * total
    below += [[]] * bool(remarks) + [["Source: the office"]] * remarks
    lines = [*above, HEADER, *body, *below]
    first = len(above) + 2
    if note:
        lines[first] = [*lines[first], None, "see Ann"]
    with reading(save(tmp_path_factory.mktemp("t"), lines), chunk_rows=chunk_rows) as source:
        assert source.header.last_row == first - 1
        assert source.rows == rows
        assert max(part.last_row for part in source.edges.parts) == first + rows - 1
        assert [c.header for c in source.header.columns][:3] == HEADER


def test_rows_from_one_on(tmp_path: Path) -> None:
    path = save(tmp_path, [NUMBERED, [1, 2, 3, 4], *NUMBERS])
    with reading(path, rows=parse_rows("3-")) as source:
        assert (source.header.last_row, source.rows) == (1, 3)
        assert source.notes() == ["not read as data: 1 row above the first row of the table"]
    for text in ("-3", "3", "3-x"):
        with pytest.raises(UsageError):
            parse_rows(text)
