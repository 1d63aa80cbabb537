"""What distinct texts are: numbers in any notation, dates by one pattern, booleans, ids that stay texts."""

from __future__ import annotations

from datetime import date, datetime, time
from itertools import product
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from importer.cells.temporal import instants
from importer.proposals import dates
from importer.proposals.dates import may_be_date, propose_date
from importer.proposals.model import Proposal, Question
from importer.proposals.numbers import may_be_number, propose_number
from importer.proposals.words import missing_words, propose_boolean


def series(texts: Any) -> pl.Series:
    return pl.Series(list(texts), dtype=pl.String)


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["12,50", "3", "1.234,5"], "number", [12.5, 3, 1234.5]),
        (["1,234", "1.5"], "number", [1234, 1.5]),
        (["1.5", "2.25"], "number", [1.5, 2.25]),
        (["5.10", "6.20"], "number", [5.1, 6.2]),
        (["1,234", "2,345,678"], "integer", [1234, 2345678]),
        (["5", "-12"], "integer", [5, -12]),
        (["1 234,5", "2"], "number", [1234.5, 2]),
        (["1\N{NO-BREAK SPACE}234", "2"], "integer", [1234, 2]),
        (["1\N{NARROW NO-BREAK SPACE}234,5", "2"], "number", [1234.5, 2]),
        (["1'234.50", "2"], "number", [1234.5, 2]),
        (["1\N{RIGHT SINGLE QUOTATION MARK}234.50", "2"], "number", [1234.5, 2]),
        (["5.359,57-", "2,0"], "number", [-5359.57, 2]),
        (["(12.50)", "3.00"], "number", [-12.5, 3]),
        (["\N{MINUS SIGN}5", "6"], "integer", [-5, 6]),
        (["€ 5", "€ 6,50"], "number", [5, 6.5]),
        (["1.234,50 EUR", "-2,00 EUR"], "number", [1234.5, -2]),
        (["CHF 5.-", "CHF 6.50"], "number", [5, 6.5]),
        (["$1,234.50", "($2.00)"], "number", [1234.5, -2]),
        (["12%", "3.5 %"], "number", [0.12, 0.035]),
        (["1e5", "3"], None, None),  # rather a name than a number
        (["5 €", "6 $"], None, None),  # of two currencies only the amounts would be left
        (["5 €", "6"], None, None),
        (["5 kg", "6 kg"], None, None),  # the unit would be lost
        (["007", "12"], None, None),
        (["0049", "0050"], None, None),
        (["10115", "20095"], None, None),  # one length: ids
        (["1234567890123456", "1"], None, None),
        (["+4930123456", "+494012345678"], None, None),  # telephone numbers
        (["+49 301 234 567", "5"], None, None),
        (["+5", "-1 234,50"], "number", [5, -1234.5]),
        (["+1 234 567,50", "2"], "number", [1234567.5, 2]),
        (["732 829 320", "732 829 338"], None, None),  # one length: ids
        (["1 234 567", "7 654 321"], "integer", [1234567, 7654321]),
        (
            ["1\N{NO-BREAK SPACE}234,5", "12 345,6", "7"],
            "number",
            [1234.5, 12345.6, 7],
        ),  # nobody sees which space it is
        ([".5", "-.25", "1.0"], "number", [0.5, -0.25, 1]),
        (["Rs.5", "Rs. 1,234.50"], "number", [5, 1234.5]),
        (["5 грн.", "1 234,50 грн."], "number", [5, 1234.5]),
        # A sign that is no currency has a meaning of its own.
        *(
            (texts, None, None)
            for texts in (
                ["<5", "<7"],
                [">5", ">7"],
                ["5+", "80+"],
                ["5+", "7"],
                ["±5", "±3"],
                ["~5", "~3"],
                ["5°", "7°"],
                ["#5", "#7"],
                ["5‰", "7‰"],
                ["5'", "7'"],
                ['5"', '7"'],
                ["5*", "7*"],
                ["\N{EN DASH}5", "7"],
                ["\N{EM DASH}5", "7"],
                ["5\N{EN DASH}", "7"],
                ["/5", "/6"],
            )
        ),
        (["5", "abc"], None, None),
        (["1.2.3", "4.5.6"], None, None),
        (["1,2345", "1.5"], None, None),
        (["12,34", "1,234,567"], None, None),
        (["5 - 7", "8"], None, None),
        ([""], None, None),
    ],
)
def test_numbers(texts: list[str], kind: str | None, values: list[float] | None) -> None:
    found = propose_number(series(texts), None)
    if kind is None:
        assert found is None
        return
    assert isinstance(found, Proposal)
    assert found.type == kind
    assert found.converted(series(texts)).to_list() == values


