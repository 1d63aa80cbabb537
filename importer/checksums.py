"""Owns the checksums of a column: computed over the rows that were read, and by PostgreSQL over what staging holds.

Both sides give the same numbers whatever the order of the rows: how many are not null, and one or two sums. For text
the second sum is over `hashtext`, PostgreSQL's own hash (Bob Jenkins' lookup3, public domain, in
src/common/hashfn.c; unchanged since 8.4), which `lookup3` computes here for whole columns at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint32]

Checksum = tuple[int, ...]
_EPOCH_DAYS = 10_957  # 1970-01-01 to 2000-01-01


def source_checksum(values: pl.Series) -> Checksum:
    """The checksum of a column in wire types: non-null count, then sums that depend on the type."""
    values = values.drop_nulls()
    count = len(values)
    match values.dtype:
        case pl.Boolean:
            return count, int(values.sum() or 0)
        case pl.String:
            return count, int(values.str.len_bytes().cast(pl.Int64).sum() or 0), _text_hashes(values)
        case pl.Float64 | pl.Float32:
            return count, _float_hashes(values)
        case pl.Date:
            return count, _exact_sum(values.cast(pl.Int64))
        case pl.Time:
            return count, _exact_sum(values.cast(pl.Int64) // 1000)
        case _:  # integers, and stamps and durations as microseconds
            return count, _exact_sum(values.cast(pl.Int64))


def sql_checksum(column: str, staging_type: str) -> list[str]:
    """The same numbers as SQL aggregates over a quoted column of a staging type; `null` sums mean 0."""
    count = f"count({column})"
    match staging_type:
        case "boolean":
            return [count, f"coalesce(sum({column}::int), 0)::text"]
        case "real" | "double precision":
            return [count, f"coalesce(sum(hashfloat8({column}::float8)::bigint), 0)::text"]
        case "date":
            return [count, f"coalesce(sum(({column} - date '1970-01-01')::bigint), 0)::text"]
        case "time" | "interval":
            return [count, f"coalesce(sum((extract(epoch from {column}) * 1000000)::numeric(30, 0)), 0)::text"]
        case "timestamp" | "timestamp with time zone":
            return [count, f"coalesce(sum((extract(epoch from {column}) * 1000000)::numeric(30, 0)), 0)::text"]
        case "smallint" | "integer" | "bigint":
            return [count, f"coalesce(sum({column}::bigint), 0)::text"]
        case _:
            text = f'{column}::text collate "C"'
            return [count, f"coalesce(sum(octet_length({text})), 0)::text", f"coalesce(sum(hashtext({text})::bigint), 0)::text"]


def add(first: Checksum | None, second: Checksum) -> Checksum:
    """The checksum of two runs of rows together."""
    return second if first is None else tuple(a + b for a, b in zip(first, second, strict=True))


def _exact_sum(values: pl.Series) -> int:
    """A sum that cannot overflow: high and low words apart."""
    high, low = values // 2**32, values % 2**32
    return int(high.sum() or 0) * 2**32 + int(low.sum() or 0)


# ---- LOOKUP3 ----------------------------------------------------------------------------------------------------

_SEED = np.uint32(0x9E3779B9 + 3923095 & 0xFFFFFFFF)
#: Rows hashed at once; keeps the arrays of one step in the cache.
_BATCH = 8_192


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
    """`hash_bytes` of PostgreSQL for many byte strings that lie in one buffer (little-endian).

    Args:
        data: the bytes, with at least 12 more behind the last string.
        starts: where each string starts.
        lengths: how long each is.
    """
    words = np.ndarray((len(data) - 3,), dtype="<u4", buffer=data.data, strides=(1,))
    a = b = c = _SEED + lengths.astype(np.uint32)
    hashes = np.empty(len(starts), np.uint32)
    rows, position = np.arange(len(starts)), starts.copy()
    left = lengths.copy()
    while True:
        done = left < 12
        if done.any():
            hashes[rows[done]] = _tail(words, position[done], left[done], a[done], b[done], c[done])
            keep = ~done
            rows, position, left, a, b, c = rows[keep], position[keep], left[keep], a[keep], b[keep], c[keep]
        if not len(rows):
            return hashes
        a, b, c = _mix(a + words[position], b + words[position + 4], c + words[position + 8])
        position, left = position + 12, left - 12


def _tail(words: Words, position: NDArray[np.int64], left: NDArray[np.int64], a: Words, b: Words, c: Words) -> Words:
    """The last 0-11 bytes; the lowest byte of `c` is reserved for the length, so its bytes are shifted by one."""

    def word(offset: int) -> Words:
        size = np.clip(left - offset, 0, 4)
        mask = ((np.uint64(1) << (size * 8).astype(np.uint64)) - np.uint64(1)).astype(np.uint32)
        return words[position + offset] & mask

    return _final(a + word(0), b + word(4), c + (word(8) << np.uint32(8)))


def _text_hashes(values: pl.Series) -> int:
    """The sum of `hashtext` (signed 32 bits) over a column of texts."""
    total = 0
    for start in range(0, len(values), _BATCH):
        batch = values.slice(start, _BATCH)
        lengths = batch.str.len_bytes().to_numpy().astype(np.int64)
        joined = "".join(batch.to_list()).encode() + bytes(12)
        starts = np.cumsum(lengths) - lengths
        total += int(lookup3(np.frombuffer(joined, np.uint8), starts, lengths).view(np.int32).sum(dtype=np.int64))
    return total


def _float_hashes(values: pl.Series) -> int:
    """The sum of `hashfloat8` over a column of floats; the two zeros hash alike (to 0), as in PostgreSQL."""
    numbers = values.cast(pl.Float64).to_numpy()
    numbers = numbers[numbers != 0]
    data = np.concatenate([np.frombuffer(numbers.tobytes(), np.uint8), np.zeros(12, np.uint8)])
    starts = np.arange(len(numbers), dtype=np.int64) * 8
    hashes = lookup3(data, starts, np.full(len(numbers), 8, np.int64))
    return int(hashes.view(np.int32).sum(dtype=np.int64))
