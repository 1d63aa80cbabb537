"""Makes text columns of the texts of cells: views into the window's bytes, and decoded copies of those that need it."""

from __future__ import annotations

import re
import struct
import sys
from html import unescape
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from importer.cells.arrow import series_from_arrow
from importer.decoding.string_views import make_views, rebase, series_to_views, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions, Views

    Codes = NDArray[np.uint8]

_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
_REPLACEMENT = "\ufffd".encode()
_REFERENCE = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);")
#: Both halves of a surrogate pair are one match, so that they can be joined.
_ESCAPE = re.compile(r"_x[Dd][89ABab][0-9A-Fa-f]{2}__x[Dd][C-Fc-f][0-9A-Fa-f]{2}_|_x[0-9A-Fa-f]{4}_")


#: How a text is written: as it is, with entities or references, or with what else has to be decoded.
PLAIN, ENTITIES, ENCODED = range(3)


def find_encodings(rows: bytes, data: Bytes, starts: Positions, ends: Positions) -> Codes | None:
    """Return for each text of a window whether it has to be decoded; None if none has.

    Args:
        rows: bytes of the window.
        data: the same, with padding behind.
        starts: offset of each text, ascending.
        ends: offset of its end.
    """
    escapes, references = _find(b"_", rows, data), _find(b"&", rows, data)
    known = _are_entities(data, references)
    marks = [
        (ENTITIES, references[known]),
        (ENCODED, references[~known]),
        (ENCODED, escapes[data[escapes + 1] == ord("x")]),
        (ENCODED, _find(b"\r", rows, data)),
    ]
    codes = None
    for code, found in marks:
        owners = np.searchsorted(starts, found, side="right") - 1
        owners = owners[(owners >= 0) & (found < ends[owners])]
        if len(owners):
            codes = np.zeros(len(starts), np.uint8) if codes is None else codes
            codes[owners] = code
    return codes


def _are_entities(data: Bytes, references: Positions) -> NDArray[np.bool_]:
    """Return which references are to the five entities that XML names."""
    held, known = words(data, 8)[references], np.zeros(len(references), np.bool_)
    for name in _ENTITIES:
        text = name.encode()
        known |= held & np.uint64((1 << 8 * len(text)) - 1) == np.uint64(int.from_bytes(text, "little"))
    return known


def _find(char: bytes, rows: bytes, data: Bytes) -> Positions:
    return np.flatnonzero(data == ord(char)) if char in rows else np.empty(0, np.int64)


def view_texts(data: Bytes, starts: Positions, lengths: Positions) -> pl.Series:
    """Return texts as they stand in a window, without copying them; the caller guarantees valid UTF-8."""
    views = make_views(data, starts, lengths)
    buffers = [None, pa.py_buffer(views), pa.py_buffer(data)]
    return series_from_arrow(pa.Array.from_buffers(pa.string_view(), len(views), buffers))


def make_texts(data: Bytes, starts: Positions, lengths: Positions, codes: Codes | None) -> pl.Series:
    """Return the texts of cells, decoded; null where one has a reference that XML does not define.

    Args:
        data: bytes of the window.
        starts: offset of each text, in any order.
        lengths: length of each.
        codes: what `find_encodings` says of each, or None.
    """
    if codes is None or not codes.any():
        return view_texts(data, starts, lengths)
    simple, hard = np.flatnonzero(codes == ENTITIES), np.flatnonzero(codes == ENCODED)
    raw = view_texts(data, starts[simple], lengths[simple])
    results = [decode_text(data[starts[n] : starts[n] + lengths[n]].tobytes()) for n in hard.tolist()]
    decoded = pl.concat([
        raw.str.replace_many(list(_ENTITIES), list(_ENTITIES.values())), pl.Series(results, dtype=pl.String)
    ])  # fmt: skip
    return _patch(data, make_views(data, starts, lengths), np.concatenate([simple, hard]), decoded)


def _patch(data: Bytes, views: Views, places: Positions, texts: pl.Series) -> pl.Series:
    """Return texts as they stand in a window, but for some that are given, or null; only these are copied."""
    validity = None
    if texts.null_count():
        held = np.ones(len(views), np.bool_)
        held[places] = texts.is_not_null().to_numpy()
        validity = pa.py_buffer(np.packbits(held, bitorder="little"))
    others, copied = series_to_views(texts.fill_null(""))
    views[places] = rebase(others, 1, 0)
    buffers = [validity, pa.py_buffer(views), pa.py_buffer(data), pa.py_buffer(copied)]
    return series_from_arrow(pa.Array.from_buffers(pa.string_view(), len(views), buffers))


def decode_text(xml: bytes) -> str | None:
    """Return the text that some XML without tags stands for; None if it has a reference that XML does not define.

    Line ends are normalized first (XML 1.0, 2.11), then references are resolved, and the escapes of `ST_Xstring`
    (18.3.1.96 and 22.9.2.19) last: from left to right, each once, pairs of surrogates as one character. A lone
    surrogate stays escaped.
    """
    xml = xml.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in xml else xml
    if xml.count(b"&") != len(_REFERENCE.findall(xml)):
        return None
    text = _REFERENCE.sub(lambda m: _referred(m[0]), xml).decode("utf-8", "replace")
    return _ESCAPE.sub(_unescaped, text) if "_x" in text else text


def _referred(reference: bytes) -> bytes:
    if not reference.startswith(b"&#"):
        return unescape(reference.decode()).encode()
    code = int(reference[3:-1], 16) if reference[2:3] in b"xX" else int(reference[2:-1])
    return chr(code).encode("utf-8", "surrogatepass") if 0 < code <= sys.maxunicode else _REPLACEMENT


def _unescaped(match: re.Match[str]) -> str:
    codes = [int(code, 16) for code in re.findall("_x(....)_", match[0])]
    try:
        return struct.pack(f">{len(codes)}H", *codes).decode("utf-16-be")
    except UnicodeDecodeError:
        return match[0]
