"""Text files: what is found about them, what every field becomes, and what is refused with its line."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import random
import sys
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from support.reading import read_cells, reading

from importer.cells.text_forms import find_form, widest
from importer.delimited.encodings import find_encoding
from importer.delimited.fields import split_fields
from importer.delimited.open_text import open_text
from importer.delimited.records import Cut, CutSizes, RecordCutter, are_quotes_valid
from importer.delimited.second_reader import check_second_reader, find_lines, is_alike, read_again
from importer.delimited.utf8 import check_utf8
from importer.errors import CellsDisagree, ImporterError, InputError, SheetError, UsageError
from importer.inspection import inspect_workbook, suggest_contract
from importer.plan.infer import infer_type
from importer.runtime.progress import Clock
from importer.settings import Limits, Settings
from importer.stages.read import read_source
from importer.text_files import TextDialect, normalize_delimiter, normalize_encoding
from importer.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read(folder: Path, content: bytes, name: str = "t.csv", **options: Any) -> tuple[dict[str, Any], Any]:
    """All cells by address without the sheet, and the source."""
    path = folder / name
    path.write_bytes(content)
    with reading(path, **options) as source:
        found = {source.address(*at).split("!")[1]: value for at, (_, value) in read_cells(source).items()}
        return found, source


def rows(folder: Path, content: bytes, **options: Any) -> list[str]:
    """The cells as `A1=x`, in the order of the file."""
    return [f"{address}={value}" for address, value in read(folder, content, **options)[0].items()]


def notes(folder: Path, content: bytes, **options: Any) -> str:
    return "\n".join(read(folder, content, **options)[1].notes())


ENCODED = {
    "ascii": (b"n;v\nab;1\n", "read as text: UTF-8, separated by ';'"),
    "utf-8": ("n;v\nZürich;1\n".encode(), "UTF-8, separated"),
    "utf-8-mark": ("n;v\nZürich;1\n".encode("utf-8-sig"), "UTF-8 by its byte order mark"),
    "utf-16": ("n;v\nZürich;1\n".encode("utf-16"), "UTF-16-LE by its byte order mark"),
    "utf-16-be": ("\ufeffn;v\nZürich;1\n".encode("utf-16-be"), "UTF-16-BE by its byte order mark"),
    "utf-16-no-mark": ("n;v\nZürich;1\n".encode("utf-16-le"), "UTF-16-LE by its zero bytes"),
    "utf-16-be-no-mark": ("n;v\nZürich;1\n".encode("utf-16-be"), "UTF-16-BE by its zero bytes"),
    "utf-32": ("n;v\nZürich;1\n".encode("utf-32"), "UTF-32-LE by its byte order mark"),
    "utf-16-no-zeros": ("n;v\nДым雲;1\n".encode("utf-16-be"), "UTF-16-BE by its line ends"),
    "windows-1252": ("n;v\nZürich;1\n".encode("cp1252"), 'Windows-1252 (not UTF-8), as in "Zürich" in line 2'),
}


@pytest.mark.parametrize(("content", "note"), ENCODED.values(), ids=ENCODED)
def test_encoding_is_found_and_said(tmp_path: Path, content: bytes, note: str) -> None:
    found, source = read(tmp_path, content)
    assert found == {"A1": "n", "B1": "v", "A2": found["A2"], "B2": "1"}
    assert found["A2"] in {"ab", "Zürich", "Дым雲"}
    assert note in source.notes()[0]


def test_encoding_that_could_be_several_is_refused_with_what_each_reads(tmp_path: Path) -> None:
    content = "имя;город\nдым;Лондон\n".encode("cp1251")
    with pytest.raises(InputError, match='windows-1251 reads "имя"') as caught:
        read(tmp_path, content)
    assert caught.value.exit_code == 3
    assert "--encoding" in str(caught.value.choice)
    assert read(tmp_path, content, encoding="cp1251")[0]["B2"] == "Лондон"


WORDS = {
    "cp1252": ["Zürich Škoda René", "Béziers déjà très", "Forlì città perché", "Coruña León", "São Camões", "Århus Næstved", "l\u2019été à 5€"],
    "cp1250": ["město Třebíč", "Poznań Kraków", "Győr Pécs", "Čakovec Šibenik", "oraş Bacău", "Łódź"],
    "mac-roman": ["Zürich"], "cp850": ["Köln", "café"],
}  # fmt: skip


@pytest.mark.parametrize("words", [(name, text) for name, texts in WORDS.items() for text in texts], ids=" ".join)
def test_texts_of_other_languages_are_not_taken_for_western_ones(tmp_path: Path, words: tuple[str, str]) -> None:
    """`ř` is `ø` in Windows-1252: what could be either is refused, what is the same in both is not."""
    name, text = words
    path = tmp_path / "t.csv"
    path.write_bytes(f"n;v\n{text};1\n".encode(name))
    if name == "cp1252":
        assert find_encoding(path, None).name == "windows-1252"
    else:
        with pytest.raises(InputError, match="could be in several encodings"):
            find_encoding(path, None)
    assert find_encoding(path, name).name in {name, normalize_encoding(name)}


@pytest.mark.parametrize(
    ("content", "options", "fact", "place"),
    [
        (b"a;b\n\xc3\xa4;1\n\xfc;2\n", {}, "UTF-8 with other bytes in it", "line 3"),
        (b"a;b\nx;\xfc\n", {"encoding": "utf-8"}, "not in the encoding utf-8", "line 2"),
        (b"a;b\nx;\x81\n", {"encoding": "cp1252"}, "not in the encoding cp1252", "line 2"),
        ("imię;miłość\nA;2\n".encode("cp1250"), {}, "could be in several encodings", "line 1"),
        (b'a;b\n1;"x" y\n', {}, "a quoted text is followed by more text", "line 2"),
        (b'a;b\n1;"x\n2;y\n', {}, "a quoted text is never closed", "line 2"),
        (b"a;b,c\n1;2,x\n", {}, "delimiter is not clear: ',' gives 2 columns", "t.csv"),
        (b"name\nDoe, John\nRoe, Jane\n", {}, "delimiter is not clear: ',' gives 2 columns in 67%", "t.csv"),
        (b"\n \n\n", {}, "the file has no rows", "t.csv"),
        (b"\xef\xbb\xbf", {}, "the file has no rows", "t.csv"),
        (b"a\n1,5\n2,5\n", {}, "delimiter is not clear: ',' gives 2 columns", "t.csv"),
        (b"a,b\n'x, y',1\n'z',2\n", {}, "seem to be quoted by ': \"'x, y',1\"", "t.csv"),
        (b"a;b\n'x; y';1\n'z; w';2\n", {}, "seem to be quoted by '", "t.csv"),
        (b"'a','b'\n'1','x'\n'2',''\n", {}, "all texts, those of the header, too, are quoted by '", "t.csv"),
        (b"'a';'b'\n1;'x'\n2,5;'y'\n", {}, "all texts, those of the header, too, are quoted by '", "t.csv"),
        (b"'a'\r\n'x'\r\n", {}, "all texts, those of the header, too, are quoted by '", "t.csv"),
        (b'a, "b"\n1, "x, y"\n2, "z"\n', {}, 'seem to be quoted by " after a space', "t.csv"),
        (b'a,b\n"x \\"y\\" z",1\n', {}, "(a quote is escaped by a backslash)", "line 2"),
        (b"a,b\r1,2\r3,4\n5,6\r", {}, "some lines end with a carriage return, others with a line feed", "t.csv"),
        (b"a,b\r\r\n1,2\r\r\n", {}, "the lines end with two carriage returns", "t.csv"),
        (b"a,b\n1,2\r3,4\n5,6\n", {}, "some lines end with a carriage return", "t.csv"),
        (b"a,b\n" + 9 * b"\0,1\n", {}, "the text has 9 zero bytes", "line 2"),
    ],
)  # fmt: skip
def test_refused_with_the_line(tmp_path: Path, content: bytes, options: dict[str, str], fact: str, place: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, content, **options)
    assert fact in caught.value.fact
    assert place in str(caught.value.place)
    assert caught.value.choice


def test_options_are_checked() -> None:
    assert (normalize_delimiter("TAB"), normalize_delimiter("\\t"), normalize_delimiter("^")) == (b"\t", b"\t", b"^")
    assert (normalize_encoding("UTF-8-sig"), normalize_encoding("latin1")) == ("utf-8", "iso8859-1")
    for bad in ("", "ab", '"', "\n", "7", "é"):
        with pytest.raises(UsageError, match="the delimiter cannot be"):
            normalize_delimiter(bad)
    for bad in ("nonsense", "rot13", "base64", "idna"):
        with pytest.raises(UsageError, match="no encoding"):
            normalize_encoding(bad)


CELLS = {
    "comma": (b"a,b\n1,2\n", ["A1=a", "B1=b", "A2=1", "B2=2"]),
    "tab": (b"a\tb\n1,5\t2\n", ["A1=a", "B1=b", "A2=1,5", "B2=2"]),
    "pipe": (b"a|b\n1|2\n", ["A1=a", "B1=b", "A2=1", "B2=2"]),
    "decimal commas": (b"1,5;2,5\n3,5;4,5\n", ["A1=1,5", "B1=2,5", "A2=3,5", "B2=4,5"]),
    "a title": (b"Report\n\na;b\n1;2\n3;4\n", ["A1=Report", "A3=a", "B3=b", "A4=1", "B4=2", "A5=3", "B5=4"]),
    "sep line": (b"sep=|\r\na|b,c\r\n1|2\r\n", ["A2=a", "B2=b,c", "A3=1", "B3=2"]),
    "crlf": (b'a,b\r\n"1","2"\r\n', ["A1=a", "B1=b", "A2=1", "B2=2"]),
    "cr": (b'a,b\r1,"2\r3"\r4,5', ["A1=a", "B1=b", "A2=1", "B2=2\r3", "A4=4", "B4=5"]),
    "no end": (b"a,b\n1,2", ["A1=a", "B1=b", "A2=1", "B2=2"]),
    "line breaks": (b'a,b\n"1\n\n2",x\n3,y\n', ["A1=a", "B1=b", "A2=1\n\n2", "B2=x", "A5=3", "B5=y"]),
    "doubled quotes": (b'a,b\n"say ""a,b""",""""\n', ["A1=a", "B1=b", 'A2=say "a,b"', 'B2="']),
    "bare quotes": (b'a,b\n5" pipe,6"\nx,"y, z"\n', ["A1=a", "B1=b", 'A2=5" pipe', 'B2=6"', "A3=x", "B3=y, z"]),
    "blanks": (b'a,b\n\n,\n1,\n,""\n', ["A1=a", "B1=b", "A4=1", "B5="]),
    "trailing delimiters": (b"a,b,\n1,2,\n3,4,,,\n", ["A1=a", "B1=b", "A2=1", "B2=2", "A3=3", "B3=4"]),
    "short": (b"a,b,c\n1\n2,3,4\n", ["A1=a", "B1=b", "C1=c", "A2=1", "A3=2", "B3=3", "C3=4"]),
    "only beyond": (b"a,b\n1,2\n,,3\n", ["A1=a", "B1=b", "A2=1", "B2=2", "B3=more fields than columns: ,3"]),
    "long": (b"a,b\n1,2\n3,4,5\n", ["A1=a", "B1=b", "A2=1", "B2=2", "A3=3", "B3=more fields than columns: 4,5"]),
    "spaces": (b"a, b\n 1 ,2 \n", ["A1=a", "B1= b", "A2= 1 ", "B2=2 "]),
    "no quotes": (b"a,b\n'tis, x\ny',2\n", ["A1=a", "B1=b", "A2='tis", "B2= x", "A3=y'", "B3=2"]),
    "return in a text": (b"a,b\r\nx\ry,2\r\n", ["A1=a", "B1=b", "A2=x\ry", "B2=2"]),
    "mixed ends": (b"a,b\r\n1,2\n3,4\r\n", ["A1=a", "B1=b", "A2=1", "B2=2", "A3=3", "B3=4"]),
    "nul": (b"a,b\nx\0y,2\n", ["A1=a", "B1=b", "A2=x\0y", "B2=2"]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "cells"), CELLS.values(), ids=CELLS)
def test_every_field_is_a_cell_at_its_line(tmp_path: Path, content: bytes, cells: list[str]) -> None:
    """Also in windows whose texts polars makes, which are all but every eighth."""
    assert rows(tmp_path, content) == cells
    assert rows(tmp_path, content, chunk_rows=1) == cells


def test_lines_of_other_widths_and_bare_quotes_are_said(tmp_path: Path) -> None:
    said = notes(tmp_path, b'a,b,c\n1,2\n1,2,3\n1,2,3,4\n5",6,7\n')
    assert "fewer fields than the table has columns: 1, the first is line 2" in said
    assert "more fields than the table has columns: 1, rejected, the first is line 4" in said
    assert "quotes that quote nothing: 1, read as they are, the first in line 5" in said


def test_other_quotes_that_are_read_as_texts_are_said(tmp_path: Path) -> None:
    said = notes(tmp_path, b"id,name,n\n1,'Ada',\n2,'Bob','\n3,,x\n")
    assert "quotes ' around all texts of columns B: read as part of the texts" in said
    for plain in (b"id,name\n1,'Ada'\n2,Bob\n", b"id,name\n1,'Ada'\n", b"a,b\n'tis,x\ny',2\n", b"'a'\n"):
        assert "quotes '" not in notes(tmp_path, plain)


def test_blank_lines_are_counted_and_continued_ones_are_not(tmp_path: Path) -> None:
    source = read(tmp_path, b'a,b\n"1\n2",x\n\n3,y\n\n\n"4\n5\n6",z\n')[1]
    assert (source.rows, source.blank_rows) == (3, 3)
    with pytest.raises(SheetError, match="line breaks"):
        read(tmp_path, b'a,b\n"1\n2",x\n', until_blank=True)
    assert read(tmp_path, b"a,b\n1,x\n\n2,y\n", until_blank=True)[1].rows == 1


def test_more_lines_than_a_sheet_has_rows(tmp_path: Path) -> None:
    content = b"a,b\n" + b"\n" * 1_048_600 + b"7,8\n"
    found, source = read(tmp_path, content)
    assert (found["B1048602"], source.rows, source.blank_rows) == ("8", 1, 1_048_600)


def test_line_over_the_limit_is_refused_and_does_not_fill_the_memory(tmp_path: Path) -> None:
    for content in (b"a,b\n" + b"x" * (3 << 20), b'a,b\n1,"' + b"x\n" * (2 << 20)):
        with pytest.raises(InputError, match=r"a line of more than 1,048,576 bytes|is never closed"):
            read(tmp_path, content, limits=Limits(row_bytes=1 << 20))


@pytest.mark.parametrize(
    "line",
    [b'2,"' + b"1,\n" * (2 << 20), b'2,"' + b'""' * (3 << 20), b'2," q,' + b"1," * (3 << 20)],
    ids=["never closed", "quotes", "bare"],
)
def test_long_record_takes_little_more_memory_than_itself(line: bytes) -> None:
    """A position of eight bytes for every byte of it would be a gigabyte for the longest record."""
    text = b"a,b\n1,x\n" + line
    blocks = iter([text[n : n + (1 << 20)] for n in range(0, len(text), 1 << 20)])
    cutter = RecordCutter(blocks, TextDialect("utf-8", b",", b"\n", 0, 1, 2), CutSizes(1 << 20, 2, None, 5 << 20), "t")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="more than 5,242,880 bytes|followed by more text") as caught:
            list(cutter.cuts())
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()
    assert "line 3" in str(caught.value.place)


def test_line_of_very_many_fields_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a line with many million fields") as caught:
        read(tmp_path, b"a,b\n1,2\n3," + b"," * (17 << 20) + b"\n", chunk_rows=1)
    assert caught.value.exit_code == 3


def test_too_many_columns_are_refused_by_the_first_lines(tmp_path: Path) -> None:
    """Before any cell is read; a piece may be read, and delimiters without a text make no column."""
    path = tmp_path / "t.csv"
    path.write_text(",".join(f"c{n}" for n in range(10_000)) + "\n" + "1," * 9_999 + "1\n")
    with pytest.raises(SheetError, match="10,000 columns, a table can have 1,600") as caught:
        open_text(path, None, None, 1600)
    assert "--range A1:BIN1000" in str(caught.value.choice)
    path.write_text(",".join(f"c{n}" for n in range(30)) + "\n" + "1," * 29 + "1\n")
    with reading(path, range="B1:D9", limits=Limits(columns=20)) as source:
        assert [column.header for column in source.header.columns] == ["c1", "c2", "c3"]
    path.write_text("a,b" + "," * 30 + "\n1,2" + "," * 30 + "\n")
    with reading(path, limits=Limits(columns=20)) as source:
        assert [column.header for column in source.header.columns] == ["a", "b"]


def test_columns_beside_a_range_cost_no_more_the_more_rows_they_have(tmp_path: Path) -> None:
    """Counted in calls, of which each column beside it needs some 500 a window; none of them may be for each cell."""

    def calls(columns: int, rows: int) -> int:
        line = ",".join(["1"] * columns) + "\n"
        path = tmp_path / "t.csv"
        path.write_text(",".join(f"c{n}" for n in range(columns)) + "\n" + line * rows)
        count = itertools.count()
        sys.setprofile(lambda *_: next(count) and None)
        try:
            with reading(path, range="B1:D9"):
                pass
        finally:
            sys.setprofile(None)
        return next(count)

    calls(9, 9)
    few, many, wide = calls(100, 12), calls(100, 120), calls(300, 12)
    assert many < 1.3 * few
    assert wide < 3.5 * few


def test_random_files_are_read_as_python_reads_them(tmp_path: Path) -> None:
    """Small windows: cuts fall everywhere; the delimiters, quotes and line ends of random fields, too."""
    for seed in range(40):
        dice = random.Random(seed)
        delimiter, end = dice.choice(",;\t|"), dice.choice(["\n", "\r\n"])
        width = dice.randint(2, 5)
        body = [
            ["".join(dice.choices('ab1 ,;\t|"\né雲', k=dice.randint(0, 9))) for _ in range(width)] for _ in range(30)
        ]
        path = tmp_path / f"{seed}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=delimiter, lineterminator=end).writerows([["h"] * width, *body])
        with reading(path, delimiter=delimiter, chunk_rows=dice.randint(1, 9)) as source:
            found = {at: value for at, (_, value) in read_cells(source).items() if at[0] > 1}
        line, wanted = 2, {}
        for fields in body:
            wanted |= {(line, n): text for n, text in enumerate(fields) if text}
            line += 1 + sum(text.count("\n") for text in fields)
        assert {at: text for at, text in found.items() if text} == wanted, seed


def test_records_are_cut_alike_whatever_the_blocks(tmp_path: Path) -> None:
    text = b'a,b\n"x\n""y""",2\n5" z,3\n"q",\r\nlast,"1"'
    dialect = TextDialect("utf-8", b",", b"\n", 0, 1, 2)
    for size in range(1, len(text) + 1):
        blocks = iter([text[n : n + size] for n in range(0, len(text), size)])
        cuts = list(RecordCutter(blocks, dialect, CutSizes(4, 1, 2, 99), "t").cuts())
        assert b"".join(cut.rows for cut in cuts) == b'a,b\n"x\n""y""",2\n"5"" z",3\n"q",\r\nlast,"1"\n'
        in_place = [cut for cut in cuts if cut.offset is not None]
        assert in_place or size > 9
        assert all(text[cut.offset :].startswith(cut.rows) for cut in in_place)


