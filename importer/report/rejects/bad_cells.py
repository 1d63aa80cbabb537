"""Lists the first bad cells of a run as JSON, for programs that show them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .workbook import Rejects

#: Maximum number of cells in the list; the rejects file has them all.
MAX_CELLS = 1_000
_MAX_VALUE_CHARS = 200


def dump_bad_cells(rejects: Rejects) -> bytes:
    """Return the first bad cells as JSON (`rows`, `cells`, `truncated`)."""
    return json.dumps(bad_cells(rejects), ensure_ascii=False).encode()


def bad_cells(rejects: Rejects) -> dict[str, Any]:
    """Return the number of rejected rows, their first bad cells, and whether there are more bad cells than listed."""
    headers = {c.index: c.header or "" for c in rejects.columns}
    errors = rejects.first_errors(MAX_CELLS)
    texts = rejects.first_texts(MAX_CELLS, set(errors["column"]))
    cells = []
    for row, column, rule, reason in errors.iter_rows():
        # An error in a field that has no column in the sheet concerns the row as a whole.
        value = texts[row][column] if column in headers else None
        cells.append({
            "row": rejects.row_number(row), "address": rejects.address(row, column), "column": headers.get(column),
            "rule": rule, "message": reason, "value": None if value is None else value[:_MAX_VALUE_CHARS],
        })  # fmt: skip
    return {"rows": len(rejects), "cells": cells, "truncated": len(rejects.errors) > MAX_CELLS}