@pytest.mark.parametrize("texts", [["1,234", "5,678"], ["1.234", "5"], ["10.000", "20.000"], ["-1,000"]])
def test_numbers_of_two_meanings_are_a_question(texts: list[str]) -> None:
    found = propose_number(series(texts), None)
    assert isinstance(found, Question)
    assert "no other cell decides" in found.what
    assert "--decimal" in found.choice
    point, comma = propose_number(series(texts), "."), propose_number(series(texts), ",")
    assert isinstance(point, Proposal)
    assert isinstance(comma, Proposal)
    assert point.converted(series(texts)).to_list() != comma.converted(series(texts)).to_list()


@pytest.mark.parametrize(
    ("texts", "kind", "first"),
    [
        (["2024-01-05", "2024-12-31"], "date", date(2024, 1, 5)),
        (["2024-1-5"], "date", date(2024, 1, 5)),
        (["01.02.2024"], "date", date(2024, 2, 1)),
        (["1.2.24", "13.4.24"], "date", date(2024, 2, 1)),
        (["01/02/2024", "13/02/2024"], "date", date(2024, 2, 1)),
        (["01/02/2024", "02/13/2024"], "date", date(2024, 1, 2)),
        (["5 Jan 2024", "6 Mar 2024"], "date", date(2024, 1, 5)),
        (["January 5, 2024"], "date", date(2024, 1, 5)),
        (["05-Jan-24"], "date", date(2024, 1, 5)),
        (["2024-01-05 10:30", "2024-01-06 11:00"], "datetime", datetime(2024, 1, 5, 10, 30)),
        (["2024-01-05T10:30:15.250"], "datetime", datetime(2024, 1, 5, 10, 30, 15, 250000)),
        (["13.02.2024 9:05"], "datetime", datetime(2024, 2, 13, 9, 5)),
        (["2/13/2024 9:05 PM"], "datetime", datetime(2024, 2, 13, 21, 5)),
        (["10:30", "23:59"], "time", time(10, 30)),
        (["9:30 PM"], "time", time(21, 30)),
        (["31.02.2024"], None, None),
        (["2024-01-05T10:00:00Z", "2024-01-05 10:00+02:00"], "datetime", datetime(2024, 1, 5, 10)),
        (["2024-01-05T10:00:00Z", "2024-01-05 10:00"], None, None),
        (["2024年1月5日", "2024年12月31日"], "date", date(2024, 1, 5)),
        (["2024년 1월 5일"], "date", date(2024, 1, 5)),
        (["01.02.2024", "2024-02-01"], None, None),  # not by one pattern
        (["13/01/2024", "01/13/2024"], None, None),
        (["10.30"], None, None),
        (["2024"], None, None),
        (["1.2.3.4"], None, None),
        (["Room 5.12.2024"], None, None),
    ],
)
def test_dates(texts: list[str], kind: str | None, first: Any) -> None:
    found = propose_date(series(texts), None)
    if kind is None:
        assert found is None
        return
    assert isinstance(found, Proposal)
    if found.pg_type == "timestamptz":
        assert pl.select(instants(pl.lit(series(texts)))).item(0, 0).replace(tzinfo=None) == first
        return
    assert (found.type, found.converted(series(texts))[0]) == (kind, first)


