"""Builds the SQL checksums of rows that staging holds; `hashes` computes the same numbers for the rows that were read.

Both sides give the same numbers in any order of the rows: for each column the number of non-null values, and a sum that
depends on the type. The content of texts is in one sum over a hash of all texts of a row together: that is cheaper than
a hash of each text, and detects texts that were swapped between rows. The hash is CRC-32C if the server has it
(PostgreSQL 18), because both sides have a CPU instruction for it, else `hashtext`. Both are over the bytes of UTF-8,
whatever the encoding of the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .session import Session

Checksum = tuple[int, ...]
#: The hash that the server applies to the texts of a row.
TextHash = Literal["crc32c", "hashtext"]
#: The key of the checksum over the texts of all columns; no column has an empty name.
TEXTS = ""
#: Separates the texts of a row: the ASCII control character for that purpose (unit separator).
SEPARATOR = "\x1f"


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
        case "timestamp" | "timestamp with time zone":
            return [count, f"coalesce(sum((extract(epoch from {column}) * 1000000)::numeric(30, 0)), 0)::text"]
        case "smallint" | "integer" | "bigint":
            return [count, f"coalesce(sum({column}::bigint), 0)::text"]
        case _:
            text = _text(column) if utf8 else _as_utf8(_text(column))
            return [count, f"coalesce(sum(octet_length({text})), 0)::text"]


def find_text_hash(session: Session) -> TextHash:
    """Return the text hash to use: CRC-32C if the server has it and the library here is compiled (fast)."""
    import google_crc32c

    fast = google_crc32c.implementation == "c"
    return "crc32c" if fast and session.value("select to_regprocedure('crc32c(bytea)')::text") else "hashtext"


def sql_checksums(
    columns: Mapping[str, tuple[str, str]], text_hash: TextHash, *, utf8: bool = True
) -> dict[str, list[str]]:
    """Return the checksums of all columns of a table as SQL aggregates, by column name, and under `TEXTS` the texts'.

    Args:
        columns: (quoted name, staging type) by column name, in the order in which the texts of a row are joined.
        text_hash: the hash to use, which the server must have.
        utf8: whether the database stores texts as the bytes of UTF-8.
    """
    asked = {name: sql_checksum(quoted, staging_type, utf8=utf8) for name, (quoted, staging_type) in columns.items()}
    texts = [_text(quoted) for quoted, staging_type in columns.values() if staging_type not in _SUMMED_TYPES]
    if texts:
        joined = _join_sql([f"coalesce({text}, '')" for text in texts])
        asked[TEXTS] = [f"coalesce(sum({_hash_sql(joined, text_hash, utf8=utf8)}), 0)::text"]
    return asked


def _hash_sql(text: str, text_hash: TextHash, *, utf8: bool) -> str:
    """Return SQL for the hash of a text's UTF-8 bytes."""
    if text_hash == "crc32c":
        # `textsend` gives the bytes that a client with encoding UTF8 receives; it is faster than `convert_to`.
        return f"crc32c(textsend({text}))" if utf8 else f"crc32c({_as_utf8(text)})"
    if utf8:
        return f"hashtext({text})::bigint"
    # Before version 18 no function hashes bytes alone. `hash_array` of one element gives the hash that `hashtext` would
    # (both are `hash_bytes`), plus 31; the rest takes that off in 32 bits with a sign.
    return f"((hash_array(array[{_as_utf8(text)}])::bigint + {2**32 + 2**31 - 31}) % {2**32} - {2**31})"


def _as_utf8(text: str) -> str:
    return f"convert_to({text}, 'UTF8')"


def _join_sql(texts: list[str]) -> str:
    """Return SQL that joins texts with separators between them.

    `||` takes half the time of `array_to_string` and two thirds of that of `concat`. It copies its left operand, so
    halves are joined recursively.
    """
    if len(texts) == 1:
        return texts[0]
    half = len(texts) // 2
    return f"({_join_sql(texts[:half])} || chr({ord(SEPARATOR)}) || {_join_sql(texts[half:])})"


#: Types with a sum of their own; all others are sent as text.
_SUMMED_TYPES = frozenset({
    "boolean", "real", "double precision", "date", "time", "interval", "timestamp", "timestamp with time zone",
    "smallint", "integer", "bigint",
})  # fmt: skip


def _text(column: str) -> str:
    return f'{column}::text collate "C"'


def add(first: Checksum | None, second: Checksum) -> Checksum:
    """Return the checksum of two sets of rows together."""
    return second if first is None else tuple(a + b for a, b in zip(first, second, strict=True))
