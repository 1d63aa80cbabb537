"""A random table with random furniture around it: exactly the table arrives, and whatever is left out is said."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import openpyxl
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reading import reading

from importer.cells import spool
from importer.cells.frame import ROW, kinds_of
from importer.cells.text import raw_text

if TYPE_CHECKING:
    import pytest

    from importer.reading.sheet_source import SheetSource

Line = list[Any]
DAY = datetime(2024, 3, 1)
TOWNS = ("Bern", "Rome", "Oslo", "Lyon")
#: Labels, and values made from a row's number; the first is always the key.
COLUMNS: dict[str, tuple[str, Any]] = {
    "name": ("Customer", lambda n: f"Customer {n}"),
    "code": ("Article", lambda n: f"AB-{100 + n}"),
    "town": ("Town", lambda n: TOWNS[n % 4]),
    "day": ("Order date", lambda n: DAY + timedelta(n)),
    "amount": ("Amount", lambda n: n * 12.25),
    "pieces": ("Pieces", lambda n: 3 * n + 1),
    "paid": ("Paid", lambda n: n % 3 == 0),
    "sum": ("Sum", lambda n: f"1.0{n:02d},50"),
}
TITLES = ("Sales of the north", "Report 2024", "Confidential", "All amounts in EUR", "As of 31.01.2024")
REMARKS = ("Source: the office", "* without tax", "Printed on 2024-03-01 by J. Doe", "All amounts in EUR")
TOTALS = ("Total", "Summe", "Gesamt", "TOTAL:", "合計", "Grand total")


class Sheet(NamedTuple):
    """A sheet, the rows that its table has, and how it was made."""

    lines: list[Line]
    table: list[Line]
    below: int


@st.composite
def sheets(draw: st.DrawFn) -> Sheet:
    """Titles above, a table, a total, remarks, a smaller table below or beside; the whole moved down and right."""
    keys = draw(st.sampled_from([["name"], ["code"], ["code", "name"]]))
    others = draw(
        st.lists(
            st.sampled_from(["town", "day", "amount", "pieces", "paid", "sum"]), min_size=1, max_size=4, unique=True
        )
    )
    names = [*keys, *others, *([] if {"day", "amount", "pieces", "paid"} & set(others) else ["amount"])]
    rows = draw(st.integers(5, 24))
    body = [[COLUMNS[name][1](n) for name in names] for n in range(1, rows + 1)]
    for n in draw(st.sets(st.integers(0, rows - 1), max_size=rows // 5)):
        body[n][-1] = None
    header = [COLUMNS[name][0] for name in names]
    lines: list[Line] = []
    for title in draw(st.lists(st.sampled_from(TITLES), max_size=3, unique=True)):
        lines += [[title]] + [[]] * draw(st.integers(0, 1))
    lines += [header, *body]
    if draw(st.booleans()) and {"amount", "pieces"} & set(names):
        lines.append(_total(draw(st.sampled_from(TOTALS)), names, body))
    if draw(st.booleans()):
        lines += [
            [],
            *[[remark] for remark in draw(st.lists(st.sampled_from(REMARKS), min_size=1, max_size=2, unique=True))],
        ]
    below = draw(st.integers(0, 3))
    if below:
        lines += [
            [],
            ["Code", "Rate", "Valid from"],
            *[[f"C{n}", n / 8, DAY + timedelta(n)] for n in range(1, below + 1)],
        ]
    right, down = draw(st.integers(0, 2)), draw(st.integers(0, 3))
    return Sheet([*[[]] * down, *[[None] * right + line for line in lines]], body, below)


def _total(label: str, names: list[str], body: list[Line]) -> Line:
    sums = [
        sum(line[n] or 0 for line in body) if name in {"amount", "pieces"} else None for n, name in enumerate(names)
    ]
    return [label, *sums[1:]]


def data_of(source: SheetSource) -> list[list[str | None]]:
    """The data rows as texts, without columns that are empty in all of them."""
    columns = [c.index for c in source.header.columns]
    rows: list[list[str | None]] = []
    for window in source.windows:
        frame = source.data.of(spool.read(window.path)).sort(ROW)
        rows += [
            list(row)
            for row in frame.select(raw_text(c, kinds_of(frame.columns, c)).alias(str(c)) for c in columns).iter_rows()
        ]
    return rows


def as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.date().isoformat()
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@settings(max_examples=25)
@given(sheet=sheets())
def test_exactly_the_table_arrives(tmp_path_factory: pytest.TempPathFactory, sheet: Sheet) -> None:
    made = openpyxl.Workbook()
    for number, line in enumerate(sheet.lines, 1):
        for column, value in enumerate(line, 1):
            if value is not None:
                made.active.cell(number, column, value)
    path = tmp_path_factory.mktemp("t") / "t.xlsx"
    made.save(path)
    with reading(path) as source:
        wanted = [[as_text(value) for value in line] for line in sheet.table]
        found, notes = data_of(source), " ".join(source.notes())
        assert found[: len(wanted)] == wanted, (notes, sheet.lines)
        more = found[len(wanted) :]
        assert not more or "may be no data" in notes or "may be a table of its own" in notes, (more, notes)
        assert bool(source.cut.other_tables) <= bool(sheet.below)
