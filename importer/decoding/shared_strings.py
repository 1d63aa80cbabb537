"""Owns the shared strings of a workbook: parsed once into one Arrow column that every worker maps. Runs in a worker.

A cell with `t="s"` holds the index of an `<si>` element (ECMA-376 part 1, 18.4.8). Nearly all of these are plain texts,
`<si><t>text</t></si>`, and whole blocks of them are parsed at once. The engine parses the others (rich text, phonetic
hints, escapes), so that every text equals the engine's. If each process parsed the strings itself, it would parse all
of them: 1.5 s and 0.6 GB for 5.8 million. This way a worker only pays for the strings that its cells refer to.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.errors import WorkbookRefused
from importer.excel.byte_search import holds_pair
from importer.excel.normalize_xml import decode_wide_escapes, normalize_strings
from importer.excel.package import Package
from importer.runtime.prefetch import map_in_threads
from importer.workers.allocator import release_memory
from importer.workers.file_size import is_beside_others
from importer.workers.own_process import require_worker

from .engine import read_strings
from .entities import ENTITIES, are_entities, find_char, resolve_entities
from .string_views import (
    PADDING,
    StringViewWriter,
    make_views,
    rebase,
    series_to_views,
    views_to_series,
    words,
)
from .tag_scan import find_tags, has_marks, is_spelled_oddly, is_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .string_views import Bytes, Positions, Views
    from .tasks import StringsTask

_PRESERVE_TAG = b'<t xml:space="preserve">'
#: The tags before and after the text of a plain item.
_ITEM_START, _ITEM_END = b"<si><t>", b"</t></si>"
_SI_END = "</si>"
#: How a text in several fonts begins, as programs write it.
_RICH_START = b"<si><r>"
#: The first bytes of these tags as a word.
_START_WORD, _START_MASK = (
    np.uint64(int.from_bytes(text, "little")) for text in (_ITEM_START, b"\xff" * len(_ITEM_START))
)
_END_WORD = np.uint64(int.from_bytes(_ITEM_END[:8], "little"))
#: The words of a `<t>` tag that preserves spaces, with their offsets in it.
_PRESERVE_WORDS = [
    (place, np.uint64(int.from_bytes(_PRESERVE_TAG[place : place + 8], "little"))) for place in (0, 8, 16)
]
#: Minimum size of a block in bytes: large enough to make the cost of calls negligible, small enough for the cache.
_BLOCK_BYTES = 2 << 20
#: A plain item without its end tag, in a block where not all items are plain.
_PLAIN_ITEM = r"^\s*<si><t>([^<]*)</t>$"
_ENTITY = "|".join(ENTITIES)
_HINT = re.compile(rb"<rPh\b.*?</rPh>", re.DOTALL)
#: Whatever it is searched in, this looks at no byte more than twice: an item ends where the next one begins.
_ITEM = re.compile(rb"<si\b[^<>]*/>|<si\b[^<>]*+>(?:(?!<si\b).)*?</si>", re.DOTALL)


class _Block(NamedTuple):
    """Consecutive items.

    Attributes:
        views: string views of the items' texts.
        data: bytes that the views point into.
        decoded: those that come after them.
        at: positions of the items that are left to the engine.
        others: XML of these items.
    """

    views: Views
    data: bytes
    at: Positions
    others: list[bytes]
    decoded: bytes = b""


def parse_strings(task: StringsTask) -> int:
    """Write the shared strings as a column of texts and return their number.

    Raises:
        WorkbookRefused: the part is damaged or hostile, or its text is not UTF-8.
        InputError: the engine refuses some of the strings.
    """
    try:
        return _parse(task, rewritten=False)
    except _OddSpelling:
        return _parse(task, rewritten=True)


class _OddSpelling(Exception):
    """Raised where items are spelled as Excel spells none, after others that are as usual."""


def _parse(task: StringsTask, *, rewritten: bool) -> int:
    """Write the shared strings; see `parse_strings`."""
    count, at, others = 0, [np.empty(0, np.int64)], []
    with Package(task.workbook, task.limits) as package, StringViewWriter(task.out) as column:
        items = _split_at_items(normalize_strings(package, task.part, rewritten=rewritten), task.limits.row_bytes)
        beside = is_beside_others()
        parsed = map(_parse_block, items) if beside else map_in_threads(_parse_block, items, os.cpu_count() or 1)
        for block in parsed:
            column.add(block.views, block.data, block.decoded)
            at.append(block.at + count)
            others += block.others
            count += len(block.views)
        if others:
            require_worker()
            column.replace(np.concatenate(at), read_strings([_to_engine_item(item) for item in others], task.out))
        count = column.finish()
    release_memory()
    return count


def _to_engine_item(item: bytes) -> bytes:
    """Return an item in a form that the engine reads correctly.

    The engine skips items that have no text at all, which would shift the index of all later items.
    """
    if b"<t" not in _HINT.sub(b"", item):
        return _ITEM_START + _ITEM_END
    return decode_wide_escapes(item.replace(b"<t>", _PRESERVE_TAG))


def _split_at_items(blocks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Yield the same bytes in blocks that end before an `<si`, so that no item is split; the first one has the head.

    Args:
        blocks: bytes of the shared strings part.
        most: maximum size of an item in bytes.
    """
    carry = b""
    for block in blocks:
        held = carry + block
        if len(held) < _BLOCK_BYTES:
            carry = held
            continue
        cut = held.rfind(b"<si")
        # Without an item after the first one, no complete item can be cut off yet.
        if cut <= 0:
            carry = held
            if len(carry) > most:
                raise WorkbookRefused(
                    f"a shared string has more than {most:,} bytes", choice="check where the file comes from"
                )
            continue
        yield held[:cut]
        carry = held[cut:]
    end = carry.rfind(b"</sst")
    yield carry[:end] if end >= 0 else carry


