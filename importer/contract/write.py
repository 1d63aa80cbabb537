"""Writes a contract's descriptor as text: Table Schema in JSON or YAML, a data contract of ODCS, or a source of dbt."""

from __future__ import annotations

import json
from typing import Any

from .dbt import to_dbt
from .odcs import to_odcs


def write_contract(descriptor: dict[str, Any], form: str, table: str) -> str:
    """Return the text of a contract.

    Args:
        descriptor: the descriptor, as `model.dump_contract` writes it.
        form: `table-schema` or `json`, `yaml`, `odcs`, `dbt`.
        table: name of the table, for ODCS and dbt, if the contract names none.
    """
    if form in {"table-schema", "json"}:
        return json.dumps(descriptor, ensure_ascii=False, indent=2) + "\n"
    import yaml

    written = {"odcs": to_odcs, "dbt": to_dbt}[form](descriptor, table) if form != "yaml" else descriptor
    return str(yaml.safe_dump(written, allow_unicode=True, sort_keys=False))
