"""A sheet reads alike however it is cut into windows, and whatever the rows look like at the cuts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from support.randomsheets import Cell, Sheet, sheets
from support.rawbook import error, formula, inline, number, row, write_rows
from support.reading import as_frame, check_read, read_cells, reading

from importer.decoding.engine import Engine, open_rows, read_single_dtype
from importer.decoding.tasks import ReadTask, Window
from importer.excel.addresses import column_index, column_letters
from importer.excel.workbook import open_workbook
from importer.reading.row_splitter import row_range
from importer.reading.windows import HEAD_ROWS, LONG_ROWS_BYTES, WINDOW_BYTES, WindowSizes, WindowSplitter
from importer.settings import Limits

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(1800)  # with --long

CHUNKS = (1, 2, 7, 1000, None)


#: A number that no float can hold, in windows dense and sparse.
INFINITE = Sheet(
    1, {700: "only"}, {(129, 700): Cell("unreadable", None, "1e400", 0)}, epoch_1904=False, spelling="plain", strings=[]
)


@settings(max_examples=settings().max_examples // 5)
@given(sheet=sheets())
@example(sheet=INFINITE)
def test_windows_give_the_same_cells_however_they_are_cut(
    sheet: Sheet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = sheet.write(tmp_path_factory.getbasetemp() / "cut.xlsx")
    header = (sheet.header_row, sheet.header_row)
    frames, facts = [], []
    for chunk_rows in CHUNKS:
        with reading(path, header_rows=header, chunk_rows=chunk_rows) as source:
            check_read(sheet, source)
            frames.append(as_frame(source))
            # Sums of floats depend on how they are cut.
            columns = {column: replace(found, total=0.0) for column, found in source.facts.items()}
            facts.append((source.header, columns, source.rows, source.blank_rows))
    assert all(frame.equals(frames[-1]) for frame in frames)
    assert all(fact == facts[-1] for fact in facts)


def test_threads_that_take_turns_read_their_own_rows(tmp_path: Path) -> None:
    """What is kept for the next window belongs to the thread that keeps it, also where workbooks are alike."""

    def engine(letter: str) -> Engine:
        out = tmp_path / "window.arrow"
        window = Window(0, 1, 1, out, 0, 0)
        task = ReadTask(window, None, epoch_1904=False, window_cells=1000, out=out, strings=None, styles=None)
        return open_rows(task, row(1, inline("A1", letter * 3)).encode(), None)

    def texts(sheet: Engine) -> list[str]:
        return read_single_dtype(sheet, "string")[0].to_list()

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        first = one.submit(engine, "a").result()
        second = two.submit(engine, "b").result()
        assert (one.submit(texts, first).result(), two.submit(texts, second).result()) == (["aaa"], ["bbb"])


@pytest.mark.parametrize(("length", "least", "most"), [(500, 1, WINDOW_BYTES), (10_000, WINDOW_BYTES, LONG_ROWS_BYTES)])
def test_windows_of_long_rows_are_larger(tmp_path: Path, length: int, least: int, most: int) -> None:
    """Whole windows lie between the bounds; the file that they wait in is used again and again."""
    cell = "x" * length
    rows = "".join(row(n, inline(f"A{n}", cell)) for n in range(1, 30_000_000 // length))
    path = write_rows(tmp_path / "l.xlsx", rows)
    workbook = open_workbook(path, Limits())
    cutting = WindowSplitter(workbook, workbook.sheet(None), tmp_path, Limits(), WindowSizes(HEAD_ROWS, None, 1))
    sizes = []
    with cutting:
        for window in cutting.windows():
            sizes.append(window.length)
            cutting.release(window.number)
    assert sum(sizes) > 30_000_000
    assert all(least < size <= most for size in sizes[1:-1])
    # A slot for the head, and one for the others in turn.
    assert (tmp_path / "windows.xml").stat().st_size < 3 * LONG_ROWS_BYTES


@pytest.mark.parametrize("window_cells", [1, 8, 50, 300])
@settings(max_examples=settings().max_examples // 4)
@given(sheet=sheets())
def test_windows_too_sparse_for_the_engine_read_alike(
    window_cells: int, sheet: Sheet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = sheet.write(tmp_path_factory.getbasetemp() / f"sparse{window_cells}.xlsx")
    with reading(
        path,
        header_rows=(sheet.header_row, sheet.header_row),
        limits=Limits(window_cells=window_cells),
        engine="calamine",
    ) as source:
        check_read(sheet, source)


@pytest.mark.parametrize("chunk_rows", CHUNKS)
def test_windows_of_many_rows(tmp_path: Path, chunk_rows: int | None) -> None:
    lines = "".join(row(n, number(f"A{n}", n), inline(f"C{n}", f"text {n}")) for n in range(2, 400))
    path = write_rows(tmp_path / "many.xlsx", row(1, inline("A1", "a"), inline("C1", "c")) + lines)
    with reading(path, chunk_rows=chunk_rows) as source:
        cells = read_cells(source)
        rows = [(window.first_row, window.last_row) for window in source.windows if window.rows]
    assert cells == {(1, 0): ("text", "a"), (1, 2): ("text", "c")} | {
        (n, 0): ("number", float(n)) for n in range(2, 400)
    } | {(n, 2): ("text", f"text {n}") for n in range(2, 400)}
    assert len(rows) == {1: 399, 2: 200, 7: 57, 1000: 2, None: 2}[chunk_rows]
    assert [first for first, _ in rows[1:]] == [last + 1 for _, last in rows[:-1]]


@pytest.mark.parametrize("chunk_rows", CHUNKS)
@pytest.mark.parametrize(
    "empty", ['<row r="{n}"/>', '<row r="{n}"></row>', '<row r="{n}" ht="20"><c r="A{n}" s="1"/></row>', "\n  "]
)
def test_windows_between_rows_without_cells(tmp_path: Path, empty: str, chunk_rows: int | None) -> None:
    lines = "".join(row(n, number(f"B{n}", n)) if n % 5 == 0 else empty.format(n=n) for n in range(2, 101))
    path = write_rows(tmp_path / "empty.xlsx", row(1, inline("B1", "b")) + lines)
    for limits in (Limits(), Limits(window_cells=4)):
        with reading(path, chunk_rows=chunk_rows, limits=limits) as source:
            assert read_cells(source) == {(1, 1): ("text", "b")} | {
                (n, 1): ("number", float(n)) for n in range(5, 101, 5)
            }
            assert (source.rows, source.blank_rows) == (20, 79)


@pytest.mark.parametrize("chunk_rows", CHUNKS)
@pytest.mark.parametrize("limits", [Limits(), Limits(window_cells=2)])
def test_windows_of_rows_without_numbers(tmp_path: Path, chunk_rows: int | None, limits: Limits) -> None:
    lines = "".join(
        f"<row><c><v>{n}</v></c><c t='e'><v>#SPILL!</v></c></row>".replace("'", '"') if n % 4 else "<row/>"
        for n in range(2, 30)
    )
    path = write_rows(tmp_path / "bare.xlsx", '<row><c t="inlineStr"><is><t>a</t></is></c></row>' + lines)
    with reading(path, chunk_rows=chunk_rows, limits=limits, header_rows=(1, 1)) as source:
        rows = [n for n in range(2, 30) if n % 4]
        expected = {(n, 0): ("number", float(n)) for n in rows} | {(n, 1): ("error", "#SPILL!") for n in rows}
        assert read_cells(source) == {(1, 0): ("text", "a")} | expected


@pytest.mark.parametrize("chunk_rows", CHUNKS)
def test_windows_with_problems_only(tmp_path: Path, chunk_rows: int | None) -> None:
    lines = "".join(row(n, formula(f"A{n}", "B1") if n % 2 else error(f"A{n}", "#N/A")) for n in range(3, 30, 3))
    path = write_rows(tmp_path / "problems.xlsx", row(1, inline("A1", "a")) + lines)
    with reading(path, chunk_rows=chunk_rows) as source:
        assert source.facts[0].kinds == {"formula": 5, "error": 4}
        assert source.facts[0].typed == frozenset()


@pytest.mark.parametrize("chunk_rows", CHUNKS)
def test_windows_of_rows_in_pieces(tmp_path: Path, chunk_rows: int | None) -> None:
    """Each cell is in a `<row>` of its own, and no sheet row is in two windows."""
    lines = "".join(row(n, number(f"{c}{n}", n)) for n in range(2, 60) for c in "ABC")
    path = write_rows(tmp_path / "pieces.xlsx", "".join(row(1, inline(f"{c}1", c)) for c in "ABC") + lines)
    with reading(path, chunk_rows=chunk_rows) as source:
        assert read_cells(source) == {(1, c): ("text", "ABC"[c]) for c in range(3)} | {
            (n, c): ("number", float(n)) for n in range(2, 60) for c in range(3)
        }


def test_row_range_of_rows_with_and_without_numbers() -> None:
    assert row_range(b'<row r="5"><c/></row><row><c/></row><row r="9"/><row/>', 1) == (5, 10)
    assert row_range(b"<row><c/></row><row/>", 7) == (7, 8)
    assert row_range(b"  ", 3) == (3, 3)


@pytest.mark.parametrize(
    ("index", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16_383, "XFD")]
)
def test_column_letters_and_back(index: int, letters: str) -> None:
    assert (column_letters(index), column_index(letters)) == (letters, index)