def _parse_block(xml: bytes) -> _Block:
    """Parse the items of a block; raise `_OddSpelling` where these may be others than they seem."""
    start = xml.find(b"<si")
    if start < 0:
        _check_spelling(xml[max(xml.find(b"<sst"), 0) :])
        return _make_block(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.String))
    body = xml[start:]
    parse = _parse_rich_block if holds_pair(body, b"<r") and _RICH_START in body else _parse_plain_block
    return parse(body) or _parse_any_block(_usual_tags(body))


def _usual_tags(xml: bytes) -> bytes:
    return xml.replace(_PRESERVE_TAG, b"<t>").replace(b"<t/>", b"<t></t>")


def _parse_plain_block(body: bytes) -> _Block | None:
    """Parse a block in which all items are plain, with nothing between them; return None for any other block."""
    data = np.frombuffer(body + b"\0" * PADDING, np.uint8)
    tags = np.flatnonzero(data == ord("<"))
    if not len(tags) or len(tags) % 4 or tags[0]:
        return None
    si, t, t_end, si_end = tags.reshape(-1, 4).T
    at = words(data, 8)
    first, keeping = at[si] & _START_MASK, np.flatnonzero(data[t + 2] == ord(" "))
    starts = t + len(b"<t>")
    if len(keeping):
        if not all((at[t[keeping] + place] == word).all() for place, word in _PRESERVE_WORDS):
            return None
        first[keeping], starts[keeping] = _START_WORD, t[keeping] + len(_PRESERVE_TAG)
    plain = (
        (first == _START_WORD).all()
        and (t == si + len(b"<si>")).all()
        and (at[t_end] == _END_WORD).all()
        and (si_end == t_end + len(b"</t>")).all()
        and (data[si_end + len(_SI_END) - 1] == ord(">")).all()
        and (si[1:] == si_end[:-1] + len(_SI_END)).all()
        and not body[si_end[-1] + len(_SI_END) :].strip()
    )
    if not plain:
        return None
    _check_utf8(body)
    block = _Block(make_views(data, starts, t_end - starts), body, np.empty(0, np.int64), [])
    return _decode_entities(block, data, starts)


