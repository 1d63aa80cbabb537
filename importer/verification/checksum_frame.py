"""Computes the checksums of rows that were read; `checksum_sql.sql_checksums` gives the same numbers on the server.

CRC-32C is that of RFC 3720. `hashtext`, `hashfloat8` and `timestamp_hash` use PostgreSQL's own hash (Bob Jenkins'
lookup3, public domain, in src/common/hashfn.c; unchanged since 8.4), computed here for whole columns at once, of texts
in one step for every 12 bytes of the longest. So longer texts have another hash, SHA-256.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from importer.cells.arrow import fill_with_empty

from .checksum_sql import LONG_TEXT_BYTES, SEPARATOR, TEXTS, add

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .checksum_sql import Checksum, TextHash

    Words = NDArray[np.uint32]


def source_checksums(rows: pl.DataFrame, text_hash: TextHash) -> dict[str, Checksum]:
    """Return the checksums of rows in wire types, by column name and `TEXTS`; see `checksum_sql.sql_checksums`."""
    found = _counts_and_sums(rows)
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    if texts:
        rows = rows.select(fill_with_empty(rows[name]) for name in texts)
        joined = pl.concat_str(texts, separator=SEPARATOR)
        total = _sum_crc32c if text_hash == "crc32c" else partial(_sum_hashtext, separators=len(texts) - 1)
        slices = (rows[start : start + _JOIN_ROWS] for start in range(0, len(rows), _JOIN_ROWS))
        found[TEXTS] = reduce(add, (total(part.select(joined.alias("joined")).to_series()) for part in slices), (0,))
    return found


def _sum_crc32c(values: pl.Series) -> Checksum:
    """Return the sum of `crc32c` over a column of texts without nulls."""
    import google_crc32c

    return (sum(map(google_crc32c.value, values.cast(pl.Binary).to_list())),)


def _sum_hashtext(values: pl.Series, separators: int) -> Checksum:
    """Return the sum of `hashtext` over the short texts, and, if there are long ones, that of `_long_hash` over these.

    Args:
        values: texts of whole rows, without nulls.
        separators: number of separators in each of them.
    """
    is_long = values.str.len_bytes() - separators > LONG_TEXT_BYTES
    if not is_long.any():
        return (_sum_text_hashes(values),)
    long = values.filter(is_long).cast(pl.Binary).to_list()
    return _sum_text_hashes(values.filter(~is_long)), sum(map(_long_hash, long))


def _long_hash(text: bytes) -> int:
    """Return the first 32 bits of a text's SHA-256, which Python and the server both compute in C."""
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big")


def _counts_and_sums(rows: pl.DataFrame) -> dict[str, Checksum]:
    """Return the checksum of each column: its non-null count, then a sum that depends on its type.

    One query covers all columns: there may be hundreds, and a query's overhead costs as much as its work on a column.
    """
    row = rows.select(_asked(tuple(rows.schema.items()))).row(0, named=True)
    hashed = _sum_number_hashes(rows)
    return {
        name: (row[f"n:{name}"], hashed[name] if name in hashed else _combine_words(row, name)) for name in rows.columns
    }


@lru_cache(maxsize=4)
def _asked(schema: tuple[tuple[str, pl.DataType], ...]) -> list[pl.Expr]:
    """Return what is asked of rows with these columns; windows mostly have the same."""
    sums = [term.alias(f"{n}:{name}") for name, dtype in schema for n, term in _sum_expressions(name, dtype)]
    return [pl.len().alias("rows"), pl.all().count().name.prefix("n:"), *sums]


