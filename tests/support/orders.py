"""A small workbook of orders with some bad cells, for faults that are tried over and over, and a contract for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from support.rawbook import inline, number, row, write_rows

if TYPE_CHECKING:
    from pathlib import Path

#: Number of rows, and the sheet rows whose number is a text.
ROWS, BAD = 160, (7, 80, 141)
_CONTRACT = {
    "fields": [
        {"name": "number", "type": "integer", "constraints": {"required": True}},
        {"name": "name", "type": "string"},
        {"name": "amount", "type": "number"},
    ]
}


def write_orders(folder: Path) -> Path:
    """Write `orders.xlsx` and, beside it, `contract.json`; return the workbook."""
    head = row(1, inline("A1", "number"), inline("B1", "name"), inline("C1", "amount"))
    body = "".join(
        row(
            n,
            inline(f"A{n}", "abc") if n in BAD else number(f"A{n}", n - 1),
            inline(f"B{n}", f"name {n - 1}"),
            number(f"C{n}", (n - 1) / 4),
        )
        for n in range(2, ROWS + 2)
    )
    (folder / "contract.json").write_text(json.dumps(_CONTRACT))
    return write_rows(folder / "orders.xlsx", head + body, name="Orders")
