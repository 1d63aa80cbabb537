"""Entities are resolved each once, in texts of any length, and nothing else of the texts changes."""

from __future__ import annotations

import re

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from importer.decoding.entities import ENTITIES, resolve_entities
from importer.decoding.string_views import views_to_series

PIECES = [*ENTITIES, "a", "amp;", "lt;", ";", "é", "\U0001f600", "a text longer than a view holds", " "]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), max_size=8), st.integers(0, 3))
def test_entities_are_resolved_once(texts: list[str], first: int) -> None:
    views, data = resolve_entities(pl.Series(["&amp;"] * first + texts, dtype=pl.String).slice(first))
    known = re.compile("|".join(ENTITIES))
    assert views_to_series(views, [data]).to_list() == [known.sub(lambda m: ENTITIES[m[0]], text) for text in texts]
