"""Builds the SQL checksums of rows that staging holds; `checksum_frame` computes the same of the rows that were read.

Both sides give the same numbers in any order of the rows: for each column the number of non-null values, and a sum that
depends on the type. The content of texts is in one sum over a hash of all texts of a row together: that is cheaper than
a hash of each text, and detects texts that were swapped between rows. The hash is CRC-32C if the server has it
(PostgreSQL 18), because both sides have a CPU instruction for it, else `hashtext`; rows of long texts, if any were
read, then have a second sum over a part of their SHA-256, because our `hashtext` takes a step for every 12 bytes. All
are over the bytes of UTF-8, whatever the encoding of the database.

Numbers have no hash of a whole row: `hash_record` over ten columns takes the server 0.24 s for 1,000,000 rows, some 4 %
of the load, PostgreSQL 13 lacks it, and all it adds is that somebody who may write to staging swaps its numbers.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

from importer.postgres.kept_sessions import ask_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from importer.postgres.session import Session

Checksum = tuple[int, ...]
#: The hash that the server applies to the texts of a row.
TextHash = Literal["crc32c", "hashtext"]
#: The key of the checksum over the texts of all columns; no column has an empty name.
TEXTS = ""
#: Separates the texts of a row: the ASCII control character for that purpose (unit separator).
SEPARATOR = "\x1f"
#: Rows with more bytes of text than this have the hash of long texts, where the others have `hashtext`. Around it, both
#: take the same time, 2 µs a row.
LONG_TEXT_BYTES = 1024


def sql_checksum(column: str, staging_type: str, *, utf8: bool = True) -> list[str]:
    """Return a column's checksum as SQL aggregates: its non-null count and a sum, which is 0 if it has no values.

    Args:
        column: quoted name of the column.
        staging_type: PostgreSQL type of the column in that table.
        utf8: whether the database stores texts as the bytes of UTF-8.
    """
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
        case "timestamp":
            # Its microseconds as a number (`extract`) take the server four times as long.
            return [count, f"coalesce(sum(timestamp_hash({column})::bigint), 0)::text"]
        case "timestamp with time zone":
            return [count, f"coalesce(sum(timestamp_hash({column} at time zone 'UTC')::bigint), 0)::text"]
        case "smallint" | "integer" | "bigint":
            return [count, f"coalesce(sum({column}::bigint), 0)::text"]
        case _:
            text = _text(column) if utf8 else _utf8_bytes(_text(column), utf8=False)
            return [count, f"coalesce(sum(octet_length({text})), 0)::text"]


def find_text_hash(session: Session) -> TextHash:
    """Return the text hash to use: CRC-32C if the server has it and the library here is compiled (fast)."""
    import google_crc32c

    fast = google_crc32c.implementation == "c"
    asked = "select to_regprocedure('crc32c(bytea)')::text"
    return "crc32c" if fast and ask_once(session, "crc32c", lambda: session.value(asked)) else "hashtext"


def sql_checksums(
    columns: Mapping[str, tuple[str, str]], text_hash: TextHash, *, long_texts: bool = False, utf8: bool = True
) -> dict[str, list[str]]:
    """Return the checksums of all columns of a table as SQL aggregates, by column name, and under `TEXTS` the texts'.

    Args:
        columns: (quoted name, staging type) by column name, in the order in which the texts of a row are joined.
        text_hash: the hash to use, which the server must have.
        long_texts: whether the checksum of the texts that were read has a second sum, for rows of long texts.
        utf8: whether the database stores texts as the bytes of UTF-8.
    """
    asked = {name: sql_checksum(quoted, staging_type, utf8=utf8) for name, (quoted, staging_type) in columns.items()}
    texts = [_text(quoted) for quoted, staging_type in columns.values() if staging_type not in _SUMMED_TYPES]
    if texts:
        # `||` takes half the time of `array_to_string` and two thirds of that of `concat`. It copies its left operand,
        # one more reason to join halves.
        joined = _infix([f"coalesce({text}, '')" for text in texts], f"|| chr({ord(SEPARATOR)}) ||")
        hashes = [_hash_sql(joined, text_hash, utf8=utf8)]
        if long_texts:
            stored = texts if utf8 else [_utf8_bytes(text, utf8=False) for text in texts]
            size = _infix([f"coalesce(octet_length({each}), 0)" for each in stored], "+")
            long = f"('x' || left(encode(sha256({_utf8_bytes(joined, utf8=utf8)}), 'hex'), 8))::bit(32)::bigint"
            hashes = [f"CASE WHEN {size} <= {LONG_TEXT_BYTES} THEN {hashes[0]} END"]
            hashes += [f"CASE WHEN {size} > {LONG_TEXT_BYTES} THEN {long} END"]
        asked[TEXTS] = [f"coalesce(sum({each}), 0)::text" for each in hashes]
    return asked


def _hash_sql(text: str, text_hash: TextHash, *, utf8: bool) -> str:
    """Return SQL for the hash of a text's UTF-8 bytes."""
    if text_hash == "crc32c":
        return f"crc32c({_utf8_bytes(text, utf8=utf8)})"
    if utf8:
        return f"hashtext({text})::bigint"
    # Before version 18 no function hashes bytes alone. `hash_array` of one element gives the hash that `hashtext` would
    # (both are `hash_bytes`), plus 31; the rest takes that off in 32 bits with a sign.
    return f"((hash_array(array[{_utf8_bytes(text, utf8=utf8)}])::bigint + {2**32 + 2**31 - 31}) % {2**32} - {2**31})"


def _utf8_bytes(text: str, *, utf8: bool) -> str:
    """Return SQL for the UTF-8 bytes of a text."""
    # `textsend` gives the bytes that a client with encoding UTF8 receives; it is faster than `convert_to`.
    return f"textsend({text})" if utf8 else f"convert_to({text}, 'UTF8')"


def _infix(terms: list[str], operator: str) -> str:
    """Return SQL that combines terms, halves first: a chain of hundreds would exceed the server's depth of stack."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_infix(terms[:half], operator)} {operator} {_infix(terms[half:], operator)})"


#: Types with a sum of their own; all others are sent as text.
_SUMMED_TYPES = frozenset({
    "boolean", "real", "double precision", "date", "time", "interval", "timestamp", "timestamp with time zone",
    "smallint", "integer", "bigint",
})  # fmt: skip


def _text(column: str) -> str:
    return f'{column}::text collate "C"'


def add(first: Checksum | None, second: Checksum) -> Checksum:
    """Return the checksum of two sets of rows together; one of them may lack the second sum of `TEXTS`."""
    return second if first is None else tuple(a + b for a, b in zip_longest(first, second, fillvalue=0))
