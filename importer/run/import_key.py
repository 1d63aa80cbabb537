"""Computes the key that two runs of the same import share; see `ledger.locks` for the lock and the name made of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any

from importer.contract.model import dump_contract

if TYPE_CHECKING:
    from importer.contract.model import Contract
    from importer.excel.workbook import Sheet, Workbook
    from importer.plan.target import Target
    from importer.settings import Settings

#: Settings left out of the key: those that do not change what is loaded (locations, how the work is done, time limits),
#: and those that the key covers by another part of it. All others, including ones added later, are part of it.
_NOT_IN_KEY = frozenset({
    "workbook", "source", "dsn", "table", "sheet", "contract",
    "method", "workers", "chunk_rows", "temp_dir", "limits", "rejects", "default_rejects", "packed_rejects",
    "bad_cells", "max_rejects", "again", "run_seed", "retry_for", "timeout", "timeline", "engine", "own_process",
    "agreed", "wanted", "wanted_by", "asked_mode",
})  # fmt: skip
#: Settings that versions before them did not have: at their default they are left out, so that keys stay the same.
_ADDED = frozenset({
    "max_text", "types", "null", "mixed", "drift", "footer", "last_row", "rows", "until_blank", "parse_texts",
    "date_order", "decimal", "range", "excel_table", "merged", "encoding", "delimiter", "union",
})  # fmt: skip


def run_key(
    settings: Settings, workbook: Workbook, sheet: Sheet, contract_sha256: str | None, target: Target
) -> tuple[str, dict[str, Any]]:
    """Return the key of a run (hex), and the options that are part of it.

    Only a given contract is part of the key: the first run creates the table, which is the contract of the second.
    """
    options = {
        f.name: getattr(settings, f.name)
        for f in dataclasses.fields(settings)
        if f.name not in _NOT_IN_KEY and not (f.name in _ADDED and getattr(settings, f.name) == f.default)
    }
    options["mode"] = settings.key_mode
    parts = [workbook.sha256, sheet.name, target.schema, target.name, contract_sha256, options]
    return hashlib.sha256(_canonical_json(parts)).hexdigest(), options


def contract_sha256(contract: Contract | None) -> str | None:
    """Return a checksum (hex) of a contract's meaning, independent of its notation, or None without a contract."""
    return None if contract is None else hashlib.sha256(_canonical_json(dump_contract(contract))).hexdigest()


def random_key() -> str:
    """Return a key that no other run has, for a run that leaves no trace."""
    return secrets.token_hex(32)


def _canonical_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()
