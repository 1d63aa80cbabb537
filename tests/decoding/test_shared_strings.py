"""Blocks of shared strings with some texts in several fonts hold what they hold when each item is looked at."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from importer.decoding.shared_strings import (
    _Block,
    _OddSpelling,
    _parse_any_block,
    _parse_plain_block,
    _parse_rich_block,
    _usual_tags,
)
from importer.decoding.string_views import views_to_series

RICH = b"<si><r><t>bold</t></r><r><rPr><b/></rPr><t xml:space='preserve'> rest</t></r></si>".replace(b"'", b'"')
PLAIN = [
    b"<si><t>text</t></si>",
    b"<si><t>of more than twelve bytes</t></si>",
    b'<si><t xml:space="preserve"> spaces </t></si>',
    b"<si><t>x &amp; y</t></si>",
    b"<si><t>more than twelve bytes &lt; all</t></si>",
    b"<si><t>_x0041_</t></si>",
    b"<si><t></t></si>",
]
ODD = [
    b"<si/>",
    b"<si><t/></si>",
    b'<si><t>a</t><rPh sb="0" eb="1"><t>b</t></rPh></si>',
    b"<!-- </si> -->",
    b"<!-- <si><r><t>no</t></r></si> -->",
    b"<si><r><!-- </si><si><r> --><t>x</t></r></si>",
    b"<si><r><t><![CDATA[</si><si><t>]]></t></r></si>",
    b"\n",
]


def texts_and_items(block: _Block) -> list[str | bytes]:
    """Return the texts of a block, with the XML of those that are left to the engine in their places."""
    found: list[str | bytes] = [*views_to_series(block.views, [block.data + block.decoded]).to_list()]
    for at, item in zip(block.at.tolist(), block.others, strict=True):
        found[at] = _usual_tags(item).strip()
    return found


@given(st.lists(st.sampled_from([RICH, *PLAIN]), min_size=1, max_size=9))
def test_rich_texts_are_at_their_places(items: list[bytes]) -> None:
    block = _parse_rich_block(b"".join(items))
    only_plain = set(items) <= set(PLAIN)
    assert (block is None) == (only_plain or set(items) == {RICH})
    if block is not None:
        assert texts_and_items(block) == texts_and_items(_parse_any_block(_usual_tags(b"".join(items))))
    assert (_parse_plain_block(b"".join(items)) is not None) == only_plain


@example(items=[RICH, ODD[5], RICH])
@example(items=[PLAIN[0], ODD[4], RICH])
@given(items=st.lists(st.sampled_from([RICH, *PLAIN, *ODD]), min_size=1, max_size=9))
def test_items_in_other_spellings_are_not_misread(items: list[bytes]) -> None:
    """Such a block is parsed another way, or is not as programs write it."""
    body = b"".join(items)
    with contextlib.suppress(_OddSpelling):
        block = _parse_rich_block(body)
        assert block is None or texts_and_items(block) == texts_and_items(_parse_any_block(_usual_tags(body)))
