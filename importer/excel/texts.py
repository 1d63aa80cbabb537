"""Protects texts from being trimmed by the engine, which trims every `<t>` that is not marked to preserve spaces."""

from __future__ import annotations

import polars as pl

#: White space, also as a character reference, at the start or end of a plain `<t>`.
_TRIMMED = r"<t>(?:[ \t\r\n]|&#|[^<]*(?:[ \t\r\n]|&#x?[0-9A-Fa-f]+;)</t>)"
_PLAIN, _KEEPING = b"<t>", b'<t xml:space="preserve">'


def keep_spaces(xml: bytes) -> bytes:
    """Return `xml` with every plain `<t>` marked to preserve spaces, if any of them starts or ends with white space."""
    text = pl.Series([xml], dtype=pl.Binary).cast(pl.String, strict=False)
    # If it is not UTF-8, the engine reports that, and the marks do no harm.
    return xml.replace(_PLAIN, _KEEPING) if text.is_null()[0] or text.str.contains(_TRIMMED)[0] else xml
