"""Owns what the engine would do to texts: it trims those that do not say that they keep their spaces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import polars as pl

from .ahead import mapped
from .dialect import wide_escapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: White space, also as a character reference, behind the start or before the end of a `<t>` of any kind.
_SPACE_AT_END = r"[ \t\r\n;]</t>|t>[ \t\r\n&]"
#: White space in a plain one.
_TRIMMED = r"<t>(?:[ \t\r\n]|&#|[^<]*(?:[ \t\r\n]|&#x?[0-9A-Fa-f]+;)</t>)"
_ESCAPED = "_x[0-9A-Fa-f]{4}_"
_PLAIN, _KEEPING = b"<t>", b'<t xml:space="preserve">'


def keep_texts(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The shared strings with leading and trailing spaces protected, and escapes decoded that the engine leaves.

    calamine trims a `<t>` that does not say `xml:space="preserve"`; some writers forget to say it. The attribute is
    added only to blocks that need it: it costs 21 bytes a string.
    """
    return mapped(_kept, _whole_items(blocks), os.cpu_count() or 1)


def _whole_items(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks that end before an `<si>`, so that no text is torn apart."""
    carry = b""
    for block in blocks:
        held = carry + block
        cut = held.rfind(b"<si>")
        if cut <= 0:
            carry = held
            continue
        yield held[:cut]
        carry = held[cut:]
    yield carry


def _kept(xml: bytes) -> bytes:
    text = searchable(xml)
    if text is None:
        return xml  # the engine is to say that it is not UTF-8
    kept = xml.replace(_PLAIN, _KEEPING) if trims_any(text) else xml
    return wide_escapes(kept) if text.str.contains(_ESCAPED)[0] else kept


def keep_spaces(xml: bytes) -> bytes:
    """`xml` with every plain `<t>` marked to keep its spaces, if one of them starts or ends with white space."""
    return xml.replace(_PLAIN, _KEEPING) if trims(xml) else xml


def trims(xml: bytes) -> bool:
    """Whether the engine would trim a text of `xml`: one with white space at an end, in a `<t>` without attributes."""
    text = searchable(xml)
    if text is None:
        return True  # the engine is to say that it is not UTF-8, and marks do not harm
    return trims_any(text)


def searchable(xml: bytes) -> pl.Series | None:
    """`xml` as a column of one text, which Rust's regular expressions can search; None when it is not UTF-8."""
    text = pl.Series([xml], dtype=pl.Binary).cast(pl.String, strict=False)
    return None if text.is_null()[0] else text


def trims_any(text: pl.Series) -> bool:
    """What `trims` says, of a text that is `searchable`.

    The cheap pattern comes first; it also takes texts that say that they keep their spaces.
    """
    return bool(text.str.contains(_SPACE_AT_END)[0]) and bool(text.str.contains(_TRIMMED)[0])
