"""Rows and strings far from the start of their part, spelled as Excel spells none: read as openpyxl reads them, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support.rawbook import MAIN, inline, number, row, shared, write_rows
from support.reading import reading

from importer.cells import spool
from importer.decoding.tasks import ReadTask, Window
from importer.errors import WorkbookRefused
from importer.reading.read_window import read_frame
from importer.settings import Limits

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    Values = dict[tuple[int, int], Any]

pytestmark = pytest.mark.filterwarnings("ignore:Workbook contains no default style")

X = f'xmlns:x="{MAIN}"'
#: Rows 2 and 3 by how they are spelled; in each there is a `<c>` that a reader of plain spellings would miss or invent.
ROWS = {
    "cdata": '<row r="2"><c r="A2" t="str"><v><![CDATA[b & <c>]]> d</v></c><c r="B2"><v><![CDATA[5]]></v></c></row>',
    "cdata with a row": '<row r="2"><c r="A2" t="str"><v><![CDATA[</v></c></row><row r="7"><c r="A7">]]></v></c></row>',
    "comments": '<!-- x --><row r="2"><!-- <c r="B2"><v>1</v></c> --><c r="A2"><v>5</v></c></row>',
    "comment with a row": '<!-- <row r="2"><c r="A2"><v>1</v></c></row> --><row r="3"><c r="A3"><v>5</v></c></row>',
    "comment in a text": '<row r="2"><c r="A2" t="str"><v>a<!-- x -->b</v></c></row>',
    "instructions": '<?x y?><row r="2"><?z <c r="B2"><v>1</v></c> ?><c r="A2"><v>5</v></c></row>',
    "prefixed row": f'<x:row {X} r="2"><x:c r="A2"><x:v>5</x:v></x:c></x:row>',
    "prefixed cell": f'<row r="2"><x:c {X} r="A2"><x:v>5</x:v></x:c><c r="B2"><v>6</v></c></row>',
    "prefixed value": f'<row r="2"><c r="A2"><x:v {X}>5</x:v></c><c r="B2"><v>6</v></c></row>',
    "long prefix": f'<row r="2"><c r="A2"><sheets:v xmlns:sheets="{MAIN}">5</sheets:v></c></row>',
    "single quotes": "<row r='2'><c r='A2' t='str'><v>q</v></c><c r='B2'><v>6</v></c></row>",
    "spaces": '<row r = "2"><c r = "A2" t = "str" ><v >q</v ></c ><c r="B2"><v>6</v></c></row >',
    "end tag of a row": '<row r="2"><c r="A2"><v>5</v></c></row ><row r="3"><c r="A3"><v>6</v></c></row>',
    "line breaks": '<row\nr="2"\n><c\n r="A2"\tt="str"\n><v>q</v></c\n></row\n>',
    "empty tags": '<row r="2"><c r="A2" t="str"><v /></c><c r="B2" /></row ><row r="3"><c r="A3"><v>5</v></c></row>',
    "phonetics": '<row r="2"><c r="A2" t="inlineStr"><is><t>a</t><rPh sb="0" eb="1"><t>x</t></rPh></is></c></row>',
    "rich text": '<row r="2"><c r="A2" t="inlineStr"><is><r><t>a</t></r><r><rPr><b/></rPr><t>b</t></r></is></c></row>',
    "no comment": '<row r="2"><c r="A2" t="str"><v>a! &lt;!-- b --&gt;</v></c></row>',
}
#: Items of shared strings, likewise.
ITEMS = {
    "cdata": "<si><t><![CDATA[a < b]]> c</t></si>",
    "cdata with an item": "<si><t><![CDATA[</t></si><si><t>]]></t></si>",
    "comment with an item": "<!-- <si><t>n</t></si> --><si><t>m</t></si>",
    "instruction": "<si><?x </si> ?><t>q</t></si>",
    "prefixed item": f"<x:si {X}><x:t>p</x:t></x:si>",
    "prefixed text": f"<si><x:t {X}>p</x:t></si>",
    "spaces": "<si ><t >q</t ></si >",
    "single quotes": "<si><t xml:space='preserve'> q </t></si>",
}


def _values(frame: pl.DataFrame) -> Values:
    found = {}
    for name in frame.columns:
        column, _, kind = name.partition(".")
        if kind in {"text", "number"}:
            found |= {(r, int(column)): value for r, value in frame.select("_row", name).drop_nulls().iter_rows()}
    return {place: value for place, value in found.items() if value != ""}  # openpyxl tells no empty text


def _expected(path: Path) -> Values:
    sheet = openpyxl.load_workbook(path).worksheets[0]
    cells = (cell for line in sheet.iter_rows() for cell in line if cell.value is not None)
    return {(cell.row, cell.column - 1): cell.value for cell in cells}


def _window(rows: bytes, folder: Path) -> ReadTask:
    path = folder / "rows.xml"
    path.write_bytes(rows)
    window = Window(0, 1, 3, path, 0, len(rows))
    return ReadTask(window, None, False, Limits().window_cells, folder / "frame", None, None)


@pytest.mark.parametrize("late", ROWS.values(), ids=ROWS)
def test_rows(late: str, tmp_path: Path) -> None:
    rows = row(1, number("A1", 1), inline("B1", "b")) + late
    frame, _ = read_frame(_window(rows.encode(), tmp_path))
    assert _values(frame) == _expected(write_rows(tmp_path / "book.xlsx", rows))


def test_rows_that_are_not_well_formed_are_refused(tmp_path: Path) -> None:
    for late in ("<!-- ", "<![CDATA[", '<c r="A2"><x:v>1</x:v></row>', "<!DOCTYPE a>", '<?x ><c r="A2"><v>1</v></c>'):
        rows = row(1, number("A1", 1)) + f'<row r="2">{late}</row>'
        with pytest.raises(WorkbookRefused, match="rows 1-3 are not well-formed"):
            read_frame(_window(rows.encode(), tmp_path))


def test_comments_at_the_borders_of_windows(tmp_path: Path) -> None:
    """No window ends in a comment, although it may hold what looks like rows."""
    plain = "".join(row(n, inline(f"A{n}", "x" * 2000)) for n in range(2, 2200))
    hidden = "".join(f'<row r="{n}"></row>{"x" * 500}' for n in range(1, 6))
    marked = "".join(f'<row r="{n}"><!--{hidden}--><c r="A{n}"><v>{n}</v></c></row>' for n in range(2200, 5200))
    path = write_rows(tmp_path / "book.xlsx", row(1, inline("A1", "a")) + plain + marked)
    with reading(path, header_rows=(1, 1)) as source:
        assert len(source.windows) > 2
        found: Values = {}
        for window in source.windows:
            found |= _values(spool.read(window.path))
    assert found == _expected(path)


@pytest.mark.parametrize("late", ITEMS.values(), ids=ITEMS)
def test_shared_strings(late: str, tmp_path: Path) -> None:
    count = 2200
    items = "".join(f"<si><t>{'x' * 2000}{n}</t></si>" for n in range(count)) + late + "<si><t>end</t></si>"
    path = write_rows(
        tmp_path / "book.xlsx",
        row(1, inline("A1", "a"))
        + "".join(row(n, shared(f"A{n}", at)) for n, at in ((2, 5), (3, count), (4, count + 1))),
        strings=["never used"],
        parts={"xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{items}</sst>'},
    )
    with reading(path, header_rows=(1, 1)) as source:
        found = _values(spool.read(source.windows[0].path))
    assert found == _expected(path)
