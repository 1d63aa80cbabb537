"""Nulls of a column of texts become empty texts, whatever form the column has in memory."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from importer.cells.arrow import fill_with_empty

TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=20), st.just("beyond the twelve bytes")), max_size=9)


@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(0, 9), st.integers(0, 9))
def test_nulls_become_empty_texts(chunks: list[list[str | None]], start: int, size: int) -> None:
    texts = pl.concat([pl.Series("a", chunk, pl.String) for chunk in chunks]).slice(start, size)
    filled = fill_with_empty(texts)
    assert filled.name == "a"
    assert filled.to_list() == [text or "" for text in texts.to_list()]
