"""Numbers reach PostgreSQL with all the digits that the workbook gives them, or are rejects that show them."""

from __future__ import annotations

import re
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.rawbook import error, inline, number, row, write_rows
from support.tables import contract

from importer.excel.addresses import column_letters

if TYPE_CHECKING:
    from conftest import Database

    from importer.report.model import Report

TEXTS = [
    "12345678901234567890", "9007199254740993", "-9007199254740993", "9007199254740994", "9223372036854775807", "9223372036854775808",
    "4111111111111111", "1E+20", "1.2345678901234567E+19", "0.28999999999999998", "4.4999999999999998E-2", "0.30000000000000004",
    "0.1234567890123456789", "123456789012345.6789", "12345678901234.56789", "0.66666666666666666", "1.005", "0.5", "7", "-0", "1e-400",
    "99999999999999999999999999999999999999", "123456789012345678901234567890.5", "0.00000000000000000000000012345678901234567",
]  # fmt: skip
TARGETS = {
    "exact": "numeric", "money": "numeric(20,4)", "big": "bigint", "small": "integer", "float": "double precision", "text": "text",
}  # fmt: skip
WHOLE = st.integers(-(10**22), 10**22).map(str)
DECIMALS = st.builds("{}.{}".format, st.integers(-(10**17), 10**17), st.text("0123456789", min_size=1, max_size=20))
PRINTED = st.floats(-1e20, 1e20).map(lambda value: f"{value:.17g}".replace("e", "E"))


def known(text: str) -> Decimal:
    """What a text says: itself, or the shortest number near the float of which it is a print."""
    decimal, float_ = Decimal(text), float(text)
    whole = abs(float_) >= 2**53 and re.fullmatch(r"-?\d+(?:\.0*)?", text)
    printed = decimal == Decimal(f"{float_:.{len(decimal.as_tuple().digits) - 1}e}")
    return Decimal(repr(float_)) if printed and not whole else decimal


def expected(text: str, target: str) -> Decimal | float | None:
    """The value in a column of the target's type; None if it cannot hold it."""
    value, digits = known(text), len(known(text).as_tuple().digits)
    said = value != Decimal(repr(float(text))) or re.fullmatch(r"-?\d+(?:\.0*)?", text)
    whole = value == value.to_integral_value() and (said or abs(value) <= 2**53)
    near_zero = bool(value) and not float(text)
    match target:
        case "numeric":
            return None if near_zero else value
        case "numeric(20,4)":
            money = value.quantize(Decimal("0.0001")) if abs(value) < 10**16 else value
            close = money == value or (digits <= 17 and abs(money - value) <= abs(value).scaleb(-15))
            return money if close and abs(money) < 10**16 else None
        case "bigint" | "integer":
            return value if whole and -(2**63) <= value < 2**63 and (target == "bigint" or abs(value) < 2**31) else None
        case "double precision":
            return None if near_zero else float(text)
    return value


def build(path: Path, texts: list[str]) -> Path:
    """A workbook with each text in each column, each cell in a row of its own."""
    lines = row(1, *(inline(f"{column_letters(c)}1", name) for c, name in enumerate(["n", *TARGETS])))
    cells = [(column_letters(c), text) for c in range(1, len(TARGETS) + 1) for text in texts]
    return write_rows(
        path, lines + "".join(row(n, number(f"A{n}", n), number(f"{c}{n}", t)) for n, (c, t) in enumerate(cells, 2))
    )


def check(db: Database, report: Report, texts: list[str]) -> None:
    cells = [(name, text) for name in TARGETS for text in texts]
    shown = ", ".join(f"{name}::text" for name in TARGETS)
    loaded = {n: dict(zip(TARGETS, values, strict=True)) for n, *values in db.rows(f"select n, {shown} from t")}
    rejects = rejected_numbers(report)
    for n, (name, text) in enumerate(cells, 2):
        wanted = expected(text, TARGETS[name])
        assert (n in loaded) == (wanted is not None), (name, text, wanted)
        if wanted is None:
            assert rejects[n, name] == known(text), (name, text)
        else:
            found = loaded[n][name]
            assert (float(found) if name == "float" else Decimal(found)) == wanted, (name, text)


