"""Owns what makes two runs the same import: the key, and the number of the lock that stands for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any

from .contract import dump_contract

if TYPE_CHECKING:
    from .contract import Contract
    from .settings import Settings
    from .target import Target
    from .workbook import Sheet, Workbook

#: Settings that do not change what is loaded: where things lie, how the work is done, how long it may take; and those
#: whose meaning has its own part in the key. All others, also later ones, are part of it.
_NOT_IN_KEY = frozenset({
    "workbook", "dsn", "table", "sheet", "contract",
    "method", "workers", "chunk_rows", "temp_dir", "limits", "rejects", "max_rejects", "again", "retry_for", "timeout",
    "timeline",
})  # fmt: skip


def run_key(
    settings: Settings, workbook: Workbook, sheet: Sheet, contract_sha256: str | None, target: Target
) -> tuple[str, dict[str, Any]]:
    """The key of a run (hex), and the options in it.

    A contract that was not given is not in it: the first run makes the table, and that is the second one's contract.
    """
    options = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name not in _NOT_IN_KEY}
    parts = [workbook.sha256, sheet.name, target.schema, target.name, contract_sha256, options]
    return hashlib.sha256(_canonical(parts)).hexdigest(), options


def contract_sha256(contract: Contract | None) -> str | None:
    """A checksum (hex) of what a contract says, however it is written; None without one."""
    return None if contract is None else hashlib.sha256(_canonical(dump_contract(contract))).hexdigest()


def random_key() -> str:
    """A key that no other run has, for one that leaves no trace."""
    return secrets.token_hex(32)


def lock_number(key: str) -> int:
    """The advisory lock of a key, or of a staging table by the digits in its name: 64 bits with a sign."""
    return int.from_bytes(bytes.fromhex(key[:16]), signed=True)


def staging_name(key: str) -> str:
    """A new name for the staging table of a key; it tells the key's lock, and so whether somebody works on it."""
    return f"stage_{key[:16]}_{secrets.token_hex(4)}"


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()
