"""Owns what the engine would do to texts: it trims those that do not say that they keep their spaces."""

from __future__ import annotations

import polars as pl

#: White space, also as a character reference, at an end of a plain `<t>`.
_TRIMMED = r"<t>(?:[ \t\r\n]|&#|[^<]*(?:[ \t\r\n]|&#x?[0-9A-Fa-f]+;)</t>)"
_PLAIN, _KEEPING = b"<t>", b'<t xml:space="preserve">'


def keep_spaces(xml: bytes) -> bytes:
    """`xml` with every plain `<t>` marked to keep its spaces, if one of them starts or ends with white space."""
    text = pl.Series([xml], dtype=pl.Binary).cast(pl.String, strict=False)
    # Where it is not UTF-8 the engine is to say so, and marks do not harm.
    return xml.replace(_PLAIN, _KEEPING) if text.is_null()[0] or text.str.contains(_TRIMMED)[0] else xml