def rejected_numbers(report: Report) -> dict[tuple[int, str], Decimal]:
    """The numbers of the rejects workbook as they are written there, by row and column."""
    if report.rejects_file is None:
        return {}
    with zipfile.ZipFile(report.rejects_file) as book:
        xml = book.read("xl/worksheets/sheet1.xml").decode()
    found = {}
    for line in re.findall(r"<row .*?</row>", xml)[1:]:
        cells = dict(re.findall(r'<c r="([A-Z]+)\d+"[^>]*><v>([^<]*)</v>', line))
        names = {column_letters(c): name for c, name in enumerate(TARGETS, 3)}
        found |= {(int(cells["A"]), names[c]): Decimal(text) for c, text in cells.items() if c in names}
    return found


@pytest.mark.parametrize("target", ["table", "contract"])
def test_every_digit_arrives_or_is_rejected(db: Database, tmp_path: Path, target: str) -> None:
    options = {}
    if target == "table":
        db.run("create table t (n int, " + ", ".join(map(" ".join, TARGETS.items())) + ")")
    else:
        kinds = {"n": "integer", "big": "integer", "small": "integer", "text": "string"}
        fields = [{"name": name, "type": kinds.get(name, "number")} for name in ["n", *TARGETS]]
        options = {"contract": contract(tmp_path / "c.json", fields=fields, postgresql={"types": TARGETS})}
    check(db, db.load(build(tmp_path / "b.xlsx", TEXTS), table="t", workers=0, header_row=1, **options), TEXTS)


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(WHOLE, DECIMALS, PRINTED), min_size=100, max_size=300))
def test_random_digits(db: Database, tmp_path: Path, texts: list[str]) -> None:
    db.run("drop table if exists t", "create table t (n int, " + ", ".join(map(" ".join, TARGETS.items())) + ")")
    path = build(tmp_path / f"{len(list(tmp_path.iterdir()))}.xlsx", texts)
    check(db, db.load(path, table="t", workers=0, header_row=1), texts)


def test_new_table_and_back_from_the_rejects(db: Database, tmp_path: Path) -> None:
    """Types that hold all digits; a rejected row that is fixed elsewhere brings the same digits again."""
    digits = ["4111111111111111111", "9007199254740993"]
    lines = row(1, *(inline(f"{c}1", name) for c, name in zip("ABCD", ["id", "wide", "part", "qty"], strict=True)))
    cells = [("12345678901234567890", "0.1234567890123456789", "2"), ("7", "0.5", "#N/A")]
    for n, (card, (wide, part, qty)) in enumerate(zip(digits, cells, strict=True), 2):
        last = error(f"D{n}", qty) if qty.startswith("#") else number(f"D{n}", qty)
        lines += row(n, number(f"A{n}", card), number(f"B{n}", wide), number(f"C{n}", part), last)
    report = db.load(write_rows(tmp_path / "b.xlsx", lines), table="t", workers=0, header_row=1)
    assert [column.type for column in report.columns] == ["bigint", "numeric", "numeric", "bigint"]
    assert db.rows("select id::text, wide::text, part::text from t") == [(digits[0], cells[0][0], cells[0][1])]
    assert report.rejects_file is not None
    rejects = Path(report.rejects_file)
    fixed = tmp_path / "fixed.xlsx"
    with zipfile.ZipFile(rejects) as old, zipfile.ZipFile(fixed, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(
                name, re.sub(rb'<c r="F2"[^>]*>.*?</c>', b'<c r="F2"><v>3</v></c>', part) if "sheet1" in name else part
            )
    db.load(fixed, table="t", workers=0, rejects=tmp_path / "again.xlsx")
    assert db.rows("select id::text, qty::text from t order by qty") == [(digits[0], "2"), (digits[1], "3")]


def test_bounds_and_members_go_by_the_digits(db: Database, tmp_path: Path) -> None:
    """Rounded to floats, all these numbers are equal."""
    texts = ["12345678901234567889", "12345678901234567890", "12345678901234567891"]
    rules = {"maximum": 12345678901234567890, "minimum": 12345678901234567890, "enum": [12345678901234567890, 5]}
    for rule, limit in rules.items():
        fields = [{"name": "x", "type": "number", "constraints": {rule: limit}}]
        given = contract(tmp_path / f"{rule}.json", fields=fields, postgresql={"types": {"x": "numeric"}})
        lines = row(1, inline("A1", "x")) + "".join(row(n, number(f"A{n}", text)) for n, text in enumerate(texts, 2))
        db.load(write_rows(tmp_path / f"{rule}.xlsx", lines), table=rule, workers=0, header_row=1, contract=given)
    found = {rule: [text for (text,) in db.rows(f"select x::text from {rule} order by x")] for rule in rules}
    assert found == {"maximum": texts[:2], "minimum": texts[1:], "enum": texts[1:2]}
