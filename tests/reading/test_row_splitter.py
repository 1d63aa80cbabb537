"""A sheet's rows are cut at their borders, however the blocks of its XML lie."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from support.rawbook import number, row

from importer.reading import row_splitter
from importer.reading.row_splitter import RowSplitter
from importer.settings import Limits

#: Rows that only a comment or CDATA holds, of which neither ends where the other would.
HIDDEN = '<!--a--><!-- <row r="9"></row> ]]> </sheet --><row r="4"><c r="A4"><v><![CDATA[</row> -->]]></v></c></row>'
ROWS = [row(1, number("A1", 1)), '<row r="2"/>', row(3, number("A3", 3), number("B3", 3)), HIDDEN]
ROWS += [row(n, number(f"A{n}", n)) for n in range(5, 12)]


def split(xml: bytes, block_bytes: int, window_bytes: int, monkeypatch: pytest.MonkeyPatch) -> RowSplitter:
    """A splitter of a part that comes in blocks of that size."""
    blocks = (xml[start : start + block_bytes] for start in range(0, len(xml), block_bytes))
    monkeypatch.setattr(row_splitter, "normalize_rows", lambda *_: blocks)
    package: Any = None
    sheet: Any = SimpleNamespace(part="sheet1.xml", name="Data")
    return RowSplitter(package, sheet, Limits(), lambda _: window_bytes, 2, None)


@pytest.mark.parametrize("window_bytes", [60, 200, 100_000])
@pytest.mark.parametrize("rows", ["", "\n", *ROWS[:2], "".join(ROWS), "\n".join(ROWS)])
def test_cuts_are_whole_rows_and_all_of_them(rows: str, window_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = b'<worksheet><cols><col min="3" max="4" hidden="1"/></cols>'
    after = b'</sheetData><mergeCells><mergeCell ref="A1:B1"/></mergeCells></worksheet>'
    for block_bytes in (*range(1, 24), 64, 100_000):
        splitter = split(before + b"<sheetData>" + rows.encode() + after, block_bytes, window_bytes, monkeypatch)
        cuts = list(splitter.cuts())
        assert b"".join(cuts) == rows.encode(), block_bytes
        assert (splitter.merges(), splitter.hidden_columns()) == (("A1:B1",), ((2, 3),))
        for cut in cuts:
            ET.fromstring(b"<rows>" + cut + b"</rows>")
        if window_bytes == 60 and rows.count("</row>") > 5:
            assert len(cuts) > 5
