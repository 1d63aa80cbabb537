"""Owns the checksums of rows: computed over those that were read, and by PostgreSQL over those that staging holds.

Both sides give the same numbers whatever the order of the rows: for each column how many values are not null, and a sum
that depends on the type. What texts hold is in one sum over a hash of all texts of a row together: that takes less than
a hash of each text, and tells texts that were swapped between rows. The hash is CRC-32C where the server has it
(PostgreSQL 18), because both sides have an instruction for it, else `hashtext`. `hashes` computes them here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .postgres import Session

Checksum = tuple[int, ...]
#: How the server sums up texts.
TextHash = Literal["crc32c", "hashtext"]
#: The key of what all texts of a row together give; no column has that name.
TEXTS = ""
#: Stands between the texts of a row: a control character for that very purpose (ASCII, unit separator).
SEPARATOR = "\x1f"


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
            return [count, f"coalesce(sum(octet_length({_text(column)})), 0)::text"]


def find_text_hash(session: Session) -> TextHash:
    """The hash that a server has, and this machine is fast at: without its compiled part the library is not."""
    import google_crc32c

    fast = google_crc32c.implementation == "c"
    return "crc32c" if fast and session.value("select to_regprocedure('crc32c(bytea)')::text") else "hashtext"


def sql_checksums(columns: Mapping[str, tuple[str, str]], text_hash: TextHash) -> dict[str, list[str]]:
    """The same of all columns of a table: key -> SQL aggregates.

    Args:
        columns: name -> quoted name and staging type, in the order of the rows' texts.
        text_hash: that the server has.
    """
    asked = {name: sql_checksum(quoted, staging_type) for name, (quoted, staging_type) in columns.items()}
    texts = [_text(quoted) for quoted, staging_type in columns.values() if staging_type not in _COUNTED]
    if texts:
        joined = _joined([f"coalesce({text}, '')" for text in texts])
        # `textsend` gives the bytes that the client would get, and those are UTF-8.
        hashed = f"crc32c(textsend({joined}))" if text_hash == "crc32c" else f"hashtext({joined})::bigint"
        asked[TEXTS] = [f"coalesce(sum({hashed}), 0)::text"]
    return asked


def _joined(texts: list[str]) -> str:
    """SQL for some texts with separators between them.

    `||` takes half the time of `array_to_string` and two thirds of that of `concat`. It copies what stands before it,
    so it joins halves.
    """
    if len(texts) == 1:
        return texts[0]
    half = len(texts) // 2
    return f"({_joined(texts[:half])} || chr({ord(SEPARATOR)}) || {_joined(texts[half:])})"


#: Types with a sum of their own; all others are texts on the wire.
_COUNTED = frozenset({
    "boolean", "real", "double precision", "date", "time", "interval", "timestamp", "timestamp with time zone",
    "smallint", "integer", "bigint",
})  # fmt: skip


def _text(column: str) -> str:
    return f'{column}::text collate "C"'


def add(first: Checksum | None, second: Checksum) -> Checksum:
    """The checksum of two runs of rows together."""
    return second if first is None else tuple(a + b for a, b in zip(first, second, strict=True))
