"""Sheets with few cells far apart: each is read where it is, and the work follows the cells, not width x height."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commandline import MIB, importer
from support.rawbook import boolean, error, formula, inline, number, row, shared, write_rows
from support.reading import read_cells, reading

from importer.columns import arrays
from importer.errors import SheetError, WorkbookRefused
from importer.excel.addresses import MAX_COLUMNS, MAX_ROWS, column_index, column_letters

if TYPE_CHECKING:
    from pathlib import Path

#: Memory of all processes together; a small sheet needs about 300 MiB.
MEMORY = 600 * MIB


def _ref(line: int, column: int) -> str:
    return f"{column_letters(column)}{line}"


def _rows(cells: dict[tuple[int, int], object], empty: str = "") -> str:
    """Rows with these numbers and texts by (row, column); `empty` is what stands in each row besides."""
    lines: dict[int, str] = {}
    for (line, column), value in sorted(cells.items()):
        ref = _ref(line, column)
        lines[line] = lines.get(line, empty) + (
            inline(ref, value) if isinstance(value, str) else number(ref, value)  # type: ignore[arg-type]
        )
    return "".join(row(line, xml) for line, xml in lines.items())


places = st.tuples(
    st.sampled_from([2, 3, 4, 63, 64, 65, 999, 1_000_000, MAX_ROWS - 1, MAX_ROWS]) | st.integers(2, MAX_ROWS),
    st.sampled_from([0, 1, 25, 26, 701, 702, MAX_COLUMNS - 1]) | st.integers(0, MAX_COLUMNS - 1),
)
values = st.integers(-(10**9), 10**9) | st.text("aé中😀 ", min_size=1, max_size=5)


@settings(max_examples=settings().max_examples // 3)
@given(st.dictionaries(places, values, max_size=40), st.sampled_from([None, 3]))
def test_every_cell_is_read_where_it_is(
    tmp_path_factory: pytest.TempPathFactory, cells: dict[tuple[int, int], object], chunk_rows: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "far.xlsx"
    write_rows(path, _rows({(1, 0): "first", (1, 1): "second", **cells}))
    with reading(path, header_rows=(1, 1), chunk_rows=chunk_rows, footer="keep") as source:
        found = {place: value for place, (_, value) in read_cells(source).items() if place[0] > 1}
        assert found == cells
        assert source.rows == len({line for line, _ in cells})


@pytest.mark.parametrize("declared", ["", '<dimension ref="A1:XFD60000"/>', '<dimension ref="A1:B9"/>'])
def test_first_and_last_column_of_many_rows(tmp_path: Path, declared: str) -> None:
    last = MAX_COLUMNS - 1
    cells: dict[tuple[int, int], object] = {(n, c): n * 2 + c for n in range(2, 30_000) for c in (0, last)}
    path = write_rows(tmp_path / "wide.xlsx", _rows({(1, 0): "a", (1, last): "b", **cells}), before=declared)
    ran = importer("inspect", path, "--workers", 1, "--memory", 256, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.peak < MEMORY
    with reading(path) as source:
        assert [(c.letter, c.name) for c in source.header.columns] == [("A", "a"), ("XFD", "b")]
        assert {c: facts.cells for c, facts in source.facts.items() if facts.cells} == {0: 29_998, last: 29_998}


def test_cells_scattered_over_a_thousand_columns(tmp_path: Path) -> None:
    """Windows hold fewer rows the more columns the head has, because the columns of a window are whole."""
    cells: dict[tuple[int, int], object] = {(n, n * 7 % 1000): n for n in range(2, 30_000)}
    head: dict[tuple[int, int], object] = {(1, c): f"c{c}" for c in range(1000)}
    path = write_rows(tmp_path / "scattered.xlsx", _rows({**head, **cells}))
    ran = importer("inspect", path, "--workers", 1, "--memory", 512, cwd=tmp_path)
    assert ran.code == 0, ran.err
    with reading(path) as source:
        assert source.rows == len(cells)
        assert max(w.rows for w in source.windows) <= 16_000
        assert sum(f.cells for f in source.facts.values()) == len(cells)


def test_more_columns_than_a_frame_can_hold_are_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MAX_FRAME_CELLS", 20_000)
    cells: dict[tuple[int, int], object] = {(n, n * 50): n for n in range(2, 300)}
    path = write_rows(tmp_path / "diagonal.xlsx", _rows({(1, 0): "a", **cells}))
    with pytest.raises(WorkbookRefused, match=r"scattered over 1\d\d columns.*\n.*--chunk-rows \d+"), reading(path):
        pass
    with reading(path, chunk_rows=50) as source:
        assert source.rows == len(cells)


def test_header_in_every_column_is_refused_as_too_many(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "header.xlsx", _rows({(1, c): f"c{c}" for c in range(MAX_COLUMNS)}))
    with pytest.raises(SheetError, match=r"the header has 16,384 columns"), reading(path):
        pass


def test_styled_cells_without_a_value_are_no_cells(tmp_path: Path) -> None:
    styled = "".join(f'<c r="{column_letters(c)}9" s="1"/>' for c in range(0, MAX_COLUMNS, 8))
    lines = "".join(row(n, number(f"A{n}", n), styled.replace('9"', f'{n}"')) for n in range(2, 150))
    path = write_rows(tmp_path / "styled.xlsx", row(1, inline("A1", "a")) + lines)
    with reading(path) as source:
        assert [c.letter for c in source.header.columns] == ["A"]
        assert source.rows == 148


def test_every_kind_of_cell_is_read_alone_as_in_a_crowd(tmp_path: Path) -> None:
    """Cell by cell, each is what it is beside others: kinds, padded numbers, hidden rows, formulas, errors."""

    def lines(columns: str) -> str:
        a, b, c, d, e, f = columns.split()
        return "".join([
            row(1, *(inline(f"{x}1", name) for x, name in zip(columns.split(), "abcdef", strict=True))),
            row(2, number(f"{a}2", 1.5), shared(f"{b}2", 0), boolean(f"{c}2", value=True), error(f"{d}2", "#SPILL!"),
                formula(f"{e}2", "1+1"), number(f"{f}2", 43831.5, style=1)),
            row(3, number(f"{a}3", "12345678901234567890"), shared(f"{b}3", 1), boolean(f"{c}3", value=False),
                error(f"{d}3", "#N/A"), formula(f"{e}3", "A1", " x_x0041_ ", "str"), number(f"{f}3", 60, style=1),
                attributes=' hidden="1"'),
            row(4, number(f"{a}4", 43831, style=1), number(f"{b}4", -7), inline(f"{c}4", " y "), number(f"{d}4", 2),
                formula(f"{e}4", "A1", "3"), number(f"{f}4", -1, style=1)),
        ])  # fmt: skip

    strings = ["<t>one</t>", "<t>two  </t>"]
    near = write_rows(tmp_path / "near.xlsx", lines("A B C D E F"), strings=strings)
    far = write_rows(tmp_path / "far.xlsx", lines("A AB ABC GAD JAE XFD") + row(MAX_ROWS, "<c/>"), strings=strings)
    with reading(near) as source:
        wanted = read_cells(source)
    place = {column_index(letters): n for n, letters in enumerate(["A", "AB", "ABC", "GAD", "JAE", "XFD"])}
    with reading(far) as source:
        found = {(line, place[column]): cell for (line, column), cell in read_cells(source).items()}
        assert source.hidden_rows == 1
    assert found == wanted
