"""Pairs of bytes are found wherever they stand, and rows that are hidden among others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer.excel.byte_search import holds_pair
from importer.excel.sheet_xml import hidden_rows

BYTES = st.lists(st.sampled_from(list(b"tD<!")), max_size=9).map(bytes)


@given(data=BYTES, start=st.integers(0, 9))
def test_pairs(data: bytes, start: int) -> None:
    assert holds_pair(bytearray(data), b"tD", start) == (b"tD" in data[start:])


def test_bytes_can_grow_after_a_search() -> None:
    data = bytearray(b"<row>")
    assert holds_pair(data, b"ow")
    data += b"</row>"


@pytest.mark.parametrize(
    ("rows", "hidden"),
    [
        (b'<row r="3"/><row r="5" hidden="1"><c/></row><row r="6"/>', [5]),
        (b'<row r=\'3\' hidden=\'true\'/><row hidden="0" r="4"/><row r="9" spans="1:2" hidden="1"/>', [3, 9]),
        (b'<row><c t="str"><v>hidden="1"</v></c></row><row hidden="1"/><row r="9" hidden="1"/>', [3, 9]),
        (b'<row r="2"><c t="str"><v>hidden="1"</v></c></row>', []),
        (b'<rows r="2" hidden="1"/><col hidden="1"/>', []),
        (b"", []),
    ],
)
def test_hidden_rows(rows: bytes, hidden: list[int]) -> None:
    assert hidden_rows(rows, 2) == hidden
