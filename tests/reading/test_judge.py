"""The engine judges samples of what was decoded: a difference that is no known fault of its own gives it the sheet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from support.rawbook import DATE, ELAPSED, STAMP, inline, number, row, write_rows
from support.reading import read_cells, reading

from importer.cells.frame import ROW
from importer.inspection import inspect_workbook
from importer.number_formats.date_serials import DateSystem
from importer.reading import read_window, windows
from importer.reading.judge import FAULTS, take_sample
from importer.reading.windows import WINDOW_BYTES, judged_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Database

    from importer.columns.decode import DecodedWindow

EPOCH = DateSystem(epoch_1904=False)


# ---- SAMPLES ----------------------------------------------------------------------------------------------------


def test_sample_is_of_whole_rows() -> None:
    lines = [row(n, number(f"A{n}", n), number(f"B{n}", n)) for n in range(101, 1101)]
    rows = "".join(lines).encode()
    begun = set()
    for window in range(20):
        sample = take_sample(rows, 2_000, window)
        assert sample is not None
        assert sample.rows.decode() == "".join(lines[sample.first - 101 : sample.last - 100])
        assert 1_000 < len(sample.rows) <= 2_000
        begun.add(sample.first)
    assert len(begun) == 20
    assert take_sample(rows, 10**9, 3) == (rows, 101, 1100)


def test_sample_of_rows_in_pieces_leaves_out_those_at_its_ends() -> None:
    rows = "".join(row(n, number(f"{c}{n}", n)) for n in range(1, 100) for c in "ABCD").encode()
    for window in range(1, 9):
        sample = take_sample(rows, 1_000, window)
        assert sample is not None
        for n in range(sample.first, sample.last + 1):
            assert sample.rows.count(f'<row r="{n}">'.encode()) == 4


@pytest.mark.parametrize(
    "rows", [b"", b"  ", b"<row/>", b"<row><c><v>1</v></c></row>", b'<row r="1"/>', b'<row r="x"></row>']
)
def test_sample_of_rows_that_have_no_number_or_no_cells(rows: bytes) -> None:
    assert take_sample(rows, 100, 0) is None
    assert take_sample(rows, 1, 1) is None


def test_share_that_is_judged() -> None:
    for size in (4 << 20, 10 << 20, 100 << 20, 700 << 20):
        count = size // WINDOW_BYTES + 2
        shares = [judged_bytes(size, n) for n in range(count)]
        assert shares[0] > 0
        assert shares[1] > 0
        assert sum(shares[1:]) <= size * 0.011
    assert judged_bytes(1 << 20, 0) == judged_bytes(1 << 20, 1) == 0


# ---- KNOWN FAULTS -----------------------------------------------------------------------------------------------

#: A serial that is half a millisecond more than an even number of them.
HALF = next(serial for n in range(140, 1000, 2) if (serial := (n + 0.5) / 86_400_000) * 86_400_000 == n + 0.5)
FAULTY: dict[str, str] = {
    "a cell of type number that holds none": '<c r="A2"><v>n/a</v></c>',
    "a format of dates that it does not know": number("A2", 45383, 1),
    "other words for no value": number("A2", "inf", DATE),
    "half a millisecond": number("A2", repr(HALF), STAMP),
    "a cell of type boolean that holds none": '<c r="A2" t="b"><v>2</v></c>',
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_one_of_the_engine(tmp_path: Path, fault: str) -> None:
    """The engine alone reads such a cell otherwise; no other fault explains the difference."""
    found = []
    parts = {"xl/styles.xml": STYLES} if "format" in fault else {}
    path = write_rows(tmp_path / "b.xlsx", row(1, inline("B1", "b")) + row(2, FAULTY[fault]), parts=parts)
    for engine in ("builtin", "calamine"):
        with reading(path, header_rows=(1, 1), engine=engine) as source:
            found.append(read_cells(source)[2, 0])
    assert found[0] != found[1]
    assert [name for name, is_fault in FAULTS.items() if is_fault(*found, EPOCH)] == [fault]


STYLES = (
    '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><fonts count="1"><font/></fonts>'
    '<fills count="1"><fill/></fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="27"/></cellXfs></styleSheet>'
)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("number", 1.0), ("number", 2.0)), (("number", 45383.0), ("text", "45383")), (("text", "a"), ("text", "b")),
        (("boolean", False), ("boolean", True)), (None, ("text", "a")), (("text", "a"), None), (("text", "a "), ("text", "a")),
        (("unreadable", "x"), ("text", "y")), (("number", 1.0), ("boolean", True)),
    ],
)  # fmt: skip
def test_other_differences_are_no_faults(ours: Any, theirs: Any) -> None:
    assert not any(fault(ours, theirs, EPOCH) for fault in FAULTS.values())


# ---- DISPUTES ---------------------------------------------------------------------------------------------------


def book(path: Path) -> Path:
    kinds = (
        number,
        lambda ref, n: inline(ref, f"t{n}"),
        lambda ref, n: number(ref, n, DATE),
        lambda ref, n: number(ref, n / 7, ELAPSED),
    )
    lines = "".join(
        row(n, *(make(f"{c}{n}", n) for c, make in zip("ABCD", kinds, strict=True))) for n in range(100, 1_000)
    )
    return write_rows(path, row(1, *(inline(f"{c}1", c) for c in "ABCD")) + lines)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of sheets of any size are judged, as a whole."""
    monkeypatch.setattr(windows, "_JUDGED_FROM_BYTES", 0)
    monkeypatch.setattr(windows, "_JUDGED_SHARE", 1)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder is wrong in cell A560."""

    def decode_wrong(decode: Callable[..., DecodedWindow | None], *args: Any) -> DecodedWindow | None:
        decoded = decode(*args)
        if decoded is None or "0.number" not in decoded.frame.columns:
            return decoded
        wrong = pl.when(pl.col(ROW) == 560).then(561.0).otherwise(pl.col("0.number")).alias("0.number")
        return decoded._replace(frame=decoded.frame.with_columns(wrong))

    for name in ("decode_cells", "decode_window"):
        monkeypatch.setattr(read_window, name, partial(decode_wrong, getattr(read_window, name)))


DISPUTE = "cell A560 was decoded as number 561.0, and the engine reads number 560.0; so the whole sheet was read by the engine"


@pytest.mark.usefixtures("judged")
def test_good_sheet_is_not_disputed(tmp_path: Path) -> None:
    found = inspect_workbook(book(tmp_path / "b.xlsx"), workers=0)
    assert found.disputes == ()
    cells = found.to_dict()["reading"]
    assert (cells["decoded"], cells["by_engine"]) == (4 + 3_600, 0)
    assert cells["judged"] > 1_000


@pytest.mark.usefixtures("judged", "wrong")
def test_disputed_sheet_is_inspected_by_the_engine(tmp_path: Path) -> None:
    found = inspect_workbook(book(tmp_path / "b.xlsx"), workers=0)
    assert found.to_dict()["notes"][0] == DISPUTE
    assert found.to_dict()["reading"] == {"decoded": 0, "by_engine": 3_604, "judged": 0}


@pytest.mark.usefixtures("judged", "wrong")
@pytest.mark.parametrize("chunk_rows", [None, 50])
def test_disputed_sheet_is_loaded_by_the_engine(db: Database, tmp_path: Path, chunk_rows: int | None) -> None:
    """Also where its first windows were written already."""
    report = db.load(book(tmp_path / "b.xlsx"), table="t", workers=0, chunk_rows=chunk_rows)
    assert DISPUTE in report.notes
    assert report.reading == {"engine": "calamine", "decoded": 0, "by_engine": 3_604, "judged": 0}
    assert db.rows("select count(*), sum(a)::bigint from t") == [(900, sum(range(100, 1_000)))]


@pytest.mark.usefixtures("wrong")
def test_sheet_read_by_the_engine_alone_is_not_judged(db: Database, tmp_path: Path) -> None:
    report = db.load(book(tmp_path / "b.xlsx"), table="t", workers=0, engine="calamine")
    assert db.rows("select a from t where b = 't560'") == [(560,)]
    assert report.to_dict()["reading"]["by_engine"] == 3_604