def test_quick_cuts_end_where_records_end() -> None:
    """Where all quotes quote, counting them says as much as looking at each."""
    quick_cuts = 0
    for seed in range(60):
        dice = random.Random(seed)
        fields = ["".join(dice.choices('ab ,"\r\n', k=dice.randint(0, 9))) for _ in range(300)]
        quoted = [f'"{each.replace(chr(34), chr(34) * 2)}"' if dice.random() < 0.9 else "plain" for each in fields]
        text = "".join(f"{a},{b}\n" for a, b in zip(quoted[::2], quoted[1::2], strict=True)).encode()
        dialect, size = TextDialect("utf-8", b",", b"\n", 0, 1, 2), dice.randint(40, 900)
        ends = set(itertools.accumulate(len(cut.rows) for cut in _cuts(text, dialect, CutSizes(size, 1, 1, 9999))))
        quick = list(_cuts(text, dialect, CutSizes(size, 1, None, 9999), quick=True))
        assert set(itertools.accumulate(len(cut.rows) for cut in quick)) <= ends
        assert b"".join(cut.rows for cut in quick) == text
        lines = [cut.first_line for cut in quick]
        assert lines == [1, *(1 + text[: cut.offset].count(b"\n") for cut in quick[1:])]
        quick_cuts += len(quick)
    assert quick_cuts > 500


