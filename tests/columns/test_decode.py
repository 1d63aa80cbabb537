"""Cells are decoded in columns as they are: by type and format, in any usual spelling; odd ones alone go to the engine."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.randomsheets import Sheet, sheets
from support.rawbook import CLOCK, DATE, ELAPSED, STAMP, STYLES, inline, number, row, write_rows
from support.reading import as_frame, read_cells, reading

from importer.cells import spool
from importer.cells.frame import digits_name, pattern_name
from importer.columns.digits import read_whole
from importer.columns.texts import decode_text
from importer.number_formats.date_serials import DateSystem

if TYPE_CHECKING:
    from pathlib import Path

    from importer.reading.sheet_source import SheetSource

STRINGS = ["<t>first</t>", "<r><t>sec</t></r><r><t>ond</t></r>", "<t></t>"]


def by_engine(source: SheetSource) -> int:
    return source.read_cells()["by_engine"]


@settings(max_examples=settings().max_examples // 2)
@given(sheet=sheets(), chunk_rows=st.sampled_from([None, 3]))
def test_both_ways_read_alike(sheet: Sheet, chunk_rows: int | None, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = sheet.write(tmp_path_factory.getbasetemp() / "both.xlsx")
    header = (sheet.header_row, sheet.header_row)
    frames, facts = [], []
    for engine in ("builtin", "calamine"):
        with reading(path, header_rows=header, chunk_rows=chunk_rows, engine=engine) as source:
            # The words for what is unreadable may differ.
            frames.append(
                as_frame(source).with_columns(pl.when(pl.col("kind") != "unreadable").then("value").alias("value"))
            )
            facts.append((source.header, source.facts, source.rows, [w.formulas for w in source.windows]))
    assert frames[0].equals(frames[1])
    assert facts[0] == facts[1]


# ---- CELLS THAT ARE DECODED -------------------------------------------------------------------------------------

#: A cell with `{r}` for its address, and what it is.
DIRECT: dict[str, tuple[str, tuple[str, Any] | None]] = {
    "number": ("<c {r}><v>1.5</v></c>", ("number", 1.5)),
    "number of that type": ('<c {r} t="n"><v>-2E-3</v></c>', ("number", -0.002)),
    "number, all digits": ("<c {r}><v>0.30000000000000004</v></c>", ("number", 0.1 + 0.2)),
    "style and type": ('<c {r} s="0" t="n"><v>7</v></c>', ("number", 7.0)),
    "type before style": ('<c {r} t="n" s="0"><v>7</v></c>', ("number", 7.0)),
    "address last": ('<c s="0" t="n" {r}><v>7</v></c>', ("number", 7.0)),
    "metadata": ('<c {r} cm="1" s="0" vm="12" ph="1"><v>7</v></c>', ("number", 7.0)),
    "style beyond the list": ('<c {r} s="999"><v>7</v></c>', ("number", 7.0)),
    "date": (f'<c {{r}} s="{DATE}"><v>45383</v></c>', ("datetime", datetime(2024, 4, 1))),
    "date and time": (f'<c {{r}} s="{STAMP}"><v>45383.25</v></c>', ("datetime", datetime(2024, 4, 1, 6))),
    "time": (f'<c {{r}} s="{CLOCK}"><v>0.75</v></c>', ("time", time(18))),
    "time, nearly the next": (f'<c {{r}} s="{CLOCK}"><v>0.51249999999999996</v></c>', ("time", time(12, 18))),
    "duration": (f'<c {{r}} s="{ELAPSED}"><v>1.25</v></c>', ("duration", timedelta(hours=30))),
    "negative duration": (f'<c {{r}} s="{ELAPSED}"><v>-0.5</v></c>', ("duration", timedelta(hours=-12))),
    "no date": (f'<c {{r}} s="{DATE}"><v>60</v></c>', ("unreadable", "date serial 60 (1900-02-29, which did not exist)")),
    "iso date": ('<c {r} t="d"><v>2024-04-01T06:00:00</v></c>', ("datetime", datetime(2024, 4, 1, 6))),
    "shared": ('<c {r} t="s"><v>0</v></c>', ("text", "first")),
    "shared, of runs": ('<c {r} t="s"><v>1</v></c>', ("text", "second")),
    "shared, empty": ('<c {r} t="s"><v>2</v></c>', ("text", "")),
    "shared, no index": ('<c {r} t="s"><v></v></c>', None),
    "inline": ('<c {r} t="inlineStr"><is><t>a b</t></is></c>', ("text", "a b")),
    "inline, spaces": ('<c {r} t="inlineStr"><is><t xml:space="preserve"> a </t></is></c>', ("text", " a ")),
    "inline, spaces without a word": ('<c {r} t="inlineStr"><is><t> a </t></is></c>', ("text", " a ")),
    "inline, long": (f'<c {{r}} t="inlineStr"><is><t>{"long " * 50}</t></is></c>', ("text", "long " * 50)),
    "inline, empty": ('<c {r} t="inlineStr"><is><t></t></is></c>', ("text", "")),
    "inline, without a type": ("<c {r}><is><t>x</t></is></c>", ("text", "x")),
    "inline text in v": ('<c {r} t="inlineStr"><v>x</v></c>', ("text", "x")),
    "entities": ('<c {r} t="str"><v>a &amp;amp; &lt;b&gt;</v></c>', ("text", "a &amp; <b>")),
    "references": ('<c {r} t="str"><v>&#233;&#x4E2D;&#10;&#13;</v></c>', ("text", "é中\n\r")),
    "escapes": ('<c {r} t="inlineStr"><is><t>_x0041__x005F_x0042_ _xD83D__xDE00_</t></is></c>', ("text", "A_x0042_ 😀")),
    "line ends": ('<c {r} t="str"><v>a\r\nb\rc</v></c>', ("text", "a\nb\nc")),
    "beyond ASCII": ('<c {r} t="str"><v>é中😀</v></c>', ("text", "é中😀")),
    "result": ('<c {r} t="str"><f>A1&amp;"_x0041_"</f><v>x</v></c>', ("text", "x")),
    "result that keeps spaces": ('<c {r} t="str"><f>A1</f><v xml:space="preserve"> x </v></c>', ("text", " x ")),
    "empty result": ('<c {r} t="str"><f>A1</f><v></v></c>', ("text", "")),
    "empty result, short": ('<c {r} t="str"><f>A1</f><v/></c>', ("text", "")),
    "number of a formula": ("<c {r}><f>1+1</f><v>2</v></c>", ("number", 2.0)),
    "number of a shared formula": ('<c {r}><f t="shared" si="0"/><v>2</v></c>', ("number", 2.0)),
    "formula": ('<c {r}><f>A1&amp;"x"</f></c>', ("formula", '=A1&"x"')),
    "formula, short": ('<c {r}><f t="shared" si="0"/></c>', ("formula", "=")),
    "formula with an empty value": ('<c {r}><f t="array" ref="A1">A1</f><v></v></c>', ("formula", "=A1")),
    "formula with an empty value, short": ("<c {r}><f>A1</f><v/></c>", ("formula", "=A1")),
    "true": ('<c {r} t="b"><v>1</v></c>', ("boolean", True)),
    "false": ('<c {r} t="b"><v>0</v></c>', ("boolean", False)),
    "false in words": ('<c {r} t="b"><v>false</v></c>', ("boolean", False)),
    "true in words": ('<c {r} t="b"><f>1=1</f><v>TRUE</v></c>', ("boolean", True)),
    "error": ('<c {r} t="e"><v>#N/A</v></c>', ("error", "#N/A")),
    "new error": ('<c {r} t="e"><v>#SPILL!</v></c>', ("error", "#SPILL!")),
    "empty": ('<c {r} s="1"/>', None),
    "empty, two tags": ('<c {r} s="1"></c>', None),
    "empty value": ("<c {r}><v></v></c>", None),
    "empty value, short": ("<c {r}><v/></c>", None),
}  # fmt: skip
#: A cell that is left to the engine.
ODD: dict[str, tuple[str, tuple[str, Any] | None]] = {
    "rich text": ('<c {r} t="inlineStr"><is><r><t>a</t></r><r><rPr><b/></rPr><t> b</t></r></is></c>', ("text", "a b")),
    "phonetics": ('<c {r} t="inlineStr"><is><t>a</t><rPh sb="0" eb="1"><t>x</t></rPh></is></c>', ("text", "a")),
    "white space": ("<c {r}> <v>7</v> </c>", ("number", 7.0)),
    "number with spaces": ("<c {r}><v> 7 </v></c>", ("number", 7.0)),
    "no number": ("<c {r}><v>n/a</v></c>", ("unreadable", "n/a")),
    "number in words": ("<c {r}><v>inf</v></c>", ("unreadable", "inf")),
    "beyond floats": ("<c {r}><v>1e999</v></c>", ("unreadable", "1e999")),
    "two": ('<c {r} t="b"><v>2</v></c>', ("unreadable", "2")),
    "no index": ('<c {r} t="s"><v>1.002</v></c>', ("unreadable", "1.002")),
    "unknown type": ('<c {r} t="x"><v>7</v></c>', ("unreadable", "7")),
    "unknown attribute": ('<c {r} q="7"><v>7</v></c>', ("number", 7.0)),
    "extension": ("<c {r}><v>7</v><extLst><ext><x>8</x></ext></extLst></c>", ("number", 7.0)),
    "two values": ("<c {r}><v>7</v><v>8</v></c>", ("unreadable", "several values: 7 | 8")),
}  # fmt: skip


def book(path: Path, cells: dict[str, tuple[str, tuple[str, Any] | None]], *, sparse: bool) -> Path:
    """Each cell in column B of a row of its own; beside it numbers, or nothing in every third row."""
    lines = [
        row(n, *([] if sparse and n % 3 else [number(f"A{n}", n)]), cell.replace("{r}", f'r="B{n}"'), inline(f"D{n}", f"t{n}"))
        for n, (cell, _) in enumerate(cells.values(), 2)
    ]  # fmt: skip
    return write_rows(path, row(1, inline("A1", "a"), inline("B1", "b")) + "".join(lines), strings=STRINGS)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("chunk_rows", [None, 7])
@pytest.mark.parametrize("cells", [DIRECT, ODD, {**DIRECT, **ODD}], ids=["direct", "odd", "all"])
def test_cell_is_read_as_it_is(tmp_path: Path, cells: Any, sparse: bool, chunk_rows: int | None) -> None:
    path = book(tmp_path / "b.xlsx", cells, sparse=sparse)
    with reading(path, header_rows=(1, 1), chunk_rows=chunk_rows) as source:
        found = read_cells(source)
        assert by_engine(source) == (0 if cells is DIRECT else len(ODD))
    for n, (name, (_, wanted)) in enumerate(cells.items(), 2):
        assert found.get((n, 1)) == wanted, name
        assert found[n, 3] == ("text", f"t{n}")
        assert ((n, 0) in found) == (not sparse or not n % 3)
    assert len(found) == 2 + sum(
        2 - (sparse and n % 3 > 0) + (w is not None) for n, (_, w) in enumerate(cells.values(), 2)
    )


def test_index_beyond_the_shared_strings_is_one_reject(tmp_path: Path) -> None:
    cells = ['<c r="A2" t="s"><v>0</v></c>', '<c r="A3" t="s"><v>99</v></c>', '<c r="A4" t="s"><v>1</v></c>']
    path = write_rows(
        tmp_path / "b.xlsx",
        row(1, inline("A1", "a")) + "".join(row(n, c) for n, c in enumerate(cells, 2)),
        strings=STRINGS,
    )
    with reading(path, header_rows=(1, 1)) as source:
        found = read_cells(source)
    assert (found[2, 0], found[3, 0][0], found[4, 0]) == (("text", "first"), "unreadable", ("text", "second"))


@pytest.mark.parametrize("engine", ["builtin", "calamine"])
def test_what_is_no_number_is_no_duration(tmp_path: Path, engine: str) -> None:
    texts = ["nan", "-NaN", "inf"]
    cells = [f'<c r="{letter}2" s="{ELAPSED}"><v>{text}</v></c>' for letter, text in zip("ABC", texts, strict=True)]
    path = write_rows(tmp_path / "b.xlsx", row(1, inline("A1", "a")) + row(2, *cells))
    with reading(path, header_rows=(1, 1), engine=engine) as source:
        found = read_cells(source)
    assert {found[2, n][0] for n in range(3)} == {"unreadable"}


@pytest.mark.parametrize("engine", ["builtin", "calamine"])
@pytest.mark.parametrize("serial", [60, 60.5, -1, 2958466])
def test_what_is_no_date_beside_what_is_one(tmp_path: Path, serial: float, engine: str) -> None:
    """On 1900-02-29, which did not exist, before the first or after the last day; each alone in its sheet."""
    path = write_rows(tmp_path / "b.xlsx", row(2, number("A2", serial, DATE), number("B2", 61, DATE)))
    with reading(path, header_rows=(1, 1), engine=engine) as source:
        found = read_cells(source)
    assert (found[2, 0][0], found[2, 1]) == ("unreadable", ("datetime", datetime(1900, 3, 1)))


# ---- PLACES -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="2"><c r="A2"><v>1</v></c><c><v>2</v></c><c r="D2"><v>4</v></c><c s="0"><v>5</v></c></row>',
        '<row><c><v>1</v></c><c><v>2</v></c><c s="0"/><c><v>4</v></c><c><v>5</v></c></row>',
        '<row spans="1:5" r="2"><c r="A2"><v>1</v></c><c r="B2"><v>2</v></c><c r="D2"><v>4</v></c><c r="E2"><v>5</v></c></row>',
        ('<row r="2"><c r="A2"><v>1</v></c></row><row r="2"><c r="B2"><v>2</v></c></row>'
        '<row r="2"><c r="D2"><v>4</v></c></row><row r="2"><c r="E2"><v>5</v></c></row>'),
        '<row r="2">\n <c r="A2"><v>1</v></c>\n<c r="B2"><v>2</v></c>\n<c r="C2"/>\n<c r="D2"><v>4</v></c> <c r="E2"><v>5</v></c>\n</row>\n',
        '<row r="2"><c r="A2"><v>1</v></c><c t="inlineStr"><is><r><t>2</t></r></is></c><c/><c><v>4</v></c><c><v>5</v></c></row>',
    ],
    ids=["some without", "none", "row number last", "a row for each cell", "white space", "odd without"],
)  # fmt: skip
def test_places_of_cells(tmp_path: Path, rows: str) -> None:
    path = write_rows(tmp_path / "b.xlsx", row(1, inline("A1", "a")) + rows + row(3, number("ZZ3", 7)))
    with reading(path, header_rows=(1, 1)) as source:
        found = {place: float(value) for place, (_, value) in read_cells(source).items() if place[0] > 1}
        assert by_engine(source) == ("<r>" in rows)
    assert found == {(2, 0): 1.0, (2, 1): 2.0, (2, 3): 4.0, (2, 4): 5.0, (3, 701): 7.0}


def test_odd_cells_do_not_take_others_with_them(tmp_path: Path) -> None:
    """A formula in every row, a rich text and an error here and there."""
    rich, error = '<c r="C{n}" t="inlineStr"><is><r><t>x</t></r></is></c>', '<c r="C{n}" t="e"><v>#N/A</v></c>'
    lines = "".join(
        row(n, number(f"A{n}", n), f'<c r="B{n}"><f>A{n}*2</f><v>{2 * n}</v></c>',
            rich.format(n=n) if n % 500 == 0 else error.format(n=n) if n % 300 == 0 else "")
        for n in range(2, 3_000)
    )  # fmt: skip
    with reading(write_rows(tmp_path / "b.xlsx", row(1, inline("A1", "a")) + lines), header_rows=(1, 1)) as source:
        assert source.read_cells() == {"decoded": 1 + 2 * 2_998 + 8, "by_engine": 5, "judged": 0}
        assert source.facts[2].kinds == {"text": 5, "error": 8}
    with reading(tmp_path / "b.xlsx", header_rows=(1, 1), engine="calamine") as source:
        assert source.read_cells() == {"decoded": 0, "by_engine": 1 + 2 * 2_998 + 13, "judged": 0}


# ---- WHAT CELLS SAY OF NUMBERS ----------------------------------------------------------------------------------

LONG = "12345678901234567890"
#: A cell of row 2 (for all in one: one cell a column), its digits, and its digit pattern.
MARKED: dict[str, tuple[str, str | None, str | None]] = {
    "plain": ("<c {r}><v>{n}</v></c>", LONG, None),
    "printed float": ("<c {r}><v>0.30000000000000004</v></c>", None, None),
    "near to zero": ("<c {r}><v>1E-400</v></c>", "1E-400", None),
    "zero": ("<c {r}><v>0.000000</v></c>", None, None),
    "type last": ('<c {r} s="0" t="n"><v>{n}</v></c>', LONG, None),
    "style first": ('<c s="6" {r}><v>{n}</v></c>', LONG, "00000"),
    "of a formula": ("<c {r}><f>A1</f><v>{n}</v></c>", LONG, None),
    "line break before an attribute": ('<c\n{r} s="6"><v>{n}</v></c>', LONG, "00000"),
    "unknown attribute": ('<c {r} q="1" s="6"><v>7</v></c>', None, "00000"),
    "spaces": ('<c {r} s="6"><v> {n} </v></c>', LONG, "00000"),
    "a date": (f'<c {{r}} s="{DATE}"><v>45383.1234567890123</v></c>', None, None),
    "a text": ('<c {r} s="6" t="str"><v>{n}</v></c>', None, None),
    "beyond the styles": ('<c {r} s="99999999999"><v>{n}</v></c>', LONG, None),
}  # fmt: skip


@pytest.mark.parametrize(("addressed", "engine"), [(True, "builtin"), (False, "builtin"), (False, "calamine")])
def test_marks_of_numbers_in_any_spelling(tmp_path: Path, addressed: bool, engine: str) -> None:
    cells = [
        xml.format(r=f'r="{chr(65 + n)}2"' if addressed else "", n=LONG) for n, (xml, *_) in enumerate(MARKED.values())
    ]
    styles = STYLES.replace("</cellXfs>", '<xf numFmtId="167"/></cellXfs>')
    styles = styles.replace("</numFmts>", '<numFmt numFmtId="167" formatCode="00000"/></numFmts>')
    path = write_rows(tmp_path / "b.xlsx", row(1, inline("A1", "a")) + row(2, *cells), parts={"xl/styles.xml": styles})
    with reading(path, header_rows=(1, 1), engine=engine) as source:
        frame = spool.read(source.windows[0].path)
    found = frame.row(1, named=True)
    for n, (name, (_, digits, pattern)) in enumerate(MARKED.items()):
        if (engine, name) != ("calamine", "spaces"):  # which it takes for a text
            assert (found.get(digits_name(n)), found.get(pattern_name(n))) == (digits, pattern), name


# ---- PARTS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (b"a&amp;lt;b", "a&lt;b"),
        (b"&#x1F600;&#65;&quot;&apos;", "😀A\"'"),
        (b"_x005F_x0041_", "_x0041_"),
        (b"_x0041_x0042_", "Ax0042_"),
        (b"_xD83D__xDE00__xD83D_", "😀_xD83D_"),
        (b"_x00e9_", "é"),
        (b"_x41_", "_x41_"),
        (b"&#95;x0041_", "A"),
        (b"\r\n&#13;", "\n\r"),
        (b"a & b", None),
        (b"&nbsp;", None),
    ],
)
def test_decode_text(xml: bytes, text: str | None) -> None:
    assert decode_text(xml) == text


@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 3e6) | st.integers(0, 70).map(float), min_size=1
    ),
    st.booleans(),
)
@example([0.0, 0.999999999999, 59.9999999999, 60.0, 60.9999, 61.0, 2958465.9999999, 2958466.0, -0.0, -1e-9], False)
def test_serials_together_as_one_by_one(serials: list[float], epoch_1904: bool) -> None:
    system, values = DateSystem(epoch_1904), np.array(serials)
    stamps, is_time, valid = system.stamps(values)
    sizes, storable = system.durations(values)
    for n, serial in enumerate(serials):
        kind, value = system.value(serial, elapsed=False)
        assert (kind == "unreadable") == (not valid[n])
        if valid[n]:
            stamp = datetime(1970, 1, 1) + timedelta(milliseconds=int(stamps[n]))
            assert (kind == "time") == is_time[n]
            assert (stamp.time() if is_time[n] else stamp) == value
        kind, value = system.value(serial, elapsed=True)
        assert (kind == "duration") == storable[n]
        assert not storable[n] or timedelta(milliseconds=int(sizes[n])) == value


@given(st.lists(st.from_regex(r"[0-9]{1,8}", fullmatch=True) | st.text("0123456789 +-.:/x", max_size=9), min_size=1))
@example(["", "0", "00000000", "99999999", "123456789", "12a", "/", ":", "1" * 7 + ":"])
def test_whole_numbers_in_words(texts: list[str]) -> None:
    held = np.array([int.from_bytes(text.encode()[:8].ljust(8, b"\xff"), "little") for text in texts], np.uint64)
    numbers, good = read_whole(held, np.array([len(text) for text in texts]))
    for text, value, known in zip(texts, numbers.tolist(), good.tolist(), strict=True):
        assert known == (text.isdigit() and len(text) <= 8)
        assert not known or value == int(text)
