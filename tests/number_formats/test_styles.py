"""The styles part: which format each cell style has, however the part is written and however long it is."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import polars as pl
import pytest
from support import rawbook

from importer.errors import WorkbookRefused
from importer.number_formats.number_format import GENERAL, FormatKind
from importer.number_formats.styles import CellFormats, read_cell_formats

if TYPE_CHECKING:
    from pathlib import Path

NUMBER, DATETIME, DURATION, TEXT = FormatKind


def read(folder: Path, xml: str, head: str = f'<styleSheet xmlns="{rawbook.MAIN}">') -> CellFormats:
    path = folder / "styles.xml"
    path.write_text(head + xml + "</styleSheet>", encoding="utf-8")
    return read_cell_formats(path)


def styles(*ids: object) -> str:
    return "<cellXfs>" + "".join(f'<xf numFmtId="{number}"/>' for number in ids) + "</cellXfs>"


def test_formats_by_style(tmp_path: Path) -> None:
    """A code of the workbook goes before the built-in one of its id; formats of cell styles and of `dxf` are others."""
    codes = '<numFmts><numFmt numFmtId="14" formatCode="0.00"/><numFmt numFmtId="164" formatCode="[h]:mm"></numFmt></numFmts>'
    other = '<cellStyleXfs><xf numFmtId="22"/></cellStyleXfs>'
    behind = '<dxfs><dxf><numFmt numFmtId="165" formatCode="yyyy"/><numFmts><numFmt numFmtId="0" formatCode="yyyy"/></numFmts></dxf></dxfs>'
    found = read(tmp_path, codes + other + styles(0, 14, 164, 15, 58, 49, 999, "x", "", 165) + behind)
    assert found.kinds.tolist() == [NUMBER, NUMBER, DURATION, DATETIME, DATETIME, TEXT, NUMBER, NUMBER, NUMBER, NUMBER]
    assert [found.of(1).decimals, found.of(-1), found.of(10)] == [2, GENERAL, GENERAL]
    assert pickle.loads(pickle.dumps(found)) == found


def test_workbook_without_styles(tmp_path: Path) -> None:
    assert read_cell_formats(None) == CellFormats()
    assert CellFormats().kinds.tolist() == read(tmp_path, "<fonts/>").kinds.tolist() == []
    assert CellFormats().of(0) == GENERAL


def test_prefixes_entities_and_order(tmp_path: Path) -> None:
    head = f'<x:styleSheet xmlns:x="{rawbook.MAIN}">'
    codes = "<x:numFmts><x:numFmt formatCode='&quot;d&quot;\\-0000' numFmtId=' 170 '/></x:numFmts>"
    path = tmp_path / "styles.xml"
    path.write_text(f"{head}<x:cellXfs><x:xf numFmtId='170'/></x:cellXfs>{codes}</x:styleSheet>")
    assert [choice.pattern for choice in read_cell_formats(path).of(0).patterns] == ["\\d\\-0000"]


def test_damage_before_the_last_style_is_refused_and_behind_it_is_not(tmp_path: Path) -> None:
    with pytest.raises(WorkbookRefused, match="styles are not well-formed"):
        read(tmp_path, "<cellXfs><xf numFmtId='14'/>")
    assert read(tmp_path, styles(14) + "<dxfs>").kinds.tolist() == [DATETIME]


def test_digit_patterns_of_cells(tmp_path: Path) -> None:
    codes = '<numFmts><numFmt numFmtId="164" formatCode="[&lt;=99999]00000;00000\\-0000"/><numFmt numFmtId="165" formatCode="000"/></numFmts>'
    found = read(tmp_path, codes + styles(0, 164, 165, 14))
    numbers = pl.Series([1.0, 99999.0, 100000.0, float("nan"), 5.0, -5.0, 7.0])
    shown = found.digit_patterns(pl.Series([0, 1, 1, 1, 2, 1, 99]), numbers).to_list()
    assert shown == [None, "00000", "00000\\-0000", "00000\\-0000", "000", "00000", None]


def test_thousands_of_styles(tmp_path: Path) -> None:
    """Sent to workers in four bytes each; a search of the window for each of them took a minute."""
    codes = "".join(f'<numFmt numFmtId="{164 + n}" formatCode="&quot;{n}&quot;0000"/>' for n in range(100))
    found = read(tmp_path, f"<numFmts>{codes}</numFmts>" + styles(*(164 + n % 100 for n in range(20_000))))
    shown = found.digit_patterns(pl.Series(list(range(20_000)) * 3), pl.Series([1.0] * 60_000))
    assert (len(shown.unique()), len(found.with_patterns)) == (100, 20_000)
    assert len(pickle.dumps(found)) < 100_000
