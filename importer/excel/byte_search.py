"""Searches large XML for two bytes in a row, with arrays: `bytes.find` takes ten times as long for them."""

from __future__ import annotations

import numpy as np


def holds_pair(data: bytes | bytearray, pair: bytes, start: int = 0) -> bool:
    """Return whether two bytes stand side by side in `data` from an offset on."""
    word = int.from_bytes(pair, "little")
    for first in (start, start + 1):  # pairs at even, then at odd distances
        count = (len(data) - first) // 2
        if count > 0 and (np.frombuffer(data, "<u2", count, first) == word).any():
            return True
    return False


def holds_declaration(xml: bytes | bytearray, end: int | None = None) -> bool:
    """Return whether `<!` stands before an offset: a comment, CDATA, or a declaration. Few parts have any `!`."""
    return xml.find(b"!", 0, end) >= 0 and holds_pair(xml, b"<!")
