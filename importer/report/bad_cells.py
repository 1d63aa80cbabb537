"""Writes the list of the first bad cells of a run as JSON, for programs that show them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from importer.errors import MachineError

if TYPE_CHECKING:
    from pathlib import Path

    from .rejects_workbook import Rejects

#: Maximum number of cells in the list; the rejects file has them all.
MAX_CELLS = 1_000
_MAX_VALUE_CHARS = 200


def write_bad_cells(rejects: Rejects, path: Path) -> None:
    """Write the first bad cells as JSON (`rows`, `cells`, `truncated`), replacing an old file.

    Raises:
        MachineError: the file cannot be written.
    """
    listed = json.dumps(bad_cells(rejects), ensure_ascii=False)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(listed, encoding="utf-8")
        part.replace(path)
    except OSError as exc:
        raise MachineError(
            "the list of bad cells cannot be written; nothing was published", place=f"{path}: {exc.strerror}"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


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
