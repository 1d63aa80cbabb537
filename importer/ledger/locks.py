"""Maps an import's key to its advisory lock, and to the name of its staging table."""

from __future__ import annotations

import secrets


def lock_number(key: str) -> int:
    """Return the number of the advisory lock of a key, a signed 64-bit integer.

    Args:
        key: the key (hex), or the part of a staging table's name after `stage_`; only the first 16 digits count.
    """
    return int.from_bytes(bytes.fromhex(key[:16]), signed=True)


def new_staging_name(key: str) -> str:
    """Return a new staging table name for a key; the key's lock, and so whether a run is alive, follows from it."""
    return f"stage_{key[:16]}_{secrets.token_hex(4)}"
