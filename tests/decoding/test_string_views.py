"""Views of texts within larger bytes are those texts: at their start, at their end, around the lengths that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer.decoding.string_views import (
    PADDING,
    StringViewReader,
    StringViewWriter,
    make_views,
    series_to_views,
    views_to_series,
)

if TYPE_CHECKING:
    from pathlib import Path


@given(st.binary(max_size=40).map(lambda data: bytes(byte & 0x7F for byte in data)), st.data())
def test_views_are_the_texts(data: bytes, draw: st.DataObject) -> None:
    places = draw.draw(
        st.lists(st.tuples(st.integers(0, len(data)), st.integers(0, len(data))).map(sorted), max_size=8)
    )
    starts = np.array([start for start, _ in places], np.int64)
    lengths = np.array([end - start for start, end in places], np.int64)
    views = make_views(np.frombuffer(data + b"\xff" * PADDING, np.uint8), starts, lengths)
    assert views_to_series(views, [data]).to_list() == [data[start:end].decode() for start, end in places]
    # Beyond a short text there are zeros, or equal texts would not be equal views.
    short = {view[0]: view.tobytes()[4 + view[0] :] for view in views if view[0] <= 12}
    assert not any(byte for rest in short.values() for byte in rest)


@pytest.mark.parametrize(("written", "replaced", "nul"), [("short", "", False), ("a\0b", "", True), ("ab", "\0", True)])
def test_a_written_column_says_whether_it_holds_nul(written: str, replaced: str, nul: bool, tmp_path: Path) -> None:
    with StringViewWriter(tmp_path / "texts.views") as column:
        column.add(*series_to_views(pl.Series([written, "x" * 40])))
        column.replace(np.array([1]), pl.Series([replaced + "y"]))
        assert column.finish() == 2
    read = StringViewReader(tmp_path / "texts.views")
    assert read.texts.to_list() == [written, replaced + "y"]
    assert read.may_hold_nul == nul