def _cuts(text: bytes, dialect: TextDialect, sizes: CutSizes, *, quick: bool = False) -> Iterator[Cut]:
    blocks = iter([text[n : n + 100] for n in range(0, len(text), 100)])
    return RecordCutter(blocks, dialect, sizes, "t", quick=quick).cuts()


_LATE_QUOTES = {
    "odd": b'5" pipe,x\n"q","r"\n', "even": b'5" pipe,6"\n"q,\n","r"\n', "last": b'"q",5"\n', "after": b'a "b" c,d\n',
}  # fmt: skip


def test_last_rows_of_a_large_file_are_a_window_of_their_own() -> None:
    """The other workers wait for it, because only the end of the file says whether they are data."""
    text = b"".join(b'%d,"x,\ny"\n' % n for n in range(600_000))
    dialect = TextDialect("utf-8", b",", b"\n", 0, 1, 2)
    for quick, size in itertools.product((False, True), (1 << 19, 5 << 20, 9 << 20)):
        blocks = iter([text[n : n + (1 << 19)] for n in range(0, len(text), 1 << 19)])
        cuts = list(RecordCutter(blocks, dialect, CutSizes(size, 10, None, 64 << 20, 64), "t", quick=quick).cuts())
        assert b"".join(cut.rows for cut in cuts) == text
        assert (cuts[-1].lines == 2 * 64) == (size > 1 << 20)
        assert cuts[0].lines == 20