def test_every_pattern_comes_into_question_for_a_text_that_it_writes() -> None:
    """Only patterns whose outline is the text's are tried: there are a thousand of them."""
    forms = [
        *(day for _, day in dates._DAYS),
        *(f"{day}{t}{clock}" for (_, day), t, clock in product(dates._DAYS, dates._BETWEEN, dates._CLOCKS)),
        *dates._TIMES,
    ]
    assert len(set(forms)) > 900
    moment = datetime(2024, 5, 7, 9, 8, 3, 4)
    for form in forms:
        found = [proposal for _, proposal in dates._proposals(moment.strftime(form))]
        assert form in {proposal.format for proposal in found} or any(form in p.what for p in found), form


@pytest.mark.parametrize("texts", [["01/02/2024", "03/04/2024"], ["01/01/2024"], ["01-02-03"], ["1/2/2024 10:00"]])
def test_order_of_day_and_month_is_a_question(texts: list[str]) -> None:
    found = propose_date(series(texts), None)
    assert isinstance(found, Question)
    assert found.choice.startswith("--date-order dmy or mdy")
    for order, month in (("dmy", 2), ("mdy", 1)):
        decided = propose_date(series(texts), order)
        assert isinstance(decided, Proposal)
        assert texts[0] == "01/01/2024" or decided.converted(series(texts))[0].month == month


def test_booleans_need_both_words_of_a_pair() -> None:
    found = propose_boolean(series(["Ja", "nein", "JA"]))
    assert found is not None
    assert found.options == {"trueValues": ["JA", "Ja"], "falseValues": ["nein"]}
    assert found.converted(series(["JA", "nein"])).to_list() == [True, False]
    for texts in (["yes"], ["yes", "nein"], ["yes", "no", "maybe"], ["1", "0"]):
        assert propose_boolean(series(texts)) is None


def test_words_for_a_missing_value() -> None:
    texts = ["n/a", "K.A.", " ", "\N{EM DASH}", " $ - ", "$ 5", "nail", "-5", "Unknown"]
    assert missing_words(series(texts)) == ["n/a", "K.A.", " ", "\N{EM DASH}", " $ - ", "Unknown"]


@given(
    st.lists(
        st.text(alphabet="0123456789.,-' %€()x+<\N{EN DASH}", min_size=1, max_size=9),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_no_number_is_made_of_other_digits(texts: list[str]) -> None:
    """Whatever is proposed: the digits of the value are those of the text, and the sign is seen in it."""
    found = propose_number(series(texts), None)
    if not isinstance(found, Proposal):
        return
    for text, value in zip(texts, found.converted(series(texts)).to_list(), strict=True):
        digits = "".join(c for c in text if c.isdigit()).lstrip("0")
        shown = f"{abs(value) * (100 if 'excel' in found.options else 1):.15g}".replace(".", "").lstrip("0")
        assert shown.rstrip("0") == digits.rstrip("0")
        assert (value < 0) == (
            any(c in text for c in "-(") and bool(digits) and not text.rstrip().endswith((",-", ".-"))
        )


@pytest.mark.parametrize("texts", [["1:2", "3:4"], ["10:30", "4:3"], ["01.02.2024 8:5", "02.02.2024 8:30"]])
def test_minutes_have_two_digits(texts: list[str]) -> None:
    """`4:3` is the shape of a picture, not three minutes past four."""
    assert propose_date(series(texts), None) is None


PARTS = [
    "1", "12", "2024", "07", "5", "٣", " ", "  ", ".", ",", "-", "/", ":", "'", "+", "(", ")", "T", "Z", "%", "€", "$",
    "EUR", "euro", "грн.", "kr", "x", "kg", "CHF ", "Mar", "March", "Wednesday", "Sep", "PM", "am", "年", "月", "日", "00",
    "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}", "\n",
]  # fmt: skip


@example(text="Wednesday, September 12, 2024")
@example(text="2024年3月12日")
@example(text=" 10:30 PM")
@example(text="2024-03-01T10:30+02:00")
@example(text="-1 234,50 грн.")
@given(text=st.lists(st.sampled_from(PARTS), min_size=1, max_size=9).map("".join))
def test_no_value_is_overlooked(text: str) -> None:
    """What is seen of a text at a glance excludes no value: a column is looked at closely if its first texts pass."""
    assert may_be_number(text) or propose_number(series([text]), None) is None
    assert may_be_date(text) or propose_date(series([text]), None) is None
