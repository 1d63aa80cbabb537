"""Cells of .ods files as programs write them: what counts as value, what does not, what is refused."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from support.otherbooks import write_ods
from support.reading import read_cells, reading

from importer.errors import CellsDisagree, LimitExceeded, WorkbookRefused

if TYPE_CHECKING:
    from pathlib import Path

COLLAPSED, FILTERED = 'table:visibility="collapse"', 'table:visibility="filter"'


def cell(kind: str, value: str = "", inside: str = "") -> str:
    name = {"float": "value", "percentage": "value", "currency": "value"}.get(kind, f"{kind}-value")
    given = f'office:{name}="{value}"' if value else ""
    return f'<table:table-cell office:value-type="{kind}" {given}>{inside}</table:table-cell>'


def text(content: str) -> str:
    return cell("string", inside=f"<text:p>{content}</text:p>")


def row(cells: str, more: str = "") -> str:
    return f"<table:table-row {more}>{cells}</table:table-row>"


def table(rows: str, name: str = "Data") -> str:
    return f'<table:table table:name="{name}">{rows}</table:table>'


def look(folder: Path, content: str) -> Any:
    with reading(write_ods(folder / "b.ods", [], content)) as source:
        return read_cells(source), source.hidden_rows, source.cut.hidden_columns, source.cut.merges


HEAD = row(text("a") + text("b"))


def test_moments_as_several_programs_write_them(tmp_path: Path) -> None:
    """SheetJS ends each with `Z`, which LibreOffice ignores; beyond year 9999 it is a reject."""
    moments = {
        "2024-02-29T10:11:12Z": dt.datetime(2024, 2, 29, 10, 11, 12), "2024-02-29T10:11:12.500Z": dt.datetime(2024, 2, 29, 10, 11, 12, 500000),
        "2024-02-29Z": dt.datetime(2024, 2, 29), "1800-01-05": dt.datetime(1800, 1, 5), "1899-12-30": dt.datetime(1899, 12, 30),
        "2024-02-29T10:11:12.123456789": dt.datetime(2024, 2, 29, 10, 11, 12, 123000), "2024-02-29T10:11:12+02:00": None,
        "10000-01-01": None, "-0044-03-15": None, "2024-13-01Z": None, "2024-02-30": None,
    }  # fmt: skip
    found, *_ = look(tmp_path, table(HEAD + "".join(row(text("x") + cell("date", each)) for each in moments)))
    wanted = [("unreadable", each) if at is None else ("datetime", at) for each, at in moments.items()]
    wanted[6] = ("instant", "2024-02-29T10:11:12+02:00")
    assert [found[n, 1] for n in range(2, len(moments) + 2)] == wanted
    with pytest.raises(CellsDisagree, match="two readers read"):  # without seconds it is no date of the standard
        look(tmp_path, table(HEAD + row(text("x") + cell("date", "2024-02-29T10:11"))))


def test_only_the_paragraphs_of_a_cell_are_its_text(tmp_path: Path) -> None:
    """Not its comment, a drawing in it, those beside the cells, or the tables of links to other programs."""
    frame = '<draw:frame xmlns:draw="d"><draw:text-box><text:p>no cell</text:p></draw:text-box></draw:frame>'
    note = "<office:annotation><text:p>a note</text:p><text:p>of two lines</text:p></office:annotation>"
    rows = row(text("only a note") + f"<table:table-cell>{note}</table:table-cell>")
    rows += row(cell("string", inside=f"{note}<text:p>x <text:span>y</text:span></text:p>") + cell("float", "3", frame))
    beside = f'<table:shapes>{frame}</table:shapes><table:scenario table:is-active="true"/>'
    links = f"<table:dde-links><table:dde-link>{table(row(text('cached')), '')}</table:dde-link></table:dde-links>"
    found, *_ = look(tmp_path, table(beside + HEAD + rows) + links)
    assert found == {
        (1, 0): ("text", "a"), (1, 1): ("text", "b"), (2, 0): ("text", "only a note"), (3, 0): ("text", "x y"), (3, 1): ("number", 3.0),
    }  # fmt: skip


def test_rows_and_columns_in_groups_filters_and_headers(tmp_path: Path) -> None:
    columns = "<table:table-header-columns><table:table-column/></table:table-header-columns><table:table-column-group>"
    columns += f'<table:table-column {COLLAPSED} table:number-columns-repeated="2"/></table:table-column-group>'
    inner = f'<table:table-row-group table:display="false">{row(text("x") + cell("float", "1"), COLLAPSED)}</table:table-row-group>'
    rows = f"<table:table-header-rows>{HEAD}</table:table-header-rows><table:table-row-group>{inner}"
    rows += (
        f"{row(text('y') + cell('float', '2'), FILTERED)}</table:table-row-group>{row(text('z') + cell('float', '3'))}"
    )
    found, hidden_rows, hidden_columns, _ = look(tmp_path, table(columns + rows))
    assert [found[n, 1] for n in (2, 3, 4)] == [("number", 1.0), ("number", 2.0), ("number", 3.0)]
    assert (hidden_rows, hidden_columns) == (2, ((1, 2),))


def test_covered_cells_keep_their_values(tmp_path: Path) -> None:
    """Below a merged cell a value may be left, which LibreOffice does not show; it counts."""
    spanned = (
        '<table:table-cell office:value-type="string" table:number-columns-spanned="2" table:number-rows-spanned="2">'
    )
    covered = cell("float", "99").replace("table-cell", "covered-table-cell")
    rows = row(f"{spanned}<text:p>x</text:p></table:table-cell>" + covered)
    rows += row('<table:covered-table-cell table:number-columns-repeated="2"/>') + row(text("y") + cell("float", "2"))
    found, _, _, merges = look(tmp_path, table(HEAD + rows))
    assert (found[2, 1], found[4, 1], merges) == (("number", 99.0), ("number", 2.0), ("A2:B3",))


def test_table_in_a_cell_is_refused(tmp_path: Path) -> None:
    """Both readers would leave its cells out."""
    inner = table(row(cell("float", "5")), "inner")
    for outer in (f"<table:table-cell>{inner}</table:table-cell>", cell("string", inside=f"<text:p>x</text:p>{inner}")):
        with pytest.raises(WorkbookRefused, match="a cell holds a table of its own") as caught:
            look(tmp_path, table(HEAD + row(text("x") + outer)))
        assert str(caught.value.place) == "b.ods, row 2"


@pytest.mark.parametrize(
    "odd",
    [
        "<table:table-cell><text:p>plain</text:p></table:table-cell>",
        '<table:table-cell office:value-type="odd" office:value="3"/>',
        cell("string", inside="<text:list><text:list-item><text:p>one</text:p></text:list-item></text:list>"),
        cell("float", "NaN"),
    ],
)
def test_values_that_the_readers_take_for_different_ones_are_refused(tmp_path: Path, odd: str) -> None:
    with pytest.raises((CellsDisagree, WorkbookRefused)) as caught:
        look(tmp_path, table(HEAD + row(text("x") + odd)))
    assert caught.value.exit_code == 3
    assert isinstance(caught.value, WorkbookRefused) or str(caught.value.place).endswith("Data!B2")


def test_sheets_of_the_same_name_are_refused(tmp_path: Path) -> None:
    """The second reader would read the last one, whichever is asked for."""
    content = table(HEAD + row(text("x"))) + table(HEAD + row(text("y")))
    with pytest.raises(WorkbookRefused, match="several sheets have the name 'Data'"):
        look(tmp_path, content)


def test_flat_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "b.fods"
    path.write_text(
        '<?xml version="1.0"?>\n<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"/>'
    )
    with pytest.raises(WorkbookRefused, match=r"a flat OpenDocument file \(\.fods\)") as caught, reading(path):
        pass
    assert "save it as .xlsx" in str(caught.value.choice)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("<a>" * 2_000_000, "nested more than 1,000 deep"),
        ('<table:table table:name="x"/>' * 20_000, "more than 10,000 sheets"),
    ],
    ids=["depth", "sheets"],
)
def test_elements_without_end_are_refused(tmp_path: Path, content: str, fact: str) -> None:
    """A hundred kilobytes of a million of them took a minute and a half, or all memory."""
    with pytest.raises(LimitExceeded, match=fact) as caught:
        look(tmp_path, content)
    assert caught.value.exit_code == 3
