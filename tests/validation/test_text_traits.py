"""Traits of the texts of a window: the longest of each array, and whether any may hold a NUL."""

from __future__ import annotations

import polars as pl
import pytest
from support.judging import outcome

from importer.validation import text_traits
from importer.validation.text_traits import find_text_traits


@pytest.mark.parametrize("text", ["\0", "a\0", "\0 beyond the twelve bytes of a view", "é" * 30 + "\0" + "b" * 30])
def test_nul_is_found_wherever_it_is(text: str) -> None:
    frame = pl.DataFrame({"_row": [2, 3], "0.text": ["a", None], "3.text": [None, text]})
    assert find_text_traits(frame) == (
        {"0.text": 1, "3.text": len(text.encode())},
        {"0.text": 1, "3.text": len(text.encode())},
        True,
    )


@pytest.mark.parametrize("texts", [[], ["a", None, ""], [None, None]])
def test_none_holds_a_nul(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"0.text": pl.Series(texts, dtype=pl.String), "1.number": pl.Series([1.5] * len(texts))})
    assert not find_text_traits(frame).may_hold_nul


def test_too_many_texts_may_hold_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_traits, "_MOST_JOINED", 3)
    assert not find_text_traits(pl.DataFrame({"0.text": ["abc"]})).may_hold_nul
    assert find_text_traits(pl.DataFrame({"0.text": ["abcd"]})).may_hold_nul


@pytest.mark.parametrize("most", [0, text_traits._MOST_JOINED])
def test_only_texts_with_a_nul_are_refused(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(text_traits, "_MOST_JOINED", most)
    assert outcome(["a", "b\0c", "d"], {}) == ["a", ["type-error"], "d"]


def test_texts_are_not_searched_where_it_is_known_that_none_holds_nul() -> None:
    frame = pl.DataFrame({"0.text": ["a\0"]})
    assert find_text_traits(frame, may_hold_nul=True) == ({"0.text": 2}, {"0.text": 2}, True)
    assert find_text_traits(frame, may_hold_nul=False) == ({"0.text": 2}, {"0.text": 2}, False)
