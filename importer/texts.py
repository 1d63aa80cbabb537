"""Owns what the engine would do to texts: it trims those that do not say that they keep their spaces."""

from __future__ import annotations

import polars as pl

#: White space, also as a character reference, behind the start or before the end of a `<t>` of any kind.
_SPACE_AT_END = r"[ \t\r\n;]</t>|t>[ \t\r\n&]"
#: White space in a plain one.
_TRIMMED = r"<t>(?:[ \t\r\n]|&#|[^<]*(?:[ \t\r\n]|&#x?[0-9A-Fa-f]+;)</t>)"
_PLAIN, _KEEPING = b"<t>", b'<t xml:space="preserve">'


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