def _make_windows_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importer.reading.text_windows.window_bytes", lambda *_: 50_000)
    monkeypatch.setattr("importer.delimited.transcode.BLOCK_BYTES", 20_000)


@pytest.mark.parametrize("end", _LATE_QUOTES.values(), ids=_LATE_QUOTES)
def test_quotes_that_quote_nothing_in_a_late_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    """Windows are cut in good faith until a worker finds one; then the file is cut again."""
    _make_windows_small(monkeypatch)
    path = tmp_path / "t.csv"
    start = b"".join(b'"t ""%d"",\n",u\n' % n for n in range(9_000))
    path.write_bytes(b"a,b\n" + start + end + start)
    found = inspect_workbook(path, workers=0)
    assert "so the whole file was read again, quote by quote" in found.disputes[0]
    with reading(path, engine="calamine") as source:
        assert "quotes that quote nothing" in "\n".join(source.notes())
        assert (found.source.rows, found.source.facts) == (source.rows, source.facts)
    assert found.source.rows == 18_000 + end.count(b"\n") - end.count(b"q,\n")
    assert suggest_contract(path, workers=0)["fields"][1]["name"] == "b"


def test_quote_that_is_never_closed_in_a_late_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_windows_small(monkeypatch)
    path = tmp_path / "t.csv"
    lines = b'"t",u\n' * 20_000
    for end, what in ((b'x,"open\n' + lines, "followed by more text"), (b'x,"open\nx,y\n', "never closed")):
        path.write_bytes(b"a,b\n" + lines + end)
        with pytest.raises(InputError, match=what) as caught:
            inspect_workbook(path, workers=0)
        assert "line 20002" in str(caught.value.place)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, encoding: str) -> None:
    """Windows of UTF-8 are read where they stand in it."""
    path = tmp_path / "t.csv"
    path.write_bytes("".join(f"{n:04},x\n" for n in range(99)).encode(encoding))
    settings = Settings(workbook=path, workers=0, chunk_rows=9)

    def change() -> None:
        path.write_bytes(path.read_bytes().replace("x".encode(encoding[:6]), "y".encode(encoding[:6])))

    with Pool(0, settings.limits, tmp_path / "log") as pool, pytest.raises(InputError, match="changed while it was"):
        read_source(settings, pool, tmp_path, Clock(), between_windows=change)