def _parse_rich_block(body: bytes) -> _Block | None:
    """Parse a block whose items are plain but for texts in several fonts; return None for any other block."""
    plain, rich, places, begin = list[bytes](), list[bytes](), list[int](), 0
    count = 0
    while (at := body.find(_RICH_START, begin)) >= 0 and (end := body.find(_SI_END.encode(), at)) >= 0:
        plain.append(body[begin:at])
        count += plain[-1].count(b"<si>")
        begin = end + len(_SI_END)
        places.append(count + len(rich))
        rich.append(body[at:begin])
    # Whatever stands between the rich items is looked at as one block; each of them goes to the engine as it is.
    block = _parse_plain_block(b"".join([*plain, body[begin:]])) if rich else None
    if block is None:
        return None
    _check_spelling(b"".join(rich))
    left = np.ones(len(block.views) + len(rich), bool)
    left[places] = False
    index = np.flatnonzero(left)
    views = np.zeros((len(left), block.views.shape[1]), block.views.dtype)
    views[index] = block.views
    at_rich = np.concatenate([index[block.at], np.array(places, np.int64)])
    return block._replace(views=views, at=at_rich, others=[*block.others, *map(_usual_tags, rich)])


def _decode_entities(block: _Block, data: Bytes, starts: Positions) -> _Block:
    """Return a block of plain items with entities decoded, and items with escapes left to the engine."""
    and_signs, returns = (find_char(char, block.data, data) for char in (b"&", b"\r"))
    escapes = find_char(b"_", block.data, data) if holds_pair(block.data, b"_x") else returns[:0]
    if not (len(and_signs) or len(escapes) or len(returns)):
        return block
    known = are_entities(data, and_signs)
    strange = [and_signs[~known], returns, escapes[data[escapes + 1] == ord("x")]]
    marked, left = np.zeros(len(starts), bool), np.zeros(len(starts), bool)
    for found, marks in ((marked, and_signs), *((left, marks) for marks in strange)):
        found[np.searchsorted(starts, marks, side="right") - 1] = True
    at, others = np.flatnonzero(marked & ~left), np.flatnonzero(left)
    if len(others):
        raw = views_to_series(block.views[others], [block.data])
        block = block._replace(at=others, others=[_ITEM_START + text.encode() + _ITEM_END for text in raw])
    if len(at):
        views, decoded = resolve_entities(views_to_series(block.views[at], [block.data]))
        block.views[at] = rebase(views, 0, len(block.data))
        block = block._replace(decoded=decoded)
    return block


def _parse_any_block(body: bytes) -> _Block:
    """Parse a block that may hold any kind of item."""
    _check_utf8(body)
    items = pl.Series([body.decode()]).str.split(_SI_END).explode()
    if body.count(b"<si") != len(items) - 1:
        # The block has empty items, `<si/>`, which no program is known to write, or oddly spelled ones.
        _check_spelling(body)
        items = pl.Series([item.decode() for item in _ITEM.findall(body)], dtype=pl.String)
        return _make_block(pl.Series([None] * len(items), dtype=pl.String), items)
    items, behind = items.head(len(items) - 1), items[-1]
    raw = items.str.extract(_PLAIN_ITEM)
    known = (raw.str.count_matches("&", literal=True) == raw.str.count_matches(_ENTITY)) & ~raw.str.contains("_x|\r")
    block = _make_block(pl.select(pl.when(known).then(_replace_entities(raw))).to_series(), items + _SI_END)
    _check_spelling(b"".join(block.others) + behind.encode())
    return block


def _make_block(texts: pl.Series, items: pl.Series) -> _Block:
    """Build a block from texts, null where they are left to the engine, and the XML of all items."""
    views, data = series_to_views(texts.fill_null(""))
    left = texts.is_null()
    return _Block(views, data, left.arg_true().to_numpy().astype(np.int64), [i.encode() for i in items.filter(left)])


def _replace_entities(raw: pl.Series) -> pl.Series:
    """Return texts with their entities replaced by characters."""
    return raw.str.replace_many(list(ENTITIES), list(ENTITIES.values()))


def _check_spelling(xml: bytes) -> None:
    if has_marks(tags := find_tags(xml)) or is_spelled_oddly(tags):
        raise _OddSpelling


def _check_utf8(xml: bytes) -> None:
    if not is_utf8(xml):
        raise WorkbookRefused("the shared strings are not UTF-8", choice="open it in Excel and save it again")
