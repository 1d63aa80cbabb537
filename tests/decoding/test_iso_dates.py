"""Cells of type `d` hold dates as ISO 8601 texts: each is its value to the microsecond, or a reject, never another."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.rawbook import inline, number, row, write_rows
from support.reading import read_cells, reading

from importer.decoding.iso_dates import parse_iso

if TYPE_CHECKING:
    from conftest import Database

#: Texts, and what they are; None: no value, so a reject with the text.
TEXTS: dict[str, tuple[str, Any] | None] = {
    "2014-01-16T15:59:59.99999979045242400": ("datetime", datetime(2014, 1, 16, 16)),
    "2014-01-16T16:00:00.00000000000239300": ("datetime", datetime(2014, 1, 16, 16)),
    "2024-12-31T23:59:59.9999999": ("datetime", datetime(2025, 1, 1)),
    "2024-02-29T10:20:30.123456": ("datetime", datetime(2024, 2, 29, 10, 20, 30, 123456)),
    "2024-02-29T10:20:30.765": ("datetime", datetime(2024, 2, 29, 10, 20, 30, 765000)),
    "2024-02-29 10:20": ("datetime", datetime(2024, 2, 29, 10, 20)),
    " 2024-01-05 ": ("datetime", datetime(2024, 1, 5)),
    "0001-01-01": ("datetime", datetime(1, 1, 1)),
    "1850-05-01": ("datetime", datetime(1850, 5, 1)),
    "10:30:00": ("time", time(10, 30)),
    "T10:30": ("time", time(10, 30)),
    "23:59:59.9999994": ("time", time(23, 59, 59, 999999)),
    "PT24H0M0.000S": ("duration", timedelta(days=1)),
    "PT0H11M0.000S": ("duration", timedelta(minutes=11)),
    "PT1H30M15.500S": ("duration", timedelta(hours=1, minutes=30, seconds=15.5)),
    "PT90M": ("duration", timedelta(minutes=90)),
    "P1DT2H": ("duration", timedelta(days=1, hours=2)),
    "P2W": ("duration", timedelta(weeks=2)),
    "-PT0.0000015S": ("duration", timedelta(microseconds=-2)),
    "PT999999999H": ("duration", timedelta(hours=999_999_999)),
    "2024-05-17T00:00:00.000Z": ("instant", "2024-05-17T00:00:00Z"),
    "2024-05-17T10:20:30.765+02:00": ("instant", "2024-05-17T10:20:30.765000+02:00"),
    "2024-05-17T10:20:30.9999999-0330": ("instant", "2024-05-17T10:20:31-03:30"),
    "2024-05-17T10:20+05": ("instant", "2024-05-17T10:20:00+05:00"),
    "0000-01-01": None, "10000-01-01": None, "2023-02-29": None, "2024-13-01": None, "9999-12-31T23:59:59.9999999": None,
    "2024-01-05T24:00:00": None, "24:00:00": None, "2016-12-31T23:59:60": None, "23:59:60": None, "23:59:59.9999999": None,
    "10:30:00Z": None, "2024-01-05Z": None, "2024-05-17T10:20+25:00": None, "0001-01-01T00:00+14:00": None,
    "P1Y": None, "P1M": None, "P": None, "PT": None, "P1DT": None, "PT1.5H": None, "PT99999999999999H": None, "-P": None,
    "20240105": None, "2024-W01-5": None, "2024-005": None, "10": None, "1030": None, "2024-1-5": None, "never": None,
    "\uff12024-01-05": None, "2024-01-05T10:20:30." + "9" * 60: None,
}  # fmt: skip


def test_texts_of_dates() -> None:
    for text, wanted in TEXTS.items():
        assert parse_iso(text) == (wanted or ("unreadable", text.strip())), text


def stamps() -> st.SearchStrategy[datetime]:
    zones = st.none() | st.just(UTC) | st.integers(-839, 839).map(lambda n: timezone(timedelta(minutes=n)))
    return st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=zones)


@given(value=stamps() | st.times() | st.timedeltas(), noise=st.sampled_from(["", "0", "49", "4999999999", "000000001"]))
@example(value=timedelta(microseconds=-1), noise="0")
def test_what_is_written_is_read(value: datetime | time | timedelta, noise: str) -> None:
    if isinstance(value, timedelta):
        micro = abs(value) // timedelta(microseconds=1)
        if micro >= 2**63:
            return
        sign, (seconds, rest) = "-" * (value < timedelta()), divmod(micro, 1_000_000)
        days, seconds = divmod(seconds, 86_400)
        assert parse_iso(f"{sign}P{days}DT{seconds}.{rest:06}{noise}S") == ("duration", value)
        return
    whole = value.isoformat(timespec="microseconds")
    text = whole[: whole.index(".") + 7] + noise + whole[whole.index(".") + 7 :].replace("+00:00", "Z")
    kind, found = parse_iso(text)
    if isinstance(value, datetime) and value.tzinfo:
        assert (kind, datetime.fromisoformat(found)) == ("instant", value)
        assert datetime.fromisoformat(found).utcoffset() == value.utcoffset()
    else:
        assert (kind, found) == ("datetime" if isinstance(value, datetime) else "time", value)


@pytest.mark.parametrize("engine", ["builtin", "calamine"])
def test_cells_are_read_alike_by_both_ways(tmp_path: Path, engine: str) -> None:
    """Beside numbers and texts, and in cells that are odd otherwise."""
    lines = [
        row(
            n,
            f'<c r="A{n}" t="d"><v>{text}</v></c>',
            number(f"B{n}", n),
            f"<c q='1' r=\"C{n}\" t='d'><v>{text}</v></c>",
        )
        for n, text in enumerate(TEXTS, 2)
    ]
    path = write_rows(
        tmp_path / "b.xlsx", row(1, inline("A1", "a"), inline("B1", "b"), inline("C1", "c")) + "".join(lines)
    )
    with reading(path, header_rows=(1, 1), engine=engine) as source:
        found = read_cells(source)
    for n, (text, wanted) in enumerate(TEXTS.items(), 2):
        assert found[n, 0] == found[n, 2] == (wanted or ("unreadable", text.strip())), text
        assert found[n, 1] == ("number", n)


#: Columns of a workbook: name, texts in rows 2 and 3, type in a new table, values there.
COLUMNS: list[tuple[str, list[str], str, list[Any]]] = [
    ("stamp", ["2014-01-16T15:59:59.99999979", "2024-02-29T10:20:30.123456"], "timestamp without time zone",
     [datetime(2014, 1, 16, 16), datetime(2024, 2, 29, 10, 20, 30, 123456)]),
    ("day", ["2024-01-05", "2024-01-06"], "date", [date(2024, 1, 5), date(2024, 1, 6)]),
    ("clock", ["10:30:00", "23:59:59.5"], "time without time zone", [time(10, 30), time(23, 59, 59, 500000)]),
    ("size", ["PT24H0M0.000S", "-PT1H30M15.500001S"], "interval", ["24:00:00", "-01:30:15.500001"]),
    ("moment", ["2024-05-17T00:00:00.000Z", "2024-05-17T10:20:30.765+02:00"], "timestamp with time zone",
     [datetime(2024, 5, 17, tzinfo=UTC), datetime(2024, 5, 17, 8, 20, 30, 765000, UTC)]),
    ("utc", ["2024-03-17T00:00:00.000Z", "2024-03-18T00:00:00Z"], "date", [date(2024, 3, 17), date(2024, 3, 18)]),
    ("both", ["2024-05-17T00:00:00.000Z", "2024-05-17"], "text", ["2024-05-17T00:00:00Z", "2024-05-17"]),
]  # fmt: skip


def test_dates_are_loaded(db: Database, tmp_path: Path) -> None:
    """Into a new table, into columns that exist, and from the rejects of columns that cannot take them."""
    head = row(1, *(inline(f"{chr(65 + n)}1", name) for n, (name, *_) in enumerate(COLUMNS)))
    lines = [
        row(2 + line, *(f'<c r="{chr(65 + n)}{2 + line}" t="d"><v>{c[1][line]}</v></c>' for n, c in enumerate(COLUMNS)))
        for line in range(2)
    ]
    path = write_rows(tmp_path / "b.xlsx", head + "".join(lines))
    report = db.load(path, table="fresh", workers=0, header_row=1)
    assert any("offsets" in str(note) and "moment" in str(note) for note in report.notes)
    assert "midnights UTC are the days that they name for utc" in report.notes
    types = db.rows(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = 'fresh'::regclass and attnum > 0 order by attnum"
    )
    assert types == [(name, pg_type) for name, _, pg_type, _ in COLUMNS]
    values = 'select stamp, day, clock, size::text, moment, utc, "both" from {} order by stamp'
    assert db.rows(values.format("fresh")) == list(zip(*(values for *_, values in COLUMNS), strict=True))
    db.run("create table held (like fresh)")
    db.load(path, table="held", workers=0, header_row=1)
    assert db.rows(values.format("held")) == db.rows(values.format("fresh"))
    columns = (
        'stamp timestamptz, day timestamp, clock interval, size text, moment text, utc timestamptz, "both" timestamptz'
    )
    db.run(f"create table other ({columns})")
    db.load(path, table="other", workers=0, header_row=1)
    assert db.rows('select stamp, size, moment, "both" from other order by stamp') == [
        (datetime(2014, 1, 16, 16, tzinfo=UTC), "24:00:00", "2024-05-17T00:00:00Z", datetime(2024, 5, 17, tzinfo=UTC)),
        (datetime(2024, 2, 29, 10, 20, 30, 123456, UTC), "-1:30:15.500001", "2024-05-17T10:20:30.765000+02:00",
         datetime(2024, 5, 17, tzinfo=UTC)),
    ]  # fmt: skip


def test_rejects_keep_microseconds_and_offsets(db: Database, tmp_path: Path) -> None:
    db.run("create table naive (a timestamp, b interval, c timestamp, n integer)")
    cells = ["2024-02-29T10:20:30.123456", "PT0.000001S", "2024-05-17T10:20:30Z"]
    dates = [f'<c r="{letter}2" t="d"><v>{text}</v></c>' for letter, text in zip("ABC", cells, strict=True)]
    path = write_rows(
        tmp_path / "b.xlsx",
        row(1, *(inline(f"{letter}1", letter.lower()) for letter in "ABC"), inline("D1", "n"))
        + row(2, *dates, number("D2", 1)),
    )
    report = db.load(path, table="naive", workers=0, header_row=1)
    assert (report.error_count, db.rows("select * from naive")) == (1, [])
    db.run("alter table naive alter c type timestamptz")
    assert report.rejects_file is not None
    db.load(Path(report.rejects_file), table="naive", workers=0)
    stamp, moment = datetime(2024, 2, 29, 10, 20, 30, 123456), datetime(2024, 5, 17, 10, 20, 30, tzinfo=UTC)
    assert db.rows("select a, b::text, c, n from naive") == [(stamp, "00:00:00.000001", moment, 1)]
