"""Makes text columns of the texts of cells: views into the window's bytes, and decoded copies of those that need it."""

from __future__ import annotations

import re
import struct
from html import unescape
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from importer.cells.arrow import series_from_arrow
from importer.decoding.entities import are_entities, find_char, resolve_entities
from importer.decoding.string_views import make_views, rebase, series_to_views, views_to_series
from importer.excel.byte_search import holds_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions

    Codes = NDArray[np.uint8]

#: Halves of a pair: no character by itself.
_SURROGATES = range(0xD800, 0xE000)
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
    references = find_char(b"&", rows, data)
    known = are_entities(data, references)
    marks = [(ENTITIES, references[known]), (ENCODED, references[~known]), (ENCODED, find_char(b"\r", rows, data))]
    if holds_pair(rows, b"_x"):
        escapes = find_char(b"_", rows, data)
        marks.append((ENCODED, escapes[data[escapes + 1] == ord("x")]))
    codes = None
    for code, found in marks:
        owners = np.searchsorted(starts, found, side="right") - 1
        owners = owners[(owners >= 0) & (found < ends[owners])]
        if len(owners):
            codes = np.zeros(len(starts), np.uint8) if codes is None else codes
            codes[owners] = code
    return codes


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
    views = make_views(data, starts, lengths)
    simple, hard = np.flatnonzero(codes == ENTITIES), np.flatnonzero(codes == ENCODED)
    copied, validity = [b""], None
    if len(simple):
        others, copied[0] = resolve_entities(views_to_series(views[simple], [data]))
        views[simple] = rebase(others, 1, 0)
    if len(hard):
        texts = [decode_text(data[starts[n] : starts[n] + lengths[n]].tobytes()) for n in hard.tolist()]
        others, decoded = series_to_views(pl.Series([text or "" for text in texts], dtype=pl.String))
        views[hard] = rebase(others, 1, len(copied[0]))
        copied.append(decoded)
        validity = _without(len(views), hard[[text is None for text in texts]])
    buffers = [validity, pa.py_buffer(views), pa.py_buffer(data), pa.py_buffer(b"".join(copied))]
    return series_from_arrow(pa.Array.from_buffers(pa.string_view(), len(views), buffers))


def _without(count: int, nulls: Positions) -> pa.Buffer | None:
    """Return the validity of so many texts, of which these are null; None if none is."""
    if not len(nulls):
        return None
    held = np.ones(count, np.bool_)
    held[nulls] = False
    return pa.py_buffer(np.packbits(held, bitorder="little"))


def decode_text(xml: bytes) -> str | None:
    """Return the text that some XML without tags stands for; None if it has a reference that XML does not define.

    Line ends are normalized first (XML 1.0, 2.11), then references are resolved, and the escapes of `ST_Xstring`
    (18.3.1.96 and 22.9.2.19) last: from left to right, each once, pairs of surrogates as one character. A lone
    surrogate stays escaped, also one that is a reference; `&#0;` is the character that no column takes.
    """
    xml = xml.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in xml else xml
    if xml.count(b"&") != len(_REFERENCE.findall(xml)):
        return None
    try:
        text = _REFERENCE.sub(lambda m: _referred(m[0]), xml).decode("utf-8", "replace")
    except ValueError:
        return None
    return _ESCAPE.sub(_unescaped, text) if "_x" in text else text


def _referred(reference: bytes) -> bytes:
    if not reference.startswith(b"&#"):
        return unescape(reference.decode()).encode()
    code = int(reference[3:-1], 16) if reference[2:3] in b"xX" else int(reference[2:-1])
    # Halves of a surrogate pair, which a program writes that takes UTF-16 for characters, become escapes of Excel.
    return b"_x%04X_" % code if code in _SURROGATES else chr(code).encode()


def _unescaped(match: re.Match[str]) -> str:
    codes = [int(code, 16) for code in re.findall("_x(....)_", match[0])]
    try:
        return struct.pack(f">{len(codes)}H", *codes).decode("utf-16-be")
    except UnicodeDecodeError:
        return match[0]