def _sum_expressions(name: str, dtype: pl.DataType) -> list[tuple[str, pl.Expr]]:
    """Return the sums that make up a column's checksum, high and low words separately so that none overflows."""
    match dtype:
        case pl.Float64 | pl.Float32 | pl.Datetime():
            return []
        case pl.Boolean:
            return [("low", pl.col(name).sum())]
        case pl.String:
            return [("low", pl.col(name).str.len_bytes().cast(pl.Int64).sum())]
        case pl.Time:
            value = pl.col(name).cast(pl.Int64) // 1000
        case _:  # integers, dates as days, durations as microseconds
            value = pl.col(name).cast(pl.Int64)
    return [("high", (value // 2**32).sum()), ("low", (value % 2**32).sum())]


def _combine_words(row: dict[str, Any], name: str) -> int:
    return int(row.get(f"high:{name}") or 0) * 2**32 + int(row[f"low:{name}"] or 0)


# ---- LOOKUP3 ----------------------------------------------------------------------------------------------------

_SEED = np.uint32(0x9E3779B9 + 3923095 & 0xFFFFFFFF)
#: Number of rows whose texts are joined at once; bounds memory for a sheet of the longest texts that a cell can have,
#: and keeps the arrays of one step in the CPU's cache.
_JOIN_ROWS = 4096
#: Number of numbers that are hashed at once, whose arrays the cache keeps.
_HASHED_NUMBERS = 16_384
#: Stands for null among integers.
_NO_INTEGER = -(2**63)
#: What PostgreSQL counts timestamps from (2000), in microseconds since 1970.
_EPOCH_MICROSECONDS = 946_684_800_000_000
#: Bytes that one step of the hash takes.
_BLOCK = 12


def _rot(x: Words, k: int) -> Words:
    return (x << np.uint32(k)) | (x >> np.uint32(32 - k))


def _mix(a: Words, b: Words, c: Words) -> tuple[Words, Words, Words]:
    for first, second, third in ((4, 6, 8), (16, 19, 4)):
        a = (a - c) ^ _rot(c, first)
        c = c + b
        b = (b - a) ^ _rot(a, second)
        a = a + c
        c = (c - b) ^ _rot(b, third)
        b = b + a
    return a, b, c


def _final(a: Words, b: Words, c: Words) -> Words:
    c = (c ^ b) - _rot(b, 14)
    a = (a ^ c) - _rot(c, 11)
    b = (b ^ a) - _rot(a, 25)
    c = (c ^ b) - _rot(b, 16)
    a = (a ^ c) - _rot(c, 4)
    b = (b ^ a) - _rot(a, 14)
    return (c ^ b) - _rot(b, 24)


def lookup3(data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Words:
    """Return PostgreSQL's `hash_bytes` of many byte strings in one buffer, as on a little-endian machine.

    Args:
        data: the buffer, with at least 12 more bytes after the last string.
        starts: offset of each string in bytes.
        lengths: length of each string in bytes.
    """
    words = np.ndarray((len(data) - 3,), dtype="<u4", buffer=data.data, strides=(1,))
    blocks = lengths // 12
    # Longest first, so that the strings that still have a block are always a prefix.
    order = _longest_first(blocks) if len(blocks) and blocks.max() else None
    position, left, blocks = (x if order is None else x[order] for x in (starts, lengths, blocks))
    a = _SEED + left.astype(np.uint32)
    b, c = a.copy(), a.copy()
    for step, size in enumerate(_count_by_block(blocks)):
        at = position[:size] + 12 * step
        a[:size], b[:size], c[:size] = _mix(a[:size] + words[at], b[:size] + words[at + 4], c[:size] + words[at + 8])
    hashes = _tail(words, position + 12 * blocks, left - 12 * blocks, a, b, c)
    if order is None:
        return hashes
    back = np.empty_like(hashes)
    back[order] = hashes
    return back


def _longest_first(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    # numpy sorts 16-bit integers by radix, three times as fast.
    narrow = blocks.astype(np.int16) if blocks.max() < 2**15 else blocks
    return np.argsort(-narrow, kind="stable")


def _count_by_block(blocks: NDArray[np.int64]) -> list[int]:
    """Return how many strings have at least 1, 2, 3… blocks; `blocks` is sorted in descending order."""
    most = int(blocks[0]) if len(blocks) else 0
    return [int(n) for n in np.searchsorted(-blocks, -np.arange(most), side="left")]


def _mask_table(offset: int) -> Words:
    """Return, for 0-11 remaining bytes, a mask of the bits of the word at that offset that belong to the string."""
    return np.array([(1 << (8 * min(max(left - offset, 0), 4))) - 1 for left in range(12)], np.uint32)


_MASKS = {offset: _mask_table(offset) for offset in (0, 4, 8)}


def _tail(words: Words, position: NDArray[np.int64], left: NDArray[np.int64], a: Words, b: Words, c: Words) -> Words:
    """Mix in the last 0-11 bytes and return the hashes.

    The lowest byte of `c` is reserved for the length, so the bytes added to it are shifted by one.
    """
    word = {offset: words[position + offset] & _MASKS[offset][left] for offset in _MASKS}
    return _final(a + word[0], b + word[4], c + (word[8] << np.uint32(8)))


def _sum_text_hashes(values: pl.Series) -> int:
    """Return the sum of `hashtext` (signed 32 bits) over a column of texts without nulls."""
    # Not views: these point into one buffer for every few hundred texts, and a step of the hash costs 1 µs of its own.
    array = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, ends, texts = array.buffers()
    offsets = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.zeros(int(offsets[-1]) + _BLOCK, np.uint8)
    if texts is not None:
        data[:-_BLOCK] = np.frombuffer(texts, np.uint8, int(offsets[-1]))
    return _signed_sum(lookup3(data, offsets[:-1], np.diff(offsets)))


def _signed_sum(hashes: Words) -> int:
    return int(hashes.view(np.int32).sum(dtype=np.int64))


def _sum_number_hashes(rows: pl.DataFrame) -> dict[str, int]:
    """Return the sum of `hashfloat8` over each column of floats, and of `timestamp_hash` over each of timestamps."""
    floats, stamps = rows.select(pl.col(pl.Float64, pl.Float32)), rows.select(pl.col(pl.Datetime))
    # All columns form one array, because a step of the hash costs as much as hashing a small column.
    found = _sum_hashes(floats.select(pl.all().cast(pl.Float64).fill_null(0.0)), _hash_floats)
    micros = stamps.select((pl.all().cast(pl.Int64) - _EPOCH_MICROSECONDS).fill_null(_NO_INTEGER))
    return found | _sum_hashes(micros, _hash_integers)


def _sum_hashes(numbers: pl.DataFrame, hashed: Callable[[Any], Words]) -> dict[str, int]:
    """Return the sum of a hash (signed 32 bits) over each column."""
    if not numbers.width:
        return {}
    values = numbers.to_numpy(order="fortran").T.reshape(-1)
    hashes = np.empty(len(values), np.int32)
    for start in range(0, len(values), _HASHED_NUMBERS):
        part = values[start : start + _HASHED_NUMBERS]
        hashes[start : start + len(part)] = hashed(part).view(np.int32)
    sums = hashes.reshape(numbers.width, -1).sum(axis=1, dtype=np.int64).tolist()
    return dict(zip(numbers.columns, sums, strict=True))


def _hash_floats(values: NDArray[np.float64]) -> Words:
    """Return `hashfloat8` of floats; nulls are 0, and hash to 0 as both zeros do in PostgreSQL.

    It is `lookup3` of 8 bytes, which are less than a block: an eighth of the time of searching words in a buffer.
    """
    words = values.view("<u4").reshape(-1, 2)
    seed = np.uint32(int(_SEED) + 8)
    hashes = _final(words[:, 0] + seed, words[:, 1] + seed, np.full(len(values), seed, np.uint32))
    hashes[values == 0] = 0
    return hashes


def _hash_integers(values: NDArray[np.int64]) -> Words:
    """Return `hashint8` of integers, and 0 for `_NO_INTEGER`.

    It is `lookup3` of 4 bytes, for which both halves are mixed. `timestamp_hash` is the same of microseconds.
    """
    words = values.view("<u4").reshape(-1, 2)
    sign = (words[:, 1].view(np.int32) >> 31).view(np.uint32)
    seed = np.full(len(values), int(_SEED) + 4, np.uint32)
    hashes = _final(seed + (words[:, 0] ^ words[:, 1] ^ sign), seed, seed)
    hashes[values == _NO_INTEGER] = 0
    return hashes
