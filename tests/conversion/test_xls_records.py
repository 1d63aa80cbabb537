"""Workbooks of Excel 5 to 2003 whose records are odd or lie: code pages, charts, sizes, cells that are written twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import excel5
from support.excel5 import (
    chart,
    dimensions,
    formula,
    integer,
    label,
    number,
    rich,
    row_facts,
    worksheet,
    write_excel5,
    write_small,
)
from support.otherbooks import Table, write_xls
from support.reading import ReadCells, read_cells, reading

from importer.conversion.xls import has_circle
from importer.errors import CellsDisagree, InputError, WorkbookRefused

if TYPE_CHECKING:
    from pathlib import Path

CELLS = dimensions(3, 2) + label(0, 0, b"a") + label(0, 1, b"n") + label(1, 0, b"x") + number(1, 1, 2.5)
WANTED = {(1, 0): ("text", "a"), (1, 1): ("text", "n"), (2, 0): ("text", "x"), (2, 1): ("number", 2.5)}


def cells_of(path: Path) -> ReadCells:
    with reading(path) as source:
        return read_cells(source)


PAGES = {1250: ("cp1250", "Třebíč"), 1251: ("cp1251", "Город"), 1253: ("cp1253", "Αθήνα"), 1255: ("cp1255", "שלום"),
         874: ("cp874", "กรุง"), 10000: ("mac-roman", "Zürich"), 1252: ("cp1252", "5 €")}  # fmt: skip


@pytest.mark.parametrize(("page", "codec", "text"), [(page, *rest) for page, rest in PAGES.items()], ids=PAGES)
def test_texts_are_in_the_code_page_of_the_workbook(tmp_path: Path, page: int, codec: str, text: str) -> None:
    """Those of cells, those with several fonts, and results of formulas."""
    coded = text.encode(codec)
    joined = formula(2, 1, excel5.TEXT_RESULT, b"\x1e\x01\x00\x17\x01!\x08")
    result = excel5.record(0x207, len(coded).to_bytes(2, "little") + coded)
    sheet = CELLS + label(2, 0, coded) + joined + result + rich(3, 0, coded + b" rich")
    found = cells_of(write_excel5(tmp_path / "b.xls", sheet, page))
    assert found == {**WANTED, (3, 0): ("text", text), (3, 1): ("text", text), (4, 0): ("text", f"{text} rich")}


@pytest.mark.parametrize("codec", ["cp932", "cp936", "cp949", "cp950"])
def test_code_pages_of_two_bytes_that_the_second_reader_misreads_are_refused(tmp_path: Path, codec: str) -> None:
    coded = "北京".encode(codec)
    path = write_excel5(tmp_path / "b.xls", CELLS + label(2, 0, coded), int(codec[2:]))
    with pytest.raises(CellsDisagree, match="two readers read") as caught:
        cells_of(path)
    assert str(caught.value.place).endswith("Data!A1")


def test_texts_in_a_code_page_that_is_not_named_are_refused(tmp_path: Path) -> None:
    """Both readers would take them for Latin-1, and agree."""
    assert cells_of(write_excel5(tmp_path / "b.xls", CELLS, None)) == WANTED
    path = write_excel5(tmp_path / "b.xls", CELLS + label(2, 0, "Город".encode("cp1251")), None)
    with pytest.raises(WorkbookRefused, match="does not say in which code page") as caught:
        cells_of(path)
    assert str(caught.value.place) == "b.xls, cell A3"


def test_cached_numbers_of_charts_are_no_cells(tmp_path: Path) -> None:
    """Of a chart in the sheet, before and after cells, and of sheets that are charts; macro sheets are none."""
    cached = chart(dimensions(9, 9) + number(0, 0, 77) + label(1, 1, b"cached") + number(2, 1, 78))
    others = [(b"Chart", 2, 0, cached), (b"Macro", 1, 0, worksheet(CELLS)), (b"Module", 6, 0, worksheet(CELLS)),
              (b"Hidden", 0, 1, worksheet(CELLS)), (b"Deep", 0, 2, worksheet(CELLS))]  # fmt: skip
    sheet = CELLS.replace(label(1, 0, b"x"), cached + label(1, 0, b"x")) + cached
    path = write_excel5(tmp_path / "b.xls", sheet, others=others)
    with reading(path) as source:
        assert read_cells(source) == WANTED
        shown = [(each.name, each.visibility) for each in source.workbook.sheets]
    assert shown == [("Data", "visible"), ("Hidden", "hidden"), ("Deep", "veryHidden")]
    path = write_excel5(tmp_path / "b.xls", CELLS, others=[(b"Chart", 0, 0, cached)])
    with pytest.raises(InputError), reading(path, sheet="Chart"):
        pass


@pytest.mark.parametrize("rows", [0, 1, 2, 0xFFFF])
def test_sizes_that_lie_change_no_cell(tmp_path: Path, rows: int) -> None:
    facts = row_facts(0, 5, 9) + row_facts(1, 0, 0, hidden=True) + row_facts(60000, 0, 9)
    sheet = CELLS.replace(dimensions(3, 2), dimensions(rows, rows % 256) + facts)
    with reading(write_excel5(tmp_path / "b.xls", sheet)) as source:
        assert (read_cells(source), source.hidden_rows) == (WANTED, 1)
    path = write_excel5(tmp_path / "b.xls", CELLS + excel5.record(0x208, b"\1\0"))
    with pytest.raises(WorkbookRefused, match="damaged or cut short"):
        cells_of(path)


def test_numbers_of_30_bits_alone_and_several_in_a_record(tmp_path: Path) -> None:
    many = integer(2, 0, 5 << 2 | 2, 12345 << 2 | 3, 0x3FF00000)
    sheet = CELLS + many + integer(3, 1, (-5 << 2 | 2) & 0xFFFFFFFF) + integer(3, 2, (-12345 << 2 | 3) & 0xFFFFFFFF)
    found = cells_of(write_excel5(tmp_path / "b.xls", sheet))
    assert [found[3, n][1] for n in range(3)] + [found[4, n][1] for n in (1, 2)] == [5, 123.45, 1, -5, -123.45]
    path = write_excel5(tmp_path / "b.xls", CELLS + many[:-2] + b"\x09\x00")
    with pytest.raises(WorkbookRefused, match="damaged or cut short"):
        cells_of(path)


@pytest.mark.parametrize("again", [number(1, 1, 9.5), integer(1, 0, 6, 10), number(1, 1, 2.5)])
def test_cell_that_is_written_twice_is_refused(tmp_path: Path, again: bytes) -> None:
    """Both readers take the last one, and the other would be lost without a word."""
    path = write_excel5(tmp_path / "b.xls", CELLS + again)
    with pytest.raises(WorkbookRefused, match=r"cell [AB]2 is written more than once"):
        cells_of(path)
    assert cells_of(write_excel5(tmp_path / "b.xls", dimensions(0, 0) + CELLS[14:] + label(2, 0, b"y")))


CHAINS = {
    "a circle": {1: 0},
    "one sector after itself": {0: 0},
    "beyond all": {2: 5000},
    "a free sector": {2: 0xFFFFFFFF},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("following", CHAINS.values(), ids=CHAINS)
def test_small_workbook_whose_sectors_do_not_end_is_refused(tmp_path: Path, following: dict[int, int]) -> None:
    """xlrd would follow a circle for ever; the same workbook with its chain as it is can be read."""
    assert cells_of(write_small(tmp_path / "b.xls", CELLS)) == WANTED
    with pytest.raises(WorkbookRefused, match="damaged") as caught:
        cells_of(write_small(tmp_path / "b.xls", CELLS, following))
    assert caught.value.exit_code == 3


def test_encrypted_workbook_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """Its texts and numbers are not readable; the record that says so is in the clear."""
    path = write_xls(tmp_path / "b.xls", [Table([["a", "b"], [1, 2]])])
    data = path.read_bytes()
    head = b"\x5c\x00\x70\x00"
    assert data.count(head) == 1
    path.write_bytes(data.replace(head, b"\x2f\x00\x70\x00"))
    with pytest.raises(WorkbookRefused, match="the workbook is encrypted") as caught:
        cells_of(path)
    assert "protecting an .xls encrypts it" in str(caught.value.choice)
    assert caught.value.exit_code == 3


def test_sectors_are_looked_at_once_however_many_streams_share_them() -> None:
    """A chain of a million sectors with 80,000 streams that begin there would have taken hours."""
    chain = [*range(1, 100_000), -2]
    assert not has_circle(chain, [0] * 100_000)
    assert not has_circle(chain, [-2, 99_999, 100_000, 5, 0])
    assert has_circle([*chain, 100_001, 100_000], [0, 100_001])
    assert has_circle([0], [0])
