"""Attributes of cells: tags that begin alike and end otherwise, in any order in a window, each read as it is."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from importer.columns.attributes import read_attributes
from importer.columns.row_numbers import read_usual_row_numbers
from importer.excel.addresses import column_letters

TYPES = {"n": 0, "s": 1, "str": 2, "inlineStr": 3, "b": 4, "e": 5, "d": 6}
#: What stands behind the address; the first eight bytes of many are the same.
BEHIND = [
    "", "/", ' s="1"', ' s="1"/', ' s="2"', ' s="12345"', ' s="12346"', *(f' t="{t}"' for t in TYPES), *(f' s="1" t="{t}"' for t in TYPES),
    ' s="12" t="inlineStr"', ' s="123" t="inlineStr"', ' s="12" t="inlineStr" cm="1"', ' s="123" t="s" cm="1" vm="22"',
    ' s="123" t="s" cm="1" vm="33"', ' t="s" s="5"', ' t="b" s="5"', ' cm="1" s="3" t="e"', ' ph="1" s="3" t="b"',
]  # fmt: skip
#: Tags that are left to others: of another row, without an address, or with what the decoder does not know.
ODD = [
    '<c r="B9">',
    '<c r="[7">',
    '<c r="A[7">',
    '<c q="B7">',
    "<c>",
    '<c r="B7" s="x">',
    '<c r="B7" t="q">',
    '<c r="B7" q="1">',
    '<c r="B7"s="1">',
]


def _expected(tag: str, number: int) -> tuple[int, int, int] | None:
    """Column, style and type; None for a tag that is left to others."""
    letters = re.search(rf' r="([A-Z]+){number}"', tag)
    if tag in ODD or letters is None:
        return None
    style, kind = re.search(r' s="(\d+)"', tag), re.search(r' t="(\w+)"', tag)
    column = next(n for n in range(16_384) if column_letters(n) == letters[1])
    return column, int(style[1]) if style else 0, TYPES[kind[1]] if kind else 0


@pytest.mark.parametrize("number", [7, 1_048_576])
@pytest.mark.parametrize("seed", range(3))
def test_tags_that_begin_alike(number: int, seed: int) -> None:
    columns = [column_letters(n) for n in (0, 25, 26, 51, 701, 702)]
    tags = [f'<c r="{column}{number}"{rest}>' for rest in BEHIND for column in columns]
    tags += [f'<c{rest.rstrip("/")} r="{column}{number}">' for rest in BEHIND for column in columns] + ODD
    random.Random(seed).shuffle(tags)
    begin, places = f'<row r="{number}">', []
    data = begin
    for tag in tags:
        places.append(len(data))
        data += tag
    held = np.frombuffer(data.encode() + b"</row>" + bytes(32), np.uint8)
    rows = read_usual_row_numbers(held, np.array([0]), np.array([len(tags)]))
    assert rows is not None
    found = read_attributes(held, np.array(places), np.array([*places[1:], len(data)]), rows)
    for n, tag in enumerate(tags):
        read = (found.columns[n], found.styles[n], found.types[n])
        expected = _expected(tag, number)
        assert bool(found.good[n]) == (expected is not None) or tag == "<c>", tag
        assert read == expected or expected is None, tag
