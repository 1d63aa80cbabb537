"""Owns the checksums of a column: computed over the rows that were read, and by PostgreSQL over what staging holds.

Both sides give the same numbers whatever the order of the rows: how many are not null, and one or two sums. For text
the second sum is over `hashtext`, PostgreSQL's own hash, which `hashes` computes here.
"""

from __future__ import annotations

Checksum = tuple[int, ...]


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
            return [
                count,
                f"coalesce(sum(octet_length({text})), 0)::text",
                f"coalesce(sum(hashtext({text})::bigint), 0)::text",
            ]


def add(first: Checksum | None, second: Checksum) -> Checksum:
    """The checksum of two runs of rows together."""
    return second if first is None else tuple(a + b for a, b in zip(first, second, strict=True))
