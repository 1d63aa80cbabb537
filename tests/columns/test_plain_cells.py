"""Windows of plain cells are found without their tags: the same cells as by these, and none where anything else is."""

from __future__ import annotations

import random

import numpy as np
import pytest

from importer.columns.found_cells import FoundCells, find_by_tags
from importer.columns.plain_cells import find_plain_cells
from importer.decoding.tag_scan import find_tags, has_hidden_row, is_any_hidden

TEXT = b"a text longer than a word"
ROWS = [
    b'<row r="7" spans="1:3"><c r="A7" s="1"><v>1.5</v></c><c r="C7" t="s"><v>12</v></c></row>',
    b'<row r="8"><c r="A8" t="inlineStr"><is><t>' + TEXT + b"</t></is></c></row>",
    b'<row r="9" ht="9"><c r="AB9" s="4" t="inlineStr"><is><t xml:space="preserve"> b </t></is></c></row>',
    b'<row r="10"></row>',
    b'<row r="11" ht="15" hidden="1"><c r="B11" s="65000" t="str"><v></v></c><c r="ZZ11" t="b"><v>1</v></c></row>',
    b'<row r="12"><c r="A12" s="2"><f>B1&lt;2</f><v>1</v></c><c r="B12" t="str"><f t="shared" si="0"/><v>x</v></c></row>',
    b'<row r="13"><c r="C13"><f/><v></v></c><c r="D13" t="inlineStr"><is><t>y</t></is></c></row>',
    b'<row r="14"><c r="E14"><f ca="1"></f><v>2</v></c></row>',
    b'<row r="1048576"><c r="A1048576"><v xml:space="preserve"> 2 </v></c><c r="B1048576" t="e"><v>#N/A</v></c></row>',
]
WINDOW = b"".join(ROWS)
#: What is put into a window, or in the place of something in it.
PIECES = [
    b"<", b">", b'"', b" ", b"/", b"\n", b"<f>A1</f>", b"<!--x-->", b"<row>", b"</row>", b"<c>", b'<c r="B7"/>', b"</c>", b"<v>",
    b"</v>", b"<is>", b"<t>", b"</t>", b' t="s"', b' r="A7"', b' hidden="1"', b"<![CDATA[x]]>", b'<row r="8"/>', b"<v/>", b"\0",
    b"</v></c>", b"</t></is></c>", b'<c r="A7"><v>1</v></c>',
    b"<f/>", b"</f>", b"<f", b'<f t="shared" si="0"/>', b"<fx>", b"</f><v>", b"<v",
]  # fmt: skip


def assert_same(found: FoundCells, by_tags: FoundCells) -> None:
    for name in ("form", "starts", "ends"):
        assert np.array_equal(getattr(found, name), getattr(by_tags, name)), name
    for mine, theirs in zip((*found.attributes, *found.numbers), (*by_tags.attributes, *by_tags.numbers), strict=True):
        assert np.array_equal(mine, theirs)
    none = np.zeros(len(found.form), np.bool_)
    assert np.array_equal(*(none if c.has_formula is None else c.has_formula for c in (found, by_tags)))
    for index in range(len(found.form)):
        assert tuple(found.bounds(index)) == by_tags.bounds(index)


def compare(rows: bytes) -> bool:
    """Return whether the cells of some rows were found without tags; they are those that the tags give."""
    tags = find_tags(rows)
    found = find_plain_cells(tags.data, len(rows))
    if found is not None:
        assert found.formulas == rows.count(b"<f")
        by_tags = find_by_tags(tags, 1)
        assert by_tags is not None
        assert_same(found.cells, by_tags)
        assert is_any_hidden(rows, tags.data, found.rows, found.row_ends) == has_hidden_row(rows, tags)
    return found is not None


@pytest.mark.parametrize("rows", [WINDOW, *(row for row in ROWS if b"<c" in row), ROWS[0] * 40])
def test_plain_cells_are_found(rows: bytes) -> None:
    assert compare(rows)


@pytest.mark.parametrize("rows", [
    b"", b"<row", ROWS[3], WINDOW + b"\n", WINDOW.replace(b"><c", b"> <c", 1).replace(b"</c></row>", b"</c> </row>", 1),
    WINDOW.replace(b"</c><c", b"</c> <c", 1), WINDOW.replace(b"<v>1.5</v>", b"<f>A1<v>1.5</v>"),
    WINDOW.replace(b"<f/>", b"<f>"), WINDOW.replace(b"<f/>", b"<fx/>"), WINDOW.replace(b"<f/>", b"<f/> "),
    WINDOW.replace(b"<f/><v></v>", b"<f>A1</f>"), WINDOW.replace(b"<v>2</v></c></row>", b"<v>2</v></c><v></row>"),
    WINDOW.replace(b'si="0"/><v>', b'si="0"/><v xml:space="preserve">'), WINDOW.replace(b"<is><t>y", b"<f/><is><t>y"),
    WINDOW.replace(b"<v>1.5</v>", b""), WINDOW.replace(b"1.5", b"<b>"), WINDOW.replace(b'r="A7"', b"r='A7'"),
    WINDOW.replace(b'r="A7"', b'r="A8"'), WINDOW.replace(b' r="A7"', b""), WINDOW.replace(b"12", b"1<!-- -->2"),
    WINDOW.replace(b"</t></is></c>", b"</v></c>", 1).replace(b"12</v></c>", b"12</t></is></c>"),
    WINDOW.replace(b'<row r="8"', b"<row"), WINDOW.replace(b'"1048576"', b'"1048577"'), WINDOW[:-1],
])  # fmt: skip
def test_nothing_is_found_among_other_things(rows: bytes) -> None:
    assert not compare(rows)


def test_changed_windows_are_the_same_as_by_their_tags_or_not_plain() -> None:
    """Whatever is put somewhere, cut out or doubled: what is found is what the tags give."""
    rng, plain = random.Random(7), 0
    for _ in range(1000):
        rows = WINDOW if rng.random() < 0.7 else rng.choice(ROWS) * rng.randint(1, 3)
        for _ in range(rng.randint(1, 2)):
            at, size = rng.randrange(len(rows) + 1), rng.choice([0, 0, 1, 2, 4, 8, 30])
            piece = rng.choice(PIECES) if rng.random() < 0.7 else rows[at : at + size] * 2
            rows = rows[:at] + piece + rows[at + size :]
        plain += compare(rows)
    assert plain > 50  # within texts, much makes no difference
