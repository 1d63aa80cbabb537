"""Sheets whose header rows are known, of the kinds that people make: what header detection is measured on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Line = list[Any]
DAY = datetime(2024, 3, 1)


@dataclass(frozen=True)
class Labelled:
    """A sheet and its header.

    Attributes:
        name: the kind of sheet, and which of the kind.
        lines: its rows from row 1 on; an empty list is a blank row.
        header: first and last header row; (0, 0) if it has none.
        merges: merged ranges.
        data: first row of data.
    """

    name: str
    lines: tuple[Line, ...]
    header: tuple[int, int]
    merges: tuple[str, ...] = ()

    @property
    def data(self) -> int:
        return self.header[1] + 1


#: Tables: header, and rows made from a number.
TABLES: dict[str, tuple[Line, Any]] = {
    "orders": (["Order", "Customer", "Date", "Amount"], lambda n: [1000 + n, f"Customer {n}", DAY + timedelta(n), 9.5 * n]),
    "people": (["First name", "Last name", "Age", "City"], lambda n: [NAMES[n % 9], NAMES[(n * 5 + 2) % 9] + "son", 20 + n, CITIES[n % 4]]),
    "parts": (["SKU", "Description", "Price", "In stock"], lambda n: [f"AB-{100 + n}", f"Part for {NAMES[n % 9]}", n / 4, n % 2 == 0]),
    "texts": (["Name", "City", "Remark"], lambda n: [NAMES[n % 9], CITIES[n % 4], f"see {NAMES[(n + 1) % 9]} in {CITIES[(n + 2) % 4]}"]),
    "codes": (["ID", "Country", "Phone", "Mail"], lambda n: [f"{n:05}", ("DE", "FR", "IT")[n % 3], f"+49 30 {55500 + n}", f"{NAMES[n % 9].lower()}@example.org"]),
    "numbers": (["x", "y", "z"], lambda n: [n * 1.5, n * n, -n]),
    "times": (["Shift", "Begin", "End", "Hours"], lambda n: [f"S{n}", time(6 + n % 8), time(14 + n % 8), 8.0]),
    "german": (["Kunden-Nr.", "Straße", "Ort", "Umsatz €"], lambda n: [40000 + n, f"Weg {n}", CITIES[n % 4], 12.5 * n]),
    "japanese": (["番号", "名前", "金額"], lambda n: [n, NAMES[n % 9], 100 * n]),
    "long": (["Please name the region that you work in", "How many years have you worked there?", "Would you come back (1-5)?"], lambda n: [CITIES[n % 4], n % 30, 1 + n % 5]),
}  # fmt: skip
NAMES = ("Ann", "Bob", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida")
CITIES = ("Rome", "Oslo", "Bern", "Graz")


def body(name: str, rows: int = 12) -> list[Line]:
    return [TABLES[name][1](n) for n in range(1, rows + 1)]


def labelled_sheets() -> list[Labelled]:
    """All of them."""
    return list(
        itertools.chain(
            plain(), titles(), preambles(), years(), several_rows(), merged(), units(), gaps(), keys_without_title(),
            one_column(), sparse(), headerless(), totals_above(), label_merged_down(), odd_ones(),
        )
    )  # fmt: skip


def plain() -> Iterator[Labelled]:
    for name, (header, _) in TABLES.items():
        yield Labelled(f"plain {name}", (header, *body(name)), (1, 1))
        yield Labelled(f"two rows of {name}", (header, *body(name, 2)), (1, 1))


def titles() -> Iterator[Labelled]:
    blocks: dict[str, list[Line]] = {
        "title": [["Sales report 2023"]],
        "title and blank": [["Sales report 2023"], []],
        "title, date, blank": [["Sales report"], ["Created", DAY], []],
        "key and value": [["Company", "Shop Ltd"], ["Period", "2023-01 to 2023-12"], ["Currency", "EUR"], []],
        "statement": [["Account", 123456], ["IBAN", "DE00 1234"], ["Balance", 99.5], ["From", DAY], []],
        "numbers above": [[1], [2], []],
        "lines of text": [["This list was made by the office."], ["Do not change it."], ["Questions to Ann."], [], []],
        "centred": [[None, "Price list"], [None, "valid from May"], []],
    }
    for (kind, above), name in itertools.product(
        blocks.items(), ("orders", "people", "parts", "texts", "codes", "german")
    ):
        yield Labelled(f"{kind} above {name}", (*above, TABLES[name][0], *body(name)), (len(above) + 1,) * 2)


def preambles() -> Iterator[Labelled]:
    for name, (kind, line) in itertools.product(
        ("orders", "texts", "numbers", "codes"),
        {"lines": lambda n: [f"# line {n} of the preamble"], "pairs": lambda n: [f"parameter {n}", n * 0.5]}.items(),
    ):
        for length in (20, 64):
            above = [line(n) for n in range(length)]
            yield Labelled(f"{length} {kind} above {name}", (*above, TABLES[name][0], *body(name)), (length + 1,) * 2)


def years() -> Iterator[Labelled]:
    def amounts(n: int, count: int) -> Line:
        return [n * 10 + i * 3.5 for i in range(count)]

    for first, last in ((2021, 2023), (2015, 2024), (1995, 1999)):
        span = list(range(first, last + 1))
        lines = [[CITIES[n % 4], *amounts(n, len(span))] for n in range(8)]
        yield Labelled(f"years {first}-{last}", (["Region", *span], *lines), (1, 1))
        yield Labelled(f"years {last}-{first} falling", (["Region", *span[::-1]], *lines), (1, 1))
        yield Labelled(
            f"years {first}-{last} under a title", (["Sales by region"], [], ["Region", *span], *lines), (3, 3)
        )
        yield Labelled(f"years {first}-{last} without a title", ([None, *span], *lines), (1, 1))
        yield Labelled(f"years {first}-{last} alone", (span, *[amounts(n, len(span)) for n in range(8)]), (1, 1))
    months = [datetime(2024, m, 1) for m in range(1, 7)]
    yield Labelled("months", (["Unit", *months], *[[f"U{n}", *amounts(n, 6)] for n in range(9)]), (1, 1))
    yield Labelled(
        "months over texts",
        (["Unit", *months], *[[f"U{n}", *("ok", "late", "ok", "ok", "late", "ok")] for n in range(9)]),
        (1, 1),
    )
    yield Labelled("days", (["Name", *range(1, 32)], *[[name, *[8.0] * 31] for name in NAMES]), (1, 1))
    weeks = [[f"p{n}", n * 5, n * 5 + 3, n * 5 + 1, n * 15 + 4] for n in range(1, 4)]
    yield Labelled("weeks and their total", (["Item", 1, 2, 3, "Total"], *weeks), (1, 1))
    yield Labelled(
        "numbers that count up, of data", (["a", 1, 2, 3, "x"], ["b", 4, 4, 6, "y"], ["c", 3, 8, 9, "x"]), (0, 0)
    )
    yield Labelled(
        "years and texts",
        (
            ["Region", "State", 2021, 2022],
            ["North", "open", 5, 7],
            ["South", "closed", "n/a", "n/a"],
            ["West", "open", 4, 4],
        ),
        (1, 1),
    )
    yield Labelled(
        "half numbers",
        (["Region", "Note", 2021, 2022], *[[CITIES[n % 4], f"note {n}", n * 2.5, n * 3.5] for n in range(7)]),
        (1, 1),
    )
    yield Labelled(
        "zero",
        ([0, "First", "Last", "Age"], *[[n, NAMES[n % 9], NAMES[(n + 2) % 9], 20 + n] for n in range(1, 9)]),
        (1, 1),
    )


def several_rows() -> Iterator[Labelled]:
    lines = [[f"P{n}", n, n * 2.0, n * 3.0, n * 4.0] for n in range(1, 9)]
    two = (["Product", "2022", None, "2023", None], [None, "units", "revenue", "units", "revenue"])
    spans = ("B1:C1", "D1:E1", "A1:A2")
    for title, merges in itertools.product((0, 2), ((), spans[:2], spans)):
        above: list[Line] = [["Sales"], []][:title]
        moved = tuple(move(ref, title) for ref in merges)
        kind = f"two rows, {len(merges)} merges, {title} rows above"
        yield Labelled(kind, (*above, *two, *lines), (title + 1, title + 2), moved)
    three = (
        ["Product", "Europe", None, None, None],
        [None, "2022", None, "2023", None],
        [None, "units", "EUR", "units", "EUR"],
    )
    yield Labelled("three rows", (*three, *lines), (1, 3), ("A1:A3", "B1:E1", "B2:C2", "D2:E2"))
    yield Labelled(
        "three rows under a title", (["Sales"], [], *three, *lines), (3, 5), ("A3:A5", "B3:E3", "B4:C4", "D4:E4")
    )
    repeated = (["", "Q1", "Q1", "Q2", "Q2"], ["Product", "units", "revenue", "units", "revenue"])
    yield Labelled("repeated labels", (*repeated, *lines), (1, 2))
    yield Labelled(
        "years over quarters",
        (["Product", 2022, None, 2023, None], [None, "H1", "H2", "H1", "H2"], *lines),
        (1, 2),
        ("A1:A2", "B1:C1", "D1:E1"),
    )
    quarters = [f"Q{n}" for n in range(1, 5)]
    wide = [[f"P{n}", *[n * 10.5 + i for i in range(8)]] for n in range(1, 9)]
    for kind, first, second in (("years", 2023, 2024), ("texts", "Plan", "Actual")):
        above = [None, first, None, None, None, second]
        yield Labelled(f"{kind} over quarters, not merged", (above, ["KPI", *quarters, *quarters], *wide), (1, 2))
    title = [[None, "Report", None, None, None, "2024"], ["KPI", *quarters, *[f"{q}b" for q in quarters]], *wide]
    yield Labelled("a title in two cells over columns that do not repeat", tuple(title), (2, 2))
    texts = [[NAMES[n % 9], CITIES[n % 4], "b" * n, CITIES[(n + 1) % 4], "c" * n] for n in range(1, 9)]
    yield Labelled(
        "two rows over texts",
        (["Name", "Home", None, "Work", None], [None, "city", "street", "city", "street"], *texts),
        (1, 2),
        spans,
    )


def move(ref: str, down: int) -> str:
    """The range `ref`, so many rows further down."""
    first, last = ref.split(":")
    return ":".join(f"{each[0]}{int(each[1:]) + down}" for each in (first, last))


def merged() -> Iterator[Labelled]:
    for title in (0, 1, 3):
        above: list[Line] = [["Prices"], [], []][:title]
        spans = tuple(move(ref, title) for ref in ("B1:C1", "D1:E1", "F1:G1"))
        lines = [[each, *[20 + n * 10 + i for i in range(6)]] for n, each in enumerate(("Daily", "Weekly", "Monthly"))]
        yield Labelled(
            f"merged sideways, {title} above",
            (*above, ["Term", "Hub A", None, "Hub B", None, "Hub C", None], *lines),
            (title + 1,) * 2,
            spans,
        )
    for name in ("orders", "people", "german"):
        header, width = TABLES[name][0], len(TABLES[name][0])
        span = (f"A1:{'ABCDEFG'[width - 1]}1",)
        yield Labelled(f"title merged over all of {name}", (["Title"], header, *body(name)), (2, 2), span)
        yield Labelled(f"title merged over all of {name}, blank", (["Title"], [], header, *body(name)), (3, 3), span)


def units() -> Iterator[Labelled]:
    lines = [[f"S{n}", n * 1.5, n * 20.0, n + 0.25] for n in range(1, 9)]
    for unit in (
        ["[kg]", "[mm]", "[s]"],
        ["kg", "mm", "s"],
        ["(kg)", "(mm)", "(%)"],
        ["€", "%", "m²"],
        ["kg/m³", "m/s", "°C"],
    ):
        yield Labelled(f"units {unit[0]}", (["Sample", "Mass", "Length", "Time"], [None, *unit], *lines), (1, 2))
    yield Labelled(
        "units under a title",
        (["Series 7"], [], ["Sample", "Mass", "Length", "Time"], [None, "kg", "mm", "s"], *lines),
        (3, 4),
    )


def gaps() -> Iterator[Labelled]:
    for name in ("orders", "people", "parts", "numbers"):
        header = TABLES[name][0]
        yield Labelled(f"blank row below the header of {name}", (header, [], *body(name)), (1, 1))
        yield Labelled(f"blank rows in {name}", (header, *body(name, 4), [], [], *body(name, 5)), (1, 1))
        yield Labelled(f"blank rows above {name}", ([], [], header, *body(name)), (3, 3))
        noted = [
            [*line, None, None, note]
            for line, note in zip(body(name), [None, None, "checked by Ann", "and by Bob", *[None] * 8], strict=True)
        ]
        yield Labelled(f"notes beside {name}", (header, *noted), (1, 1))
        yield Labelled(
            f"note beside the title of {name}",
            (["List", None, None, None, None, "see also: other list"], header, *body(name)),
            (2, 2),
        )
        yield Labelled(f"totals below {name}", (header, *body(name), [], ["Total", None, 99.5]), (1, 1))
        yield Labelled(
            f"remarks below {name}",
            (header, *body(name), [], ["Source: the office"], ["All figures without tax"]),
            (1, 1),
        )


def keys_without_title() -> Iterator[Labelled]:
    for name in ("people", "orders", "parts"):
        lines = [[f"row {n}", *line] for n, line in enumerate(body(name))]
        yield Labelled(f"key of {name} without a title", ([None, *TABLES[name][0]], *lines), (1, 1))
    yield Labelled("key and one column", ([None, "Amount"], *[[f"k{n}", n * 2.5] for n in range(6)]), (1, 1))
    yield Labelled("index and one text", ([None, "name"], *[[n, NAMES[n]] for n in range(8)]), (1, 1))


def one_column() -> Iterator[Labelled]:
    for header, cells in {
        "Name": list(NAMES), "Amount": [1.5, 2.5, 4.0, 8.0], "Date": [DAY + timedelta(n) for n in range(5)],
        "E-mail": [f"{n.lower()}@example.org" for n in NAMES], "Code": [f"{n:05}" for n in range(7)],
    }.items():  # fmt: skip
        yield Labelled(f"one column {header}", ([header], *[[c] for c in cells]), (1, 1))
        yield Labelled(
            f"one column {header} under a title", (["All of them"], [], [header], *[[c] for c in cells]), (3, 3)
        )


def sparse() -> Iterator[Labelled]:
    wide = [[f"R{n}", *[n * i for i in range(1, 8)]] for n in range(1, 9)]
    yield Labelled("three of eight titles", (["Row", None, None, "Mean", None, None, None, "Last"], *wide), (1, 1))
    yield Labelled("five of eight titles", (["Row", "a", None, "c", None, "e", None, "g"], *wide), (1, 1))
    thin = [[n if (n + c) % 4 == 0 else None for c in range(8)] for n in range(1, 20)]
    yield Labelled("sparse rows", ([f"c{c}" for c in range(8)], *thin), (1, 1))
    yield Labelled("sparse rows under a title", (["Matrix"], [], [f"c{c}" for c in range(8)], *thin), (3, 3))
    yield Labelled(
        "a column that begins late",
        (["id", "label", "n"], *[[n, "late" if n > 15 else None, n * 2] for n in range(1, 20)]),
        (1, 1),
    )
    yield Labelled("header wider than the rows", (["a", "b", "c", "d", "e"], [1], [2], [3]), (1, 1))
    yield Labelled("empty rows of a form", (["Name", "Birth date", "Mail"], [None, None, "?"]), (1, 1))


def headerless() -> Iterator[Labelled]:
    for name in ("orders", "people", "parts", "numbers", "times", "german", "codes"):
        yield Labelled(f"no header: {name}", tuple(body(name)), (0, 0))
        yield Labelled(f"no header: two rows of {name}", tuple(body(name, 2)), (0, 0))
        yield Labelled(f"no header: {name} with a blank row", (*body(name, 3), [], *body(name, 4)), (0, 0))
    yield Labelled("no header: integers", tuple([n * 11, n * 7.5] for n in range(1, 6)), (0, 0))
    yield Labelled("no header: one column of numbers", tuple([n * 3.0] for n in range(1, 9)), (0, 0))
    yield Labelled("no header: years", tuple([2000 + n, 2001 + n] for n in range(9)), (0, 0))
    yield Labelled("no header: dates", tuple([DAY + timedelta(n), DAY + timedelta(n + 1)] for n in range(9)), (0, 0))
    yield Labelled(
        "no header: a late row of texts",
        (["pi", 3.14], ["e", 2.71], ["phi", 1.61], ["name", "none"], ["root", 1.41]),
        (0, 0),
    )
    yield Labelled("no header: booleans", tuple([n % 2 == 0, n % 3 == 0] for n in range(9)), (0, 0))
    yield Labelled(
        "no header: log",
        tuple([DAY + timedelta(hours=n), ("INFO", "WARN")[n % 2], f"job {n} done"] for n in range(9)),
        (0, 0),
    )
    yield Labelled(
        "no header: some missing", tuple([n, None if n % 3 == 0 else n * 2, NAMES[n]] for n in range(1, 9)), (0, 0)
    )
    yield Labelled("no header: text of numbers", tuple([f"{n:04}", f"{n},50"] for n in range(1, 9)), (0, 0))


def totals_above() -> Iterator[Labelled]:
    for name, total in (("orders", ["Total", None, None, 900.0]), ("numbers", ["Sum", 150.0, None])):
        yield Labelled(f"totals above a header: {name}", (total, TABLES[name][0], *body(name)), (2, 2))
    days = tuple([f"k{n}", DAY + timedelta(n), n, n * 2.5] for n in range(1, 9))
    for label in ("Total", None):
        sums = [label, None, 36, 90.0]
        yield Labelled(f"totals above a header: {label}", (sums, ["Item", "Date", "Qty", "Amount"], *days), (2, 2))
        titled = (["Report"], [], sums, ["Item", "Date", "Qty", "Amount"], *days)
        yield Labelled(f"totals above a header, below a title: {label}", titled, (4, 4))
    late = (
        ["number", "name"],
        [70, None],
        ["abc", "zzz"],
        *[[n, f"x{n}"] for n in (1, 2, 3)],
        ["de", "f"],
        ["ghi", "j"],
    )
    yield Labelled("a row of texts below a large number with a gap", late, (1, 1))
    yield Labelled(
        "no header: a late row of texts below a gap", (["k", None, 3, 7.5], ["a", "b", "c", "d"], *days), (0, 0)
    )


def label_merged_down() -> Iterator[Labelled]:
    for depth in (3, 13):
        lines = [["apple", n * 1.5, n] for n in range(1, depth)]
        merges = (f"A1:A{depth}",)
        yield Labelled(
            f"a label merged down {depth} rows",
            (["Fruit", "Item", "Price", "Stock"], *[[None, *line] for line in lines]),
            (1, 1),
            merges,
        )
    lines = [[n, f"text {n}"] for n in range(1, 9)]
    yield Labelled("a label merged down beside two rows", (["n", "t"], [None, "more"], *lines), (1, 2), ("A1:A2",))
    lines = [["North" if n in {0, 4} else None, NAMES[n], n * 1.5] for n in range(8)]
    yield Labelled("groups merged down", (["Region", "Name", "Amount"], *lines), (1, 1), ("A2:A5", "A6:A9"))


def odd_ones() -> Iterator[Labelled]:
    yield Labelled("header alone", (["id", "name", "city"],), (1, 1))
    yield Labelled(
        "header repeated below",
        (TABLES["orders"][0], *body("orders", 5), TABLES["orders"][0], *body("orders", 5)),
        (1, 1),
    )
    yield Labelled("mixed column", (["id", "value"], [1, "x"], [2, 5.5], [3, "y"], [4, 7.5]), (1, 1))
    yield Labelled(
        "yes and no",
        (["Name", "Member", "Paid"], *[[n, ("yes", "no")[i % 2], ("no", "yes")[i % 2]] for i, n in enumerate(NAMES)]),
        (1, 1),
    )
    yield Labelled(
        "numbered header",
        (["1. Name", "2. City", "3. Age"], *[[n, CITIES[i % 4], 20 + i] for i, n in enumerate(NAMES)]),
        (1, 1),
    )
    yield Labelled("headers with digits", (["q1", "q2", "q3"], *[[n, n * 2, n * 3] for n in range(1, 8)]), (1, 1))
    yield Labelled("first column blank", ([None, "id", "city"], *[[None, n, CITIES[n % 4]] for n in range(6)]), (1, 1))
    yield Labelled("error cells", (["id", "rate"], *[[n, "x" if n == 2 else n / 2] for n in range(1, 6)]), (1, 1))
    yield Labelled(
        "wide title row", (["Report", None, None, "Page 1 of 3"], [], TABLES["orders"][0], *body("orders")), (3, 3)
    )
    yield Labelled(
        "legend above",
        (
            ["A = active", "B = blocked", "C = closed"],
            [],
            ["id", "state", "since", "amount"],
            *[[n, "ABC"[n % 3], DAY, n * 2.5] for n in range(1, 9)],
        ),
        (3, 3),
    )
