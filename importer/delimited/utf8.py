"""Checks that bytes are UTF-8, without making texts of them."""

from __future__ import annotations

import codecs
import contextlib


def check_utf8(data: bytes, *, final: bool) -> int:
    """Return how many bytes at the start of `data` are whole characters of UTF-8; the rest begins one more.

    pyarrow takes 0.2 ms a MiB, a tenth of what Python takes to decode it; only Python says which byte is wrong.

    Args:
        data: the bytes.
        final: whether no bytes follow, so that all must be whole characters.

    Raises:
        UnicodeDecodeError: a byte is not UTF-8.
    """
    if data.isascii():
        return len(data)
    whole = len(data) - _begun(data[-3:])
    if whole and _is_valid(data, whole):
        # What is left has at most three bytes: Python says whether they begin a character, and whether they may.
        with contextlib.suppress(UnicodeDecodeError):
            return whole + codecs.utf_8_decode(data[whole:], "strict", final)[1]
    return codecs.utf_8_decode(data, "strict", final)[1]


def _begun(end: bytes) -> int:
    """Return how many of the last three bytes may belong to a character that is not whole."""
    for back in range(1, len(end) + 1):
        if end[-back] >= 0xC0:  # noqa: PLR2004 - the first byte of a character of several
            return back
        if end[-back] < 0x80:  # noqa: PLR2004 - a character of one byte
            break
    return 0


def _is_valid(data: bytes, size: int) -> bool:
    """Return whether so many bytes at the start are UTF-8."""
    import numpy as np
    import pyarrow as pa

    text = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(np.array([0, size], np.int64)), pa.py_buffer(data)]
    )
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