def test_tasks_end_with_the_reading_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where somebody holds the error: collected later, they would end those of the next reading."""
    run_tasks, ended = Pool.run, []

    def run(*args: Any, **options: Any) -> Iterator[Any]:
        try:
            yield from run_tasks(*args, **options)
        finally:
            ended.append(threading.current_thread())

    monkeypatch.setattr(Pool, "run", run)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 99)
    calls = itertools.count()
    with Pool(0, Limits(), tmp_path / "log") as pool, pytest.raises(ZeroDivisionError) as caught:
        settings = Settings(workbook=path, workers=0, chunk_rows=9)
        read_source(settings, pool, tmp_path, Clock(), between_windows=lambda: 1 // (3 - next(calls)) and None)
    assert (ended, bool(caught.value.__traceback__)) == ([threading.main_thread()], True)


def test_second_reader_names_the_cell() -> None:
    dialect = TextDialect("utf-8", b",", b"\n", 0, 1, 2)
    frame = pl.DataFrame({"_row": [1, 2], "0.text": ["a", "1"], "1.text": ["b", "3"]})
    with pytest.raises(CellsDisagree, match="two readers read '3' and '2'") as caught:
        check_second_reader(read_again(b"a,b\n1,2\n", dialect), frame, np.array([1, 2]))
    assert caught.value.place == "B2"
    with pytest.raises(CellsDisagree, match="find 2 and 3 rows"):
        check_second_reader(read_again(b"a,b\n1,2\n3,4\n", dialect), frame, np.array([1, 2]))


@pytest.mark.parametrize("seed", range(4))
def test_lengths_say_what_a_search_for_each_field_says(seed: int) -> None:
    """Of files as they are written, always; of files with other bytes in them, never more than the search."""
    dice = random.Random(seed)
    agreed = 0
    for _ in range(150):
        width, end, quoting = dice.randint(1, 4), dice.choice(["\n", "\r\n"]), dice.choice([0, 0, 1])
        dialect = TextDialect("utf-8", b",", b"\n", 0, 1, width)
        body = [["".join(dice.choices('ab,"\né', k=dice.randint(0, 5))) for _ in range(width)] for _ in range(9)]
        with io.StringIO(newline="") as file:
            csv.writer(file, lineterminator=end, quoting=quoting).writerows(body)
            rows = file.getvalue().encode()
        breaks = rows.count(b"\n")
        fields, theirs = split_fields(rows, dialect, 5), read_again(rows, dialect)
        lines = find_lines(rows, dialect, theirs, (5, 4 + breaks))
        if any(len(fields) > 1 for fields in body):
            assert lines is not None
            assert lines.tolist() == fields.lines.tolist()
        changed = bytearray(rows)
        changed[dice.randrange(len(rows))] = ord(dice.choice('a,"\n\r'))
        for data, given in ((bytes(changed), theirs), (rows, _shifted(theirs)), (bytes(changed), None)):
            fields = split_fields(data, dialect, 5)
            valid = not len(fields.quotes) % 2 and are_quotes_valid(fields.data, fields.quotes, dialect)
            try:
                read = read_again(data, dialect) if given is None else given
                lines = find_lines(data, dialect, read, (5, 4 + data.count(b"\n")))
            except CellsDisagree:
                continue
            if lines is not None:
                agreed += 1
                assert valid
                assert fields.even(width)
                assert is_alike(read, fields)
                assert lines.tolist() == fields.lines.tolist()
    assert agreed > 50


def _shifted(texts: pl.DataFrame) -> pl.DataFrame:
    """The same bytes, but a field ends one later."""
    return texts.with_columns((texts["0"] + "x").alias("0"), texts[texts.columns[-1]].str.slice(1).alias("9")).drop(
        texts.columns[-1] if texts.width > 1 else []
    )


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        (b"ab,c\nd,e\n", {"0": ["a", "d"], "1": ["bc", "e"]}),
        (b"a,b\nc,d\n", {"0": ["a", "c"], "1": ["b\nc", "d"]}),
        (b"a,\n,d\n", {"0": ["a", ""], "1": [None, "d"]}),
        (b'a,""\n"",d\n', {"0": ["a", None], "1": ["", "d"]}),
        (b"a,b\nc,d\n", {"0": ["a", "c", "e"], "1": ["b", "d", "f"]}),
        (b'"a,b",c\nd,e\n', {"0": ['"a', "d"], "1": ["b", "e"]}),
        (b'"a,b",c\nd,e\n', {"0": ["a,b,", "d"], "1": ["", "e"]}),
        (b'a"b,c\nd"e,f\n', {"0": ['a"b', 'd"e'], "1": ["c", "f"]}),
        (b"a,b\r\nc,d\r\n", {"0": ["a", "c"], "1": ["b\r", "d"]}),
        (b"a,b\r\nc,d\n", {"0": ["a", "c"], "1": ["b\r", "d"]}),
        (b"a,b\nc,d", {"0": ["a", "c"], "1": ["b", "d"]}),
    ],
)
def test_texts_that_are_not_what_is_written(rows: bytes, texts: dict[str, list[str | None]]) -> None:
    theirs = pl.DataFrame(texts, schema=dict.fromkeys(texts, pl.String))
    assert find_lines(rows, TextDialect("utf-8", b",", b"\n", 0, 1, 2), theirs, (1, rows.count(b"\n"))) is None


FORMS = {
    "integer": ["1", "-20", "0", "999999999999999"], "long": ["1234567890123456", "7"], "number": ["1.50", "2", "-0.5"],
    "boolean": ["true", "FALSE"], "date": ["2024-02-29"], "datetime": ["2024-02-29 10:00", "2024-01-01T23:59:59.5", "2024-01-01"],
}  # fmt: skip
TEXTS = [
    ["007"], ["1", "01"], ["+5"], ["1e5"], ["1,5"], ["12345678901234567890"], ["1234567890.1234567"], ["0x1"], ["-"],
    [" 1"], ["1 "], ["1."], [".5"], ["yes"], ["2023-02-29"], ["2024-01-01T24:00"], ["2024-01-01T10:00Z"], ["1", "x"],
    ["NaN"], ["-0"], ["٣"], ["1", "true"], ["1234567890123456", "1.5"],
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_form_of_texts(form: str) -> None:
    assert find_form(pl.Series(FORMS[form])) == form


@pytest.mark.parametrize("texts", TEXTS, ids=" ".join)
def test_texts_that_would_lose_something_stay_texts(texts: list[str]) -> None:
    forms = [find_form(pl.Series([text])) for text in texts]
    assert find_form(pl.Series(texts)) in {"text"} | ({"integer"} if texts == ["-0"] else set())
    assert len(texts) == 1 or widest(forms) == "text"


def test_forms_of_windows_are_joined() -> None:
    assert widest([]) == widest([""]) == ""
    assert widest(["integer", "", "number"]) == "number"
    assert widest(["date", "datetime"]) == "datetime"
    assert widest(["integer", "long"]) == "long"
    assert widest(["long", "number"]) == widest(["date", "integer"]) == "text"


def test_types_are_decided_from_all_rows(tmp_path: Path) -> None:
    lines = b"".join(b"%d,%d.50,2024-01-%02d,x\n" % (n, n, n % 28 + 1) for n in range(400))
    types = {}
    for name, late in (("plain", b""), ("late", b"007,a,2024-01-01 10:00,\n")):
        source = read(tmp_path, b"id,price,day,note\n" + lines + late, chunk_rows=50)[1]
        types[name] = [infer_type(source.facts[c.index]) for c in source.header.columns]
    assert types == {
        "plain": ["integer", "number", "date", "string"],
        "late": ["string", "string", "datetime", "string"],
    }


def test_a_range_has_types_of_its_own_and_cells_beside_it_are_counted(tmp_path: Path) -> None:
    source = read(tmp_path, b"a,b,c\n1,2024-01-01,x\n2,,y\n3,2024-01-03,\n4,z,q\n", range="A1:B4", chunk_rows=2)[1]
    assert [infer_type(source.facts[c.index]) for c in source.header.columns] == ["integer", "date"]
    assert (source.rows, source.edges.outside) == (3, 5)


def test_missing_values_do_not_decide(tmp_path: Path) -> None:
    source = read(tmp_path, b'a,b\n1,x\nn/a,y\n"",z\n', null=("n/a",))[1]
    assert infer_type(source.facts[0]) == "integer"


def test_errors_of_texts_travel(tmp_path: Path) -> None:
    with pytest.raises(ImporterError):
        read(tmp_path, b"a,b\n", sheet="Other")


def test_only_texts_that_are_no_values_yet_are_proposed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id;price;day;late\n1;1,50;2024-01-02;13.04.2024\n2;2,25;2024-01-03;01.05.2024\n")
    types = {}
    for parse_texts in (False, True):
        found = inspect_workbook(path, workers=0, parse_texts=parse_texts).to_dict()
        types[parse_texts] = [column["type"] for column in found["columns"]]
        hints = [note.partition(":")[0] for note in found["notes"] if "--parse-texts" in note]
        assert hints == ["price", "late"]
    assert types == {
        False: ["bigint", "text", "date", "text"],
        True: ["bigint", "double precision", "date", "date"],
    }


def test_utf8_is_checked_as_python_checks_it() -> None:
    dice = random.Random(7)
    pieces = [
        b"a",
        b"\n",
        "é".encode(),
        "雲".encode(),
        "😀".encode(),
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe9",
        b"\xf0\x9f",
        b"\x80",
    ]
    for _ in range(3000):
        weights = [20, 5, 20, 20, 20, *([dice.choice([0, 0, 0, 1])] * 7)]
        data = b"".join(dice.choices(pieces, weights, k=dice.randint(0, 12)))[: dice.randint(0, 30)]
        for final in (False, True):
            found: list[Any] = []
            for check in (lambda d, f: check_utf8(d, final=f), lambda d, f: codecs.utf_8_decode(d, "strict", f)[1]):
                try:
                    found.append(check(data, final))
                except UnicodeDecodeError as exc:
                    found.append(("bad", exc.start))
            assert found[0] == found[1], data
