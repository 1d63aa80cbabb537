"""Views of texts within larger bytes are those texts: at their start, at their end, around the lengths that matter."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from importer.decoding.string_views import PADDING, make_views, views_to_series


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
