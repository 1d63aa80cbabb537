"""Random sheets have the same cells, header, hidden rows and columns in every format."""

from __future__ import annotations

import csv
import datetime as dt
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.otherbooks import Error, Table, write_ods, write_xls, write_xlsb, write_xlsx
from support.reading import read_cells, reading

if TYPE_CHECKING:
    from pathlib import Path

WRITERS = {"ods": write_ods, "xls": write_xls, "xlsb": write_xlsb}
#: XML, and so an .ods, holds no other control characters; tabs and line breaks are among the texts below.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
TEXTS = [
    "007", "1.5", "TRUE", "#N/A", "=1+1", " both ", "a  b   c", "tab\there", "two\nlines", "\n", "_x0041_", "]]>",
    "&amp;", "😀", "e\u0301", "\u00a0", "\u2028", "2024-02-29", "PT1H", "NaN", "x" * 9000,
]  # fmt: skip
NUMBERS = [
    0.0, 1, -1, 0.1 + 0.2, 1e-300, 1e300, 2.0**53, -(2.0**53) - 2, 1 / 3, 5e-324, 0.07, 536870911, 536870912,
    -536870913, 60,
]  # fmt: skip
STAMPS = st.datetimes(dt.datetime(1900, 3, 1), dt.datetime(9999, 12, 31, 23, 59, 59))
VALUES = {
    "number": st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000),
    "text": st.sampled_from(TEXTS) | st.text(CHARACTERS, min_size=1, max_size=9),
    "boolean": st.booleans(),
    "date": STAMPS.map(dt.datetime.date),
    "stamp": STAMPS.map(lambda stamp: stamp.replace(microsecond=stamp.microsecond // 1000 * 1000)),
    "clock": st.times().map(lambda clock: clock.replace(microsecond=clock.microsecond // 1000 * 1000)),
    "took": st.integers(0, 10**7).map(lambda seconds: dt.timedelta(seconds=seconds)),
    "bad": st.sampled_from(["#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"]).map(Error),
}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A table of columns of one or several kinds, with gaps, somewhere on a sheet."""
    width, height = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    left, top = draw(st.sampled_from([0, 0, 1, 19])), draw(st.sampled_from([0, 0, 1, 300]))
    columns = []
    for _ in range(width):
        names = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True))
        cell = st.one_of(*[VALUES[name] for name in names], st.none())
        columns.append(draw(st.lists(cell, min_size=height, max_size=height)))
    head = [None] * left + [f"head {n}" for n in range(width)]
    rows: list[list[Any]] = [[None] * left + list(row) for row in zip(*columns, strict=True)]
    hidden_rows = draw(st.frozensets(st.integers(0, top + height)))
    hidden_columns = draw(st.frozensets(st.integers(0, left + width - 1)))
    return Table([[] for _ in range(top)] + [head, *rows], "Data", False, hidden_rows, hidden_columns)


def look(path: Path, **options: Any) -> dict[Any, Any]:
    """What is in the sheet, and around it."""
    with reading(path, **options) as source:
        beside = {"hidden": (source.cut.hidden_columns, source.hidden_rows), "header": source.header.columns}
        return read_cells(source) | beside


@given(table=tables())
@settings(max_examples=settings().max_examples // 4)
def test_any_sheet_is_the_same_in_every_format(table: Table, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("random")
    wanted = look(write_xlsx(folder / "b.xlsx", [table]))
    for form, write in WRITERS.items():
        found = look(write(folder / f"b.{form}", [table]))
        differ = {at: (wanted.get(at), found.get(at)) for at in wanted | found if wanted.get(at) != found.get(at)}
        assert differ == {}, form


@given(table=tables())
@settings(max_examples=settings().max_examples // 4)
def test_any_sheet_of_texts_is_the_same_in_a_text_file(table: Table, tmp_path_factory: Any) -> None:
    """At the line where its row begins; a text file has no empty texts apart from empty cells, and hides nothing."""
    folder = tmp_path_factory.mktemp("random")
    rows = [[None if each in (None, "") else str(each).replace("\r", "") for each in row] for row in table.rows]
    wanted = look(write_xlsx(folder / "b.xlsx", [Table(rows)]))
    for name, delimiter in (("b.csv", ","), ("b.tsv", "\t")):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            for row in rows:  # that of one empty cell would become an empty text
                writer.writerow(row if row != [None] else [])
        lines, line = {}, 1
        for number, row in enumerate(rows, 1):
            lines[number] = line
            line += 1 + sum((text or "").count("\n") for text in row)
        found = look(folder / name, delimiter="comma" if delimiter == "," else "tab", encoding="utf-8")
        del found["header"]  # that "False" is no header is known only of a text file
        moved = {(lines[at[0]], at[1]) if at != "hidden" else at: cell for at, cell in wanted.items() if at != "header"}
        differ = {at: (moved.get(at), found.get(at)) for at in moved | found if moved.get(at) != found.get(at)}
        assert differ == {}, name
